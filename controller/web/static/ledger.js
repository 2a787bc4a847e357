import { byId, make } from "./dom.js";
import { clock } from "./format.js";

let shown = "";

export function showLedger(actions) {
  const key = JSON.stringify(actions);
  if (key === shown) return;
  shown = key;
  const open = new Set([...document.querySelectorAll("#ledger details[open]")].map((one) => one.dataset.key));
  const items = actions.map((action) => item(action, open));
  byId("ledger").replaceChildren(...(items.length ? items : [make("li", { class: "none quiet" }, "Nothing done yet.")]));
}

function item(action, open) {
  const kind = action.performed ? action.kind : `would ${action.kind}`;
  const line = [
    make("time", { class: "quiet" }, clock(action.unix_s)),
    make("span", { class: `kind ${action.performed ? action.kind : "would"}` }, kind),
    make("span", { class: "why" }, make("b", { class: "subject" }, action.who), ` ${action.reason}`, actor(action.actor)),
  ];
  const more = action.subjects.length > 3 ? [action.subjects.join(", ")] : action.evidence;
  if (!more.length) return make("li", { class: "line" }, ...line);
  const key = `${action.unix_s} ${action.kind} ${action.who}`;
  const details = make(
    "details",
    { "data-key": key, open: open.has(key) },
    make("summary", { class: "line" }, ...line),
    make("ul", { class: "more quiet" }, ...more.map((one) => make("li", {}, one))),
  );
  return make("li", {}, details);
}

const actor = (name) => (name && name !== "controller" ? make("span", { class: "quiet" }, ` (${name})`) : "");
