"""METEOR and SPICE by the COCO evaluation's own Java programs, kept on a short lead.

Sources: Denkowski and Lavie, "Meteor Universal", 2014 (version 1.5); Anderson et al., "SPICE: Semantic
Propositional Image Caption Evaluation", ECCV 2016. The jars come with the package pycocoevalcap (extra
`coco-java`), of which no Python is used: its METEOR crashes on a set with an empty caption and leaves a
JVM behind at which the interpreter hangs. Here the empty are skipped and counted, and the process is
killed with all that it started, after an answer as after an error or too long a wait.

Tokens come from `ptb.tokenize`. METEOR was checked against the reference's figures; SPICE's program could
not be run for that (it wants Stanford's models, which pycocoevalcap fetches apart), only what surrounds it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any, TypeVar

from looksay.errors import InputError, MissingDependency, plainly
from looksay.evaluation.metrics.grams import Tokens

EXTRA = "coco-java"
_Process = subprocess.Popen[str]
_T = TypeVar("_T")
_UTF8 = "-Dfile.encoding=UTF-8"  # otherwise accents depend on the locale


@dataclass(frozen=True, slots=True)
class JavaScores:
    """What a Java scorer said of many captions."""

    scores: tuple[float | None, ...]
    """Each 0 to 1; None where the caption or all its references are empty, or SPICE gave no figure."""
    corpus: float | None
    """0 to 1; None where every caption was skipped. METEOR's is made of summed statistics and is not the
    mean of its scores (bootstrap those); SPICE's is the mean."""
    skipped: int
    """How many scores are None."""


def meteor(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    *,
    timeout_s: float = 600.0,
    command: Sequence[str] | None = None,
) -> JavaScores:
    """METEOR 1.5 for English, as the COCO evaluation calls it.

    `command` replaces the Java program by another that speaks its protocol. Raises MissingDependency
    without the extra, InputError without Java, where lengths differ, where the program breaks off or says
    what it should not, and after `timeout_s`.
    """
    asked, folder = _filled(candidates, references), None
    if not asked:
        return JavaScores((None,) * len(candidates), None, len(candidates))
    if command is None:
        folder = _folder("meteor", "METEOR")
        command = [_java("METEOR"), _UTF8, "-Xmx2G", "-jar", "meteor-1.5.jar"]
        command += ["-", "-", "-stdio", "-l", "en", "-norm"]

    def talk(process: _Process) -> list[float]:
        to, back = _pipes(process)
        statistics = []
        for caption, several in asked.values():
            print("SCORE", *several, caption, sep=" ||| ", file=to, flush=True)
            statistics.append(_line(back))
        print("EVAL", *statistics, sep=" ||| ", file=to, flush=True)
        return [float(_line(back)) for _ in range(len(asked) + 1)]

    *each, corpus = _run(command, folder, timeout_s, "METEOR", talk)
    return _placed(len(candidates), dict(zip(asked, each, strict=True)), corpus)


def spice(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    *,
    timeout_s: float = 3600.0,
    command: Sequence[str] | None = None,
) -> JavaScores:
    """SPICE's F over all its tuples. Arguments and errors as of `meteor`.

    The program wants about 8 GB of memory. `command` is followed by the path of the input and by
    -out with the path of the output, both JSON.
    """
    asked, folder = _filled(candidates, references), None
    if not asked:
        return JavaScores((None,) * len(candidates), None, len(candidates))
    if command is None:
        folder = _folder("spice", "SPICE")
        if not list(folder.glob("lib/stanford-corenlp-*-models.jar")):
            raise InputError(
                f"SPICE needs Stanford's CoreNLP models in {folder / 'lib'}, which are not there. "
                "Type: python -m pycocoevalcap.spice.get_stanford_models (it downloads about 400 MB)."
            )
        command = [_java("SPICE"), _UTF8, "-Xmx8G", "-jar", "spice-1.0.jar"]
    with tempfile.TemporaryDirectory(prefix="looksay-spice-") as place:
        into, out = Path(place, "input.json"), Path(place, "output.json")
        rows = [
            {"image_id": number, "test": caption, "refs": several}
            for number, (caption, several) in asked.items()
        ]
        into.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")

        def talk(process: _Process) -> dict[int, float | None]:
            if status := process.wait():
                raise ValueError(f"it ended with status {status}")
            said = json.loads(out.read_text("utf-8"))
            return {int(row["image_id"]): _number(row["scores"]["All"]["f"]) for row in said}

        full = [*command, str(into), "-out", str(out), "-subset", "-silent"]
        found = _run(full, folder, timeout_s, "SPICE", talk, mute=True)
    if set(found) != set(asked):
        raise InputError(f"SPICE was asked of {len(asked)} captions and answered of {len(found)}.")
    told = [score for score in found.values() if score is not None]
    return _placed(len(candidates), found, sum(told) / len(told) if told else None)


