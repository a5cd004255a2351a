/** Small helpers around the document: elements, announcements, what the browser remembers. */

import { put, say } from "./words.js";

export const find = (id) => document.getElementById(id);

/** An element with properties, listeners (on: {click: …}) and children; texts become text nodes, never markup. */
export function el(tag, { on = {}, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  node.append(...children);
  return node;
}

/** A button that reads `key`; `label` ([key, values]) names it for those who do not see what it stands beside. */
export function button(key, label, click) {
  const node = put(el("button", { type: "button", on: { click } }), key);
  return label ? put(node, ...label, "sayLabel") : node;
}

/** Have a screen reader say something when it has said what it is saying. */
export function announce(key, values) {
  const status = find("status");
  status.textContent = "";
  // A text that comes back unchanged would not be read again, so it comes in a new node.
  setTimeout(() => status.replaceChildren(el("p", {}, say(key, values))), 50);
}

/** Show a line under the question field, and have it read. Without a key: take it away. */
export function notice(key, values) {
  find("notice").hidden = !key;
  if (!key) return;
  put(find("notice"), key, values);
  announce(key, values);
}

/** Settings that outlive the page. Where the browser keeps none, they live as long as the page. */
export const memory = {
  read(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`looksay-${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  write(name, value) {
    try {
      localStorage.setItem(`looksay-${name}`, JSON.stringify(value));
    } catch {
      // No storage (private window, full disk): the choice holds until the page is closed.
    }
  },
  remove(name) {
    try {
      localStorage.removeItem(`looksay-${name}`);
    } catch {
      // As above.
    }
  },
  /** The names that begin so. */
  names(start) {
    try {
      const all = Object.keys(localStorage).filter((name) => name.startsWith(`looksay-${start}`));
      return all.map((name) => name.slice("looksay-".length)).sort();
    } catch {
      return [];
    }
  },
};

/** Offer a file for download. */
export function download(name, type, text) {
  const href = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce("copied");
  } catch {
    announce("copy_failed"); // not over plain HTTP from another machine: browsers forbid it
  }
}
