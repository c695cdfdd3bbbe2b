// What is around every screen: navigation, the account, and the banner while acting as somebody.
import { html, useEffect, useState } from "../html.js";
import { Icon } from "./icon.js";
import { Avatar } from "./marks.js";
import { ConfirmHost, mayLeave } from "./dialog.js";
import { showCountdown, showTime, useNow } from "./format.js";
import { go, link, useRoute } from "./router.js";
import { endActing, session, signOut, stopActing } from "./session.js";
import { useStore } from "./store.js";
import { tell, toast, ToastHost } from "./toast.js";

const SCREENS = [
  ["", "Overview", "overview"],
  ["users", "Users", "users"],
  ["collections", "Collections", "collections"],
  ["audit", "Audit log", "audit"],
  ["cron", "Cron jobs", "cron"],
  ["ip-rules", "IP rules", "ip-rules"],
  ["settings", "Settings", "settings"],
];
const ACTING = [
  ["", "Profile", "users"],
  ["records", "Records", "collections"],
];

export function Frame({ children }) {
  const { user, acting } = useStore(session);
  const { segments } = useRoute();
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [segments.join("/")]);
  return html`<div class="frame">
    <a class="skip" href="#content" onClick=${skip}>Skip to the content</a>
    ${acting && html`<${ActingBanner} key=${acting.id} acting=${acting} />`}
    <div class="bar">
      <button type="button" class="quiet icon" aria-expanded=${open ? "true" : "false"} aria-controls="navigation" onClick=${() => setOpen(!open)}>
        <${Icon} name="menu" /><span class="unseen">Menu</span>
      </button>
      <${Brand} />
    </div>
    <nav id="navigation" class=${open ? "side open" : "side"} aria-label="Screens">
      <${Brand} />
      <ul>
        ${(acting ? ACTING : SCREENS).map(
          ([path, title, icon]) => html`<li key=${path}>
            <a href=${path ? link(path) : link()} aria-current=${(segments[0] ?? "") === path ? "page" : undefined}>
              <${Icon} name=${icon} />${title}
            </a>
          </li>`,
        )}
        ${!acting && html`<li><a href="/docs" target="_blank" rel="noopener"><${Icon} name="docs" />API docs<span class="unseen"> (opens a new tab)</span></a></li>`}
      </ul>
      ${!acting && html`<${Account} user=${user} current=${segments[0] === "account"} />`}
    </nav>
    <main id="content" tabindex="-1">${children}</main>
    <${ToastHost} />
    <${ConfirmHost} />
  </div>`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}

const Brand = () => html`<a class="brand" href=${link()}><span aria-hidden="true">F</span>FastCMS</a>`;

function Account({ user, current }) {
  return html`<div class="account">
    <a href=${link("account")} aria-current=${current ? "page" : undefined}>
      <${Avatar} text=${user.name || user.email} />
      <span><b>${user.name || "My account"}</b><small>${user.email}</small></span>
    </a>
    <button type="button" onClick=${async () => (await mayLeave()) && tell(signOut, "Signed out.")}>Sign out</button>
  </div>`;
}

/** Whom one acts as, until when, and the way out. */
function ActingBanner({ acting }) {
  const left = (acting.until - useNow()) / 1000;
  useEffect(() => {
    if (left > 0) return;
    stopActing();
    toast(`Acting as ${acting.email} is over: its time was up.`);
    go(link("users", acting.id));
  }, [left <= 0]);
  const end = async () => {
    await tell(endActing, `You are yourself again. Everything done as ${acting.email} is in the audit log.`);
    go(link("users", acting.id));
  };
  return html`<aside class="acting" aria-label="Impersonation">
    <span>
      You are acting as <b>${acting.name ? `${acting.name} (${acting.email})` : acting.email}</b>
      <span class="until"> until ${showTime(acting.until)}, for another <b aria-live="off">${showCountdown(left)}</b></span>
    </span>
    <button type="button" onClick=${end}>End</button>
  </aside>`;
}
