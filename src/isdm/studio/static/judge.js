// The tab where people keep and drop synthetic pairs.

import { ask, attempt, send } from "./api.js";

const at = (id) => document.getElementById(id);
const WORDS = { keep: "kept by a person", drop: "dropped by a person" };

export function openJudge(state) {
  let pairs = [], place = 0, compares = false, isOpen = false;

  const shows = (pair) => ({
    all: true, open: pair.verdict === "none", keep: pair.verdict === "keep", drop: pair.verdict === "drop",
    out: !pair.kept,
  })[at("show").value];

  // The nearest shown pair from a place on, that place included; null where there is none.
  function find(from, way) {
    for (let number = from; number >= 0 && number < pairs.length; number += way) if (shows(pairs[number])) return number;
    return null;
  }

  function move(way) {
    const number = find(place + way, way);
    if (number !== null) open(number);
  }

  function open(number) {
    place = number;
    sessionStorage.setItem("place", number);
    const pair = pairs[number];
    at("painted").src = `/api/pairs/${number}/image.png`;
    at("outlined").src = `/api/pairs/${number}/outlined.png`;
    at("painted").alt = `Synthetic picture ${pair.name}`;
    at("outlined").alt = `The same with its mask outlined`;
    tell();
    compare(number);
  }

  function tell() {
    const pair = pairs[place], count = (verdict) => pairs.filter((one) => one.verdict === verdict).length;
    at("position").textContent = `${place + 1} of ${pairs.length}: ${pair.name}`;
    at("tally").textContent = `${count("keep")} kept · ${count("drop")} dropped · ${count("none")} open`;
    for (const verdict of ["keep", "drop", "none"]) at(verdict).setAttribute("aria-pressed", pair.verdict === verdict);
    const scores = ["agreement", "copies"].filter((name) => name in pair.scores).map((name) => `${name} ${pair.scores[name]}`);
    const selected = pair.kept ? "" : `isdm select left it out: ${pair.reason}.`;
    at("why").textContent = [WORDS[pair.verdict] ? `This pair is ${WORDS[pair.verdict]}.` : "", selected, scores.join(", ")].filter(Boolean).join(" ");
    at("previous").disabled = find(place - 1, -1) === null;
    at("next").disabled = find(place + 1, 1) === null;
  }

  async function compare(number) {
    at("nearest-box").hidden = !compares;
    if (!compares) return;
    at("nearest-note").textContent = "Comparing …";
    const found = await attempt(() => ask(`/api/pairs/${number}/nearest`));
    if (number !== place || !found) return;
    at("nearest").replaceChildren(...found.map((one) => {
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      const picture = new Image();
      picture.src = `/api/real/${one.real}.png`;
      picture.alt = `Nearest real image by ${one.measure}: ${one.name}`;
      caption.textContent = `By ${one.measure}: ${one.name}${one.ratio === null ? "" : ` (distance ${one.ratio} of the next one's)`}`;
      figure.append(picture, caption);
      return figure;
    }));
    const isCopy = found.some((one) => one.may_be_copy);
    at("nearest-note").classList.toggle("warn", isCopy);
    at("nearest-note").textContent = isCopy
      ? "May be a copy: it is less than a third as far from this real image as from any other."
      : "A copy would be far closer to one real image than to the next (less than 0.333).";
  }

  async function judge(verdict) {
    const number = place;
    const saved = await attempt(() => send(`/api/pairs/${number}/verdict`, { verdict }));
    if (!saved) return;
    pairs[number].verdict = verdict;
    tell();
    const next = verdict === "none" ? null : find(number + 1, 1);
    if (next !== null) open(next);
  }

  for (const verdict of ["keep", "drop", "none"]) at(verdict).addEventListener("click", () => judge(verdict));
  at("previous").addEventListener("click", () => move(-1));
  at("next").addEventListener("click", () => move(1));
  at("show").addEventListener("change", () => {
    const number = find(place, 1) ?? find(place, -1);
    if (number !== null) open(number);
    else {
      tell();
      at("why").textContent = "There is no such pair; the one shown is another.";
    }
  });
  document.addEventListener("keydown", (event) => {
    if (at("judge").hidden || !pairs.length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["SELECT", "INPUT"].includes(event.target.tagName) || event.target.role === "tab") return;
    const keys = {
      ArrowLeft: () => move(-1), ArrowRight: () => move(1),
      k: () => judge("keep"), d: () => judge("drop"), u: () => judge("none"),
    };
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || event.repeat && event.key.length === 1) return;
    event.preventDefault();
    act();
  });

  function tellNone(why) {
    for (const id of ["beside", "nearest-box", "verdicts", "which", "verdict-note"]) at(id).hidden = true;
    at("position").textContent = why;
  }

  async function show() {
    if (isOpen) return;
    if (!state.judges) {
      tellNone("No synthetic dataset is open. Start the studio with --synthetic SYNTH to judge its pairs.");
      return;
    }
    const listed = await attempt(() => ask("/api/pairs"));
    if (!listed) return;
    if (!listed.pairs.length) {
      tellNone(`${listed.folder} holds no pairs to judge.`);
      return;
    }
    isOpen = true;
    ({ pairs, compares } = listed);
    open(Math.min(Number(sessionStorage.getItem("place") ?? 0), pairs.length - 1));
  }
  return { show };
}
