// One record, all of its fields. Saved only if nobody else has changed it in the meantime.
import { html, useEffect, useState } from "../html.js";
import { call, respond } from "../parts/api.js";
import { confirm, Dialog } from "../parts/dialog.js";
import { FormProblem, Submit, useForm } from "../parts/form.js";
import { showTime } from "../parts/format.js";
import { Failed, Loading } from "../parts/states.js";
import { tell, toast } from "../parts/toast.js";
import { editable, sent, typed, Value } from "./record_values.js";

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
  const fields = editable(collection);
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
  return html`<form ...${form.guarded}>
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
