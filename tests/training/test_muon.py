"""Muon: the update is torch's own, whichever matrices are taken together."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from looksay.training.muon import Muon, orthogonal  # noqa: E402

pytestmark = pytest.mark.local

SHAPES = [(24, 40), (40, 24), (24, 40), (24, 24)]
QUINTIC = (3.4445, -4.7750, 2.0315)


def trained(kind: type, which: list[int], **more: object) -> list[torch.Tensor]:
    """Matrices after five steps on random gradients, the same for the same matrix in any company."""
    weights = []
    for number in which:
        generator = torch.Generator().manual_seed(number)
        weights.append(torch.randn(SHAPES[number], generator=generator).requires_grad_())
    optimizer = kind([{"params": weights, "weight_decay": 0.1}], lr=0.02, **more)
    for step in range(5):
        for number, weight in zip(which, weights, strict=True):
            generator = torch.Generator().manual_seed(100 * step + number)
            weight.grad = torch.randn(SHAPES[number], generator=generator)
        optimizer.step()
    return [weight.detach() for weight in weights]


def test_steps_are_those_of_torch_but_for_the_precision_of_bf16() -> None:
    ours = trained(Muon, [0, 1, 2, 3])
    theirs = trained(torch.optim.Muon, [0, 1, 2, 3], adjust_lr_fn="match_rms_adamw")
    # An entry moves by some 0.02 × 0.2 = 0.004 a step.
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=0.001)


def test_in_bf16_they_are_torchs_too() -> None:
    narrow, wide = (trained(Muon, [0, 1, 2, 3], dtype=t) for t in (torch.bfloat16, torch.float32))
    theirs = trained(torch.optim.Muon, [0, 1, 2, 3], adjust_lr_fn="match_rms_adamw")
    for own, exact, other in zip(narrow, wide, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=0.001)
        assert not torch.equal(own, exact)


def test_company_changes_nothing() -> None:
    together = trained(Muon, [0, 1, 2, 3])
    for number, found in enumerate(together):
        torch.testing.assert_close(trained(Muon, [number])[0], found, rtol=1e-5, atol=1e-6)


def test_a_matrix_without_a_gradient_stays() -> None:
    weight = torch.ones(4, 4, requires_grad=True)
    Muon([{"params": [weight], "weight_decay": 0.5}], lr=0.1).step()
    assert torch.equal(weight.detach(), torch.ones(4, 4))


@pytest.mark.parametrize("shape", [(3, 16, 24), (2, 24, 16), (1, 16, 16)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    found = orthogonal(torch.randn(shape) * 7, QUINTIC, 5, 1e-7)
    values = torch.linalg.svdvals(found)
    assert found.shape == shape
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_nothing_stays_nothing() -> None:
    assert not orthogonal(torch.zeros(1, 4, 6), QUINTIC, 5, 1e-7).any()
