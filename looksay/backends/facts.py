"""No neural describer, no download: says only what it measured, in one short sentence.

Text by OCR, faces, colours, light, shape, what kind of picture it is, and the date that the camera
wrote. What is unsure is left out; everything measured is in `Completion.details`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from looksay.backends import _facts_words
from looksay.backends.base import LoadOptions, Profile, as_they_finish
from looksay.errors import BackendError, LooksayError, MissingDependency
from looksay.images import load_rgb
from looksay.types import Completion, Conversation, Image, Options

if TYPE_CHECKING:
    from looksay.experts import ocr
    from looksay.experts.faces import Finder

VERSION = "2"
PACKAGES = {
    "cv2": "opencv-python-headless",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "rapidocr": "rapidocr",
}
MAX_SIDE_PX = 1280
MAX_WORKERS = 2
"""Each worker holds its own recogniser: the process peaks at 300 MB on a photo, at 600 MB on a large
screenshot full of text. More workers only share the same cores."""


class Facts:
    """Describes pictures by what can be measured; see `load`."""

    name = "facts"

    def __init__(self, workers: int, language: str) -> None:
        self._language = language
        self._workers = workers
        self._idle: queue.SimpleQueue[tuple[ocr.Reader, Finder]] = queue.SimpleQueue()
        self._threads = max(1, (os.cpu_count() or 1) // workers)
        self._tesseract = _has_korean()
        self.profile = Profile(
            draft=True,
            instructable=False,
            converses=False,
            remote=False,
            languages=("en", "ko"),
            concurrency=workers,
            image_tokens=0,
        )

    @property
    def fingerprint(self) -> str:
        """Changes with the rules (VERSION) and with whether Korean can be read here."""
        return f"facts-{VERSION}{'+kor' if self._tesseract else ''}"

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for index, (text, details, seconds, error) in as_they_finish(
            self._answer, conversations, self._workers
        ):
            yield Completion(
                index,
                text,
                prompt_tokens=0,
                completion_tokens=0,
                seconds=seconds,
                finish_reason="error" if error else "stop",
                error=error,
                details=details,
            )

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        text, _, _, error = self._answer(conversation)
        if error:
            raise LooksayError(error)
        yield text

    def _answer(self, conversation: Conversation) -> tuple[str, dict[str, Any], float, str | None]:
        started = time.perf_counter()
        images = conversation.images
        if not images:
            return "", {}, 0.0, "facts describes pictures, and this conversation has none"
        language = (
            "ko" if conversation.hints.get("language", self._language).startswith("ko") else "en"
        )
        try:
            found = [self.measure(image) for image in images]
        except LooksayError as error:
            return "", {}, time.perf_counter() - started, str(error)
        except (
            Exception
        ) as error:  # OpenCV and onnxruntime raise anything; one picture stops no run
            reason = f"could not be measured: {type(error).__name__}: {error}"
            return "", {}, time.perf_counter() - started, reason
        text = " ".join(_facts_words.sentence(facts, language) for facts in found)
        details = found[0] if len(found) == 1 else {"images": found}
        return text, details, time.perf_counter() - started, None

    def measure(self, image: Image) -> dict[str, Any]:
        """Everything measured about one image, ready for JSON. Raises UnreadablePhoto."""
        from looksay.experts import appearance, exif, kind

        camera = exif.read(image.source)
        rgb = load_rgb(image.source, max_side_px=MAX_SIDE_PX)
        looks = appearance.measure(rgb)
        reader, finder = self._borrow()
        try:
            lines = reader.read(rgb)
            sort = kind.decide(
                rgb, lines, coloured=looks.tone == "colour", camera=camera.from_camera
            )
            faces = finder.find(rgb) if sort.natural else []
        finally:
            self._idle.put((reader, finder))
        # An interface or a page of text has many colours by chance: its accents say nothing.
        accents = looks.accents() if sort.name in {"chart", "logo", "graphic"} else []
        return {
            "size_px": list(rgb.size),
            "kind": asdict(sort),
            "text": [
                asdict(line) | {"box": list(line.box), "score": round(line.score, 3)}
                for line in lines
                if line.text
            ],
            "text_unread": sum(not line.text for line in lines),
            "faces": [{"box": list(f.box), "weight": round(f.weight, 2)} for f in faces],
            "appearance": {
                "colours": {name: round(share, 3) for name, share in looks.colours.items()},
                "main_colours": looks.main_colours() if sort.natural else accents,
                "lightness": round(looks.lightness, 1),
                "light": looks.light,
                "tone": looks.tone,
                "shape": looks.shape,
            },
            "taken": camera.taken.isoformat() if camera.taken else None,
            "camera": camera.camera or None,
        }

    def _borrow(self) -> tuple[ocr.Reader, Finder]:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            from looksay.experts import faces, ocr

            return ocr.Reader(threads=self._threads), faces.Finder()


def load(model: str, options: LoadOptions) -> Facts:
    """Load the backend; `model` is empty, for there is only one.

    Raises MissingDependency where the extra is not installed, BackendError where it is and does not work.
    """
    missing = _missing()
    if missing:
        raise MissingDependency("The facts backend", "facts", missing[0])
    try:
        cv2 = importlib.import_module("cv2")
        importlib.import_module("rapidocr")
    except ImportError as error:
        raise BackendError(
            f"The packages of the facts backend are installed but cannot be imported: {error}. "
            'In the folder of looksay type: pip install --force-reinstall ".[facts]"'
        ) from error
    if not hasattr(cv2, "CascadeClassifier"):
        raise BackendError(
            f"OpenCV {cv2.__version__} was found, which has no face cascades; facts needs version 4. "
            'Type: pip install "opencv-python-headless<5"'
        )
    return Facts(options.concurrency or min(MAX_WORKERS, os.cpu_count() or 1), options.language)


def discover() -> list[str]:
    return [] if _missing() else ["facts"]


def _missing() -> list[str]:
    # rapidocr first: it is the name that the message should show where all are absent.
    order = sorted(PACKAGES, key=lambda module: module != "rapidocr")
    return [PACKAGES[module] for module in order if importlib.util.find_spec(module) is None]


def _has_korean() -> bool:
    from looksay.experts import _tesseract

    return _tesseract.find("kor") is not None
