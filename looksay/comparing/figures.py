"""The figures of a comparison: grades, wins, agreement, speed, invented objects, each with how far it can be trusted.

Intervals draw whole photos again (looksay.evaluation.measures): grades of one photo are no independent facts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from looksay.comparing import grading, judging, ranking
from looksay.comparing.board import Board, Text
from looksay.evaluation.measures import (
    SAMPLES,
    Difference,
    Interval,
    Measure,
    difference,
    interval,
    of_samples,
)
from looksay.evaluation.metrics import rubric
from looksay.evaluation.metrics.chair import of_coco
from looksay.evaluation.metrics.rouge import rouge_l
from looksay.texts.ptb import tokenize

_BIASED_P = 0.01
"""Below this chance of so one-sided a choice, a judge is said to prefer a place."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Raters who are reported together: the people, or one judge.

    Example: Panel("people", ("person:Kim", "person:Lee")).
    """

    name: str
    raters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bias:
    """How a judge of pairs chose. Example: Bias(first=40, second=3, agreed=55, tied=2, unreadable=0)."""

    first: int
    """Pairs in which it preferred what stood first, in both orders."""
    second: int
    agreed: int
    """Pairs in which it preferred the same text in both orders."""
    tied: int
    """Pairs in which it called them the same at least once."""
    unreadable: int

    @property
    def pairs(self) -> int:
        return self.first + self.second + self.agreed + self.tied

    @property
    def p(self) -> float:
        """Two-sided sign test: how often a judge that does not mind the place chooses one so much more often."""
        return sign_test(self.first, self.second)

    @property
    def prefers(self) -> str:
        """first or second, where it clearly prefers what stands there; else empty."""
        if self.p >= _BIASED_P:
            return ""
        return "first" if self.first > self.second else "second"

    @property
    def useless(self) -> bool:
        """It says nothing about the texts: nearly all it said followed the place."""
        return bool(self.prefers) and max(self.first, self.second) >= 0.9 * self.pairs


def panels(board: Board) -> list[Panel]:
    """The people together, then each judge."""
    raters = dict.fromkeys(one.rater for one in board.ratings)
    people = tuple(sorted(r for r in raters if r.startswith(grading.PERSON)))
    judges = sorted(r for r in raters if r.startswith(grading.JUDGE))
    found = [Panel("people", people)] if people else []
    return found + [Panel(grading.rater_name(judge), (judge,)) for judge in judges]


def measures(board: Board, panel: Panel) -> list[Measure]:
    """Points by entrant, 0 to 5; samples are "PLACE RATER", and of one place they are drawn together."""
    given = grading.points(board)
    found = []
    for entrant in range(len(board.entrants)):
        scores: dict[str, float | None] = {
            f"{place} {rater}": points
            for rater in panel.raters
            for (place, who), points in given.get(rater, {}).items()
            if who == entrant
        }
        found.append(of_samples("points", scores, scale=1.0))
    return found


def clusters(measure: Measure) -> dict[str, str]:
    """Sample → its photo."""
    return {sample: sample.partition(" ")[0] for sample in measure.rows}


def means(board: Board, panel: Panel) -> list[Interval]:
    """The mean grade of each entrant, in points, with its interval."""
    return [interval(one, clusters(one)) for one in measures(board, panel)]


def differences(board: Board, panel: Panel) -> dict[tuple[int, int], Difference]:
    """How far the second entrant is above the first, in points, on the photos that both have a grade for."""
    found = measures(board, panel)
    return {
        (one, other): difference(found[one], found[other], clusters(found[one]))
        for one, other in combinations(range(len(found)), 2)
        if found[one].rows.keys() & found[other].rows.keys()
    }


def wins(board: Board, panel: Panel) -> ranking.Array:
    """How often i beat j on each photo, (P, E, E), ties as halves: by a judge's pairs, and by the points of people.

    A judge's text wins where it was preferred from both places; where the places decided, it is a tie.
    """
    photos, entrants = len(board.places), len(board.entrants)
    found = np.zeros((photos, entrants, entrants))
    for rater in panel.raters:
        if rater.startswith(grading.JUDGE):
            for (one, other), won in outcomes(judging.verdicts(board, rater)).items():
                for i in one.entrants:
                    for j in other.entrants:
                        found[one.place, i, j] += won
                        found[one.place, j, i] += 1 - won
            if not bias(board, rater).pairs:
                continue
            for text in board.texts:  # what says the same, word for word, is as good
                for i, j in combinations(text.entrants, 2):
                    found[text.place, i, j] += 0.5
                    found[text.place, j, i] += 0.5
            continue
        given = grading.points(board).get(rater, {})
        for place in range(photos):
            for i, j in combinations(range(entrants), 2):
                mine, theirs = given.get((place, i)), given.get((place, j))
                if mine is not None and theirs is not None:
                    won = 0.5 + 0.5 * float(np.sign(mine - theirs))
                    found[place, i, j] += won
                    found[place, j, i] += 1 - won
    return found


def outcomes(verdicts: Mapping[tuple[Text, Text], str]) -> dict[tuple[Text, Text], float]:
    """What the first of each pair won (1, 0.5 or 0), of pairs that were judged in both orders and could be read."""
    chose = {"first": 1.0, "second": 0.0, "same": 0.5}
    found: dict[tuple[Text, Text], float] = {}
    for (one, other), said in verdicts.items():
        back = verdicts.get((other, one))
        if back in chose and said in chose and (other, one) not in found:
            forth, back_won = chose[said], 1 - chose[str(back)]
            found[one, other] = forth if forth == back_won else 0.5
    return found


def bias(board: Board, rater: str) -> Bias:
    """Whether a judge minds which text it is shown first."""
    verdicts = judging.verdicts(board, rater)
    told: Counter[str] = Counter()
    for one, other in outcomes(verdicts):
        both = {verdicts[one, other], verdicts[other, one]}
        told["tied" if "same" in both else both.pop() if len(both) == 1 else "agreed"] += 1
    said = [one.verdict for one in board.ratings if one.rater == rater and one.other_id is None]
    unreadable = [*verdicts.values(), *said].count(judging.UNREADABLE)
    return Bias(told["first"], told["second"], told["agreed"], told["tied"], unreadable)


def sign_test(one: int, other: int) -> float:
    """Two-sided p of a fair coin that falls `one` times this way and `other` times that way.

    >>> sign_test(8, 2), sign_test(0, 0)
    (0.109375, 1.0)
    """
    n, few = one + other, min(one, other)
    tail = sum(math.comb(n, k) for k in range(few + 1))
    return min(1.0, 2 * tail / float(2**n))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Weighted kappa of two raters. `kappa` is None where chance leaves no disagreement (both give one grade)."""

    one: str
    other: str
    texts: int
    kappa: float | None
    low: float | None
    high: float | None


