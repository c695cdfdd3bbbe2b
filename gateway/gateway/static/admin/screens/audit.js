// The log of who did what. Its filters are in the address, so that a view of it can be passed on.
import { html, useState } from "../html.js";
import { call, download, useLoad } from "../parts/api.js";
import { showBytes, showNumber } from "../parts/format.js";
import { Badge, Head } from "../parts/marks.js";
import { link } from "../parts/router.js";
import { Loaded } from "../parts/states.js";
import { Filter, Pager, Search } from "../parts/table.js";
import { tell } from "../parts/toast.js";
import { AuditTable } from "./audit_table.js";

const PER_PAGE = 50;
const choices = (...values) => values.map((value) => [value, value]);
const TYPES = choices("auth", "user", "admin", "collection", "record", "security", "system");

export function Audit({ query }) {
  const { page = 1, failed, from, to, ...filters } = query;
  const asked = { ...filters, from_date: instant(from), to_date: instant(to, "23:59:59.999") };
  const events = useLoad((signal) => load(asked, page, failed, signal), [JSON.stringify(query)]);
  return html`
    <${Head} title="Audit log" about="Who did what, when and from where">
      <${Verify} />
      <${Export} filters=${asked} />
    </${Head}>
    <nav class="tabs" aria-label="Views">
      <a href=${link("audit")} aria-current=${failed ? undefined : "page"}>All events</a>
      <a href="${link("audit")}?failed=1" aria-current=${failed ? "page" : undefined}>Failed logins</a>
    </nav>
    <div class="filters" role="search">
      ${!failed &&
      html`<${Filter} label="Type" name="event_type" value=${filters.event_type} options=${TYPES} />
        <${Search} label="Action" name="event_action" value=${filters.event_action} placeholder="account_locked" />
        <${Filter} label="Outcome" name="outcome" value=${filters.outcome} options=${choices("success", "failure", "error")} />
        <${Filter} label="Severity" name="severity" value=${filters.severity} options=${choices("info", "warning", "critical")} />`}
      <${Search} label="Address" name="ip_address" value=${filters.ip_address} placeholder="10.0.0.1" />
      <${Search} label="User id" name="user_id" value=${filters.user_id} />
      <${Search} label="From" name="from" type="date" value=${from} />
      ${!failed && html`<${Search} label="To" name="to" type="date" value=${to} />`}
      ${Object.keys(query).length > 0 && html`<a class="button" href=${link("audit")}>Clear</a>`}
    </div>
    <${Loaded} load=${events}>
      ${(list) => html`
        ${!failed && html`<${Pager} page=${Number(page)} total=${list.total} totalPages=${Math.ceil(list.total / PER_PAGE)} noun="events" />`}
        <${AuditTable} events=${list.items} />
      `}
    </${Loaded}>
  `;
}

async function load(asked, page, failed, signal) {
  if (failed) {
    const { ip_address, user_id, from_date } = asked;
    return { items: await call("GET", "/audit/failed-logins", { query: { ip_address, user_id, from_date, limit: 200 }, signal }) };
  }
  return call("GET", "/audit", { query: { ...asked, limit: PER_PAGE, offset: (page - 1) * PER_PAGE }, signal });
}

/** A time of a local day, its beginning where none is said, as the API takes it. */
function instant(day, time = "00:00") {
  const moment = new Date(`${day}T${time}`);
  return Number.isNaN(moment.getTime()) ? undefined : moment.toISOString();
}

/** Whether the hash chain holds. */
function Verify() {
  const [result, setResult] = useState(null);
  const [busy, setBusy] = useState(false);
  const verify = async () => {
    setBusy(true);
    await tell(async () => setResult(await call("GET", "/audit/verify")), "The log was checked.");
    setBusy(false);
  };
  return html`<span role="status">
      ${result && (result.ok ? html`<${Badge} tone="good">${showNumber(result.checked)} events, all whole</${Badge}>` : html`<a href="${link("audit")}"><${Badge} tone="bad">Broken at ${result.first_bad}: ${result.reason}</${Badge}></a>`)}
    </span>
    <button type="button" aria-busy=${busy ? "true" : "false"} onClick=${verify}>Verify</button>`;
}

function Export({ filters }) {
  const [size, setSize] = useState(null);
  const save = async () => {
    setSize(0);
    await tell(() => download("/audit/export", filters, "audit.ndjson", setSize), (bytes) => `Saved audit.ndjson, ${showBytes(bytes)}.`);
    setSize(null);
  };
  return html`<button type="button" aria-busy=${size !== null ? "true" : "false"} onClick=${save}>${size === null ? "Export" : showBytes(size)}</button>`;
}
