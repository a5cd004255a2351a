/** What is chosen on the chat page: models and parameters. */

import * as api from "./api.js";
import * as choices from "./choices.js";
import { el, find, memory, notice } from "./dom.js";
import { advice } from "./http.js";
import { put } from "./words.js";

const FILE = /(: | \()docs\/[\w/.-]+\.md\)?/g; // notes name it for the command line: here nobody can open it
const DEFAULTS = { max_tokens: 300, temperature: 0, top_p: 1, seed: "", system: "" };
let known = [];

/** Wire the controls. `changed()` is called when the language is another. */
export function prepare(changed) {
  choices.prepare(changed);
  for (const select of [find("model"), find("second")]) {
    select.addEventListener("change", () => {
      memory.write(select.id, select.value);
      drawNotes();
    });
  }
  parameterFields();
}

function parameterFields() {
  const show = (values) => {
    for (const name of Object.keys(DEFAULTS)) find(name).value = values[name];
  };
  show({ ...DEFAULTS, ...memory.read("parameters", {}) });
  const form = find("settings").querySelector("form");
  const keep = () => {
    const names = Object.keys(DEFAULTS).filter((name) => find(name).checkValidity());
    const values = Object.fromEntries(names.map((name) => [name, find(name).value]));
    memory.write("parameters", { ...memory.read("parameters", {}), ...values });
  };
  form.addEventListener("change", (event) => event.target.reportValidity() && keep());
  form.addEventListener("submit", (event) => event.preventDefault());
  find("open-settings").addEventListener("click", () => find("settings").showModal());
  find("settings").addEventListener("close", () => show({ ...DEFAULTS, ...memory.read("parameters", {}) }));
  find("defaults").addEventListener("click", () => {
    show(DEFAULTS);
    keep();
  });
}

/** The parameters in OpenAI's names, and "system". */
export function parameters() {
  const kept = { ...DEFAULTS, ...memory.read("parameters", {}) };
  const { system, seed, ...numbers } = kept;
  const made = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)]));
  if (seed !== "") made.seed = Number(seed);
  return { ...made, system: system.trim() };
}

/** Ask the server what models it has, and offer them; `changed()` when they are there. */
export async function offer(changed) {
  try {
    known = (await api.models()).filter(({ looksay }) => !looksay?.embeds); // encoders do not talk
  } catch (error) {
    if (error.status === 401) return choices.askKey(() => offer(changed));
    return notice(...advice(error));
  }
  const before = [memory.read("model"), memory.read("second", "")];
  const options = () =>
    known.map(({ id, looksay }) => {
      const option = el("option", { value: id }, id);
      return looksay?.loaded === false ? put(option, "loads", { id }) : option;
    });
  find("model").replaceChildren(...options());
  find("second").replaceChildren(put(el("option", { value: "" }), "compare_none"), ...options());
  if (known.some(({ id }) => id === before[0])) find("model").value = before[0];
  if (known.some(({ id }) => id === before[1])) find("second").value = before[1];
  notice(known.length ? undefined : "no_models");
  drawNotes();
  changed();
}

function drawNotes() {
  const lines = models().flatMap((id) => {
    const { sees, note } = said(id);
    const made = [];
    if (note) made.push(["noted", { id, note: note.replace(FILE, "") }]);
    if (sees === false) made.push(["blind", { id }]);
    return made.map((words) => put(el("span"), ...words));
  });
  find("model-note").replaceChildren(...lines);
}

/** What the server says of a model besides its name; {} where it says nothing. */
export const said = (id) => known.find((model) => model.id === id)?.looksay ?? {};

/** The models to ask: one, or two to compare. */
export const models = () => [find("model").value, find("second").value].filter(Boolean);
