/** The server's endpoints, as the chat page asks them. */

import { call, ServerError } from "./http.js";
import { events } from "./sse.js";

export const models = async () => (await (await call("v1/models")).json()).data;

export const explain = async (body, signal) =>
  (await call("api/explain", { body, signal })).json();

/** Yields the chunks of an answer, as OpenAI's streams send them. */
export async function* chat(request, signal) {
  const body = { ...request, stream: true, stream_options: { include_usage: true } };
  const response = await call("v1/chat/completions", { body, signal });
  let finished = false;
  try {
    for await (const data of events(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ServerError(chunk.error.message, Number(chunk.error.code) || 500);
      finished ||= Boolean(chunk.choices?.[0]?.finish_reason);
      yield chunk;
    }
  } catch (error) {
    if (signal?.aborted || error instanceof ServerError) throw error;
  }
  if (!finished) throw new ServerError("", "cut");
}
