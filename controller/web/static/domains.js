import { byId, make } from "./dom.js";
import { percent, span, watts } from "./format.js";

const cards = new Map(); // kept, so that a click which spans two snapshots is not lost

// `onChange` is null where nobody may change anything.
export function showDomains(domains, chosen, onChoose, onChange) {
  if (domains.length !== cards.size || domains.some(({ name }) => !cards.has(name))) build(domains, onChoose);
  for (const domain of domains) {
    const change = cards.get(domain.name).nextElementSibling;
    change.hidden = onChange === null;
    change.onclick = () => onChange(domain);
  }
  for (const domain of domains) {
    const card = cards.get(domain.name);
    card.setAttribute("aria-pressed", String(domains.length > 1 && domain.name === chosen));
    card.replaceChildren(...content(domain));
  }
}

function build(domains, onChoose) {
  cards.clear();
  for (const { name } of domains) {
    const card = make("button", { type: "button", class: "domain", "data-domain": name });
    card.addEventListener("click", () => onChoose(name));
    cards.set(name, card);
  }
  byId("domains").classList.toggle("single", domains.length === 1);
  byId("domains").replaceChildren(...[...cards].map(([name, card]) => make("div", { class: "slot" }, card, changeButton(name))));
}

const changeButton = (name) => make("button", { type: "button", class: "plain change", "aria-label": `change budget or mode of ${name}`, hidden: true }, "change…");

function content(domain) {
  return [
    make("span", { class: "name" }, domain.name, make("span", { class: `mode ${domain.mode}` }, modeWord(domain.mode))),
    make(
      "span",
      { class: "figures" },
      make("span", { class: "big" }, watts(domain.power_w)),
      make("span", { class: "quiet" }, ` of ${watts(domain.budget_w)}, ${percent(domain.power_w / domain.budget_w)}`),
    ),
    gauge(domain),
    make(
      "span",
      { class: "facts quiet" },
      fact("worst case", watts(domain.counted_w)),
      fact("breaker", watts(domain.rating_w)),
      ...(domain.meter ? meter(domain.meter) : []),
      fact(domain.hottest === domain.name ? "breaker heat" : `heat of ${domain.hottest}`, percent(domain.heat_ratio), domain.heat_ratio >= 0.8 ? "hot" : ""),
      ...(domain.tightest ? [fact("tightest limit", `${domain.tightest.name}, ${percent(domain.tightest.load_ratio)}`)] : []),
      fact("nodes live", `${domain.live_count} of ${domain.node_count}`),
    ),
  ];
}

const meter = ({ power_w, age_s, silent, foreign_w }) => [
  fact("meter", silent ? `silent for ${age_s === null ? "ever" : span(age_s)}` : watts(power_w), silent ? "hot" : ""),
  fact("foreign", watts(foreign_w)),
];

const modeWord = (mode) => (mode === "auto" ? "auto: acts" : mode === "observe" ? "observe: only watches" : mode);

const fact = (name, value, mark = "") => make("span", { class: `fact ${mark}` }, `${name} `, make("b", {}, value));

// Power as a filled bar; the worst case as its lighter continuation; budget and breaker as marks.
function gauge(domain) {
  const fullW = Math.max(domain.rating_w, domain.power_w, domain.counted_w ?? 0) * 1.02;
  const at = (powerW) => `${((powerW ?? 0) / fullW) * 100}%`;
  const part = (name, powerW, property) => {
    const element = make("span", { class: name });
    element.style[property] = at(powerW);
    return element;
  };
  return make(
    "span",
    { class: "gauge", "aria-hidden": "true" },
    part("worst", domain.counted_w, "width"),
    part(domain.power_w > domain.budget_w ? "power over" : "power", domain.power_w, "width"),
    part("budget", domain.budget_w, "left"),
    part("rating", domain.rating_w, "left"),
  );
}
