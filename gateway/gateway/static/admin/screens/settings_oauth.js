// The identity providers that members may sign in with.
import { html, useState } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { confirm, Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, Toggle, useForm } from "../parts/form.js";
import { Badge } from "../parts/marks.js";
import { Empty, Loaded } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { tell, toast } from "../parts/toast.js";

const KINDS = [["google", "Google"], ["github", "GitHub"], ["microsoft", "Microsoft"], ["oidc", "Any OpenID Connect issuer"]];

export function OAuthProviders() {
  const providers = useLoad((signal) => call("GET", "/admin/oauth-providers", { signal }), []);
  const [open, setOpen] = useState(null);
  const remove = async (provider) => {
    const question = { title: `Delete ${provider.display_name}?`, text: "Nobody can sign in with it any more. Accounts stay.", undo: "To undo it you need the client’s secret again.", action: "Delete" };
    if ((await confirm(question)) && (await tell(() => call("DELETE", `/admin/oauth-providers/${provider.id}`), `${provider.display_name} is deleted.`))) providers.reload();
  };
  const columns = [
    { name: "name", title: "Provider", cell: (row) => html`<b>${row.display_name}</b><br /><small class="mono">${row.name}</small>` },
    { name: "kind", title: "Kind", cell: (row) => row.kind },
    { name: "client", title: "Client id", optional: true, fit: "clip", cell: (row) => html`<span class="mono">${row.client_id}</span>` },
    { name: "secret", title: "Secret", cell: (row) => (row.has_client_secret ? html`<${Badge} tone="good">kept</${Badge}>` : html`<${Badge} tone="warn">none</${Badge}>`) },
    { name: "enabled", title: "State", cell: (row) => (row.enabled ? html`<${Badge} tone="good">on</${Badge}>` : html`<${Badge}>off</${Badge}>`) },
    {
      name: "actions",
      title: "Actions",
      cell: (row) => html`<span class="actions">
        <button type="button" onClick=${() => setOpen(row)}>Edit<span class="unseen"> ${row.name}</span></button>
        <button type="button" class="danger" onClick=${() => remove(row)}>Delete<span class="unseen"> ${row.name}</span></button>
      </span>`,
    },
  ];
  return html`
    <div><button type="button" class="primary" onClick=${() => setOpen({})}>Add provider</button></div>
    <${Loaded} load=${providers}>
      ${(list) =>
        list.items.length
          ? html`<${Table} caption="OAuth providers" columns=${columns} rows=${list.items} />`
          : html`<${Empty} title="No providers">With one, members of auth collections sign in with Google, GitHub, Microsoft or any OpenID Connect issuer.</${Empty}>`}
    </${Loaded}>
    ${open && html`<${ProviderDialog} key=${open.id} provider=${open} onClose=${() => setOpen(null)} onSaved=${providers.reload} />`}
  `;
}

function ProviderDialog({ provider, onClose, onSaved }) {
  const initial = {
    name: "",
    kind: "google",
    enabled: true,
    ...provider,
    display_name: provider.display_name ?? "",
    client_id: provider.client_id ?? "",
    client_secret: "",
    issuer: provider.issuer ?? "",
    scopes: (provider.scopes ?? []).join(" "),
  };
  const form = useForm(initial, async (values) => {
    const { name, kind, enabled, client_id } = values;
    const body = { enabled, client_id, scopes: values.scopes.split(/\s+/).filter(Boolean) };
    if (values.display_name) body.display_name = values.display_name;
    if (values.client_secret) body.client_secret = values.client_secret;
    if (values.issuer) body.issuer = values.issuer;
    if (provider.id) await call("PATCH", `/admin/oauth-providers/${provider.id}`, { body });
    else await call("POST", "/admin/oauth-providers", { body: { ...body, name, kind } });
    toast("Saved.");
    onSaved();
    onClose();
  });
  const { values, set, errors } = form;
  return html`<${Dialog} title=${provider.id ? `Edit ${provider.display_name}` : "Add provider"} onClose=${onClose}>
    <form ...${form.guarded}>
      <${FormProblem} problem=${form.problem} known=${["name", "kind", "display_name", "client_id", "client_secret", "issuer", "scopes"]} />
      ${!provider.id &&
      html`<${Field} label="Kind" type="select" options=${KINDS} value=${values.kind} onChange=${set("kind")} error=${errors.kind} />
        <${Field} label="Name" mono required hint="Part of the address: lower-case letters, digits and hyphens." value=${values.name} onChange=${set("name")} error=${errors.name} />`}
      <${Field} label="Shown as" value=${values.display_name} onChange=${set("display_name")} error=${errors.display_name} />
      <${Field} label="Client id" mono required value=${values.client_id} onChange=${set("client_id")} error=${errors.client_id} />
      <${Field} label="Client secret" type="password" autocomplete="off" hint=${provider.has_client_secret ? "One is kept. Empty: it stays." : "It is kept, and never shown again."} value=${values.client_secret} onChange=${set("client_secret")} error=${errors.client_secret} />
      <${Field} label="Issuer" type="url" required=${values.kind === "oidc"} placeholder="https://id.example.com" hint="Of OpenID Connect; elsewhere empty." value=${values.issuer} onChange=${set("issuer")} error=${errors.issuer} />
      <${Field} label="Scopes" mono hint="With spaces. Empty: the usual." value=${values.scopes} onChange=${set("scopes")} error=${errors.scopes} />
      <${Toggle} label="Members may sign in with it" value=${values.enabled} onChange=${set("enabled")} />
      <footer><button type="button" onClick=${onClose}>Cancel</button><${Submit} busy=${form.busy}>Save</${Submit}></footer>
    </form>
  </${Dialog}>`;
}
