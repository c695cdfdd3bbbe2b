// Who is signed in, and as whom they act.
//
// The access token lives in this module's memory and goes with the page. The refresh token is in a cookie that scripts
// cannot read; the gateway swaps it under /admin/session.
import { Problem, content, send } from "./http.js";
import { createStore } from "./store.js";

// A note, never a token: tells after a reload that an impersonation was left open.
const ACTING_NOTE = "fastcms:acting";

/**
 * {phase: "starting" | "out" | "in", user, acting: {id, email, role, collection, until, reason, collections} | null, ended}
 * `ended`: nobody here has signed out, the session is over all the same.
 */
export const session = createStore({ phase: "starting", user: null, acting: null, ended: false });

let own = null;
let acted = null;
let refreshing = null;

/** The token for calls: the impersonated person's while acting, else one's own. */
export function currentToken() {
  return acted ?? own;
}

export function ownToken() {
  return own;
}

/** Goes on with the session of the cookie, where there is one. */
export async function resume() {
  try {
    await refresh();
  } catch {
    session.set({ phase: "out", user: null, acting: null, ended: false });
    return;
  }
  if (sessionStorage.getItem(ACTING_NOTE)) {
    // The token went with the page; the grant is not left open behind it.
    sessionStorage.removeItem(ACTING_NOTE);
    await send("DELETE", "/api/v1/admin/impersonate", { token: own }).catch(() => null);
  }
}

/** Signs in. Throws Problem: MFA_REQUIRED, ACCOUNT_LOCKED (with retryAfter), INVALID_CREDENTIALS. */
export async function signIn(email, password, code) {
  const body = code ? { email, password, mfa_code: code } : { email, password };
  enter(await content(await send("POST", "/admin/session/login", { body })));
}

/** Makes the first admin and signs them in. */
export async function setUp(email, password, name, setupToken) {
  const headers = setupToken ? { "x-setup-token": setupToken } : {};
  const body = name ? { email, password, name } : { email, password };
  enter(await content(await send("POST", "/admin/session/setup", { body, headers })));
}

export async function signOut() {
  await send("POST", "/admin/session/logout", { body: {}, token: own }).catch((problem) => {
    if (problem.status !== 401) throw problem;
  });
  leave();
}

/** Forgets everything: the session is over, and `ended` where that was not asked for here. */
export function leave({ ended = false } = {}) {
  own = acted = null;
  sessionStorage.removeItem(ACTING_NOTE);
  session.set({ phase: "out", user: null, acting: null, ended });
}

/** A new access token of one's own. Several callers share one request. */
export function refresh() {
  // Finished even if the page goes meanwhile: the old cookie would be taken for stolen later.
  refreshing ??= send("POST", "/admin/session/refresh", { body: {}, keepalive: true })
    .then(content)
    .then((answer) => enter(answer, session.get().acting))
    .finally(() => (refreshing = null));
  return refreshing;
}

/** Acts as somebody from now on. `collections` are shown to choose from: that person may not list them. */
export function startActing(token, person) {
  acted = token;
  sessionStorage.setItem(ACTING_NOTE, person.id);
  session.set({ ...session.get(), acting: person });
}

/** Ends acting as somebody, at the server too. */
export async function endActing() {
  const token = acted;
  stopActing();
  try {
    await send("DELETE", "/api/v1/admin/impersonate", { token });
  } catch (problem) {
    // It has expired or was ended elsewhere: it is over all the same.
    if (!(problem instanceof Problem && problem.status === 401)) throw problem;
  }
}

/** Acting is over already. */
export function stopActing() {
  acted = null;
  sessionStorage.removeItem(ACTING_NOTE);
  session.set({ ...session.get(), acting: null });
}

/** One's own account has changed. */
export function setUser(user) {
  session.set({ ...session.get(), user });
}

function enter(answer, acting = null) {
  own = answer.access_token;
  session.set({ phase: "in", user: answer.user, acting, ended: false });
}
