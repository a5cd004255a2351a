"""ScienceQA: problems.json as released, with LLaVA's wording; the answer comes after the reasoning, or first.

One entry, by number: "1": {"question": "Which of these states is farthest north?", "choices": ["West
Virginia", "Louisiana"], "answer": 0, "hint": "", "image": "image.png", "lecture": "Maps have four ...",
"solution": "To find the answer, ...", "split": "train", "subject": "social science", "grade":
"grade2", ...}. Images lie in images/{split}/{number}/; pid_splits.json, where it is there, lists each
split in its order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from looksay.data.reading import Place, fingerprint, kind, load_json
from looksay.errors import InputError, UnknownName
from looksay.types import Conversation, Example, Image, Message

LETTERS = "ABCDE"
Order = Literal["LEA", "LEPA", "ALE", "A"]
"""What an answer consists of, in order: lecture, explanation, answer (LEPA: under headings). LLaVA
trained with the answer last; answer first cost it 1.2 points (LLaVA, section 5.2)."""
ORDERS: tuple[Order, ...] = ("LEA", "LEPA", "ALE", "A")
ABOUT = ("subject", "topic", "category", "skill", "grade", "task")


class ScienceQa:
    """The problems of one split."""

    def __init__(self, folder: Path, split: str, images: Path | None, order: Order) -> None:
        if order not in ORDERS:
            raise UnknownName("order of ScienceQA answers", order, ORDERS)
        path = folder / "problems.json" if folder.is_dir() else folder
        self._path, self._split, self._order = path, split, order
        self._images = path.parent / "images" if images is None else images
        content = load_json(path)
        if not isinstance(content, dict) or not content:
            raise InputError(f"{path}: expected problems by number; found {kind(content)}.")
        self._problems: dict[str, Any] = content
        self._numbers = self._of_split()
        self.size: int | None = len(self._numbers)
        also = (self._numbers, str(self._images), order)
        self.fingerprint = fingerprint(path, also=also)

    def example(self, index: int) -> Example:
        """Problem number `index` of the split. `truth`: choices, answer (its number), letter, and what
        the problem is about."""
        name = self._numbers[index]
        entry = self._problems[name]
        place = Place(self._path, index, len(self._numbers), {"id": name})
        question = place.words(entry, "question")
        choices = place.get(entry, "choices", list, "a list of texts")
        answer = place.get(entry, "answer", int, "the number of the right choice")
        if not 0 <= answer < len(choices) or len(choices) > len(LETTERS):
            place.fail(f"'answer' is {answer}, but there are {len(choices)} choices.")
        letter = LETTERS[answer]
        options = " ".join(f"({LETTERS[n]}) {choice}" for n, choice in enumerate(choices))
        hint = str(entry.get("hint") or "").strip() or "N/A"
        asked = f"{question}\nContext: {hint}\nOptions: {options}".replace("  ", " ").strip()
        parts: list[str | Image] = [asked]
        if entry.get("image"):
            file = place.words(entry, "image")
            split = str(entry.get("split", self._split))
            parts.append(
                place.image(self._images, f"{split}/{name}/{file}", f"{name}/{file}")
            )  # LLaVA's converter puts the image after the words
        truth = {key: entry[key] for key in ABOUT if key in entry}
        truth |= {"choices": choices, "answer": answer, "letter": letter}
        said = answered(
            letter, str(entry.get("lecture") or ""), str(entry.get("solution") or ""), self._order
        )
        turns = (Message("user", tuple(parts)), Message("assistant", (said,)))
        return Example(name, Conversation(turns), truth)

    def _of_split(self) -> list[str]:
        listed = self._path.with_name("pid_splits.json")
        if listed.is_file():
            splits = load_json(listed)
            if not isinstance(splits, dict) or not all(
                isinstance(v, list) for v in splits.values()
            ):
                raise InputError(f"{listed}: expected lists of problem numbers by split.")
            if self._split not in splits:
                raise UnknownName("ScienceQA split", self._split, splits)
            found = [str(number) for number in splits[self._split]]
            missing = [number for number in found if number not in self._problems]
            if missing:
                raise InputError(f"{listed}: problem {missing[0]!r} is not in {self._path}.")
            return found
        of = {
            name: entry.get("split") if isinstance(entry, dict) else None
            for name, entry in self._problems.items()
        }
        found = [name for name, split in of.items() if split == self._split]
        if not found:
            raise UnknownName("ScienceQA split", self._split, {str(s) for s in of.values() if s})
        return found


def answered(letter: str, lecture: str, solution: str, order: Order) -> str:
    """The answer's text (LLaVA's convert_sqa_to_llava_base_prompt.py, formats of the same names)."""
    lecture, solution = lecture.strip(), solution.strip()
    reasons = " ".join(text for text in (lecture, solution) if text)
    final = f"The answer is {letter}."
    if order == "LEPA":
        heads = [("LECTURE", lecture), ("SOLUTION", solution)]
        lines = [f"{head}: {text}" for head, text in heads if text]
        return "\n".join([*lines, "###", f"ANSWER: {letter}."])
    if order == "ALE":
        return f"{final} BECAUSE: {reasons}" if reasons else final
    return f"{reasons} {final}".strip() if order == "LEA" else final


def read(
    path: Path, split: str = "train", images: Path | None = None, order: Order = "LEA"
) -> ScienceQa:
    """The problems of a split, from the folder of problems.json (or that file itself).

    Text-only problems come too. `order`: "LEA" (reasoning, then answer), "LEPA" (the same under
    headings), "ALE" (answer first), "A" (answer alone).
    """
    return ScienceQa(path, split, images, order)
