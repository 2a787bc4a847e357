// A change in three steps: what is wanted, what it leads to, what came of it.
import { byId, make } from "./dom.js";
import { unbroken, watts } from "./format.js";
import { openLogin } from "./login.js";
import { mayForce, post } from "./session.js";

const dialog = byId("change"), form = byId("change-form"), go = byId("change-go"), leave = byId("change-cancel"), told = byId("change-told"), forced = byId("change-forced");
const { what, budget, mode, force } = form.elements;
let domain = null;
let tried = null; // what was tried out, with the id that makes it happen once
let turn = 0; // an answer to what was wanted before is not shown

export function openChange(of) {
  domain = of;
  form.reset();
  budget.value = of.budget_w / 1000;
  mode.value = of.mode;
  byId("change-title").textContent = `Change ${of.name}`;
  byId("change-now").textContent = unbroken(
    `Now: budget ${watts(of.budget_w)}, mode ${of.mode}. The breaker carries ${watts(of.rating_w)}; all at their floors may draw ${watts(of.floors_w)}.`,
  );
  begin();
  dialog.showModal();
  budget.focus();
}

// Back to the first step: what was tried out is no longer what is wanted.
function begin(event) {
  if (event?.target !== force) {
    force.checked = false;
    forced.hidden = true;
  }
  tried = null;
  turn += 1;
  form.inert = false;
  byId("change-budget").hidden = budget.disabled = what.value !== "budget";
  byId("change-mode").hidden = mode.disabled = what.value !== "mode";
  told.replaceChildren();
  go.textContent = "See what it leads to";
  go.hidden = false;
  leave.textContent = "Cancel";
}

function wish() {
  const request_id = crypto.randomUUID();
  if (what.value === "mode") return { path: "/api/mode", fields: { domain: domain.name, mode: mode.value, force: force.checked, request_id } };
  return { path: "/api/budget", fields: { domain: domain.name, budget_w: Math.round(Number(budget.value) * 1e6) / 1e3, request_id } };
}

async function tryOut(wanted) {
  const answer = await post(wanted.path, { ...wanted.fields, validate_only: true });
  return () => {
    tried = wanted;
    say(answer.warning && line(answer.warning, "wrong"), ...answer.leads_to.map((one) => line(one)));
    go.textContent = `Yes, set ${wished(answer.domain)}`;
    told.focus(); // and not the button: a key that is held down must not confirm
  };
}

async function act(wanted) {
  const answer = await post(wanted.path, { ...wanted.fields, validate_only: false });
  return () => {
    say(line(`Done: set ${wished(answer.domain)}. It is in the ledger under your name.`, "good"));
    go.hidden = true; // a second click finds nothing to click
    leave.textContent = "Close";
    leave.focus();
  };
}

const wished = (shown) => `${shown.name} to ${what.value === "mode" ? shown.mode : watts(shown.budget_w)}`;
const line = (sentence, kind) => make("li", { class: kind }, unbroken(sentence));

function refused(refusal) {
  const unsafe = refusal.reason === "WOULD_NOT_HOLD";
  say(
    line(refusal.reason === "UNHEARD" && !tried ? "No answer from the server." : refusal.message, "wrong"),
    unsafe && !mayForce() && line("Only an admin may force it."),
  );
  if (unsafe && mayForce()) forced.hidden = false;
  (what.value === "mode" ? mode : budget).focus();
  if (refusal.reason === "NO_SESSION") {
    dialog.close();
    openLogin();
  }
}

function say(...lines) {
  told.replaceChildren(...lines.filter(Boolean));
}

async function submit(event) {
  event.preventDefault();
  if (go.hidden) return dialog.close();
  const mine = turn;
  form.inert = true;
  const show = await (tried ? act(tried) : tryOut(wish())).catch((refusal) => () => refused(refusal));
  if (mine !== turn) return;
  form.inert = false;
  show();
}

form.addEventListener("submit", submit);
form.addEventListener("input", begin);
leave.addEventListener("click", () => dialog.close());
