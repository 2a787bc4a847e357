// What comes in, and who shows it.
import { Chart } from "./chart.js";
import { byId } from "./dom.js";
import { showDomains } from "./domains.js";
import { showFindings } from "./findings.js";
import { showHeadline, showFreshness } from "./headline.js";
import { showLedger } from "./ledger.js";
import { NodeMap } from "./nodes.js";
import { watchTheme } from "./theme-switch.js";

const SILENT_MS = 3000; // the server says something every 500 ms

const chart = new Chart(byId("chart"), byId("legend"), byId("spans"));
const nodeMap = new NodeMap(byId("nodes"), byId("node-line"), byId("metrics"));
let newest = null;
let age = null;
let heardMs = performance.now();
let chosen = null;

function show() {
  if (!newest) return;
  const domain = newest.domains.find((one) => one.name === chosen) ?? newest.domains[0];
  showHeadline(newest);
  showDomains(newest.domains, domain?.name, choose);
  if (domain) chart.add(domain, newest.cluster.unix_s);
  nodeMap.show(newest.nodes);
  showFindings(newest);
  showLedger(newest.actions);
}

function choose(name) {
  chosen = name;
  show();
}

function listen() {
  const events = new EventSource("/events");
  const heard = (act) => (event) => {
    heardMs = performance.now();
    act(JSON.parse(event.data));
  };
  events.addEventListener("open", () => chart.reload());
  events.addEventListener("snapshot", heard((snapshot) => { newest = snapshot; show(); }));
  events.addEventListener("age", heard((told) => { age = told; freshen(); }));
}

function freshen() {
  const unheardMs = performance.now() - heardMs;
  showFreshness(newest, age, unheardMs > SILENT_MS ? unheardMs / 1000 : 0);
}

watchTheme(byId("theme"), () => chart.draw());
setInterval(freshen, 1000);
listen();
