"""The chunked loss is torch's own cross-entropy, gradients included, and holds a fraction of its memory."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from looksay.models.batching import IGNORE  # noqa: E402
from looksay.models.losses import full_loss, row_log_likelihoods, token_loss  # noqa: E402

pytestmark = pytest.mark.local


def example(seed: int, rows: int = 3, length: int = 17, width: int = 8, words: int = 50):
    make = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, length, width, generator=make, dtype=torch.float64)
    weight = torch.randn(words, width, generator=make, dtype=torch.float64)
    bias = torch.randn(words, generator=make, dtype=torch.float64)
    labels = torch.randint(0, words, (rows, length), generator=make)
    labels[torch.rand(rows, length, generator=make) < 0.4] = IGNORE
    segments = torch.tensor([[1] * 6 + [2] * 8 + [0] * 3] * rows)
    labels[segments == 0] = IGNORE
    return [t.requires_grad_() for t in (hidden, weight, bias)], labels, segments


@pytest.mark.parametrize("chunk", [1, 4, 7, 1000, None])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradients_are_those_of_cross_entropy(
    chunk: int | None, biased: bool, smoothing: float
) -> None:
    (hidden, weight, bias), labels, segments = example(0)
    of = (hidden, weight, bias) if biased else (hidden, weight)
    found = token_loss(hidden, weight, labels, segments, bias if biased else None, chunk, smoothing)
    logits = torch.nn.functional.linear(hidden, weight, bias if biased else None)
    wanted = [
        (logits[row, t], labels[row, t + 1])
        for row in range(3)
        for t in range(16)
        if segments[row, t] == segments[row, t + 1] and labels[row, t + 1] != IGNORE
    ]
    expected = torch.nn.functional.cross_entropy(
        torch.stack([scores for scores, _ in wanted]),
        torch.stack([label for _, label in wanted]),
        label_smoothing=smoothing,
    )
    assert torch.allclose(found, expected, rtol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(found * 3, of), torch.autograd.grad(expected * 3, of), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 7, 1000, None])
@pytest.mark.parametrize("biased", [True, False])
def test_likelihoods_of_rows_and_gradients_are_those_of_log_softmax(
    chunk: int | None, biased: bool
) -> None:
    (hidden, weight, bias), labels, segments = example(1)
    labels[2] = IGNORE
    of = (hidden, weight, bias) if biased else (hidden, weight)
    found = row_log_likelihoods(hidden, weight, labels, segments, bias if biased else None, chunk)
    logits = torch.nn.functional.linear(hidden, weight, bias if biased else None)
    expected = [
        sum(
            (
                logits[row, t].log_softmax(-1)[labels[row, t + 1]]
                for t in range(16)
                if segments[row, t] == segments[row, t + 1] and labels[row, t + 1] != IGNORE
            ),
            torch.zeros((), dtype=torch.float64),
        )
        for row in range(3)
    ]
    assert torch.allclose(found, torch.stack(expected), rtol=1e-12)
    assert float(found[2].detach()) == 0
    # What a row weighs may depend on all of them.
    ours, theirs = (one.square().sum() - one[0] * one[1] for one in (found, torch.stack(expected)))
    for mine, wanted in zip(
        torch.autograd.grad(ours, of), torch.autograd.grad(theirs, of), strict=True
    ):
        assert torch.allclose(mine, wanted, rtol=1e-9, atol=1e-10)


def test_likelihoods_of_rows_have_no_gradient_where_none_is_wanted() -> None:
    (hidden, weight, _), labels, segments = example(2)
    found = row_log_likelihoods(hidden, weight.detach(), labels, segments)
    (grad,) = torch.autograd.grad(found.sum(), hidden)
    assert grad.abs().sum() > 0
    nothing = torch.full_like(labels, IGNORE)
    found = row_log_likelihoods(hidden, weight, nothing, segments)
    assert found.tolist() == [0, 0, 0]
    grads = torch.autograd.grad(found.sum(), (hidden, weight))
    assert all(float(g.abs().sum()) == 0 for g in grads)


def test_numeric_gradients_agree() -> None:
    (hidden, weight, bias), labels, segments = example(1, rows=1, width=3, words=5)
    labels = labels.clamp(max=4)

    def loss(h, w, b):
        return token_loss(h, w, labels, segments, b, 4)

    assert torch.autograd.gradcheck(loss, (hidden, weight, bias))


def test_the_first_id_of_a_packed_example_is_not_learned_from_the_one_before() -> None:
    (hidden, weight, _), labels, segments = example(2)
    base = token_loss(hidden, weight, labels, segments)
    changed = labels.clone()
    changed[:, 6] = (labels[:, 6] + 1) % 50
    assert token_loss(hidden, weight, changed, segments) == base


def test_a_batch_in_which_nothing_is_learned_has_loss_and_gradient_zero() -> None:
    (hidden, weight, _), labels, segments = example(3)
    loss = token_loss(hidden, weight, torch.full_like(labels, IGNORE), segments)
    loss.backward()
    assert loss == 0
    assert not hidden.grad.any()


def test_autocast_gives_the_loss_of_bf16_logits_and_gradients_in_the_weights_precision() -> None:
    (hidden, weight, bias), labels, segments = example(4)
    narrow = [t.detach().float().requires_grad_() for t in (hidden, weight, bias)]
    with torch.autocast("cpu", torch.bfloat16):
        found = token_loss(narrow[0], narrow[1], labels, segments, narrow[2])
    expected = full_loss(hidden, weight, labels, segments, bias)
    assert found.dtype == torch.float32
    assert abs(found.item() - expected.item()) < 0.02 * expected.item()
    ours = torch.autograd.grad(found, narrow)
    theirs = torch.autograd.grad(expected, (hidden, weight, bias))
    for our, their in zip(ours, theirs, strict=True):
        assert our.dtype == torch.float32
        assert (
            torch.nn.functional.cosine_similarity(our.flatten().double(), their.flatten(), 0)
            > 0.999
        )


def test_a_frozen_head_costs_no_gradient_of_its_size() -> None:
    (hidden, weight, _), labels, segments = example(5)
    token_loss(hidden, weight.detach(), labels, segments).backward()
    assert weight.grad is None
    assert hidden.grad.any()
