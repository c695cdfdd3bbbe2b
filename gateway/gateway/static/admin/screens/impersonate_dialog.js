// Beginning to act as somebody.
import { html } from "../html.js";
import { call } from "../parts/api.js";
import { Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { go, link } from "../parts/router.js";
import { startActing } from "../parts/session.js";

const DURATIONS = [["300", "5 minutes"], ["900", "15 minutes"], ["1800", "30 minutes"], ["3600", "1 hour"], ["14400", "4 hours"], ["86400", "1 day"]];

/** A collection without the fields that only admins see. */
const asSeen = (collection) => ({ ...collection, schema: { fields: collection.schema.fields.filter((field) => !field.hidden) } });

export function ImpersonateDialog({ person, onClose }) {
  const form = useForm({ reason: "", duration: "1800" }, async ({ reason, duration }) => {
    const collections = (await call("GET", "/collections", { query: { per_page: 500 } })).items.map(asSeen);
    const grant = await call("POST", `/admin/users/${person.id}/impersonate`, { query: { duration }, body: { reason } });
    startActing(grant.access_token, { ...person, until: Date.now() + grant.expires_in * 1000, reason, collections });
    go(link());
  });
  const { values, set, errors } = form;
  return html`<${Dialog} title="Impersonate ${person.email}" onClose=${onClose}>
    <form onSubmit=${form.onSubmit}>
      <p>You see and do what they may, until you end it or the time is up. Everything is in the audit log with your name, and they can see that you did it and why.</p>
      <${FormProblem} problem=${form.problem} known=${["reason", "duration"]} />
      <${Field} label="Reason" hint="They can read it." required maxlength="500" value=${values.reason} onChange=${set("reason")} error=${errors.reason} />
      <${Field} label="For" type="select" options=${DURATIONS} value=${values.duration} onChange=${set("duration")} error=${errors.duration} />
      <footer><button type="button" onClick=${onClose}>Cancel</button><${Submit} busy=${form.busy}>Begin</${Submit}></footer>
    </form>
  </${Dialog}>`;
}
