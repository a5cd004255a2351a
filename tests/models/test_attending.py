"""Attention in blocks: what torch's own says, with every kind of mask, whatever the size of a block."""

from __future__ import annotations

import copy
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from hypothesis import given
from hypothesis import strategies as st

from looksay.models import attending

pytestmark = pytest.mark.local


def exact(
    query: Any, key: Any, value: Any, mask: Any = None, causal: bool = False, scale: Any = None
) -> Any:
    """softmax(QK')V in float64, as it is written; mask bool."""
    group = query.shape[1] // key.shape[1]
    key, value = (one.double().repeat_interleave(group, 1) for one in (key, value))
    scores = query.double() @ key.transpose(2, 3) * (scale or query.shape[-1] ** -0.5)
    if causal:
        steps, places = scores.shape[2:]
        mask = torch.ones(steps, places, dtype=torch.bool).tril(places - steps)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


@given(
    rows=st.integers(1, 3),
    kinds=st.integers(1, 3),
    group=st.sampled_from([1, 2, 7]),
    steps=st.integers(attending.FEW, 40),
    before=st.integers(0, 9),
    how=st.sampled_from(
        ["all", "causal", "bool", "added", "one mask", "nothing hidden", "what is later hidden"]
    ),
    block=st.sampled_from([1, 100, 5000, 1 << 20]),
    seed=st.integers(0, 99),
)
def test_it_is_attention(
    rows: int, kinds: int, group: int, steps: int, before: int, how: str, block: int, seed: int
) -> None:
    torch.manual_seed(seed)
    if how == "causal":  # else it says so by a mask
        before = 0
    places, width = steps + before, 16
    query = torch.randn(rows, steps, kinds * group, width).bfloat16().transpose(1, 2)
    # As a cache gives them: the front of something longer.
    key, value = torch.randn(2, rows, kinds, places + 5, width).bfloat16()[..., :places, :]
    seen = torch.rand(1 if how == "one mask" else rows, 1, steps, places) > 0.3
    seen[..., 0] = True
    if how == "nothing hidden":
        seen[:] = True
    if how == "what is later hidden":
        seen = torch.ones(rows, 1, steps, places, dtype=torch.bool).tril(before)
    masked = how not in ("all", "causal")
    mask = seen if masked else None
    if how == "added":
        mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf).bfloat16()
    module = torch.nn.Module()
    module.is_causal = how == "causal"
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(attending, "SCORES", block)
        found, _ = attending.attend(module, query, key, value, mask, scaling=0.3)
    wanted = exact(query, key, value, seen if masked else None, how == "causal", 0.3)
    assert found.shape == wanted.shape == (rows, steps, kinds * group, width)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), wanted, atol=0.06, rtol=0.03)


LEFT = {
    "float32": {},
    "gradient": {},
    "a gradient of keys alone": {},
    "a mask for each head": {},
    "one that asks": {},
    "a causal question after a cache, with no mask": {},
    "one question for all keys": {},
    "position bias": {"position_bias": torch.ones(1, 4, 20, 20, dtype=torch.bfloat16)},
}


@pytest.mark.parametrize("what", LEFT)
def test_what_it_is_not_for_is_torchs_to_the_bit(what: str) -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    torch.manual_seed(0)
    steps = 1 if what == "one that asks" else 17 if "cache" in what else 20
    rows = 1 if what == "one question for all keys" else 2
    dtype = torch.float32 if what == "float32" else torch.bfloat16
    query = torch.randn(rows, 4, steps, 16, dtype=dtype)
    key, value = torch.randn(2, 2, 4, 20, 16, dtype=dtype)
    (key if "keys alone" in what else query).requires_grad_("gradient" in what)
    heads = 4 if what == "a mask for each head" else 1
    mask = None if "cache" in what else torch.rand(2, heads, steps, 20) > 0.2
    module = torch.nn.Module()
    found, wanted = (
        how(module, query, key, value, mask, scaling=0.2, **LEFT[what])[0]
        for how in (attending.attend, sdpa_attention_forward)
    )
    assert torch.equal(found, wanted)


def test_softcapped_scores_are_refused_as_torchs_kernel_refuses_them() -> None:
    query, key, value = torch.randn(3, 1, 2, 20, 16).bfloat16()
    with pytest.raises(ValueError, match="softcap"):
        attending.attend(torch.nn.Module(), query, key, value, None, softcap=30.0)


@pytest.mark.parametrize("least", [float("-inf"), torch.finfo(torch.float32).min])
def test_a_row_that_sees_nothing_is_still_numbers(least: float) -> None:
    query, key, value = torch.randn(3, 1, 2, 20, 16).bfloat16()
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 3, :] = least
    with torch.inference_mode():
        found, _ = attending.attend(torch.nn.Module(), query, key, value, mask)
    assert found.isfinite().all()


def test_models_that_look_for_the_name_of_torchs_attention_keep_it() -> None:
    from transformers import FalconConfig, FalconForCausalLM

    model = FalconForCausalLM(
        FalconConfig(vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    )
    assert attending.use(model) == 0
    assert model.config._attn_implementation == "sdpa"


def test_a_model_says_the_same_in_blocks() -> None:
    from models.tiny import enliven, language_config
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = (
        enliven(AutoModelForCausalLM.from_config(language_config("llama", 40))).bfloat16().eval()
    )
    ids = torch.randint(5, 30, (3, 24))
    mask = torch.ones_like(ids)
    mask[0, :7] = 0
    with torch.inference_mode():
        truth = copy.deepcopy(model).double()(ids, attention_mask=mask).logits
        before = model(ids, attention_mask=mask).logits
        assert attending.use(model) == 1
        assert attending.use(model) == 0
        after = model(ids, attention_mask=mask).logits
    seen = mask.bool()
    assert not torch.equal(before[seen], after[seen]), "it was used"
    off, usual = ((one[seen] - truth[seen]).abs().mean() for one in (after, before))
    assert off < 1.5 * usual


def test_parts_that_attend_otherwise_go_on_doing_so() -> None:
    from models.tiny import language_config
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(text_config=language_config("llama", 40))
    config.vision_config.update(
        {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    )
    config.vision_config.num_attention_heads = 2
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    model.model.language_model.set_attn_implementation("eager")
    assert attending.use(model)
    kinds = {
        name: one.config._attn_implementation
        for name, one in [("tower", model.model.vision_tower), ("text", model.model.language_model)]
    }
    assert kinds == {"tower": attending.NAME, "text": "eager"}
