import { choice, colour, make } from "./dom.js";
import { watts } from "./format.js";

const SPANS = [[600, "10 min"], [3600, "1 h"], [86400, "1 day"]];
const LINES = [
  { key: "power_w", label: "draw", property: "--power", width: 2 },
  { key: "counted_w", label: "worst case by caps", property: "--worst", width: 1.5, dash: [3, 3] },
  { key: "budget_w", label: "budget", property: "--budget", width: 2 },
];
const MOST = 6000; // the server keeps fewer
const GAP_S = 5, COARSE_GAP_S = 150, FINE_S = 3600;

// Row power against its budget, for one domain at a time.
export class Chart {
  #parent; #legend; #plot = null; #spanS = SPANS[0][0]; #domain = null; #rating = null; #loading = null;
  #columns = empty();

  constructor(parent, legend, spans) {
    this.#parent = parent;
    this.#legend = legend;
    choice(spans, SPANS, this.#spanS, (spanS) => { this.#spanS = spanS; this.#refresh(); });
    new ResizeObserver(() => this.#fit()).observe(parent);
  }

  add(domain, unixS) {
    this.#rating = domain.rating_w;
    if (domain.name !== this.#domain) {
      this.#domain = domain.name;
      document.getElementById("chart-title").textContent = `Power of ${domain.name}`;
      this.reload();
    }
    append(this.#columns, unixS, domain);
    this.#refresh();
  }

  // The server's history, and on top of it what came while it was under way.
  async reload() {
    const domain = this.#domain;
    this.#columns = empty();
    if (domain === null) return;
    const loading = (this.#loading = fetch(`/api/history?domain=${encodeURIComponent(domain)}`).then((answer) => answer.json()));
    const past = await loading.catch(() => empty());
    if (loading !== this.#loading) return;
    const since = this.#columns;
    since.unix_s.forEach((unixS, i) => append(past, unixS, { power_w: since.power_w[i], budget_w: since.budget_w[i], counted_w: since.counted_w[i] }));
    this.#columns = past;
    this.#refresh();
  }

  // Anew: the theme has changed.
  draw() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#refresh();
  }

  #refresh() {
    if (!this.#columns.unix_s.length) return;
    const rows = visible(this.#columns, this.#spanS);
    this.#plot ??= new uPlot(this.#options(), rows, this.#parent);
    this.#plot.setData(rows);
    this.#name(null);
  }

  #fit() {
    this.#plot?.setSize({ width: this.#parent.clientWidth, height: this.#parent.clientHeight });
  }

  #options() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const ink = colour("--quiet"), grid = colour("--line");
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: `${0.83 * rem}px system-ui, sans-serif` };
    return {
      width: this.#parent.clientWidth,
      height: this.#parent.clientHeight,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      padding: [8, 30, 0, 0],
      scales: { x: { range: (_, low, high) => [Math.min(low, high - this.#spanS / 20), high] }, y: { range: (_, low, high) => this.#range(low, high) } },
      axes: [
        { ...axis, size: 1.8 * rem, space: 6.3 * rem, values: clockTicks },
        { ...axis, size: 4.8 * rem, space: 2.3 * rem, values: (_, ticks) => ticks.map((powerW) => watts(powerW).replace(/\.0+ /, " ")) },
      ],
      series: [{}, ...LINES.map((line) => series(line))],
      hooks: { setCursor: [(plot) => this.#name(plot.cursor.idx)], draw: [(plot) => this.#ratingLine(plot)] },
    };
  }

  // Close enough to see the draw breathe; the breaker's rating shows whenever it is near.
  #range(low, high) {
    const top = Math.max(high, Math.min(this.#rating ?? high, high * 1.15));
    const bottom = Math.max(0, low - (top - low) * 0.5);
    return [bottom, top + (top - bottom) * 0.04];
  }

  #ratingLine(plot) {
    const y = plot.valToPos(this.#rating ?? -1, "y", true);
    const { left, top, width, height } = plot.bbox;
    if (y < top || y > top + height) return;
    const { ctx } = plot;
    ctx.save();
    ctx.strokeStyle = colour("--danger");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.restore();
  }

  // The values under the cursor, else the newest.
  #name(index) {
    const data = this.#plot?.data;
    if (!data) return;
    const at = index ?? data[0].length - 1;
    const entries = LINES.map((line, i) => entry(line.property, line.label, data[i + 1][at]));
    this.#legend.replaceChildren(...entries, entry("--danger", "breaker", this.#rating));
  }
}

const empty = () => ({ unix_s: [], power_w: [], budget_w: [], counted_w: [] });

function append(columns, unixS, values) {
  if (columns.unix_s.length && unixS <= columns.unix_s.at(-1)) return;
  columns.unix_s.push(unixS);
  for (const { key } of LINES) columns[key].push(values[key]);
  if (columns.unix_s.length > MOST) for (const column of Object.values(columns)) column.splice(0, MOST / 10);
}

// The newest `spanS` seconds as uPlot takes them, with a hole where nothing was heard.
function visible(columns, spanS) {
  const rows = [[], ...LINES.map(() => [])];
  const newest = columns.unix_s.at(-1);
  const first = columns.unix_s.findIndex((unixS) => unixS >= newest - spanS);
  for (let i = first; i < columns.unix_s.length; i += 1) {
    const unixS = columns.unix_s[i], before = rows[0].at(-1);
    if (before !== undefined && unixS - before > (newest - before < FINE_S ? GAP_S : COARSE_GAP_S)) push(rows, before + 0.1, () => null);
    push(rows, unixS, (key) => columns[key][i]);
  }
  return rows;
}

function push(rows, unixS, value) {
  rows[0].push(unixS);
  LINES.forEach(({ key }, i) => rows[i + 1].push(value(key)));
}

function series({ label, property, width, dash, key }) {
  const stroke = colour(property);
  const fill = key === "power_w" ? colour("--power-fill") : undefined;
  return { label, stroke, width, dash, fill, points: { show: false } };
}

const entry = (property, label, powerW) => {
  const swatch = make("span", { class: "swatch" });
  swatch.style.background = `var(${property})`;
  return make("span", { class: "entry" }, swatch, `${label} `, make("b", {}, watts(powerW)));
};

const pad = (value) => String(value).padStart(2, "0");

function clockTicks(plot, ticks) {
  const seconds = ticks.length > 1 && ticks[1] - ticks[0] < 60;
  return ticks.map((unixS) => {
    const t = new Date(unixS * 1000);
    return `${pad(t.getHours())}:${pad(t.getMinutes())}${seconds ? `:${pad(t.getSeconds())}` : ""}`;
  });
}
