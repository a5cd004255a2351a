"""looksay reproduce without a run: the list, the page that is committed, and what it says to mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from claims.made import NAME, claim, nothing
from typer.testing import CliRunner

pytest.importorskip("numpy", reason="no numpy: no intervals")

from looksay.claims import base, page
from looksay.claims.base import Arm
from looksay.cli import app
from looksay.errors import InputError, LooksayError, UnknownName

DOCS = Path(__file__).resolve().parents[2] / "docs"


def said(*words: str) -> str:
    done = CliRunner().invoke(app, ["reproduce", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_page_is_what_the_command_prints() -> None:
    assert (DOCS / "claims.md").read_text("utf-8") == said(
        "--page", "--out", str(DOCS / "claims")
    ), "docs/claims.md is old: looksay reproduce --page --out docs/claims > docs/claims.md"


def test_the_list_tells_claim_source_arms_and_figure() -> None:
    listed = said("--list")
    for name, one in base.every().items():
        assert f"\n{name}  {one.says}\n" in f"\n{listed}"
        assert page.order(one) in listed
        assert all(arm.name in page.order(one) for arm in one.arms)
    sources = [one.source for one in base.every().values()]
    assert listed.count("ours, no paper's") == sources.count(None) > 0
    assert listed.count("arxiv.org") == len(sources) - sources.count(None)
    only = said("--list", "llava/mlp")
    assert only.count("  from ") == 1


def test_the_list_for_machines() -> None:
    rows = {row["claim"]: row for row in json.loads(said("--list", "--json", "llava"))}
    assert set(rows) == {name for name in base.every() if name.startswith("llava/")}
    align = rows["llava/align"]
    assert align["order"] == ["without align", "all stages"]
    assert align["reported"][0]["all stages"] == "90.92"
    assert align["source"]["place"] == "table 8"
    assert align["sighted"] is None
    assert align["margin"] == 0
    assert align["beside"] == []
    ground = rows["llava/ground"]
    assert ground["source"] is None
    assert ground["reported"] == []
    assert ground["sighted"] == ["all stages"]
    assert ground["figure"] == {"name": "object recall", "kind": ""}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lava"], "Did you mean 'llava'"),
        (["llava/algin"], "Did you mean 'llava/align'"),
        (["--seeds", "0,0"], "distinct whole numbers"),
        (["--seeds", "0,x"], "0,1,2"),
        (["--size", "7b"], "mini, tiny"),
        (["--steps-share", "0"], "above 0"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(words: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["reproduce", *words])
    assert isinstance(done.exception, LooksayError)
    assert told in str(done.exception)


def test_claims_are_chosen_by_name_or_by_family() -> None:
    assert list(base.chosen([])) == list(base.every())
    assert list(base.chosen(["llava"])) == [n for n in base.every() if n.startswith("llava/")]
    assert set(base.chosen(["blip", "blip2/itg"])) == {"blip/capfilt", "blip/rerank", "blip2/itg"}
    assert list(base.chosen(["llava/mlp", "llava/align", "llava/mlp"])) == [
        "llava/mlp",
        "llava/align",
    ]
    with pytest.raises(UnknownName, match="llava/align"):
        base.chosen(["llava/"])


@pytest.mark.parametrize(
    "wrong",
    [
        claim("one"),
        claim("same", "same"),
        claim(sighted=("other",)),
        claim(reported=(base.Reported("x", {"other": "1"}),)),
    ],
)
def test_a_claim_whose_arms_do_not_fit_is_told(wrong: base.Claim) -> None:
    with pytest.raises(InputError, match=NAME):
        base.check(NAME, wrong)


def test_a_good_claim_is_taken() -> None:
    base.check(NAME, claim(sighted=()))
    assert Arm("x", nothing).alone == frozenset()
