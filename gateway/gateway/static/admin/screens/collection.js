// One collection: its schema, rules, indexes and the rest, each on a tab of its own.
import { html } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { Head } from "../parts/marks.js";
import { link } from "../parts/router.js";
import { Empty, Loaded } from "../parts/states.js";
import { CollectionIndexes } from "./collection_indexes.js";
import { CollectionOptions } from "./collection_options.js";
import { CollectionRules } from "./collection_rules.js";
import { CollectionSchema } from "./collection_schema.js";
import { RecordsOf } from "./records.js";

const TABS = {
  "": ["Schema", CollectionSchema],
  rules: ["Rules", CollectionRules],
  indexes: ["Indexes", CollectionIndexes],
  records: ["Records", RecordsOf],
  options: ["Options", CollectionOptions],
};

export function Collection({ item: name, part = "", query }) {
  const collection = useLoad((signal) => call("GET", `/collections/name/${encodeURIComponent(name)}`, { signal }), [name]);
  const tab = TABS[part];
  return html`
    <${Head} title=${name} about=${collection.data?.type === "auth" ? "Users of your own" : "Records of one shape"} back=${{ href: link("collections"), text: "Collections" }} />
    <nav class="tabs" aria-label=${`Parts of ${name}`}>
      ${Object.entries(TABS).map(
        ([key, [title]]) => html`<a key=${key} href=${key ? link("collections", name, key) : link("collections", name)} aria-current=${key === part ? "page" : undefined}>${title}</a>`,
      )}
    </nav>
    ${tab
      ? html`<${Loaded} load=${collection}>${(found) => html`<${tab[1]} key=${found.updated} collection=${found} reload=${collection.reload} query=${query} admin=${true} />`}</${Loaded}>`
      : html`<${Empty} title="A collection has no such part" />`}
  `;
}
