"""Contrast, negatives, momentum and queues: each held to what was computed by hand in float64, and two processes
to one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from torch import nn  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import ranks  # noqa: E402
from looksay.models.contrastive import (  # noqa: E402
    clip_loss,
    hard_negatives,
    matching_loss,
    negatives,
    siglip_loss,
    soft_cross_entropy,
    soft_targets,
)
from looksay.models.momentum import Momentum, MomentumContrast, Queue, ramp  # noqa: E402

pytestmark = pytest.mark.local
IDS = [5, 9, 5, 7]
"""The first and the third row show one picture."""


def rows(seed: int, count: int = 4, width: int = 6) -> Any:
    table = np.random.default_rng(seed).normal(size=(count, width))
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def softmax(values: Any) -> Any:
    shifted = np.exp(values - values.max())
    return shifted / shifted.sum()


@pytest.mark.parametrize("ids", [None, IDS])
def test_clips_loss_is_the_mean_of_both_cross_entropies(ids: list[int] | None) -> None:
    images, texts, scale = rows(1), rows(2), 7.3
    total = 0.0
    for a, b in ((images, texts), (texts, images)):
        for i in range(4):
            rivals = [j for j in range(4) if j == i or ids is None or ids[j] != ids[i]]
            scores = np.array([scale * a[i] @ b[j] for j in rivals])
            total -= math.log(softmax(scores)[rivals.index(i)]) / 4 / 2
    found = clip_loss(
        torch.tensor(images),
        torch.tensor(texts),
        torch.tensor([scale], dtype=torch.float64),
        None if ids is None else torch.tensor(ids),
    )
    assert found.item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("ids", [None, IDS])
def test_siglips_loss_judges_each_pair_by_itself(ids: list[int] | None) -> None:
    images, texts, scale, bias = rows(1), rows(2), 10.0, -4.0
    total = 0.0
    for i in range(4):
        for j in range(4):
            if i != j and ids is not None and ids[i] == ids[j]:
                continue
            sign = 1 if i == j else -1
            total += math.log1p(math.exp(-sign * (scale * images[i] @ texts[j] + bias))) / 4
    found = siglip_loss(
        torch.tensor(images),
        torch.tensor(texts),
        torch.tensor(scale, dtype=torch.float64),
        torch.tensor(bias, dtype=torch.float64),
        None if ids is None else torch.tensor(ids),
    )
    assert found.item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_a_batch_that_shows_one_picture_only_is_refused(loss: str) -> None:
    one = torch.tensor(rows(1, 1))
    many = torch.tensor(rows(1, 3))
    scale = torch.tensor(1.0)

    def run(x: Any, ids: Any) -> Any:
        return (
            clip_loss(x, x, scale, ids) if loss == "clip" else siglip_loss(x, x, scale, scale, ids)
        )

    with pytest.raises(
        InputError, match=r"A batch of 1 with 1 different pictures has no negatives"
    ):
        run(one, None)
    with pytest.raises(InputError, match=r"A batch of 3 with 1 different pictures.*--batch"):
        run(many, torch.tensor([4, 4, 4]))


def test_soft_targets_and_their_cross_entropy() -> None:
    scores, positives = rows(3, 2, 5) * 4, np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0]], bool)
    student, alpha = rows(4, 2, 5) * 3, 0.3
    total = 0.0
    for i in range(2):
        wanted = alpha * softmax(scores[i]) + (1 - alpha) * positives[i] / positives[i].sum()
        total -= wanted @ np.log(softmax(student[i])) / 2
    targets = soft_targets(torch.tensor(scores), torch.tensor(positives), alpha)
    assert soft_cross_entropy(torch.tensor(student), targets).item() == pytest.approx(
        total, abs=1e-12
    )
    torch.testing.assert_close(targets.sum(1), torch.ones(2, dtype=torch.float64))


def test_a_negative_is_drawn_by_its_likeness_and_never_of_the_same_picture() -> None:
    """Over evenly spread numbers each candidate comes up as often as its weight says."""
    scores = torch.tensor(rows(5, 4, 4)) * 3
    same = torch.tensor(IDS)[:, None] == torch.tensor(IDS)[None]
    draws = 20_000
    even = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    chosen = hard_negatives(
        scores.repeat(draws, 1), same.repeat(draws, 1), even.repeat_interleave(4)
    )
    counts = np.stack([np.bincount(found, minlength=4) for found in chosen.reshape(-1, 4).T])
    for i in range(4):
        weights = softmax(scores[i].numpy()) + 1e-4
        weights[np.array(IDS) == IDS[i]] = 0.0
        np.testing.assert_allclose(counts[i] / draws, weights / weights.sum(), atol=2e-4)
    assert counts[same.numpy()].sum() == 0


@pytest.mark.parametrize("u", [0.0, 1.0 - 2**-24, 1.0])
def test_rounding_at_either_end_reaches_no_ruled_out_candidate(u: float) -> None:
    scores = torch.tensor([[9.0, 0.0, 0.0, 9.0], [9.0, 0.0, 0.0, 9.0]])
    same = torch.tensor([[True, False, False, True], [False, True, True, True]])
    chosen = hard_negatives(scores, same, torch.full((2,), u))
    assert not same[torch.arange(2), chosen].any()


def test_a_row_without_another_picture_has_no_negative() -> None:
    with pytest.raises(InputError, match=r"no negative: all others show the same picture.*--batch"):
        negatives(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([3, 3]), seed=0)


def test_matching_is_cross_entropy_over_one_that_fits_and_two_that_do_not() -> None:
    logits = rows(6, 6, 2) * 3
    labels = [1, 1, 0, 0, 0, 0]
    wanted = -np.mean([math.log(softmax(logits[i])[labels[i]]) for i in range(6)])
    assert matching_loss(torch.tensor(logits)).item() == pytest.approx(wanted, abs=1e-12)


def test_momentum_models_are_taken_over_and_then_follow_slowly() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).double()
    momentum = Momentum({"layer": layer}, decay=0.9).double()
    assert not list(momentum.parameters())
    first = layer[0].weight.detach().clone()
    with torch.no_grad():
        layer[0].weight.add_(1.0)
    momentum.update()  # the first time whole: what was there at the start was no model
    slow = layer[0].weight.detach().clone()
    assert not torch.equal(slow, first)
    for step in range(3):
        with torch.no_grad():
            layer[0].weight.mul_(1.5 + step)
        momentum.update()
        slow = 0.9 * slow + 0.1 * layer[0].weight.detach()
    inputs = torch.tensor(rows(7, 4, 3))
    layer.train()
    found = momentum("layer", inputs)
    assert not found.requires_grad
    assert layer.training
    assert layer[1].training  # without dropout meanwhile
    torch.testing.assert_close(found, inputs @ slow.T + layer[0].bias.detach(), atol=1e-12, rtol=0)
    again = Momentum({"layer": layer}, decay=0.9).double()
    again.load_state_dict(momentum.state_dict())
    assert torch.equal(again("layer", inputs), found)


def test_a_queue_forgets_the_oldest_and_refuses_what_does_not_fit() -> None:
    queue = Queue(5, 2)
    torch.testing.assert_close(queue.features_KD.norm(dim=1), torch.ones(5))
    assert queue.ids_K.tolist() == [-1] * 5  # of no picture
    for number in range(4):
        queue.push(torch.full((2, 2), float(number)), torch.tensor([2 * number, 2 * number + 1]))
    assert queue.ids_K.tolist() == [5, 6, 7, 3, 4]
    assert queue.features_KD[:, 0].tolist() == [2.0, 3.0, 3.0, 1.0, 2.0]
    with pytest.raises(InputError, match="A batch of 6 does not fit into a queue of 5"):
        queue.push(torch.zeros(6, 2), torch.arange(6))


def test_momentum_contrast_by_hand() -> None:
    """ALBEF, sections 3.2 and 3.3, with two captions of one picture in the batch and one in the queue."""
    contrast = MomentumContrast(6, 3).double()
    kept_images, kept_texts = rows(11, 3), rows(12, 3)
    contrast.images.features_KD.copy_(torch.tensor(kept_images))
    contrast.texts.features_KD.copy_(torch.tensor(kept_texts))
    for queue in (contrast.images, contrast.texts):
        queue.ids_K.copy_(torch.tensor([9, 1, -1]))
    images, texts, slow_images, slow_texts = (rows(seed) for seed in (13, 14, 15, 16))
    alpha, tau = 0.25, 0.07
    total = 0.0
    known = [*IDS, 9, 1, -1]
    for own, slow, others in (
        (images, slow_images, np.concatenate([slow_texts, kept_texts])),
        (texts, slow_texts, np.concatenate([slow_images, kept_images])),
    ):
        for i in range(4):
            there = np.array([one == IDS[i] for one in known], float)
            wanted = alpha * softmax(others @ slow[i] / tau) + (1 - alpha) * there / there.sum()
            total -= wanted @ np.log(softmax(others @ own[i] / tau)) / 4 / 2
    tensors = [torch.tensor(x) for x in (images, texts, slow_images, slow_texts)]
    contrast.eval()
    found = contrast(*tensors, torch.tensor(IDS), alpha)
    # The temperature is a float32 that was made a double.
    assert found.loss.item() == pytest.approx(total, rel=1e-6)
    assert contrast.images.ids_K.tolist() == [9, 1, -1]  # measuring changes nothing
    torch.testing.assert_close(
        found.to_texts_BG, tensors[0] @ tensors[3].T / contrast.temperature.detach()
    )
    with pytest.raises(InputError, match="A batch of 4 does not fit into a queue of 3"):
        contrast.train()(*tensors, torch.tensor(IDS), alpha)


def test_the_temperature_stays_within_its_bounds() -> None:
    contrast = MomentumContrast(6, 8)
    tensors = [torch.tensor(rows(seed), dtype=torch.float32) for seed in (1, 2, 3, 4)]
    for start, bound in ((3.0, 0.5), (-1.0, 0.001)):
        with torch.no_grad():
            contrast.temperature.fill_(start)
        contrast(*tensors, torch.tensor(IDS), 0.4)
        assert contrast.temperature.item() == pytest.approx(bound)


def test_the_weight_of_distillation_rises_and_then_stays() -> None:
    assert [ramp(step, 4) for step in (0, 1, 2, 4, 9)] == pytest.approx([0, 0.1, 0.2, 0.4, 0.4])
    assert ramp(0, 0) == 0.4


TOGETHER = """
import json, sys
import torch
import torch.distributed as dist
from torch import nn
from looksay.models import ranks
from looksay.models.contrastive import clip_loss, negatives, siglip_loss
from looksay.models.momentum import MomentumContrast

