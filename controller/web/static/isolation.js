// Questions that wait for a person, and nodes that are not simply healthy.
import { byId, make } from "./dom.js";
import { span } from "./format.js";

const rows = new Map(); // of questions, by id: kept, so that a click which spans two snapshots is not lost
let drawn = "";

// `onAnswer` is null where nobody may answer.
export function showIsolation(isolation, nowS, onAnswer) {
  byId("isolation").hidden = !isolation;
  if (!isolation) return;
  const { groups, questions, nodes } = isolation;
  byId("isolation-modes").textContent = groups.map((one) => `${one.name}: ${modes(one)}`).join(" · ");
  const trouble = byId("isolation-trouble");
  trouble.textContent = isolation.trouble && `Nothing is decided: ${isolation.trouble}`;
  for (const id of rows.keys()) if (!questions.some((one) => one.id === id)) rows.delete(id);
  const asked = questions.map((one) => question(one, nowS, onAnswer));
  if (isolation.questions_left_out) asked.push(rest(`${isolation.questions_left_out} more questions wait.`));
  arrange(byId("questions"), asked);
  showNodes(isolation, nowS);
  byId("isolation-none").hidden = questions.length + nodes.length > 0;
}

const modes = ({ isolation, restart }) => (isolation === restart ? isolation : `drains ${isolation}, restarts ${restart}`);
const rest = (sentence) => make("li", { class: "quiet" }, sentence);

// Only what changed is touched: a button keeps its focus.
function arrange(list, items) {
  if (items.length !== list.children.length || items.some((item, place) => list.children[place] !== item)) list.replaceChildren(...items);
}

function question(one, nowS, onAnswer) {
  if (!rows.has(one.id)) rows.set(one.id, row(one));
  const { item, when, yes, no } = rows.get(one.id);
  const ends = one.expires_unix_s === null ? "" : `, ends in ${span(one.expires_unix_s - nowS)}`;
  when.textContent = `asked ${span(nowS - one.asked_unix_s)} ago${ends}`;
  for (const [button, approve] of [[yes, true], [no, false]]) {
    button.hidden = onAnswer === null || one.would_have || (one.stops_all && !approve);
    button.onclick = () => onAnswer(one, approve);
  }
  return item;
}

function row(one) {
  const when = make("span", { class: "when quiet" });
  const yes = make("button", { type: "button", class: "plain", "aria-label": `approve ${one.id}` }, "approve…");
  const no = make("button", { type: "button", class: "plain", "aria-label": `reject ${one.id}` }, "reject…");
  const word = one.would_have ? "would ask" : one.stops_all ? "stopped" : "asks";
  const item = make(
    "li",
    { class: `finding ${one.would_have ? "info" : one.stops_all ? "critical" : "warning"}` },
    make("div", { class: "what" }, make("span", { class: "severity" }, word), make("b", { title: `gpuwarden approve ${one.id}` }, one.id), when),
    make("div", {}, one.sentence),
    make("div", { class: "answers" }, yes, no),
  );
  return { item, when, yes, no };
}

function showNodes({ nodes, nodes_left_out: leftOut }, nowS) {
  const key = JSON.stringify(nodes) + leftOut + Math.floor(nowS / 10);
  if (key === drawn) return;
  drawn = key;
  const items = nodes.map((one) => node(one, nowS));
  byId("isolated").replaceChildren(...items, ...(leftOut ? [rest(`${leftOut} more nodes.`)] : []));
}

function node(one, nowS) {
  const state = one.would_have ? `would be ${one.state}` : one.state;
  return make(
    "li",
    { class: "isolated" },
    make(
      "div",
      { class: "what" },
      make("b", { class: "subject", title: `gpuwarden explain node ${one.name}` }, one.name),
      make("span", { class: `kind ${one.would_have ? "would" : ""}` }, state),
      one.ordered_by && make("span", { class: "quiet" }, `by ${one.ordered_by}`),
      one.jobs.length ? make("span", { class: "quiet" }, `job ${one.jobs.join(", ")}`) : "",
      make("span", { class: "when quiet" }, `for ${span(nowS - one.since_unix_s)}`),
    ),
    one.evidence && make("div", {}, one.evidence),
    one.surer && make("div", { class: "quiet" }, `surer by: ${one.surer}`),
    ...one.held_back.map((why) => make("div", { class: "suggested" }, why)),
  );
}
