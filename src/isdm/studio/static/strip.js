// Strips of pictures to choose from. A strip is one stop for Tab, and its arrow keys go through it: nobody without a
// pointer should have to pass a hundred photographs to reach the next tool.

export function addChoice(strip, button, choose) {
  button.tabIndex = strip.children.length ? -1 : 0;
  button.addEventListener("click", choose);
  button.addEventListener("keydown", (event) => {
    const { children } = strip, place = [...children].indexOf(button);
    const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: children.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (children[to]) stopAt(strip, children[to]).focus();
  });
  strip.append(button);
}

// Show one of them, or null for none, as the chosen one.
export function press(strip, button) {
  for (const other of strip.children) other.setAttribute("aria-pressed", other === button);
  if (button) stopAt(strip, button);
}

function stopAt(strip, button) {
  for (const other of strip.children) other.tabIndex = other === button ? 0 : -1;
  return button;
}
