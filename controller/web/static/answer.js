// An answer to a question of isolation: what it leads to is asked first, then it is given, once.
import { byId, make } from "./dom.js";
import { openLogin } from "./login.js";
import { post } from "./session.js";

const dialog = byId("answer"), form = byId("answer-form"), go = byId("answer-go"), leave = byId("answer-cancel"), told = byId("answer-told");
let wanted = null;
let turn = 0; // an answer to what was wanted before is not shown

export async function openAnswer(question, approve) {
  wanted = { id: question.id, approve };
  turn += 1;
  byId("answer-title").textContent = `${approve ? "Approve" : "Reject"} ${question.id}?`;
  told.replaceChildren();
  go.hidden = true;
  leave.textContent = "Cancel";
  dialog.showModal();
  leave.focus();
  await ask(true, (sentence) => {
    say(`Would be ${sentence}`);
    go.textContent = approve ? "Yes, approve" : "Yes, reject";
    go.hidden = false;
  });
}

// What has been tried out is what is done: nobody can change it in between.
async function ask(validate_only, show) {
  const mine = turn;
  form.inert = true;
  const then = await post("/api/answer", { ...wanted, validate_only }).then(({ sentence }) => () => show(sentence), (refusal) => () => refused(refusal));
  if (mine !== turn) return;
  form.inert = false;
  then();
}

function refused(refusal) {
  say(refusal.message, "wrong");
  go.hidden = true;
  if (refusal.reason === "NO_SESSION") {
    dialog.close();
    openLogin();
  }
}

function say(sentence, kind) {
  told.replaceChildren(make("li", { class: kind }, sentence));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (go.hidden) return dialog.close();
  ask(false, (sentence) => {
    say(`Done: ${sentence}. It is in the ledger under your name.`, "good");
    go.hidden = true; // a second click finds nothing to click
    leave.textContent = "Close";
    leave.focus();
  });
});
leave.addEventListener("click", () => dialog.close());
