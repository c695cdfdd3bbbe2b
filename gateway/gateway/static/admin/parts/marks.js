// Small marks beside text: badges, avatars, the head of a screen.
import { html, useEffect, useRef } from "../html.js";
import { showAgo, showTime } from "./format.js";

/** A word in a coloured pill; `tone` is good, bad, warn, info or plain. */
export function Badge({ tone = "plain", children }) {
  return html`<span class="badge ${tone}">${children}</span>`;
}

/** The first letter of a name, in a colour of its own. */
export function Avatar({ text }) {
  const letter = [...(text || "?")][0].toUpperCase();
  const hue = [...(text || "?")].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 360, 7);
  return html`<span class="avatar" style=${{ "--hue": hue }} aria-hidden="true">${letter}</span>`;
}

/** A time as "5 minutes ago", the exact one on hover. */
export function Time({ value }) {
  return value ? html`<time datetime=${value} title=${showTime(value)}>${showAgo(value)}</time>` : "never";
}

/** Title, one line about it, and the actions of a screen. The title takes the focus when the screen opens. */
export function Head({ title, about, back, children }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = `${title} · FastCMS`;
    heading.current.focus({ preventScroll: true });
  }, [title]);
  return html`<header class="head">
    <div>
      ${back && html`<a class="back" href=${back.href}>← ${back.text}</a>`}
      <h1 ref=${heading} tabindex="-1">${title}</h1>
      ${about && html`<p>${about}</p>`}
    </div>
    ${children && html`<div class="actions">${children}</div>`}
  </header>`;
}
