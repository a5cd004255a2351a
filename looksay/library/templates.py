"""Template code in pages: Jekyll and Eleventy (Liquid), Nunjucks, Twig, Hugo shortcodes.

Two jobs. `mask` hides template code behind placeholders of the same length, so that the HTML and
Markdown parsers see plain text at unchanged offsets. `slots` finds the calls that show an image,
such as `{% image "path" "alt" %}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from looksay.library.slots import Dialect, Slot, read_quoted


@dataclass(frozen=True, slots=True)
class CallPattern:
    """Which calls show an image: the call's name (with * and ?), and the names or positions (from 0)
    of the arguments that hold the photo and the alt text. The first one present counts.

    In looksay.toml: `[[templates]]`, `call = "gallery_*"`, `photo = ["src", 0]`, `alt = ["alt", 2]`.
    """

    call: str
    photo: tuple[str | int, ...]
    alt: tuple[str | int, ...]


SHIPPED_PATTERNS: tuple[CallPattern, ...] = (
    # Eleventy image shortcodes, as sites commonly define them.
    CallPattern("image_with_class", ("src", "path", 0), ("alt", 2)),
    CallPattern("image", ("src", "path", 0), ("alt", 1)),
    CallPattern("img", ("src", "path", 0), ("alt", 1)),
    # Hugo: the built-in figure, and Jekyll includes and tags with named arguments.
    CallPattern("figure", ("src", "image", "path", "url", "link", 0), ("alt", 1)),
    CallPattern("*", ("src", "image", "img", "path", "file", "image_path", "url"), ("alt",)),
)

_STRING = r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`'
_CODE = re.compile(
    r"\{#.*?#\}"
    r"|\{\{/\*.*?\*/\}\}"
    r"|\{%-?\s*(comment|raw|highlight|verbatim|codeblock)\b.*?%\}.*?\{%-?\s*end\1\s*-?%\}"
    r"|\{\{[<%]\s*(highlight)\b.*?[>%]\}\}.*?\{\{[<%]\s*/\2\s*[>%]\}\}"
    r"|\{\{[<%].*?[>%]\}\}"
    r"|\{%(?:" + _STRING + r"|[^\"'`%]|%(?!\}))*?%\}"
    r"|\{%.*?%\}"
    r"|\{\{(?:" + _STRING + r"|[^\"'`{}])*?\}\}"
    r"|\{\{.*?\}\}",
    re.S,
)
_CALL = re.compile(
    r"\{(?:%-?|\{[<%])\s*(?P<name>[\w.-]+)(?P<args>.*?)(?P<end>-?%\}|/?\s*[>%]\}\})\Z", re.S
)
_ARGUMENT = re.compile(
    r"(?:(?P<key>[\w-]+)\s*(?P<sep>[:=])\s*)?(?P<value>"
    + _STRING
    + r"|[^\s,\"'`]+)(?P<tail>\s*,)?",
    re.S,
)
_EXPRESSION = re.compile(
    r"\{\{-?\s*(?:(?P<string>" + _STRING + r")|(?P<name>[\w.]+))\s*(?:\|.*)?-?\}\}", re.S
)
_FILE_FIRST = frozenset({"include", "include_relative", "partial", "render"})
"""Calls whose first argument names a template, not a photo."""
_SHOW_NOTHING = frozenset(
    [
        "assign",
        "capture",
        "case",
        "comment",
        "codeblock",
        "elif",
        "elsif",
        "for",
        "highlight",
        "if",
        "macro",
        "raw",
        "set",
        "unless",
        "verbatim",
        "when",
    ]
)
_FIRST, _BASE = 0xE000, 6000


@dataclass(frozen=True, slots=True)
class Masked:
    """A page's text with its template code hidden; offsets are those of the original."""

    text: str
    codes: tuple[tuple[int, str], ...]
    """(offset, source) of each hidden piece."""
    variables: Mapping[str, str] = field(default_factory=dict)

    def reveal(self, piece: str) -> str:
        """Put template values back into a string taken from the masked text (an image reference)."""

        def value(match: re.Match[str]) -> str:
            number = (ord(match[0][0]) - _FIRST) * _BASE + ord(match[0][1]) - _FIRST
            if number >= len(self.codes):
                return match[0]
            return evaluate(self.codes[number][1], self.variables)

        high = chr(_FIRST + _BASE - 1)
        revealed = re.sub(f"[{chr(_FIRST)}-{high}]{{2}}\uf8ff*", value, piece)
        return revealed.replace("\uf8ff", "")


