"""A page: its bytes, its text, and the images that it shows.

`read` never changes a byte and `rewrite` changes alt texts only: it checks, by reading the result back,
that exactly the wanted texts changed, and refuses otherwise.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from looksay.errors import PageError
from looksay.library import html, markdown, templates
from looksay.library.slots import Dialect, Slot
from looksay.library.templates import SHIPPED_PATTERNS, CallPattern

HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml", ".njk", ".liquid"})
MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mdx"})
PAGE_SUFFIXES = HTML_SUFFIXES | MARKDOWN_SUFFIXES
MAX_PAGE_BYTES = 20_000_000

_CHARSET = re.compile(
    rb"""<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I
)
_WIDER = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "euc_kr": "cp949", "shift_jis": "cp932",
    "gb2312": "gb18030", "gbk": "gb18030", "tis_620": "cp874",
}  # fmt: skip
_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\r?\n(.*?)(?:^\1[ \t]*(?:\r?\n|\Z))", re.S | re.M)
_FIELD = re.compile(r"^([A-Za-z_][\w-]*)\s*[:=]\s*(.*?)\s*$", re.M)


@dataclass(frozen=True, slots=True)
class Context:
    """What the page says about one of its images; it decides which words serve the same purpose.

    Example: Context(title="A walk to the harbour", heading="The lighthouse", caption="Built in 1902.",
    before="We went on foot.", after="From the top you see the bay.", link="", language="en").
    """

    title: str = ""
    heading: str = ""
    caption: str = ""
    before: str = ""
    after: str = ""
    link: str = ""
    """Target of the link around the image: the image is then functional."""
    language: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha256(
            "\x1f".join(
                (self.title, self.heading, self.caption, self.before, self.after, self.link)
            ).encode()
        ).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Page:
    """A decoded page and its slots in source order; `contexts[i]` belongs to `slots[i]`."""

    text: str
    encoding: str
    slots: tuple[Slot, ...]
    contexts: tuple[Context, ...]
    title: str


def is_page(suffix: str) -> bool:
    return suffix.lower() in PAGE_SUFFIXES


def read(
    data: bytes,
    suffix: str,
    patterns: Sequence[CallPattern] = (),
    dialect: Dialect = "backslash",
) -> Page:
    """Read a page's bytes. `suffix` (".md", ".html") decides the syntax; `patterns` come before the
    shipped ones. Raises PageError where the bytes are no text at all."""
    text, encoding = decode(data)
    body, variables = _front_matter(text)
    masked = templates.mask(body, variables)
    visible = masked.text
    links: list[tuple[int, int, str]] = []
    headings: list[tuple[int, str]] = []
    spans: list[tuple[int, int, Slot]] = []
    code: list[tuple[int, int]] = []
    parsed = None
    if suffix.lower() in MARKDOWN_SUFFIXES:
        parsed = markdown.parse(masked, visible)
        code, spans, links, headings = parsed.code, parsed.slots, parsed.links, parsed.headings
        visible = _blank(visible, code)
    code = [*code, *(m.span() for m in re.finditer(r"<!--.*?(?:-->|\Z)", visible, re.S))]
    # Markdown images are blanked: their alt texts are no part of a caption or heading around them.
    found, around = html.scan(masked, _blank(visible, [(a, b) for a, b, _ in spans]))
    spans = [*spans, *(s for s in found if not any(a <= s[0] < b for a, b, _ in spans))]
    spans += [
        s
        for s in templates.slots(masked, (*patterns, *SHIPPED_PATTERNS), dialect)
        if not any(a <= s[0] < b for a, b in code) and not any(a < s[0] < b for a, b, _ in spans)
    ]
    if parsed is not None:
        spans = [(a, b, _in_markdown(s, visible, parsed.tables)) for a, b, s in spans]
    spans.sort(key=lambda s: s[0])
    around.links += links
    around.headings = sorted([*around.headings, *headings])
    title = variables.get("title") or around.title or next((h for _, h in around.headings), "")
    around.title, around.language = title, variables.get("lang") or around.language
    plain, places = _without(visible, [(a, b) for a, b, _ in spans])
    contexts = tuple(
        _context(a, b, plain[:place], plain[place:], around)
        for (a, b, _), place in zip(spans, places, strict=True)
    )
    return Page(text, encoding, tuple(s for _, _, s in spans), contexts, title)


def _in_markdown(slot: Slot, text: str, tables: Sequence[tuple[int, int]]) -> Slot:
    """A tag or call in Markdown: what its text must not hold, for the block around it to stay one."""
    if slot.syntax == "markdown":
        return slot
    if any(a <= slot.at < b for a, b in tables):
        return replace(slot, in_table=True)
    if slot.lines == "one" or markdown.line_lead(text, slot.at).strip():
        return replace(slot, lines="one")
    return replace(slot, lines="plain")


def rewrite(
    data: bytes,
    suffix: str,
    texts: Mapping[int, str],
    patterns: Sequence[CallPattern] = (),
    dialect: Dialect = "backslash",
) -> bytes:
    """The page with new alt texts: `texts` maps a slot's index to its text ("" for decoration).

    All other bytes stay. Raises PageError where a text cannot stand in its slot, or where reading the
    result back does not give exactly the wanted texts.
    """
    page = read(data, suffix, patterns, dialect)
    for escape_all in (False, True):
        result = _splice(page, texts, escape_all)
        again = read(result, suffix, patterns, dialect)
        wrong = _differences(page, again, texts)
        if not wrong:
            return result
    raise PageError(f"the alt text would not read back as written ({wrong}); nothing was changed")


