"""Our prompts as a Jinja template, for processors that are given messages whose contents are parts.

What transformers, vLLM and others write with it is what `Prompter.prompt` writes.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from looksay.models import templates
from looksay.types import Role

_PARTS = """
{%- for m in messages -%}
{%- set ns.words = '' -%}{%- set ns.count = 0 -%}{%- set ns.flat = '' -%}
{%- if m['content'] is string -%}
{%- set ns.words = m['content'] -%}{%- set ns.flat = m['content'] -%}
{%- else -%}
{%- for p in m['content'] -%}
{%- set between = '\\n' if ns.flat else '' -%}
{%- if p['type'] == 'image' -%}
{%- set ns.count = ns.count + 1 -%}{%- set ns.flat = ns.flat ~ between ~ IMAGE -%}
{%- elif p['type'] == 'text' -%}
{%- set ns.words = ns.words ~ ('\\n' if ns.words else '') ~ (p['text'] | trim) -%}
{%- set ns.flat = ns.flat ~ between ~ p['text'] -%}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
"""
_OWN = """{%- set ns = namespace(all=[], words='', count=0, flat='') -%}""" + (
    _PARTS
    + """{%- set ns.all = ns.all + [{'role': m['role'], 'content': ns.flat}] -%}
{%- endfor -%}
{%- set messages = ns.all -%}
"""
)
_PUBLISHED = (
    """{%- set ns = namespace(head=HEAD, started=false, words='', count=0, flat='') -%}"""
    + (
        _PARTS
        + """{%- if m['role'] == 'system' -%}
{%- set ns.head = SYSTEM -%}
{%- elif m['role'] == 'assistant' -%}
{{- LEAD ~ ns.words ~ END -}}
{%- else -%}
{%- set text = TEXT -%}
{%- if ns.started -%}
{{- LATER -}}
{%- else -%}
{%- set ns.started = true -%}
{{- FIRST -}}
{%- endif -%}
{%- endif -%}
{%- endfor -%}
"""
    )
)


def jinja(tokenizer: Any, template: str | None, image_token: str) -> str | None:
    """The chat template of a processor; None where the tokenizer has none either."""
    image = json.dumps(image_token)
    if template is None:
        own = tokenizer.chat_template
        return None if not own else _OWN.replace("IMAGE", image) + own
    eos = tokenizer.eos_token or ""
    text = f"({image} ~ '\\n') * ns.count ~ ns.words"
    if templates.find(template).plain:
        text, pieces = f"{image} * ns.count", _Pieces("", ("", ""), "", "", "", "", "")
    else:
        pieces = _pieces(template, eos, image_token)
    system = [json.dumps(piece) for piece in pieces.system]
    filled = {
        "IMAGE": image,
        "SYSTEM": f"{system[0]} ~ ns.words ~ {system[1]}",
        "HEAD": json.dumps(pieces.head),
        "LEAD": json.dumps(pieces.lead),
        "END": json.dumps(pieces.end),
        "TEXT": text,
        "LATER": f"{json.dumps(pieces.later)} ~ text ~ {json.dumps(pieces.again)}",
        "FIRST": f"ns.head ~ text ~ {json.dumps(pieces.asked)}",
    }
    return re.sub("|".join(filled), lambda name: filled[name[0]], _PUBLISHED)


class _Pieces(NamedTuple):
    head: str
    """Before the first question, without a system message."""
    system: tuple[str, str]
    """The same, around a system message."""
    asked: str
    """After the first question, up to where the assistant begins to speak."""
    lead: str
    """Before an answer's first word."""
    end: str
    """After an answer."""
    later: str
    """Before a further question."""
    again: str
    """After it."""


def _pieces(template: str, eos: str, image_token: str) -> _Pieces:
    """What a template writes around the turns, found by writing turns that are easily found again."""
    turns: list[tuple[Role, str]] = [("user", "\1"), ("assistant", "\1")] * 2
    head, asked, between, again, end = templates.render(template, turns, eos, image_token).split(
        "\1"
    )
    told = templates.render(template, [("system", "\2"), *turns], eos, image_token)
    before, _, after = told.split("\1")[0].partition("\2")
    lead = asked[len(asked.rstrip(" ")) :]
    later = between.removeprefix(end)
    return _Pieces(head, (before, after), asked.rstrip(" "), lead, end, later, again.rstrip(" "))
