// Records as files, out and in, with progress.
import { html, useState } from "../html.js";
import { download, upload } from "../parts/api.js";
import { Dialog } from "../parts/dialog.js";
import { FormProblem } from "../parts/form.js";
import { showBytes, showNumber } from "../parts/format.js";
import { tell } from "../parts/toast.js";

const TYPES = { csv: "text/csv", ndjson: "application/x-ndjson", jsonl: "application/x-ndjson" };

export function ExportButton({ collection, filter }) {
  const [size, setSize] = useState(null);
  const save = async (format) => {
    setSize(0);
    const name = `${collection.name}.${format}`;
    await tell(() => download(`/collections/${collection.name}/records/export`, { format, filter }, name, setSize), (bytes) => `Saved ${name}, ${showBytes(bytes)}.`);
    setSize(null);
  };
  if (size !== null) return html`<button type="button" aria-busy="true">${showBytes(size)}…</button>`;
  return html`<button type="button" onClick=${() => save("ndjson")}>Export NDJSON</button>
    <button type="button" onClick=${() => save("csv")}>Export CSV</button>`;
}

export function ImportDialog({ collection, onClose, onDone }) {
  const [file, setFile] = useState(null);
  const [progress, setProgress] = useState(null);
  const [result, setResult] = useState(null);
  const [problem, setProblem] = useState(null);
  const start = async (event) => {
    event.preventDefault();
    setProblem(null);
    setResult(null);
    setProgress({ sent: 0 });
    try {
      const type = TYPES[file.name.split(".").pop().toLowerCase()] ?? "application/x-ndjson";
      setResult(await upload(`/collections/${collection.name}/records/import`, file, type, setProgress));
      onDone();
    } catch (error) {
      setProblem(error);
    }
    setProgress(null);
  };
  return html`<${Dialog} title=${`Import into ${collection.name}`} onClose=${onClose}>
    <form onSubmit=${start}>
      <label class="field"><span>File</span>
        <input type="file" required accept=".ndjson,.jsonl,.csv" onChange=${(event) => setFile(event.target.files[0])} />
        <small>NDJSON, one record to a line, or CSV with a header. Records are added; none is changed or deleted.</small>
      </label>
      ${progress && html`<${ImportProgress} ...${progress} />`}
      <${FormProblem} problem=${problem} />
      <div role="status">${result && html`<${ImportResult} result=${result} />`}</div>
      <footer>
        <button type="button" onClick=${onClose}>${result ? "Close" : "Cancel"}</button>
        <button class="primary" disabled=${!file || progress}>Import</button>
      </footer>
    </form>
  </${Dialog}>`;
}

/** How much of the file is sent, and how far the server is with what has come. */
function ImportProgress({ sent, line, created, failed }) {
  const done = line === undefined ? "" : ` ${showNumber(line)} lines so far: ${showNumber(created)} added, ${showNumber(failed)} refused.`;
  return html`<label class="field"><span>${sent < 1 ? `Sending, ${Math.floor(sent * 100)} %.` : "Sent; the server is at work."}${done}</span>
    <progress max="1" value=${sent < 1 ? sent : undefined} />
  </label>`;
}

function ImportResult({ result }) {
  return html`<p><b>${showNumber(Number(result.created))}</b> added, <b>${showNumber(Number(result.failed))}</b> refused.</p>
    ${result.errors.length > 0 &&
    html`<ul class="pick">${result.errors.map((one) => html`<li key=${one.line}>Line ${one.line}: ${one.errors?.length ? one.errors.map(({ field, message }) => `${field} ${message}`).join(" ") : one.detail}</li>`)}</ul>`}`;
}