place, world, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=place, world_size=world)
generator = torch.Generator().manual_seed(0)
whole = torch.randn(5, 6, 4, generator=generator, dtype=torch.float64)
pictures = torch.tensor([5, 9, 5, 7, 2, 9])
own = slice(place * 6 // world, (place + 1) * 6 // world)
inputs, ids = whole[:, own], pictures[own]
torch.manual_seed(0)
layer = nn.Linear(4, 3).double()
scale, bias = nn.Parameter(torch.tensor(3.0).double()), nn.Parameter(torch.tensor(-1.0).double())
unit = lambda x: nn.functional.normalize(layer(x), dim=-1)
found = {}

def learn(name, loss, parameters):
    for p in parameters:
        p.grad = None
    loss.backward()
    loss = loss.detach().clone()
    values = [loss, *[p.grad for p in parameters]]
    for value in values if world > 1 else ():
        dist.all_reduce(value)
    found[name] = [(value / world).tolist() for value in values]

mine = [*layer.parameters(), scale]
images, texts = unit(inputs[0]), unit(inputs[1])
learn("clip", clip_loss(images, texts, scale, ids), mine)
images, texts = unit(inputs[0]), unit(inputs[1])
learn("siglip", siglip_loss(images, texts, scale, bias, ids), [*mine, bias])
contrast = MomentumContrast(3, 8).double()
for step in range(2):
    rows = [unit(x) for x in inputs[:4]]
    told = contrast(rows[0], rows[1], rows[2].detach(), rows[3].detach(), ids, 0.3)
    learn(f"momentum {step}", told.loss, [*layer.parameters(), contrast.temperature])
found["queue"] = [contrast.texts.features_KD.tolist(), contrast.texts.ids_K.tolist()]
chosen = negatives(told.to_texts_BG, told.to_images_BG, ids, seed=7)
found["negatives"] = ranks.gather(torch.stack(chosen, 1)).tolist()
# Uneven counts: a mean over words, of which each process has its own number.
words = [4, 1][place] if world > 1 else 5
values = whole[4].flatten()[:5]
part = values if world == 1 else values[:4] if place == 0 else values[4:]
average = ranks.mean(part.sum(), words)
if world > 1:
    dist.all_reduce(average)
found["mean"] = (average / world).item()
table = torch.arange(12).reshape(6, 2)[own]
longer = table if world == 1 or place else torch.cat([table, torch.full((len(table), 1), 8)], 1)
wide = ranks.gather_texts(longer, 8)
found["texts"] = wide[:, :2].tolist()
found["seen"] = ranks.gather_texts(longer < 8, False).tolist() if world > 1 else None
if place == 0:
    json.dump(found, open(out, "w"))
if world > 1:
    dist.destroy_process_group()
"""


def together(world: int, folder: Path) -> Any:
    out, store = folder / f"{world}.json", folder / f"store{world}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(place), str(world), str(store), str(out)],
            env=environment,
        )
        for place in range(world)
    ]
    try:
        assert [p.wait(timeout=240) for p in running] == [0] * world
    finally:
        for process in running:
            process.kill()
    return json.loads(out.read_text("utf-8"))


@pytest.mark.slow
def test_two_processes_are_one_with_all_rows(tmp_path: Path) -> None:
    """Losses, gradients (as data-parallel training averages them), queues and drawn negatives."""
    one, two = together(1, tmp_path), together(2, tmp_path)
    for name in ("clip", "siglip", "momentum 0", "momentum 1", "queue"):
        for a, b in zip(one[name], two[name], strict=True):
            np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-10, err_msg=name)
    assert one["negatives"] == two["negatives"]
    assert one["mean"] == pytest.approx(two["mean"], abs=1e-12)
    assert one["texts"] == two["texts"]
    assert [len(row) for row in two["seen"]] == [3] * 6
    assert not any(row[2] for row in two["seen"])


def test_one_process_needs_no_group() -> None:
    table = torch.tensor(rows(1))
    assert ranks.gather(table) is table
    assert ranks.own(4) == slice(0, 4)
    assert torch.equal(ranks.uniform(3, 4, 2), ranks.uniform(3, 4, 2))
    assert not torch.equal(ranks.uniform(3, 4, 2), ranks.uniform(4, 4, 2))
    assert ranks.mean(torch.tensor(6.0), 4).item() == 1.5
