/** Decisions: sent, told apart from those of others, taken back. */

import { announce, find } from "./dom.js";
import * as editor from "./editor.js";
import { place } from "./item.js";
import { send, taken, token } from "./rulings.js";
import { attempt, begin, fetched, forward, lookAhead, now, show, who } from "./showing.js";
import { put, say } from "./words.js";

const LONGEST_S = 600; // longer than that nobody looks: they are away

/** Decide on the item that is shown, with the words that are shown or with `text`. Asks first where a link may
 * be left without a name. */
export function decide(verb, text = now.words.text) {
  const bare = !text && ["accept", "decorative"].includes(verb);
  if (!bare || !now.item.context.link) return rule(verb, text);
  const dialog = find("nameless");
  choose(dialog, "nameless-yes", () => rule(verb, text));
  return dialog.showModal();
}

function rule(verb, text) {
  const { words, item } = now;
  const seconds = Math.min(LONGEST_S, Math.round((performance.now() - now.since) / 100) / 10);
  const extended = text === words.text ? words.extended : "";
  return sent(item, {
    ...place(item),
    ...{ verb, text, extended, seconds },
    generation: words.generation,
    saw: item.saw,
    who: who(),
    group: find("group").checked,
    token: token(),
  });
}

const sent = (item, body) => attempt(() => deliver(item, body));

async function deliver(item, body) {
  let answer;
  try {
    answer = await send("decide", body);
  } catch (error) {
    if (error.status === 409 && error.found.by) return conflict(item, body, error.found.by);
    if (error.status !== 410) throw error;
    return forward(["item_gone", { name: item.path }]);
  }
  editor.forget(item);
  taken.push({ token: body.token, place: place(item) });
  if (answer.decisions > 1) lookAhead(item);
  const done = [`done_${body.verb}`];
  return forward(answer.decisions > 1 ? ["done_many", { done, n: answer.decisions }] : done);
}

/** What a button of a dialog does. */
function choose(dialog, id, then) {
  find(id).onclick = () => {
    dialog.close();
    setTimeout(then); // the page takes the keyboard back first
  };
}

/** Somebody was faster: both decisions side by side, and a choice. */
export function conflict(item, body, by) {
  const dialog = find("conflict");
  const withWords = ["accept", "edit"].includes(body.verb);
  put(find("conflict-text"), "conflict_text");
  find("mine").textContent = withWords ? body.text : say(`verb_${body.verb}`);
  put(find("their-title"), "conflict_theirs", { who: by.who });
  put(find("theirs"), `state_${by.state}`, { who: by.who, text: by.text });
  choose(dialog, "keep-theirs", () => {
    editor.forget(item);
    attempt(() => forward());
  });
  choose(dialog, "edit-mine", () => {
    item.saw = by.id;
    editor.open(item, withWords ? body.text : by.text);
  });
  choose(dialog, "keep-mine", () => sent(item, { ...body, saw: by.id }));
  dialog.showModal();
}

/** Take back what was decided last in this tab. */
export function undo() {
  const last = taken.last();
  if (!last) return announce("nothing_to_undo");
  const body = { taken: last.token, token: token(), who: who() };
  return attempt(async () => {
    let answer = { left: 1 };
    try {
      while (answer.left) answer = await send("undo", body);
    } catch (error) {
      if ([400, 409].includes(error.status)) taken.pop(); // somebody has decided since: it stays as it is
      throw error;
    }
    taken.pop();
    const done = answer.decisions > 1 ? ["undone_many", { n: answer.decisions }] : ["undone"];
    await (last.place ? show(await fetched(last.place), done) : begin(done));
  });
}
