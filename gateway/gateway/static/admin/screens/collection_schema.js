// The fields of a collection's records.
import { html, useState } from "../html.js";
import { call } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { FormProblem, Submit, useForm } from "../parts/form.js";
import { Empty } from "../parts/states.js";
import { toast } from "../parts/toast.js";
import { FieldEditor } from "./field_editor.js";

let made = 0;
/** Fields with a key of their own, as names may change. */
const keyed = (fields) => fields.map((field) => ({ ...field, key: field.id ?? `new-${++made}` }));

export function CollectionSchema({ collection, reload }) {
  const [open, setOpen] = useState(null);
  const form = useForm({ fields: keyed(collection.schema.fields) }, async ({ fields }) => {
    const gone = collection.schema.fields.filter((field) => !fields.some((one) => one.id === field.id));
    if (gone.length && !(await confirm(removal(gone)))) return;
    await call("PATCH", `/collections/${collection.id}`, { body: { schema: { fields: fields.map(sendable) } } });
    toast("The schema is saved.");
    await reload();
  });
  const { fields } = form.values;
  const setFields = form.set("fields");
  const change = (key, changes) => setFields(fields.map((field) => (field.key === key ? { ...field, ...changes } : field)));
  const move = (index, by) => {
    const next = [...fields];
    next.splice(index + by, 0, ...next.splice(index, 1));
    setFields(next);
  };
  const add = () => {
    const [field] = keyed([{ name: "", type: "text" }]);
    setFields([...fields, field]);
    setOpen(field.key);
  };
  return html`<form ...${form.guarded}>
    ${collection.type === "auth" && html`<p>Every member has <b>email</b>, <b>verified</b> and <b>email_visibility</b> beside these.</p>`}
    <div class="rows">
      ${fields.map(
        (field, index) => html`<${FieldEditor} key=${field.key} field=${field} open=${open === field.key}
          onToggle=${() => setOpen(open === field.key ? null : field.key)} onChange=${(changes) => change(field.key, changes)}
          onUp=${index > 0 && (() => move(index, -1))} onDown=${index < fields.length - 1 && (() => move(index, 1))}
          onRemove=${() => setFields(fields.filter((one) => one.key !== field.key))} error=${errorsOf(form.problem, index)} />`,
      )}
    </div>
    ${!fields.length && html`<${Empty} title="No fields yet">Records hold nothing but their id and times.</${Empty}>`}
    <${FormProblem} problem=${form.problem} />
    <div class="save">
      <${Submit} busy=${form.busy}>Save schema</${Submit}>
      <button type="button" onClick=${add}>Add field</button>
    </div>
  </form>`;
}

const removal = (gone) => ({
  title: gone.length === 1 ? `Remove the field ${gone[0].name}?` : `Remove ${gone.length} fields?`,
  text: `${gone.map((field) => field.name).join(", ")}: the values in all records go with it.`,
  undo: "This cannot be undone.",
  action: "Remove",
});

/** What the server has against the field at `index`. */
function errorsOf(problem, index) {
  return (problem?.fields ?? []).filter(({ field }) => field.startsWith(`schema.fields[${index}]`)).map(({ message }) => message).join(" ");
}

/** A field as it is sent: only what is set, so that options of another type do not stay. */
function sendable({ key, ...field }) {
  return Object.fromEntries(Object.entries(field).filter(([, value]) => value !== null && value !== "" && value !== undefined && !(Array.isArray(value) && !value.length)));
}
