// The name of a collection, how its members sign in, and what empties or ends it.
import { html, useState } from "../html.js";
import { call } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { Field, FormProblem, Submit, Toggle, useForm } from "../parts/form.js";
import { showNumber } from "../parts/format.js";
import { go, link } from "../parts/router.js";
import { tell, toast } from "../parts/toast.js";

const SIGN_IN = { password_auth_enabled: "Password", otp_enabled: "One-time codes by mail", oauth_enabled: "OAuth2", mfa_enabled: "Second factor" };
const CHOICES = [["", "As in the settings"], ["true", "On"], ["false", "Off"]];

export function CollectionOptions({ collection, reload }) {
  return html`
    <${Name} collection=${collection} />
    ${collection.type === "auth" && html`<${SignInOptions} collection=${collection} reload=${reload} />`}
    <${Danger} collection=${collection} />
  `;
}

function Name({ collection }) {
  const form = useForm({ name: collection.name }, async ({ name }) => {
    await call("PATCH", `/collections/${collection.id}`, { body: { name } });
    toast(`It is ${name} now.`);
    go(link("collections", name, "options"));
  });
  return html`<section class="card" aria-label="Name">
    <h2>Name</h2>
    <form ...${form.guarded}>
      <${FormProblem} problem=${form.problem} known=${["name"]} />
      <${Field} label="Name" mono required hint="It is part of the address: clients have to use the new one." value=${form.values.name} onChange=${form.set("name")} error=${form.errors.name} />
      <div><${Submit} busy=${form.busy} disabled=${form.values.name === collection.name}>Rename</${Submit}></div>
    </form>
  </section>`;
}

/** What the collection has of its own in place of the settings. */
function SignInOptions({ collection, reload }) {
  const auth = collection.options?.auth ?? {};
  const initial = Object.fromEntries(Object.keys(SIGN_IN).map((key) => [key, auth[key] === undefined || auth[key] === null ? "" : String(auth[key])]));
  const form = useForm(initial, async (values) => {
    const own = { ...auth };
    for (const key of Object.keys(SIGN_IN)) {
      if (values[key] === "") delete own[key];
      else own[key] = values[key] === "true";
    }
    await call("PATCH", `/collections/${collection.id}`, { body: { options: { ...collection.options, auth: own } } });
    toast("Saved.");
    await reload();
  });
  return html`<section class="card" aria-label="Signing in">
    <h2>Signing in</h2>
    <form ...${form.guarded}>
      <div class="columns">
        ${Object.entries(SIGN_IN).map(([key, label]) => html`<${Field} key=${key} label=${label} type="select" options=${CHOICES} value=${form.values[key]} onChange=${form.set(key)} />`)}
      </div>
      <${FormProblem} problem=${form.problem} />
      <div><${Submit} busy=${form.busy}>Save</${Submit}></div>
    </form>
  </section>`;
}

function Danger({ collection }) {
  const [cascade, setCascade] = useState(false);
  const { name } = collection;
  const truncate = async () => {
    const question = {
      title: `Delete all records of ${name}?`,
      text: collection.type === "auth" ? "All members, their accounts and their sessions go. Schema, rules and indexes stay." : "Schema, rules and indexes stay.",
      undo: "This cannot be undone. Export the records first if you may need them.",
      action: "Delete all records",
      typed: name,
    };
    if (!(await confirm(question))) return;
    await tell(() => call("DELETE", `/collections/name/${name}/truncate`, { query: cascade ? { cascade } : {} }), ({ deleted_count }) => `${showNumber(Number(deleted_count))} records of ${name} are deleted.`);
  };
  const remove = async () => {
    const question = { title: `Delete the collection ${name}?`, text: "Schema, rules and all records go.", undo: "This cannot be undone.", action: "Delete collection", typed: name };
    if ((await confirm(question)) && (await tell(() => call("DELETE", `/collections/${collection.id}`), `${name} is deleted.`))) go(link("collections"));
  };
  return html`<section class="card" aria-label="Deleting">
    <h2>Deleting</h2>
    <${Toggle} label="Deal with records elsewhere that point here" hint="Where the relation says set_null it is emptied, otherwise those records go too. Without it, such a deletion is refused." value=${cascade} onChange=${setCascade} />
    <div class="actions">
      <button type="button" class="danger" onClick=${truncate}>Delete all records…</button>
      <button type="button" class="danger" onClick=${remove}>Delete the collection…</button>
    </div>
  </section>`;
}
