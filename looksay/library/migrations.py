"""The catalogue's schema, as steps. A step never changes once it has been released; a new one is added.

The photographed world and what was said about it are kept apart: `photo`, `place`, `page` and
`placement` are what the last scan saw and can be made again, and so can `embedding`; `generation`,
`decision`, `written` and `change` are history, only ever appended to (undo marks a change as undone; it
deletes nothing).
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

STEPS: tuple[str, ...] = (_FIRST, _EMBEDDINGS)
"""SQL that takes a catalogue from version n to n + 1, one statement a line or block."""
