"""MiniGPT-4's own measures: what long captions cover, and how often generation fails.

Source: Zhu et al., "MiniGPT-4: Enhancing Vision-Language Understanding with Advanced Large Language
Models", 2023: a judge says whether a caption covers all objects and relations of the references, and people
count answers that repeat themselves, fall apart or say something else. Here failure is explicit rules; the
paper gives none, so all thresholds are ours, and its failure rates compare with these by their drop alone.
"""

from __future__ import annotations

from collections.abc import Collection

from looksay.evaluation.metrics import yes_no
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.texts import ptb
from looksay.texts.faults import empty, fragmentary, repeated

RULES = ("empty", "repeated", "fragmentary", "off topic")
"""What `failures` looks for."""


def covered(reply: str) -> Verdict:
    """Whether a judge says that all is covered; None where it says neither yes nor no in so many words."""
    said = yes_no.strict(reply)
    return None if said is None else said == "yes"


def off_topic(text: str, topic: Collection[str], *, least: int = 1) -> bool:
    """Fewer than `least` of the topic's words occur, letter case and a plural s aside.

    `topic`: words that a text about this picture has to have some of, as the objects in it.
    """
    said = {_plain(token) for token in ptb.tokenize(text)}
    return len(said & {_plain(word) for word in topic}) < least


def failures(text: str, topic: Collection[str] = (), *, sentences: int = 2) -> tuple[str, ...]:
    """The rules that a text breaks, with their thresholds as they stand; an empty one breaks that alone.

    Without a `topic`, being off it is not looked at. `sentences`: see `repeated`.

    >>> failures("dog dog dog", ["cat"]), failures("")
    (('repeated', 'off topic'), ('empty',))
    """
    if empty(text):
        return ("empty",)
    broken = {
        "repeated": repeated(text, sentences=sentences),
        "fragmentary": fragmentary(text),
        "off topic": bool(topic) and off_topic(text, topic),
    }
    return tuple(name for name, fails in broken.items() if fails)


def _plain(word: str) -> str:
    lower = word.casefold()
    return lower.removesuffix("s") if len(lower) > 3 else lower
