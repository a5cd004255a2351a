"""A process that does a job on a library and kills itself at its n-th step; `test_kill.py` runs it.

Arguments: folder, job (scan, describe, apply, embed, undo), n (0: never), file that notes each request.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import looksay
from looksay.backends.base import Profile, as_they_finish
from looksay.library.catalog import Catalog
from looksay.types import Completion, Conversation, Options

FOLDER, JOB, LAST, NOTES = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
DELAY_S, IN_FLIGHT = 0.004, 2
steps = 0


def step() -> None:
    global steps
    steps += 1
    if steps == LAST:
        if hasattr(signal, "SIGKILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(9)


class Noting:
    """Answers after a moment; writes the name of each photo that it is asked about into a file."""

    name, fingerprint, profile = "noting", "1", Profile(concurrency=IN_FLIGHT)

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        def one(conversation: Conversation) -> Completion:
            (image,) = conversation.images
            with NOTES.open("a") as stream:
                stream.write(f"{Path(str(image.source)).name}\n")
            time.sleep(DELAY_S)
            return Completion(
                0, f"This is the picture of {Path(str(image.source)).stem} on a wall."
            )

        for index, completion in as_they_finish(one, conversations, IN_FLIGHT):
            yield Completion(index, completion.text)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield ""


def watched(owner: Any, name: str) -> None:
    original = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        step()
        result = original(*arguments, **named)
        step()
        return result

    setattr(owner, name, call)


def main() -> None:
    if LAST:
        original = Catalog.transaction

        @contextmanager
        def transaction(self: Catalog) -> Iterator[None]:
            step()
            with original(self):
                yield
                step()
            step()

        Catalog.transaction = transaction  # type: ignore[method-assign]
        for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (os, "utime")):
            watched(owner, name)
    print("ready", flush=True)
    with looksay.Library(FOLDER) as library:
        if JOB == "scan":
            library.scan()
        elif JOB == "describe":
            library.describe(Noting())
        elif JOB == "undo":
            library.undo()
        else:
            library.apply(into_photos=JOB == "embed")


if __name__ == "__main__":
    main()
