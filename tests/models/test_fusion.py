"""BERT blocks over a picture against float64 arithmetic by hand, and steps against the whole."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")

from looksay.models.fusion import (  # noqa: E402
    Attention,
    Bert,
    FusionLayer,
    Memory,
    Repeated,
    WordHead,
    attend,
    both_ways,
    forwards,
)

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-10, "rtol": 1e-10}


def lively(module: Any, seed: int = 0) -> Any:
    """In float64, with weights (norms included) under which everything matters."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(0.0, 0.5, generator=generator)
    return module


def attention_by_hand(block: Any, x: Any, context: Any, sees: Any) -> Any:
    """One row: x (T, D), context (S, D), sees (T, S); head by head, place by place."""
    query, key, value = (
        one(part) for one, part in ((block.query, x), (block.key, context), (block.value, context))
    )
    width = query.shape[1] // block.heads
    joined = torch.zeros(len(x), query.shape[1], dtype=torch.float64)
    for head in range(block.heads):
        cut = slice(head * width, (head + 1) * width)
        for t in range(len(x)):
            seen = [s for s in range(len(context)) if sees[t][s]]
            scores = [float(query[t, cut] @ key[s, cut]) / math.sqrt(width) for s in seen]
            whole = sum(math.exp(score) for score in scores)
            for s, score in zip(seen, scores, strict=True):
                joined[t, cut] += math.exp(score) / whole * value[s, cut]
    return block.out(joined)


def norm_by_hand(layer: Any, x: Any) -> Any:
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt()
    return centred / spread * layer.weight + layer.bias


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def layer_by_hand(layer: Any, x: Any, sees: Any, picture: Any = None, writing: bool = False) -> Any:
    own = layer.writing if writing else layer.itself
    x = norm_by_hand(own.norm, x + attention_by_hand(own.attention, x, x, sees))
    if picture is not None:
        all_of_it = [[True] * len(picture)] * len(x)
        looked = attention_by_hand(layer.cross.attention, x, picture, all_of_it)
        x = norm_by_hand(layer.cross.norm, x + looked)
    fed = layer.feed.down(gelu(layer.feed.up(x)))
    return norm_by_hand(layer.feed.norm, x + fed)


@pytest.fixture
def layer() -> Any:
    return lively(FusionLayer(8, 2, 16, width_in=6, cross=True, decodes=True))


@torch.no_grad()
@pytest.mark.parametrize("writing", [False, True])
@pytest.mark.parametrize("looks", [False, True])
def test_a_block_by_hand(layer: Any, writing: bool, looks: bool) -> None:
    torch.manual_seed(1)
    x, picture = torch.randn(1, 5, 8).double(), torch.randn(1, 4, 6).double()
    seen = torch.tensor([[True, True, True, True, False]])
    mask = forwards(seen) if writing else both_ways(seen)
    sees = [[s < 4 and (s <= t or not writing) for s in range(5)] for t in range(5)]
    found = layer(x, mask, picture if looks else None, writing=writing)
    by_hand = layer_by_hand(layer, x[0], sees, picture[0] if looks else None, writing)
    torch.testing.assert_close(found[0, :4], by_hand[:4], **CLOSE)


@torch.no_grad()
def test_queries_look_and_have_a_feed_of_their_own() -> None:
    block = lively(FusionLayer(8, 2, 16, width_in=6, cross=True, queries=True))
    torch.manual_seed(2)
    x, picture = torch.randn(1, 5, 8).double(), torch.randn(1, 4, 6).double()
    found = block(x, None, picture, queries=2)[0]
    own = block.itself
    read = norm_by_hand(
        own.norm, x[0] + attention_by_hand(own.attention, x[0], x[0], [[True] * 5] * 5)
    )
    looked = attention_by_hand(block.cross.attention, read[:2], picture[0], [[True] * 4] * 2)
    queries = norm_by_hand(block.cross.norm, read[:2] + looked)
    for part, feed, at in ((queries, block.query_feed, 0), (read[2:], block.feed, 2)):
        fed = norm_by_hand(feed.norm, part + feed.down(gelu(feed.up(part))))
        torch.testing.assert_close(found[at : at + len(part)], fed, **CLOSE)


