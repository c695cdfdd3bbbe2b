// Questions in front of the page. The browser's own dialog keeps the focus inside and closes on Escape.
import { html, useEffect, useId, useRef, useState } from "../html.js";
import { createStore, useStore } from "./store.js";

// Where the hands go first: what is to be filled in, else the way out without doing anything.
const FIRST = "form :is(input, select, textarea):not([type=checkbox], [type=file]), footer button[type=button]:not(.danger)";

/** A dialog that is open as long as it is drawn. Escape and ✕ ask first where something in it is not saved. */
export function Dialog({ title, onClose, wide, children }) {
  const box = useRef(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    box.current.querySelector(FIRST)?.focus();
    return () => before?.focus?.();
  }, []);
  const close = async (event) => {
    event.preventDefault();
    if (await mayLeave(box.current)) onClose();
  };
  return html`<dialog ref=${box} class=${wide ? "wide" : ""} aria-labelledby=${id} onCancel=${close}>
    <header>
      <h2 id=${id}>${title}</h2>
      <button type="button" class="quiet icon" aria-label="Close" onClick=${close}>✕</button>
    </header>
    ${children}
  </dialog>`;
}

const question = createStore(null);

/**
 * Asks whether to go on; resolves to true or false. `undo` says whether and how it can be taken back; with `typed` that
 * word has to be typed first.
 */
export function confirm({ title, text, undo, action, danger = true, typed }) {
  return new Promise((resolve) => {
    question.set({ title, text, undo, action, danger, typed, resolve });
  });
}

/** Whether nothing below `root` is unsaved, or may be lost. Forms say it of themselves: see `guarded` of useForm. */
export async function mayLeave(root = document) {
  if (!root.querySelector("form[data-unsaved]")) return true;
  return confirm({ title: "Leave without saving?", text: "What you have changed here is not saved yet.", undo: "It is lost once you leave.", action: "Leave" });
}

addEventListener("beforeunload", (event) => document.querySelector("form[data-unsaved]") && event.preventDefault());

/** Where `confirm` asks. Drawn once. */
export function ConfirmHost() {
  const asked = useStore(question);
  return asked && html`<${Question} key=${asked.title} ...${asked} />`;
}

function Question({ title, text, undo, action, danger, typed, resolve }) {
  const [word, setWord] = useState("");
  const answer = (value) => {
    question.set(null);
    resolve(value);
  };
  const submit = (event) => {
    event.preventDefault();
    if (!typed || word === typed) answer(true);
  };
  return html`<${Dialog} title=${title} onClose=${() => answer(false)}>
    <form onSubmit=${submit}>
      <p>${text}</p>
      <p class="undo">${undo}</p>
      ${typed &&
      html`<label class="field">
        <span>Type <b>${typed}</b> to confirm</span>
        <input value=${word} onInput=${(event) => setWord(event.target.value)} autocomplete="off" spellcheck=${false} />
      </label>`}
      <footer>
        <button type="button" onClick=${() => answer(false)}>Cancel</button>
        <button class=${danger ? "danger" : "primary"} disabled=${Boolean(typed) && word !== typed}>${action}</button>
      </footer>
    </form>
  </${Dialog}>`;
}
