// Fields with their labels, hints and errors, and forms that show what the server has against them.
import { html, useId, useState } from "../html.js";

/**
 * The state of a form. `submit(values)` may throw Problem, whose field errors go to the fields. Gives
 * {values, set, setValues, errors, problem, busy, onSubmit, changed, guarded}; `set(name)` is a setter for one value. A
 * form drawn with the attributes `guarded` is not left behind unasked while its values differ from `initial`.
 */
export function useForm(initial, submit) {
  const [values, setValues] = useState(initial);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const set = (name) => (value) => setValues((before) => ({ ...before, [name]: value }));
  const onSubmit = async (event) => {
    event?.preventDefault();
    if (busy) return;
    setBusy(true);
    setProblem(null);
    try {
      await submit(values);
    } catch (error) {
      setProblem(error);
    } finally {
      setBusy(false);
    }
  };
  const errors = Object.fromEntries((problem?.fields ?? []).map(({ field, message }) => [field, message]));
  const changed = asText(values) !== asText(initial);
  return { values, set, setValues, errors, problem, busy, onSubmit, changed, guarded: { onSubmit, "data-unsaved": changed || undefined } };
}

// Keys tell the rows of an editor apart and are no part of what is edited.
const asText = (values) => JSON.stringify(values, (name, value) => (name === "key" ? undefined : value));

/** What went wrong with a form as a whole; nothing where every error is at its field, one of `known`. */
export function FormProblem({ problem, known = [] }) {
  if (!problem) return null;
  const rest = problem.fields.filter(({ field }) => !known.includes(field));
  if (problem.sentences.length) {
    return html`<div class="problem" role="alert"><ul>${problem.sentences.map((one) => html`<li key=${one}>${one}</li>`)}</ul></div>`;
  }
  if (problem.fields.length && !rest.length) return html`<div class="problem" role="alert">Please look at the marked fields.</div>`;
  return html`<div class="problem" role="alert">
    ${rest.length ? html`<ul>${rest.map(({ field, message }) => html`<li key=${field}><b>${field}</b>: ${message}</li>`)}</ul>` : problem.message}
  </div>`;
}

/** A label with its input, hint and error. `type` as in HTML, or "area" or "select" (with `options` [[value, text]]). */
export function Field({ label, hint, error, type = "text", value, onChange, options, rows = 3, mono, ...rest }) {
  const id = useId();
  const notes = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  const shared = {
    id,
    "aria-describedby": notes,
    "aria-invalid": error ? "true" : undefined,
    class: mono ? "mono" : undefined,
    ...rest,
  };
  const onInput = (event) => onChange(type === "number" ? (event.target.value === "" ? null : event.target.valueAsNumber) : event.target.value);
  let input;
  if (type === "area") input = html`<textarea rows=${rows} ...${shared} value=${value ?? ""} onInput=${onInput} />`;
  else if (type === "select") {
    input = html`<select ...${shared} value=${value ?? ""} onChange=${onInput}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === (value ?? "")}>${text}</option>`)}
    </select>`;
  } else input = html`<input type=${type} ...${shared} value=${value ?? ""} onInput=${onInput} />`;
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${input}
    ${hint && html`<small id="${id}-hint">${hint}</small>`}
    ${error && html`<small id="${id}-error" class="error">${error}</small>`}
  </div>`;
}

/** A choice of yes or no. */
export function Toggle({ label, hint, value, onChange, disabled }) {
  const id = useId();
  return html`<div class="toggle">
    <input id=${id} type="checkbox" role="switch" checked=${Boolean(value)} disabled=${disabled}
      aria-describedby=${hint ? `${id}-hint` : undefined} onChange=${(event) => onChange(event.target.checked)} />
    <label for=${id}>${label}</label>
    ${hint && html`<small id="${id}-hint">${hint}</small>`}
  </div>`;
}

/** The button that sends a form. */
export function Submit({ busy, children, danger, disabled }) {
  return html`<button class=${danger ? "danger" : "primary"} disabled=${disabled} aria-busy=${busy ? "true" : "false"}>${busy ? "One moment…" : children}</button>`;
}
