// The tab where masks are painted and pictures of them appear.

import { ask, attempt, send } from "./api.js";
import { Easel } from "./easel.js";
import { followJob, replaceJob } from "./pictures.js";
import { Mask } from "./mask.js";
import { addChoice, press } from "./strip.js";

const MANY_CLASSES = 10;
const PHOTOS_SHOWN = 48;
const at = (id) => document.getElementById(id);
const SETTINGS = ["variants", "steps", "guidance", "seed"];

export function openPaint(state) {
  const mask = new Mask(state.height, state.width);
  let defects = [], chosen = null, photo = null, classId = Math.min(1, state.classes.length - 1);
  const tool = () => ({
    name: document.querySelector("input[name=tool]:checked").value,
    size: Number(at("size").value), scale: Number(at("size").value) / 100, id: classId, defect: defects[chosen],
  });
  const easel = new Easel(at("canvas"), mask, state, tool, keep, (text) => { at("place").textContent = text; });

  // What was painted survives a reload of the page.
  function keep() {
    sessionStorage.setItem("mask", mask.toText());
    sessionStorage.setItem("painting", JSON.stringify({
      inputs: state.inputs, photo, used: [...mask.used], settings: SETTINGS.map((id) => at(id).value),
    }));
  }

  // ---- classes
  const list = at("classes");
  for (const one of state.classes) {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "class", value: one.id, checked: one.id === classId });
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = `rgb(${one.colour})`;
    label.append(input, swatch, one.name);
    if (one.id < 9) label.append(Object.assign(document.createElement("kbd"), { textContent: one.id + 1 }));
    input.addEventListener("change", () => chooseClass(one.id));
    list.append(label);
  }
  at("filter").hidden = state.classes.length <= MANY_CLASSES;
  at("filter").addEventListener("input", () => {
    const wanted = at("filter").value.trim().toLowerCase();
    [...list.children].forEach((label, id) => { label.hidden = !state.classes[id].name.toLowerCase().includes(wanted); });
  });
  at("filter").addEventListener("keydown", (event) => {
    const first = [...list.children].findIndex((label) => !label.hidden);
    if (event.key === "Enter" && first >= 0) chooseClass(first);
  });
  function chooseClass(id) {
    classId = id;
    const input = list.children[id].querySelector("input");
    input.checked = true;
    input.scrollIntoView({ block: "nearest" });
    if (tool().name === "eraser" || tool().name === "defect") chooseTool("brush");
  }

  // ---- tools
  const sizes = { brush: 5, defect: 100 };
  at("size").max = 64;
  function chooseTool(name) {
    document.querySelector(`input[name=tool][value=${name}]`).checked = true;
    const isDefect = name === "defect", slider = at("size");
    Object.assign(slider, isDefect ? { min: 20, max: 400 } : { min: 1, max: Math.ceil(Math.max(state.height, state.width) / 3) });
    slider.value = sizes[isDefect ? "defect" : "brush"];
    at("size-name").textContent = isDefect ? "Scale of the defect" : "Brush size";
    resize(0);
  }
  function resize(by) {
    const isDefect = tool().name === "defect";
    at("size").value = Number(at("size").value) + by * (isDefect ? 10 : 1);
    sizes[isDefect ? "defect" : "brush"] = Number(at("size").value);
    at("size-shown").textContent = isDefect ? `${at("size").value} %` : `${at("size").value} px`;
    easel.draw();
  }
  at("size").addEventListener("input", () => resize(0));
  for (const input of document.querySelectorAll("input[name=tool]")) {
    input.addEventListener("change", () => chooseTool(input.value));
  }
  const step = (forth) => { if (forth ? mask.redo() : mask.undo()) { easel.draw(); keep(); } };
  at("undo").addEventListener("click", () => step(false));
  at("redo").addEventListener("click", () => step(true));
  at("clear").addEventListener("click", () => {
    mask.remember();
    mask.clear();
    easel.draw();
    keep();
  });
  document.addEventListener("keydown", (event) => {
    if (at("paint").hidden) return;
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y")) {
      step(key === "y" || event.shiftKey);
      event.preventDefault();
    } else if ((event.ctrlKey || event.metaKey) && key === "enter") at("settings").requestSubmit();
  });
  at("canvas").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const names = { b: "brush", e: "eraser", f: "fill" }, digit = Number(event.key) - 1;
    const letter = event.key.toLowerCase(); // a capital one under Caps Lock
    if (easel.key(event)) event.preventDefault();
    else if (letter in names) chooseTool(names[letter]);
    else if ("[-".includes(event.key)) resize(-1);
    else if ("]+".includes(event.key)) resize(1);
    else if (event.key.trim() && digit >= 0 && digit < state.classes.length) chooseClass(digit);
  });

  // ---- defects of real masks
  ask("/api/defects").then((found) => {
    defects = found.map((defect, number) => ({ ...defect, number }));
    at("defects-box").hidden = at("tool-defect").hidden = !found.length;
    found.forEach((defect, number) => {
      const button = document.createElement("button"), picture = document.createElement("canvas");
      picture.height = defect.rows.length;
      picture.width = defect.rows[0].length;
      const pen = picture.getContext("2d");
      pen.fillStyle = `rgb(${state.classes[defect.class].colour})`;
      defect.rows.forEach((row, y) => [...row].forEach((on, x) => { if (on === "1") pen.fillRect(x, y, 1, 1); }));
      picture.style.width = `${50 * Math.min(1, picture.width / picture.height)}px`;
      button.title = `${state.classes[defect.class].name} of ${defect.source}`;
      button.setAttribute("aria-label", `${button.title}, number ${number + 1}`);
      button.append(picture);
      addChoice(at("defects"), button, () => {
        chosen = number;
        press(at("defects"), button);
        chooseTool("defect");
        at("canvas").focus();
      });
    });
  }).catch(() => {});

  // ---- photographs
  const NONE = "The whole picture is painted. Or paint a defect into a real photograph:";
  async function choosePhoto(key, kept = null, used = []) {
    if (key === null) {
      photo = easel.photo = null;
      mask.reset(new Uint8Array(state.height * state.width));
      at("photo-note").textContent = NONE;
    } else {
      const values = await ask(`/api/photographs/${key}`), picture = new Image();
      picture.src = `/api/photographs/${key}/image.png`;
      await picture.decode();
      photo = key;
      easel.photo = picture;
      mask.reset(values.mask);
      at("photo-note").textContent = `${values.name}, fitted to ${state.height} × ${state.width} pixels. What you do not touch stays as it is.`;
    }
    if (kept) mask.fromText(kept, used);
    at("no-photo").hidden = key === null;
    press(at("photos"), at("photos").querySelector(`[data-key="${key}"]`));
    easel.draw();
    keep();
  }
  at("no-photo").addEventListener("click", () => attempt(() => choosePhoto(null)));
  state.photographs.slice(0, PHOTOS_SHOWN).forEach((name, number) => {
    const button = document.createElement("button"), picture = new Image();
    Object.assign(picture, { src: `/api/photographs/train/${number}/image.png`, alt: "", loading: "lazy" });
    button.dataset.key = `train/${number}`;
    button.setAttribute("aria-label", `Photograph ${name}`);
    button.append(picture);
    addChoice(at("photos"), button, () => attempt(() => choosePhoto(`train/${number}`)));
  });
  at("upload").addEventListener("change", () => attempt(async () => {
    const [file] = at("upload").files;
    at("upload").value = "";
    if (!file) return;
    const headers = { "X-File-Name": encodeURIComponent(file.name) };
    await choosePhoto((await ask("/api/photographs", { method: "POST", body: file, headers })).key);
  }));

  // ---- pictures
  at("guidance-note").hidden = state.can_guide;
  if (!state.can_guide) at("guidance").value = 1;
  at("saved").textContent = `${state.painted} pair(s) so far in ${state.out}.`;
  for (const id of SETTINGS) at(id).addEventListener("change", keep);
  at("settings").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const values = Object.fromEntries(SETTINGS.map((id) => [id, Number(at(id).value)]));
      const job = await send("/api/jobs", { ...values, mask: mask.toText(), photograph: photo, defects: [...mask.used] });
      sessionStorage.setItem("job", job.number);
      keep();
      await replaceJob(job.number);
    });
  });

  // ---- what an earlier visit left
  async function restore() {
    const old = JSON.parse(sessionStorage.getItem("painting") ?? "null"), kept = sessionStorage.getItem("mask");
    at("photo-note").textContent = NONE;
    const isOurs = old && JSON.stringify(old.inputs) === JSON.stringify(state.inputs); // not another studio's on this port
    if (isOurs) {
      SETTINGS.forEach((id, number) => { at(id).value = old.settings[number]; });
      await choosePhoto(old.photo, kept, old.used).catch(() => choosePhoto(null));
    }
    const job = sessionStorage.getItem("job");
    if (job && isOurs) await followJob(job).catch(() => sessionStorage.removeItem("job"));
  }
  chooseTool("brush");
  restore();
  return { show: () => easel.draw(), mask };
}
