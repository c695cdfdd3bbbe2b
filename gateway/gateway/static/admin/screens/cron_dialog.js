// Adding a job: an HTTP request, or emptying or exporting a collection.
import { html } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { go, link } from "../parts/router.js";
import { toast } from "../parts/toast.js";

const TYPES = [["http", "Send an HTTP request"], ["export", "Export a collection"], ["truncate", "Delete all records of a collection"]];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].map((method) => [method, method]);
const FORMATS = [["ndjson", "NDJSON"], ["csv", "CSV"]];
const KNOWN = ["name", "interval", "type", "description", "method", "url", "body", "collection", "format", "keep"];
// What each type takes beside what all take.
const TAKES = { http: ["method", "url", "body"], export: ["collection", "format", "keep"], truncate: ["collection"] };

export function AddJob({ onClose }) {
  const collections = useLoad((signal) => call("GET", "/collections", { query: { per_page: 500 }, signal }), []);
  const initial = { name: "", interval: "24h", type: "http", description: "", method: "GET", url: "", body: "", collection: "", format: "ndjson", keep: 7 };
  const form = useForm(initial, async (values) => {
    const names = ["name", "interval", "type", "description", ...TAKES[values.type]];
    const body = Object.fromEntries(names.filter((name) => values[name] !== "").map((name) => [name, values[name]]));
    const made = await call("POST", "/admin/cron", { body });
    toast(`${made.name} is on the schedule.`);
    go(link("cron", made.name));
  });
  const { values, set, errors } = form;
  const names = (collections.data?.items ?? []).map((one) => [one.name, one.name]);
  return html`<${Dialog} title="Add job" onClose=${onClose}>
    <form ...${form.guarded}>
      <${FormProblem} problem=${form.problem} known=${KNOWN} />
      <${Field} label="What it does" type="select" options=${TYPES} value=${values.type} onChange=${set("type")} error=${errors.type} />
      <${Field} label="Name" mono required hint="Small letters, digits and underscores." value=${values.name} onChange=${set("name")} error=${errors.name} />
      <${Field} label="Interval" mono required hint="90s, 1h, 24h, or a cron line of five fields in UTC." value=${values.interval} onChange=${set("interval")} error=${errors.interval} />
      <${Field} label="Description" value=${values.description} onChange=${set("description")} error=${errors.description} />
      ${values.type === "http"
        ? html`<${Field} label="Method" type="select" options=${METHODS} value=${values.method} onChange=${set("method")} error=${errors.method} />
            <${Field} label="Address" type="url" required placeholder="https://example.com/hook" hint="http or https, a public address." value=${values.url} onChange=${set("url")} error=${errors.url} />
            <${Field} label="Body" type="area" mono value=${values.body} onChange=${set("body")} error=${errors.body} />`
        : html`<${Field} label="Collection" type="select" required options=${[["", "Choose…"], ...names]} value=${values.collection} onChange=${set("collection")} error=${errors.collection} />`}
      ${values.type === "export" &&
      html`<${Field} label="Format" type="select" options=${FORMATS} value=${values.format} onChange=${set("format")} error=${errors.format} />
        <${Field} label="Files kept" type="number" min="1" max="1000" required value=${values.keep} onChange=${set("keep")} error=${errors.keep} />`}
      ${values.type === "truncate" && html`<p class="undo">Every run deletes all records. That cannot be undone.</p>`}
      <footer><button type="button" onClick=${onClose}>Cancel</button><${Submit} busy=${form.busy} danger=${values.type === "truncate"}>Add job</${Submit}></footer>
    </form>
  </${Dialog}>`;
}
