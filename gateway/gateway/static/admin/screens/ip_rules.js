// Which addresses may come in.
import { html, useState } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { confirm, Dialog } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { showTime } from "../parts/format.js";
import { Badge, Head, Time } from "../parts/marks.js";
import { Empty, Loaded } from "../parts/states.js";
import { Filter, Pager, Table } from "../parts/table.js";
import { tell, toast } from "../parts/toast.js";

const TYPES = [["block", "block"], ["allow", "allow"]];

export function IpRules({ query }) {
  const { rule_type, page = 1 } = query;
  const [adding, setAdding] = useState(false);
  const rules = useLoad((signal) => call("GET", "/admin/ip-rules", { query: { rule_type, page, per_page: 50 }, signal }), [rule_type, page]);
  const columns = [
    { name: "cidr", title: "Network", fit: "whole", cell: (rule) => html`<b class="mono">${rule.cidr}</b>` },
    { name: "type", title: "Rule", cell: (rule) => html`<${Badge} tone=${rule.rule_type === "block" ? "bad" : "good"}>${rule.rule_type}</${Badge}>` },
    { name: "reason", title: "Reason", cell: (rule) => rule.reason ?? "–" },
    { name: "expires", title: "Until", cell: (rule) => (rule.expires_at ? showTime(rule.expires_at) : "for good") },
    { name: "created", title: "Made", optional: true, cell: (rule) => html`<${Time} value=${rule.created} />` },
    { name: "actions", title: "Actions", cell: (rule) => html`<button type="button" class="danger" onClick=${() => remove(rule, rules.reload)}>Remove<span class="unseen"> ${rule.cidr}</span></button>` },
  ];
  return html`
    <${Head} title="IP rules" about="Which addresses may come in">
      <button type="button" class="primary" onClick=${() => setAdding(true)}>Add rule</button>
    </${Head}>
    <div class="filters"><${Filter} label="Rule" name="rule_type" value=${rule_type} options=${TYPES} /></div>
    <${Loaded} load=${rules}>
      ${(list) =>
        list.items.length
          ? html`<${Pager} page=${list.page} total=${list.total} totalPages=${list.total_pages} noun="rules" />
              <${Table} caption="IP rules" columns=${columns} rows=${list.items} />`
          : html`<${Empty} title="No rules">Everyone may come in. A block rule shuts out a network; one allow rule shuts out everyone it does not name.</${Empty}>`}
    </${Loaded}>
    ${adding && html`<${AddRule} onClose=${() => setAdding(false)} onSaved=${rules.reload} />`}
  `;
}

async function remove(rule, reload) {
  const question = { title: `Remove the rule for ${rule.cidr}?`, text: rule.rule_type === "block" ? "The network may come in again." : "The network may no longer be let in.", undo: "You can add the rule again.", action: "Remove" };
  if (!(await confirm(question))) return;
  const done = await forced((query) => call("DELETE", `/admin/ip-rules/${rule.id}`, { query }));
  if (done) {
    toast(`The rule for ${rule.cidr} is removed.`);
    reload();
  }
}

/** Does what would shut out the caller only once they say so. False where they do not; other problems are told. */
async function forced(work) {
  try {
    await work({});
    return true;
  } catch (problem) {
    if (problem.code !== "SELF_LOCKOUT") {
      toast(problem.message, "bad");
      return false;
    }
    const question = { title: "This shuts you out", text: problem.message, undo: "You would have to come in from another address to undo it.", action: "Do it anyway", typed: "shut me out" };
    return (await confirm(question)) && tell(() => work({ force: true }), "Done.");
  }
}

function AddRule({ onClose, onSaved }) {
  const form = useForm({ cidr: "", rule_type: "block", reason: "", expires: "" }, async (values) => {
    const body = { cidr: values.cidr.trim(), rule_type: values.rule_type, reason: values.reason || null };
    if (values.expires) body.expires_at = new Date(values.expires).toISOString();
    try {
      await call("POST", "/admin/ip-rules", { body });
    } catch (problem) {
      if (problem.code !== "SELF_LOCKOUT") throw problem;
      if (!(await forced((query) => call("POST", "/admin/ip-rules", { query, body })))) return;
    }
    toast("In force everywhere within a second.");
    onSaved();
    onClose();
  });
  const { values, set, errors } = form;
  return html`<${Dialog} title="Add rule" onClose=${onClose}>
    <form ...${form.guarded}>
      <${FormProblem} problem=${form.problem} known=${["cidr", "rule_type", "reason", "expires_at"]} />
      <${Field} label="Network" required mono placeholder="203.0.113.0/24" hint="An address or a network, IPv4 or IPv6." value=${values.cidr} onChange=${set("cidr")} error=${errors.cidr} />
      <${Field} label="Rule" type="select" options=${TYPES} value=${values.rule_type} onChange=${set("rule_type")} error=${errors.rule_type} />
      <${Field} label="Reason" maxlength="200" hint="Whoever is blocked reads it." value=${values.reason} onChange=${set("reason")} error=${errors.reason} />
      <${Field} label="Until" type="datetime-local" hint="Empty: for good." value=${values.expires} onChange=${set("expires")} error=${errors.expires_at} />
      <footer><button type="button" onClick=${onClose}>Cancel</button><${Submit} busy=${form.busy}>Add rule</${Submit}></footer>
    </form>
  </${Dialog}>`;
}
