"""Alt text inside the photo itself, through ExifTool: the one program that writes both IPTC fields to
JPEG, PNG, WebP, TIFF, HEIC and AVIF without touching a pixel."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from looksay import images
from looksay.errors import LooksayError, PageError, UnreadablePhoto

_TIMEOUT_S = 60.0


def require() -> str:
    """The path of ExifTool. Raises LooksayError that says how to get it."""
    found = shutil.which("exiftool")
    if not found:
        raise LooksayError(
            "--embed needs ExifTool, which is not installed. Type: apt install libimage-exiftool-perl "
            "(Debian, Ubuntu), brew install exiftool (macOS) or winget install exiftool (Windows)."
        )
    return found


def embed(photo: Path, alt: str, extended: str, language: str) -> bytes:
    """The bytes of the photo with both fields set; the file itself is not touched. Raises PageError where
    ExifTool cannot write the format, or the pixels would not stay as they are."""
    program = require()
    fields: dict[str, str] = {"SourceFile": "*"}
    for name, text in (("AltTextAccessibility", alt), ("ExtDescrAccessibility", extended)):
        if text:
            fields[f"XMP-iptcCore:{name}"] = text
            fields[f"XMP-iptcCore:{name}-{language}"] = text
    with tempfile.TemporaryDirectory(prefix="looksay-") as folder:
        copy, values = Path(folder) / f"photo{photo.suffix}", Path(folder) / "values.json"
        shutil.copyfile(photo, copy)
        # Not escaped: ExifTool reads the two halves of an escaped emoji as two broken characters.
        values.write_text(json.dumps([fields], ensure_ascii=False), encoding="utf-8")
        try:
            done = subprocess.run(
                [
                    program,
                    "-q",
                    "-q",
                    "-charset",
                    "utf8",
                    f"-json={values}",
                    "-overwrite_original",
                    str(copy),
                ],
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PageError(
                f"ExifTool did not finish within {_TIMEOUT_S:.0f} s; the photo is as it was"
            ) from error
        if done.returncode:
            raise PageError(f"ExifTool: {done.stderr.strip()[:200]}; the photo is as it was")
        try:
            same = images.load_rgb(photo).tobytes() == images.load_rgb(copy).tobytes()
        except UnreadablePhoto as error:
            raise PageError(f"the photo does not read back ({error}); it is as it was") from error
        if not same:
            raise PageError("the pixels would have changed; the photo is as it was")
        return copy.read_bytes()
