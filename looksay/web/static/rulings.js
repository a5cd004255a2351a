/** Decisions on their way to the server, and the way back. Each has a token of its own and is kept in this browser until
 * the server has answered: sent again, after a fault or when the page is opened anew, it is still one decision. */

import { memory } from "./dom.js";
import { call } from "./http.js";

const MOST = 500; // decisions that can be taken back, the newest

/** A name that nobody else makes. (`crypto.randomUUID` is missing where a page came over plain HTTP.) */
export const token = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Send a decision ("decide", "undo" or "accept") and say what came of it. Raises ServerError; what was not answered is
 * kept, what was refused is not. */
export async function send(kind, body) {
  const name = `pending-${body.token}`;
  memory.write(name, { kind, body });
  try {
    const answer = await (await call(`api/${kind}`, { body })).json();
    memory.remove(name);
    return answer;
  } catch (error) {
    if (error.status >= 400 && error.status < 500 && ![401, 429].includes(error.status)) memory.remove(name);
    throw error;
  }
}

/** What was not answered before the page was closed: [{kind, body}, …]. */
export const unanswered = () => memory.names("pending-").map((name) => memory.read(name, null)).filter(Boolean);

const list = () => JSON.parse(sessionStorage.getItem("looksay-taken") ?? "[]");
const keep = (all) => sessionStorage.setItem("looksay-taken", JSON.stringify(all.slice(-MOST)));

/** What can be taken back, the newest last: {token, place (null for many)}. */
export const taken = {
  push: (one) => keep([...list().filter(({ token }) => token !== one.token), one]),
  last: () => list().at(-1),
  pop: () => keep(list().slice(0, -1)),
};
