"""A talk about images: what was shown and said so far, what is shown next, and how it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from looksay import fetching
from looksay.errors import BackendError, InputError, PageError, UnreadablePhoto, plainly
from looksay.images import load_rgb
from looksay.library import files
from looksay.types import Completion, Conversation, Image, Message, Options

if TYPE_CHECKING:
    from looksay.backends.base import Backend, LoadOptions

CHECK_PX = 64
"""An image is decoded once, this small, so that a damaged one is told when it is shown."""
KEPT = {".md": "Markdown", ".json": "JSON"}


@dataclass(frozen=True, slots=True)
class Shown:
    """An image and the name under which the user knows it: a path or a URL."""

    name: str
    image: Image


@dataclass(frozen=True, slots=True)
class Turn:
    """A question with the images that came with it, and the answer."""

    images: tuple[Shown, ...]
    question: str
    answer: str


def show(name: str, *, fetch: bool) -> Shown:
    """Read an image, from the web only with `fetch`. Raises InputError and UnreadablePhoto."""
    if fetching.is_url(name):
        if not fetch:
            raise InputError(f"{name} is on the web. To fetch images from there, add --fetch.")
        source = fetching.fetch(name)
    else:
        path = Path(name).expanduser()
        if path.is_dir():
            raise InputError(
                f"{name} is a folder. Expected an image; for folders: looksay describe"
            )
        try:
            source = path.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{name} is not there. Expected an image file.") from None
        except (OSError, ValueError) as error:
            why = plainly(error) if isinstance(error, OSError) else str(error)
            raise InputError(f"{name} cannot be read: {why}.") from None
    try:
        load_rgb(source, max_side_px=CHECK_PX)
    except UnreadablePhoto as error:
        raise UnreadablePhoto(f"{name}: {error}") from None
    return Shown(name, Image(source))


@dataclass(frozen=True, slots=True)
class Question:
    """A single question about the images of these names."""

    images: tuple[str, ...]
    text: str

    def conversation(self, *, fetch: bool) -> Conversation:
        """Raises as `show`."""
        return Conversation.ask(*(show(name, fetch=fetch).image for name in self.images), self.text)

    def record(self, model: str | None, answer: Completion) -> dict[str, Any]:
        """For programs; `answer.error` is told as it stands."""
        return {
            "model": model,
            "images": list(self.images),
            "question": self.text,
            "answer": answer.text,
            "error": answer.error,
            "finish_reason": answer.finish_reason,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "seconds": round(answer.seconds, 3),
            "cost_usd": answer.cost_usd,
        }


class Talk:
    """A conversation in the making. `images` are those of the first question; `start_over` brings them
    back."""

    def __init__(self, backend: Backend, options: Options, images: Iterable[Shown] = ()) -> None:
        self.backend, self.options = backend, options
        self.turns: list[Turn] = []
        self.first = tuple(images)
        self.waiting = list(self.first)
        """Images that go with the next question."""

    def start_over(self) -> None:
        """Forget what was said; the images of the beginning are shown anew."""
        self.turns.clear()
        self.waiting = list(self.first)

    def conversation(self, question: str) -> Conversation:
        """All turns so far, and `question` with the images that wait."""
        messages = []
        for turn in (*self.turns, Turn(tuple(self.waiting), question, "")):
            images = [shown.image for shown in turn.images]
            messages.append(Message("user", (*images, turn.question)))
            if turn.answer:
                messages.append(Message("assistant", (turn.answer,)))
        return Conversation(tuple(messages))

    def say(self, question: str) -> Iterator[str]:
        """Yield the answer piece by piece. A turn counts once words have come, also where the answer was
        broken off; after a fault without words, all is as before the question."""
        images, answer = tuple(self.waiting), ""
        try:
            for piece in self.backend.stream(self.conversation(question), self.options):
                answer += piece
                yield piece
            if not answer.strip():
                raise empty_answer(self.backend)
        finally:
            if answer.strip():
                self.turns.append(Turn(images, question, answer.strip()))
                self.waiting = self.waiting[len(images) :]

    def keep(self, path: Path) -> None:
        """Write the talk as Markdown or JSON, by the file's ending. Raises InputError."""
        if path.suffix.lower() not in KEPT:
            raise InputError(f"{path} ends in {path.suffix or 'nothing'}. Expected .md or .json.")
        if not path.resolve().parent.is_dir():
            raise InputError(
                f"{path} cannot be saved: there is no folder {path.parent}. Make it first, or choose "
                f"another place: /save {path.name}"
            )
        as_json = path.suffix.lower() == ".json"
        try:
            files.write(path, (self._json() if as_json else self._markdown()).encode("utf-8"))
        except PageError as error:
            raise InputError(f"{path} {error}") from error

    def _json(self) -> str:
        turns = [
            {"images": [s.name for s in t.images], "question": t.question, "answer": t.answer}
            for t in self.turns
        ]
        return json.dumps(
            {"model": self.backend.name, "turns": turns}, ensure_ascii=False, indent=2
        )

    def _markdown(self) -> str:
        blocks = [f"# A talk with {self.backend.name}"]
        for turn in self.turns:
            blocks += [f"![](<{shown.name}>)" for shown in turn.images]
            blocks += ["\n".join(f"> {line}" for line in turn.question.splitlines()), turn.answer]
        return "\n\n".join(blocks) + "\n"


def empty_answer(backend: Backend) -> BackendError:
    """What to tell where a model said nothing, and what to do then."""
    from looksay.backends.base import parse_name

    advice = "Ask in other words, or take another model: looksay models"
    if parse_name(backend.name)[0] == "local":
        advice = (
            "Perhaps it was trained too short. Train it longer: looksay train without --steps takes as many "
            "as its recipe says."
        )
    return BackendError(f"{backend.name}: the answer is empty. {advice}")


def converser(name: str | None, options: LoadOptions) -> tuple[Backend, str]:
    """A backend that answers questions, and a word on why this one. Raises BackendError where the one
    that is named, or the only one that is there, does not; it says what would."""
    from looksay.backends import auto, load

    why = ""
    if name is None or name == "auto":
        choice = auto.choose()
        name, why = choice.name, choice.reason
    backend = load(name, options)
    if not backend.profile.converses:
        none = "No vision model was found on this machine, and " if why else ""
        raise BackendError(_cannot(name, none + name))
    return backend, f"Model: {backend.name}. {why}" if why else ""


def _cannot(name: str, subject: str) -> str:
    from looksay.backends import auto, mini

    ready = [n for status in auto.available() for n in status.ready if n != name]
    here = f"Here are: {', '.join(ready[:5])}. " if ready else ""
    small = (
        " The small model that comes with looksay answers questions about drawn scenes: --model mini."
        if mini.is_here()
        else ""
    )
    return (
        f"{subject} only describes: it answers no questions. {here}To have a model that does, install "
        f"Ollama and type: ollama pull qwen3-vl:8b (looksay models lists others).{small}"
    )