@torch.no_grad()
def test_words_places_and_the_norm_before_the_blocks() -> None:
    bert = lively(Bert(11, 8, layers=1, heads=2, inner=16, positions=9))
    ids = torch.tensor([[3, 1, 7]])
    by_hand = norm_by_hand(
        bert.norm,
        torch.stack(
            [bert.words.weight[i] + bert.places.weight[t + 2] for t, i in enumerate(ids[0])]
        ),
    )
    torch.testing.assert_close(bert.embed(ids, start=2)[0], by_hand, **CLOSE)
    head = lively(WordHead(8, 11), 3)
    hidden = torch.randn(1, 2, 8).double()
    torch.testing.assert_close(
        head(hidden), norm_by_hand(head.norm, gelu(head.dense(hidden))), **CLOSE
    )


@torch.no_grad()
def test_step_by_step_is_the_whole_also_when_rows_change_places() -> None:
    bert = lively(
        Bert(
            11, 8, layers=3, heads=2, inner=16, positions=9, width_in=6, cross=(0, 2), decodes=True
        )
    )
    torch.manual_seed(3)
    ids, picture = torch.randint(0, 11, (3, 6)), torch.randn(3, 4, 6).double()
    short = torch.tensor([[True] * 4, [True] * 2 + [False] * 2, [True] * 3 + [False]])
    mask = both_ways(short)
    seen = torch.ones_like(ids, dtype=torch.bool)
    whole = bert(bert.embed(ids), forwards(seen), picture, mask, writing=True)
    memory, order = bert.memory(), torch.tensor([2, 0, 0])
    first = bert(
        bert.embed(ids[:, :3]), forwards(seen[:, :3]), picture, mask, writing=True, memory=memory
    )
    torch.testing.assert_close(first, whole[:, :3], **CLOSE)
    for pair in memory:
        for one in pair:
            one.select(order)
    for t in range(3, 6):
        step = bert(
            bert.embed(ids[order, t : t + 1], start=t),
            forwards(seen[:, : t + 1], t),
            torch.full_like(picture, torch.nan),  # keys and values of the picture are remembered
            mask[order],
            writing=True,
            memory=memory,
        )
        torch.testing.assert_close(step[:, 0], whole[order, t], **CLOSE)


@torch.no_grad()
def test_both_ways_of_computing_attention_agree_and_unseen_rows_are_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from looksay.models import fusion

    torch.manual_seed(4)
    query, keys, values = (torch.randn(2, 3, n, 4).double() for n in (5, 7, 7))
    mask = torch.rand(2, 1, 5, 7) > 0.4
    mask[0, 0, 2] = False
    plain = attend(query, keys, values, mask)
    monkeypatch.setattr(fusion, "_SMALL", 0)
    torch.testing.assert_close(attend(query, keys, values, mask), plain, **CLOSE)
    assert bool((plain[0, :, 2] == 0).all())
    torch.testing.assert_close(
        attend(query, keys, values), attend(query, keys, values, torch.ones_like(mask)), **CLOSE
    )


@torch.no_grad()
def test_memory_that_grows_and_memory_that_is_fixed() -> None:
    block = lively(Attention(8, 6, 2))
    torch.manual_seed(5)
    picture, fixed = torch.randn(1, 4, 6).double(), Memory(fixed=True)
    first = block(torch.randn(1, 1, 8).double(), picture, memory=fixed)
    assert first.shape == (1, 1, 8)
    kept = fixed.keys
    block(torch.randn(1, 1, 8).double(), picture + 1, memory=fixed)
    assert fixed.keys is kept
    own, grows = lively(Attention(8, 8, 2)), Memory()
    for _ in range(3):
        own(torch.randn(1, 1, 8).double(), torch.randn(1, 1, 8).double(), memory=grows)
    assert grows.keys is not None
    assert grows.keys.shape[2] == 3


def test_rows_that_look_at_one_picture_share_its_keys_and_see_what_each_would_alone() -> None:
    block = lively(Attention(8, 6, 2))
    torch.manual_seed(6)
    queries, pictures = torch.randn(5, 3, 8).double(), torch.randn(4, 7, 6).double()
    places = torch.tensor([3, 0, 3, 3, 1])
    made: list[int] = []
    block.key.register_forward_hook(lambda _, inputs, __: made.append(len(inputs[0])))
    grads = []
    for context in (pictures[places], Repeated.of(pictures, places)):
        weight = block.value.weight
        weight.grad = None
        found = block(queries, context)
        found.square().sum().backward()
        grads.append((found.detach(), weight.grad))
    assert made == [5, 3]
    torch.testing.assert_close(grads[0], grads[1], **CLOSE)
