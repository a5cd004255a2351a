"""A real site: 108 Markdown pages with template calls, raw HTML and Markdown images.

The expectations come from plain regular expressions over the source, not from our own parsers.
"""

from __future__ import annotations

import csv
import posixpath
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

import looksay

CALL = re.compile(r"\{%\s*(?:image|image_with_class)\s[^%]*%\}")
CALL_ALT = re.compile(
    r'(\{%\s*(?:image\s+"(?P<a>[^"]+)"|image_with_class\s+"(?P<b>[^"]+)"\s+"[^"]*")\s+")(?P<alt>[^"]+)("\s*%\})'
)
IMG_ALT = re.compile(r'(<img\b[^>]*?\balt=\s*")(?P<alt>[^"]+)(")')
MARKDOWN_ALT = re.compile(r"(!\[)(?P<alt>[^\]]+)(\]\((?P<src>[^)]+)\))")
IMG_SRC = re.compile(r'\bsrc="(?:\{\{\s*site\.baseurl\s*\}\})?(?:\{\{\s*")?(?P<src>[^"]+)"')
INCLUDE_ALT = re.compile(
    r'(\{% include "linked-figure.html",\s*image: "(?P<src>[^"]+)",\s*alt: ")(?P<alt>[^"]+)(")'
)


@pytest.fixture
def site(shared_data: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "site"
    shutil.copytree(shared_data / "site", copy)
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def test_every_placement_is_found(site: Path) -> None:
    expected = 0
    for page in site.rglob("*.md"):
        source = re.sub(r"`[^`\n]*`", "", page.read_text("utf-8"))  # inline code shows no image
        expected += len(CALL.findall(source)) + len(re.findall(r"<img\s", source))
        expected += len(re.findall(r"!\[[^\]]*\]\(", source)) + len(INCLUDE_ALT.findall(source))
    with looksay.Library(site) as library:
        report = library.scan()
        assert report.placements == expected == 233
        assert report.files == sum(
            p.suffix.lower() in {".jpg", ".png", ".svg"} for p in site.rglob("*")
        )
        assert report.problems == []
        again = library.scan()
        assert (again.new, again.changed) == (0, 0)


def test_blanked_texts_imported_and_applied_give_the_original_bytes(
    site: Path, shared_data: Path, tmp_path: Path
) -> None:
    rows = []
    for page in sorted(site.rglob("*.md")):
        rows += _blank(page, site)
    assert len(rows) > 215
    table = tmp_path / "texts.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["photo", "page", "occurrence", "text"])
        writer.writerows(rows)
    with looksay.Library(site) as library:
        library.scan()
        imported = library.import_csv(table)
        assert (imported.imported, imported.problems) == (len(rows), [])
        blanked = {p: p.read_bytes() for p in site.rglob("*.md")}
        applied = library.apply()
        assert applied.texts == len(rows)
        assert applied.refused == []
        for page in site.rglob("*.md"):
            original = shared_data / "site" / page.relative_to(site)
            assert page.read_bytes() == original.read_bytes(), page.name
        assert library.apply().files == []
        library.undo()
        assert {p: p.read_bytes() for p in site.rglob("*.md")} == blanked


def _blank(page: Path, site: Path) -> list[tuple[str, str, int, str]]:
    """Blank the page's alt texts by plain substitution; the rows that bring them back."""
    source = page.read_bytes().decode("utf-8")
    name, found = page.relative_to(site).as_posix(), []
    front = dict(re.findall(r"^(\w+): *(\S+)$", source.split("\n---", 1)[0], re.M))
    for pattern in (CALL_ALT, INCLUDE_ALT, IMG_ALT, MARKDOWN_ALT):
        for match in pattern.finditer(source):
            groups = match.groupdict()
            src = groups.get("a") or groups.get("b") or groups.get("src") or _src(match, source)
            if "{{" in src:
                literal = re.search(r'"([^"]+)"', src)
                src = literal[1] if literal else front["image"]
            found.append((match.start("alt"), src.lstrip("/"), match["alt"]))
    for at, _, text in sorted(found, reverse=True):
        source = source[:at] + source[at + len(text) :]
    page.write_bytes(source.encode("utf-8"))
    # Occurrences count every showing of a photo, texts or not, in the order of the page.
    order = sorted(found)
    shown: Counter[str] = Counter()
    rows = []
    for _, src, text in order:
        rows.append((posixpath.normpath(src), name, shown[src], text))
        shown[src] += 1
    return rows


def _src(image: re.Match[str], source: str) -> str:
    tag = source[image.start() : source.index(">", image.end()) + 1]
    match = IMG_SRC.search(tag)
    assert match is not None, tag
    return match["src"]
