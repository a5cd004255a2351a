/** The chat page: which conversation is shown, what is being answered, and how the parts work together. */

import { answerAll } from "./asking.js";
import { askKey } from "./choices.js";
import * as composer from "./composer.js";
import { ask, asJson, asMarkdown, create } from "./conversation.js";
import { download, find, notice } from "./dom.js";
import * as looking from "./looking.js";
import * as settings from "./settings.js";
import * as sidebar from "./sidebar.js";
import * as store from "./store.js";
import * as view from "./view.js";
import { say } from "./words.js";

const SAVE_MS = 1000; // at most so often while an answer is being written

let current = create();
const answering = new Map(); // id of a conversation -> {conversation, stop: AbortController}

const busy = () => answering.has(current.id);
const stop = () => answering.get(current.id)?.stop.abort();

const actions = {
  edit: (index) => composer.edit(index, current.turns[index].question),
  retry: (index, column) => run(current, index, [column]),
  explain: (index, column) => looking.show(current, index, column, settings.parameters().system),
  explains: (answer, index) =>
    settings.said(answer.model).explains && current.turns.slice(0, index + 1).some(withPictures),
};

const withPictures = (turn) => turn.question.pictures.length > 0;

/** Draw everything that depends on the conversation shown. */
function draw() {
  const empty = !current.turns.length;
  find("title").textContent = view.title(current);
  document.title = empty ? "looksay" : `${current.title} – looksay`;
  find("ideas").hidden = !empty;
  find("exports").hidden = empty;
  view.draw(current, actions, busy());
  composer.working(busy());
}

async function drawList() {
  try {
    sidebar.draw(await store.list(), current, remove);
  } catch (error) {
    notice("unstored", { reason: error.message });
  }
}

async function save(conversation) {
  try {
    await store.save(conversation);
  } catch (error) {
    notice("unstored", { reason: error?.message ?? "" });
  }
}

/** Whether there is a model to ask. If not (no server, no key), the server is asked once more. */
function ready() {
  if (settings.models().length) return true;
  notice("no_models");
  settings.offer(draw);
  return false;
}

/** A question was sent: new, or in place of question `index`. */
function send(question, index) {
  const models = settings.models();
  const at = index ?? current.turns.length;
  ask(current, at, question, models);
  history.replaceState(null, "", sidebar.address(current));
  run(current, at, [...models.keys()]);
}

/** Have the answers of `columns` written; the page can show another conversation meanwhile. */
async function run(conversation, index, columns) {
  const job = { conversation, stop: new AbortController() };
  answering.set(conversation.id, job);
  find("question").focus();
  let saved = performance.now();
  const changed = (answer) => {
    follow(() => view.update(answer));
    if (answer.state !== "writing") view.tell(answer);
    else if (performance.now() - saved > SAVE_MS) {
      saved = performance.now();
      save(conversation);
    }
  };
  const done = answerAll(conversation, index, columns, settings.parameters(), job.stop.signal, changed);
  draw();
  document.documentElement.scrollTop = document.documentElement.scrollHeight;
  await save(conversation);
  drawList();
  await done;
  answering.delete(conversation.id);
  conversation.updated = Date.now();
  await save(conversation);
  if (conversation === current) follow(draw);
  drawList();
  // What a model can do is known for certain once it is loaded.
  if (settings.models().some((id) => settings.said(id).loaded === false)) settings.offer(draw);
  const refused = columns.filter((at) => conversation.turns[index].answers[at].error?.status === 401);
  if (refused.length) askKey(() => run(conversation, index, refused));
}

/** Do something that makes the page longer, and stay at its end if the reader is there. */
function follow(change) {
  const page = document.documentElement;
  const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
  change();
  if (atEnd) page.scrollTop = page.scrollHeight;
}

/** Show the conversation that the address names, or a new one. */
async function open() {
  const id = /^#c=(\w+)$/.exec(location.hash)?.[1];
  if (id === current.id) return;
  composer.reset();
  notice();
  try {
    current = (id && (answering.get(id)?.conversation ?? (await store.load(id)))) || create();
    if (id && current.id !== id) notice("gone");
  } catch (error) {
    current = create();
    notice("unstored", { reason: error.message });
  }
  draw();
  drawList();
}

async function remove(conversation) {
  const job = answering.get(conversation.id);
  job?.stop.abort();
  if (job) job.conversation.deleted = true;
  await store.remove(conversation);
  if (conversation.id === current.id) {
    history.replaceState(null, "", location.pathname);
    current = create();
    draw();
  }
  await drawList();
}

function prepare() {
  settings.prepare(() => {
    draw();
    drawList();
  });
  composer.prepare({ ready, busy, stop, send });
  sidebar.prepare();
  find("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address names the conversation
    find("question").focus();
  });
  find("new").addEventListener("click", async () => {
    history.pushState(null, "", location.pathname);
    await open();
    find("question").focus();
  });
  for (const idea of document.querySelectorAll("[data-idea]")) {
    idea.addEventListener("click", () => composer.suggest(say(idea.dataset.idea)));
  }
  const name = () => `looksay-${current.id}`;
  find("export-json").addEventListener("click", async () => {
    const text = await asJson(current, settings.parameters().system);
    download(`${name()}.json`, "application/json", text);
  });
  find("export-markdown").addEventListener("click", async () => {
    download(`${name()}.md`, "text/markdown", await asMarkdown(current));
  });
  addEventListener("hashchange", async () => {
    await open();
    find("title").focus();
  });
  // The field stands over the end of the page: what gets the focus must not lie behind it.
  new ResizeObserver(([entry]) => {
    document.documentElement.style.setProperty("--composer", `${entry.target.offsetHeight}px`);
  }).observe(find("composer"));
}

prepare();
await open();
if (document.activeElement === document.body) composer.invite();
await settings.offer(draw);
