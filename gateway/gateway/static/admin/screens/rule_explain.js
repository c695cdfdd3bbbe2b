// Trying a rule out: whether somebody gets a record, and why.
import { html, useState } from "../html.js";
import { call } from "../parts/api.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { Badge } from "../parts/marks.js";
import { indexNote, ruleOf } from "./collection_rules.js";

const NAMES = ["list", "view", "create", "update", "delete", "manage"];

export function Explain({ collection, rules }) {
  const [explanation, setExplanation] = useState(null);
  const form = useForm({ rule: "list", as_user: "", record: "" }, async ({ rule, as_user, record }) => {
    setExplanation(null);
    const expression = ruleOf(rules[rule]);
    const query = new URLSearchParams({ rule });
    // A rule of null cannot be asked about unless it is the saved one.
    if (expression !== null) query.set("expression", expression);
    if (as_user) query.set("as_user", as_user.trim());
    if (record) query.set("record", record.trim());
    setExplanation(await call("GET", `/collections/${collection.name}/explain?${query}`));
  });
  const { values, set, errors } = form;
  return html`<section class="card" aria-label="Try a rule">
    <h2>Try a rule</h2>
    <p>As it is typed above, saved or not: what it becomes in the database, and whether one person gets one record.</p>
    <form onSubmit=${form.onSubmit}>
      <div class="columns">
        <${Field} label="Rule" type="select" options=${NAMES.map((name) => [name, name])} value=${values.rule} onChange=${set("rule")} />
        <${Field} label="As the user with the id" mono hint="Empty: somebody who is not signed in." value=${values.as_user} onChange=${set("as_user")} error=${errors.as_user} />
        <${Field} label="On the record with the id" mono hint="Optional." value=${values.record} onChange=${set("record")} error=${errors.record} />
      </div>
      <${FormProblem} problem=${form.problem} known=${["as_user", "record"]} />
      <div><${Submit} busy=${form.busy}>Explain</${Submit}></div>
    </form>
    <div role="status">${explanation && html`<${Explanation} explanation=${explanation} />`}</div>
  </section>`;
}

function Explanation({ explanation }) {
  const { verdict, compiled, expression } = explanation;
  return html`<div class="loaded">
    ${verdict && html`<p><${Badge} tone=${verdict.allowed ? "good" : "bad"}>${verdict.allowed ? "They get it" : "They do not get it"}</${Badge}> Decided by <span class="mono">${verdict.decided_by}</span></p>`}
    ${verdict?.clauses.length > 0 && html`<${Clauses} clauses=${verdict.clauses} />`}
    <p>${expression === null ? "Admins only." : expression === "" ? "Anyone." : html`<span class="mono">${expression}</span>`} ${expression && indexNote(explanation)}</p>
    ${compiled && html`<details><summary>What the database is asked</summary><pre tabindex="0">${JSON.stringify(compiled, null, 2)}</pre></details>`}
  </div>`;
}

/** The rule part by part, each with what it came to. */
function Clauses({ clauses }) {
  return html`<ul class="clauses">
    ${clauses.map(
      ({ clause, result, parts }) => html`<li key=${clause}>
        <${Badge} tone=${result ? "good" : "bad"}>${result ? "true" : "false"}</${Badge}> <span class="mono">${clause}</span>
        ${parts.length > 0 && html`<${Clauses} clauses=${parts} />`}
      </li>`,
    )}
  </ul>`;
}
