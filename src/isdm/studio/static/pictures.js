// Pictures while they are denoised, and what becomes of them.

import { ask, attempt, complain, send } from "./api.js";

const at = (id) => document.getElementById(id);
const PAUSE_MS = 150;
let followed = null, isOver = true;

const cancel = (number) => send(`/api/jobs/${number}/cancel`, {});
at("cancel").addEventListener("click", () => attempt(() => cancel(followed)));

// Show a new job instead of the one before, whose pictures nobody would see: it is not to be waited for.
export async function replaceJob(number) {
  if (!isOver) await cancel(followed).catch(() => {});
  await followJob(number);
}

// Show a job until it is over.
export async function followJob(number) {
  followed = number;
  isOver = false;
  let job;
  try {
    do {
      job = await ask(`/api/jobs/${number}`);
      if (followed !== number) return;
      isOver = !["waiting", "painting"].includes(job.state);
      at("progress").hidden = at("cancel").hidden = isOver;
      at("progress").value = job.step / job.steps;
      at("job").textContent = {
        waiting: "Waiting for another job to end …",
        painting: `Step ${job.step} of ${job.steps}`,
        done: `${job.pictures} picture(s), seed ${job.seed}.`,
        cancelled: "Cancelled.",
        failed: "",
      }[job.state];
      await show(job);
      if (!isOver) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    } while (!isOver);
  } finally {
    if (followed === number) isOver = at("progress").hidden = at("cancel").hidden = true;
  }
  if (job.error) complain(job.error);
}

async function show(job) {
  const box = at("pictures");
  while (box.children.length > job.pictures) box.lastChild.remove();
  for (let variant = 0; variant < job.pictures; variant++) {
    const figure = box.children[variant] ?? box.appendChild(emptyFigure());
    const picture = figure.querySelector("img"), address = `/api/jobs/${job.number}/pictures/${variant}.png`;
    picture.alt = `Picture ${variant + 1}${job.state === "done" ? "" : ", still being denoised"}`;
    picture.src = `${address}?step=${job.state === "done" ? "end" : job.step}`;
    const button = figure.querySelector("button");
    button.disabled = job.state !== "done";
    if (figure.dataset.job !== String(job.number)) button.textContent = "Add to dataset";
    figure.dataset.job = job.number;
    button.onclick = () => attempt(async () => {
      const saved = await send(`/api/jobs/${job.number}/pictures/${variant}/save`, {});
      button.textContent = "Added ✓";
      button.disabled = true;
      at("saved").textContent = `${saved.painted} pair(s) so far in ${saved.out}; the last is ${saved.file}.`;
    });
  }
}

function emptyFigure() {
  const figure = document.createElement("figure");
  figure.append(new Image(), document.createElement("button"));
  return figure;
}
