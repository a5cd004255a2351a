/** Keys of the review page. Single letters can be turned off (WCAG 2.1.4), Enter and the buttons stay. */

import { find, memory } from "./dom.js";

const LETTERS = {
  e: "edit",
  n: "next",
  ArrowRight: "next",
  b: "back",
  ArrowLeft: "back",
  d: "decorative",
  r: "reject",
  u: "undo",
  g: "group",
};
const OPENS = { f: "open-filters", "?": "open-help" };

/** Have keys do what `actions` says. */
export function keys(actions) {
  const letters = find("letters");
  letters.checked = memory.read("letters", true);
  letters.addEventListener("change", () => memory.write("letters", letters.checked));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || event.target.closest("input, textarea, select")) return;
    const own = event.target.closest("button, a, summary"); // these have a use for Enter themselves
    const action = () => {
      if (event.key === "Enter") return own || event.repeat ? null : () => actions.accept();
      if (!letters.checked) return null;
      const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (/^[1-9]$/.test(name)) return () => actions.candidate(Number(name));
      if (name in OPENS) return () => find(OPENS[name]).click();
      return name in LETTERS ? () => actions[LETTERS[name]]() : null;
    };
    const run = action();
    if (!run) return;
    event.preventDefault();
    run();
  });
}
