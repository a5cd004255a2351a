"""Images in Markdown source, with the exact spans of their alt texts.

markdown-it-py decides what is an image, a link or code; it gives line ranges only, so its inline rules
are wrapped to note offsets, and each inline block's content is aligned with its source lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from looksay.library.slots import Slot
from looksay.library.templates import Masked

_VERBATIM = re.compile(r"\s*<(?:!--|pre|script|style|textarea|code)\b", re.I)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")


@dataclass(slots=True)
class Parsed:
    """Spans are (start, end) offsets of the page's text."""

    slots: list[tuple[int, int, Slot]] = field(default_factory=list)
    links: list[tuple[int, int, str]] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    code: list[tuple[int, int]] = field(default_factory=list)
    tables: list[tuple[int, int]] = field(default_factory=list)


def parse(masked: Masked, text: str) -> Parsed:
    """Images, links, headings and code of Markdown `text` (template code masked, front matter blanked)."""
    lines = [m.span() for m in _LINE.finditer(text)]
    environment: dict[str, Any] = {}
    tokens = _markdown().parse(text, environment)
    parsed, in_table, cursor = Parsed(), False, 0
    for number, token in enumerate(tokens):
        if token.type in ("table_open", "table_close"):
            in_table = token.type == "table_open"
            if token.map:
                parsed.tables.append((lines[token.map[0]][0], lines[token.map[1] - 1][1]))
        elif token.type in ("fence", "code_block") and token.map:
            parsed.code.append((lines[token.map[0]][0], lines[token.map[1] - 1][1]))
        elif token.type == "inline" and token.map:
            offsets = _align(token, text, lines, cursor if in_table else 0)
            cursor = offsets[-1] + 1
            if number and tokens[number - 1].type == "heading_open":
                parsed.headings.append((lines[token.map[0]][0], _words(token.children or [])))
            _inline(token, text, offsets, in_table, masked, parsed)
        elif token.type == "html_block" and token.map and not _VERBATIM.match(token.content):
            # CommonMark shows Markdown inside an HTML block as it is; authors mean an image all the
            # same, and several generators (kramdown's markdown="1", MDX) make one of it.
            (inner,) = _markdown().parseInline(token.content.rstrip("\n"), environment)
            inner.map = token.map
            _inline(inner, text, _align(inner, text, lines, 0), False, masked, parsed)
    return parsed


def _inline(
    token: Token, text: str, offsets: list[int], in_table: bool, masked: Masked, parsed: Parsed
) -> None:
    for child in token.children or []:
        start, end = (offsets[p] for p in child.meta.get("span", (0, 0)))
        if child.type == "image":
            parsed.slots.append((start, end, _slot(child, token, text, offsets, in_table, masked)))
        elif child.type == "code_inline":
            parsed.code.append((start, end))
        elif child.type == "link_open":
            parsed.links.append(
                (start, end, masked.reveal(unquote(str(child.attrs.get("href", "")))))
            )


def _slot(
    image: Token, block: Token, text: str, offsets: list[int], in_table: bool, masked: Masked
) -> Slot:
    label_start, label_end = image.meta["label"]
    first, last = image.meta["span"]
    tail = block.content[label_end + 1 : last]  # "(url)", "[ref]", "[]" or ""
    start, end, after = offsets[label_start], offsets[label_end], ""
    if tail in ("", "[]"):  # the alt text is also the reference's name, which has to stay
        end, after = offsets[last], f"][{block.content[label_start:label_end]}]"
    return Slot(
        src=masked.reveal(unquote(str(image.attrs.get("src", "")))),
        alt=masked.reveal(_alt_text(image)),
        at=offsets[first],
        start=start,
        end=end,
        syntax="markdown",
        after=after,
        line_prefix=re.sub(r"[^\s>]", " ", line_lead(text, offsets[first])),
        in_table=in_table,
        writable=not any("\ue000" <= c <= "\uf8ff" for c in block.content[label_start:label_end]),
    )


def line_lead(text: str, offset: int) -> str:
    """The quote and list marks, and the indentation, before what stands in the line of `offset`."""
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    lead = re.compile(r"(?:[ \t>]|[-*+][ \t]|\d+[.)][ \t])*").match(text, start, offset)
    return lead[0] if lead else ""


def _alt_text(image: Token) -> str:
    """The text of an image's label as CommonMark renders it: markup gone, line breaks kept."""
    pieces: list[str] = []
    for child in image.children or []:
        if child.type in ("softbreak", "hardbreak"):
            pieces.append("\n")
        elif child.type == "image":
            pieces.append(_alt_text(child))
        elif child.type not in ("html_inline",):
            pieces.append(child.content)
    return "".join(pieces)


def _words(tokens: Sequence[Token]) -> str:
    """A heading's words, without those of its images."""
    pieces = [
        t.content if t.type in ("text", "code_inline") else " " * ("break" in t.type)
        for t in tokens
    ]
    return " ".join(re.sub("[\ue000-\uf8ff]+", " ", "".join(pieces)).split())


def _align(token: Token, text: str, lines: list[tuple[int, int]], cursor: int) -> list[int]:
    """Offset in `text` of each character of the block's content, and of its end.

    markdown-it takes indentation, quote marks, heading marks, trailing blanks and (in tables) the
    backslash before a pipe away, nothing else; so each content line is found in its source line.
    """
    assert token.map is not None
    offsets: list[int] = []
    line = token.map[0]
    for part in token.content.split("\n"):
        begin = max(lines[line][0], cursor)
        source = text[begin : lines[line][1]]
        found = source.find(part)
        if found >= 0:
            offsets.extend(range(begin + found, begin + found + len(part) + 1))
        else:
            offsets.extend(_align_escaped(part, source, begin))
        line = min(line + 1, len(lines) - 1)
    return offsets


def _align_escaped(part: str, source: str, begin: int) -> list[int]:
    offsets, position = [], 0
    for character in part:
        found = source.find(character, position)
        position = found if found >= 0 else position
        if character == "|" and source[position - 1 : position] == "\\":
            offsets.append(begin + position - 1)
        else:
            offsets.append(begin + position)
        position += 1
    return [*offsets, begin + position]


_parser: MarkdownIt | None = None


def _markdown() -> MarkdownIt:
    global _parser
    if _parser is None:
        _parser = MarkdownIt("commonmark").enable("table")
        for name in ("image", "link", "backticks"):
            _note_spans(_parser, name)
    return _parser


_Rule = Callable[[StateInline, bool], bool]


def _note_spans(parser: MarkdownIt, name: str) -> None:
    """Wrap the inline rule `name`: the token that it opens notes where its source begins and ends."""
    rules = parser.inline.ruler.__rules__
    original: _Rule = next(rule.fn for rule in rules if rule.name == name)

    def noting(state: StateInline, silent: bool) -> bool:
        start, already = state.pos, len(state.tokens)
        if not original(state, silent):
            return False
        if silent:
            return True
        kind = {"image": "image", "link": "link_open", "backticks": "code_inline"}[name]
        for token in state.tokens[already:]:
            if token.type == kind and "span" not in token.meta:
                token.meta["span"] = (start, state.pos)
                if name == "image":
                    end = state.md.helpers.parseLinkLabel(state, start + 1, False)
                    token.meta["label"] = (start + 2, end)
                break
        return True

    parser.inline.ruler.at(name, noting)
