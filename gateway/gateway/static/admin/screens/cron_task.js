// One job: its schedule, and its runs.
import { html } from "../html.js";
import { call, useLoad, usePolling } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { showDuration, showTime } from "../parts/format.js";
import { Badge, Head, Time } from "../parts/marks.js";
import { go, link } from "../parts/router.js";
import { Empty, Failed, Loaded, Together } from "../parts/states.js";
import { Pager, Table } from "../parts/table.js";
import { tell, toast } from "../parts/toast.js";
import { RunStatus, TaskState, trigger } from "./cron.js";
import { JobFiles } from "./export_files.js";

const PER_PAGE = 20;

export function CronTask({ item: name, query }) {
  const page = Number(query.page ?? 1);
  const tasks = useLoad((signal) => call("GET", "/admin/cron", { signal }), []);
  const runs = useLoad((signal) => call("GET", `/admin/cron/${encodeURIComponent(name)}/runs`, { query: { limit: PER_PAGE, offset: (page - 1) * PER_PAGE }, signal }), [name, page]);
  const reload = () => Promise.all([tasks.reload(), runs.reload()]);
  usePolling(runs.reload);
  const task = tasks.data?.tasks.find((one) => one.name === name);
  return html`
    <${Head} title=${name} about=${task?.description} back=${{ href: link("cron"), text: "Cron jobs" }}>
      ${task && html`<${TaskActions} task=${task} reload=${reload} />`}
    </${Head}>
    <${Together} loads=${[tasks, runs]}>
      <${Loaded} load=${{ ...tasks, loading: false }}>
        ${() => (task ? html`<div class="cards"><${State} task=${task} /><${Schedule} key=${task.interval} task=${task} reload=${reload} /></div>` : html`<${Failed} error=${{ status: 404, message: "There is no such job." }} />`)}
      </${Loaded}>
      <section aria-label="Runs">
        <h2>Runs</h2>
        <${Loaded} load=${{ ...runs, loading: false }}>
          ${(list) =>
            list.items.length
              ? html`<${Pager} page=${page} total=${list.total} totalPages=${Math.ceil(list.total / PER_PAGE)} noun="runs" />
                  <${Table} caption="Runs" columns=${RUNS} rows=${list.items} />`
              : html`<${Empty} title="It has not run yet" />`}
        </${Loaded}>
      </section>
      ${task?.type === "export" && html`<${JobFiles} task=${name} />`}
    </${Together}>
  `;
}

const RUNS = [
  { name: "started", title: "Started", fit: "whole", cell: (run) => showTime(run.started) },
  { name: "status", title: "Result", cell: (run) => html`<${RunStatus} status=${run.status} />` },
  { name: "trigger", title: "Started by", cell: (run) => html`${run.trigger}${run.made_up && html` <${Badge} tone="warn">made up later</${Badge}>`}${run.attempts > 1 && html` <${Badge} tone="warn">${run.attempts} attempts</${Badge}>`}` },
  { name: "duration", title: "Took", number: true, cell: (run) => showDuration(run.duration_ms) },
  { name: "result", title: "What came of it", cell: (run) => run.error ?? html`<span class="mono">${run.result ? JSON.stringify(run.result) : ""}</span>` },
];

function State({ task }) {
  return html`<section class="card" aria-label="State">
    <h2>State</h2>
    <dl>
      <dt>State</dt><dd><${TaskState} task=${task} /></dd>
      <dt>Next run</dt><dd>${task.enabled ? html`<${Time} value=${task.next_run} />` : "none while it is disabled"}</dd>
      <dt>Last run</dt><dd><${Time} value=${task.last_run} /></dd>
      <dt>Last result</dt><dd><${RunStatus} status=${task.last_status} /></dd>
      <dt>Kind</dt><dd>${task.type}</dd>
      ${task.url && html`<dt>Requests</dt><dd class="mono">${task.method} ${task.url}</dd>`}
      ${task.collection && html`<dt>Collection</dt><dd><a href=${link("collections", task.collection)}>${task.collection}</a></dd>`}
    </dl>
  </section>`;
}

function Schedule({ task, reload }) {
  const form = useForm({ interval: task.interval }, async ({ interval }) => {
    await call("PATCH", `/admin/cron/${task.name}`, { body: { interval } });
    toast(`${task.name} now runs at ${interval}.`);
    await reload();
  });
  return html`<section class="card" aria-label="Schedule">
    <h2>Schedule</h2>
    <form ...${form.guarded}>
      <${FormProblem} problem=${form.problem} known=${["interval"]} />
      <${Field} label="Interval" mono required hint="90s, 1h, 24h, or a cron line of five fields in UTC." value=${form.values.interval} onChange=${form.set("interval")} error=${form.errors.interval} />
      <div><${Submit} busy=${form.busy} disabled=${form.values.interval === task.interval}>Save</${Submit}></div>
    </form>
  </section>`;
}

function TaskActions({ task, reload }) {
  const enable = async (enabled) => {
    const question = { title: `Disable ${task.name}?`, text: "It does not run until it is enabled again.", undo: "You can enable it at any time, and run it by hand meanwhile.", action: "Disable" };
    if (!enabled && !(await confirm(question))) return;
    await tell(() => call("PATCH", `/admin/cron/${task.name}`, { body: { enabled } }), `${task.name} is ${enabled ? "enabled" : "disabled"}.`);
    reload();
  };
  const remove = async () => {
    const question = { title: `Delete ${task.name}?`, text: "The job and its history go.", undo: "This cannot be undone.", action: "Delete", typed: task.name };
    if ((await confirm(question)) && (await tell(() => call("DELETE", `/admin/cron/${task.name}`), `${task.name} is deleted.`))) go(link("cron"));
  };
  return html`
    <button type="button" class="primary" disabled=${task.status === "running"} onClick=${() => trigger(task, reload)}>Run now</button>
    ${task.enabled ? html`<button type="button" class="danger" onClick=${() => enable(false)}>Disable</button>` : html`<button type="button" onClick=${() => enable(true)}>Enable</button>`}
    ${task.type !== "system" && html`<button type="button" class="danger" onClick=${remove}>Delete</button>`}
  `;
}
