// Tables: columns that sort, rows that link, pages.
import { html, useEffect, useRef } from "../html.js";
import { showNumber } from "./format.js";
import { setQuery } from "./router.js";

/**
 * `columns`: [{name, title, cell(row), sort, optional, roomy, number, fit}], `title` being text or markup and `sort` the
 * field to sort by; `optional` ones go on narrow screens, `roomy` ones are there on wide ones only; `fit` is whole (on one
 * line), wide or clip. `sorted` is the sort in force, such as "-created"; `caption` names the table to who cannot see it.
 * In a narrow window each row is a card. Styled so, tables are none to assistive technology any more; hence the roles.
 */
export function Table({ caption, columns, rows, rowKey = (row) => row.id, sorted, onSort, onRow }) {
  return html`<div class="scroller" role="region" aria-label=${caption} tabindex="0">
    <table role="table">
      <thead role="rowgroup">
        <tr role="row">${columns.map((column) => html`<${Heading} key=${column.name} column=${column} sorted=${sorted} onSort=${onSort} />`)}</tr>
      </thead>
      <tbody role="rowgroup">
        ${rows.map(
          (row) => html`<tr key=${rowKey(row)} role="row" class=${onRow ? "opens" : ""} onClick=${onRow && ((event) => opens(event) && onRow(row))}>
            ${columns.map((column) => html`<td key=${column.name} role="cell" data-title=${typeof column.title === "string" ? column.title : ""} class=${classes(column)}>${column.cell(row)}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Heading({ column, sorted, onSort }) {
  const field = sorted?.replace("-", "");
  const active = column.sort && field === column.sort;
  const falling = active && sorted.startsWith("-");
  const next = active && !falling ? `-${column.sort}` : column.sort;
  const sorts = column.sort && onSort;
  return html`<th scope="col" role="columnheader" class=${[classes(column), sorts && "sorts"].filter(Boolean).join(" ")} aria-sort=${active ? (falling ? "descending" : "ascending") : undefined}>
    ${sorts
      ? html`<button type="button" class=${active ? "sort active" : "sort"} onClick=${() => onSort(next)}>${column.title}<span aria-hidden="true">${active ? (falling ? "↓" : "↑") : "↕"}</span></button>`
      : column.title}
  </th>`;
}

const classes = (column) => [column.optional && "optional", column.roomy && "roomy", column.number && "number", column.fit].filter(Boolean).join(" ");

// The row opens by a click anywhere, but a link or a button in it does what it says. Keyboards take the row's link.
const opens = (event) => !event.target.closest("a, button, input, label, select") && !String(getSelection());

/** Total and pages, as the seed shows them, and a way to a page far off. */
export function Pager({ page, total, totalPages, noun }) {
  const jump = (event) => setQuery({ page: Math.min(totalPages, Math.max(1, event.target.valueAsNumber || 1)) });
  return html`<nav class="pager" aria-label="Pages">
    <span>Total: ${showNumber(total)} ${total === 1 ? noun.replace(/s$/, "") : noun}</span>
    <span>
      Page ${showNumber(page)} of ${showNumber(Math.max(1, totalPages))}
      ${totalPages > 2 && html`<input key=${page} type="number" min="1" max=${totalPages} placeholder="Go to" aria-label="Go to page" onChange=${jump} />`}
      <button type="button" disabled=${page <= 1} onClick=${() => setQuery({ page: page - 1 })}>Previous</button>
      <button type="button" disabled=${page >= totalPages} onClick=${() => setQuery({ page: page + 1 })}>Next</button>
    </span>
  </nav>`;
}

/** A filter in the address: a select with "all" first. */
export function Filter({ label, name, value, options }) {
  return html`<label class="filter">
    <span>${label}</span>
    <select value=${value ?? ""} onChange=${(event) => setQuery({ [name]: event.target.value })}>
      <option value="">All</option>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select>
  </label>`;
}

/** A text filter in the address, taken over when typing pauses. */
export function Search({ label, name, value = "", placeholder, type = "search" }) {
  const input = useRef(null);
  const waiting = useRef(null);
  useEffect(() => {
    // What is being typed is newer than the address.
    if (document.activeElement !== input.current) input.current.value = value;
  }, [value]);
  useEffect(() => () => clearTimeout(waiting.current), []);
  const onInput = (event) => {
    clearTimeout(waiting.current);
    const text = event.target.value;
    waiting.current = setTimeout(() => setQuery({ [name]: text }), 250);
  };
  return html`<label class="filter"><span>${label}</span><input ref=${input} type=${type} defaultValue=${value} placeholder=${placeholder} onInput=${onInput} /></label>`;
}
