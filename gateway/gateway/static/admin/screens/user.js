// One account: what it is, whether it can sign in, and what an admin can do about it.
import { html, useState } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { showCountdown, showTime, useNow } from "../parts/format.js";
import { Avatar, Badge, Head, Time } from "../parts/marks.js";
import { go, link } from "../parts/router.js";
import { Loaded, Together } from "../parts/states.js";
import { tell } from "../parts/toast.js";
import { AuditTable } from "./audit_table.js";
import { ImpersonateDialog } from "./impersonate_dialog.js";
import { SessionTable } from "./session_table.js";
import { EditUser } from "./user_dialog.js";
import { Role, Status } from "./users.js";

export function User({ item: id, user: self }) {
  const account = useLoad((signal) => call("GET", `/admin/users/${encodeURIComponent(id)}`, { signal }), [id]);
  const person = account.data;
  return html`
    <${Head} title=${person ? person.name || person.email : "User"} back=${{ href: link("users"), text: "Users" }} />
    <${Loaded} load=${account}>
      ${(person) => html`
        <div class="cards">
          <${Profile} person=${person} self=${self} reload=${account.reload} />
          <${Lock} person=${person} />
        </div>
        <${Actions} person=${person} self=${self} reload=${account.reload} />
        <${Traces} person=${person} />
      `}
    </${Loaded}>
  `;
}

function Profile({ person, self, reload }) {
  const [editing, setEditing] = useState(false);
  return html`<section class="card" aria-label="Profile">
    <div class="person big"><${Avatar} text=${person.name || person.email} /><span><b>${person.name || "No name"}</b><small>${person.email}</small></span></div>
    <dl>
      <dt>Role</dt><dd><${Role} user=${person} /></dd>
      <dt>Status</dt><dd><${Status} user=${person} /></dd>
      <dt>Collection</dt><dd>${person.collection === "users" ? "users (built in)" : html`<a href=${link("collections", person.collection)}>${person.collection}</a>`}</dd>
      <dt>Created</dt><dd>${showTime(person.created)}</dd>
      <dt>Last login</dt><dd><${Time} value=${person.last_login} /></dd>
      <dt>Id</dt><dd class="mono">${person.id}</dd>
    </dl>
    <button type="button" onClick=${() => setEditing(true)}>Edit</button>
    ${editing && html`<${EditUser} person=${person} self=${self} onClose=${() => setEditing(false)} onSaved=${reload} />`}
  </section>`;
}

/** The lock's state: shut until when, or how many wrong passwords there were. */
function Lock({ person }) {
  const lock = useLoad((signal) => call("GET", `/admin/users/${person.id}/lock-status`, { signal }), [person.id]);
  const unlock = async () => {
    if (await tell(() => call("POST", `/admin/users/${person.id}/unlock`), `${person.email} can sign in again.`)) lock.reload();
  };
  return html`<section class="card" aria-label="Sign-in">
    <h2>Sign-in</h2>
    <${Loaded} load=${lock}>
      ${(status) => html`
        ${status.is_locked ? html`<${LockedFor} until=${status.locked_until} reload=${lock.reload} />` : html`<p><${Badge} tone="good">Not locked</${Badge}></p>`}
        <dl><dt>Failed attempts</dt><dd>${status.failed_login_attempts}</dd></dl>
        ${(status.is_locked || status.failed_login_attempts > 0) && html`<button type="button" class="primary" onClick=${unlock}>${status.is_locked ? "Unlock" : "Clear failed attempts"}</button>`}
      `}
    </${Loaded}>
  </section>`;
}

function LockedFor({ until, reload }) {
  const left = (new Date(until) - useNow()) / 1000;
  return html`<p><${Badge} tone="bad">Locked</${Badge}> for another <b role="timer" aria-live="off">${showCountdown(left)}</b>, until ${showTime(until)}
    ${left <= 0 && html` <button type="button" onClick=${reload}>Look again</button>`}</p>`;
}

function Actions({ person, self, reload }) {
  const [impersonating, setImpersonating] = useState(false);
  const path = `/admin/users/${person.id}`;
  const own = person.id === self.id;
  const act = async (question, work, done) => {
    if ((!question || (await confirm(question))) && (await tell(work, done))) reload();
  };
  const disable = () =>
    act(
      { title: `Disable ${person.email}?`, text: "They cannot sign in, and all their sessions end now.", undo: "You can enable the account again at any time; they then sign in anew.", action: "Disable" },
      () => call("POST", `${path}/disable`),
      `${person.email} is disabled.`,
    );
  const enable = () => act(null, () => call("POST", `${path}/enable`), `${person.email} can sign in again.`);
  const revoke = () =>
    act(
      { title: `End all sessions of ${person.email}?`, text: "They are signed out on every device at once.", undo: "Sessions do not come back; they can sign in again.", action: "End sessions" },
      () => call("POST", `${path}/revoke-sessions`),
      ({ revoked }) => (revoked === 1 ? "One session has ended." : `${revoked} sessions have ended.`),
    );
  const reset = () => act(null, () => call("POST", `${path}/request-password-reset`), ({ message }) => message);
  const remove = async () => {
    const question = { title: `Delete ${person.email}?`, text: "The account, its sessions and its profile go.", undo: "This cannot be undone. The audit log keeps what was done.", action: "Delete", typed: person.email };
    if ((await confirm(question)) && (await tell(() => call("DELETE", path), `${person.email} is deleted.`))) go(link("users"));
  };
  return html`<section class="card" aria-label="Actions">
    <h2>Actions</h2>
    ${own && html`<p>This is your own account. <a href=${link("account")}>My account</a></p>`}
    <div class="actions">
      ${!own && !person.superadmin && html`<button type="button" onClick=${() => setImpersonating(true)}>Impersonate…</button>`}
      <button type="button" onClick=${reset}>Send password reset</button>
      <button type="button" onClick=${revoke}>End all sessions</button>
      ${!own && (person.disabled ? html`<button type="button" onClick=${enable}>Enable</button>` : html`<button type="button" class="danger" onClick=${disable}>Disable</button>`)}
      ${!own && html`<button type="button" class="danger" onClick=${remove}>Delete</button>`}
    </div>
    ${impersonating && html`<${ImpersonateDialog} person=${person} onClose=${() => setImpersonating(false)} />`}
  </section>`;
}

/** Where they are signed in, and what happened. Both are looked at anew after each act on the account, as that is. */
function Traces({ person }) {
  const path = `/admin/users/${person.id}/sessions`;
  const sessions = useLoad((signal) => call("GET", path, { signal }), [person]);
  const events = useLoad((signal) => call("GET", "/audit", { query: { user_id: person.id, limit: 20 }, signal }), [person]);
  return html`<${Together} loads=${[sessions, events]}>
    <section aria-label="Sessions">
      <h2>Sessions</h2>
      <${SessionTable} load=${sessions} path=${path} />
    </section>
    <section aria-label="Audit">
      <h2>What happened <a class="more" href="${link("audit")}?user_id=${person.id}">All of it in the audit log</a></h2>
      <${Loaded} load=${events}>${(list) => html`<${AuditTable} events=${list.items} />`}</${Loaded}>
    </section>
  </${Together}>`;
}
