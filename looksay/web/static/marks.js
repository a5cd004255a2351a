/** Texts in pieces: what a text claims and how well that is supported, and how two texts differ word by word. */

const WORST = ["rejected", "contested", "unchecked", "supported"];
const MOST_WORDS = 400;
/** Longer texts are not compared word by word: the table would have a field for every pair of words. */

/** [[piece, verdict], …] of a text by its claims; "" where it claims nothing, of several verdicts the worst. The pieces
 * joined are the text. Spans count characters as Python does, whole code points. */
export function marked(text, claims) {
  const letters = [...text];
  const verdicts = letters.map(() => "");
  for (const { spans, verdict } of claims ?? []) {
    for (const [start, end] of spans) {
      for (let at = Math.max(0, start); at < Math.min(end, letters.length); at += 1) {
        const rank = WORST.indexOf(verdict);
        if (!verdicts[at] || rank < WORST.indexOf(verdicts[at])) verdicts[at] = verdict;
      }
    }
  }
  return grouped(letters, verdicts, "");
}

/** [[piece, "same" | "old" | "new"], …]: "old" stands only in `before`, "new" only in `after`; "same" and "new" joined by
 * spaces are the words of `after`, "same" and "old" those of `before` (a longest common subsequence). */
export function differences(before, after) {
  const [a, b] = [before, after].map((text) => text.split(/\s+/).filter(Boolean));
  if (Math.max(a.length, b.length) > MOST_WORDS) {
    return before === after ? [[after, "same"]] : [[before, "old"], [after, "new"]].filter(([piece]) => piece);
  }
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const words = [];
  const kinds = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const same = i < a.length && j < b.length && a[i] === b[j];
    const old = i < a.length && (j === b.length || longest[i + 1][j] >= longest[i][j + 1]);
    kinds.push(same ? "same" : old ? "old" : "new");
    words.push(same || old ? a[i] : b[j]);
    if (same || old) i += 1;
    if (same || !old) j += 1;
  }
  return grouped(words, kinds, " ");
}

/** Neighbours of one kind as one piece. */
function grouped(parts, kinds, between) {
  const found = [];
  parts.forEach((part, at) => {
    if (found.length && found.at(-1)[1] === kinds[at]) found.at(-1)[0] += between + part;
    else found.push([part, kinds[at]]);
  });
  return found;
}
