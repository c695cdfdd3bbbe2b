// One record, all of its fields. Saved only if nobody else has changed it in the meantime.
import { html, useEffect, useState } from "../html.js";
import { call, respond } from "../parts/api.js";
import { confirm, Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, Toggle, useForm } from "../parts/form.js";
import { showTime } from "../parts/format.js";
import { Failed, Loading } from "../parts/states.js";
import { tell, toast } from "../parts/toast.js";
import { valueOf } from "./record_cell.js";
import { RelationPicker } from "./relation_picker.js";

export function RecordDialog({ collection, id, onClose, onSaved }) {
  const [found, setFound] = useState(id === "new" ? { record: null } : null);
  const [error, setError] = useState(null);
  const path = `/collections/${collection.name}/records`;
  const load = async () => {
    setError(null);
    try {
      const answer = await respond("GET", `${path}/${id}`);
      setFound({ record: await answer.json(), etag: answer.headers.get("etag") });
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => {
    if (id !== "new") load();
  }, [id]);
  return html`<${Dialog} title=${id === "new" ? `New record of ${collection.name}` : "Record"} onClose=${onClose} wide>
    ${error && html`<${Failed} error=${error} retry=${load} />`}
    ${!error && !found && html`<${Loading} />`}
    ${found && html`<${RecordForm} key=${found.etag} collection=${collection} path=${path} ...${found} onClose=${onClose} onSaved=${onSaved} />`}
  </${Dialog}>`;
}

function RecordForm({ collection, path, record, etag, onClose, onSaved }) {
  const fields = collection.schema.fields.filter((field) => field.type !== "autodate");
  const initial = Object.fromEntries(fields.map((field) => [field.name, typed(field, record?.data[field.name] ?? (record ? null : field.default))]));
  const form = useForm(initial, async (values) => {
    const changed = fields.filter((field) => !record || values[field.name] !== initial[field.name]);
    const data = Object.fromEntries(changed.map((field) => [field.name, sent(field, values[field.name])]).filter(([, value]) => record || value !== null));
    if (record) await call("PATCH", `${path}/${record.id}`, { body: { data }, headers: { "if-match": etag } });
    else await call("POST", path, { body: { data } });
    toast(record ? "The record is saved." : "The record is added.");
    onSaved();
    onClose();
  });
  const remove = async () => {
    const question = { title: "Delete this record?", text: `${record.id} of ${collection.name}.`, undo: "This cannot be undone.", action: "Delete" };
    if ((await confirm(question)) && (await tell(() => call("DELETE", `${path}/${record.id}`, { headers: { "if-match": etag } }), "The record is deleted."))) {
      onSaved();
      onClose();
    }
  };
  const errorOf = (name) => form.errors[`data.${name}`] ?? form.errors[name];
  return html`<form onSubmit=${form.onSubmit}>
    ${record && html`<p><small class="mono">${record.id}</small><br /><small>Created ${showTime(record.created)}, changed ${showTime(record.updated)}</small></p>`}
    ${fields.map((field) => html`<${Value} key=${field.name} field=${field} value=${form.values[field.name]} onChange=${form.set(field.name)} error=${errorOf(field.name)} />`)}
    <${FormProblem} problem=${form.problem?.code === "PRECONDITION_FAILED" ? stale() : form.problem} known=${fields.flatMap((field) => [field.name, `data.${field.name}`])} />
    <footer>
      ${record && html`<button type="button" class="danger" onClick=${remove}>Delete</button>`}
      <button type="button" onClick=${onClose}>Cancel</button>
      <${Submit} busy=${form.busy}>${record ? "Save" : "Add record"}</${Submit}>
    </footer>
  </form>`;
}

const stale = () => Object.assign(new Error("Somebody else has changed this record since you opened it. Close it and open it again."), { sentences: [], fields: [] });

function Value({ field, value, onChange, error }) {
  const shared = { label: field.name, value, onChange, error, required: field.required && field.type !== "bool" };
  const hint = [field.required && "Required.", field.unique && "Unique.", field.hidden && "Seen by admins only."].filter(Boolean).join(" ") || undefined;
  if (field.type === "bool") return html`<${Toggle} label=${field.name} hint=${hint} value=${value === "true"} onChange=${(on) => onChange(String(on))} />`;
  if (field.type === "relation") return html`<${RelationPicker} field=${field} hint=${hint} value=${value} onChange=${onChange} error=${error} />`;
  if (field.type === "select" && !(field.max_select > 1)) return html`<${Field} ...${shared} type="select" hint=${hint} options=${[["", "–"], ...field.values.map((one) => [one, one])]} />`;
  if (field.type === "select") return html`<${Field} ...${shared} type="area" hint=${`One to a line: ${field.values.join(", ")}.`} />`;
  if (field.type === "editor") return html`<${Field} ...${shared} type="area" rows=${6} hint=${hint} />`;
  if (field.type === "json" || field.type === "geopoint") return html`<${Field} ...${shared} type="area" mono hint=${field.type === "json" ? "Any JSON." : '{"lat": 52.52, "lon": 13.4}'} />`;
  const type = { number: "number", email: "email", url: "url", date: "date" }[field.type] ?? "text";
  return html`<${Field} ...${shared} type=${type} step="any" hint=${field.type === "datetime" ? "Such as 2026-03-02T12:30:00Z." : hint}
    onChange=${(next) => onChange(next === null ? "" : String(next))} />`;
}

/** A value as the form holds it: text, or a list of ids for relations. */
function typed(field, value) {
  if (field.type === "relation") return [].concat(value ?? []).join(" ");
  if (value === null || value === undefined) return "";
  if (field.type === "json" || field.type === "geopoint") return JSON.stringify(value, null, 2);
  if (field.type === "select" && Array.isArray(value)) return value.join("\n");
  return String(value);
}

/** And as it is sent. Throws for what is not JSON. */
function sent(field, text) {
  const many = field.max_select > 1;
  if (field.type === "relation") return many ? text.split(" ").filter(Boolean) : text || null;
  if (field.type === "select" && many) return text.split("\n").map((one) => one.trim()).filter(Boolean);
  if (text !== "" && (field.type === "json" || field.type === "geopoint")) {
    try {
      return JSON.parse(text);
    } catch {
      throw Object.assign(new Error("This is not JSON."), { sentences: [], fields: [{ field: field.name, message: "Is not JSON." }] });
    }
  }
  return valueOf(field, text);
}
