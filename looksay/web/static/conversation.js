/** A conversation: turns of one question and one answer per model that was asked.
 *
 * {id, title, updated, turns: [{question: {text, pictures: [{id, name, width, height, blob}]},
 *   answers: [{model, state: "writing" | "done" | "stopped" | "failed", text, finish, tokens, seconds, error}]}]}
 */

import { alt, dataUrl } from "./pictures.js";
import { say } from "./words.js";

const TITLE = 60;

export function create() {
  const id = `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
  return { id, title: "", updated: Date.now(), turns: [] };
}

/** Put a question at place `index`; what stood there and after it goes. Every model's answer is still to come. */
export function ask(conversation, index, question, models) {
  conversation.turns.splice(index);
  conversation.turns.push({ question, answers: models.map(unanswered) });
  if (index === 0) conversation.title = shortened(question.text.split("\n")[0], TITLE);
  conversation.updated = Date.now();
}

export const unanswered = (model) => ({ model, state: "writing", text: "" });

export function shortened(text, length) {
  const letters = [...text];
  return letters.length <= length ? text : `${letters.slice(0, length - 1).join("").trimEnd()}…`;
}

/** The messages up to question `index`, as the model of `column` saw and said them, in OpenAI's form.
 *
 * A question that was not answered joins the next one: two turns of the user in a row are no conversation.
 */
export async function messages(conversation, index, column, system = "") {
  const made = system ? [{ role: "system", content: system }] : [];
  for (const [at, turn] of conversation.turns.slice(0, index + 1).entries()) {
    const parts = await contents(turn.question);
    if (made.at(-1)?.role === "user") made.at(-1).content.push(...parts);
    else made.push({ role: "user", content: parts });
    const answer = turn.answers[column] ?? turn.answers[0];
    if (at < index && answer.text) made.push({ role: "assistant", content: answer.text });
  }
  return made;
}

async function contents({ text, pictures }) {
  const images = pictures.map(async ({ blob }) => ({
    type: "image_url",
    image_url: { url: await dataUrl(blob) },
  }));
  return [...(await Promise.all(images)), { type: "text", text }];
}

/** Everything as JSON: for each column the messages, which any OpenAI-compatible server takes as they are. */
export async function asJson(conversation, system) {
  const last = conversation.turns.length - 1;
  const columns = Math.max(...conversation.turns.map((turn) => turn.answers.length));
  const conversations = [];
  for (let column = 0; column < columns; column += 1) {
    const answer = conversation.turns[last].answers[column] ?? conversation.turns[last].answers[0];
    const said = await messages(conversation, last, column, system);
    if (answer.text) said.push({ role: "assistant", content: answer.text });
    conversations.push({ model: answer.model, messages: said });
  }
  const updated = new Date(conversation.updated).toISOString();
  return JSON.stringify({ title: conversation.title, updated, conversations }, null, 1);
}

/** Everything as Markdown, pictures within. What was said stays text: only fenced code is left as it is. */
export async function asMarkdown(conversation) {
  const lines = [`# ${plain(conversation.title)}`];
  for (const [at, { question, answers }] of conversation.turns.entries()) {
    lines.push(`## ${say("question_n", { n: at + 1 })}`);
    for (const [place, picture] of question.pictures.entries()) {
      const words = plain(say(...alt(picture, place + 1))).replace(/[[\]]/g, "\\$&");
      lines.push(`![${words}](${await dataUrl(picture.blob)})`);
    }
    lines.push(plain(question.text));
    for (const answer of answers) {
      lines.push(`### ${say("answer_of", { model: answer.model })}`);
      lines.push(answer.text ? plain(answer.text) : "–");
    }
  }
  return `${lines.join("\n\n")}\n`;
}

/** Text in which no "<" opens a tag, outside of fenced code. */
export function plain(text) {
  return fences(text)
    .map((piece) => (piece.code ? piece.whole : piece.text.replaceAll("<", "\\<")))
    .join("");
}

/** Text cut at its fences: [{code: false, text}, {code: true, language, text, whole}, …].
 *
 * A fence that is still open, as while an answer is being written, reaches to the end; `whole` closes it.
 */
export function fences(text) {
  const pieces = [];
  const fence = /^ {0,3}(`{3,}|~{3,})([^\n`]*)\n([\s\S]*?)(?:^ {0,3}(\1)[`~]*[ \t]*$\n?|(?![\s\S]))/gm;
  let from = 0;
  for (const found of text.matchAll(fence)) {
    if (found.index > from) pieces.push({ code: false, text: text.slice(from, found.index) });
    const [whole, mark, language, code, closed] = found;
    pieces.push({
      code: true,
      language: language.trim(),
      text: code.replace(/\n$/, ""),
      whole: closed ? whole : `${whole.replace(/\n$/, "")}\n${mark}`,
    });
    from = found.index + whole.length;
  }
  if (from < text.length) pieces.push({ code: false, text: text.slice(from) });
  return pieces;
}
