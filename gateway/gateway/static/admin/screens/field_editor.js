// One field of a schema: name and type in a row, the rest folded away.
import { html, useEffect, useState } from "../html.js";
import { call } from "../parts/api.js";
import { Field, Toggle } from "../parts/form.js";
import { Badge } from "../parts/marks.js";

const TYPES = ["text", "editor", "number", "bool", "email", "url", "date", "datetime", "select", "relation", "json", "geopoint", "autodate"];
const TEXTS = ["text", "editor", "email", "url"];
const DELETION = [["", "default: set_null, or restrict where it is required"], ["restrict", "restrict – the other cannot be deleted"], ["cascade", "cascade – this record goes too"], ["set_null", "set_null – the reference is emptied"]];

export function FieldEditor({ field, open, error, onToggle, onChange, onUp, onDown, onRemove }) {
  const set = (name) => (value) => onChange({ [name]: value });
  const name = field.name || "new field";
  return html`<section class="row" aria-label=${`Field ${name}`}>
    <div class="columns tight">
      <button type="button" class="quiet" aria-expanded=${open ? "true" : "false"} onClick=${onToggle}><span aria-hidden="true">${open ? "▾" : "▸"}</span><b>${name}</b></button>
      <${Badge} tone="info">${field.type}</${Badge}>
      ${["required", "unique", "hidden"].filter((flag) => field[flag]).map((flag) => html`<${Badge} key=${flag}>${flag}</${Badge}>`)}
      <span class="push actions">
        <button type="button" class="quiet icon" disabled=${!onUp} onClick=${onUp || undefined} aria-label=${`Move ${name} up`}>↑</button>
        <button type="button" class="quiet icon" disabled=${!onDown} onClick=${onDown || undefined} aria-label=${`Move ${name} down`}>↓</button>
        <button type="button" class="quiet danger" onClick=${onRemove}>Remove<span class="unseen"> ${name}</span></button>
      </span>
    </div>
    ${error && html`<small class="error" role="alert">${error}</small>`}
    ${open &&
    html`<div class="columns">
        <${Field} label="Name" required mono value=${field.name} onChange=${set("name")} />
        <${Field} label="Type" type="select" options=${TYPES.map((type) => [type, type])} value=${field.type} onChange=${(type) => onChange(typeDefaults(field, type))} />
        <${Options} field=${field} set=${set} />
      </div>
      <div class="columns">
        <${Toggle} label="Required" value=${field.required} onChange=${set("required")} />
        <${Toggle} label="Unique" value=${field.unique} onChange=${set("unique")} />
        <${Toggle} label="Hidden" hint="Seen by admins only." value=${field.hidden} onChange=${set("hidden")} />
      </div>`}
  </section>`;
}

/** The field with another type, without what the old one was limited by. */
function typeDefaults({ key, id, name, required, unique, hidden }, type) {
  const none = { min: null, max: null, min_length: null, max_length: null, pattern: null, values: [], default: null, max_select: null, collection: null, on_delete: null, on_create: null, on_update: null };
  return { ...none, key, id, name, required, unique, hidden, type, ...(type === "autodate" ? { on_create: true, on_update: true } : {}) };
}

function Options({ field, set }) {
  const { type } = field;
  if (TEXTS.includes(type)) {
    return html`<${Field} label="Shortest" type="number" min="0" value=${field.min_length} onChange=${set("min_length")} />
      <${Field} label="Longest" type="number" min="0" value=${field.max_length} onChange=${set("max_length")} />
      <${Field} label="Pattern" mono hint="A regular expression for the whole text." value=${field.pattern} onChange=${set("pattern")} />`;
  }
  if (type === "number") {
    return html`<${Field} label="Least" type="number" step="any" value=${field.min} onChange=${set("min")} />
      <${Field} label="Greatest" type="number" step="any" value=${field.max} onChange=${set("max")} />`;
  }
  if (type === "select") {
    return html`<${Values} values=${field.values ?? []} onChange=${set("values")} />
      <${Field} label="How many at most" type="number" min="1" hint="More than one makes it a list." value=${field.max_select} onChange=${set("max_select")} />`;
  }
  if (type === "relation") {
    return html`<${CollectionChoice} value=${field.collection} onChange=${set("collection")} />
      <${Field} label="How many at most" type="number" min="1" hint="More than one makes it a list." value=${field.max_select} onChange=${set("max_select")} />
      <${Field} label="If that is deleted" type="select" options=${DELETION} value=${field.on_delete} onChange=${set("on_delete")} />`;
  }
  if (type === "autodate") {
    return html`<${Toggle} label="Set on creation" value=${field.on_create} onChange=${set("on_create")} />
      <${Toggle} label="Set on every change" value=${field.on_update} onChange=${set("on_update")} />`;
  }
  return null;
}

/** One value to a line; what is typed stays as it is until it is left. */
function Values({ values, onChange }) {
  const [text, setText] = useState(values.join("\n"));
  const take = (typed) => {
    setText(typed);
    onChange(typed.split("\n").map((line) => line.trim()).filter(Boolean));
  };
  return html`<${Field} label="Values" type="area" rows=${4} hint="One to a line." value=${text} onChange=${take} />`;
}

function CollectionChoice({ value, onChange }) {
  const [names, setNames] = useState(value ? [value] : []);
  useEffect(() => {
    call("GET", "/collections", { query: { per_page: 500 } }).then((list) => setNames(list.items.map((one) => one.name)), () => null);
  }, []);
  return html`<${Field} label="Points to" type="select" required options=${[["", "Choose…"], ...names.map((name) => [name, name])]} value=${value} onChange=${onChange} />`;
}
