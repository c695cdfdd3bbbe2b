// Where the links in mails lead: setting a new password, confirming an address. Nobody has to be signed in.
import { html, useEffect, useState } from "../html.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { send } from "../parts/http.js";

const PAGES = {
  "/reset-password": { title: "Set a new password", action: "confirm-password-reset", button: "Set the password", done: "The password is set. All sessions have ended; sign in with the new one.", asks: true },
  "/verify-email": { title: "Confirm your e-mail address", action: "confirm-verification", button: "Confirm", done: "Thank you. The address is confirmed." },
  "/confirm-email-change": { title: "Confirm your new e-mail address", action: "me/confirm-email-change", button: "Confirm", done: "Thank you. From now on this is your address." },
};

/** What is shown at this address; nothing where it is of the dashboard itself. */
export const mailLink = PAGES[location.pathname.replace(/\/$/, "")];

const query = new URLSearchParams(mailLink ? location.search : "");
// The token stays neither in the address bar nor in the history.
if (mailLink) history.replaceState(null, "", location.pathname);

/** A button has to be pressed: programs that look at the links in mails use none up. */
export function MailLink() {
  const { title, action, button, done, asks } = mailLink;
  const collection = query.get("collection");
  const [finished, setFinished] = useState(false);
  const form = useForm({ new_password: "" }, async ({ new_password }) => {
    const base = collection ? `/api/v1/collections/${encodeURIComponent(collection)}/auth` : "/api/v1/auth";
    const token = query.get("token") ?? "";
    await send("POST", `${base}/${action}`, { body: asks ? { token, new_password } : { token } });
    setFinished(true);
  });
  useEffect(() => {
    document.title = `${title} · FastCMS`;
  }, []);
  return html`<main class="entrance">
    <div class="card">
      <p class="brand"><span aria-hidden="true">F</span>FastCMS</p>
      <h1>${title}</h1>
      ${finished
        ? html`<p role="status">${done}</p>${!collection && html`<a href="/admin" target="_self">Go to the dashboard</a>`}`
        : html`<form onSubmit=${form.onSubmit}>
            <${FormProblem} problem=${form.problem} known=${["new_password"]} />
            ${asks && html`<${Field} label="New password" type="password" autocomplete="new-password" required value=${form.values.new_password} onChange=${form.set("new_password")} error=${form.errors.new_password} />`}
            <${Submit} busy=${form.busy}>${button}</${Submit}>
          </form>`}
    </div>
  </main>`;
}
