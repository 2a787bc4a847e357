// Who is logged in, and how anything is posted.

let session = { can_login: false, needed_to_read: false };
let ending = 0;
let asked = 0; // an answer that was overtaken by a later one counts no more
const watchers = [];

export const mayChange = () => session.role === "operator" || session.role === "admin";
export const mayForce = () => session.role === "admin";
export const mayRead = () => !session.needed_to_read || Boolean(session.name);

export function onSession(watch) {
  watchers.push(watch);
}

export class Refusal extends Error {
  constructor({ message, reason = "", field = "" }) {
    super(message);
    this.reason = reason;
    this.field = field;
  }
}

const UNHEARD = { reason: "UNHEARD", message: "No answer: it may or may not have been done. Trying again does it only once." };

// The server's answer; Refusal with its field and reason if it is no.
export async function post(path, fields) {
  const headers = { "content-type": "application/json", "x-csrf-token": session.csrf ?? "" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(fields) }).catch(() => null);
  const said = await answer?.json().catch(() => null);
  if (!said) throw new Refusal(UNHEARD);
  if (answer.ok) return said;
  if (said.reason === "NO_SESSION") await loadSession();
  throw new Refusal(said);
}

export async function loadSession() {
  const mine = (asked += 1);
  const answer = await fetch("/api/session").catch(() => null);
  const said = answer?.ok ? await answer.json() : null;
  if (said && mine === asked) tell(said);
}

export async function logIn(name, password) {
  tell(await post("/login", { name, password }));
}

export async function logOut() {
  tell(await post("/logout", {}));
}

function tell(now) {
  asked += 1;
  const before = session;
  session = now;
  clearTimeout(ending);
  if (now.name) ending = setTimeout(loadSession, now.ends_in_s * 1000 + 500);
  if (before.name && !mayRead()) location.reload(); // nothing of what was read stays in sight
  for (const watch of watchers) watch(now);
}
