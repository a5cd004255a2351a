/** What is chosen on every page: language, colours, the server's key; and how dialogs close. */

import { find, memory } from "./dom.js";
import { key } from "./http.js";
import { language, speak } from "./words.js";

/** Dialogs close by their buttons, and the focus returns to where it was (the browser sees to that). */
function dialogs() {
  for (const close of document.querySelectorAll("[data-close]")) {
    close.addEventListener("click", () => close.closest("dialog").close());
  }
}

/** Wire the controls. `changed()` is called when the language is another. */
export function prepare(changed) {
  dialogs();
  const languages = find("language");
  speak(memory.read("language", language()));
  languages.value = language();
  languages.addEventListener("change", () => {
    speak(languages.value);
    find("status").replaceChildren();
    memory.write("language", languages.value);
    changed();
  });
  const themes = find("theme");
  themes.value = document.documentElement.dataset.theme;
  themes.addEventListener("change", () => {
    document.documentElement.dataset.theme = themes.value;
    memory.write("theme", themes.value);
  });
}

/** Ask for the server's key; `then()` once there is one. A key that was tried already is called wrong. */
export function askKey(then) {
  const dialog = find("key");
  if (dialog.open) return;
  find("key-wrong").hidden = !key.read();
  find("key-field").value = "";
  dialog.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    key.write(find("key-field").value.trim());
    dialog.close();
    then();
  };
  dialog.showModal();
  find("key-field").focus();
}
