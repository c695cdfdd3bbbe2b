// The values of a record as forms hold them, and the input for each type of field.
import { html, useId } from "../html.js";
import { Field, Toggle } from "../parts/form.js";
import { valueOf } from "./record_cell.js";
import { RelationPicker } from "./relation_picker.js";

/** The fields that people fill in. */
export const editable = (collection) => collection.schema.fields.filter((field) => field.type !== "autodate");

/** The input for one field. */
export function Value({ field, value, onChange, error }) {
  const shared = { label: field.name, value, onChange, error, required: field.required && field.type !== "bool" };
  const hint = [field.required && "Required.", field.unique && "Unique.", field.hidden && "Seen by admins only."].filter(Boolean).join(" ") || undefined;
  if (field.type === "bool") return html`<${Toggle} label=${field.name} hint=${hint} value=${value === "true"} onChange=${(on) => onChange(String(on))} />`;
  if (field.type === "relation") return html`<${RelationPicker} field=${field} hint=${hint} value=${value} onChange=${onChange} error=${error} />`;
  if (field.type === "select" && !(field.max_select > 1)) return html`<${Field} ...${shared} type="select" hint=${hint} options=${[["", "–"], ...field.values.map((one) => [one, one])]} />`;
  if (field.type === "select") return html`<${Choices} field=${field} hint=${hint} value=${value} onChange=${onChange} error=${error} />`;
  if (field.type === "editor") return html`<${Field} ...${shared} type="area" rows=${6} hint=${hint} />`;
  if (field.type === "json" || field.type === "geopoint") return html`<${Field} ...${shared} type="area" mono hint=${field.type === "json" ? "Any JSON." : '{"lat": 52.52, "lon": 13.4}'} />`;
  const type = { number: "number", email: "email", url: "url", date: "date" }[field.type] ?? "text";
  return html`<${Field} ...${shared} type=${type} step="any" hint=${field.type === "datetime" ? "Such as 2026-03-02T12:30:00Z." : hint}
    onChange=${(next) => onChange(next === null ? "" : String(next))} />`;
}

/** Several of the values of a select, one to a line. */
function Choices({ field, value, onChange, error, hint }) {
  const id = useId();
  const chosen = value.split("\n").filter(Boolean);
  const toggle = (one) => onChange(field.values.filter((other) => (other === one) !== chosen.includes(other)).join("\n"));
  return html`<div class="field" role="group" aria-labelledby=${id}>
    <span id=${id}>${field.name}</span>
    <span class="chips">${field.values.map((one) => html`<label key=${one} class="choice"><input type="checkbox" checked=${chosen.includes(one)} onChange=${() => toggle(one)} />${one}</label>`)}</span>
    <small>${[hint, `At most ${field.max_select}.`].filter(Boolean).join(" ")}</small>
    ${error && html`<small class="error">${error}</small>`}
  </div>`;
}

/** A value as the form holds it: text, or a list of ids for relations. */
export function typed(field, value) {
  if (field.type === "relation") return [].concat(value ?? []).join(" ");
  if (value === null || value === undefined) return "";
  if (field.type === "json" || field.type === "geopoint") return JSON.stringify(value, null, 2);
  if (field.type === "select" && Array.isArray(value)) return value.join("\n");
  return String(value);
}

/** And as it is sent. Throws for what is not JSON. */
export function sent(field, text) {
  const many = field.max_select > 1;
  if (field.type === "relation") return many ? text.split(" ").filter(Boolean) : text || null;
  if (field.type === "select" && many) return text.split("\n").map((one) => one.trim()).filter(Boolean);
  if (text !== "" && (field.type === "json" || field.type === "geopoint")) {
    try {
      return JSON.parse(text);
    } catch {
      throw Object.assign(new Error("This is not JSON."), { sentences: [], fields: [{ field: field.name, message: "Is not JSON." }] });
    }
  }
  return valueOf(field, text);
}
