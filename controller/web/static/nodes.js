import { choice, make } from "./dom.js";
import { span, watts } from "./format.js";

const FIXED = matchMedia("(min-width: 60rem) and (min-height: 40rem)"); // as in the style sheet
const METRICS = [["power", "by power"], ["cap", "by GPU cap"]];

// One tile a node, kept from snapshot to snapshot: a thousand tiles are changed, not made, every second.
export class NodeMap {
  #parent; #line; #tiles = new Map(); #metric = "power"; #columns = null; #pointed = null; #groups = ""; #sizes = [];

  constructor(parent, line, metrics) {
    this.#parent = parent;
    this.#line = line;
    choice(metrics, METRICS, this.#metric, (metric) => { this.#metric = metric; this.#repaint(); });
    const point = (event) => this.#point(event.target.closest?.(".tile")?.dataset.node ?? null);
    for (const kind of ["pointerover", "focusin", "click"]) parent.addEventListener(kind, point);
    parent.addEventListener("keydown", (event) => step(event));
    new ResizeObserver(() => this.#fit()).observe(parent);
  }

  show(columns) {
    this.#columns = columns;
    const groups = JSON.stringify([columns.name, columns.domain]);
    if (groups !== this.#groups) this.#build(columns);
    this.#groups = groups;
    this.#repaint();
  }

  #build({ name, domain }) {
    const size = name.length <= 24 ? "large" : name.length <= 160 ? "medium" : "small";
    const prefix = size === "medium" ? shared(name) : "";
    const byDomain = Map.groupBy(name.keys(), (index) => domain[index]);
    this.#tiles.clear();
    this.#parent.className = `map ${size}`;
    this.#sizes = [...byDomain.values()].map((indices) => indices.length);
    this.#parent.replaceChildren(...[...byDomain].map(([group, indices]) => make(
      "div", { class: "group" },
      byDomain.size > 1 ? make("h3", {}, group) : "",
      make("div", { class: "tiles" }, ...indices.map((index) => this.#tile(name[index], name[index].slice(prefix.length)))),
    )));
    this.#parent.querySelector(".tile")?.setAttribute("tabindex", "0");
    this.#fit();
  }

  // As large as the room allows, where the room is given; else as the style sheet has it.
  #fit() {
    const { style, clientWidth, clientHeight } = this.#parent;
    for (const property of ["--tile", "--row"]) style.removeProperty(property);
    if (!FIXED.matches || !this.#sizes.length) return;
    const fitted = fit(this.#sizes, clientWidth - 4, clientHeight - 4, this.#least());
    style.setProperty("--tile", `${fitted.width}px`);
    style.setProperty("--row", `${fitted.height}px`);
  }

  #least() {
    const computed = getComputedStyle(this.#parent), rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const pixels = (property) => parseFloat(computed.getPropertyValue(property)) * rem;
    return { width: pixels("--tile"), height: pixels("--row"), square: this.#parent.classList.contains("small"), title: 1.7 * rem };
  }

  #tile(name, label) {
    const tile = make(
      "button", { type: "button", class: "tile", "data-node": name, tabindex: "-1" },
      make("span", { class: "label" }, label), make("span", { class: "value" }), make("span", { class: "cap" }),
    );
    this.#tiles.set(name, tile);
    return tile;
  }

  #repaint() {
    const columns = this.#columns;
    if (!columns) return;
    const tally = new Map();
    columns.name.forEach((name, index) => {
      const node = at(columns, index);
      tally.set(node.state, (tally.get(node.state) ?? 0) + 1);
      paint(this.#tiles.get(name), node, this.#metric);
    });
    document.getElementById("node-count").textContent = [...tally].map(([state, count]) => `${count} ${state}`).join(", ");
    this.#say();
  }

  #point(name) {
    if (name === null || name === this.#pointed) return;
    this.#tiles.get(this.#pointed)?.classList.remove("pointed");
    this.#pointed = name;
    this.#tiles.get(name)?.classList.add("pointed");
    this.#say();
  }

  #say() {
    const index = this.#columns?.name.indexOf(this.#pointed) ?? -1;
    this.#line.replaceChildren(...(index < 0 ? key(this.#metric) : story(at(this.#columns, index))));
  }
}

const at = (columns, index) => Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column[index]]));

