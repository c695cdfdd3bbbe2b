// What is done to several records at once: choosing them, changing one field of all, deleting them.
import { html, useEffect, useState } from "../html.js";
import { call } from "../parts/api.js";
import { confirm, Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { showNumber } from "../parts/format.js";
import { toast } from "../parts/toast.js";
import { editable, sent, Value } from "./record_values.js";

/** Which of the records that are shown are chosen: {ids, set, column}. Starts anew whenever `deps` change. */
export function useChosen(records, deps) {
  const [chosen, setChosen] = useState([]);
  useEffect(() => setChosen([]), deps);
  const shown = records.map((record) => record.id);
  // What has gone meanwhile is not chosen any more.
  const ids = chosen.filter((id) => shown.includes(id));
  const all = shown.length > 0 && ids.length === shown.length;
  const toggle = (id) => setChosen(ids.includes(id) ? ids.filter((one) => one !== id) : [...ids, id]);
  const column = {
    name: "chosen",
    title: html`<input type="checkbox" aria-label="Choose all on this page" checked=${all} indeterminate=${ids.length > 0 && !all} onChange=${() => setChosen(all ? [] : shown)} />`,
    cell: (row) => html`<input type="checkbox" aria-label=${`Choose ${row.id}`} checked=${ids.includes(row.id)} onChange=${() => toggle(row.id)} />`,
  };
  return { ids, set: setChosen, column };
}

/** How many are chosen, and what can be done to them. */
export function BulkBar({ collection, chosen, onDone }) {
  const [changing, setChanging] = useState(false);
  const path = `/collections/${collection.name}/records`;
  const many = counted(chosen.ids.length);
  const done = (result, verb) => {
    chosen.set(result.errors.map(({ index }) => chosen.ids[index]));
    onDone();
    if (result.failed) toast(`${counted(result.success)} ${verb}, ${showNumber(result.failed)} refused and still chosen: ${reason(result.errors[0])}`, "bad");
    else toast(`${counted(result.success)} ${verb}.`);
  };
  const remove = async () => {
    const question = { title: `Delete ${many}?`, text: `They go from ${collection.name} at once.`, undo: "This cannot be undone. Export them first if you may need them.", action: `Delete ${many}` };
    if (!(await confirm(question))) return;
    try {
      done(await call("POST", `${path}/bulk-delete`, { body: { record_ids: chosen.ids } }), "deleted");
    } catch (problem) {
      toast(problem.message, "bad");
    }
  };
  return html`<span>
      <b role="status">${many} chosen</b>
      ${editable(collection).length > 0 && html`<button type="button" onClick=${() => setChanging(true)}>Change…</button>`}
      <button type="button" class="danger" onClick=${remove}>Delete…</button>
      <button type="button" class="quiet" onClick=${() => chosen.set([])}>None</button>
    </span>
    ${changing && html`<${ChangeDialog} collection=${collection} path=${path} ids=${chosen.ids} onClose=${() => setChanging(false)} onDone=${done} />`}`;
}

const counted = (count) => `${showNumber(count)} ${count === 1 ? "record" : "records"}`;
const reason = ({ detail, errors }) => (errors?.length ? `${errors[0].field.replace("data.", "")} ${errors[0].message}.` : detail);

function ChangeDialog({ collection, path, ids, onClose, onDone }) {
  const fields = editable(collection);
  const named = (name) => fields.find((field) => field.name === name);
  const blank = (name) => ({ name, value: named(name).type === "bool" ? "false" : "" });
  const form = useForm(blank(fields[0].name), async ({ name, value }) => {
    const data = { [name]: sent(named(name), value) };
    onDone(await call("POST", `${path}/bulk-update`, { body: { record_ids: ids, data } }), "changed");
    onClose();
  });
  const field = named(form.values.name);
  return html`<${Dialog} title=${`Change ${counted(ids.length)}`} onClose=${onClose}>
    <form ...${form.guarded}>
      <${Field} label="Field" type="select" options=${fields.map(({ name }) => [name, name])} value=${field.name} onChange=${(name) => form.setValues(blank(name))} />
      <${Value} key=${field.name} field=${{ ...field, required: false }} value=${form.values.value} onChange=${form.set("value")} error=${form.errors[field.name] ?? form.errors[`data.${field.name}`]} />
      <p class="undo">All of them get this value; left empty, they lose theirs. What they have now is not kept.</p>
      <${FormProblem} problem=${form.problem} known=${[field.name, `data.${field.name}`]} />
      <footer><button type="button" onClick=${onClose}>Cancel</button><${Submit} busy=${form.busy}>Change ${counted(ids.length)}</${Submit}></footer>
    </form>
  </${Dialog}>`;
}
