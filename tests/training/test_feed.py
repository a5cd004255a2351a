"""The feed: the same batches whoever encodes them, from any position on, split between ranks."""

from __future__ import annotations

from functools import partial
from itertools import islice

import pytest

torch = pytest.importorskip("torch")

from models.tiny import tiny_llava  # noqa: E402
from training.trained import Pictures  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.training.feed import Fed, Feed, Position  # noqa: E402
from looksay.training.stages import Stage  # noqa: E402

pytestmark = pytest.mark.local

STAGE = Stage("s", {}, Pictures(), 9, tokens_per_batch=200, max_length=100, accumulate=2)
EACH = Stage("s", {}, Pictures(), 9, examples_per_batch=3, max_length=100)


def draw(stage: Stage, steps: int, model=None, **options) -> list[tuple[list[Fed], Position]]:
    model = model or tiny_llava()
    encode = partial(model.encode, template=None, objectives=("lm",))
    with Feed(stage, encode, **options) as feed:
        return list(islice(feed, steps))


def ids(steps) -> list[list[list[list[int]]]]:
    return [[fed.batch.ids_BT.tolist() for fed in feds] for feds, _ in steps]


@pytest.mark.parametrize("stage", [STAGE, EACH], ids=["tokens", "examples"])
@pytest.mark.parametrize("after", [1, 4])
def test_a_feed_goes_on_exactly_from_any_position(stage: Stage, after: int) -> None:
    whole = draw(stage, 8)
    rest = draw(stage, 8 - after, position=whole[after - 1][1])
    assert ids(rest) == ids(whole[after:])
    assert [p for _, p in rest] == [p for _, p in whole[after:]]


def test_every_example_comes_once_per_epoch() -> None:
    steps = draw(STAGE, 12)
    *_, last = steps
    seen = sum(fed.examples for feds, _ in steps for fed in feds)
    assert seen == last[1].drawn - len(last[1].waiting)


def test_a_batch_stays_within_its_budget() -> None:
    for feds, _ in draw(STAGE, 10):
        for fed in feds:
            rows, length = fed.batch.ids_BT.shape
            assert rows * length <= 200
            assert fed.tokens == int((fed.batch.segments_BT > 0).sum())
            assert fed.learned == fed.batch.learned > 0
            assert len(fed.keys) == fed.images == fed.examples


def test_ranks_share_the_examples_of_one_process() -> None:
    alone = draw(EACH, 4)
    half = Stage("s", {}, Pictures(), 9, examples_per_batch=3, max_length=100)
    ranks = [draw(half, 2, rank=r, world=2) for r in (0, 1)]
    together = [
        sorted(k for rank in ranks for fed in rank[step][0] for k in fed.keys) for step in (0, 1)
    ]
    pairs = [
        sorted(k for step in alone[2 * n : 2 * n + 2] for fed in step[0] for k in fed.keys)
        for n in (0, 1)
    ]
    assert together == pairs


@pytest.mark.slow
def test_worker_processes_give_the_batches_of_the_thread() -> None:
    model = tiny_llava()
    for stage in (STAGE, EACH):
        here, there = draw(stage, 6, model), draw(stage, 6, model, workers=1)
        assert ids(here) == ids(there)
        for (ours, at), (theirs, then) in zip(here, there, strict=True):
            assert at == then
            for a, b in zip(ours, theirs, strict=True):
                assert a.keys == b.keys
                assert torch.equal(a.batch.pixels_ICHW, b.batch.pixels_ICHW)


def test_examples_that_cannot_be_batched_are_named() -> None:
    with pytest.raises(InputError, match=r"Example '\d+' takes .* tokens_per_batch=20"):
        draw(Stage("s", {}, Pictures(), 1, tokens_per_batch=20), 1)
    with pytest.raises(InputError, match="no example"):
        draw(Stage("s", {}, Pictures(size=0), 1), 1)

    class Mute(Pictures):
        def example(self, index: int):
            found = super().example(index)
            turns = found.conversation.messages[:1]
            return type(found)(found.id, type(found.conversation)(turns))

    with pytest.raises(InputError, match=r"Example '\d+': .*assistant"):
        draw(Stage("s", {}, Mute(), 1), 1)