function paint(tile, node, metric) {
  const capRatio = share(node.enforced_w, node.floor_w, node.default_w);
  const level = metric === "power" ? share(node.gpu_power_w, 0, node.default_w) : 1 - capRatio;
  tile.dataset.state = node.state;
  tile.dataset.firing = node.firing ? "yes" : "no";
  tile.style.setProperty("--level", level.toFixed(3));
  tile.style.setProperty("--cap", (node.enforced_w === null ? 1 : node.enforced_w / (node.default_w || 1)).toFixed(3));
  const value = metric === "power" ? watts(node.power_w) : eachGpu(node.enforced_w, node.gpu_count);
  tile.children[1].textContent = node.state === "live" ? value : node.state;
  tile.setAttribute("aria-label", `${node.name}, ${node.state}, ${value}`);
}

const GAP = 4, SMALL_GAP = 1, GROUP_GAP = 12, ABREAST = 4, WIDEST = 260, HIGHEST = 90;

// The widest tiles with which all groups, up to four abreast, fit in; the least ones where nothing does.
function fit(sizes, width, height, least) {
  const abreast = Math.min(sizes.length, ABREAST), stacked = Math.ceil(sizes.length / abreast);
  const roomX = (width - GROUP_GAP * (abreast - 1)) / abreast;
  const roomY = height / stacked - (sizes.length > 1 ? least.title : 0);
  const gap = least.square ? SMALL_GAP : GAP;
  for (let columns = 1; ; columns += 1) {
    const wide = Math.floor(((roomX - gap * (columns - 1)) / columns) * 10) / 10 - 0.1;
    const high = roomY / Math.ceil(Math.max(...sizes) / columns) - gap;
    if (wide < least.width) return { width: least.width, height: least.square ? least.width : least.height };
    if (wide <= WIDEST && high >= (least.square ? wide : least.height)) {
      return { width: wide, height: Math.min(least.square ? wide : high, HIGHEST) };
    }
  }
}

const share = (value, low, high) => (value === null || high <= low ? 0 : Math.min(1, Math.max(0, (value - low) / (high - low))));

const eachGpu = (limitW, count) => (limitW === null || !count ? "–" : `${Math.round(limitW / count)} W`);

function story(node) {
  const facts = [
    node.state,
    `draws ${watts(node.power_w)}, GPUs ${watts(node.gpu_power_w)}`,
    `cap ${watts(node.enforced_w)} (${eachGpu(node.enforced_w, node.gpu_count)} a GPU), default ${watts(node.default_w)}, floor ${watts(node.floor_w)}`,
    node.lease_ends_in_s === null ? "" : `falls to its floor in ${span(node.lease_ends_in_s)} if unheard`,
    node.report_age_s === null ? "no report yet" : `reported ${span(node.report_age_s)} ago`,
    node.silent_cards ? `${node.silent_cards} GPUs do not answer` : "",
    node.firing ? `${node.firing} findings` : "",
  ].filter(Boolean);
  return [make("b", { class: "subject" }, node.name), ` ${facts.join(" · ")}`, make("div", { class: "quiet" }, node.reason)];
}

function key(metric) {
  const [low, high] = metric === "power" ? ["idle", "all GPUs at their default"] : ["uncapped", "at its floor"];
  const swatch = (state) => make("span", { class: "tile swatch", "data-state": state });
  return [
    make("span", { class: "key" }, low, make("span", { class: "ramp" }), high),
    make("span", { class: "key" }, swatch("stale"), "stale, silent"),
    make("span", { class: "key" }, swatch("hung"), "hung, driver silent"),
    make("span", { class: "key" }, swatch("unknown"), "unknown yet"),
  ];
}

// What all names begin with, so that the rest fits on a tile; whole digits stay.
function shared(names) {
  let prefix = names[0] ?? "";
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return prefix.replace(/\d+$/, "");
}

const STEPS = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" };

function step(event) {
  const next = event.target[STEPS[event.key]];
  if (!next) return;
  event.target.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
  event.preventDefault();
}
