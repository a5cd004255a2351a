/** Server-sent events, read from a response body: https://html.spec.whatwg.org/multipage/server-sent-events.html */

/** Yields the data of each event, whatever pieces the bytes come in. An event without its blank line is not one. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      // A carriage return at the very end may be half of "\r\n": it waits for the next piece.
      for (let end; (end = /\r\n|\n|\r(?!$)/.exec(rest)); ) {
        const line = rest.slice(0, end.index);
        rest = rest.slice(end.index + end[0].length);
        if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        } else if (/^data(:|$)/.test(line)) {
          data.push(line.slice(5).replace(/^ /, ""));
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
