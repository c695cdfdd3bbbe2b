// One value in the table of records: shown, and changed in place.
import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { call } from "../parts/api.js";
import { shortId, showNumber, showTime } from "../parts/format.js";
import { Badge } from "../parts/marks.js";
import { toast } from "../parts/toast.js";

const INLINE = ["text", "email", "url", "number", "bool", "select", "date"];

export function Cell({ collection, field, row, onSaved }) {
  const [editing, setEditing] = useState(false);
  const button = useRef(null);
  const byKey = useRef(false);
  // Whoever ends it by a key goes on from there.
  useLayoutEffect(() => {
    if (!editing && byKey.current) button.current?.focus();
    byKey.current = false;
  }, [editing]);
  const value = row.data[field.name];
  const shown = shownValue(field, value, row.expand?.[field.name]);
  if (field.fixed || !INLINE.includes(field.type) || field.max_select > 1) return html`<span class="cell-text">${shown}</span>`;
  if (!editing) {
    return html`<button ref=${button} type="button" class="quiet cell" title="Change" onClick=${() => setEditing(true)}><span>${shown}</span><span class="unseen">, change ${field.name}</span></button>`;
  }
  const save = async (next) => {
    setEditing(false);
    if (next === value) return;
    try {
      await call("PATCH", `/collections/${collection.name}/records/${row.id}`, { body: { data: { [field.name]: next } } });
      onSaved();
    } catch (problem) {
      toast(problem.fields[0]?.message ?? problem.message, "bad");
    }
  };
  return html`<${InPlace} field=${field} value=${value} onKey=${() => (byKey.current = true)} onSave=${save} onCancel=${() => setEditing(false)} />`;
}

/** An input that saves on Enter and when it is left, and gives up on Escape. */
function InPlace({ field, value, onKey, onSave, onCancel }) {
  const input = useRef(null);
  const done = useRef(false);
  useLayoutEffect(() => input.current.focus(), []);
  const finish = (then) => {
    if (done.current) return;
    done.current = true;
    then();
  };
  const save = () => finish(() => onSave(valueOf(field, input.current.value)));
  const onKeyDown = (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    // Else the same press opens the cell again, which has the focus by then.
    event.preventDefault();
    onKey();
    if (event.key === "Enter") save();
    else finish(onCancel);
  };
  const shared = { ref: input, "aria-label": field.name, onKeyDown, onBlur: save };
  const choices = field.type === "bool" ? ["true", "false"] : field.type === "select" ? field.values : null;
  if (choices) {
    return html`<select ...${shared} onChange=${save}>
      <option value="" selected=${value === null || value === undefined}>–</option>
      ${choices.map((one) => html`<option key=${one} value=${one} selected=${String(value) === one}>${one}</option>`)}
    </select>`;
  }
  const type = { number: "number", date: "date" }[field.type] ?? "text";
  return html`<input ...${shared} type=${type} step="any" defaultValue=${value ?? ""} />`;
}

/** What was typed, as the API takes it; an empty field is null. */
export function valueOf(field, text) {
  if (text === "") return null;
  if (field.type === "number") return Number(text);
  if (field.type === "bool") return text === "true";
  return text;
}

/** A value as it is read. Relations show what they point to where that was `expanded`. */
export function shownValue(field, value, expanded) {
  if (value === null || value === undefined || value === "") return html`<span class="soft">–</span>`;
  if (field.type === "relation") {
    const targets = [].concat(expanded ?? value);
    return html`<span class="chips">${targets.map((one) => html`<${Badge} key=${one.id ?? one} tone="info">${one.id ? labelOf(one) : shortId(one)}</${Badge}>`)}</span>`;
  }
  if (field.type === "select") return html`<span class="chips">${[].concat(value).map((one) => html`<${Badge} key=${one}>${one}</${Badge}>`)}</span>`;
  if (field.type === "bool") return value ? html`<${Badge} tone="good">yes</${Badge}>` : html`<${Badge}>no</${Badge}>`;
  if (field.type === "number") return showNumber(value);
  if (field.type === "datetime" || field.type === "autodate") return showTime(value);
  if (field.type === "geopoint") return `${value.lat}, ${value.lon}`;
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** What to call a record: its first short text. */
export function labelOf(record) {
  const text = Object.values(record.data).find((value) => typeof value === "string" && value);
  return text ? text.slice(0, 60) : shortId(record.id);
}
