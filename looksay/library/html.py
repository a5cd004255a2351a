"""Images in HTML source, with the exact spans of their alt texts.

The standard library's tolerant tokenizer tells where tags begin; attributes are read by our own
scanner, since every HTML tree builder (lxml, BeautifulSoup, selectolax) rewrites untouched markup.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from looksay.library.slots import Slot
from looksay.library.templates import Masked

_TAG_NAME = re.compile(r"<[a-zA-Z][^\s/>]*")
_ATTRIBUTE = re.compile(
    r"""[\s/]*(?P<name>[^\s/>=][^\s/>=]*)(?P<equals>\s*=\s*(?P<value>"[^"]*"|'[^']*'|[^\s>]*))?"""
)


@dataclass(slots=True)
class Surroundings:
    """What a page says around its images; offsets into the page's text."""

    title: str = ""
    language: str = ""
    links: list[tuple[int, int, str]] = field(default_factory=list)
    figures: list[tuple[int, int, str]] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Attribute:
    value: str | None
    start: int
    """Of the value with its quotes; of the end of the name where there is no value."""
    end: int
    quote: str


def attributes(text: str, offset: int) -> tuple[dict[str, Attribute], int]:
    """Attributes of the start tag at `offset` (the first of equal names counts, as in browsers), and
    the offset just after the last one."""
    name = _TAG_NAME.match(text, offset)
    assert name is not None, "offset must be that of a start tag"
    position, found = name.end(), dict[str, Attribute]()
    while match := _ATTRIBUTE.match(text, position):
        position = match.end()
        key = match["name"].lower()
        if match["equals"] is None:
            attribute = Attribute(None, match.end("name"), match.end("name"), "")
        else:
            raw, (start, end) = match["value"], match.span("value")
            quote = raw[0] if raw[:1] in ('"', "'") and len(raw) > 1 else ""
            if not quote and raw.endswith("/") and text[end : end + 1] == ">":
                raw, end = raw[:-1], end - 1
            value = html.unescape(raw[1:-1] if quote else raw)
            attribute = Attribute(value, start, end, quote)
        found.setdefault(key, attribute)
    return found, position


class _Scanner(HTMLParser):
    def __init__(self, masked: Masked, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.masked, self.text = masked, text
        self.slots: list[tuple[int, int, Slot]] = []
        self.around = Surroundings()
        self._line_starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self._open_links: list[tuple[int, str]] = []
        self._open_figures: list[int] = []
        self._captions: list[list[str]] = []
        self._collect: list[str] | None = None
        self._collecting = ""
        self._heading_at = 0

    def _offset(self) -> int:
        line, column = self.getpos()
        return self._line_starts[line - 1] + column

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """`<![…`: browsers read it as a comment up to the next ">"; Python before 3.13.4 may raise."""
        end = self.rawdata.find(">", i)
        return end + 1 if end >= 0 else -1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = self._offset()
        if tag == "img":
            self._image(at)
        elif tag in ("a", "button"):
            href = next((v for k, v in attrs if k == "href" and v), "") if tag == "a" else "button"
            if href:
                self._open_links.append((at, self.masked.reveal(href)))
        elif tag == "figure":
            self._open_figures.append(at)
            self._captions.append([])
        elif tag == "figcaption" and self._captions:
            self._collect, self._collecting = self._captions[-1], tag
        elif tag == "title" or re.fullmatch("h[1-6]", tag):
            self._collect, self._collecting, self._heading_at = [], tag, at
        elif tag == "html":
            self.around.language = next((v for k, v in attrs if k == "lang" and v), "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self._image(self._offset())

    def handle_data(self, data: str) -> None:
        if self._collect is not None:
            self._collect.append(data)

    def handle_endtag(self, tag: str) -> None:
        end = self._offset()
        if tag in ("a", "button") and self._open_links:
            start, href = self._open_links.pop()
            self.around.links.append((start, end, href))
        elif tag == "figure" and self._open_figures:
            caption = _plain("".join(self._captions.pop()))
            self.around.figures.append((self._open_figures.pop(), end, caption))
        elif tag == self._collecting and self._collect is not None:
            words = _plain("".join(self._collect))
            if tag == "title":
                self.around.title = self.around.title or words
            elif tag != "figcaption":
                self.around.headings.append((self._heading_at, words))
            self._collect, self._collecting = None, ""

    def _image(self, at: int) -> None:
        found, last = attributes(self.text, at)
        src = _source(found)
        if not src:
            return
        alt, role, hidden = found.get("alt"), found.get("role"), found.get("aria-hidden")
        slot = Slot(
            src=self.masked.reveal(src).strip(),
            alt=None if alt is None else self.masked.reveal(alt.value or ""),
            at=at,
            start=alt.start if alt else last,
            end=alt.end if alt else last,
            syntax="html",
            before=" alt=" if alt is None else "=" if alt.value is None else "",
            quote=alt.quote if alt else '"',
            presentational=bool(role and role.value in ("presentation", "none"))
            or bool(hidden and hidden.value == "true"),
            writable=not (alt and alt.value and any("\ue000" <= c <= "\uf8ff" for c in alt.value)),
        )
        self.slots.append((at, (self.text.find(">", last) + 1) or last, slot))


def _source(found: dict[str, Attribute]) -> str:
    """The image that a reader sees: lazy-loading attributes win over a placeholder in `src`."""
    for name in ("data-src", "data-lazy-src", "src", "srcset", "data-srcset"):
        value = (found[name].value or "") if name in found else ""
        if value and not value.startswith("data:"):
            return value.split(",")[0].split()[0] if name.endswith("srcset") else value
    return ""


def _plain(text: str) -> str:
    return " ".join(re.sub("[\ue000-\uf8ff]+", " ", text).split())


def scan(masked: Masked, text: str) -> tuple[list[tuple[int, int, Slot]], Surroundings]:
    """(start, end, slot) of each `<img>` in `text` (the masked page, code blanked), in order, and what
    the page says around them. Comments, scripts and styles hold no images."""
    scanner = _Scanner(masked, text)
    scanner.feed(text)
    scanner.close()
    return scanner.slots, scanner.around
