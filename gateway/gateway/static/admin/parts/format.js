// Values as people read them.
import { useEffect, useState } from "../html.js";

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const day = new Intl.DateTimeFormat("sv-SE");
const number = new Intl.NumberFormat();
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "long" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

export const showNumber = (value) => (value === null || value === undefined ? "–" : number.format(value));
export const showTime = (text) => (text ? dateTime.format(new Date(text)) : "–");
/** 2026-01-15, in local time. */
export const showDay = (text) => (text ? day.format(new Date(text)) : "–");

/** "5 minutes ago", "in 2 hours"; the date where it is more than a month away. */
export function showAgo(text, now = Date.now()) {
  if (!text) return "never";
  const seconds = (new Date(text) - now) / 1000;
  if (Math.abs(seconds) > 30 * 86400) return showTime(text);
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return Math.abs(seconds) < 60 ? (seconds < -5 ? "just now" : seconds > 5 ? "in a moment" : "now") : relative.format(Math.round(seconds / size), unit);
}

/** 90 → "1:30", 3700 → "1:01:40". */
export function showCountdown(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  return whole >= 3600 ? [Math.floor(whole / 3600), ...parts].join(":") : [Number(parts[0]), parts[1]].join(":");
}

export function showDuration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  if (milliseconds < 1000) return `${milliseconds} ms`;
  return milliseconds < 60_000 ? `${(milliseconds / 1000).toFixed(1)} s` : showCountdown(milliseconds / 1000);
}

export function showBytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** step).toFixed(step && bytes / 1000 ** step < 100 ? 1 : 0)} ${units[step]}`;
}

/** "password_min_length" → "Password min length". */
export function words(name) {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Both ends of an id: the beginning is when, the end is which. */
export const shortId = (id) => (id.length > 16 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id);

/** What a browser calls itself, in two words. */
export function showAgent(agent) {
  if (!agent) return "Unknown device";
  const browser = /(Edg|OPR|Firefox|Chrome|Safari|curl|python-httpx)/.exec(agent)?.[1];
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent)?.[1];
  const name = { Edg: "Edge", OPR: "Opera", "Mac OS X": "macOS" };
  return [name[browser] ?? browser, name[system] ?? system].filter(Boolean).join(" on ") || agent.slice(0, 40);
}

/** The time in milliseconds, anew every second. */
export function useNow() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
