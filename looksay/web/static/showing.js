/** What is shown: one item after the other, and what to do where the server does not answer. */

import { askKey } from "./choices.js";
import { announce, find, memory, notice } from "./dom.js";
import * as editor from "./editor.js";
import * as filters from "./filters.js";
import { advice, call } from "./http.js";
import { draw, picture, place, title } from "./item.js";
import { token } from "./rulings.js";
import { put } from "./words.js";

const LOOK_MS = 1000; // how soon is looked again for what is still being read in
const reader = sessionStorage.getItem("looksay-reader") ?? token(); // this tab: no other is shown the same text meanwhile
sessionStorage.setItem("looksay-reader", reader);

/** `item`: what is shown; `words`: those of it that are shown, its own or a candidate's; `since`: when it was;
 * `again`: what is to be done once the server answers. */
export const now = { item: null, words: null, since: 0, again: null };
let ahead = null; // a promise of the item after it
let unknown = 0; // photos of which it was not known, when there was no item, whether they wait
const trail = []; // items that were shown before, for "Back"

export const who = () => memory.read("who", "") || find("who").value || "?";

/** Let others have what this page holds. (A beacon could not carry the server's key.) */
export function leave() {
  call("api/leave", { body: { reader }, keepalive: true }).catch(() => {}); // it comes back by itself as well
}

/** The item after a cursor, or at the top; null where there is none. */
async function following(cursor) {
  const [risk, path, page, occurrence] = cursor ?? [];
  const after = cursor ? { risk, path, page, occurrence } : {};
  const query = new URLSearchParams({ ...filters.wanted(), ...after, reader });
  const found = await (await call(`api/next?${query}`)).json();
  const [item] = found.items;
  unknown = found.stale;
  if (item) picture(item.photo, "large").catch(() => {});
  return item ?? null;
}

/** The item of a place. */
export const fetched = async (where) =>
  (await call(`api/item?${new URLSearchParams({ ...where, reader })}`)).json();

/** Ask anew what comes after an item: a decision on it was about others too. */
export const lookAhead = (item) => {
  ahead = following(item.cursor).catch(() => null);
};

export function redraw() {
  if (now.item) draw(now.item, now.words, take);
}

function take(words) {
  now.words = words;
  redraw();
  announce("taken", { text: words.text });
  find("title").focus();
}

/** Show an item, or that there is none; `done` ([key, values]) is what was just done. */
export async function show(item, done) {
  now.item = item;
  now.again = null;
  find("item").hidden = !item;
  find("nothing").hidden = Boolean(item);
  find("waiting-answer").hidden = true;
  notice();
  if (!item) return showNothing(done);
  now.words = item.words;
  now.since = performance.now();
  find("group").checked = false;
  editor.close();
  redraw();
  lookAhead(item);
  const { risk, text } = item.words;
  const spoken = risk ? ["risk_line", { level: [`level_${risk.level}`] }] : ["text_title"];
  const next = ["spoken", { title: title(item), risk: spoken, text: text || ["no_words"] }];
  find("title").focus({ preventScroll: true });
  window.scrollTo(0, 0);
  announce(...(done ? ["then", { done, next }] : next));
  editor.offer(item);
  refresh();
}

async function showNothing(done) {
  const how = await refresh();
  put(find("nothing-title"), "nothing_title");
  if (how) put(find("nothing-text"), ...filters.nothing({ ...how, stale: how.stale || unknown }));
  find("nothing-title").focus();
  if (done) announce(...done);
  if (unknown || how?.stale) setTimeout(() => !now.item && !document.querySelector("dialog[open]") && attempt(() => begin()), LOOK_MS);
}

/** Draw how far the review is. */
export async function refresh() {
  try {
    const found = await filters.progress(who());
    if (!find("who").value) find("who").value = memory.read("who", "") || found.who;
    return found;
  } catch (error) {
    fail(error, refresh);
    return null;
  }
}

/** Go on to what comes after the current item, and from the top where that was the last. */
export async function forward(done) {
  const last = now.item;
  let item = await ahead;
  let spoken = done;
  if (!item) {
    item = await following(null);
    if (item && !done) spoken = ["wrapped"];
  }
  ahead = null;
  if (last) trail.push(last);
  await show(item, spoken);
}

export const back = () => {
  const before = trail.pop();
  if (!before) return announce("first");
  return attempt(async () => show(await fetched(place(before))));
};

/** Begin at the top of what the filters want. */
export async function begin(done) {
  trail.length = 0;
  ahead = null;
  await show(await following(null), done);
}

/** Do one thing at a time: what comes meanwhile is not heard, and the pointer says so. What the server did not answer is
 * done first, before anything else. */
export async function attempt(work) {
  const { dataset } = document.body;
  if ("busy" in dataset) return;
  const todo = now.again ?? work;
  dataset.busy = "";
  try {
    await todo();
    now.again = null;
  } catch (error) {
    fail(error, todo);
  } finally {
    delete dataset.busy;
  }
}

/** Say what went wrong and what to do; `retry` where the server has not answered. */
export function fail(error, retry) {
  if (!("status" in error)) throw error;
  if (error.status === 401) return askKey(() => attempt(retry));
  const unanswered = [0, 429].includes(error.status) || error.status >= 500;
  now.again = unanswered ? retry : null;
  find("waiting-answer").hidden = !unanswered;
  if (unanswered) find("send-again").focus();
  if (unanswered || !error.message) return notice(...advice(error));
  notice("refused", { text: error.message, advice: advice(error) });
}
