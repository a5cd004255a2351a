"""Whether a line that OCR read may be quoted: a reader that meets a script it does not know still
answers, so its word is taken only where nothing speaks against it.

Three things give a wrong reading away. The recogniser's own doubt. Letters of several alphabets in one
word, or an alphabet that the recogniser knows only in part. And letters left out: the recogniser stays
silent where it knows no letter ("Việt" comes back as "Vit", with full confidence), which shows as a gap
between two neighbouring letters.

Measured by `benchmarks/scripts.py` on 660 rendered country names in 22 languages: 7 quoted wrong (one
apostrophe, one missing ogonek, two Vietnamese, two Greek, one Georgian). Of 330 in eleven languages that
cannot be read 327 were left unquoted; of 330 in eleven that can, 296 were quoted right.
"""

from __future__ import annotations

import itertools
import statistics
import unicodedata
from collections.abc import Sequence

MIN_SCORE = 0.95
DOUBTFUL_LETTER = 0.8
"""A letter below this is doubtful; one in eight may be."""

READABLE = frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA"})
"""Scripts that the recogniser knows in full. Its Greek lacks the accented letters."""

LOOK_ALIKE = frozenset("ABCEHIJKMOPSTXYaceijmopsxy")
"""Latin letters whose shape is also a Cyrillic one: a word of these alone could be either."""

USUAL_STEP = 2.8
"""Steps from one "n" to the next in common typefaces: too few gaps say little about their own."""

_NARROW = frozenset("iíìîïıjlłI|!.,:;'’`·()[]/")
_SLIM = frozenset('frtť-"“”*')
_WIDE = frozenset("mwMW@%&Œœ—…")


def doubt(
    text: str, score: float, letters: Sequence[float] = (), columns: Sequence[Sequence[int]] = ()
) -> str:
    """Why `text` must not be quoted, or "" where it may be.

    `score` is the line's mean confidence (0..1) and `letters` that of each letter. `columns` holds, for
    each run of letters without a space, where the recogniser saw them (steps of 1/6 of the line height).
    """
    visible = [c for c in text if not c.isspace()]
    if not any(c.isalnum() for c in visible):
        return "no letters"
    if score < MIN_SCORE or sum(s < DOUBTFUL_LETTER for s in letters) > len(visible) // 8:
        return "unsure reading"
    if not _long_enough(visible):
        return "too short to be sure"
    if sum(c.isalnum() for c in visible) < 0.6 * len(visible):
        return "mostly signs"
    for word in text.split():
        scripts = {script(c) for c in word if c.isalpha()}
        if scripts - READABLE:
            return (
                f"a script that is not read well ({', '.join(sorted(scripts - READABLE)).lower()})"
            )
        if len(scripts) > 1 and "LATIN" in scripts:
            return "two scripts in one word"
    if columns and letters_missing("".join(visible), columns):
        return "letters left out"
    return ""


def script(letter: str) -> str:
    """The script that a letter belongs to, as its Unicode name starts: LATIN, CJK, HANGUL, CYRILLIC."""
    if letter in "々〆ー":
        return "CJK"
    name = unicodedata.name(letter, "UNKNOWN").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    return name.split()[0].split("-")[0]


def could_be_cyrillic(text: str) -> bool:
    """Whether every letter of `text` looks like a Cyrillic one too ("KACCA")."""
    letters = [c for c in text if c.isalpha()]
    return bool(letters) and all(c in LOOK_ALIKE for c in letters)


def letters_missing(letters: str, columns: Sequence[Sequence[int]]) -> bool:
    """Whether two neighbours in a run stand further apart than their widths explain."""
    gaps: list[tuple[float, float]] = []
    start = 0
    for run in columns:
        word = letters[start : start + len(run)]
        start += len(run)
        expected = [(width(a) + width(b)) / 2 for a, b in itertools.pairwise(word)]
        gaps += zip((b - a for a, b in itertools.pairwise(run)), expected, strict=False)
    if len(gaps) < 2:
        return False
    scale = statistics.median(gap / expected for gap, expected in gaps)
    if len(gaps) < 6:
        scale = min(scale, USUAL_STEP)
    return any(
        gap > 1.6 * scale * expected and gap - scale * expected >= 1.5 for gap, expected in gaps
    )


def width(letter: str) -> float:
    """Rough width of a letter, in widths of an "n"."""
    base = unicodedata.normalize("NFD", letter)[0]
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.8
    if base in _NARROW:
        return 0.5
    if base in _SLIM:
        return 0.7
    if base in _WIDE:
        return 1.5
    return 1.2 if base.isupper() else 1.0


def _long_enough(visible: Sequence[str]) -> bool:
    """Three letters or digits, or two Chinese characters: single strokes are too often an I or a 1."""
    solid = [c for c in visible if c.isalnum()]
    return len(solid) >= (2 if solid and script(solid[0]) in READABLE - {"LATIN"} else 3)
