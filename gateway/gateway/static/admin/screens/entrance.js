// Before anyone is signed in: making the first admin, or signing in.
import { html, useEffect, useState } from "../html.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { showCountdown, useNow } from "../parts/format.js";
import { content, send } from "../parts/http.js";
import { session, setUp, signIn } from "../parts/session.js";
import { Failed, Loading } from "../parts/states.js";
import { useStore } from "../parts/store.js";

export function Entrance() {
  const [setup, setSetup] = useState(null);
  const [error, setError] = useState(null);
  const [forgotten, setForgotten] = useState(false);
  const ask = () => {
    setError(null);
    send("GET", "/api/v1/auth/setup").then(content).then(setSetup, setError);
  };
  useEffect(ask, []);
  let box = html`<${Loading} />`;
  if (error) box = html`<${Failed} error=${error} retry=${ask} />`;
  else if (setup?.needed) box = html`<${SetUp} tokenRequired=${setup.token_required} onTaken=${ask} />`;
  else if (setup && forgotten) box = html`<${Forgotten} onBack=${() => setForgotten(false)} />`;
  else if (setup) box = html`<${SignIn} onForgotten=${() => setForgotten(true)} />`;
  return html`<main class="entrance">
    <div class="card"><p class="brand"><span aria-hidden="true">F</span>FastCMS</p>${box}</div>
  </main>`;
}

function SignIn({ onForgotten }) {
  const [needsCode, setNeedsCode] = useState(false);
  const [lockedUntil, setLockedUntil] = useState(0);
  const { ended } = useStore(session);
  const form = useForm({ email: "", password: "", code: "" }, async ({ email, password, code }) => {
    setLockedUntil(0);
    try {
      await signIn(email, password, needsCode ? code.replaceAll(" ", "") : undefined);
    } catch (problem) {
      if (problem.code === "ACCOUNT_LOCKED") setLockedUntil(Date.now() + (problem.retryAfter ?? 60) * 1000);
      else if (problem.code === "MFA_REQUIRED" && !needsCode) setNeedsCode(true);
      else throw problem;
    }
  });
  const { values, set, errors } = form;
  useTitle("Sign in");
  useEffect(() => {
    if (needsCode) document.querySelector("input[autocomplete=one-time-code]").focus();
  }, [needsCode]);
  if (lockedUntil) return html`<${Locked} until=${lockedUntil} again=${() => setLockedUntil(0)} />`;
  return html`<form onSubmit=${form.onSubmit}>
    <h1>Sign in</h1>
    ${ended && html`<p role="status">Your session has ended. Sign in to go on where you were.</p>`}
    <${FormProblem} problem=${form.problem} known=${["email", "password"]} />
    <${Field} label="E-mail" type="email" autocomplete="username" required value=${values.email} onChange=${set("email")} error=${errors.email} />
    <${Field} label="Password" type="password" autocomplete="current-password" required value=${values.password} onChange=${set("password")} error=${errors.password} />
    ${needsCode &&
    html`<${Field} label="Code of your authenticator app" hint="Six digits, or one of your recovery codes." autocomplete="one-time-code"
      required value=${values.code} onChange=${set("code")} />`}
    <${Submit} busy=${form.busy}>Sign in</${Submit}>
    <button type="button" class="quiet link" onClick=${onForgotten}>Forgot the password?</button>
  </form>`;
}

/** Asks for a mail with a link. The answer is the same whether or not somebody has the address. */
function Forgotten({ onBack }) {
  const [sent, setSent] = useState(null);
  const form = useForm({ email: "" }, async ({ email }) => {
    setSent((await content(await send("POST", "/api/v1/auth/request-password-reset", { body: { email } }))).message);
  });
  useTitle("Forgot the password");
  return html`<form onSubmit=${form.onSubmit}>
    <h1>Forgot the password</h1>
    <${FormProblem} problem=${form.problem} known=${["email"]} />
    <p role="status">${sent}</p>
    ${!sent &&
    html`<${Field} label="E-mail" type="email" autocomplete="username" required hint="A link to set a new one is sent to it." value=${form.values.email} onChange=${form.set("email")} error=${form.errors.email} />
      <${Submit} busy=${form.busy}>Send the link</${Submit}>`}
    <button type="button" class="quiet link" onClick=${onBack}>Back to signing in</button>
  </form>`;
}

/** The lock, and how long it lasts. It says so once to a screen reader, and not every second. */
function Locked({ until, again }) {
  const left = (until - useNow()) / 1000;
  useEffect(() => {
    if (left <= 0) again();
  }, [left <= 0]);
  return html`<div class="locked">
    <h1>Account locked</h1>
    <p role="alert">There were too many wrong passwords. You can try again when the time is up, or ask an admin to unlock the account.</p>
    <p class="countdown" role="timer" aria-live="off">${showCountdown(left)}</p>
    <button type="button" onClick=${again}>Sign in with another account</button>
  </div>`;
}

function SetUp({ tokenRequired, onTaken }) {
  const form = useForm({ email: "", name: "", password: "", repeated: "", token: "" }, async (values) => {
    if (values.password !== values.repeated) throw mismatch();
    try {
      await setUp(values.email, values.password, values.name, values.token);
    } catch (problem) {
      if (problem.code === "REGISTRATION_CLOSED") onTaken();
      else throw problem;
    }
  });
  const { values, set, errors } = form;
  useTitle("Set up");
  return html`<form onSubmit=${form.onSubmit}>
    <h1>Welcome</h1>
    <p>There is no admin yet. Make the first account: it may do everything.</p>
    <${FormProblem} problem=${form.problem} known=${["email", "password", "name", "repeated"]} />
    <${Field} label="E-mail" type="email" autocomplete="username" required value=${values.email} onChange=${set("email")} error=${errors.email} />
    <${Field} label="Name" autocomplete="name" hint="Optional." value=${values.name} onChange=${set("name")} error=${errors.name} />
    <${Field} label="Password" type="password" autocomplete="new-password" required value=${values.password} onChange=${set("password")} error=${errors.password} />
    <${Field} label="Password again" type="password" autocomplete="new-password" required value=${values.repeated} onChange=${set("repeated")} error=${errors.repeated} />
    ${tokenRequired && html`<${Field} label="Setup token" type="password" hint="The SETUP_TOKEN of this installation." required value=${values.token} onChange=${set("token")} />`}
    <${Submit} busy=${form.busy}>Create the first admin</${Submit}>
  </form>`;
}

const mismatch = () =>
  Object.assign(new Error("The passwords differ."), { sentences: [], fields: [{ field: "repeated", message: "Differs from the password above." }] });

function useTitle(title) {
  useEffect(() => {
    document.title = `${title} · FastCMS`;
    document.querySelector(".entrance input")?.focus();
  }, [title]);
}
