"""The catalogue's schema, as steps. A step never changes once it has been released; a new one is added.

The photographed world and what was said about it are kept apart: `photo`, `place`, `page` and
`placement` are what the last scan saw and can be made again, and so can `embedding`; `generation`,
`decision`, `assessment`, `comparison`, `trial`, `rating`, `written` and `change` are history, only ever appended to (undo
marks a change as undone; it deletes nothing). `queue` can be made again from all of them; `queue_stale` says of which
photos it must be.
"""

from __future__ import annotations

APPLICATION_ID = 0x6C6F6F6B  # "look"


_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- A picture, whatever files hold it. Example: (1, 'JPEG', 4032, 3024, 8112…, 1)
CREATE TABLE photo (
  id INTEGER PRIMARY KEY, format TEXT NOT NULL, width_px INTEGER NOT NULL, height_px INTEGER NOT NULL,
  dhash INTEGER,            -- 64 bits as a signed integer; NULL where the picture is too plain to tell
  lead_id INTEGER           -- the first photo of its near-duplicate group; NULL: none
);
CREATE INDEX photo_lead ON photo(lead_id) WHERE lead_id IS NOT NULL;
-- Several digests can be one photo: writing alt text into a file changes its bytes, not its picture.
CREATE TABLE digest (sha256 BLOB PRIMARY KEY, photo_id INTEGER NOT NULL REFERENCES photo(id)) WITHOUT ROWID;
CREATE TABLE band (number INTEGER, bits INTEGER, photo_id INTEGER, PRIMARY KEY (number, bits, photo_id)) WITHOUT ROWID;
CREATE TABLE place (
  path TEXT PRIMARY KEY, photo_id INTEGER REFERENCES photo(id), sha256 BLOB, size_bytes INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, fault TEXT,
  alt TEXT, extended TEXT, alt_from TEXT,       -- the photo's own text: 'embedded' or 'sidecar'
  sidecar TEXT, sidecar_mtime_ns INTEGER, sidecar_sha256 BLOB,
  shown INTEGER NOT NULL DEFAULT 0, gone INTEGER NOT NULL DEFAULT 0,
  state TEXT GENERATED ALWAYS AS (CASE WHEN fault IS NOT NULL THEN 'fault' WHEN alt IS NULL THEN 'missing'
    WHEN trim(alt) = '' THEN 'empty' ELSE 'text' END) STORED
) WITHOUT ROWID;
CREATE INDEX place_photo ON place(photo_id, gone);
CREATE INDEX place_state ON place(gone, shown, state);
CREATE INDEX place_fault ON place(path) WHERE fault IS NOT NULL;
CREATE TABLE page (
  path TEXT PRIMARY KEY, sha256 BLOB, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  encoding TEXT, title TEXT, fault TEXT
) WITHOUT ROWID;
-- One image shown on one page. `path` is the photo's, there or not; NULL for images on the network.
CREATE TABLE placement (
  page TEXT NOT NULL, number INTEGER NOT NULL, src TEXT NOT NULL, path TEXT, occurrence INTEGER NOT NULL,
  alt TEXT, state TEXT NOT NULL CHECK (state IN ('missing', 'empty', 'decorative', 'text', 'variable')),
  note TEXT, context TEXT NOT NULL, context_hash TEXT NOT NULL,
  PRIMARY KEY (page, number)
) WITHOUT ROWID;
CREATE INDEX placement_path ON placement(path, page);
CREATE INDEX placement_state ON placement(state);

CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT NOT NULL, fingerprint TEXT NOT NULL,
  draft INTEGER NOT NULL, UNIQUE (name, fingerprint));