def agreements(board: Board, samples: int = SAMPLES, seed: int = 0) -> list[Agreement]:
    """Quadratic weighted kappa of every two raters on the letters of the texts that both graded, photos drawn again
    for the interval."""
    levels: dict[str, dict[int, int]] = {}
    for rater in dict.fromkeys(one.rater for one in board.ratings):
        mine = {
            id: rubric.LETTERS.index(rubric.grade(one.points))
            for id, one in grading.graded(board, rater).items()
            if one.points is not None
        }
        if mine:
            levels[rater] = mine
    found = []
    for one, other in combinations(sorted(levels), 2):
        both = sorted(levels[one].keys() & levels[other].keys())
        if not both:
            continue
        pairs: dict[int, list[tuple[int, int]]] = {}
        for id in both:
            place = board.of_generation[id].place
            pairs.setdefault(place, []).append((levels[one][id], levels[other][id]))
        photos = list(pairs.values())
        draw = np.random.default_rng(seed).integers(len(photos), size=(samples, len(photos)))
        drawn = [_kappa([pair for photo in row for pair in photos[photo]]) for row in draw]
        known = [one for one in drawn if one is not None]
        low, high = np.quantile(known, [0.025, 0.975]).tolist() if known else (None, None)
        value = _kappa([pair for photo in photos for pair in photo])
        found.append(Agreement(one, other, len(both), value, low, high))
    return found


