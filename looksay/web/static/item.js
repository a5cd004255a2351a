/** One text under review, drawn: photo, page, words with their claims, what each model said. What models and pages say goes
 * into text nodes only. */

import { button, el, find } from "./dom.js";
import { call } from "./http.js";
import { differences, marked } from "./marks.js";
import { put, say } from "./words.js";

const SIGNS = { high: "▲", medium: "◆", low: "●" };
const KEPT = 12; // pictures that are not asked for again
const pictures = new Map(); // address -> promise of an object URL

export const key = ({ page, path, occurrence }) => JSON.stringify([page, path, occurrence]);
export const place = ({ page, path, occurrence }) => ({ page, path, occurrence });
export const title = ({ page, path }) =>
  page ? ["title_on", { name: path, page }] : ["title_of", { name: path }];

/** The object URL of a thumbnail. (Asked for by script, because an <img> cannot show the server's key.) */
export function picture(photo, size) {
  const address = `api/thumbnail/${photo}/${size}`;
  if (!pictures.has(address)) {
    const made = call(address).then(async (answer) => URL.createObjectURL(await answer.blob()));
    made.catch(() => pictures.delete(address));
    pictures.set(address, made);
    for (const [old, promise] of [...pictures].slice(0, -KEPT * 2)) {
      pictures.delete(old);
      promise.then(URL.revokeObjectURL, () => {});
    }
  }
  return pictures.get(address);
}

/** Draw an item with the words `shown` (its own, or those of a candidate). `take(words)` is called for another's. */
export function draw(item, shown, take) {
  put(find("title"), ...title(item));
  document.title = `${say(...title(item))} – looksay`;
  drawPhoto(item);
  drawContext(item);
  drawRisk(shown.risk);
  drawDecided(item.decided);
  drawText(shown);
  drawClaims(shown.claims);
  drawCandidates(item, shown, take);
  const others = item.group.length;
  find("group-line").hidden = !others;
  if (others) put(find("group-words"), "group_words", { n: others });
}

function drawPhoto(item) {
  const image = find("photo");
  const trouble = find("no-photo");
  put(image, "photo_alt", { name: item.path }, "sayAlt");
  image.hidden = true;
  trouble.hidden = !item.gone;
  if (item.gone) put(trouble, "photo_gone", { name: item.path });
  const wanted = key(item);
  image.dataset.of = wanted;
  picture(item.photo, "large").then(
    (address) => {
      if (image.dataset.of !== wanted) return;
      image.src = address;
      image.hidden = false;
    },
    (error) => {
      if (image.dataset.of !== wanted || item.gone) return;
      put(trouble, "photo_unread", { reason: error.message });
      trouble.hidden = false;
    },
  );
}

function drawContext(item) {
  const standing = item.standing ? { standing: item.standing } : {};
  const rows = Object.entries({ ...item.context, ...standing }).map(([name, text]) =>
    el("div", {}, put(el("dt"), `context_${name}`), el("dd", {}, text)),
  );
  find("context").replaceChildren(...rows);
}

function drawRisk(risk) {
  find("risk").hidden = !risk;
  if (!risk) return;
  const line = put(el("strong"), "risk_line", { level: [`level_${risk.level}`] });
  const sign = el("span", { className: "sign", ariaHidden: "true" }, SIGNS[risk.level]);
  const badge = el("p", { className: `badge ${risk.level}` }, sign, " ", line);
  const why = risk.why.map(([name, what]) => put(el("li"), `why_${name}`, { what }));
  if (!why.length) why.push(put(el("li"), "why_none"));
  find("risk").replaceChildren(badge, el("ul", { className: "why" }, ...why));
}

function drawDecided(decided) {
  find("decided").hidden = !decided;
  if (decided) put(find("decided"), `state_${decided.state}`, { who: decided.who, text: decided.text });
}

function drawText(shown) {
  const text = find("text");
  text.lang = shown.language;
  const pieces = marked(shown.text, shown.claims).map(([piece, verdict]) =>
    verdict ? el("span", { className: `claim ${verdict}` }, piece) : piece,
  );
  if (shown.decorative) pieces.push(put(el("em"), "proposes_decorative"));
  else if (!shown.text) pieces.push(put(el("em"), "no_words"));
  text.replaceChildren(...pieces);
  find("by").hidden = !shown.model;
  put(find("by"), "by_model", { model: shown.model });
  find("legend").hidden = !shown.claims?.length;
  find("longer").hidden = !shown.extended;
  find("extended").textContent = shown.extended;
  find("extended").lang = shown.language;
}

function drawClaims(claims) {
  find("claims").hidden = !claims?.length;
  find("claim-list").replaceChildren(...(claims ?? []).map(drawClaim));
}

function drawClaim({ words, verdict, support, spans, evidence }) {
  const head = el("p", {}, put(el("span", { className: `verdict ${verdict}` }), `verdict_${verdict}`), " ", words);
  if (!spans.length) head.append(" ", put(el("span", { className: "quiet" }), "left_out"));
  if (support !== null) {
    head.append(" ", put(el("span", { className: "quiet" }), "support", { n: Math.round(100 * support) }));
  }
  const told = evidence.map(({ source, how, support: by, detail }) =>
    put(el("li"), `how_${how}`, { source, detail: detail || `${Math.round(100 * by)} %` }),
  );
  return el("li", {}, head, el("ul", { className: "quiet" }, ...told));
}

function drawCandidates(item, shown, take) {
  find("candidates").hidden = item.candidates.length < 2 && shown.generation === item.candidates[0]?.generation;
  const rows = item.candidates.map((one, at) => {
    const heading = put(el("h4"), "candidate_title", { n: at + 1, model: one.model });
    const body = el("p", { className: "text", lang: one.language });
    const row = el("li", {}, heading, body);
    if (one.generation === shown.generation) {
      put(body, "candidate_shown");
      return row;
    }
    body.replaceChildren(...compared(shown.text, one));
    if (one.risk) {
      heading.append(" ", put(el("span", { className: `badge ${one.risk.level}` }), "risk_line", { level: [`level_${one.risk.level}`] }));
    }
    row.append(button("take", ["take_named", { model: one.model }], () => take(one)));
    return row;
  });
  find("candidate-list").replaceChildren(...rows);
}

/** The words of a candidate beside those shown. */
function compared(text, one) {
  if (one.decorative) return [put(el("em"), "proposes_decorative")];
  if (one.text === text) return [put(el("em"), "candidate_same")];
  return differences(text, one.text).flatMap(([piece, kind]) => {
    if (kind === "same") return [piece, " "];
    const unseen = (key) => el("span", { className: "unseen" }, ` [${say(key, { text: "" }).trim()} `);
    const tag = el(kind === "old" ? "del" : "ins", {}, unseen(`only_${kind}`), piece, el("span", { className: "unseen" }, "] "));
    return [tag, " "];
  });
}
