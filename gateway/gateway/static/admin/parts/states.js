// What a screen shows before, instead of and beside its data.
import { html } from "../html.js";

/** Shown after a moment only, so that what is quick does not flicker. */
export function Loading() {
  return html`<div class="state late" role="status"><span class="spinner" aria-hidden="true"></span>Loading…</div>`;
}

/** A failed load, with a way to try again. */
export function Failed({ error, retry }) {
  return html`<div class="state failed" role="alert">
    <strong>${error.status === 403 ? "You may not see this" : error.status === 404 ? "There is nothing here" : "This did not work"}</strong>
    <span>${error.message}</span>
    ${error.fields?.map(({ field, message }) => html`<span key=${field}>${field}: ${message}</span>`)}
    ${error.requestId && html`<small>Request ${error.requestId}</small>`}
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

/** Nothing there yet; `children` say what to do about it. */
export function Empty({ title, children }) {
  return html`<div class="state empty"><strong>${title}</strong>${children && html`<span>${children}</span>`}</div>`;
}

/** The data of a load, or the state that it is in. Data that was loaded stays while it is loaded again. */
export function Loaded({ load, children }) {
  if (load.error && !load.data) return html`<${Failed} error=${load.error} retry=${load.reload} />`;
  if (!load.data) return html`<${Loading} />`;
  return html`<div class=${load.loading ? "loaded stale" : "loaded"} aria-busy=${load.loading ? "true" : "false"}>
    ${load.error && html`<${Failed} error=${load.error} retry=${load.reload} />`}
    ${children(load.data)}
  </div>`;
}

/** Several loads that come into sight together, so that none pushes away what another has brought. */
export function Together({ loads, children }) {
  return loads.every(({ data, error }) => data || error) ? children : html`<${Loading} />`;
}
