// One's own account: name, password, second factor, sessions.
import { html } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { showAgent } from "../parts/format.js";
import { Badge, Head, Time } from "../parts/marks.js";
import { leave, setUser } from "../parts/session.js";
import { Loaded } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { tell, toast } from "../parts/toast.js";
import { SecondFactor } from "./second_factor.js";

export function Account({ user }) {
  return html`
    <${Head} title="My account" about=${user.email} />
    <div class="cards"><${Name} user=${user} /><${Password} /><${SecondFactor} user=${user} /></div>
    <${Sessions} />
  `;
}

function Name({ user }) {
  const form = useForm({ name: user.name ?? "" }, async ({ name }) => {
    setUser(await call("PATCH", "/auth/me", { body: { name: name || null } }));
    toast("Saved.");
  });
  return html`<section class="card" aria-label="Name">
    <h2>Name</h2>
    <form onSubmit=${form.onSubmit}>
      <${FormProblem} problem=${form.problem} known=${["name"]} />
      <${Field} label="Name" autocomplete="name" maxlength="200" value=${form.values.name} onChange=${form.set("name")} error=${form.errors.name} />
      <div><${Submit} busy=${form.busy} disabled=${form.values.name === (user.name ?? "")}>Save</${Submit}></div>
    </form>
  </section>`;
}

function Password() {
  const empty = { current_password: "", new_password: "" };
  const form = useForm(empty, async (body) => {
    await call("POST", "/auth/change-password", { body });
    form.setValues(empty);
    toast("The password is changed. Your other sessions have ended.");
  });
  const { values, set, errors } = form;
  return html`<section class="card" aria-label="Password">
    <h2>Password</h2>
    <form onSubmit=${form.onSubmit}>
      <${FormProblem} problem=${form.problem} known=${["current_password", "new_password"]} />
      <${Field} label="Current password" type="password" autocomplete="current-password" required value=${values.current_password} onChange=${set("current_password")} error=${errors.current_password} />
      <${Field} label="New password" type="password" autocomplete="new-password" required hint="Your other sessions end." value=${values.new_password} onChange=${set("new_password")} error=${errors.new_password} />
      <div><${Submit} busy=${form.busy}>Change password</${Submit}></div>
    </form>
  </section>`;
}

function Sessions() {
  const sessions = useLoad((signal) => call("GET", "/auth/sessions", { signal }), []);
  const end = async (session) => {
    const question = { title: "End this session?", text: `${showAgent(session.user_agent)} is signed out at once.`, undo: "You can sign in there again.", action: "End session" };
    if ((await confirm(question)) && (await tell(() => call("DELETE", `/auth/sessions/${session.id}`), "The session has ended."))) sessions.reload();
  };
  const endAll = async () => {
    const question = { title: "Sign out everywhere?", text: "Every session ends, this one too.", undo: "You can sign in again.", action: "Sign out everywhere" };
    if ((await confirm(question)) && (await tell(() => call("DELETE", "/auth/sessions/all"), "Signed out everywhere."))) leave();
  };
  const columns = [
    { name: "device", title: "Device", fit: "whole", cell: (row) => html`${showAgent(row.user_agent)} ${row.current && html`<${Badge} tone="good">this one</${Badge}>`}` },
    { name: "address", title: "Address", fit: "whole", cell: (row) => row.ip_address ?? "–" },
    { name: "last_used", title: "Last used", cell: (row) => html`<${Time} value=${row.last_used} />` },
    { name: "created", title: "Signed in", optional: true, cell: (row) => html`<${Time} value=${row.created} />` },
    { name: "actions", title: "Actions", cell: (row) => !row.current && html`<button type="button" class="danger" onClick=${() => end(row)}>End<span class="unseen"> ${showAgent(row.user_agent)}</span></button>` },
  ];
  return html`<section aria-label="Sessions">
    <h2>Sessions</h2>
    <${Loaded} load=${sessions}>${(list) => html`<${Table} caption="Sessions" columns=${columns} rows=${list} />`}</${Loaded}>
    <div><button type="button" class="danger" onClick=${endAll}>Sign out everywhere</button></div>
  </section>`;
}
