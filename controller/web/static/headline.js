import { byId } from "./dom.js";
import { clock, span, unbroken } from "./format.js";
import { mayRead } from "./session.js";

const MARKS = { safe: "✓", attention: "!", danger: "✕", silent: "?", waiting: "…" };

export function showHeadline(snapshot) {
  const { cluster } = snapshot;
  byId("controller").textContent = `${cluster.controller_id} · epoch ${cluster.epoch} · ${cluster.controller_version}`;
  byId("aside").textContent = snapshot.domains.length === 1 ? snapshot.domains[0].sentence : "";
}

// `unheardS` is how long the page's own server has been silent, 0 while it is not.
export function showFreshness(snapshot, age, unheardS) {
  if (!mayRead()) return level("waiting", "Log in to see this cluster.", "not logged in");
  if (!snapshot) return level("waiting", "Waiting for the controller’s first snapshot.", unheardS ? "not connected" : "connected");
  const taken = `what you see is of ${clock(snapshot.cluster.unix_s)}`;
  if (unheardS) return level("silent", `This page lost its controller ${span(unheardS)} ago: ${taken}.`, "not connected");
  if (!age.live) return level("silent", `Controller silent for ${span(age.age_s)}: ${taken}.`, "stale");
  level(snapshot.level, snapshot.sentence, `live, ${clock(snapshot.cluster.unix_s)}`);
}

function level(name, sentence, freshness) {
  document.body.dataset.level = name;
  document.title = `${MARKS[name]} gpuwarden`;
  setText(byId("mark"), MARKS[name]);
  setText(byId("sentence"), unbroken(sentence));
  setText(byId("freshness"), freshness);
}

// Only a change is read out to those who listen to the page.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
