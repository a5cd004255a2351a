"""What the data of a comparison support, in plain sentences, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from looksay.comparing import figures, grading
from looksay.comparing.board import Board
from looksay.comparing.figures import Agreement, Bias, Panel
from looksay.evaluation.measures import Difference, Interval
from looksay.evaluation.metrics import rubric

FEW = 10
"""Photos below which even the width of an interval is not to be trusted: a bootstrap of few is too narrow."""
_LITTLE, _FAIR = 0.4, 0.6
"""Kappa below which raters agree little, and fairly (after Landis and Koch, Biometrics, 1977)."""
_SAME = 3
"""Photos from which on one text for all of them is told."""


def conclusions(board: Board) -> list[str]:
    """Plain sentences, the most important first."""
    told = list(_grades(board))
    told += _judges(board)
    told += _raters(board)
    told += _answers(board)
    return told or ["Nothing was answered yet, so there is nothing to compare."]


def printed(board: Board) -> list[str]:
    """Where figures that somebody printed do not follow from the grades that they printed beside them."""
    found = []
    letters: dict[str, Interval] = {}
    for panel in figures.panels(board)[:1]:
        means = figures.means(board, panel)
        letters = {e.model: mean for e, mean in zip(board.entrants, means, strict=True)}
    for name, row in board.plan.about.get("printed", {}).items():
        mean = letters.get(name)
        if mean is None or math.isnan(mean.value):
            found.append(
                f"{row['name']}: {row['points']} is printed, and no grade stands beside it."
            )
            continue
        own = rubric.grade(mean.value)
        wrong = abs(mean.value - row["points"]) > 0.05
        if wrong or own != row["letter"]:
            found.append(
                f"{name}: printed {row['points']:.1f} ({row['letter']}); its {mean.samples} grades give "
                f"{mean.value:.1f} ({own})."
            )
    missing = board.plan.about.get("missing", ())
    return found + [
        f"{name}: no grade is printed; it is in no mean, and not an F." for name in missing
    ]


def _grades(board: Board) -> Iterator[str]:
    panels = figures.panels(board)
    texts = [text for text in board.texts if len(board.entrants) > 1]
    if not panels and texts:
        yield (
            "Nobody graded these texts yet, so nothing is known of which model is better: grade them blind "
            "(looksay compare --grade), or have a judge do it (--judge MODEL)."
        )
    for panel in panels:
        means = figures.means(board, panel)
        known = [n for n, mean in enumerate(means) if not math.isnan(mean.value)]
        if not known:
            continue
        ranked = sorted(known, key=lambda n: -means[n].value)
        yield f"By the grades of {_who(panel)}, {_leads(board, ranked, means)}."
        yield from _apart(board, ranked, figures.differences(board, panel))
        yield from _widths(means, known)


def _leads(board: Board, ranked: Sequence[int], means: Sequence[Interval]) -> str:
    mean = means[ranked[0]]
    first = [n for n in ranked if abs(means[n].value - mean.value) < 1e-9]
    names = _listed([board.entrants[n].name for n in first])
    return (
        f"{names} {'share' if len(first) > 1 else 'has'} the highest mean: {mean.value:.2f} of 5 "
        f"({rubric.grade(mean.value)}), 95 % interval {mean.low:.2f} to {mean.high:.2f}, from "
        f"{_count(mean.clusters, 'photo')}"
    )


def _apart(
    board: Board, ranked: Sequence[int], differences: Mapping[tuple[int, int], Difference]
) -> Iterator[str]:
    """The best against each of the others: which it is better than, and which cannot be told from it."""
    best = ranked[0]
    name = board.entrants[best].name
    better, few = list[str](), list[str]()
    for other in ranked[1:]:
        theirs = board.entrants[other].name
        pair = (min(best, other), max(best, other))
        found = differences.get(pair)
        if found is None:
            yield f"{name} and {theirs} were graded on no photo in common: nothing can be said of the two."
            continue
        sign = 1 if pair == (other, best) else -1
        low, high = sorted((sign * found.low, sign * found.high))
        value = sign * found.value
        if low > 0:
            told = f"{theirs} (by {value:.2f} points, {low:.2f} to {high:.2f})"
            (better if found.clusters >= FEW else few).append(told)
        elif high < 0:  # a better mean, and on other photos than the common ones
            yield f"On the photos that both described, {theirs} is better than {name} by {-value:.2f} points."
        else:
            yield (
                f"The data do not tell {name} from {theirs}: the difference is {_signed(value)} points "
                f"({_signed(low)} to {_signed(high)}) on {_count(found.clusters, 'common photo')}. {_needed(found, value)}"
            )
    if better:
        yield f"{name} is better than {_listed(better)}."
    if few:
        yield f"{name} was graded above {_listed(few)}; on fewer than {FEW} photos that says little about others."


def _signed(value: float) -> str:
    """With a minus that is one, and no negative zero."""
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _needed(found: Difference, value: float) -> str:
    """How many photos would show a difference of this size; the width of an interval goes with 1 / sqrt(n)."""
    half = (found.high - found.low) / 2
    if not half or abs(value) < 0.05:
        return "If there is a difference, it is too small to be found by more photos of this kind."
    needed = math.ceil(found.clusters * (half / abs(value)) ** 2 * 1.1)
    if needed <= FEW:
        return f"So few photos cannot show it; grade {FEW} or more."
    return f"If that is the true difference, about {max(needed, found.clusters + 1)} photos would show it."


def _widths(means: Sequence[Interval], known: Sequence[int]) -> Iterator[str]:
    widths = [means[n].high - means[n].low for n in known]
    photos = max(means[n].clusters for n in known)
    many = f"{_count(photos, 'photo')} {'makes' if photos == 1 else 'make'}"
    yield (
        f"{many} intervals that are {min(widths):.1f} to {max(widths):.1f} points wide, {_mean(widths):.1f} on "
        f"average; a letter is 1 point."
        + (
            f" With fewer than {FEW} photos they are too narrow even so: which photos were taken decides more than the "
            "models do."
            if photos < FEW
            else ""
        )
    )


def _judges(board: Board) -> Iterator[str]:
    for panel in figures.panels(board):
        for rater in panel.raters:
            if rater.startswith(grading.JUDGE):
                yield from _judge(panel.name, figures.bias(board, rater))


def _judge(name: str, bias: Bias) -> Iterator[str]:
    if bias.useless:
        times = max(bias.first, bias.second)
        yield (
            f"{name} preferred the text that stood {bias.prefers} in {times} of {_count(bias.pairs, 'pair')}, whichever "
            "text it was: its verdicts on pairs say nothing about the texts, and rank none. Choose another judge."
        )
    elif bias.prefers:
        yield (
            f"{name} leans to the text that stands {bias.prefers}: in {bias.first} pairs it was the first from both "
            f"sides, in {bias.second} the second, in {bias.agreed} the same text. Where the place decided, the pair "
            "counts as a tie."
        )
    if bias.unreadable:
        yield f"{_count(bias.unreadable, 'verdict')} of {name} could not be read, and {'is' if bias.unreadable == 1 else 'are'} left out."


def _raters(board: Board) -> Iterator[str]:
    agreed = figures.agreements(board)
    raters = {one.rater for one in board.ratings if one.points is not None}
    if len(raters) == 1:
        yield (
            f"There is one rater ({grading.rater_name(next(iter(raters)))}): how far another would have given the same "
            "grades is not known."
        )
    for one in agreed:
        yield _agreement(one)


def _agreement(one: Agreement) -> str:
    names = f"{grading.rater_name(one.one)} and {grading.rater_name(one.other)}"
    texts = _count(one.texts, "text")
    if one.kappa is None:
        return f"{names} gave one and the same grade to all {texts} that both graded: how far they agree cannot be told."
    span = "" if one.low is None else f", {one.low:.2f} to {one.high:.2f}"
    told = f"weighted kappa {one.kappa:.2f}{span}, {texts}"
    if one.kappa < _LITTLE:
        return f"{names} disagree ({told}): a mean of their grades hides two opinions. Read both."
    return f"{names} agree {'fairly' if one.kappa < _FAIR else 'well'} ({told})."


def _answers(board: Board) -> Iterator[str]:
    photos = len(board.places)
    for number, entrant in enumerate(board.entrants):
        spent = figures.spent(board, number)
        for reason, times in spent.empty.items():
            if reason != "not asked yet":
                yield f"{entrant.name} has no text for {times} of {_count(photos, 'photo')}: {reason.rstrip('.')}. Those cells are empty, and in no figure."
        if waiting := spent.empty.get("not asked yet"):
            yield f"{entrant.name} was not asked about {_count(waiting, 'photo')} yet."
        text, times, of = figures.monotonous(board, number)
        if of >= _SAME and times == of:
            yield f"{entrant.name} said the same of all {of} photos: “{text[:80]}”. It does not look at them, or cannot."
        elif of >= _SAME and times > of / 2:
            yield f"{entrant.name} said the same of {times} of {of} photos: “{text[:80]}”."
    for entrant in board.idle:
        if any(
            e.model == entrant.model and figures.spent(board, n).answers
            for n, e in enumerate(board.entrants)
        ):
            yield f"{entrant.name} is not shown: this model follows no prompts, so its answers are the same."


def _who(panel: Panel) -> str:
    if panel.name != "people":
        return f"the judge {panel.name}"
    names = [grading.rater_name(one) for one in panel.raters]
    return names[0] if len(names) == 1 else f"{len(names)} people"


def _count(number: int, one: str) -> str:
    return f"{number} {one if number == 1 else one + 's'}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
