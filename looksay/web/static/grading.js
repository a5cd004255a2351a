/** The grading page: one photo, one text, the criteria; the next one as soon as the server has the grade. */

import { prepare } from "./choices.js";
import { announce, find, memory, notice } from "./dom.js";
import { call } from "./http.js";
import { put, say } from "./words.js";

const COUNTS = ["objects", "named", "hallucinations"];
const TICKS = ["mood", "purpose", "repetition", "grammar"];
const form = find("grade");
let shown = null; // what the server said last
let token = ""; // of the grade to come: sent again after a fault, it is still one grade

const rater = () => find("rater").value.trim();

async function ask(path, body) {
  try {
    const found = await (await call(path, { body })).json();
    notice("");
    return found;
  } catch (error) {
    notice(error.message ? "refused" : "unreachable", { message: error.message });
    return null;
  }
}

function draw(found) {
  shown = found;
  token = crypto.randomUUID();
  const { text, done, total, gone } = found;
  find("who").hidden = true;
  find("work").hidden = !text;
  find("done").hidden = Boolean(text);
  put(find("progress"), "progress", { done, total });
  Object.assign(find("bar"), { max: Math.max(1, total), value: done });
  find("gone").hidden = !gone;
  if (gone) put(find("gone"), "gone", { gone });
  if (!text) {
    put(find("done-text"), total ? "done_text" : "nothing");
    find("again").hidden = found.before === null;
    find("done-title").focus();
    announce("done_title");
    return;
  }
  put(find("photo"), "photo", {}, "sayAlt");
  find("photo").src = text.photo;
  find("around").hidden = !text.around;
  if (text.around) put(find("around"), "around", { words: text.around });
  find("link").hidden = !text.link;
  find("text").lang = text.language;
  if (text.decorative) put(find("text"), "decorative");
  else {
    delete find("text").dataset.say;
    find("text").textContent = text.words;
  }
  fill(text.grade);
  find("back").hidden = found.before === null;
  form.querySelector("input:checked").focus(); // of a group only the chosen one is on the way of Tab
  announce("announced", { done, total, words: text.decorative ? ["decorative"] : text.words });
}

/** Set the form to a grade that was given, or to a new one: three objects, nothing else said. */
function fill(grade) {
  form.reset();
  clear();
  form.elements.objects.value = String(grade?.objects ?? 3);
  if (grade) form.elements.named.value = String(grade.named);
  form.elements.hallucinations.value = grade?.hallucinations ?? 0;
  for (const name of TICKS) form.elements[name].checked = grade?.[name] ?? name === "purpose";
}

function read() {
  const grade = {};
  for (const name of COUNTS) grade[name] = Number(form.elements[name].value);
  for (const name of TICKS) grade[name] = form.elements[name].checked;
  return grade;
}

/** Say beside a count what is wrong with it, have it read, and go there. */
function complain(name, key) {
  const words = find(`${name}-wrong`);
  words.closest("fieldset").setAttribute("aria-describedby", words.id);
  words.hidden = false;
  put(words, key);
  announce(key);
  form.querySelector(`[name=${name}]`).focus();
}

/** Nothing is wrong any more, or it is another text. */
function clear() {
  for (const words of form.querySelectorAll(".failure")) {
    words.hidden = true;
    words.closest("fieldset").removeAttribute("aria-describedby");
  }
}

async function next(id = null) {
  const found = await ask(`api/grading/next?${new URLSearchParams({ rater: rater(), ...(id === null ? {} : { id }) })}`);
  if (found) draw(found);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear();
  const missing = COUNTS.find((name) => form.querySelector(`[name=${name}]:invalid`));
  if (missing) return complain(missing, `missing_${missing}`);
  const grade = read();
  if (grade.named > grade.objects) return complain("named", "too_many");
  find("save").disabled = true;
  const found = await ask("api/grading/grade", { rater: rater(), id: shown.text.id, token, grade });
  find("save").disabled = false;
  if (found) draw(found);
});
form.addEventListener("input", clear);
for (const name of ["back", "again"]) find(name).addEventListener("click", () => next(shown.before));

find("photo").addEventListener("error", () => notice("no_photo"));
find("who").addEventListener("submit", (event) => {
  event.preventDefault();
  memory.write("rater", rater());
  next();
});

prepare(() => {
  if (shown?.text) find("photo").alt = say("photo");
});
find("rater").value = memory.read("rater", "") || ((await ask("api/grading"))?.rater ?? "");
find("rater").focus();
