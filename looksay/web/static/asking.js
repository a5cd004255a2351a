/** Ask models, and write what they say into the conversation as it comes. */

import { chat } from "./api.js";
import { ServerError } from "./http.js";
import { messages, unanswered } from "./conversation.js";

/** Fill the answers of `columns` to question `index`, all at once; `changed(answer)` after every piece.
 *
 * `parameters` are the model's settings, in OpenAI's names, and "system". Never throws: an answer that fails says so.
 */
export async function answerAll(conversation, index, columns, parameters, signal, changed) {
  const { answers } = conversation.turns[index];
  for (const column of columns) answers[column] = unanswered(answers[column].model);
  const one = async (column) => {
    const answer = answers[column];
    const started = performance.now();
    try {
      await fill(answer, conversation, index, column, parameters, signal, changed);
      answer.state = "done";
    } catch (error) {
      answer.state = signal.aborted ? "stopped" : "failed";
      const { message, status = 500, wait_s } = error;
      if (answer.state === "failed") answer.error = { message, status, wait_s };
      if (!(error instanceof ServerError) && !signal.aborted) console.error(error);
    }
    answer.seconds = (performance.now() - started) / 1000;
    changed(answer);
  };
  await Promise.all(columns.map(one));
}

async function fill(answer, conversation, index, column, parameters, signal, changed) {
  const { system, ...rest } = parameters;
  const said = await messages(conversation, index, column, system);
  for await (const chunk of chat({ model: answer.model, messages: said, ...rest }, signal)) {
    const choice = chunk.choices?.[0];
    answer.text += choice?.delta?.content ?? "";
    answer.finish = choice?.finish_reason ?? answer.finish;
    answer.tokens = chunk.usage?.completion_tokens ?? answer.tokens;
    changed(answer);
  }
}
