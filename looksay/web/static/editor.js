/** The field for one's own words. What is typed is kept in this browser until the server has it. */

import { find, memory } from "./dom.js";
import { key } from "./item.js";
import { put } from "./words.js";

let of = null; // the item that is being written about

const name = (item) => `draft-${key(item)}`;

const count = () => put(find("edit-count"), "letters_count", { n: [...find("edit").value].length });

/** Open the field on an item: what was typed before, or else these words. */
export function open(item, text) {
  of = item;
  find("editor").hidden = false;
  find("actions").hidden = true;
  find("edit").value = memory.read(name(item), text);
  find("edit").lang = item.words.language;
  count();
  find("edit").focus();
  find("edit").setSelectionRange(find("edit").value.length, find("edit").value.length);
}

export function close() {
  find("editor").hidden = true;
  find("actions").hidden = false;
}

/** Open the field where something was typed that never reached the server. */
export function offer(item) {
  const draft = memory.read(name(item), null);
  if (draft !== null && draft !== item.words.text) open(item, draft);
}

/** What was typed about an item is with the server, or not wanted. */
export const forget = (item) => memory.remove(name(item));

/** Wire the field; `save(text)` when it is to be sent. */
export function prepare(save) {
  const field = find("edit");
  field.addEventListener("input", () => {
    memory.write(name(of), field.value);
    count();
  });
  const leave = () => {
    forget(of);
    close();
    find("title").focus();
  };
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // Enter ends a Korean syllable
    if (event.key === "Escape") leave();
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    find("save").click();
  });
  find("leave").addEventListener("click", leave);
  find("editor").addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim()) save(field.value.trim());
  });
}