CREATE TABLE prompt (hash TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE generation (
  id INTEGER PRIMARY KEY, photo_id INTEGER NOT NULL, model_id INTEGER NOT NULL, prompt_hash TEXT NOT NULL,
  settings_hash TEXT NOT NULL, language TEXT NOT NULL, context_hash TEXT NOT NULL, attempt INTEGER NOT NULL,
  raw TEXT NOT NULL, alt TEXT NOT NULL, extended TEXT NOT NULL, decorative INTEGER NOT NULL, notes TEXT NOT NULL,
  prompt_tokens INTEGER, completion_tokens INTEGER, cost_usd REAL NOT NULL, milliseconds INTEGER NOT NULL,
  details TEXT, at TEXT NOT NULL
);
CREATE UNIQUE INDEX generation_key ON generation
  (photo_id, model_id, prompt_hash, settings_hash, language, context_hash, attempt);
CREATE TABLE failure (id INTEGER PRIMARY KEY, photo_id INTEGER NOT NULL, model_id INTEGER NOT NULL,
  context_hash TEXT NOT NULL, error TEXT NOT NULL, at TEXT NOT NULL);
-- Sums that `status` needs at once, however many generations there are.
CREATE TABLE tally (model_id INTEGER, language TEXT, generations INTEGER NOT NULL, cost_usd REAL NOT NULL,
  milliseconds INTEGER NOT NULL, PRIMARY KEY (model_id, language)) WITHOUT ROWID;
CREATE TRIGGER generation_counted AFTER INSERT ON generation BEGIN
  INSERT INTO tally VALUES (new.model_id, new.language, 1, new.cost_usd, new.milliseconds)
  ON CONFLICT DO UPDATE SET generations = generations + 1, cost_usd = cost_usd + excluded.cost_usd,
    milliseconds = milliseconds + excluded.milliseconds;
END;
CREATE TRIGGER generation_kept BEFORE DELETE ON generation BEGIN SELECT RAISE(ABORT, 'generations are never deleted'); END;
CREATE TRIGGER generation_fixed BEFORE UPDATE ON generation BEGIN SELECT RAISE(ABORT, 'generations never change'); END;

-- What a person said. page '' is the photo itself; the newest row of a target counts.
CREATE TABLE decision (
  id INTEGER PRIMARY KEY, photo_id INTEGER NOT NULL, page TEXT NOT NULL, path TEXT NOT NULL,
  occurrence INTEGER NOT NULL, language TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('human', 'reviewed', 'decorative', 'rejected', 'cleared')),
  text TEXT NOT NULL, extended TEXT NOT NULL, generation_id INTEGER, who TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX decision_target ON decision(photo_id, page, path, occurrence, id);

CREATE TABLE apply (id INTEGER PRIMARY KEY, at TEXT NOT NULL, undone_at TEXT, ai INTEGER NOT NULL);
-- One file that an apply changed: bytes from `offset`, `before` replaced by `after_length` new ones.
CREATE TABLE change (
  id INTEGER PRIMARY KEY, apply_id INTEGER NOT NULL REFERENCES apply(id), path TEXT NOT NULL, kind TEXT NOT NULL,
  created INTEGER NOT NULL, before_sha256 BLOB, after_sha256 BLOB NOT NULL,
  offset INTEGER NOT NULL, before BLOB NOT NULL, after_length INTEGER NOT NULL, before_mtime_ns INTEGER,
  state TEXT NOT NULL CHECK (state IN ('prepared', 'done', 'undoing', 'undone'))
);
CREATE INDEX change_apply ON change(apply_id);
CREATE INDEX change_unsettled ON change(id) WHERE state IN ('prepared', 'undoing');
CREATE INDEX change_path ON change(path, id);
CREATE TABLE written (
  id INTEGER PRIMARY KEY, change_id INTEGER NOT NULL REFERENCES change(id), photo_id INTEGER NOT NULL,
  page TEXT NOT NULL, path TEXT NOT NULL, occurrence INTEGER NOT NULL,
  language TEXT NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL, generation_id INTEGER
);
CREATE INDEX written_target ON written(page, path, occurrence, id);
"""

_EMBEDDINGS = """
-- A dual encoder. `token` is part of the name of the file beside the catalogue that holds its vectors for searching.
-- Example: (1, '3c1f…-float32-1024px', 'hub:openai/clip-vit-base-patch32', 512, '9a41e07c')
CREATE TABLE encoder (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  width INTEGER NOT NULL, token TEXT NOT NULL);
-- Where a photo lies in an encoder's space: `width` little-endian float32 of length 1. The positions of an
-- encoder's vectors count from 0 without gaps. All of it can be made again from the photos.
CREATE TABLE embedding (
  encoder_id INTEGER NOT NULL REFERENCES encoder(id), position INTEGER NOT NULL,
  photo_id INTEGER NOT NULL REFERENCES photo(id), vector BLOB NOT NULL,
  UNIQUE (encoder_id, position), UNIQUE (encoder_id, photo_id)
);
"""

_TRUST = """
-- What is known about a generation's words: their claims with evidence, by one way of looking (`method` is the digest
-- of all that it depends on). Only ever appended to; the newest of a generation counts.
CREATE TABLE assessment (
  id INTEGER PRIMARY KEY, generation_id INTEGER NOT NULL REFERENCES generation(id), method TEXT NOT NULL,
  claims TEXT NOT NULL, features TEXT NOT NULL, at TEXT NOT NULL, UNIQUE (generation_id, method)
);
-- One comparison of models: `settings` says which, on which photos, how asked (JSON).
CREATE TABLE comparison (id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, at TEXT NOT NULL);
-- What a rater (a person or a judge) said of one text, or of two side by side. Only ever appended to; of one rater
-- and one text or pair the newest counts. `token` is the client's own: the same one sent twice is one rating.
CREATE TABLE rating (
  id INTEGER PRIMARY KEY, comparison_id INTEGER NOT NULL REFERENCES comparison(id), rater TEXT NOT NULL,
  generation_id INTEGER NOT NULL REFERENCES generation(id), other_id INTEGER REFERENCES generation(id),
  verdict TEXT NOT NULL, points REAL, token TEXT NOT NULL UNIQUE, at TEXT NOT NULL
);
CREATE INDEX rating_of ON rating(generation_id, other_id, rater, id);
-- What one of the compared (`entrant`, counted from 0) said to one photo (`place`, counted from 0) of a comparison, or
-- why it said nothing (`error`). Only ever appended to; the newest of an entrant and a place counts.
CREATE TABLE trial (
  id INTEGER PRIMARY KEY, comparison_id INTEGER NOT NULL REFERENCES comparison(id), entrant INTEGER NOT NULL,
  place INTEGER NOT NULL, generation_id INTEGER REFERENCES generation(id), error TEXT NOT NULL, memory_mb REAL,
  at TEXT NOT NULL
);
CREATE INDEX trial_place ON trial(comparison_id, entrant, place, id);
-- A decision can be taken back ('withdrawn': as if nobody had decided), is sent with a token of the client's own, so
-- that one sent twice is one, and may say how long it took.
CREATE TABLE decision_new (
  id INTEGER PRIMARY KEY, photo_id INTEGER NOT NULL, page TEXT NOT NULL, path TEXT NOT NULL,
  occurrence INTEGER NOT NULL, language TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('human', 'reviewed', 'decorative', 'rejected', 'cleared', 'withdrawn')),
  text TEXT NOT NULL, extended TEXT NOT NULL, generation_id INTEGER, who TEXT NOT NULL, at TEXT NOT NULL,
  token TEXT UNIQUE, seconds REAL
);
INSERT INTO decision_new (id, photo_id, page, path, occurrence, language, state, text, extended, generation_id, who, at)
  SELECT id, photo_id, page, path, occurrence, language, state, text, extended, generation_id, who, at FROM decision;
