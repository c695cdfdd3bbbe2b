// Changing an account.
import { html } from "../html.js";
import { call } from "../parts/api.js";
import { Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, Toggle, useForm } from "../parts/form.js";
import { toast } from "../parts/toast.js";

/** What can be changed of `person`; of a member of an auth collection the name and the role cannot. */
export function EditUser({ person, self, onClose, onSaved }) {
  const builtIn = person.collection === "users";
  const own = person.id === self.id;
  const initial = { email: person.email, name: person.name ?? "", role: person.role, superadmin: person.superadmin, verified: person.verified };
  const form = useForm(initial, async (values) => {
    const body = Object.fromEntries(Object.entries(values).filter(([key, value]) => value !== initial[key]));
    if ("name" in body) body.name = body.name || null;
    if (body.role === "user" && person.superadmin) body.superadmin = false;
    if (Object.keys(body).length) {
      await call("PATCH", `/admin/users/${person.id}`, { body });
      toast("Saved.");
      onSaved();
    }
    onClose();
  });
  const { values, set, errors } = form;
  return html`<${Dialog} title="Edit ${person.email}" onClose=${onClose}>
    <form ...${form.guarded}>
      <${FormProblem} problem=${form.problem} known=${["email", "name", "role", "superadmin", "verified"]} />
      <${Field} label="E-mail" type="email" required value=${values.email} onChange=${set("email")} error=${errors.email} />
      ${builtIn && html`<${Field} label="Name" value=${values.name} onChange=${set("name")} error=${errors.name} />`}
      ${builtIn && !own && self.superadmin &&
      html`<${Field} label="Role" type="select" options=${[["user", "user"], ["admin", "admin"]]} value=${values.role} onChange=${set("role")}
          error=${errors.role} hint="A change of role ends all their sessions." />
        ${values.role === "admin" && html`<${Toggle} label="Superadmin" hint="May make and unmake admins." value=${values.superadmin} onChange=${set("superadmin")} />`}`}
      <${Toggle} label="E-mail is verified" value=${values.verified} onChange=${set("verified")} />
      <footer><button type="button" onClick=${onClose}>Cancel</button><${Submit} busy=${form.busy}>Save</${Submit}></footer>
    </form>
  </${Dialog}>`;
}