def _splice(page: Page, texts: Mapping[int, str], escape_all: bool) -> bytes:
    pieces, position = [], 0
    newline = "\r\n" if "\r\n" in page.text else "\n"
    for index, slot in enumerate(page.slots):
        if index not in texts:
            continue
        if not slot.writable:
            raise PageError(f"the alt text of {slot.src} is a variable; its words stand elsewhere")
        rendered = slot.render(texts[index], page.encoding, escape_all=escape_all)
        pieces += [page.text[position : slot.start], rendered.replace("\n", newline)]
        position = slot.end
    pieces.append(page.text[position:])
    return "".join(pieces).encode(page.encoding)


def _differences(page: Page, again: Page, texts: Mapping[int, str]) -> str:
    if len(page.slots) != len(again.slots):
        return f"{len(page.slots)} images before, {len(again.slots)} after"
    for index, (old, new) in enumerate(zip(page.slots, again.slots, strict=True)):
        wanted = texts.get(index, old.alt)
        if old.src != new.src:
            return f"image {index + 1} was {old.src}, is {new.src}"
        if _folded(wanted) != _folded(new.alt):
            return f"{old.src}: wanted {wanted!r}, read {new.alt!r}"
    return ""


def _folded(text: str | None) -> str | None:
    return None if text is None else " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())


def decode(data: bytes) -> tuple[str, str]:
    """Text and encoding such that encoding the text gives the same bytes: byte-order marks, UTF-8, the
    charset that the page declares, else Latin-1, which holds every byte."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"]
    else:
        declared = _CHARSET.search(data[:2048])
        candidates = [
            "utf-8",
            *(_meant(declared[1].decode("ascii", "replace")) if declared else []),
        ]
        if b"\0" in data:
            raise PageError("the page holds NUL bytes: it is no text")
    for encoding in candidates:
        try:
            text = data.decode(encoding)
            if text.encode(encoding) == data:
                return text, encoding
        except (UnicodeError, LookupError):
            continue
    return data.decode("latin-1"), "latin-1"


def _meant(label: str) -> list[str]:
    """The encodings that a label may mean, the likeliest first: browsers read many as a larger one
    (WHATWG Encoding Standard, section 4.2)."""
    try:
        wider = _WIDER.get(codecs.lookup(label).name)
    except LookupError:
        return []
    return [wider, label] if wider else [label]


def _front_matter(text: str) -> tuple[str, dict[str, str]]:
    """The text with its front matter blanked, and its plain `key: value` fields (no nesting, no lists)."""
    match = _FRONT_MATTER.match(text.removeprefix("\ufeff"))
    if not match:
        return text, {}
    shift = len(text) - len(text.removeprefix("\ufeff"))
    fields = {k: v.strip("'\"") for k, v in _FIELD.findall(match[2])}
    return _blank(text, [(shift, shift + match.end())]), fields


def _blank(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Replace spans by blanks, line breaks kept, so that offsets stay."""
    pieces, position = [], 0
    for start, end in sorted(spans):
        if start < position:
            continue
        pieces += [text[position:start], re.sub(r"[^\r\n]", " ", text[start:end])]
        position = end
    return "".join([*pieces, text[position:]])


def _without(text: str, spans: Sequence[tuple[int, int]]) -> tuple[str, list[int]]:
    """The text without the spans (in order), and where each of them was; so the length of one image's
    alt text does not move what counts as near another."""
    pieces, places, position, length = list[str](), list[int](), 0, 0
    for start, end in spans:
        pieces.append(text[position:start] + " ")
        length += len(pieces[-1])
        places.append(length)
        position = max(position, end)
    return "".join([*pieces, text[position:]]), places


def _context(start: int, end: int, before: str, after: str, around: html.Surroundings) -> Context:
    def innermost(spans: list[tuple[int, int, str]]) -> str:
        inside = [(b - a, words) for a, b, words in spans if a <= start and end <= b]
        return min(inside)[1] if inside else ""

    heading = next((h for at, h in reversed(around.headings) if at < start), "")
    before, after = _words(before[-1500:]), _words(after[:1500])
    return Context(
        title=around.title[:200],
        heading=heading[:200] if heading != around.title else "",
        caption=innermost(around.figures)[:500],
        before=_last_words(before, 300),
        after=_first_words(after, 300),
        link=innermost(around.links)[:300],
        language=around.language,
    )


def _words(source: str) -> str:
    """Source code to roughly plain words: tags, link targets and marks gone."""
    source = re.sub(
        r"<[^<>]*>?|^[^<>]*>(?=[^<>]*<)|\]\([^)]*\)|\]\[[^\]]*\]|[\ue000-\uf8ff]+", " ", source
    )
    source = re.sub(r"(?<!\w)[*_`]+|[*_`]+(?!\w)", "", source)
    return " ".join(re.sub(r"[\[\]#*_`|>{}!]+", " ", source).split())


def _last_words(text: str, length: int) -> str:
    return text if len(text) <= length else text[-length:].partition(" ")[2]


def _first_words(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length].rpartition(" ")[0]