def mask(text: str, variables: Mapping[str, str] | None = None) -> Masked:
    """Hide template code: two private-use characters that number the piece, then filler; line breaks
    inside it stay, so lines and offsets are those of the original."""
    codes: list[tuple[int, str]] = []

    def hide(match: re.Match[str]) -> str:
        number = len(codes)
        codes.append((match.start(), match[0]))
        mark = chr(_FIRST + number // _BASE) + chr(_FIRST + number % _BASE)
        return mark + re.sub(r"[^\n\r]", "\uf8ff", match[0][2:])

    masked = _CODE.sub(hide, text)
    return Masked(masked, tuple(codes), variables or {})


def evaluate(code: str, variables: Mapping[str, str]) -> str:
    """The value of `{{ "literal" | filters }}` or `{{ page.name }}`; "" for what only the site
    generator knows (a base URL, say). `{% link path %}` gives its path."""
    match = _EXPRESSION.fullmatch(code)
    if match:
        if match["string"]:
            return match["string"][1:-1]
        name = match["name"].removeprefix("page.").removeprefix("this.")
        return variables.get(name, "")
    link = re.fullmatch(r"\{%-?\s*link\s+(\S+)\s*-?%\}", code)
    return link[1] if link else ""


def slots(
    masked: Masked, patterns: Sequence[CallPattern], dialect: Dialect
) -> Iterator[tuple[int, int, Slot]]:
    """(start, end, slot) of each template call that shows an image, in the page's order."""
    for offset, code in masked.codes:
        match = _CALL.match(code)
        if match is None or match["name"].startswith("end") or match["name"] in _SHOW_NOTHING:
            continue
        slot = _slot(match, offset, patterns, dialect, masked.variables)
        if slot:
            yield offset, offset + len(code), slot


@dataclass(frozen=True, slots=True)
class _Argument:
    key: str | int
    raw: str
    start: int
    end: int
    comma: bool
    sep: str

    @property
    def quoted(self) -> bool:
        return self.raw[:1] in "\"'`"


def _slot(
    call: re.Match[str],
    offset: int,
    patterns: Sequence[CallPattern],
    dialect: Dialect,
    variables: Mapping[str, str],
) -> Slot | None:
    hugo = call[0].startswith("{{")
    dialect = "backslash" if hugo else dialect
    arguments = _arguments(call, offset)
    if call["name"] in _FILE_FIRST:
        arguments = arguments[1:]
    by_key = {a.key: a for a in arguments}
    for pattern in patterns:
        photo = next((by_key[k] for k in pattern.photo if k in by_key), None)
        if photo is None or not fnmatchcase(call["name"], pattern.call):
            continue
        src = (
            read_quoted(photo.raw[1:-1], dialect)
            if photo.quoted
            else variables.get(photo.raw, photo.raw)
        )
        if not photo.quoted and "." not in src:
            continue  # a variable that only the site generator knows
        slot = Slot(
            src,
            None,
            offset,
            photo.end,
            photo.end,
            "template",
            dialect=dialect,
            only_double=hugo,
            lines="one" if hugo else "any",
        )
        alt = next((by_key[k] for k in pattern.alt if k in by_key), None)
        if alt is None:
            return replace(slot, before=_before(photo, arguments, pattern))
        if not alt.quoted:  # alt=variable: the words are written elsewhere
            return replace(slot, alt=alt.raw, start=alt.start, end=alt.end, writable=False)
        bare_after = [
            a for a in arguments if a.start > alt.end and not a.quoted and isinstance(a.key, int)
        ]
        return replace(
            slot,
            alt=read_quoted(alt.raw[1:-1], dialect),
            start=alt.start,
            end=alt.end,
            quote=alt.raw[0],
            stray=len(bare_after) > 1 and not alt.comma,
        )
    return None


def _before(photo: _Argument, arguments: list[_Argument], pattern: CallPattern) -> str:
    """What introduces an alt argument that is not there yet, in the style of the call."""
    comma = "," if photo.comma or any(a.comma for a in arguments) else ""
    name = next((k for k in pattern.alt if isinstance(k, str)), None)
    if isinstance(photo.key, str) and name:
        return f"{comma} {name}{photo.sep}{' ' if photo.sep == ':' else ''}"
    return f"{comma} "


def _arguments(call: re.Match[str], offset: int) -> list[_Argument]:
    base, found, place = offset + call.start("args"), list[_Argument](), 0
    for match in _ARGUMENT.finditer(call["args"]):
        start, end = match.span("value")
        key: str | int = match["key"] or place
        place += not match["key"]
        found.append(
            _Argument(
                key,
                match["value"],
                base + start,
                base + end,
                bool(match["tail"]),
                match["sep"] or "",
            )
        )
    return found
