// Choosing the records that a relation points to, by what they are called.
import { html, useId, useState } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { Badge } from "../parts/marks.js";
import { labelOf } from "./record_cell.js";

const SHOWN = 10;

/** `value` holds the ids, separated by spaces. */
export function RelationPicker({ field, value, onChange, error, hint }) {
  const [search, setSearch] = useState("");
  const id = useId();
  const ids = value.split(" ").filter(Boolean);
  const many = field.max_select > 1;
  const chosen = useLoad((signal) => labels(field.collection, ids, signal), [value]);
  const found = useLoad((signal) => find(field.collection, search, signal), [search]);
  const add = (record) => onChange(many ? [...new Set([...ids, record.id])].join(" ") : record.id);
  return html`<div class="field" role="group" aria-labelledby=${id}>
    <span id=${id}>${field.name}</span>
    <span class="chips">
      ${ids.map((one) => html`<span key=${one}><${Badge} tone="info">${chosen.data?.[one] ?? one}</${Badge}><button type="button" class="quiet icon" aria-label=${`Remove ${chosen.data?.[one] ?? one}`} onClick=${() => onChange(ids.filter((other) => other !== one).join(" "))}>✕</button></span>`)}
      ${!ids.length && html`<small>None</small>`}
    </span>
    <details>
      <summary>Choose from ${field.collection}</summary>
      <input type="search" aria-label=${`Search ${field.collection}`} placeholder="Search" value=${search} onInput=${(event) => setSearch(event.target.value)} />
      <ul class="pick">
        ${(found.data ?? []).map((record) => html`<li key=${record.id}><button type="button" class="quiet" aria-pressed=${ids.includes(record.id) ? "true" : "false"} onClick=${() => add(record)}>${labelOf(record)}</button></li>`)}
      </ul>
      ${found.error && html`<small class="error">${found.error.message}</small>`}
      ${found.data?.length === 0 && html`<small>Nothing found.</small>`}
    </details>
    ${hint && html`<small>${hint}</small>`}
    ${error && html`<small class="error">${error}</small>`}
  </div>`;
}

/** The names of records, by id; of those that cannot be seen there is none. */
async function labels(collection, ids, signal) {
  if (!ids.length) return {};
  const filter = ids.map((id) => `id = ${JSON.stringify(id)}`).join(" || ");
  const page = await call("GET", `/collections/${collection}/records`, { query: { filter, per_page: 100, skip_total: true }, signal });
  return Object.fromEntries(page.items.map((record) => [record.id, labelOf(record)]));
}

/** The records in whose texts the search occurs. Which those are is told by the first records, so no schema is needed. */
async function find(collection, search, signal) {
  const query = { per_page: SHOWN, skip_total: true };
  const path = `/collections/${collection}/records`;
  const first = await call("GET", path, { query, signal });
  if (!search) return first.items;
  const values = first.items.flatMap((record) => Object.entries(record.data));
  const texts = new Set(values.filter(([, value]) => typeof value === "string").map(([name]) => name));
  if (!texts.size) return first.items;
  const filter = [...texts].map((name) => `${name} ~ ${JSON.stringify(search)}`).join(" || ");
  return (await call("GET", path, { query: { ...query, filter }, signal })).items;
}
