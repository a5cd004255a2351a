/** Where a model looked while it answered, and what experts had told it. */

import { explain } from "./api.js";
import { messages } from "./conversation.js";
import { el, find } from "./dom.js";
import { advice } from "./http.js";
import { put } from "./words.js";

/** Ask the server about one answer and show what it says; closing the dialog gives the question up. */
export async function show(conversation, index, column, system) {
  const answer = conversation.turns[index].answers[column];
  const dialog = find("look");
  const stop = new AbortController();
  put(find("look-title"), "look_title", { model: answer.model });
  find("look-found").replaceChildren(put(el("p"), "look_wait"));
  dialog.addEventListener("close", () => stop.abort(), { once: true });
  dialog.showModal();
  try {
    const said = await messages(conversation, index, column, system);
    said.push({ role: "assistant", content: answer.text });
    const found = await explain({ model: answer.model, messages: said }, stop.signal);
    if (!stop.signal.aborted) find("look-found").replaceChildren(...drawn(found));
  } catch (error) {
    if (stop.signal.aborted) return;
    const failure = el("div", { className: "failure" });
    if (error.message) failure.append(el("p", {}, error.message));
    failure.append(put(el("p"), ...advice(error)));
    find("look-found").replaceChildren(failure);
  }
}

function drawn({ pictures = [], experts }) {
  const made = pictures
    .filter(({ overlay }) => overlay.startsWith("data:image/"))
    .map(({ image, overlay, words }) => {
      const picture = put(el("img", { src: overlay }), "look_alt", { n: image + 1 }, "sayAlt");
      return el("figure", {}, picture, el("figcaption", {}, words ?? ""));
    });
  if (experts) {
    const text = el("p", { className: "text", lang: "" }, experts);
    made.push(put(el("h3"), "experts"), text);
  }
  return made.length ? made : [put(el("p"), "look_none")];
}
