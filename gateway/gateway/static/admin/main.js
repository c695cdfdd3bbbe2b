// The dashboard: one page that shows the screen that its address names.
import { html, render } from "./html.js";
import { Frame } from "./parts/frame.js";
import { Head } from "./parts/marks.js";
import { link, useRoute } from "./parts/router.js";
import { resume, session } from "./parts/session.js";
import { Empty, Loading } from "./parts/states.js";
import { useStore } from "./parts/store.js";
import { Account } from "./screens/account.js";
import { ActingProfile, ActingRecords } from "./screens/acting.js";
import { Audit } from "./screens/audit.js";
import { Collection } from "./screens/collection.js";
import { Collections } from "./screens/collections.js";
import { Cron } from "./screens/cron.js";
import { CronTask } from "./screens/cron_task.js";
import { Entrance } from "./screens/entrance.js";
import { IpRules } from "./screens/ip_rules.js";
import { MailLink, mailLink } from "./screens/mail_links.js";
import { Overview } from "./screens/overview.js";
import { Settings } from "./screens/settings.js";
import { User } from "./screens/user.js";
import { Users } from "./screens/users.js";

// By the first segment of the address; the screens below it, by what follows.
const SCREENS = {
  "": () => Overview,
  users: (id) => (id ? User : Users),
  collections: (name) => (name ? Collection : Collections),
  audit: () => Audit,
  cron: (task) => (task ? CronTask : Cron),
  "ip-rules": () => IpRules,
  settings: () => Settings,
  account: () => Account,
};
const ACTING = { "": () => ActingProfile, records: () => ActingRecords };

function Dashboard() {
  const { phase, user, acting } = useStore(session);
  const { segments, query } = useRoute();
  if (phase === "starting") return html`<main class="entrance"><${Loading} /></main>`;
  if (phase === "out") return html`<${Entrance} />`;
  if (user.role !== "admin" && !acting) return html`<${Frame}><${NotAnAdmin} /></${Frame}>`;
  const [name = "", item, part] = segments;
  const screen = (acting ? ACTING : SCREENS)[name]?.(item, part) ?? Unknown;
  return html`<${Frame}><${screen} key=${`${acting?.id}/${segments.join("/")}`} item=${item} part=${part} query=${query} user=${user} acting=${acting} /></${Frame}>`;
}

function Unknown() {
  return html`<${Head} title="Nothing here" /><${Empty} title="There is no such screen"><a href=${link()}>Go to the start</a></${Empty}>`;
}

function NotAnAdmin() {
  return html`<${Head} title="Not for this account" /><${Empty} title="The dashboard is for admins">Sign out and come back as one.</${Empty}>`;
}

render(mailLink ? html`<${MailLink} />` : html`<${Dashboard} />`, document.getElementById("root"));
if (!mailLink) resume();
