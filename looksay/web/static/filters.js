/** Which texts are shown, and how far the review is. */

import { el, find } from "./dom.js";
import { call } from "./http.js";
import { put } from "./words.js";

const NAMES = ["state", "level", "model", "name"];
const KEY = "looksay-filters";

/** The filters as the server has them. */
export const wanted = () => JSON.parse(sessionStorage.getItem(KEY) ?? '{"state": "waiting"}');

export const filtered = () => {
  const { state, ...rest } = wanted();
  return state !== "waiting" || Object.values(rest).some(Boolean);
};

/** Wire the dialog; `changed()` when others are chosen. */
export function prepare(changed) {
  const dialog = find("filters");
  const use = (values) => {
    sessionStorage.setItem(KEY, JSON.stringify(values));
    changed();
  };
  find("open-filters").addEventListener("click", () => {
    const now = wanted();
    for (const name of NAMES) find(name).value = now[name] ?? "";
    dialog.showModal();
  });
  dialog.querySelector("form").addEventListener("submit", () => {
    use(Object.fromEntries(NAMES.map((name) => [name, find(name).value])));
  });
  find("clear-filters").addEventListener("click", () => {
    dialog.close();
    use({ state: "waiting" });
  });
}

/** Ask how far the review is, and draw it; returns what the server says. */
export async function progress(who) {
  const found = await (await call(`api/progress?${new URLSearchParams({ name: who })}`)).json();
  const count = (test) => found.counts.filter(test).reduce((sum, { n }) => sum + n, 0);
  const [waiting, decided] = ["waiting", "decided"].map((state) => count((one) => one.state === state));
  const levels = Object.fromEntries(
    ["high", "medium", "low"].map((level) => [level, count((one) => one.state === "waiting" && one.level === level)]),
  );
  find("done").max = Math.max(1, waiting + decided);
  find("done").value = decided;
  const words = [put(el("span"), "figures", { decided, waiting, ...levels })];
  const { decisions, seconds } = found.pace;
  if (decisions > 4 && waiting) {
    const minutes = Math.max(1, Math.round((waiting * seconds) / 60));
    const left = minutes < 120 ? ["minutes", { n: minutes }] : ["hours", { n: Math.round(minutes / 60) }];
    words.push(put(el("span"), "pace", { seconds: seconds.toFixed(1), left }));
  }
  if (found.stale) words.push(put(el("span"), "stale", { n: found.stale }));
  if (filtered()) words.push(put(el("strong"), "filtered"));
  find("figures").replaceChildren(...words.flatMap((word) => [word, " "]));
  const models = [...new Set(found.counts.map(({ model }) => model).filter(Boolean))].sort();
  const chosen = find("model").value;
  find("model").replaceChildren(
    put(el("option", { value: "" }), "all"),
    ...models.map((model) => el("option", { value: model }, model)),
  );
  find("model").value = models.includes(chosen) ? chosen : "";
  return { ...found, waiting, decided, any: count(() => true) };
}

/** What to say where there is nothing to show: [key, values]. */
export function nothing({ any, waiting, stale }) {
  if (stale) return ["nothing_yet"];
  if (filtered()) return ["nothing_filtered"];
  if (!any) return ["nothing_empty"];
  return waiting ? ["nothing_held", { n: waiting }] : ["nothing_done"];
}
