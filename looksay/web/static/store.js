/** Conversations and their pictures, kept in this browser (IndexedDB).
 *
 * "conversations" holds {id, title, updated, turns}, small enough to be written at every change; the bytes of the
 * pictures lie in "pictures" {id, conversation, blob} and are written once.
 */

let opened;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("looksay", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("conversations", { keyPath: "id" });
      const pictures = request.result.createObjectStore("pictures", { keyPath: "id" });
      pictures.createIndex("conversation", "conversation");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Run `work(conversations, pictures)` in one transaction; the result of the request that it returns. */
async function transaction(mode, work) {
  const base = await database();
  return new Promise((resolve, reject) => {
    const running = base.transaction(["conversations", "pictures"], mode);
    const request = work(running.objectStore("conversations"), running.objectStore("pictures"));
    running.oncomplete = () => resolve(request?.result);
    running.onabort = () => reject(running.error);
  });
}

/** All conversations without the bytes of their pictures, the latest first. */
export async function list() {
  const found = await transaction("readonly", (conversations) => conversations.getAll());
  return found.sort((one, other) => other.updated - one.updated);
}

/** A conversation with its pictures, or undefined. */
export async function load(id) {
  const found = await transaction("readonly", (conversations) => conversations.get(id));
  if (!found) return undefined;
  const kept = await transaction("readonly", (_, pictures) => pictures.index("conversation").getAll(id));
  const blobs = new Map(kept.map((picture) => [picture.id, picture.blob]));
  for (const { question, answers } of found.turns) {
    for (const picture of question.pictures) picture.blob = blobs.get(picture.id);
    for (const answer of answers) {
      if (answer.state === "writing") answer.state = "stopped"; // the page was closed meanwhile
    }
  }
  return found;
}

/** Keep a conversation as it is now; pictures that it no longer shows are forgotten. */
export async function save(conversation) {
  if (conversation.deleted) return;
  const shown = conversation.turns.flatMap((turn) => turn.question.pictures);
  const light = JSON.parse(JSON.stringify(conversation, (key, value) => (key === "blob" ? undefined : value)));
  await transaction("readwrite", (conversations, pictures) => {
    conversations.put(light);
    const kept = pictures.index("conversation").getAllKeys(conversation.id);
    kept.onsuccess = () => {
      const ids = new Set(shown.map((picture) => picture.id));
      for (const id of kept.result) if (!ids.delete(id)) pictures.delete(id);
      for (const { id, blob } of shown) {
        if (ids.has(id)) pictures.put({ id, conversation: conversation.id, blob });
      }
    };
  });
}

export async function remove(conversation) {
  conversation.deleted = true;
  await transaction("readwrite", (conversations, pictures) => {
    conversations.delete(conversation.id);
    const kept = pictures.index("conversation").getAllKeys(conversation.id);
    kept.onsuccess = () => kept.result.forEach((id) => pictures.delete(id));
  });
}
