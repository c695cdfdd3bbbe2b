// The records of a collection as a table: filter, sort, pages by cursor, changes in place.
import { html, useRef, useState } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { showNumber } from "../parts/format.js";
import { go, link, setQuery } from "../parts/router.js";
import { Empty, Failed, Loading } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { Cell, shownValue } from "./record_cell.js";
import { BulkBar, useChosen } from "./record_bulk.js";
import { RecordDialog } from "./record_dialog.js";
import { ExportButton, ImportDialog } from "./record_transfer.js";

const PER_PAGE = 50;
const COLUMNS_SHOWN = 8;

/** `admin`: whether the caller may also import, and add records of any kind. */
export function RecordsOf({ collection, query, admin }) {
  const { filter = "", sort = "-created", cursor, record } = query;
  const [importing, setImporting] = useState(false);
  const fields = columnsOf(collection);
  const relations = fields.filter((field) => field.type === "relation").map((field) => field.name);
  const total = useRef({});
  const records = useLoad(
    async (signal) => {
      // Counting is asked for once for each filter: pages cost the same wherever they are.
      const known = total.current.filter === filter;
      const asked = { filter, sort, cursor, per_page: PER_PAGE, expand: relations.join(","), skip_total: known || undefined };
      const page = await call("GET", `/collections/${collection.name}/records`, { query: asked, signal });
      if (!known) total.current = { filter, total: page.total };
      return page;
    },
    [collection.name, filter, sort, cursor],
  );
  const recount = () => {
    total.current = {};
    records.reload();
  };
  const chosen = useChosen(records.data?.items ?? [], [collection.name, filter, sort, cursor]);
  const columns = [
    chosen.column,
    {
      name: "id",
      title: "Record",
      fit: "whole",
      cell: (row) => html`<button type="button" class="quiet link mono" onClick=${() => setQuery({ record: row.id, cursor })}>${row.id.slice(0, 8)}…<span class="unseen"> Edit</span></button>`,
    },
    ...fields.map((field, index) => ({
      name: field.name,
      title: field.name,
      sort: SORTABLE(field) ? field.name : undefined,
      optional: index > 2,
      cell: (row) => html`<${Cell} collection=${collection} field=${field} row=${row} onSaved=${records.reload} />`,
    })),
    { name: "created", title: "created", sort: "created", optional: true, fit: "whole", cell: (row) => shownValue({ type: "datetime" }, row.created) },
  ];
  const broken = records.error && records.error.status === 422;
  return html`
    <${FilterBar} key=${filter} filter=${filter} error=${broken ? records.error : null}>
      ${admin && html`<button type="button" onClick=${() => setImporting(true)}>Import…</button>`}
      <${ExportButton} collection=${collection} filter=${filter} />
      ${collection.type === "auth" && admin
        ? html`<a class="button" href="${link("users")}?collection=${collection.name}">Members</a>`
        : html`<button type="button" class="primary" onClick=${() => setQuery({ record: "new", cursor })}>New record</button>`}
    </${FilterBar}>
    ${records.error && !broken && html`<${Failed} error=${records.error} retry=${records.reload} />`}
    ${!records.data && records.loading && html`<${Loading} />`}
    ${records.data && !records.error && html`<${Page} page=${records.data} total=${total.current.total} columns=${columns} sort=${sort} cursor=${cursor} filter=${filter} loading=${records.loading} chosen=${chosen}
      bar=${html`<${BulkBar} collection=${collection} chosen=${chosen} onDone=${recount} />`} />`}
    ${record && html`<${RecordDialog} key=${record} collection=${collection} id=${record} onClose=${() => setQuery({ record: "", cursor })} onSaved=${recount} />`}
    ${importing && html`<${ImportDialog} collection=${collection} onClose=${() => setImporting(false)} onDone=${recount} />`}
  `;
}

const SORTABLE = (field) => !["json", "geopoint"].includes(field.type) && !(field.max_select > 1);

/** What is shown of a record: the first fields; of members their e-mail before all. */
export function columnsOf(collection) {
  const own = collection.schema.fields.filter((field) => field.type !== "json");
  const fields = collection.type === "auth" ? [{ name: "email", type: "email", fixed: true }, ...own] : own;
  return fields.slice(0, COLUMNS_SHOWN);
}

function FilterBar({ filter, error, children }) {
  const [text, setText] = useState(filter);
  const submit = (event) => {
    event.preventDefault();
    setQuery({ filter: text.trim(), cursor: "" });
  };
  return html`<form class="filters" role="search" onSubmit=${submit}>
    <label class="filter grow"><span>Filter</span>
      <input class="mono" value=${text} maxlength="4096" spellcheck=${false} placeholder=${'title ~ "draft" && views > 10'} aria-invalid=${error ? "true" : undefined} onInput=${(event) => setText(event.target.value)} />
    </label>
    <button>Apply</button>
    ${filter && html`<button type="button" onClick=${() => setQuery({ filter: "", cursor: "" })}>Clear</button>`}
    ${children}
    ${error && html`<small class="error" role="alert">${error.fields[0]?.message.split("\n")[0] ?? error.message}</small>`}
  </form>`;
}

function Page({ page, total, columns, sort, cursor, filter, loading, chosen, bar }) {
  const onSort = (next) => setQuery({ sort: next, cursor: "" });
  return html`<div class=${loading ? "loaded stale" : "loaded"}>
    <nav class="pager" aria-label="Pages">
      ${chosen.ids.length ? bar : html`<span>${total !== undefined && total !== null && `Total: ${showNumber(total)} ${total === 1 ? "record" : "records"}`}</span>`}
      <span>
        <button type="button" disabled=${!cursor} onClick=${() => setQuery({ cursor: "" })}>First</button>
        <button type="button" disabled=${!cursor} onClick=${() => history.back()}>Previous</button>
        <button type="button" disabled=${!page.next_cursor} onClick=${() => onward(page.next_cursor)}>Next</button>
      </span>
    </nav>
    ${page.items.length
      ? html`<${Table} caption="Records" columns=${columns} rows=${page.items} sorted=${sort} onSort=${onSort} />`
      : html`<${Empty} title=${filter ? "No record fits the filter" : "No records yet"} />`}
  </div>`;
}

/** The next page is a step in the history, so that Previous is one back. */
function onward(cursor) {
  const query = new URLSearchParams(location.search);
  query.set("cursor", cursor);
  go(`${location.pathname}?${query}`);
}
