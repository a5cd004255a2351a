/** The field where a question is written: its text and pictures, and what is being edited. */

import { announce, button, el, find, notice } from "./dom.js";
import { called, read, shown } from "./pictures.js";
import { put, say } from "./words.js";

let pictures = [];
let editing = null; // {index, before: {text, pictures}}

const field = () => find("question");

/** Wire the field. `send(question, index)` is called with what was written; index is null for a new question.
 * `ready()` says whether a question can be sent at all, `busy()` whether one is being answered. */
export function prepare({ ready, busy, stop, send }) {
  const submit = () => {
    if (busy()) return notice("busy");
    const text = field().value.trim() || (pictures.length ? say("default_question") : "");
    field().focus();
    if (!text) return notice("question_missing");
    if (!ready()) return undefined;
    notice();
    const question = { text, pictures };
    const index = editing?.index ?? null;
    const before = editing?.before ?? { text: "", pictures: [] };
    editing = null;
    fill(before);
    send(question, index);
  };
  find("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  field().addEventListener("keydown", (event) => {
    // While a Korean syllable is being composed, Enter ends the syllable.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && busy() && !document.querySelector("dialog[open]")) stop();
  });
  find("stop").addEventListener("click", stop);
  find("cancel-edit").addEventListener("click", cancel);
  find("pick").addEventListener("click", () => find("files").click());
  find("files").addEventListener("change", () => {
    add([...find("files").files]);
    find("files").value = "";
    invite();
  });
  receive();
}

/** Pictures that are dropped anywhere on the page, or pasted. */
function receive() {
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (!files.length || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    add(files, true);
  });
  const hover = (on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    hover(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? hover(false));
  document.addEventListener("drop", (event) => {
    hover(false);
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    if (!document.querySelector("dialog[open]")) add([...event.dataTransfer.files]);
  });
}

async function add(files, pasted = false) {
  notice();
  const found = await Promise.all(files.map((file) => read(file, pasted)));
  const good = found.filter(Boolean);
  pictures = [...pictures, ...good];
  drawPictures();
  const bad = files.find((_, at) => !found[at]);
  if (bad) notice("picture_unreadable", { name: bad.name });
  else announce("picture_added", { count: good.length, all: pictures.length });
}

function drawPictures() {
  const items = pictures.map((picture, at) => {
    const label = ["remove_picture", { n: at + 1, name: called(picture) }];
    const remove = button("remove", label, () => removeAt(at));
    return el("li", {}, shown(picture, at + 1), remove);
  });
  find("pictures").replaceChildren(...items);
  find("pictures").hidden = !items.length;
}

function removeAt(at) {
  const [gone] = pictures.splice(at, 1);
  drawPictures();
  const buttons = find("pictures").querySelectorAll("button");
  (buttons[Math.min(at, buttons.length - 1)] ?? find("pick")).focus();
  announce("picture_removed", { name: called(gone), all: pictures.length });
}

function fill(question) {
  field().value = question.text;
  pictures = [...question.pictures];
  drawPictures();
  find("editing").hidden = !editing;
  if (editing) put(find("editing-text"), "editing", { n: editing.index + 1 });
}

/** Put the focus into the field; not under a finger, where that lays a keyboard over the page. */
export function invite() {
  if (matchMedia("(pointer: fine)").matches) field().focus({ preventScroll: true });
}

/** Put a text into the field, to be changed or sent. */
export function suggest(text) {
  field().value = text;
  field().focus();
  field().setSelectionRange(text.length, text.length);
}

/** Take a question back into the field; what was being written there returns afterwards. */
export function edit(index, question) {
  const before = editing?.before ?? { text: field().value, pictures };
  editing = { index, before };
  fill(question);
  field().focus();
  announce("editing", { n: index + 1 });
}

function cancel() {
  const { index, before } = editing;
  editing = null;
  fill(before);
  (find(`edit-${index + 1}`) ?? field()).focus();
}

/** Another conversation is shown: nothing of the last one is being edited any more. */
export function reset() {
  if (!editing) return;
  const { before } = editing;
  editing = null;
  fill(before);
}

/** Show Send or Stop. The focus of the one that goes moves to the field. */
export function working(on) {
  const [going, coming] = on ? ["send", "stop"] : ["stop", "send"];
  if (document.activeElement === find(going)) field().focus();
  find(going).hidden = true;
  find(coming).hidden = false;
}
