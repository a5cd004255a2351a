/** The turns of a conversation, drawn. What a model said goes into text nodes only. */

import { fences, shortened } from "./conversation.js";
import { announce, button, copy, el, find } from "./dom.js";
import { advice } from "./http.js";
import { shown } from "./pictures.js";
import { put, say } from "./words.js";

const READ_OUT = 600;
/** Letters of an answer that are read out when it is finished; the rest is in the page. */

const drawn = new WeakMap(); // answer -> {body, foot, n, state}

/** Draw a conversation. `actions` are edit(index), retry(index, column), explain(index, column), explains(answer, index);
 * `busy` takes away what cannot be done while an answer is being written. */
export function draw(conversation, actions, busy) {
  const last = conversation.turns.length - 1;
  const turns = conversation.turns.map((turn, index) => {
    const n = index + 1;
    const heading = put(el("h3", { id: `question-${n}` }), "question_n", { n });
    const question = el("div", { className: "question" }, heading);
    if (turn.question.pictures.length) {
      const items = turn.question.pictures.map((picture, at) => el("li", {}, shown(picture, at + 1)));
      question.append(el("ul", { className: "pictures" }, ...items));
    }
    question.append(el("p", { className: "text", lang: guessed(turn.question.text) }, turn.question.text));
    if (!busy) {
      const edit = button("edit", ["edit_question", { n }], () => actions.edit(index));
      question.append(el("div", { className: "row" }, Object.assign(edit, { id: `edit-${n}` })));
    }
    const answers = turn.answers.map((answer, column) => {
      const act = {
        retry: !busy && index === last && (() => actions.retry(index, column)),
        explain: !busy && actions.explains(answer, index) && (() => actions.explain(index, column)),
      };
      return drawAnswer(answer, n, column, act);
    });
    const columns = el("div", { className: answers.length > 1 ? "answers two" : "answers" }, ...answers);
    const article = el("article", {}, question, columns);
    article.setAttribute("aria-labelledby", `question-${n}`);
    return article;
  });
  find("turns").replaceChildren(...turns);
}

function drawAnswer(answer, n, column, act) {
  const id = `answer-${n}-${column}`;
  const heading = put(el("h4", { id }), "answer_of", { model: answer.model });
  const body = el("div", { className: "text" });
  const foot = el("div", { className: "foot" });
  const group = el("div", { className: "answer" }, heading, body, foot);
  group.setAttribute("role", "group"); // no landmark: a long conversation would have too many
  group.setAttribute("aria-labelledby", id);
  drawn.set(answer, { body, foot, n, act });
  update(answer);
  return group;
}

/** Draw what has changed of an answer (nothing, if it is not on the page). */
export function update(answer) {
  const place = drawn.get(answer);
  if (!place) return;
  write(place.body, answer.text);
  place.body.setAttribute("aria-busy", answer.state === "writing");
  if (place.state !== answer.state) place.foot.replaceChildren(...foot(answer, place));
  place.state = answer.state;
}

/** Tell those who listen how an answer ended: once, when it has. */
export function tell(answer) {
  const { model, state, text } = answer;
  if (state === "stopped") announce("answer_stopped", { model });
  else if (state === "failed") announce("answer_failed", { model, text: [...advice(answer.error)] });
  else if (text.length > READ_OUT) announce("answer_done_long", { model, text: shortened(text, READ_OUT) });
  else announce("answer_done", { model, text: text || ["nothing"] });
}

function foot(answer, { n, act }) {
  const { model, state, text } = answer;
  if (state === "writing") return [put(el("p", { className: "quiet" }), "writing", { model })];
  const made = [];
  const line = (key, values, className = "quiet") => made.push(put(el("p", { className }), key, values));
  if (state === "failed") {
    const { message } = answer.error;
    const failure = el("div", { className: "failure" });
    if (message) failure.append(el("p", {}, message));
    failure.append(put(el("p"), ...advice(answer.error)));
    made.push(failure);
  }
  if (state === "stopped") line("stopped");
  if (answer.finish === "length") line("cut_off", { n: answer.tokens ?? "?" });
  if (answer.finish === "content_filter") line("filtered");
  if (state === "done" && !text) line("nothing");
  if (state === "done") {
    const seconds = (answer.seconds ?? 0).toFixed(1);
    line(answer.tokens === undefined ? "seconds" : "figures", { n: answer.tokens, seconds });
  }
  const row = el("div", { className: "row" });
  if (text) row.append(button("copy", ["copy_answer", { model, n }], () => copy(answer.text)));
  if (act.retry) row.append(button("retry", ["retry_answer", { model, n }], act.retry));
  if (text && act.explain) row.append(button("explain", ["explain_answer", { model, n }], act.explain));
  return [...made, row];
}

/** Write a text into a node: paragraphs keep their line breaks, fenced code becomes <pre>. Pieces that are there
 * already stay, so that an answer being written does not take the focus from a button in it. */
function write(node, text) {
  const pieces = fences(text);
  node.lang = guessed(text);
  pieces.forEach((piece, at) => {
    const old = node.children[at];
    const tag = piece.code ? "FIGURE" : "P";
    const now = old?.tagName === tag ? old : piece.code ? codeBlock() : el("p");
    if (now !== old) old ? old.replaceWith(now) : node.append(now);
    const target = piece.code ? now.querySelector("code") : now;
    const wanted = piece.code ? piece.text : piece.text.trim();
    if (target.textContent !== wanted) target.textContent = wanted;
    if (!piece.code) return;
    const pre = now.querySelector("pre");
    if (piece.language) put(pre, "code_in", { language: piece.language }, "sayLabel");
    else put(pre, "code", {}, "sayLabel");
  });
  while (node.children.length > pieces.length) node.lastElementChild.remove();
}

function codeBlock() {
  const code = el("code");
  const pre = el("pre", { tabIndex: 0, lang: "" }, code); // scrolls, so the keyboard must reach it
  pre.setAttribute("role", "group");
  return el("figure", {}, pre, button("copy_code", null, () => copy(code.textContent)));
}

/** The language of a text for the voice that reads it: Korean if much of it is Hangul, else unknown. */
function guessed(text) {
  const hangul = text.match(/\p{Script=Hangul}/gu)?.length ?? 0;
  const letters = text.match(/\p{Letter}/gu)?.length ?? 0;
  return hangul > letters / 3 ? "ko" : "";
}

export const title = (conversation) => conversation?.title || say("new");
