// Addresses: which screen, about what, and its filters.
import { mayLeave } from "./dialog.js";
import { createStore, useStore } from "./store.js";

const HOME = "/admin";
const location_ = createStore(read());

function read() {
  const path = decodeURI(location.pathname).slice(HOME.length).replace(/^\/|\/$/g, "");
  return { segments: path ? path.split("/").map(decodeURIComponent) : [], query: Object.fromEntries(new URLSearchParams(location.search)) };
}

/** {segments: ["users", "…"], query: {…}} of the address. */
export function useRoute() {
  return useStore(location_);
}

/** The address of a screen, such as link("users", id). */
export function link(...segments) {
  return [HOME, ...segments.map(encodeURIComponent)].join("/");
}

/** Goes to an address of the dashboard. */
export function go(href, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", href);
  show();
}

/** Changes filters in the address; those that are empty go. The page starts anew unless it is what changes. */
export function setQuery(changes) {
  const query = { ...location_.get().query };
  if (!("page" in changes)) delete query.page;
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined) delete query[name];
    else query[name] = value;
  }
  const text = new URLSearchParams(query).toString();
  go(location.pathname + (text ? `?${text}` : ""), { replace: !("page" in changes) });
}

// Where the page is, for when the browser has left already and somebody wants to stay.
let shown = location.href;
let leaving = false;

addEventListener("popstate", async () => {
  if (!leaving && document.querySelector("form[data-unsaved]")) {
    history.pushState(null, "", shown);
    leaving = await mayLeave();
    if (leaving) history.back();
    return;
  }
  leaving = false;
  show();
});

function show() {
  shown = location.href;
  location_.set(read());
}

// Links within the dashboard do not load the page again.
addEventListener("click", async (event) => {
  const anchor = event.target.closest?.("a[href]");
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const inside = anchor.origin === location.origin && (anchor.pathname === HOME || anchor.pathname.startsWith(`${HOME}/`));
  if (!inside || anchor.target || anchor.hasAttribute("download")) return;
  event.preventDefault();
  if (await mayLeave()) go(anchor.pathname + anchor.search);
});
