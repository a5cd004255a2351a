"""The `tesseract` program, for the script that rapidocr does not know: Korean."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

TIMEOUT_S = 30.0
LINE_PX, MARGIN_PX = 48, 24
MIN_SCORE = 0.80
"""Mean word confidence from which a Korean line is quoted; see `benchmarks/scripts.py`."""


@dataclass(frozen=True, slots=True)
class Tesseract:
    program: str

    def read_korean(self, crops: list[tuple[int, Any]]) -> dict[int, tuple[str, float]]:
        """Read BGR line crops, keyed by a number: number -> (text, score 0..1), where surely Korean.

        The crops are stacked into one page, so that a picture costs one process. A fault of the program
        (gone, hanging, crashed) reads nothing: the caller then has the lines unread, as without it.
        """
        page, spans = _stack(crops)
        ok, png = cv2.imencode(".png", page)
        if not ok:
            return {}
        command = [self.program, "stdin", "stdout", "-l", "kor+eng", "--psm", "6", "tsv"]
        try:
            done = _run(command, png.tobytes())
        except (OSError, subprocess.SubprocessError):
            return {}
        words: dict[int, list[tuple[str, float]]] = {}
        found_in: dict[int, set[tuple[str, ...]]] = {}
        for row in csv.DictReader(
            io.StringIO(done.decode("utf-8", "replace")), delimiter="\t", quoting=csv.QUOTE_NONE
        ):
            text, score = (row.get("text") or "").strip(), float(row.get("conf") or -1) / 100
            if not text or score < 0:
                continue
            middle = int(row["top"]) + int(row["height"]) // 2
            for key, (top, bottom) in spans.items():
                if top <= middle < bottom:
                    words.setdefault(key, []).append((text, score))
                    found_in.setdefault(key, set()).add(
                        (row["block_num"], row["par_num"], row["line_num"])
                    )
        # A crop that fell into several lines was torn apart: its words are in no sure order.
        lines = {key: _join(found) for key, found in words.items() if len(found_in[key]) == 1}
        return {key: line for key, line in lines.items() if surely_korean(*line)}


def surely_korean(text: str, score: float) -> bool:
    """At least two Hangul syllables, which make up most of the letters, read with confidence."""
    letters = [c for c in text if c.isalpha()]
    hangul = sum("가" <= c <= "힣" for c in letters)
    return score >= MIN_SCORE and hangul >= 2 and hangul >= 0.6 * len(letters)


@cache
def find(language: str) -> Tesseract | None:
    """The installed program, if it has the data of `language`; None otherwise."""
    program = shutil.which("tesseract")
    if not program:
        # The Windows installer does not add itself to PATH.
        usual = Path(os.environ.get("PROGRAMFILES", ""), "Tesseract-OCR", "tesseract.exe")
        program = str(usual) if usual.is_file() else None
    if not program:
        return None
    try:
        listed = _run([program, "--list-langs"], b"").decode("utf-8", "replace").split()
    except (OSError, subprocess.SubprocessError):
        return None
    return Tesseract(program) if language in listed else None


def _run(command: list[str], data: bytes) -> bytes:
    done = subprocess.run(
        command,
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=True,
        # Its own threads only fight with those of the callers; one line takes milliseconds.
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    return done.stdout


def _stack(crops: list[tuple[int, Any]]) -> tuple[Any, dict[int, tuple[int, int]]]:
    """Grey lines, dark on light, one under the other; and each one's span of rows."""
    rows, spans, top = [], {}, MARGIN_PX
    for key, crop in crops:
        grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_BGR2GRAY)
        width = max(1, min(4000, round(grey.shape[1] * LINE_PX / grey.shape[0])))
        line = cv2.resize(grey, (width, LINE_PX), interpolation=cv2.INTER_CUBIC)
        edge = np.concatenate([line[0], line[-1]])
        if float(np.median(edge)) < float(line.mean()):
            line = 255 - line
        rows.append(cv2.normalize(line, None, 0, 255, cv2.NORM_MINMAX))
        spans[key] = (top - MARGIN_PX // 2, top + LINE_PX + MARGIN_PX // 2)
        top += LINE_PX + MARGIN_PX
    page = np.full((top, max(row.shape[1] for row in rows) + 2 * MARGIN_PX), 255, np.uint8)
    for row, (start, _) in zip(rows, spans.values(), strict=True):
        start += MARGIN_PX // 2
        page[start : start + LINE_PX, MARGIN_PX : MARGIN_PX + row.shape[1]] = row
    return page, spans


def _join(words: list[tuple[str, float]]) -> tuple[str, float]:
    text = " ".join(word for word, _ in words)
    letters = sum(len(word) for word, _ in words)
    return text, sum(score * len(word) for word, score in words) / letters
