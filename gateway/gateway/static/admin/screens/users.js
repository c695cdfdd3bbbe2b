// All accounts, of all realms.
import { html, useState } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, Toggle, useForm } from "../parts/form.js";
import { shortId, showDay } from "../parts/format.js";
import { Avatar, Badge, Head, Time } from "../parts/marks.js";
import { go, link, setQuery } from "../parts/router.js";
import { Empty, Loaded } from "../parts/states.js";
import { Filter, Pager, Search, Table } from "../parts/table.js";
import { toast } from "../parts/toast.js";

const PER_PAGE = 20;

export function Users({ query, user }) {
  const { search, role, verified, collection, sort = "-created", page = 1 } = query;
  const [adding, setAdding] = useState(false);
  const users = useLoad(
    (signal) => call("GET", "/admin/users", { query: { search, role, verified, collection, sort, page, per_page: PER_PAGE }, signal }),
    [search, role, verified, collection, sort, page],
  );
  const realms = useRealms();
  return html`
    <${Head} title="Users" about="Manage user accounts and permissions">
      <button type="button" class="primary" onClick=${() => setAdding(true)}>Add user</button>
    </${Head}>
    <div class="filters" role="search">
      <${Search} label="Search" name="search" value=${search} placeholder="E-mail or name" />
      <${Filter} label="Role" name="role" value=${role} options=${[["admin", "admin"], ["user", "user"]]} />
      <${Filter} label="Status" name="verified" value=${verified} options=${[["true", "Verified"], ["false", "Unverified"]]} />
      <${Filter} label="Collection" name="collection" value=${collection} options=${realms.map((name) => [name, name])} />
    </div>
    <${Loaded} load=${users}>
      ${(list) =>
        list.items.length
          ? html`<${Pager} page=${list.page} total=${list.total} totalPages=${list.total_pages} noun="users" />
              <${Table} caption="Users" columns=${COLUMNS} rows=${list.items} sorted=${sort}
                onSort=${(next) => setQuery({ sort: next })} onRow=${(row) => go(link("users", row.id))} />`
          : html`<${Empty} title="No users found">Nobody fits the search and the filters.</${Empty}>`}
    </${Loaded}>
    ${adding && html`<${AddUser} realms=${realms} superadmin=${user.superadmin} onClose=${() => setAdding(false)} />`}
  `;
}

/** Where users can be: `users`, and the auth collections. */
function useRealms() {
  const collections = useLoad((signal) => call("GET", "/collections", { query: { per_page: 500 }, signal }), []);
  const members = (collections.data?.items ?? []).filter((one) => one.type === "auth").map((one) => one.name);
  return ["users", ...members];
}

/** Verified or not, disabled or not. */
export function Status({ user }) {
  if (user.disabled) return html`<${Badge} tone="bad">Disabled</${Badge}>`;
  return user.verified ? html`<${Badge} tone="good">Verified</${Badge}>` : html`<${Badge} tone="warn">Unverified</${Badge}>`;
}

/** admin, user or superadmin. */
export function Role({ user }) {
  return html`<${Badge} tone=${user.role === "admin" ? "info" : "plain"}>${user.superadmin ? "superadmin" : user.role}</${Badge}>`;
}

const COLUMNS = [
  {
    name: "user",
    title: "User",
    sort: "name",
    cell: (row) => html`<a class="person" href=${link("users", row.id)}>
      <${Avatar} text=${row.name || row.email} />
      <span><b>${row.name || "No name"}</b><small class="mono" title=${row.id}>${shortId(row.id)}</small></span>
    </a>`,
  },
  { name: "email", title: "Email", sort: "email", fit: "whole", cell: (row) => row.email },
  { name: "role", title: "Role", cell: (row) => html`<${Role} user=${row} />` },
  { name: "status", title: "Status", cell: (row) => html`<${Status} user=${row} />` },
  { name: "collection", title: "Collection", roomy: true, cell: (row) => row.collection },
  { name: "last_login", title: "Last login", sort: "last_login", roomy: true, cell: (row) => html`<${Time} value=${row.last_login} />` },
  { name: "created", title: "Created", sort: "created", optional: true, fit: "whole", cell: (row) => showDay(row.created) },
  {
    name: "actions",
    title: "Actions",
    cell: (row) => html`<a class="button" href=${link("users", row.id)}>Manage<span class="unseen"> ${row.email}</span></a>`,
  },
];

function AddUser({ realms, superadmin, onClose }) {
  const form = useForm({ email: "", password: "", name: "", role: "user", verified: false, collection: "users", data: "" }, async (values) => {
    const builtIn = values.collection === "users";
    const body = { email: values.email, password: values.password, verified: values.verified, collection: values.collection };
    if (builtIn) Object.assign(body, { role: values.role, name: values.name || null });
    else if (values.data.trim()) body.data = readJson(values.data);
    const made = await call("POST", "/admin/users", { body });
    toast(`Added ${made.email}.`);
    go(link("users", made.id));
  });
  const { values, set, errors } = form;
  const builtIn = values.collection === "users";
  return html`<${Dialog} title="Add user" onClose=${onClose}>
    <form ...${form.guarded}>
      <${FormProblem} problem=${form.problem} known=${["email", "password", "name", "role", "collection", "data"]} />
      <${Field} label="Collection" type="select" options=${realms.map((name) => [name, name === "users" ? "users (built in)" : name])} value=${values.collection} onChange=${set("collection")} error=${errors.collection} />
      <${Field} label="E-mail" type="email" required autocomplete="off" value=${values.email} onChange=${set("email")} error=${errors.email} />
      <${Field} label="Password" type="password" required autocomplete="new-password" value=${values.password} onChange=${set("password")} error=${errors.password} />
      ${builtIn
        ? html`<${Field} label="Name" value=${values.name} onChange=${set("name")} error=${errors.name} />
            <${Field} label="Role" type="select" options=${superadmin ? [["user", "user"], ["admin", "admin"]] : [["user", "user"]]}
              hint=${superadmin ? undefined : "Only superadmins make admins."} value=${values.role} onChange=${set("role")} error=${errors.role} />`
        : html`<${Field} label="Own fields" type="area" mono hint=${'The collection’s fields as JSON, such as {"company": "Acme"}.'} value=${values.data} onChange=${set("data")} error=${errors.data} />`}
      <${Toggle} label="E-mail is verified" value=${values.verified} onChange=${set("verified")} />
      <footer><button type="button" onClick=${onClose}>Cancel</button><${Submit} busy=${form.busy}>Add user</${Submit}></footer>
    </form>
  </${Dialog}>`;
}

function readJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw Object.assign(new Error("This is not JSON."), { sentences: [], fields: [{ field: "data", message: "Is not JSON." }] });
  }
}
