// All collections.
import { html, useState } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { Badge, Head, Time } from "../parts/marks.js";
import { go, link } from "../parts/router.js";
import { Empty, Loaded } from "../parts/states.js";
import { Pager, Table } from "../parts/table.js";
import { toast } from "../parts/toast.js";

const COLUMNS = [
  { name: "name", title: "Name", cell: (row) => html`<a href=${link("collections", row.name)}><b>${row.name}</b></a>` },
  { name: "type", title: "Type", cell: (row) => html`<${Badge} tone=${row.type === "auth" ? "info" : "plain"}>${row.type}</${Badge}>` },
  { name: "fields", title: "Fields", fit: "wide", cell: (row) => row.schema.fields.map((field) => field.name).join(", ") || "–" },
  { name: "list_rule", title: "Who may list", optional: true, fit: "clip", cell: (row) => ruleInWords(row.list_rule) },
  { name: "updated", title: "Changed", optional: true, cell: (row) => html`<${Time} value=${row.updated} />` },
  {
    name: "actions",
    title: "Actions",
    fit: "whole",
    cell: (row) => html`<a class="button" href=${link("collections", row.name, "records")}>Records<span class="unseen"> of ${row.name}</span></a>`,
  },
];

export function Collections({ query }) {
  const { page = 1 } = query;
  const [adding, setAdding] = useState(false);
  const collections = useLoad((signal) => call("GET", "/collections", { query: { page, per_page: 50 }, signal }), [page]);
  return html`
    <${Head} title="Collections" about="Schemas, rules and records">
      <button type="button" class="primary" onClick=${() => setAdding(true)}>New collection</button>
    </${Head}>
    <${Loaded} load=${collections}>
      ${(list) =>
        list.items.length
          ? html`<${Pager} page=${list.page} total=${list.total} totalPages=${list.total_pages} noun="collections" />
              <${Table} caption="Collections" columns=${COLUMNS} rows=${list.items} onRow=${(row) => go(link("collections", row.name))} />`
          : html`<${Empty} title="No collections yet">A collection holds records of one shape; one of type auth holds users of your own.</${Empty}>`}
    </${Loaded}>
    ${adding && html`<${NewCollection} onClose=${() => setAdding(false)} />`}
  `;
}

/** null, "" and an expression, as people say them. */
export function ruleInWords(rule) {
  if (rule === null) return html`<${Badge}>admins only</${Badge}>`;
  if (rule === "") return html`<${Badge} tone="warn">anyone</${Badge}>`;
  return html`<span class="mono" title=${rule}>${rule}</span>`;
}

function NewCollection({ onClose }) {
  const form = useForm({ name: "", type: "base" }, async (values) => {
    const made = await call("POST", "/collections", { body: values });
    toast(`${made.name} is there. Now its fields.`);
    go(link("collections", made.name));
  });
  const { values, set, errors } = form;
  return html`<${Dialog} title="New collection" onClose=${onClose}>
    <form ...${form.guarded}>
      <${FormProblem} problem=${form.problem} known=${["name", "type"]} />
      <${Field} label="Name" required mono hint="Small letters, digits and underscores; it is part of the address." value=${values.name} onChange=${set("name")} error=${errors.name} />
      <${Field} label="Type" type="select" options=${[["base", "base – records"], ["auth", "auth – users who sign in"]]} value=${values.type} onChange=${set("type")} error=${errors.type} />
      <footer><button type="button" onClick=${onClose}>Cancel</button><${Submit} busy=${form.busy}>Create</${Submit}></footer>
    </form>
  </${Dialog}>`;
}
