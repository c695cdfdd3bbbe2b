// Where somebody is signed in, and ending it there.
import { html } from "../html.js";
import { call } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { showAgent } from "../parts/format.js";
import { Badge, Time } from "../parts/marks.js";
import { Empty, Loaded } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { tell } from "../parts/toast.js";

/** `load` is of a list of sessions, `path` the address under which each can be deleted. */
export function SessionTable({ load, path }) {
  const end = async (session) => {
    const question = { title: "End this session?", text: `${showAgent(session.user_agent)} is signed out at once.`, undo: "It does not come back; they can sign in there again.", action: "End session" };
    if ((await confirm(question)) && (await tell(() => call("DELETE", `${path}/${session.id}`), "The session has ended."))) load.reload();
  };
  const columns = [
    { name: "device", title: "Device", fit: "whole", cell: (row) => html`${showAgent(row.user_agent)} ${row.current && html`<${Badge} tone="good">this one</${Badge}>`}` },
    { name: "address", title: "Address", fit: "whole", cell: (row) => row.ip_address ?? "–" },
    { name: "last_used", title: "Last used", cell: (row) => html`<${Time} value=${row.last_used} />` },
    { name: "created", title: "Signed in", optional: true, cell: (row) => html`<${Time} value=${row.created} />` },
    { name: "actions", title: "Actions", cell: (row) => !row.current && html`<button type="button" class="danger" onClick=${() => end(row)}>End<span class="unseen"> ${showAgent(row.user_agent)}</span></button>` },
  ];
  return html`<${Loaded} load=${load}>
    ${(list) => (list.length ? html`<${Table} caption="Sessions" columns=${columns} rows=${list} />` : html`<${Empty} title="No sessions">Nobody is signed in with this account.</${Empty}>`)}
  </${Loaded}>`;
}
