// One's own second factor: set up with a picture, shown recovery codes once, switched off again.
import { html, useState } from "../html.js";
import { call, useLoad } from "../parts/api.js";
import { confirm } from "../parts/dialog.js";
import { Field, FormProblem, Submit, useForm } from "../parts/form.js";
import { Badge } from "../parts/marks.js";
import { setUser } from "../parts/session.js";
import { Loaded } from "../parts/states.js";
import { tell, toast } from "../parts/toast.js";

export function SecondFactor({ user }) {
  const factor = useLoad((signal) => call("GET", "/auth/mfa", { signal }), []);
  const [setup, setSetup] = useState(null);
  const [codes, setCodes] = useState(null);
  const begin = () => tell(async () => setSetup(await call("POST", "/auth/mfa/setup", { body: {} })), "Scan the picture with your app.");
  const changed = async (enabled, fresh) => {
    setSetup(null);
    setCodes(fresh);
    setUser({ ...user, mfa_enabled: enabled });
    await factor.reload();
  };
  return html`<section class="card" aria-label="Second factor">
    <h2>Second factor</h2>
    <${Loaded} load=${factor}>
      ${({ enabled, recovery_codes_left }) => html`
        <p>${enabled ? html`<${Badge} tone="good">On</${Badge}> ${recovery_codes_left} recovery codes left.` : html`<${Badge}>Off</${Badge}> A code of an authenticator app beside the password.`}</p>
        ${codes && html`<${RecoveryCodes} codes=${codes} />`}
        ${!enabled && !setup && html`<button type="button" onClick=${begin}>Set up</button>`}
        ${setup && html`<${Enable} setup=${setup} onEnabled=${(fresh) => changed(true, fresh)} />`}
        ${enabled && html`<${WithCode} onDisabled=${() => changed(false, null)} onRenewed=${(fresh) => changed(true, fresh)} />`}
      `}
    </${Loaded}>
  </section>`;
}

function Enable({ setup, onEnabled }) {
  const form = useForm({ code: "" }, async ({ code }) => {
    const { recovery_codes } = await call("POST", "/auth/mfa/enable", { body: { code: code.replaceAll(" ", "") } });
    toast("From now on a code is asked for.");
    onEnabled(recovery_codes);
  });
  return html`<form onSubmit=${form.onSubmit}>
    <img class="qr" src=${`data:image/svg+xml,${encodeURIComponent(setup.qr_svg)}`} alt="The secret as a QR code" />
    <p>Or type <b class="mono">${setup.secret}</b> into your app.</p>
    <${FormProblem} problem=${form.problem} known=${["code"]} />
    <${Field} label="Code that the app shows" inputmode="numeric" autocomplete="one-time-code" required value=${form.values.code} onChange=${form.set("code")} error=${form.errors.code} />
    <div><${Submit} busy=${form.busy}>Switch on</${Submit}></div>
  </form>`;
}

const QUESTIONS = {
  renew: { title: "Get new recovery codes?", text: "The ones you have stop working.", undo: "The old ones do not come back; you see the new ones next.", action: "Get new codes" },
  disable: { title: "Switch the second factor off?", text: "From then on the password is enough to sign in.", undo: "You can set it up again at any time, with a new secret in your app.", action: "Switch off" },
};

/** What takes a code: new recovery codes, and switching off. */
function WithCode({ onDisabled, onRenewed }) {
  const form = useForm({ code: "", what: "renew" }, async ({ code, what }) => {
    const body = { code: code.replaceAll(" ", "") };
    if (!(await confirm(QUESTIONS[what]))) return;
    if (what === "disable") {
      await call("POST", "/auth/mfa/disable", { body });
      toast("The second factor is off. You can set it up again at any time.");
      onDisabled();
    } else {
      onRenewed((await call("POST", "/auth/mfa/recovery-codes", { body })).recovery_codes);
    }
  });
  return html`<form onSubmit=${form.onSubmit}>
    <${FormProblem} problem=${form.problem} known=${["code"]} />
    <${Field} label="Do" type="select" options=${[["renew", "Get new recovery codes"], ["disable", "Switch the second factor off"]]} value=${form.values.what} onChange=${form.set("what")} />
    <${Field} label="Code of your app, or a recovery code" autocomplete="one-time-code" required value=${form.values.code} onChange=${form.set("code")} error=${form.errors.code} />
    <div><${Submit} busy=${form.busy} danger=${form.values.what === "disable"}>${form.values.what === "disable" ? "Switch off" : "Get new codes"}</${Submit}></div>
  </form>`;
}

function RecoveryCodes({ codes }) {
  return html`<div role="status"><p><b>Keep these recovery codes.</b> Each works once, and they are not shown again.</p><ul class="codes">${codes.map((code) => html`<li key=${code}>${code}</li>`)}</ul></div>`;
}
