// Events of the audit log as a table, each opening to all that is known of it.
import { html, useState } from "../html.js";
import { Dialog } from "../parts/dialog.js";
import { shortId, showTime, words } from "../parts/format.js";
import { Badge, Time } from "../parts/marks.js";
import { usePeople } from "../parts/people.js";
import { link } from "../parts/router.js";
import { Empty } from "../parts/states.js";
import { Table } from "../parts/table.js";

const SEVERITY = { info: "plain", warning: "warn", critical: "bad" };
const OUTCOME = { success: "good", failure: "warn", error: "bad" };

export function AuditTable({ events }) {
  const [open, setOpen] = useState(null);
  const people = usePeople(events.flatMap((event) => [event.actor_id, event.user_email ? null : event.user_id]));
  if (!events.length) return html`<${Empty} title="No events">Nothing of the kind has happened.</${Empty}>`;
  const columns = [
    { name: "created", title: "When", cell: (event) => html`<${Time} value=${event.created} />` },
    {
      name: "what",
      title: "What",
      fit: "wide",
      cell: (event) => html`<button type="button" class="quiet link" onClick=${() => setOpen(event)}>${event.description}</button>`,
    },
    { name: "who", title: "Who", fit: "whole", cell: (event) => html`<${Who} event=${event} people=${people} />` },
    { name: "action", title: "Action", roomy: true, cell: (event) => html`<span class="mono">${event.event_type}.${event.event_action}</span>` },
    { name: "ip", title: "Address", optional: true, fit: "whole", cell: (event) => event.ip_address ?? "–" },
    {
      name: "outcome",
      title: "Outcome",
      fit: "whole",
      cell: (event) => html`<${Badge} tone=${OUTCOME[event.outcome]}>${event.outcome}</${Badge}>${event.severity !== "info" && html` <${Badge} tone=${SEVERITY[event.severity]}>${event.severity}</${Badge}>`}`,
    },
  ];
  return html`<${Table} caption="Events" columns=${columns} rows=${events} onRow=${setOpen} />
    ${open && html`<${EventDialog} event=${open} onClose=${() => setOpen(null)} />`}`;
}

/** Whose doing it was: while somebody acts as another, both. */
function Who({ event: { user_id, user_email, actor_id }, people }) {
  const name = user_email ?? people[user_id] ?? (user_id ? shortId(user_id) : "–");
  return html`${name}${actor_id && html`<br /><${Badge} tone="warn">by ${people[actor_id] ?? shortId(actor_id)}</${Badge}>`}`;
}

function EventDialog({ event, onClose }) {
  const facts = ["event_type", "event_action", "severity", "outcome", "user_email", "user_id", "actor_id", "ip_address", "user_agent", "resource_type", "resource_id", "error_message", "request_id", "id"];
  return html`<${Dialog} title=${event.description} onClose=${onClose} wide>
    <dl>
      <dt>When</dt><dd>${showTime(event.created)}</dd>
      ${facts.filter((name) => event[name]).map((name) => html`<dt key=${name}>${words(name)}</dt><dd>${name.endsWith("_id") || name === "id" ? html`<${Id} name=${name} value=${event[name]} />` : event[name]}</dd>`)}
    </dl>
    ${Object.keys(event.details ?? {}).length > 0 && html`<pre tabindex="0" aria-label="Details">${JSON.stringify(event.details, null, 2)}</pre>`}
  </${Dialog}>`;
}

const Id = ({ name, value }) =>
  name === "user_id" || name === "actor_id" ? html`<a class="mono" href=${link("users", value)}>${value}</a>` : html`<span class="mono">${value}</span>`;
