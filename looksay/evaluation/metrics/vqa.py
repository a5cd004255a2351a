"""Accuracy of answers to questions: the official VQA accuracy, exact matches by type, and the text prior.

Source of the first: Antol et al., "VQA: Visual Question Answering", ICCV 2015, and the behaviour of the
VQA evaluation tool, quirks included (they are named where they stand).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
    "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32
"""The tool passes re.UNICODE where `sub` takes the number of replacements: 32 periods go, no more."""

_CONTRACTED = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't "
    "haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've "
    "might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've "
    "shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll "
    "someone's something'd something'd've something'll that's there'd there'd've there're there's "
    "they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's "
    "what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's "
    "won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've"
)
"""What the tool restores where one apostrophe is missing. "I'm" is absent: the text is lower-cased by
then, so the tool's own entry for it never applies."""


def _restorations() -> dict[str, str]:
    found = {"somebody'd": "somebodyd"}  # the one entry that the tool has the wrong way round
    for word in _CONTRACTED.split():
        for place in (i for i, letter in enumerate(word) if letter == "'"):
            found[word[:place] + word[place + 1 :]] = word
    return found


_RESTORED = _restorations()


def normalize(answer: str) -> str:
    """An answer as the VQA tool compares it: punctuation, case, number words, articles, apostrophes.

    >>> normalize("The  dogs, two of them.")
    'dogs 2 of them'
    """
    return _words(unpunctuated(_plain(answer)))


def _plain(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def unpunctuated(answer: str) -> str:
    """An answer without punctuation: marks beside a space go, others give way to a space; VQA's rules."""
    comma = _DIGIT_COMMA.search(answer) is not None
    text = answer
    for mark in _PUNCTUATION:
        goes = comma or f"{mark} " in answer or f" {mark}" in answer
        text = text.replace(mark, "" if goes else " ")
    return _PERIOD.sub("", text, count=_PERIODS)


def _words(answer: str) -> str:
    numbered = (_NUMBERS.get(word, word) for word in answer.lower().split())
    return " ".join(_RESTORED.get(word, word) for word in numbered if word not in _ARTICLES)


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Share of annotators with whom a prediction agrees, 0 to 1: each counts min(1, agreeing others / 3).

    Quirk kept: nothing is normalised (beyond white space) where all annotators wrote the same string.
    """
    said, given = _plain(prediction), [_plain(answer) for answer in answers]
    if len(set(answers)) > 1:
        said, given = normalize(said), [normalize(answer) for answer in given]
    return _agreement(said, given)


def textvqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """As `vqa_accuracy`, normalised by the rules of M4C, which TextVQA's and LLaVA-1.5's figures follow.

    Everything is normalised, also where all annotators agree, and "'s" stands apart. Source:
    TextVQAAccuracyEvaluator of facebookresearch/mmf (pythia/utils/m4c_evaluators.py).
    """
    return _agreement(m4c(prediction), [m4c(answer) for answer in answers])


def m4c(answer: str) -> str:
    """An answer as M4C's tool compares it: its own first step, then that of `normalize`.

    >>> m4c("Joe's Diner, est. 1,950")
    "joe 's diner est 1950"
    """
    return normalize(answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip())


def vizwiz_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """As VizWiz's own tool has it, which normalises the prediction and leaves the answers as people wrote
    them: "2" is no match for ten times "two". Its contractions with curly apostrophes are not repeated."""
    return _agreement(normalize(prediction), answers)


def _agreement(said: str, given: Sequence[str]) -> float:
    matches = sum(answer == said for answer in given)
    return sum(min(1.0, (matches - (answer == said)) / 3) for answer in given) / len(given)


def exact(prediction: str, answer: str) -> float:
    """1 where a prediction is the answer, both normalised; else 0."""
    return float(normalize(prediction) == normalize(answer))


def text_prior(pairs: Iterable[tuple[str, str]], *, least: int = 1) -> dict[str, str]:
    """The answer most frequent in training for each question as worded, from (question, answer) pairs.

    What a model would score that never looks: `text_prior(train).get(question)`. Wordings that occur
    fewer than `least` times are left out; of equally frequent answers the alphabetically first is taken.
    """
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for question, answer in pairs:
        seen[question][answer] += 1
    return {
        question: min(answers.items(), key=lambda item: (-item[1], item[0]))[0]
        for question, answers in seen.items()
        if answers.total() >= least
    }
