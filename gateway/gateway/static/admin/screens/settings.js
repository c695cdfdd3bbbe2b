// What changes while everything runs, category by category. Only what was changed is sent.
import { html } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { Field, FormProblem, Submit, Toggle, useForm } from "../parts/form.js";
import { Head } from "../parts/marks.js";
import { link } from "../parts/router.js";
import { Empty, Loaded } from "../parts/states.js";
import { toast } from "../parts/toast.js";
import { SETTINGS } from "./settings_keys.js";
import { MailSettings } from "./settings_mail.js";

export function Settings({ item = "authentication", user }) {
  const section = SETTINGS[item];
  return html`
    <${Head} title="Settings" about="Configure authentication and system options" />
    <nav class="tabs" aria-label="Settings">
      ${Object.entries(SETTINGS).map(([key, { title }]) => html`<a key=${key} href=${link("settings", key)} aria-current=${key === item ? "page" : undefined}>${title}</a>`)}
    </nav>
    ${section?.screen ? html`<${section.screen} />` : section ? html`<${Section} key=${item} section=${section} user=${user} />` : html`<${Empty} title="There are no such settings" />`}
  `;
}

function Section({ section, user }) {
  const settings = useLoad((signal) => call("GET", `/settings/${section.category}`, { signal }), [section]);
  const form = section.category === "mail" ? MailSettings : SectionForm;
  return html`<${Loaded} load=${settings}>${(values) => html`<${form} section=${section} saved=${values} reload=${settings.reload} user=${user} />`}</${Loaded}>`;
}

function SectionForm({ section, saved, reload }) {
  const keys = section.groups.flatMap(({ keys }) => Object.keys(keys));
  const form = useForm(saved, async (values) => {
    const shorter = keeping(saved.audit_retention_days) > keeping(values.audit_retention_days);
    if (shorter && !(await confirm(forgetting(values.audit_retention_days)))) return;
    const body = Object.fromEntries(keys.filter((key) => values[key] !== saved[key]).map((key) => [key, values[key]]));
    await call("PATCH", `/settings/${section.category}`, { body });
    toast("Saved. In force everywhere within a second.");
    await reload();
  });
  const changed = keys.filter((key) => form.values[key] !== saved[key]);
  return html`<form ...${form.guarded} noValidate>
    ${section.groups.map(
      (group) => html`<section key=${group.title} class="card" aria-label=${group.title}>
        <h2>${group.title}</h2>
        ${group.about && html`<p>${group.about}</p>`}
        ${Object.entries(group.keys).map(([key, spec]) => html`<${Setting} key=${key} spec=${spec} value=${form.values[key]} onChange=${form.set(key)} error=${form.errors[key]} />`)}
      </section>`,
    )}
    <${FormProblem} problem=${form.problem} known=${keys} />
    <div class="save">
      <${Submit} busy=${form.busy} disabled=${!changed.length}>Save changes</${Submit}>
      ${changed.length > 0 && html`<button type="button" onClick=${() => form.setValues(saved)}>Discard</button>`}
      <span role="status">${changed.length > 0 && (changed.length === 1 ? "One change" : `${changed.length} changes`)}</span>
    </div>
  </form>`;
}

// 0 is for good.
const keeping = (days) => days || Infinity;
const forgetting = (days) => ({
  title: "Keep the audit log for a shorter time?",
  text: `Events of more than ${days} days ago are deleted when cleanup_audit_logs runs next, once a day.`,
  undo: "What is deleted does not come back. Export it first if you may need it.",
  action: "Keep it shorter",
});

function Setting({ spec, value, onChange, error }) {
  const [label, hint, min, max] = spec;
  if (typeof value === "boolean") return html`<${Toggle} label=${label} hint=${hint} value=${value} onChange=${onChange} />`;
  return html`<div class="columns"><${Field} label=${label} hint=${hint} type="number" min=${min} max=${max} step="1" required value=${value} onChange=${onChange} error=${error} /></div>`;
}