def _kappa(pairs: Sequence[tuple[int, int]]) -> float | None:
    return rubric.kappa([a for a, _ in pairs], [b for _, b in pairs])


@dataclass(frozen=True, slots=True)
class Spent:
    """What one entrant took. None: not known."""

    answers: int
    empty: dict[str, int]
    """Why cells are empty → how many."""
    seconds: float | None
    """Mean of an answer."""
    memory_mb: float | None
    cost_usd: float | None
    """Of 1,000 photos."""


def spent(board: Board, entrant: int) -> Spent:
    """Time, memory and money of one entrant, and what it left out."""
    cells = [board.cells.get((place, entrant)) for place in range(len(board.places))]
    said = [one for one in cells if one is not None and one.generation_id is not None]
    empty = Counter(
        "not asked yet" if one is None else one.error
        for one in cells
        if one is None or one.generation_id is None
    )
    memory = [one.memory_mb for one in said if one.memory_mb is not None]
    measured = said and "source" not in board.plan.about  # others' texts were not made here
    return Spent(
        len(said),
        dict(empty.most_common()),
        math.fsum(one.seconds for one in said) / len(said) if measured else None,
        max(memory) if memory else None,
        math.fsum(one.cost_usd for one in said) / len(said) * 1000 if measured else None,
    )


@dataclass(frozen=True, slots=True)
class Invented:
    """Objects that one entrant names and nobody else saw. Example: Invented(0.12, 0.05, 0.20, 25, ("dog", …))."""

    share: float
    """Of the texts that name an object that is not there."""
    low: float
    high: float
    texts: int
    examples: tuple[tuple[str, str], ...]
    """(photo, object)."""


def invented(board: Board, found: Mapping[int, Sequence[str]]) -> list[Invented | None]:
    """Texts with an object of COCO's 80 that neither the detector (`found`: place → classes) saw nor people wrote of.

    None: there is nothing to hold an entrant's English texts against.
    """
    made: list[Invented | None] = []
    for entrant in range(len(board.entrants)):
        scores: dict[str, float | None] = {}
        examples: list[tuple[str, str]] = []
        for text in board.texts:
            place = board.places[text.place]
            known = text.place in found or place.references
            if entrant not in text.entrants or not known or not place.language.startswith("en"):
                continue
            seen = of_coco(text.words, found.get(text.place, ()), place.references)
            scores[str(text.place)] = float(bool(seen.hallucinated))
            examples += [(place.name, name) for name in dict.fromkeys(seen.hallucinated)]
        told = interval(of_samples("invented", scores, scale=1.0, better=-1))
        made.append(
            Invented(told.value, told.low, told.high, len(scores), tuple(examples))
            if scores
            else None
        )
    return made


def likeness(board: Board) -> list[Interval]:
    """ROUGE-L of each entrant's texts to what people wrote, 0 to 1; nan where they wrote nothing."""
    made = []
    for entrant in range(len(board.entrants)):
        scores: dict[str, float | None] = {}
        for text in board.texts:
            written = board.places[text.place].references
            if entrant in text.entrants and written:
                like = rouge_l(tokenize(text.words), [tokenize(one) for one in written])
                scores[str(text.place)] = like
        made.append(interval(of_samples("likeness", scores, scale=1.0)))
    return made


def monotonous(board: Board, entrant: int) -> tuple[str, int, int]:
    """(text, how often, of how many): the text that an entrant said most often."""
    said = [text for text in board.texts if entrant in text.entrants]
    common = Counter(text.shown for text in said).most_common(1)
    return (*common[0], len(said)) if common else ("", 0, 0)
