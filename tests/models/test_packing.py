"""Packing: rows of whole examples that do not see each other, with the loss of unpacked ones."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from models.tiny import tiny_llava  # noqa: E402

from looksay.models.batching import IGNORE, Sequence, collate, fit, pad  # noqa: E402

pytestmark = pytest.mark.local


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(40, 300))
def test_fit_holds_its_budget_and_takes_the_oldest(lengths: list[int], tokens: int) -> None:
    rows, longest = fit(lengths, 120, tokens)
    placed = [i for row in rows for i in row]
    assert len(placed) == len(set(placed))
    assert 0 in placed
    assert all(sum(lengths[i] for i in row) <= min(120, longest) for row in rows)
    assert len(rows) * longest <= tokens


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_fit_without_a_budget_places_everything(lengths: list[int]) -> None:
    rows, _ = fit(lengths, 100)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))


def test_packing_wastes_little_where_lengths_differ() -> None:
    make = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 120, (200,), generator=make).tolist()
    rows, longest = fit(lengths, 512, 4096)
    used = sum(lengths[i] for row in rows for i in row)
    assert used / (len(rows) * longest) > 0.93


def test_a_sequence_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="90"):
        fit([90], 60)


def sequences(model, seed: int = 0, count: int = 7) -> list[Sequence]:
    make = torch.Generator().manual_seed(seed)
    found = []
    for n in range(count):
        images = n % 3
        text = torch.randint(8, 50, (4 + 3 * n,), generator=make).tolist()
        image = [model.prompter.image_id] * model.prompter.image_tokens
        ids = [2, *image * images, *text]
        labels = [IGNORE] * (len(ids) - 5) + ids[-5:] if n != 3 else list(ids)
        labels = [IGNORE if i == model.prompter.image_id else i for i in labels]
        pixels = tuple(torch.randn(3, 32, 32, generator=make) for _ in range(images))
        found.append(Sequence(ids, labels, pixels))
    return found


def loss_and_gradients(model, batch):
    model.zero_grad()
    loss = model(batch)["lm"]
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("attention", ["sdpa", "eager", "segments"])
@pytest.mark.parametrize("language", ["llama", "qwen2", "opt"])
def test_packed_loss_and_gradients_equal_unpacked(language: str, attention: str) -> None:
    model = tiny_llava(language=language, attention=attention)
    model.train()
    found = sequences(model)
    rows = [[found[i] for i in row] for row in fit([len(s.ids) for s in found], 128)[0]]
    assert max(len(row) for row in rows) > 1
    ordered = [s for row in rows for s in row]
    assert len(ordered) == len(found)
    packed, packed_gradients = loss_and_gradients(model, collate(rows))
    padded, padded_gradients = loss_and_gradients(model, pad(ordered))
    assert torch.allclose(packed, padded, rtol=1e-5)
    assert len(packed_gradients) == len(padded_gradients)
    for ours, theirs in zip(packed_gradients, padded_gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("attention", ["sdpa", "segments"])
def test_no_example_of_a_row_sees_another(attention: str) -> None:
    model = tiny_llava(attention=attention)
    one, two, three = sequences(model)[2:5]
    other = Sequence([9] * len(two.ids), two.labels, ())
    two = Sequence([i if i != model.prompter.image_id else 8 for i in two.ids], two.labels, ())
    with torch.no_grad():
        before = model.hidden(collate([[one, two, three]]))
        after = model.hidden(collate([[one, other, three]]))
        alone = model.hidden(pad([three]))
    first, last = len(one.ids), len(three.ids)
    assert torch.equal(before[:, :first], after[:, :first])
    assert torch.equal(before[:, -last:], after[:, -last:])
    assert not torch.allclose(before[:, first:-last], after[:, first:-last])
    assert torch.allclose(before[:, -last:], alone, atol=1e-5)


def test_examples_of_a_row_meet_the_kernel_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it fast: no mask, no padding, and no place of one example beside one of another."""
    model = tiny_llava(attention="segments")
    seen = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def watched(query, key, value, attn_mask=None, is_causal=False, **options):
        seen.append((query.shape[2], key.shape[2], attn_mask, is_causal))
        return kernel(query, key, value, attn_mask=attn_mask, is_causal=is_causal, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    one, two, three = sequences(model)[2:5]
    batch = collate([[one, two], [three]])
    model.language.hidden(model.language.embed(batch.ids_BT), batch.segments_BT, batch.positions_BT)
    each = [(len(s.ids), len(s.ids), None, True) for s in (one, two, three)]
    assert seen == each * model.language.config.num_hidden_layers


def test_attention_of_a_bf16_run_on_a_cpu_is_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llava(attention="segments")
    model.train()
    batch = collate([sequences(model)[2:5]])
    exact, gradients = loss_and_gradients(model, batch)
    seen = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def watched(query, *others, is_causal=False, **options):
        found = kernel(query, *others, is_causal=is_causal, **options)
        if is_causal:  # the tower's is not
            seen.append((query.dtype, found.dtype))
        return found

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    with torch.autocast("cpu", torch.bfloat16):
        loss, narrow = loss_and_gradients(model, batch)
    assert set(seen) == {(torch.float32, torch.float32)}
    assert torch.allclose(loss, exact, rtol=0.02)
    assert not torch.equal(loss, exact)
    ours, others = (torch.cat([g.flatten() for g in each]) for each in (narrow, gradients))
    assert torch.nn.functional.cosine_similarity(ours, others, 0) > 0.99


def test_a_model_that_hides_where_examples_end_computes_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its attention would let examples see each other in silence."""
    model = tiny_llava(attention="segments")
    attention = type(model.language.model.model.layers[0].self_attn)
    forward = attention.forward
    monkeypatch.setattr(
        attention, "forward", lambda self, *a, cu_seq_lens_q=None, **k: forward(self, *a, **k)
    )
    one, two = sequences(model)[3:5]
    assert model(collate([[one, two]]))["lm"].isnan()


def test_left_padding_and_rows_without_ids() -> None:
    batch = pad([Sequence([5, 6], [5, 6]), Sequence([7], [7])], pad_id=1, side="left")
    assert batch.ids_BT.tolist() == [[5, 6], [1, 7]]
    assert batch.segments_BT.tolist() == [[1, 1], [0, 1]]
    assert batch.positions_BT.tolist() == [[0, 1], [0, 0]]
    assert batch.learned == 1
    picture = torch.zeros(3, 4, 4)
    empty = pad([Sequence([], [], (picture,), targets={"noun": torch.ones(1, 2)})] * 3)
    assert empty.ids_BT.shape == (0, 0)
    assert empty.pixels_ICHW.shape == (3, 3, 4, 4)
    assert empty.targets["noun"].shape == (3, 2)
    assert empty.learned == 0


def test_flash_attention_takes_packed_rows_one_at_a_time() -> None:
    from looksay.errors import InputError

    language = tiny_llava().language
    language.model.config._attn_implementation = "flash_attention_2"
    rows = torch.tensor([[1, 1, 2], [1, 2, 2]])
    with pytest.raises(InputError, match=r"flash_attention_2.*one row.*pack=False"):
        language.hidden(torch.zeros(2, 3, language.width), rows, torch.zeros(2, 3))
