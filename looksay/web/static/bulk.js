/** Many texts accepted at once: all that wait below a risk, after a look at some of them. */

import { el, find, memory } from "./dom.js";
import { call } from "./http.js";
import { picture, title } from "./item.js";
import { send, taken, token } from "./rulings.js";
import { put } from "./words.js";

/** Wire the dialog. `wanted()` are the filters, `who()` the reviewer, `done(count)` is called when all are accepted and
 * `failed(error)` where it broke off (what was accepted stays so). */
export function prepare({ wanted, who, done, failed }) {
  let count = 0;
  const below = find("below");
  const query = () => ({ ...wanted(), state: "waiting", below: Number(below.value) / 100 });

  async function look() {
    find("bulk-accept").disabled = true;
    if (!below.checkValidity()) return;
    try {
      const found = await (await call(`api/sample?${new URLSearchParams(query())}`)).json();
      count = found.count;
      const shown = found.items.length;
      put(find("bulk-found"), count ? "bulk_found" : "bulk_none", { n: count, shown });
      find("sample").replaceChildren(...found.items.map(drawn));
      put(find("bulk-accept"), "bulk_accept", { n: count });
      find("bulk-accept").disabled = !count;
    } catch (error) {
      find("bulk").close();
      failed(error);
    }
  }

  async function accept() {
    find("bulk-accept").disabled = true;
    const body = { ...query(), token: token(), who: who() };
    let accepted = 0;
    try {
      for (let left = 1; left; ) {
        const answer = await send("accept", body);
        if (!accepted && answer.accepted) taken.push({ token: body.token, place: null });
        accepted += answer.accepted;
        left = answer.left;
        put(find("bulk-found"), "bulk_going", { n: accepted });
      }
      find("bulk").close();
      done(accepted);
    } catch (error) {
      find("bulk").close();
      failed(error);
    }
  }

  find("open-bulk").addEventListener("click", () => {
    below.value = memory.read("below", 20);
    find("bulk").showModal();
    look();
  });
  below.addEventListener("change", () => {
    if (below.checkValidity()) memory.write("below", Number(below.value));
    look();
  });
  find("bulk").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    look();
  });
  find("bulk-accept").addEventListener("click", accept);
}

function drawn(item) {
  const image = el("img", { alt: "" });
  picture(item.photo, "small").then((address) => (image.src = address), () => image.remove());
  const name = put(el("strong"), ...title(item));
  const words = el("p", { className: "text", lang: item.words.language }, item.words.text);
  if (item.words.decorative) put(words, "proposes_decorative");
  const level = put(el("span", { className: `badge ${item.words.risk?.level}` }), "risk_line", {
    level: [`level_${item.words.risk?.level ?? "low"}`],
  });
  return el("li", {}, image, el("div", {}, name, " ", level, words));
}
