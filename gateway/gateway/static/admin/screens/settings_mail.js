// How mail is sent. The address of the server holds a password, and is never shown.
import { html, useState } from "../html.js";
import { call } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { Badge } from "../parts/marks.js";
import { tell, toast } from "../parts/toast.js";

export function MailSettings({ saved, reload, user }) {
  const form = useForm({ smtp_url: "", mail_from: saved.mail_from ?? "" }, async (values) => {
    const body = { mail_from: values.mail_from || null };
    if (values.smtp_url) body.smtp_url = values.smtp_url;
    await call("PATCH", "/settings/mail", { body });
    toast("Saved. Mail goes this way from now on.");
    form.set("smtp_url")("");
    await reload();
  });
  const forget = async () => {
    const question = { title: "Forget the mail server?", text: "Mail goes as the environment of the service says.", undo: "To undo it you need the server’s address and password again.", action: "Forget" };
    if ((await confirm(question)) && (await tell(() => call("PATCH", "/settings/mail", { body: { smtp_url: null } }), "Forgotten."))) reload();
  };
  const { values, set, errors } = form;
  return html`
    <form ...${form.guarded}>
      <section class="card" aria-label="Mail server">
        <h2>Mail server</h2>
        <p>${saved.smtp_url_set ? html`<${Badge} tone="good">Set here</${Badge}>` : html`<${Badge}>As the environment says</${Badge}>`}</p>
        <${Field} label="Server" type="password" autocomplete="off" placeholder="smtp://user:password@mail.example.com:587"
          hint="smtp:// or smtps:// for TLS from the start. It is kept, and never shown again." value=${values.smtp_url} onChange=${set("smtp_url")} error=${errors.smtp_url} />
        <${Field} label="From" placeholder="FastCMS <cms@example.com>" hint="Empty: as the environment says." value=${values.mail_from} onChange=${set("mail_from")} error=${errors.mail_from} />
      </section>
      <${FormProblem} problem=${form.problem} known=${["smtp_url", "mail_from"]} />
      <div class="save">
        <${Submit} busy=${form.busy}>Save changes</${Submit}>
        ${saved.smtp_url_set && html`<button type="button" class="danger" onClick=${forget}>Forget the server</button>`}
      </div>
    </form>
    <${TestMail} to=${user.email} unsaved=${form.changed} />
  `;
}

/** Sends a mail to find out whether it arrives. What the mail server has against it is shown as it says it. */
function TestMail({ to, unsaved }) {
  const [answer, setAnswer] = useState(null);
  const form = useForm({ to }, async (body) => {
    setAnswer(null);
    setAnswer(await call("POST", "/admin/settings/mail/test", { body }));
  });
  return html`<section class="card" aria-label="Test mail">
    <h2>Test mail</h2>
    <p>Sends one mail the way all go, and tells what the mail server said. ${unsaved && html`<b>What you have not saved yet is not tried.</b>`}</p>
    <form onSubmit=${form.onSubmit}>
      <${FormProblem} problem=${form.problem} known=${["to"]} />
      <${Field} label="To" type="email" required value=${form.values.to} onChange=${form.set("to")} error=${form.errors.to} />
      <div class="actions"><${Submit} busy=${form.busy}>Send a test mail</${Submit}><span role="status">${answer && html`<${Badge} tone="good">Sent</${Badge}> ${answer.message}`}</span></div>
    </form>
  </section>`;
}
