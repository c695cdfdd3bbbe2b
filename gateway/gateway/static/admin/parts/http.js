// Requests to the gateway, and what it answers when it says no.

/** An error that the gateway told (RFC 9457), or that it could not be reached (status 0). */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    const detail = body?.detail ?? "The server did not answer as expected.";
    super(Array.isArray(detail) ? detail.join(" ") : detail);
    this.status = status;
    this.code = body?.code ?? "UNKNOWN";
    this.requestId = body?.request_id ?? null;
    this.sentences = Array.isArray(detail) ? detail : [];
    this.fields = body?.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/** A path with its query; values that are empty are left out. */
export function address(path, query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}

/** Sends a request and returns the Response. Throws Problem for anything but a success. */
export async function send(method, path, { query, body, type, headers, token, signal, keepalive } = {}) {
  const sent = { ...headers };
  if (token) sent.authorization = `Bearer ${token}`;
  if (body !== undefined) sent["content-type"] = type ?? "application/json";
  const content = body === undefined || type ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(address(path, query), { method, headers: sent, body: content, signal, keepalive, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The server cannot be reached. Check the connection and try again.", code: "OFFLINE" });
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

/** What the body of an answer holds; null where there is none. */
export async function content(answer) {
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

async function problemOf(answer) {
  let body = null;
  try {
    body = await answer.json();
  } catch {
    // A proxy's own page, say: there is the status to go by.
  }
  return new Problem(answer.status, body, Number(answer.headers.get("retry-after")) || null);
}
