/** The review page: what its buttons and keys do, and how it begins. */

import * as bulk from "./bulk.js";
import { prepare as prepareChoices } from "./choices.js";
import { conflict, decide, undo } from "./deciding.js";
import { announce, find, memory } from "./dom.js";
import * as editor from "./editor.js";
import * as filters from "./filters.js";
import { place } from "./item.js";
import { keys } from "./keys.js";
import { send, taken, unanswered } from "./rulings.js";
import { attempt, back, begin, fail, fetched, forward, leave, now, redraw, refresh, show, who } from "./showing.js";

const actions = {
  accept() {
    if (!now.item) return;
    if (!now.words.text && !now.words.decorative) return actions.edit();
    const stands = now.words === now.item.words && now.item.state === "decided";
    return stands ? actions.next() : decide("accept");
  },
  edit: () => now.item && editor.open(now.item, now.words.text),
  next: () => now.item && attempt(() => forward()),
  back,
  decorative: () => now.item && decide("decorative", ""),
  reject: () => now.item && (now.words.generation ? decide("reject", "") : actions.next()),
  undo,
  group() {
    if (!now.item || find("group-line").hidden) return;
    find("group").click();
    announce(find("group").checked ? "group_on" : "group_off", { n: now.item.group.length });
  },
  candidate(n) {
    const row = now.item?.candidates[n - 1] && find("candidate-list").children[n - 1];
    row?.querySelector("button")?.click();
  },
};
const BUTTONS = {
  accept: "accept",
  "start-edit": "edit",
  next: "next",
  back: "back",
  decorative: "decorative",
  reject: "reject",
  undo: "undo",
  "undo-here": "undo",
};

function wire() {
  prepareChoices(redraw);
  editor.prepare((text) => decide("edit", text));
  filters.prepare(() => attempt(() => begin()));
  bulk.prepare({
    wanted: filters.wanted,
    who,
    done: (n) => attempt(() => begin(["bulk_done", { n }])),
    failed: (error) => fail(error, () => begin()),
  });
  for (const [id, name] of Object.entries(BUTTONS)) find(id).addEventListener("click", () => actions[name]());
  for (const name of ["help", "settings"]) {
    find(`open-${name}`).addEventListener("click", () => find(name).showModal());
  }
  find("from-top").addEventListener("click", () => attempt(() => begin()));
  find("send-again").addEventListener("click", () => attempt(() => begin()));
  find("who").value = memory.read("who", "");
  find("who").addEventListener("change", () => memory.write("who", find("who").value.trim()));
  find("settings").addEventListener("close", refresh);
  addEventListener("pagehide", ({ persisted }) => persisted || leave()); // a page that may return keeps its text
  keys(actions);
}

/** Send what was not answered before the page was closed (it is the same decision still), then begin. */
async function resume() {
  for (const { kind, body } of unanswered()) {
    try {
      await send(kind, body);
      if (kind === "decide") taken.push({ token: body.token, place: place(body) });
    } catch (error) {
      if (error.status >= 500 || [0, 401, 429].includes(error.status)) throw error;
      if (!error.found?.by || kind !== "decide") continue; // it was refused, and is forgotten
      const item = await fetched(place(body));
      await show(item);
      return conflict(item, body, error.found.by);
    }
  }
  return begin();
}

wire();
attempt(resume);
