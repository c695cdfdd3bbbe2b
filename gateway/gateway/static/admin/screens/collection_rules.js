// Who may do what with the records: rules, checked by the server while they are typed.
import { html, useEffect, useState } from "../html.js";
import { call } from "../parts/api.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { Badge } from "../parts/marks.js";
import { toast } from "../parts/toast.js";
import { Explain } from "./rule_explain.js";

const RULES = [
  ["list", "List", "Which records somebody sees in lists."],
  ["view", "View", "Which records somebody may open."],
  ["create", "Create", "What somebody may add; the new values are @request.data."],
  ["update", "Update", "Which records, as they are stored, somebody may change."],
  ["delete", "Delete", "Which records somebody may delete."],
  ["manage", "Manage", "Which records somebody may change in every field."],
];
const MODES = [["admins", "Admins only"], ["anyone", "Anyone"], ["expression", "Whoever fits an expression"]];
const PAUSE = 250;

const modeOf = (rule) => (rule === null ? "admins" : rule === "" ? "anyone" : "expression");

export function CollectionRules({ collection, reload }) {
  const initial = Object.fromEntries(RULES.map(([name]) => [name, { mode: modeOf(collection[`${name}_rule`]), text: collection[`${name}_rule`] ?? "" }]));
  const form = useForm(initial, async (values) => {
    const body = Object.fromEntries(RULES.map(([name]) => [`${name}_rule`, ruleOf(values[name])]));
    await call("PATCH", `/collections/${collection.id}`, { body });
    toast("The rules are saved, and in force.");
    await reload();
  });
  return html`
    <form ...${form.guarded}>
      ${RULES.map(([name, title, hint]) => html`<${Rule} key=${name} collection=${collection} name=${name} title=${title} hint=${hint} value=${form.values[name]} onChange=${form.set(name)} error=${form.errors[`${name}_rule`]} />`)}
      <${FormProblem} problem=${form.problem} known=${RULES.map(([name]) => `${name}_rule`)} />
      <div class="save"><${Submit} busy=${form.busy}>Save rules</${Submit}></div>
    </form>
    <${Explain} collection=${collection} rules=${form.values} />
  `;
}

/** The rule as the API has it: null, "" or an expression. */
export const ruleOf = ({ mode, text }) => (mode === "admins" ? null : mode === "anyone" ? "" : text.trim());

function Rule({ collection, name, title, hint, value, onChange, error }) {
  const check = useCheck(collection.name, name, value);
  return html`<section class="card" aria-label=${`${title} rule`}>
    <div class="columns">
      <${Field} label=${title} type="select" hint=${hint} options=${MODES} value=${value.mode} onChange=${(mode) => onChange({ ...value, mode })} />
    </div>
    ${value.mode === "expression" &&
    html`<div>
      <${Field} label=${`${title} rule as an expression`} type="area" rows=${2} mono required spellcheck=${false} maxlength="4096"
        placeholder=${'@request.auth.id != "" && published = true'} value=${value.text} onChange=${(text) => onChange({ ...value, text })} error=${error ?? check?.error} />
      <p class="checked" role="status">${check && !check.error && html`<${Badge} tone="good">Good</${Badge}>${check.note}`}</p>
    </div>`}
  </section>`;
}

/** What the server says to an expression, once typing has paused. */
function useCheck(collection, rule, { mode, text }) {
  const [check, setCheck] = useState(null);
  useEffect(() => {
    if (mode !== "expression" || !text.trim()) return setCheck(null);
    const abort = new AbortController();
    const timer = setTimeout(() => {
      const query = { rule, expression: text.trim() };
      call("GET", `/collections/${collection}/explain`, { query, signal: abort.signal }).then(
        (explanation) => setCheck({ note: indexNote(explanation) }),
        (problem) => abort.signal.aborted || setCheck({ error: problem.fields[0]?.message.split("\n")[0] ?? problem.message }),
      );
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [collection, rule, mode, text]);
  return check;
}

/** How the database finds what the rule lets through. */
export function indexNote({ index, missing_index }) {
  if (index) return `It is served by the index ${index}.`;
  return missing_index.length ? `An index over ${missing_index.join(", ")} would serve it; now every record is looked at.` : "It needs no index.";
}
