// What keeps lists quick, and values unique in combination.
import { html } from "../html.js";
import { call } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { Field, FormProblem, Submit, Toggle, useForm } from "../parts/form.js";
import { Empty } from "../parts/states.js";
import { toast } from "../parts/toast.js";

let made = 0;

const removal = (gone) => ({
  title: gone.length === 1 ? `Remove the index ${gone[0].name}?` : `Remove ${gone.length} indexes?`,
  text: `${gone.map((index) => index.name).join(", ")}: records stay as they are; lists that it served become slower, and values that had to be unique need not be any more.`,
  undo: "You can add it again; a unique one only if the records still fit.",
  action: "Remove",
});

export function CollectionIndexes({ collection, reload }) {
  const initial = collection.indexes.map((index) => ({ key: ++made, name: index.name, fields: index.fields.join(", "), unique: index.unique }));
  const form = useForm({ indexes: initial }, async ({ indexes }) => {
    const gone = collection.indexes.filter((index) => !indexes.some(({ name }) => name.trim() === index.name));
    if (gone.length && !(await confirm(removal(gone)))) return;
    const body = { indexes: indexes.map(({ name, fields, unique }) => ({ name: name.trim(), fields: fields.split(",").map((one) => one.trim()).filter(Boolean), unique })) };
    await call("PATCH", `/collections/${collection.id}`, { body });
    toast("The indexes are saved.");
    await reload();
  });
  const { indexes } = form.values;
  const setIndexes = form.set("indexes");
  const change = (key, changes) => setIndexes(indexes.map((one) => (one.key === key ? { ...one, ...changes } : one)));
  const names = ["id", "created", "updated", ...collection.schema.fields.map((field) => field.name)].join(", ");
  return html`<form ...${form.guarded}>
    <div class="rows">
      ${indexes.map(
        (index, at) => html`<section key=${index.key} class="row" aria-label=${`Index ${index.name || "new"}`}>
          <div class="columns">
            <${Field} label="Name" mono required value=${index.name} onChange=${(name) => change(index.key, { name })} error=${form.errors[`indexes[${at}].name`]} />
            <${Field} label="Fields" mono required hint=${`In order, with commas. There are ${names}.`} value=${index.fields} onChange=${(fields) => change(index.key, { fields })} error=${form.errors[`indexes[${at}].fields`]} />
            <${Toggle} label="Unique" hint="No two records with the same values." value=${index.unique} onChange=${(unique) => change(index.key, { unique })} />
          </div>
          <div><button type="button" class="danger" onClick=${() => setIndexes(indexes.filter((one) => one.key !== index.key))}>Remove<span class="unseen"> ${index.name}</span></button></div>
        </section>`,
      )}
    </div>
    ${!indexes.length && html`<${Empty} title="No indexes of your own">Ids, times and unique fields have theirs already.</${Empty}>`}
    <${FormProblem} problem=${form.problem} />
    <div class="save">
      <${Submit} busy=${form.busy}>Save indexes</${Submit}>
      <button type="button" onClick=${() => setIndexes([...indexes, { key: ++made, name: "", fields: "", unique: false }])}>Add index</button>
    </div>
  </form>`;
}
