"""MiniGPT-4's own measures: what long captions cover, and how often generation fails.

Source: Zhu et al., "MiniGPT-4: Enhancing Vision-Language Understanding with Advanced Large Language
Models", 2023: a judge says whether a caption covers all objects and relations of the references, and people
count answers that repeat themselves, fall apart or say something else. Here failure is explicit rules; the
paper gives none, so all thresholds are ours, and its failure rates compare with these by their drop alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from looksay.evaluation.metrics import ptb, yes_no
from looksay.evaluation.metrics.verdicts import Verdict

_SENTENCE = re.compile(r"[^.!?\n]+")
_CLOSED = re.compile(r"[.!?…][\s\"'”’)*_]*$")


def covered(reply: str) -> Verdict:
    """Whether a judge says that all is covered; None where it says neither yes nor no in so many words."""
    said = yes_no.strict(reply)
    return None if said is None else said == "yes"


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


def _plain(word: str) -> str:
    lower = word.casefold()
    return lower.removesuffix("s") if len(lower) > 3 else lower