DROP TABLE decision;
ALTER TABLE decision_new RENAME TO decision;
CREATE INDEX decision_target ON decision(photo_id, page, path, occurrence, id);
-- What a person can review, so that a queue of 100,000 opens at once. All of it can be made again from the rest.
-- `state`: 'waiting' (a model's words that nobody decided on), 'decided' or 'wordless'; `risk` 0 to 1.
CREATE TABLE queue (
  page TEXT NOT NULL, path TEXT NOT NULL, occurrence INTEGER NOT NULL, language TEXT NOT NULL,
  photo_id INTEGER NOT NULL, lead_id INTEGER, state TEXT NOT NULL, words TEXT NOT NULL, model TEXT NOT NULL,
  generation_id INTEGER, risk REAL NOT NULL, level TEXT NOT NULL, PRIMARY KEY (page, path, occurrence)
) WITHOUT ROWID;
CREATE INDEX queue_risk ON queue(state, risk DESC, path, page, occurrence);
CREATE INDEX queue_level ON queue(state, level, model);
CREATE INDEX queue_photo ON queue(photo_id);
-- Photos whose rows in the queue are not those of today. (The triggers do not say OR IGNORE: what a statement says of
-- conflicts, an upsert for one, holds in its triggers as well.)
CREATE TABLE queue_stale (photo_id INTEGER PRIMARY KEY);
INSERT INTO queue_stale SELECT DISTINCT photo_id FROM place WHERE photo_id IS NOT NULL;
CREATE TRIGGER queue_generation AFTER INSERT ON generation BEGIN
  INSERT INTO queue_stale SELECT new.photo_id EXCEPT SELECT photo_id FROM queue_stale WHERE photo_id = new.photo_id;
END;
CREATE TRIGGER queue_decision AFTER INSERT ON decision WHEN new.photo_id > 0 BEGIN
  INSERT INTO queue_stale SELECT new.photo_id EXCEPT SELECT photo_id FROM queue_stale WHERE photo_id = new.photo_id;
END;
CREATE TRIGGER queue_assessment AFTER INSERT ON assessment BEGIN
  INSERT INTO queue_stale SELECT photo_id FROM generation WHERE id = new.generation_id
    AND NOT EXISTS (SELECT 1 FROM queue_stale s WHERE s.photo_id = generation.photo_id);
END;
CREATE TRIGGER queue_written AFTER INSERT ON written WHEN new.photo_id > 0 BEGIN
  INSERT INTO queue_stale SELECT new.photo_id EXCEPT SELECT photo_id FROM queue_stale WHERE photo_id = new.photo_id;
END;
CREATE TRIGGER queue_place AFTER INSERT ON place WHEN new.photo_id IS NOT NULL BEGIN
  INSERT INTO queue_stale SELECT new.photo_id EXCEPT SELECT photo_id FROM queue_stale WHERE photo_id = new.photo_id;
END;
CREATE TRIGGER queue_place_changed AFTER UPDATE ON place WHEN old.photo_id IS NOT new.photo_id OR old.gone != new.gone
  OR old.shown != new.shown OR old.alt IS NOT new.alt OR old.fault IS NOT new.fault BEGIN
  INSERT INTO queue_stale SELECT id FROM photo WHERE id IN (old.photo_id, new.photo_id)
    AND NOT EXISTS (SELECT 1 FROM queue_stale s WHERE s.photo_id = photo.id);
END;
CREATE TRIGGER queue_placement AFTER INSERT ON placement BEGIN
  INSERT INTO queue_stale SELECT photo_id FROM place WHERE path = new.path AND photo_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM queue_stale s WHERE s.photo_id = place.photo_id);
END;
CREATE TRIGGER queue_placement_gone AFTER DELETE ON placement BEGIN
  INSERT INTO queue_stale SELECT photo_id FROM place WHERE path = old.path AND photo_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM queue_stale s WHERE s.photo_id = place.photo_id);
END;
"""

STEPS: tuple[str, ...] = (_FIRST, _EMBEDDINGS, _TRUST)
"""SQL that takes a catalogue from version n to n + 1, one statement a line or block."""
