/** Pictures of a question: read from files, made small enough, shown. */

import { el } from "./dom.js";
import { put } from "./words.js";

const LONGEST_PX = 2048;
/** No model here reads more than that, and a phone's photo has 12 million pixels. */

const UNSHOWN = /\.(heic|heif|tiff?|jxl)$/i;
/** Formats that the server may read though the browser does not. */

/** {id, name, width, height, blob} of a file; null if it is no picture. `name` is "" for what was pasted. */
export async function read(file, pasted = false) {
  const name = pasted ? "" : file.name;
  const id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`; // randomUUID needs HTTPS or loopback
  const address = URL.createObjectURL(file);
  const image = new Image();
  try {
    image.src = address;
    await image.decode();
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const drawing = file.type === "image/svg+xml";
    if (!drawing && Math.max(width, height) <= LONGEST_PX) return { id, name, width, height, blob: file };
    return { id, name, ...(await redrawn(image, drawing ? "image/png" : "image/jpeg")) };
  } catch {
    const type = UNSHOWN.exec(file.name)?.[1].toLowerCase();
    if (!type) return null;
    return { id, name, width: 0, height: 0, blob: new Blob([file], { type: `image/${type}` }) };
  } finally {
    URL.revokeObjectURL(address);
  }
}

async function redrawn(image, type) {
  const largest = Math.max(image.naturalWidth, image.naturalHeight);
  const scale = Math.min(1, LONGEST_PX / largest);
  const width = Math.max(1, Math.round(image.naturalWidth * scale));
  const height = Math.max(1, Math.round(image.naturalHeight * scale));
  const canvas = el("canvas", { width, height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // JPEG knows no transparency and would show black
  pen.fillRect(0, 0, width, height);
  pen.drawImage(image, 0, 0, width, height);
  const blob = await new Promise((done) => canvas.toBlob(done, type, 0.92));
  return { width, height, blob };
}

export const called = (picture) => picture.name || ["pasted"];

/** The words for picture number `n` (from 1): [key, values]. */
export function alt(picture, n) {
  const { width, height } = picture;
  if (!width) return ["picture_alt_hidden", { n, name: called(picture) }];
  return ["picture_alt", { n, name: called(picture), width, height }];
}

const addresses = new WeakMap();

/** The picture as an element with its alt text; a box with the format's name where the browser cannot show it. */
export function shown(picture, n) {
  if (!picture.width) {
    const box = el("span", { className: "unshown" }, picture.blob.type.replace("image/", ""));
    box.setAttribute("role", "img");
    return put(box, ...alt(picture, n), "sayLabel");
  }
  if (!addresses.has(picture.blob)) addresses.set(picture.blob, URL.createObjectURL(picture.blob));
  return put(el("img", { src: addresses.get(picture.blob) }), ...alt(picture, n), "sayAlt");
}

/** The bytes as a data URL, the form in which OpenAI's messages carry them. */
export function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
