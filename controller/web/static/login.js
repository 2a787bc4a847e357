import { byId, make } from "./dom.js";
import { logIn, logOut, mayRead } from "./session.js";

const dialog = byId("login"), form = byId("login-form");

export function showWho(session) {
  byId("who").replaceChildren(...(session.name ? known(session) : session.can_login ? [button("log in", openLogin)] : []));
  if (!mayRead()) openLogin();
}

export function openLogin() {
  byId("login-wrong").textContent = "";
  byId("login-why").textContent = mayRead() ? "Only an operator may change something." : "This page is for people who are known here.";
  if (!dialog.open) dialog.showModal();
}

const known = (session) => [make("span", { class: "quiet" }, `${session.name} · ${session.role} `), button("log out", () => logOut().catch(() => location.reload()))];

function button(label, onClick) {
  const made = make("button", { type: "button", class: "plain" }, label);
  made.addEventListener("click", onClick);
  return made;
}

async function submit(event) {
  event.preventDefault();
  const { name, password, enter } = form.elements;
  enter.disabled = true;
  byId("login-wrong").textContent = "";
  try {
    await logIn(name.value, password.value);
    dialog.close();
  } catch (refusal) {
    byId("login-wrong").textContent = refusal.reason === "UNHEARD" ? "No answer from the server." : refusal.message;
    password.focus();
  } finally {
    password.value = "";
    enter.disabled = false;
  }
}

form.addEventListener("submit", submit);
byId("login-cancel").addEventListener("click", () => dialog.close());
