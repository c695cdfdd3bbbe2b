// A word on what has happened, in the corner.
import { html } from "../html.js";
import { createStore, useStore } from "./store.js";

const toasts = createStore([]);
let last = 0;

/** Tells something; `tone` is good or bad. What went wrong stays until it is closed. */
export function toast(text, tone = "good") {
  const id = ++last;
  toasts.set([...toasts.get().slice(-3), { id, text, tone }]);
  if (tone === "good") setTimeout(() => dismiss(id), 6000);
}

/** Does something and tells how it went; gives true where it went well. */
export async function tell(work, done) {
  try {
    const result = await work();
    toast(typeof done === "function" ? done(result) : done);
    return true;
  } catch (problem) {
    toast([problem.message, ...(problem.fields ?? []).map(({ field, message }) => `${field}: ${message}`)].join(" "), "bad");
    return false;
  }
}

function dismiss(id) {
  toasts.set(toasts.get().filter((one) => one.id !== id));
}

/** Where they appear. Drawn once. */
export function ToastHost() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${useStore(toasts).map(
      (one) => html`<div key=${one.id} class="toast ${one.tone}">
        <span>${one.text}</span>
        <button type="button" class="quiet icon" aria-label="Dismiss" onClick=${() => dismiss(one.id)}>✕</button>
      </div>`,
    )}
  </div>`;
}
