// What to call the people whose ids stand in events: tokens, and so events, carry no address.
import { useEffect, useState } from "../html.js";
import { call } from "./api.js";

// Promises of addresses by id; of null for somebody who is gone.
const asked = new Map();

function addressOf(id) {
  if (!asked.has(id)) asked.set(id, call("GET", `/admin/users/${id}`).then(({ email }) => email, (problem) => forget(id, problem)));
  return asked.get(id);
}

function forget(id, problem) {
  if (problem.status !== 404) asked.delete(id);
  return null;
}

/** E-mail addresses by id, as soon as they are known. Each person is asked for once. */
export function usePeople(ids) {
  const [people, setPeople] = useState({});
  const wanted = [...new Set(ids.filter(Boolean))];
  useEffect(() => {
    let gone = false;
    Promise.all(wanted.map(async (id) => [id, await addressOf(id)])).then((pairs) => gone || setPeople(Object.fromEntries(pairs)));
    return () => (gone = true);
  }, [wanted.join()]);
  return people;
}