def _filled(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> dict[int, tuple[str, list[str]]]:
    if len(candidates) != len(references):
        raise InputError(
            f"{len(candidates)} captions, but references of {len(references)} images. "
            "Expected one list of references per caption."
        )
    # "|||" parts the fields of METEOR's protocol.
    texts = [" ".join(tokens).replace("|||", "") for tokens in candidates]
    told = [[" ".join(tokens).replace("|||", "") for tokens in several] for several in references]
    return {
        number: (text, [one for one in several if one.strip()])
        for number, (text, several) in enumerate(zip(texts, told, strict=True))
        if text.strip() and any(one.strip() for one in several)
    }


def _placed(length: int, found: dict[int, Any], corpus: float | None) -> JavaScores:
    scores = tuple(found.get(number) for number in range(length))
    return JavaScores(scores, corpus, sum(score is None for score in scores))


def _number(value: Any) -> float | None:
    number = float(value) if isinstance(value, int | float | str) else None
    return None if number is None or number != number else number


def _folder(part: str, what: str) -> Path:
    spec = find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency(what, EXTRA, "pycocoevalcap")
    return Path(spec.submodule_search_locations[0], part)


def _java(what: str) -> str:
    java = shutil.which("java")
    if java is None:
        raise InputError(
            f"{what} is a Java program, and there is no java on the PATH. "
            "Install a Java runtime (version 8 or later), or leave this metric out."
        )
    return java


def _run(
    command: Sequence[str],
    folder: Path | None,
    timeout_s: float,
    what: str,
    talk: Callable[[_Process], _T],
    *,
    mute: bool = False,
) -> _T:
    """Start a scorer, talk with it, and end it and all that it started, whatever happens.

    `mute`: nothing is said or heard; what it prints is kept for the error alone.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=subprocess.DEVNULL if mute else subprocess.PIPE,
                stdout=errors if mute else subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        except OSError as error:
            raise InputError(f"{what} cannot be started ({plainly(error)}): {command[0]}") from None
        late = Event()

        def watch() -> None:
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                late.set()
            _end(process)  # else whom it leaves behind would hold its output open for ever

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            return talk(process)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if late.is_set():
                raise InputError(
                    f"{what} had not answered after {timeout_s:g} s and was stopped. "
                    "Score fewer captions at once, or allow more time (timeout_s)."
                ) from None
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()[-500:]
            raise InputError(f"{what} broke off: {error}. {said or 'It said nothing.'}") from None
        finally:
            _end(process)
            watcher.join()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was not yet sent goes nowhere
                    if pipe:
                        pipe.close()


def _end(process: _Process) -> None:
    """Kill a process that leads its own session, and its descendants."""
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False
        )
    else:
        # A JVM that hangs does not heed SIGTERM. Nobody may be left, or only the dead.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.Signals["SIGKILL"])


def _pipes(process: _Process) -> tuple[IO[str], IO[str]]:
    assert process.stdin
    assert process.stdout
    return process.stdin, process.stdout


def _line(back: IO[str]) -> str:
    line = back.readline()
    if not line:
        raise ValueError("it closed its output before the last answer")
    return line.strip()
