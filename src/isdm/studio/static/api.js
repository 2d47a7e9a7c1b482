// Requests to the studio; what it refuses is shown in its own words.

const error = document.getElementById("error");

export function complain(message) {
  error.textContent = message;
  error.hidden = !message;
  if (message) error.scrollIntoView({ block: "nearest" });
}

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The studio does not answer: was it ended in its terminal? Start it again, then reload the page.");
  }
  const values = await answer.json().catch(() => ({ error: `The studio failed (${answer.status}); its terminal says more.` }));
  if (!answer.ok) throw new Error(values.error);
  return values;
}

export const send = (path, values) => ask(path, { method: "POST", body: JSON.stringify(values) });

// Run something that may fail, and show why it did.
export async function attempt(action) {
  try {
    complain("");
    return await action();
  } catch (problem) {
    complain(problem.message);
    return null;
  }
}
