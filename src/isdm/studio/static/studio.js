// The page's start: its two tabs.

import { ask, attempt } from "./api.js";
import { openJudge } from "./judge.js";
import { openPaint } from "./paint.js";

const tabs = ["paint", "judge"];
const state = await attempt(() => ask("/api/state"));
if (state) {
  document.getElementById("model").textContent = `${state.model} · ${state.height} × ${state.width} pixels · ${state.classes.length} classes`;
  const painting = openPaint(state), judging = openJudge(state);
  const open = (name) => {
    for (const tab of tabs) {
      document.getElementById(tab).hidden = tab !== name;
      const button = document.getElementById(`tab-${tab}`);
      button.setAttribute("aria-selected", tab === name);
      button.tabIndex = tab === name ? 0 : -1;
    }
    location.replace(`#${name}`);
    (name === "judge" ? judging : painting).show();
  };
  for (const tab of tabs) {
    const button = document.getElementById(`tab-${tab}`);
    button.addEventListener("click", () => open(tab));
    button.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      event.stopPropagation();
      const other = tabs[1 - tabs.indexOf(tab)];
      open(other);
      document.getElementById(`tab-${other}`).focus();
    });
  }
  open(location.hash === "#judge" ? "judge" : "paint");
  document.body.dataset.ready = "true";
}
