// Calls of the public API, with the token of whoever is signed in or acted as.
import { useCallback, useEffect, useRef, useState } from "../html.js";
import { address, content, Problem, send } from "./http.js";
import { currentToken, leave, ownToken, refresh, session, stopActing } from "./session.js";
import { toast } from "./toast.js";

const API = "/api/v1";
// Milliseconds between two looks at what goes on by itself.
const EVERY = 5000;

/** Calls the API and returns what it answers. Throws Problem. */
export async function call(method, path, options = {}) {
  return content(await respond(method, path, options));
}

/** The same, with the Response itself. */
export async function respond(method, path, options = {}) {
  const token = currentToken();
  try {
    return await send(method, API + path, { ...options, token });
  } catch (problem) {
    if (problem.status !== 401 || problem.code === "INVALID_CREDENTIALS") throw problem;
    if (token !== ownToken()) {
      actingIsOver();
      throw problem;
    }
    await renew(token);
    return send(method, API + path, { ...options, token: currentToken() });
  }
}

/** Whoever goes on as themselves has to know that they do. */
function actingIsOver() {
  const { acting } = session.get();
  stopActing();
  if (acting) toast(`Acting as ${acting.email} was ended elsewhere. You are yourself again.`, "bad");
}

async function renew(used) {
  // Another call may have done so in the meantime.
  if (ownToken() !== used) return;
  try {
    await refresh();
  } catch (problem) {
    if (problem.status === 401) leave({ ended: true });
    throw problem;
  }
}

/** What a `load(signal)` gives: {data, error, loading, reload}. The last data stays while the next is on its way. */
export function useLoad(load, deps) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const current = useRef(null);
  const reload = useCallback(() => {
    current.current?.abort();
    const abort = (current.current = new AbortController());
    setState((before) => ({ ...before, loading: true }));
    return load(abort.signal).then(
      (data) => abort.signal.aborted || setState({ data, error: null, loading: false }),
      (error) => abort.signal.aborted || setState((before) => ({ data: before.data, error, loading: false })),
    );
  }, deps);
  useEffect(() => {
    reload();
    return () => current.current.abort();
  }, [reload]);
  return { ...state, reload };
}

/** Loads again every few seconds while the page is looked at. */
export function usePolling(reload) {
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), EVERY);
    return () => clearInterval(timer);
  }, [reload]);
}

/**
 * Sends a file and returns what became of it, the last line of the answer. Tells `onProgress` {sent, line, created,
 * failed}: how much of the file is sent, from 0 to 1, and how far the server is with it once it says so. Throws Problem.
 */
export async function upload(path, file, type, onProgress) {
  // Renews the token where it has to be: a file is not sent twice.
  await respond("GET", "/auth/me");
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let progress = { sent: 0 };
    const tell = (changes) => onProgress((progress = { ...progress, ...changes }));
    const told = () => JSON.parse(request.responseText.trimEnd().split("\n").at(-1));
    const lost = () => reject(new Problem(0, { detail: "The connection was lost on the way. What was taken in before stays." }));
    request.open("POST", address(API + path, { progress: true }));
    request.setRequestHeader("authorization", `Bearer ${currentToken()}`);
    request.setRequestHeader("content-type", type);
    request.upload.onprogress = (event) => event.lengthComputable && tell({ sent: event.loaded / event.total });
    request.onprogress = () => request.status < 300 && request.responseText.endsWith("\n") && tell(told());
    request.onerror = lost;
    request.onload = () => {
      try {
        if (request.status < 300) resolve(told());
        else reject(new Problem(request.status, told()));
      } catch {
        lost();
      }
    };
    request.send(file);
  });
}

/** Saves an answer as a file, telling `onProgress` the bytes that have come. Throws Problem. */
export async function download(path, query, name, onProgress) {
  const answer = await respond("GET", address(path, query));
  const reader = answer.body.getReader();
  const chunks = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    size += value.length;
    onProgress?.(size);
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(chunks, { type: answer.headers.get("content-type") }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return size;
}
