"""What benchmarks share whose pictures lie in a folder per task, and whose answers do what was asked or not.

Layout of our own: <task>/any-name.jpg (or another format); where wanted, notes.json beside the folders tells
the judge what cannot be seen easily: {"meme/monday.jpg": "The dog is tired because it is Monday."}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from looksay.data.reading import Place, kind, load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Item
from looksay.evaluation.benchmarks._judging import verdicts_of, yes
from looksay.evaluation.measures import Measure, of_samples
from looksay.images import PHOTO_SUFFIXES
from looksay.types import Conversation

NOTES = "notes.json"
_VERDICT_TOKENS = 16


def items(folder: Path, requests: Mapping[str, str], max_tokens: int) -> list[Item]:
    """A request about every picture of every task, `requests` being task → words. `truth`: request, note.

    Raises InputError where a task has no picture, or a note belongs to none.
    """
    notes = _notes(folder / NOTES)
    found = []
    for task, request in requests.items():
        files = pictures(folder / task)
        for number, path in enumerate(files):
            name = f"{task}/{path.name}"
            image = Place(folder / task, number, len(files), {"id": name}).image(
                folder / task, path.name
            )
            truth = {"request": request, "note": notes.pop(name, "")}
            asked = Conversation.ask(image, request)
            found.append(Item(name, asked, truth, image=name, kind=task, max_tokens=max_tokens))
    if notes:
        raise InputError(f"{folder / NOTES}: there is no picture {next(iter(notes))!r}.")
    return found


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name. Raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Expected one with pictures.")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
    if not found:
        raise InputError(f"{folder} holds no picture.")
    return found


def _notes(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    found = load_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object from pictures to notes; found {kind(found)}.")
    return {name: str(note) for name, note in found.items()}


def judge(answers: Sequence[Answer]) -> list[Item]:
    """Whether the answer does what was asked, about this picture: the judge sees it. Wording of our own."""
    asked = []
    for answer in answers:
        truth = answer.item.truth
        note = f"What a person knows about the picture: {truth['note']}\n" if truth["note"] else ""
        words = (
            f"Somebody was shown this picture and asked: {truth['request']}\n{note}"
            f"The answer was:\n---\n{answer.text}\n---\n"
            "Does the answer do what was asked, and does it fit this picture? Only answer yes or no."
        )
        conversation = Conversation.ask(*answer.item.conversation.images, words)
        asked.append(Item(answer.item.id, conversation, max_tokens=_VERDICT_TOKENS))
    return asked


def score(answers: Sequence[Answer], verdicts: Sequence[Answer]) -> list[Measure]:
    """The share of answers that do what was asked (run adds the tasks)."""
    found = verdicts_of(answers, verdicts, yes)
    return [of_samples("done", {name: float(said) for name, said in found.items()})]
