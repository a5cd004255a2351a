"""A slot is the place in a page's source where the alt text of one shown image stands, or would stand.

Nothing here parses: the parsers (`html`, `markdown`, `templates`) make slots, and a slot knows how its
syntax wants a text to be written.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Literal

from looksay.errors import PageError

Syntax = Literal["html", "markdown", "template"]
Dialect = Literal["backslash", "entity"]
"""How a template engine writes a quote inside a quoted string: Nunjucks, Twig, LiquidJS and Hugo escape
with a backslash; Ruby Liquid (Jekyll) cannot, so the text, which ends in HTML, takes an entity."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One shown image. `start:end` of the page's text is what a new alt text replaces.

    Example, for `<img src=a.png>`: Slot(src="a.png", alt=None, start=14, end=14, syntax="html",
    before=' alt=', after="", quote='"').
    """

    src: str
    """The reference to the image as the page means it, entities and simple template values resolved."""
    alt: str | None
    """None: the syntax holds no alt text at all; "": it holds an empty one."""
    at: int
    """Offset of the whole construct, which orders the slots of a page."""
    start: int
    end: int
    syntax: Syntax
    before: str = ""
    after: str = ""
    quote: str = ""
    dialect: Dialect = "backslash"
    only_double: bool = False
    """Hugo's shortcodes know no single quotes."""
    line_prefix: str = ""
    """What continues a line inside a block quote or list."""
    in_table: bool = False
    """A pipe would end the cell, and a line break the row."""
    lines: Literal["any", "plain", "one"] = "any"
    """Where a line break may stand: anywhere; before what begins like plain text (else Markdown would
    read it as a new block); nowhere."""
    presentational: bool = False
    """Marked as decoration by `role` or `aria-hidden`."""
    writable: bool = True
    """False where the alt text is a variable: its words stand elsewhere."""
    stray: bool = False
    """Text follows the alt text that belongs to no argument: an unescaped quote, most likely."""

    def render(self, text: str, encoding: str, *, escape_all: bool = False) -> str:
        """The source that puts `text` into this slot. Raises PageError where the syntax cannot hold it.

        `escape_all` escapes every character that Markdown might read as markup, not only those that
        usually need it; the caller asks for it when the text did not survive reading back.
        """
        text = _tidy(text)
        if self.lines == "plain":
            text = _BLOCK_START.sub(" ", text)
        elif self.in_table or self.lines == "one":
            text = text.replace("\n", " ")
        if self.syntax == "markdown":
            source = self._markdown(text, escape_all)
        elif self.syntax == "html":
            source = self._html(text)
        else:
            source = self._template(text)
        return self.before + _encodable(source, encoding, self.syntax) + self.after

    def _html(self, text: str) -> str:
        quote = self.quote or '"'
        text = escape_ambiguous(text).replace(quote, "&quot;" if quote == '"' else "&#39;")
        text = text.replace("|", "&#124;") if self.in_table else text
        return quote + _hide_template_marks(text) + quote

    def _markdown(self, text: str, escape_all: bool) -> str:
        if escape_all:
            text = re.sub(r"([\\`*_\[\]~!|])", r"\\\1", escape_ambiguous(text, every=True))
            # A line that begins like a list or heading would end the paragraph, and the image with it.
            text = text.replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
        else:
            text = re.sub(r"([\\\[\]])", r"\\\1", escape_ambiguous(text))
            if self.in_table:
                text = text.replace("|", r"\|")
        return _hide_template_marks(text).replace("\n", "\n" + self.line_prefix)

    def _template(self, text: str) -> str:
        quote = self.quote or '"'
        if quote == "`":
            if "`" in text:
                raise PageError("a backtick cannot stand in a raw Hugo string")
            return quote + text + quote
        text = _REFERENCE.sub("&amp;", text)
        other = "'" if quote == '"' else '"'
        if quote in text and other not in text and not self.only_double:
            quote = other
        if self.dialect == "backslash" or self.only_double:
            text = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
        else:
            text = text.replace("\\", "&#92;").replace(quote, "&quot;" if quote == '"' else "&#39;")
        text = text.replace("|", "&#124;") if self.in_table else text
        return quote + _hide_template_marks(text, ends=True) + quote


_READ = r"(?:amp;)*(?:quot|#39|#92|#\d{3,7});"
"""The character references that a template's string is read with: those that `_template` writes."""
_REFERENCE = re.compile(f"&(?={_READ})")


def read_quoted(raw: str, dialect: Dialect) -> str:
    """What a quoted template argument (quotes taken off) says."""
    if dialect == "backslash":
        raw = re.sub(r"\\(.)", r"\1", raw, flags=re.S)
    return re.sub(f"&amp;(?={_READ})|&{_READ}", lambda m: html.unescape(m[0]), raw)


_BLOCK_START = re.compile(r"\n(?=[ \t]*(?:[-+*#>=`~<|_:\[!]|\d+[.)]))")


def escape_ambiguous(text: str, *, every: bool = False) -> str:
    """Escape `&` only where HTML would read it as a character reference (so "R&D" stays as it is)."""

    def amp(match: re.Match[str]) -> str:
        return "&amp;" + match[1] if every or html.unescape(match[0]) != match[0] else match[0]

    return re.sub(r"&(#\w*;?|\w{1,32};?|)", amp, text)


def _tidy(text: str) -> str:
    """One line break at a time, no control characters: a blank line would end a paragraph or HTML block."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", " ", text)
    return re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n", text).strip("\n")


def _hide_template_marks(text: str, *, ends: bool = False) -> str:
    """Keep a static site generator from reading a text as template code."""
    text = re.sub(r"\{(?=[{%#<])", "&#123;", text)
    if ends:
        text = re.sub(r"([%}#>])\}", r"\1&#125;", text)
    return text


def _encodable(source: str, encoding: str, syntax: Syntax) -> str:
    """Characters that the page's encoding lacks become character references, where the syntax has them."""
    try:
        source.encode(encoding)
    except UnicodeEncodeError:
        return source.encode(encoding, "xmlcharrefreplace").decode(encoding)
    return source
