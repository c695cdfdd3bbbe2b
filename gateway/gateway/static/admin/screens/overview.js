// How everything is, at a glance.
import { html } from "../html.js";
import { call, useLoad, usePolling } from "../parts/api.js";
import { Bars, Lines } from "../parts/chart.js";
import { showBytes, showNumber } from "../parts/format.js";
import { Head } from "../parts/marks.js";
import { link } from "../parts/router.js";
import { Empty, Loaded, Together } from "../parts/states.js";

// By its name in the address: minutes that one point stands for, how many points, what it is called.
const RANGES = { hour: [1, 60, "Last hour"], day: [24, 60, "Last day"], week: [168, 60, "Last week"] };
const BUCKETS = 12;

export function Overview({ query }) {
  const range = RANGES[query.range] ? query.range : "hour";
  const health = useHealth();
  const metrics = useMetrics(range);
  const logins = useLogins(range);
  return html`
    <${Head} title="Overview" about="How everything is">
      <nav class="tabs" aria-label="Time">
        ${Object.entries(RANGES).map(([key, [, , title]]) => html`<a key=${key} href=${key === "hour" ? link() : `${link()}?range=${key}`} aria-current=${key === range ? "page" : undefined}>${title}</a>`)}
      </nav>
    </${Head}>
    <${Together} loads=${[health, metrics, logins]}>
      <${Health} health=${health} />
      <${Traffic} metrics=${metrics} range=${range} />
      <${SignIns} logins=${logins} range=${range} />
    </${Together}>
  `;
}

function useHealth() {
  const health = useLoad(async (signal) => {
    const [services, users, collections] = await Promise.all([
      dependencies(signal),
      count("/admin/users", signal),
      count("/collections", signal),
    ]);
    return { services, users, collections };
  }, []);
  usePolling(health.reload);
  return { ...health, loading: false };
}

function Health({ health }) {
  return html`<${Loaded} load=${health}>
    ${({ services, users, collections }) => html`<div class="tiles">
      <a class="card tile" href=${link("users")}><small>Users</small><b>${showNumber(users)}</b></a>
      <a class="card tile" href=${link("collections")}><small>Collections</small><b>${showNumber(collections)}</b></a>
      <section class="card tile double" aria-label="Services">
        <small>Services</small>
        <ul class="health">
          ${services.map((one) => html`<li key=${one.name} class="badge ${one.status === "ok" ? "good" : "bad"}"><span class=${one.status === "ok" ? "dot" : "dot bad"}></span>${one.name} ${one.status === "ok" ? "is well" : "is down"}</li>`)}
        </ul>
      </section>
    </div>`}
  </${Loaded}>`;
}

/** How each service is. Told with a 503 where one is down. */
async function dependencies(signal) {
  const answer = await fetch("/health/ready", { signal, cache: "no-store" });
  return (await answer.json()).dependencies;
}

/** How many there are; null while the service that knows is down. */
async function count(path, signal) {
  try {
    return Number((await call("GET", path, { query: { per_page: 1 }, signal })).total);
  } catch (problem) {
    if (problem.status >= 500) return null;
    throw problem;
  }
}

function useMetrics(range) {
  const [minutes, count] = RANGES[range];
  return useLoad(
    (signal) => call("GET", "/admin/metrics", { query: { step: minutes, from_date: new Date(Date.now() - minutes * count * 60_000).toISOString() }, signal }),
    [range],
  );
}

/** Requests, errors and how long answers took, from what the scheduler collects each minute. */
function Traffic({ metrics, range }) {
  const [minutes, count] = RANGES[range];
  return html`<${Loaded} load=${metrics}>
    ${({ items }) => {
      const points = onTime(items, minutes, count);
      const sum = (name) => items.reduce((total, item) => total + Number(item[name]), 0);
      const [requests, client, server] = ["requests", "client_errors", "server_errors"].map(sum);
      const slow = Math.max(0, ...items.map((item) => item.p95_ms ?? 0));
      const memory = (items.at(-1)?.processes ?? []).reduce((total, one) => total + Number(one.memory_bytes), 0);
      return html`
        <div class="tiles">
          <${Tile} name="Requests" value=${showNumber(requests)} />
          <${Tile} name="Refused (4xx)" value=${showNumber(client)} />
          <${Tile} name="Failed (5xx)" value=${showNumber(server)} bad=${server > 0} />
          <${Tile} name="Memory of all processes" value=${showBytes(memory)} />
        </div>
        ${!requests && html`<${Empty} title="No requests yet">They are counted once a minute.</${Empty}>`}
        <div class="cards" hidden=${!requests}>
          <section class="card" aria-label="Requests">
            <h2>Requests</h2>
            <${Bars} parts=${[{ name: "failed", tone: "bad" }, { name: "refused", tone: "warn" }, { name: "answered", tone: "ok" }]}
              points=${points.map((item) => item && [Number(item.server_errors), Number(item.client_errors), item.requests - item.client_errors - item.server_errors])}
              label=${`${requests} requests, ${client} refused, ${server} failed`} from=${RANGES[range][2]} to="now" />
          </section>
          <section class="card" aria-label="Latency">
            <h2>How long answers take</h2>
            <${Lines} low=${points.map((item) => item?.p50_ms)} high=${points.map((item) => item?.p95_ms)} label=${`At worst 95 % of the answers came within ${Math.round(slow)} milliseconds`}
              from=${RANGES[range][2]} to="now" names="half of them, and 95 % (dashed)" />
          </section>
        </div>
      `;
    }}
  </${Loaded}>`;
}

/** The points in their places: null for a time of which nothing was collected. */
function onTime(items, minutes, count) {
  const points = new Array(count).fill(null);
  for (const item of items) {
    const place = count - 1 - Math.floor((Date.now() - new Date(item.time)) / (minutes * 60_000));
    if (place >= 0 && place < count) points[place] = item;
  }
  return points;
}

const Tile = ({ name, value, bad }) => html`<div class=${bad ? "card tile alarm" : "card tile"}><small>${name}</small><b>${value}</b></div>`;

function useLogins(range) {
  const [minutes, count] = RANGES[range];
  const span = (minutes * count * 60_000) / BUCKETS;
  return useLoad(
    (signal) => {
      const now = Date.now();
      const asked = Array.from({ length: BUCKETS }, (_, index) => {
        const query = { from_date: new Date(now - span * (BUCKETS - index)).toISOString(), to_date: new Date(now - span * (BUCKETS - index - 1)).toISOString() };
        return call("GET", "/audit/statistics", { query, signal });
      });
      return Promise.all(asked);
    },
    [range],
  );
}

/** Sign-ins, failures and locks, counted by the audit log. */
function SignIns({ logins, range }) {
  return html`<${Loaded} load=${logins}>
    ${(buckets) => {
      const points = buckets.map(({ by_action }) => ["account_locked", "login_failed", "login"].map((action) => Number(by_action[action] ?? 0)));
      const [locked, failed, done] = [0, 1, 2].map((index) => points.reduce((sum, point) => sum + point[index], 0));
      return html`<section class="card" aria-label="Logins">
        <h2>Logins <a class="more" href="${link("audit")}?failed=1">Failed logins</a> <a class="more" href="${link("audit")}?event_action=account_locked">Locked accounts</a></h2>
        <${Bars} points=${points} parts=${[{ name: "locked", tone: "bad" }, { name: "failed", tone: "warn" }, { name: "signed in", tone: "ok" }]}
          label=${`${done} logins, ${failed} failed, ${locked} accounts locked`} from=${RANGES[range][2]} to="now" />
      </section>`;
    }}
  </${Loaded}>`;
}
