// Pictures for the navigation, drawn with one line each (24 × 24).
import { html } from "../html.js";

const PATHS = {
  overview: "M4 20V10m5.500 10V4M15 20v-7m5 7V8",
  users: "M16 20v-1.500a4 4 0 0 0-4-4H7a4 4 0 0 0-4 4V20M9.500 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7M17 4.300a3.500 3.500 0 0 1 0 6.500M21 20v-1.500a4 4 0 0 0-3-3.800",
  collections: "M4 6.500C4 5 7.600 4 12 4s8 1 8 2.500S16.400 9 12 9 4 8 4 6.500zm0 0v11C4 19 7.600 20 12 20s8-1 8-2.500v-11M4 12c0 1.500 3.600 2.500 8 2.500s8-1 8-2.500",
  audit: "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
  cron: "M12 7v5l3.500 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  "ip-rules": "M12 21c5-2 8-5 8-10V5.500L12 3 4 5.500V11c0 5 3 8 8 10zM9 12l2 2 4-4",
  settings: "M4 7h9m4 0h3M4 17h3m4 0h9M15 9.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5zM9 19.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5z",
  docs: "M9 8l-4 4 4 4m6-8l4 4-4 4M13 6l-2 12",
  menu: "M4 7h16M4 12h16M4 17h16",
};

export function Icon({ name }) {
  return html`<svg class="glyph" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}
