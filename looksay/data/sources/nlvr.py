"""NLVR: sentences that people wrote about drawn pictures of three boxes; is one true of a picture?

One line of dev.json (JSON Lines in spite of its name): {"sentence": "There is a tower with four blocks.",
"label": "true", "identifier": "3125-1", "directory": "2", "evals": {…}, "structured_rep": [[…], […], […]]};
its six pictures, the boxes in every order, are images/2/dev-3125-1-0.png to dev-3125-1-5.png beside the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from looksay.data.reading import Place, entries, fingerprint, load_json
from looksay.types import Conversation, Example, Image, Message

ORDERS = 6
"""Pictures of one line: the three boxes in every order."""
WORDS = ("true", "false")
KEYS = frozenset({"sentence", "label", "identifier", "directory"})
"""What every line has; NLVR2's, about pairs of photographs, have no directory."""


class Nlvr:
    """Every picture of a file with its sentence, six examples to a line."""

    def __init__(self, path: Path, images: Path | None, split: str) -> None:
        self._path, self._split = path, split or path.stem
        self._images = path.parent / "images" if images is None else images
        self._rows = entries(path, load_json(path, lines=True))
        seen: set[str] = set()
        for number, row in enumerate(self._rows):
            place = self._place(number)
            place.once(place.words(row, "identifier"), seen, "identifier")
        self.size: int | None = ORDERS * len(self._rows)
        self.fingerprint = fingerprint(path, also=(str(self._images), self._split))

    def example(self, index: int) -> Example:
        """Picture number `index`. `truth`: answer (whether the sentence is true of it), about (what the four
        lines of one sentence share)."""
        number, order = divmod(index, ORDERS)
        row, place = self._rows[number], self._place(number)
        name = place.words(row, "identifier")
        about, dash, position = name.partition("-")
        if not dash or not position:
            place.fail("'identifier' should be two numbers, as in '3125-1'.")
        label = place.one_of(row, "label", WORDS)
        sentence = place.words(row, "sentence")
        picture = f"{self._split}-{name}-{order}"
        image = place.image(self._images, f"{place.words(row, 'directory')}/{picture}.png")
        turns = (*asked([image], sentence).messages, Message("assistant", (label,)))
        truth = {"answer": label == "true", "about": f"{self._split}-{about}"}
        return Example(picture, Conversation(turns), truth)

    def _place(self, number: int) -> Place:
        return Place(self._path, number, len(self._rows), self._rows[number], "identifier")


def asked(pictures: Sequence[Image], sentence: str) -> Conversation:
    """Whether a sentence is true of a picture, or of two. The wording is ours: the papers train classifiers."""
    what = "picture" if len(pictures) == 1 else "pair of pictures, the left one first"
    words = " or ".join(WORDS)
    return Conversation.ask(
        *pictures,
        f'Is this sentence {words} of the {what}?\n"{sentence}"\nAnswer with {words}.',
    )


def read(path: Path, images: Path | None = None, split: str = "") -> Nlvr:
    """The pictures of `path` with their sentences. `images` holds the numbered folders (images/ beside the
    file, where none is given); `split` begins the pictures' names (the file's own, where none is given)."""
    return Nlvr(path, images, split)
