// The files that export jobs have written: those of one job, or of all of them.
import { html } from "../html.js";
import { call, download, useLoad, usePolling } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { showBytes, showTime } from "../parts/format.js";
import { link } from "../parts/router.js";
import { Empty, Loaded } from "../parts/states.js";
import { Pager, Table } from "../parts/table.js";
import { tell } from "../parts/toast.js";

const PER_PAGE = 20;

/** A page of the files of a job, or of all jobs where `task` is undefined. */
export function useExportFiles(task, page) {
  const query = { task, limit: PER_PAGE, offset: (page - 1) * PER_PAGE };
  const files = useLoad((signal) => call("GET", "/admin/exports", { query, signal }), [task, page]);
  usePolling(files.reload);
  return files;
}

/** The newest files of a job. */
export function JobFiles({ task }) {
  return html`<${ExportFiles} files=${useExportFiles(task, 1)} task=${task} />`;
}

/** `files` is what useExportFiles gave; without a `page` there is no way to others. */
export function ExportFiles({ files, task, page }) {
  const columns = [
    { name: "name", title: "File", fit: "wide", cell: (file) => html`<span class="mono">${file.name}</span>` },
    ...(task ? [] : [{ name: "task", title: "Job", cell: (file) => html`<a href=${link("cron", file.task)}>${file.task}</a>` }]),
    { name: "created", title: "Begun", fit: "whole", cell: (file) => showTime(file.created) },
    { name: "size", title: "Size", number: true, cell: (file) => showBytes(file.size) },
    { name: "actions", title: "Actions", cell: (file) => html`<${Actions} file=${file} reload=${files.reload} />` },
  ];
  return html`<section aria-label="Export files">
    <h2>Export files</h2>
    <${Loaded} load=${{ ...files, loading: false }}>
      ${(list) =>
        html`${page && list.total > 0 && html`<${Pager} page=${page} total=${list.total} totalPages=${Math.ceil(list.total / PER_PAGE)} noun="files" />`}
          ${list.items.length
            ? html`<${Table} caption="Export files" columns=${columns} rows=${list.items} rowKey=${(file) => file.name} />`
            : html`<${Empty} title="No files">What export jobs write is found here.</${Empty}>`}`}
    </${Loaded}>
  </section>`;
}

function Actions({ file, reload }) {
  const path = `/admin/exports/${encodeURIComponent(file.name)}`;
  const save = () => tell(() => download(path, {}, file.name), (bytes) => `Saved ${file.name}, ${showBytes(bytes)}.`);
  const remove = async () => {
    const question = { title: "Delete this file?", text: file.name, undo: "This cannot be undone. The job and its other files stay.", action: "Delete" };
    if (!(await confirm(question))) return;
    await tell(() => call("DELETE", path), `${file.name} is deleted.`);
    reload();
  };
  return html`<button type="button" onClick=${save}>Download<span class="unseen"> ${file.name}</span></button>
    <button type="button" class="danger" onClick=${remove}>Delete<span class="unseen"> ${file.name}</span></button>`;
}
