/** What the page says, in the language chosen. Elements remember which words they hold, so that another language
 * replaces them in place: nothing is loaded again, no focus is lost. */

const all = JSON.parse(document.getElementById("words").textContent);
const SLOTS = {
  say: (node, text) => (node.textContent = text),
  sayLabel: (node, text) => node.setAttribute("aria-label", text),
  sayAlt: (node, text) => (node.alt = text),
};

export const language = () => document.documentElement.lang;

/** The words of `key`, with {names} replaced by `values`. A value ["key", {…}] is itself words. */
export function say(key, values = {}) {
  const text = all[language()][key];
  if (text === undefined) throw new Error(`words.json has no "${key}" in "${language()}"`);
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return Array.isArray(value) ? say(...value) : value;
  });
}

/** Put words into an element: as its text ("say"), its accessible name ("sayLabel") or its alt text ("sayAlt"). */
export function put(node, key, values = {}, slot = "say") {
  node.dataset[slot] = key;
  node.dataset[`${slot}Values`] = JSON.stringify(values);
  SLOTS[slot](node, say(key, values));
  return node;
}

/** Change the language of everything that stands on the page. */
export function speak(name) {
  document.documentElement.lang = name in all ? name : "en";
  for (const slot of Object.keys(SLOTS)) {
    const attribute = slot.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    for (const node of document.querySelectorAll(`[data-${attribute}]`)) {
      const values = JSON.parse(node.dataset[`${slot}Values`] ?? "{}");
      SLOTS[slot](node, say(node.dataset[slot], values));
    }
  }
}
