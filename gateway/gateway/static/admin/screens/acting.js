// What there is while acting as somebody: who they are, and what they see.
import { html } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { send, content } from "../parts/http.js";
import { currentToken } from "../parts/session.js";
import { Avatar, Head } from "../parts/marks.js";
import { setQuery } from "../parts/router.js";
import { Empty, Loaded } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { showTime, words } from "../parts/format.js";
import { RecordsOf } from "./records.js";

export function ActingProfile({ acting }) {
  const base = acting.collection === "users" ? "/auth" : `/collections/${acting.collection}/auth`;
  const profile = useLoad((signal) => send("GET", "/api/me", { token: currentToken(), signal }).then(content), []);
  const grants = useLoad((signal) => call("GET", `${base}/me/impersonations`, { signal }), []);
  return html`
    <${Head} title=${acting.name || acting.email} about="What this person sees of their own account" />
    <${Loaded} load=${profile}>
      ${(found) => html`<section class="card" aria-label="Profile">
        <div class="person big"><${Avatar} text=${acting.name || acting.email} /><span><b>${acting.name || "No name"}</b><small>${acting.email}</small></span></div>
        <dl>${Object.entries(found).map(([key, value]) => html`<dt key=${key}>${words(key)}</dt><dd>${shown(value)}</dd>`)}</dl>
      </section>`}
    </${Loaded}>
    <section aria-label="Impersonations">
      <h2>Who acted as them</h2>
      <${Loaded} load=${grants}>${(list) => (list.length ? html`<${Table} caption="Impersonations" columns=${GRANTS} rows=${list} />` : html`<${Empty} title="Nobody" />`)}</${Loaded}>
    </section>
  `;
}

/** A value of a profile of any shape. */
function shown(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return showTime(value);
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "–");
}

const GRANTS = [
  { name: "actor", title: "Admin", fit: "whole", cell: (grant) => grant.actor_email },
  { name: "reason", title: "Reason", fit: "wide", cell: (grant) => grant.reason ?? "–" },
  { name: "started", title: "Began", fit: "whole", cell: (grant) => showTime(grant.started) },
  { name: "ended", title: "Ended", fit: "whole", cell: (grant) => (grant.ended ? showTime(grant.ended) : `runs until ${showTime(grant.expires)}`) },
];

export function ActingRecords({ acting, query }) {
  const [first] = acting.collections;
  const collection = acting.collections.find((one) => one.name === query.collection) ?? first;
  if (!collection) return html`<${Head} title="Records" /><${Empty} title="There are no collections" />`;
  const options = acting.collections.map((one) => one.name);
  return html`
    <${Head} title="Records" about="As this person sees them, by the rules of each collection" />
    <label class="filter"><span>Collection</span>
      <select onChange=${(event) => setQuery({ collection: event.target.value, filter: "", cursor: "", sort: "" })}>
        ${options.map((name) => html`<option key=${name} value=${name} selected=${name === collection.name}>${name}</option>`)}
      </select>
    </label>
    <${RecordsOf} key=${collection.name} collection=${collection} query=${query} admin=${false} />
  `;
}
