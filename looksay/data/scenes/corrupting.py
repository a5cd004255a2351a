"""Captions of scenes of which a share is wrong, as those of the web are: what CapFilt has to find and mend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from looksay.data.dataset import Source, named
from looksay.data.scenes.atlas import COLOURS, NOUNS, PATTERNS
from looksay.data.scenes.telling import NUMBERS
from looksay.types import Conversation, Example, Message

CLASSES: tuple[tuple[str, ...], ...] = (
    tuple(noun.name for noun in NOUNS),
    tuple(noun.plural for noun in NOUNS),
    NUMBERS[2:],
    ("small", "large"),
    tuple(COLOURS),
    PATTERNS,
)
"""Words of which one can stand in the place of another and make a true caption false."""
_CLASS_OF = {word: words for words in reversed(CLASSES) for word in words}
_WORD = re.compile(
    rf"\b({'|'.join(map(re.escape, sorted(_CLASS_OF, key=len, reverse=True)))})\b", re.IGNORECASE
)


class Corrupted:
    """Another source, with a share of its captions made wrong: half of these are those of another picture, half
    have one word changed. `truth["corrupted"]` says which: "replaced", "edited", or None."""

    def __init__(self, source: Source, share: float = 0.4, seed: int = 0) -> None:
        self._source, self._share, self._seed = source, share, seed
        self.size = source.size
        self.fingerprint = named("Corrupted", share, seed, source.fingerprint)

    def example(self, index: int) -> Example:
        example = self._source.example(index)
        random = Random(f"{self._seed}-{index}-corrupted")
        drawn = random.random()
        how: str | None = None
        if drawn < self._share:
            own = example.conversation.messages[-1].text
            how, text = "edited", edited(own, random)
            if drawn < self._share / 2 or text == own:
                how, text = "replaced", self._another(index, own, random)
            turns = (*example.conversation.messages[:-1], Message("assistant", (text,)))
            example = replace(example, conversation=Conversation(turns))
        return replace(example, truth={**example.truth, "corrupted": how})

    def _another(self, index: int, own: str, random: Random) -> str:
        """The caption of another picture, which says something else."""
        for _ in range(20):
            other = index + 1 + int(random.random() * 1000)
            text = (
                self._source.example(other % (self.size or other + 1))
                .conversation.messages[-1]
                .text
            )
            if text != own:
                break
        return text


def edited(text: str, random: Random) -> str:
    """The text with one of its nouns, numbers, sizes or colours changed; as it is where it has none."""
    found: Sequence[re.Match[str]] = list(_WORD.finditer(text))
    if not found:
        return text
    chosen = found[int(random.random() * len(found))]
    word = chosen[0].lower()
    others = [other for other in _CLASS_OF[word] if other != word]
    other = others[int(random.random() * len(others))]
    if chosen[0][:1].isupper():
        other = other[:1].upper() + other[1:]
    return text[: chosen.start()] + other + text[chosen.end() :]
