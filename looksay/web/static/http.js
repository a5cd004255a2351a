/** Asking the server: its refusals, its key. Addresses are relative to the page, so that it also works behind a proxy's
 * prefix. */

/** A refusal: the server's own words, its status (0: it was not reached; "cut": it stopped half-way), and all that it
 * said (`found`, {} where that was no JSON). */
export class ServerError extends Error {
  constructor(message, status = 0, wait_s = null, found = {}) {
    super(message);
    Object.assign(this, { name: "ServerError", status, wait_s, found });
  }
}

/** What to do about an error, as words: [key, values]. */
export function advice({ status, wait_s }) {
  if (status === 0) return ["advice_network"];
  if (status === "cut") return ["advice_cut"];
  if (status === 429 && wait_s) return ["advice_429_after", { seconds: wait_s }];
  if ([401, 404, 413, 429, 503].includes(status)) return [`advice_${status}`];
  return [status >= 500 ? "advice_500" : "advice_400"];
}

/** The key lives as long as the tab. */
export const key = {
  read: () => sessionStorage.getItem("looksay-key"),
  write: (value) => sessionStorage.setItem("looksay-key", value),
};

/** Ask the server: a POST where there is a body; `keepalive` where it is to outlive the page. Raises ServerError. */
export async function call(path, { body, signal, keepalive = false } = {}) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (key.read()) headers.Authorization = `Bearer ${key.read()}`;
  const request = { method: body ? "POST" : "GET", headers, body: JSON.stringify(body), signal, keepalive };
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    throw signal?.aborted ? error : new ServerError("", 0);
  }
  if (response.ok) return response;
  const text = await response.text();
  const found = parsed(text);
  const own = found?.error?.message ?? (text.trimStart().startsWith("<") ? "" : text.slice(0, 300)); // a proxy's page of HTML is none
  throw new ServerError(String(own), response.status, Number(response.headers.get("Retry-After")), found ?? {});
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
