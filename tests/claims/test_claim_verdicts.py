"""The rule by which claims hold, on results made by hand; and the file that results are kept in."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("numpy", reason="no numpy: no intervals")

from claims.made import FIGURE, NAME, Rights, claim, found, right

from looksay.claims import base, page, results
from looksay.claims.base import Figure, Reported, Source
from looksay.claims.results import Found, Named
from looksay.claims.verdict import outcome, step_word
from looksay.errors import InputError
from looksay.evaluation import measures
from looksay.evaluation.measures import Interval

CLEAR: Rights = {"bad": [right(100), right(104)], "good": [right(150), right(140)]}


def word(rights: Rights, **how: object) -> str:
    return outcome(claim(*rights), found(rights, **how)).word  # type: ignore[arg-type]


def test_it_holds_where_the_interval_and_every_seed_say_so() -> None:
    assert word(CLEAR) == "holds"


def test_the_other_way_it_does_not_hold_and_without_a_difference_it_is_undecided() -> None:
    swapped = {"bad": CLEAR["good"], "good": CLEAR["bad"]}
    assert word(swapped) == "does not hold at this scale"
    assert word({"bad": [right(100)] * 2, "good": [right(101)] * 2}) == "undecided"
    assert word({"bad": [right(100)] * 2, "good": [right(100)] * 2}) == "undecided"


def test_one_seed_that_disagrees_leaves_it_undecided() -> None:
    rights = {"bad": [right(100)] * 3, "good": [right(150), right(150), right(98)]}
    decided = outcome(claim(), found(rights))
    (step,) = decided.steps
    assert step.mean.low > 0
    assert [round(one.value, 6) for one in step.seeds] == [25, 25, -1]
    assert decided.word == "undecided"


def test_where_less_is_better_the_claimed_side_is_the_other() -> None:
    less = Named(*FIGURE, -1, 100.0)
    assert word(CLEAR, figure=less) == "does not hold at this scale"
    assert word({"bad": CLEAR["good"], "good": CLEAR["bad"]}, figure=less) == "holds"


MARGIN_AT_3 = [
    (-2.9, 1.0, [-1.0, 0.5], "holds"),
    (-2.9, -0.1, [-1.0, -2.0], "holds"),
    (4.0, 9.0, [5.0, 7.0], "holds"),
    (-3.0, 1.0, [-1.0, 0.5], "undecided"),
    (-2.9, 1.0, [-3.1, 0.5], "undecided"),
    (-9.0, -3.1, [-4.0, -5.0], "does not hold at this scale"),
    (-9.0, -3.0, [-4.0, -5.0], "undecided"),
]


@pytest.mark.parametrize(("low", "high", "seeds", "expected"), MARGIN_AT_3)
@pytest.mark.parametrize("better", [1, -1])
def test_with_a_margin_an_arm_may_fall_so_far_behind(
    low: float, high: float, seeds: list[float], expected: str, better: int
) -> None:
    low, high = sorted((low * better, high * better))
    mean = Interval((low + high) / 2, low, high, 10, 10)
    assert step_word(mean, [one * better for one in seeds], better, 3.0) == expected


def test_costs_little_holds_within_the_margin_and_nowhere_else() -> None:
    equal: Rights = {"dear": [right(100, 4000)] * 2, "cheap": [right(99, 4000)] * 2}
    # Either is right about the scenes that the other is wrong about.
    turns = [[float(number // 2 % 2 == side) for number in range(40)] for side in (0, 1)]
    few: Rights = {"dear": [turns[0]] * 2, "cheap": [turns[1]] * 2}
    lost: Rights = {"dear": CLEAR["good"], "cheap": CLEAR["bad"]}
    gained: Rights = {"dear": CLEAR["bad"], "cheap": CLEAR["good"]}

    def with_margin(rights: Rights, margin: float) -> str:
        return outcome(claim(*rights, margin=margin), found(rights)).word

    assert with_margin(equal, 3) == "holds"
    assert with_margin(equal, 0) != "holds"
    assert with_margin(gained, 3) == "holds"
    assert with_margin(lost, 3) == "does not hold at this scale"
    assert with_margin(lost, 40) == "holds"
    assert with_margin(few, 3) == "undecided"  # forty questions tell too little


def test_two_blind_arms_are_no_equal_ones() -> None:
    same: Rights = {"dear": [right(100, 4000)] * 2, "cheap": [right(100, 4000)] * 2}
    blind = {"dear": [5.0, 5.0], "cheap": [5.0, 5.0]}
    assert outcome(claim(*same, margin=3), found(same)).word == "holds"
    assert outcome(claim(*same, margin=3), found(same, blind)).word == "undecided"


def test_a_margin_stands_in_the_list_and_on_the_page(tmp_path: Path) -> None:
    close = claim("dear", "cheap", margin=3)
    assert page.order(close) == "dear - 3 < cheap"
    assert page.order(claim()) == "bad < good"
    text = page.markdown({NAME: close}, tmp_path)
    assert "Margin: 3 points. Claimed: dear - 3 < cheap." in text
    assert page.listed(NAME, close)["margin"] == 3
    with pytest.raises(InputError, match="margin of -1"):
        base.check(NAME, claim(margin=-1))


@pytest.mark.parametrize(
    ("low", "high", "seeds", "expected"),
    [
        (0.1, 2.0, [1.0, 0.5], "holds"),
        (0.1, 2.0, [1.0, 0.0], "undecided"),
        (0.0, 2.0, [1.0, 0.5], "undecided"),
        (-1.0, 2.0, [1.0, 0.5], "undecided"),
        (-2.0, -0.1, [1.0, -3.0], "does not hold at this scale"),
        (-2.0, 0.0, [-1.0, -1.0], "undecided"),
        (float("nan"), float("nan"), [], "undecided"),
    ],
)
def test_the_rule_at_its_edges(low: float, high: float, seeds: list[float], expected: str) -> None:
    mean = Interval((low + high) / 2, low, high, 10, 10)
    assert step_word(mean, seeds, 1) == expected
    turned = Interval(-mean.value, -high, -low, 10, 10)
    assert step_word(turned, [-one for one in seeds], -1) == expected


def test_a_blind_arm_leaves_its_claim_undecided_and_is_named() -> None:
    blind = found(CLEAR, {"bad": [90.0, 59.9]})
    decided = outcome(claim(), blind)
    assert decided.word == "undecided"
    assert decided.reasons == ("bad is blind: object recall 59.9, less than 60",)
    assert outcome(claim(), found(CLEAR, {"bad": [60.0, 60.0]})).word == "holds"
    unmeasured = outcome(claim(), found(CLEAR, {"good": [90.0, None]}))
    assert unmeasured.word == "undecided"


def test_a_claim_about_blindness_says_in_its_data_which_arm_the_rule_leaves_out() -> None:
    about = claim(sighted=("good",))
    assert outcome(about, found(CLEAR, {"bad": [3.0, 4.0]})).word == "holds"
    assert outcome(about, found(CLEAR, {"good": [3.0, 4.0]})).word == "undecided"
    assert outcome(claim(sighted=()), found(CLEAR, {"good": [3.0, 4.0]})).word == "holds"


def test_a_trial_says_nothing_of_the_claim() -> None:
    assert word(CLEAR, steps_share=0.5) == "trial"
    cut = found(CLEAR, steps_share=0.5)
    row = page.record(NAME, claim(), cut, outcome(claim(), cut))
    assert {row["verdict"], *(one["verdict"] for one in row["differences"])} == {"trial"}
    told = "\n".join(page.lines(row, claim()))
    assert "trial" in told
    assert "holds" not in told


def test_an_arm_that_could_not_be_trained_leaves_it_undecided() -> None:
    whole = found(CLEAR)
    lacking = replace(
        whole,
        models=tuple(m for m in whole.models if (m.arm, m.seed) != ("good", 1)),
        faults=("good with seed 1 could not be trained: …",),
    )
    decided = outcome(claim(), lacking)
    assert decided.word == "undecided"
    assert decided.reasons == lacking.faults
    assert len(decided.steps[0].seeds) == 1  # the seed that both have
    none = replace(lacking, models=())
    assert outcome(claim(), none).word == "undecided"
    assert "could not be trained" in "\n".join(
        page.lines(page.record(NAME, claim(), none, outcome(claim(), none)), claim())
    )


def test_an_order_of_three_holds_step_by_step() -> None:
    rights = {"bad": [right(80)] * 2, "good": [right(120)] * 2, "best": [right(160)] * 2}
    assert word(rights) == "holds"
    assert word({**rights, "best": [right(121)] * 2}) == "undecided"
    assert word({**rights, "best": [right(80)] * 2}) == "does not hold at this scale"


def test_with_one_seed_the_interval_is_that_of_the_paired_difference() -> None:
    one = found({arm: seeds[:1] for arm, seeds in CLEAR.items()})
    (step,) = outcome(claim(), one).steps
    pair = (one.measure("figure", arm, 0) for arm in ("bad", "good"))
    apart = measures.difference(*pair, one.clusters)
    assert (step.mean.value, step.mean.low, step.mean.high) == pytest.approx(
        (apart.value, apart.low, apart.high)
    )
    assert step.mean.clusters == 100  # scenes, not the 200 questions


def test_scenes_are_drawn_for_all_seeds_together() -> None:
    """The same answers with three seeds tell no more of the scenes than with one."""
    once = outcome(claim(), found({arm: s[:1] for arm, s in CLEAR.items()})).steps[0].mean
    thrice = outcome(claim(), found({arm: s[:1] * 3 for arm, s in CLEAR.items()})).steps[0].mean
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx(
        (once.value, once.low, once.high)
    )


def test_the_mean_is_that_of_the_seeds_and_the_order_of_samples_changes_nothing() -> None:
    whole = found(CLEAR)
    decided = outcome(claim(), whole)
    assert [row.mean.value for row in decided.rows] == [pytest.approx(51), pytest.approx(72.5)]
    assert [one.value for one in decided.steps[0].seeds] == [pytest.approx(25), pytest.approx(18)]
    assert decided.steps[0].mean.value == pytest.approx(21.5)
    mixed = list(whole.samples)
    Random(3).shuffle(mixed)
    assert outcome(claim(), replace(whole, samples=tuple(mixed))).word == decided.word
    assert outcome(claim(), replace(whole, samples=tuple(mixed))).steps[0].mean.value == (
        pytest.approx(21.5)
    )


def test_hours_count_what_is_shared_once() -> None:
    assert found(CLEAR).hours == pytest.approx((1800 + 4 * 180) / 3600)


def test_results_come_back_as_they_were_and_are_the_same_bytes_whenever_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = found(CLEAR, {"bad": [90.0, None]}, faults=("one",))
    path = results.save(whole, tmp_path)
    assert path.name == "made-claim.jsonl.gz"
    assert results.load(path) == whole
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert results.packed(results.load(path)) == path.read_bytes()
    lines = gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")
    assert len(lines) == 1 + 4 + 201
    assert json.loads(lines[-1])["said"][0] == ["A dog,\u2028a cat."] * 2


def test_damaged_results_are_told_with_file_and_line(tmp_path: Path) -> None:
    path = results.save(found(CLEAR), tmp_path)
    data, lines = path.read_bytes(), gzip.decompress(path.read_bytes()).split(b"\n")
    for broken in (data[:40], data[:-9], b"no gzip"):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="made-claim"):
            results.load(path)
    for number in (0, 2, 9):
        cut = [*lines]
        cut[number] = cut[number][: len(cut[number]) // 2]
        path.write_bytes(gzip.compress(b"\n".join(cut)))
        with pytest.raises(InputError, match=rf"made-claim.*line {number + 1}:"):
            results.load(path)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(InputError, match="made-claim"):
        results.load(path)


def test_results_of_a_claim_that_has_changed_are_refused() -> None:
    whole: Found = found(CLEAR)
    for changed in (
        claim("good", "bad"),
        claim("bad", "good", benchmark="scenes/pairs"),
        replace(claim(), figure=FIGURE._replace(kind="where")),
    ):
        with pytest.raises(InputError, match=f"looksay reproduce {NAME}"):
            outcome(changed, whole)


def test_the_page_has_the_papers_figures_beside_ours_and_says_what_was_not_run(
    tmp_path: Path,
) -> None:
    told = claim(
        source=Source("A paper", "https://arxiv.org/abs/1", "table 8", checked=False),
        reported=(Reported("ScienceQA", {"bad": "85.81", "good": "90.92"}),),
    )
    claims = {NAME: told, "made/other": claim(sighted=())}
    assert page.markdown(claims, tmp_path).count("**Not run yet.**") == 2
    results.save(found(CLEAR), tmp_path)
    text = page.markdown(claims, tmp_path)
    assert text.count("**Not run yet.**") == 1
    assert "| bad | 85.81 | 51.0 |" in text
    assert "| good | 90.92 | 72.5 |" in text
    assert "good less bad: +21.5 (" in text
    assert "by seed +25.0, +18.0" in text
    assert "Verdict: **holds**." in text
    assert "0.70 hours on Linux, 2 cores; size mini, 2 seeds, 100 scenes" in text
    assert "[A paper](https://arxiv.org/abs/1), table 8 (second-hand)" in text
    results.save(found(CLEAR, {"bad": [1.0, 1.0]}), tmp_path)
    assert "Verdict: **undecided**: bad is blind" in page.markdown(claims, tmp_path)


def test_figures_beside_are_kept_and_told_without_a_verdict(tmp_path: Path) -> None:
    """Lengths: 10 words of the one arm, 20 and 30 of the other."""
    whole = found(CLEAR)
    lengths = (((10.0, 1.0), (10.0, 1.0)), ((20.0, 1.0), (30.0, 1.0)))
    longer = replace(
        whole,
        beside=(Named("words", "", 0, 1.0),),
        samples=tuple(
            replace(one, beside=(lengths if one.sight else None,)) for one in whole.samples
        ),
    )
    about = claim(beside=(Figure("words"),))
    path = results.save(longer, tmp_path)
    assert results.load(path) == longer
    assert outcome(about, longer).word == outcome(about, whole).word == "holds"
    row = page.record(NAME, about, longer, outcome(about, longer))
    assert [arm["beside"] for arm in row["arms"]] == [[[10.0, 10.0]], [[20.0, 30.0]]]
    told = "\n".join(page.lines(row, about))
    assert "object recall 90.0, 90.0   words 20.0, 30.0" in told
    text = page.markdown({NAME: about}, tmp_path)
    assert "| object recall, by seed | words, by seed |" in text
    assert "| 90.0, 90.0 | 20.0, 30.0 |" in text
    # A claim that got a figure beside it since is told as it was run.
    results.save(whole, tmp_path)
    assert "words" not in page.markdown({NAME: about}, tmp_path)
    assert b"beside" not in gzip.decompress(path.read_bytes())
