// One's own account: name, password, second factor, sessions.
import { html } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { Head } from "../parts/marks.js";
import { leave, setUser } from "../parts/session.js";
import { tell, toast } from "../parts/toast.js";
import { SecondFactor } from "./second_factor.js";
import { SessionTable } from "./session_table.js";

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
    <form ...${form.guarded}>
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
  const endAll = async () => {
    const question = { title: "Sign out everywhere?", text: "Every session ends, this one too.", undo: "You can sign in again.", action: "Sign out everywhere" };
    if ((await confirm(question)) && (await tell(() => call("DELETE", "/auth/sessions/all"), "Signed out everywhere."))) leave();
  };
  return html`<section aria-label="Sessions">
    <h2>Sessions</h2>
    <${SessionTable} load=${sessions} path="/auth/sessions" />
    <div><button type="button" class="danger" onClick=${endAll}>Sign out everywhere</button></div>
  </section>`;
}
