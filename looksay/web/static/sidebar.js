/** The conversations that this browser keeps: a list of links, each with a button that deletes it. */

import { announce, button, el, find } from "./dom.js";
import { title } from "./view.js";
import { put, say } from "./words.js";

export const address = (conversation) => `#c=${conversation.id}`;

/** Draw the list; `remove(conversation)` once the reader has confirmed. */
export function draw(conversations, current, remove) {
  const items = conversations.map((conversation, at) => {
    const link = el("a", { href: address(conversation) }, title(conversation));
    if (conversation.id === current?.id) link.setAttribute("aria-current", "page");
    const label = ["delete_named", { title: title(conversation) }];
    const away = button("delete", label, () => confirm(conversation, at, remove));
    return el("li", {}, link, away);
  });
  find("conversations").replaceChildren(...items);
  find("none-yet").hidden = items.length > 0;
}

function confirm(conversation, at, remove) {
  const dialog = find("delete");
  put(find("delete-text"), "delete_text", { title: title(conversation) });
  find("delete-yes").onclick = async () => {
    dialog.close();
    await remove(conversation);
    const links = find("conversations").querySelectorAll("a");
    (links[Math.min(at, links.length - 1)] ?? find("new")).focus();
    announce("deleted", { title: title(conversation) });
  };
  dialog.showModal();
}

/** On narrow screens the list is behind a button. */
export function prepare() {
  const show = (on) => {
    document.body.classList.toggle("list-open", on);
    find("show-list").setAttribute("aria-expanded", on);
  };
  find("show-list").addEventListener("click", () => show(!document.body.classList.contains("list-open")));
  find("list").addEventListener("click", (event) => event.target.closest("a, #new") && show(false));
}
