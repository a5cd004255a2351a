"""Claims as a language model takes them from a text, in any language; it is not shown the picture.

It answers with JSON in which each claim quotes the words that say it, so that nothing is claimed that the text does not
say. An answer in another form is asked for again, at most three times in all.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from looksay.backends.base import Backend, LoadOptions
from looksay.backends.dialogue import Aside, Request, Unfit, alone, insist
from looksay.backends.loading import load as load_backend
from looksay.data.readers.english import English
from looksay.data.teaching import AGAIN, json_object
from looksay.errors import BackendError, InputError
from looksay.texts.claims import Claim, Kind, Reader, Said
from looksay.types import Completion, Conversation, Options

ABOUT = "Texts in any language, by a language model: asked:MODEL, such as asked:ollama:qwen2.5."
KINDS: tuple[Kind, ...] = get_args(Kind)
_OPTIONS = Options(max_tokens=1000)
_ORDER = """You are given a description of a picture, which you do not see. Take it apart into single claims, each of \
which can be true or false by itself:
- "object": something is in the picture. subject: the noun, in the singular, in English.
- "count": there are so many of it. value: the number in digits.
- "attribute": it has a colour, size, material, age or state. value: one adjective in English.
- "relation": how one thing stands to another. value: such as "on", "left of", "holding"; other: the second noun.
- "text": words that can be read in the picture. subject: what they stand on; value: the words as they are.
quote: the words of the description that say it, copied exactly.
Every subject and every other has an "object" of its own. Leave out moods, judgements and guesses.
Answer with JSON and nothing else: {"claims": [{"kind": "count", "subject": "dog", "value": "2", "other": "", \
"quote": "two small dogs"}, …]}"""


class AskedReader(English):
    """Words, questions and sentences are those of the reader of English."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend
        self.name = f"asked-1 {backend.name} {backend.fingerprint}"
        self._read: dict[str, list[Said]] = {}

    def read(self, text: str) -> list[Said]:
        """Asks once for each text. Raises BackendError where no answer comes or none that can be read."""
        if text not in self._read:
            asked = Conversation.ask(text, system=_ORDER)
            request = Request("claims", self._backend, asked, _OPTIONS)
            found = alone(insist(request, lambda said: _claims(said, text), AGAIN))
            if isinstance(found, Aside):
                raise BackendError(
                    f"{self._backend.name} did not take the text apart into claims: {found.reason}"
                )
            self._read[text] = found
        return self._read[text]


def load(model: str, options: LoadOptions) -> Reader:
    if not model:
        raise InputError("Which model is to read? Type asked:MODEL, such as asked:ollama:qwen2.5")
    return AskedReader(load_backend(model, options))


def _claims(said: Completion, text: str) -> list[Said]:
    rows = json_object(said.text.strip()).get("claims")
    if not isinstance(rows, list):
        raise Unfit("'claims' should be a list")
    found = dict[Claim, list[tuple[int, int]]]()
    for row in rows:
        claim, quote = _claim(row)
        place = re.search(re.escape(quote), text, re.IGNORECASE) if quote else None
        if place is None:
            raise Unfit(f"the description does not say {quote!r}")
        found.setdefault(claim, []).append(place.span())
    for claim in list(found):
        for noun in filter(None, (claim.subject, claim.other)):
            if claim.kind != "text":
                found.setdefault(Claim("object", noun), []).extend(found[claim])
    ordered = sorted(found, key=lambda claim: (min(found[claim]), KINDS.index(claim.kind)))
    return [Said(claim, tuple(dict.fromkeys(found[claim]))) for claim in ordered]


def _claim(row: Any) -> tuple[Claim, str]:
    if not isinstance(row, dict) or not all(isinstance(v, str) for v in row.values()):
        raise Unfit(f"a claim should be an object whose values are texts; found {row!r:.80}")
    kind, subject, value, other = (
        str(row.get(key, "")).strip() for key in ("kind", "subject", "value", "other")
    )
    if kind not in KINDS:
        raise Unfit(f"'kind' should be one of {', '.join(KINDS)}; found {kind!r}")
    if not subject or (kind != "object" and not value) or (kind == "relation" and not other):
        raise Unfit(f"a claim of kind {kind!r} lacks its subject, value or other")
    if kind == "count" and not value.isdecimal():
        raise Unfit(f"the value of a count should be digits; found {value!r}")
    if kind != "text":
        value = "" if kind == "object" else str(int(value)) if kind == "count" else value.lower()
    other = other.lower() if kind == "relation" else ""
    found: Kind = KINDS[KINDS.index(kind)]
    return Claim(found, subject.lower(), value, other), str(row.get("quote", "")).strip()
