// Charts that tell their story without numbers: what is tall is much, what is red is wrong.
import { html } from "../html.js";

const WIDTH = 600;
const HEIGHT = 140;

/**
 * Bars over time, stacked. `points` are lists of counts in the order of `parts`, [{name, tone: ok | warn | bad}]; null for
 * a time of which nothing is known. `label` says it all to who cannot see.
 */
export function Bars({ points, parts, label, from, to }) {
  const highest = Math.max(1, ...points.map((point) => (point ? point.reduce((sum, count) => sum + count, 0) : 0)));
  const step = WIDTH / Math.max(1, points.length);
  return html`<figure class="chart">
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>
      <line class="rule" x1="0" x2=${WIDTH} y1=${HEIGHT - 0.5} y2=${HEIGHT - 0.5} />
      ${points.map((point, index) => point && html`<${Stack} key=${index} point=${point} parts=${parts} x=${index * step} width=${step} highest=${highest} />`)}
    </svg>
    <figcaption><span>${from}</span><span>${parts.map(({ name, tone }) => html`<span key=${name} class="key ${tone}">${name} </span>`)}</span><span>${to}</span></figcaption>
  </figure>`;
}

function Stack({ point, parts, x, width, highest }) {
  let top = HEIGHT;
  return point.map((count, index) => {
    // What happened once is seen too, beside thousands.
    const height = count ? Math.max(2, (count / highest) * (HEIGHT - 6)) : 0;
    top -= height;
    return html`<rect key=${index} class="bar-${parts[index].tone}" x=${x + width * 0.12} y=${top} width=${Math.max(1, width * 0.76)} height=${height} />`;
  });
}

/** Two lines over time, `low` under `high`, with the space below filled. Null values are passed over. */
export function Lines({ low, high, label, from, to, names }) {
  const highest = Math.max(1, ...high.map((value) => value ?? 0));
  return html`<figure class="chart">
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>
      <line class="rule" x1="0" x2=${WIDTH} y1=${HEIGHT - 0.5} y2=${HEIGHT - 0.5} />
      <path class="area" d=${area(low, highest)} />
      <path class="line soft" d=${line(high, highest)} />
      <path class="line" d=${line(low, highest)} />
    </svg>
    <figcaption><span>${from}</span><span>${names}</span><span>${to}</span></figcaption>
  </figure>`;
}

/** The points that there are, joined. */
function path(values, highest) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const found = values.flatMap((value, index) => (value === null || value === undefined ? [] : [[index * step, HEIGHT - (value / highest) * (HEIGHT - 8)]]));
  // One by itself becomes a short stroke.
  return found.length === 1 ? [found[0], [found[0][0] + 4, found[0][1]]] : found;
}

const joined = (points) => points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L");

function line(values, highest) {
  const points = path(values, highest);
  return points.length ? `M${joined(points)}` : "";
}

function area(values, highest) {
  const points = path(values, highest);
  return points.length ? `M${points[0][0]},${HEIGHT}L${joined(points)}L${points.at(-1)[0]},${HEIGHT}Z` : "";
}
