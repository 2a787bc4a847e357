// What comes in, and who shows it.
import { openAnswer } from "./answer.js";
import { openChange } from "./change.js";
import { Chart } from "./chart.js";
import { byId } from "./dom.js";
import { showDomains } from "./domains.js";
import { showFindings } from "./findings.js";
import { showHeadline, showFreshness } from "./headline.js";
import { showIsolation } from "./isolation.js";
import { showLedger } from "./ledger.js";
import { showWho } from "./login.js";
import { NodeMap } from "./nodes.js";
import { loadSession, mayChange, mayRead, onSession } from "./session.js";
import { watchTheme } from "./theme-switch.js";

const SILENT_MS = 3000; // the server says something every 500 ms
const AGAIN_MS = 3000;

const chart = new Chart(byId("chart"), byId("legend"), byId("spans"));
const nodeMap = new NodeMap(byId("nodes"), byId("node-line"), byId("metrics"));
let newest = null;
let age = null;
let heardMs = performance.now();
let chosen = null;
let events = null;

function show() {
  if (!newest) return;
  const domain = newest.domains.find((one) => one.name === chosen) ?? newest.domains[0];
  showHeadline(newest);
  showDomains(newest.domains, domain?.name, choose, mayChange() ? openChange : null);
  if (domain) chart.add(domain, newest.cluster.unix_s);
  nodeMap.show(newest.nodes);
  showIsolation(newest.isolation, newest.cluster.unix_s, mayChange() ? openAnswer : null);
  showFindings(newest);
  showLedger(newest.actions);
}

function choose(name) {
  chosen = name;
  show();
}

function listen() {
  events = new EventSource("/events");
  const heard = (act) => (event) => {
    heardMs = performance.now();
    act(JSON.parse(event.data));
  };
  events.addEventListener("open", () => { chart.reload(); loadSession(); }); // a restarted controller knows no sessions
  events.addEventListener("snapshot", heard((snapshot) => { newest = snapshot; show(); }));
  events.addEventListener("age", heard((told) => { age = told; freshen(); }));
  events.addEventListener("error", lost);
}

// A browser connects again by itself, unless the answer was no: there is no room, or the session is over.
function lost() {
  if (events?.readyState !== EventSource.CLOSED) return;
  events = null;
  setTimeout(connect, AGAIN_MS);
}

async function connect() {
  await loadSession();
  if (mayRead() && events === null) listen();
}

function freshen() {
  const unheardMs = performance.now() - heardMs;
  showFreshness(newest, age, unheardMs > SILENT_MS ? unheardMs / 1000 : 0);
}

onSession((session) => {
  showWho(session);
  if (mayRead() && events === null) listen();
  show();
});
watchTheme(byId("theme"), () => chart.draw());
setInterval(freshen, 1000);
connect();
