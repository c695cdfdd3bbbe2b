// Jobs that run on a schedule.
import { html, useState } from "../html.js";
import { call, useLoad, usePolling } from "../parts/api.js";
import { showDuration } from "../parts/format.js";
import { Badge, Head, Time } from "../parts/marks.js";
import { go, link } from "../parts/router.js";
import { Loaded, Together } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { tell } from "../parts/toast.js";
import { AddJob } from "./cron_dialog.js";
import { ExportFiles, useExportFiles } from "./export_files.js";

export function Cron({ query }) {
  const tasks = useLoad((signal) => call("GET", "/admin/cron", { signal }), []);
  const page = Number(query.page ?? 1);
  const files = useExportFiles(undefined, page);
  const [adding, setAdding] = useState(false);
  usePolling(tasks.reload);
  const columns = [
    { name: "name", title: "Job", fit: "wide", cell: (task) => html`<a href=${link("cron", task.name)}><b>${task.name}</b></a><br /><small>${task.description}</small>` },
    { name: "interval", title: "Every", fit: "whole", cell: (task) => html`<span class="mono">${task.interval}</span>` },
    { name: "status", title: "State", cell: (task) => html`<${TaskState} task=${task} />` },
    { name: "next_run", title: "Next run", cell: (task) => (task.enabled ? html`<${Time} value=${task.next_run} />` : "–") },
    { name: "last_run", title: "Last run", optional: true, cell: (task) => html`<${Time} value=${task.last_run} />` },
    { name: "last_status", title: "Result", cell: (task) => html`<${RunStatus} status=${task.last_status} /> <small>${task.last_duration_ms !== null ? showDuration(task.last_duration_ms) : ""}</small>` },
    { name: "actions", title: "Actions", cell: (task) => html`<button type="button" disabled=${task.status === "running"} onClick=${() => trigger(task, tasks.reload)}>Run now<span class="unseen"> ${task.name}</span></button>` },
  ];
  return html`
    <${Head} title="Cron jobs" about="What runs on a schedule, and what became of it">
      <button type="button" class="primary" onClick=${() => setAdding(true)}>Add job</button>
    </${Head}>
    <${Together} loads=${[tasks, files]}>
      <${Loaded} load=${{ ...tasks, loading: false }}>
        ${(list) => html`<${Table} caption="Cron jobs" columns=${columns} rows=${list.tasks} rowKey=${(task) => task.name} onRow=${(task) => go(link("cron", task.name))} />`}
      </${Loaded}>
      <${ExportFiles} files=${files} page=${page} />
    </${Together}>
    ${adding && html`<${AddJob} onClose=${() => setAdding(false)} />`}
  `;
}

/** Runs a job now. */
export async function trigger(task, reload) {
  await tell(() => call("POST", `/admin/cron/${task.name}/trigger`), ({ message }) => message);
  reload();
}

export function TaskState({ task }) {
  const tone = { idle: "plain", running: "info", disabled: "warn" }[task.status];
  return html`<${Badge} tone=${tone}>${task.status}</${Badge}>`;
}

export function RunStatus({ status }) {
  if (!status) return "–";
  return html`<${Badge} tone=${{ succeeded: "good", failed: "bad", running: "info" }[status]}>${status}</${Badge}>`;
}
