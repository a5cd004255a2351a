"""What is wrong with a text, each by a rule of its own; the thresholds are ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from looksay.texts import ptb
from looksay.texts.language import COMMON, in_language
from looksay.texts.language import sentences as sentences_of

_SENTENCE = re.compile(r"[^.!?\n]+")
_CLOSED = re.compile(r"[.!?…][\s\"'”’)*_]*$")
_STRAY = re.compile(r"#{2,}|</?[a-z][^<>]*>|```|\\[nrt]\b|[|_]{3,}|https?://|\ufffd", re.IGNORECASE)
"""Marks that belong to prompts, pages and programs."""
_ITEM = re.compile(r"(?:[-*•·]|\d+[.)])\s")


def empty(text: str, *, least: int = 1) -> bool:
    """Fewer than `least` words."""
    return len(ptb.tokenize(text)) < least


def repeated(text: str, *, row: int = 3, span: int = 8, sentences: int = 2, words: int = 4) -> bool:
    """Up to `span` words said `row` times in a row, or a sentence of `words` or more said `sentences` times.

    A line is a sentence, so the refrain of a poem counts: give poems a higher `sentences`.

    >>> repeated("a dog and a dog and a dog and"), repeated("A dog. It looks at a dog.")
    (True, False)
    """
    said = Counter(tuple(sentence) for sentence in _sentences(text) if len(sentence) >= words)
    if any(times >= sentences for times in said.values()):
        return True
    tokens = ptb.tokenize(text)
    return any(_in_a_row(tokens, size) >= row for size in range(1, span + 1))


def fragmentary(text: str, *, words: int = 3, share: float = 0.5) -> bool:
    """The last of several sentences breaks off, or `share` of two or more has fewer than `words` words.

    One line without a full stop is a caption, not a fragment.

    >>> fragmentary("A dog sits on a bench. It is"), fragmentary("a dog on a bench")
    (True, False)
    """
    sentences = _sentences(text)
    if len(sentences) < 2:
        return False
    # Lines of a poem may end in anything.
    if "\n" not in text.strip() and not _CLOSED.search(text.rstrip()):
        return True
    return sum(len(sentence) < words for sentence in sentences) >= share * len(sentences)


def is_repetitive(text: str) -> bool:
    """Whether a text runs in a loop: half of its four-word runs, or more, stand there already."""
    words = text.lower().split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(runs) >= 8 and len(set(runs)) <= len(runs) / 2


def no_sentences(text: str, language: str = "en", *, share: float = 1 / 3, words: int = 6) -> bool:
    """Marks of prompts or pages stand in it, or `share` of its sentences and more are none: items of a list, mostly
    signs, or `words` words in a row without one of the short ones that every sentence of the language has.

    >>> no_sentences("dog cat tree car sky grass fence"), no_sentences("A dog sits by a fence. ### Human")
    (True, True)
    >>> no_sentences("A dog sits by a fence, and a cat watches it from the roof.")
    False
    """
    if _STRAY.search(text):
        return True
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    parts = [part for line in lines for part in sentences_of(line)]
    none = sum(_is_none(part, language, words) for part in parts)
    return bool(parts) and none >= share * len(parts)


def foreign(text: str, language: str = "en") -> bool:
    """A sentence of it, or the whole, is in another language.

    >>> foreign("A dog sits by a fence. Der Hund sieht die Katze auf dem Dach und bellt.")
    True
    """
    return not all(in_language(part, language) for part in (text, *sentences_of(text)))


def _is_none(part: str, language: str, words: int) -> bool:
    signs = "".join(part.split())
    if _ITEM.match(part) or sum(map(str.isalpha, signs)) < 0.6 * len(signs):
        return True
    said = ptb.tokenize(part)
    common = COMMON.get(language.split("-")[0].lower(), "").split()
    return bool(common) and len(said) >= words and not set(said) & set(common)


def _sentences(text: str) -> list[list[str]]:
    found = (ptb.tokenize(sentence) for sentence in _SENTENCE.findall(text))
    return [tokens for tokens in found if tokens]


def _in_a_row(tokens: Sequence[str], size: int) -> int:
    """How often, at most, so many words come again directly after themselves."""
    most = run = 0
    for place in range(size, len(tokens)):
        run = run + 1 if tokens[place] == tokens[place - size] else 0
        most = max(most, run)
    return most // size + 1 if tokens else 0
