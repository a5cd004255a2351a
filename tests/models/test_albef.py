"""ALBEF: halves and released layout as transformers and the published code have them, losses by hand in float64,
and what retrieval, matching and answers rely on."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import enliven, vision_config, word_tokenizer  # noqa: E402
from PIL import Image as Pillow  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.answering import BertLM, add_bert_tokens  # noqa: E402
from looksay.models.batching import Batch, pad  # noqa: E402
from looksay.models.families import _albef_layouts as layouts  # noqa: E402
from looksay.models.families.albef import Albef, distilled, mask_words  # noqa: E402
from looksay.models.fusion import Bert  # noqa: E402
from looksay.models.pairing import STUCK_AFTER, Pairing  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
WIDTH, QUEUE = 32, 8
PAIRS = ("ita", "itm", "mlm")


def tiny_albef(seed: int = 0, **arguments: Any) -> Albef:
    """A few thousand weights: 17 tokens per picture of 32 px, two layers in each half."""
    from transformers import AutoModel

    from looksay.models.vision import TransformersTower

    torch.manual_seed(seed)
    tokenizer = add_bert_tokens(word_tokenizer())
    common: dict[str, Any] = {"layers": 2, "heads": 4, "inner": 64, "positions": 48}
    tower = AutoModel.from_config(vision_config("vit"))
    model = Albef(
        TransformersTower(tower, layer=None, drop_cls=False, fit="stretch"),
        BertLM(len(tokenizer), WIDTH, **common),
        Bert(0, WIDTH, width_in=WIDTH, cross=(0, 1), **common),
        Pairing(WIDTH, WIDTH, 16, QUEUE),
        tokenizer,
        BertLM(len(tokenizer), WIDTH, width_in=WIDTH, cross=(0, 1), **common),
        **arguments,
    )
    return enliven(model, seed)


def picture(seed: int) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


def pair(seed: int, text: str, asked: str = "describe the picture") -> Example:
    turns = (Message("user", (picture(seed), asked)), Message("assistant", (text,)))
    return Example(str(seed), Conversation(turns))


TEXTS = ["a dog near a tree", "two cat and a small red fox in the house", "four", "a blue house"]
EXAMPLES = [pair(seed, text) for seed, text in enumerate(TEXTS)]
QUESTIONS = [pair(seed, text, "what is in this picture ?") for seed, text in enumerate(TEXTS)]


def batch_of(model: Albef, examples: list[Example], objectives: tuple[str, ...] = PAIRS) -> Batch:
    return pad([model.encode(e, None, objectives) for e in examples], model.tokenizer.pad_token_id)


# -- parity


def released(model: Albef) -> tuple[dict[str, Any], Any]:
    """The state dict of the published code for two BERTs and a ViT of transformers with random weights, under the
    names of ALBEF.pth; and those oracles: all four layers of BERT, the last two with cross-attention."""
    from transformers import BertConfig, BertForMaskedLM, ViTConfig, ViTModel

    torch.manual_seed(3)
    bert = BertForMaskedLM(
        BertConfig(
            vocab_size=len(model.tokenizer),
            hidden_size=WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=48,
            hidden_dropout_prob=0.0,
            is_decoder=True,
            add_cross_attention=True,
        )
    ).eval()
    for layer in bert.bert.encoder.layer[:2]:
        layer.is_decoder = False
        del layer.crossattention
    config = ViTConfig(
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        layer_norm_eps=1e-6,
    )
    vit = ViTModel(config).eval()
    enliven(bert, 7)
    enliven(vit, 8)
    state = {f"text_encoder.{k}": v for k, v in bert.state_dict().items() if "pooler" not in k}
    state |= {f"text_encoder_m.{k}": v + 1 for k, v in bert.state_dict().items()}
    seen = vit.state_dict()
    timm = {
        "cls_token": seen["embeddings.cls_token"],
        "pos_embed": seen["embeddings.position_embeddings"],
    }
    for end in ("weight", "bias"):
        timm[f"patch_embed.proj.{end}"] = seen[f"embeddings.patch_embeddings.projection.{end}"]
        timm[f"norm.{end}"] = seen[f"layernorm.{end}"]
        for n in range(3):
            theirs, ours = f"layers.{n}", f"blocks.{n}"
            timm[f"{ours}.norm1.{end}"] = seen[f"{theirs}.layernorm_before.{end}"]
            timm[f"{ours}.norm2.{end}"] = seen[f"{theirs}.layernorm_after.{end}"]
            timm[f"{ours}.attn.proj.{end}"] = seen[f"{theirs}.attention.o_proj.{end}"]
            qkv = [seen[f"{theirs}.attention.{kind}_proj.{end}"] for kind in "qkv"]
            timm[f"{ours}.attn.qkv.{end}"] = torch.cat(qkv)
            for name in ("fc1", "fc2"):
                timm[f"{ours}.mlp.{name}.{end}"] = seen[f"{theirs}.mlp.{name}.{end}"]
    for name, value in timm.items():
        state[f"visual_encoder.{name}"] = value
        state[f"visual_encoder_m.{name}"] = value + 1
    for name, rows in (("vision_proj", 16), ("text_proj", 16), ("itm_head", 2)):
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(rows, WIDTH), torch.randn(rows)
    for name in ("vision_proj", "text_proj"):
        for end in ("weight", "bias"):
            state[f"{name}_m.{end}"] = state[f"{name}.{end}"] + 1
    state |= {"temp": torch.tensor(0.05), "queue_ptr": torch.tensor([4])}
    state |= {"image_queue": torch.randn(16, QUEUE), "text_queue": torch.randn(16, QUEUE)}
    return state, (bert, vit)


def test_a_released_file_gives_the_numbers_of_transformers(tmp_path: Path) -> None:
    """Tower, text half, fusion half, masked words and heads; BERT in one piece, as the file has it."""
    tokenizer = add_bert_tokens(word_tokenizer())
    state, (bert, vit) = released(tiny_albef())
    torch.save({"model": state, "epoch": 29}, tmp_path / "ALBEF.pth")
    model = layouts.from_released(tmp_path / "ALBEF.pth", tokenizer, size_px=32, heads=4)
    batch = batch_of(model, EXAMPLES)
    seen = batch.segments_BT > 0
    with torch.no_grad():
        expected = vit(batch.pixels_ICHW).last_hidden_state
        features = model.tower(batch.pixels_ICHW)
        torch.testing.assert_close(features, expected, **CLOSE)
        mask = seen[:, None, None, :].expand(-1, -1, seen.shape[1], -1)
        words = bert.bert.embeddings(batch.ids_BT)
        found = bert.bert.encoder(words, mask, encoder_hidden_states=expected).last_hidden_state
        states = model.text.read(batch.ids_BT, seen)
        fused = model.fuse(states, seen, features)
        torch.testing.assert_close(fused[seen], found[seen], **CLOSE)
        logits = bert.cls(found)
        torch.testing.assert_close(model.text.logits(fused)[seen], logits[seen], **CLOSE)
        row = torch.nn.functional.normalize(
            expected[:, 0] @ state["vision_proj.weight"].T + state["vision_proj.bias"], dim=-1
        )
        shown = [e.conversation.images[0] for e in EXAMPLES]
        torch.testing.assert_close(model.embed_images(shown), row, **CLOSE)
        two = found[:, 0] @ state["itm_head.weight"].T + state["itm_head.bias"]
        torch.testing.assert_close(model.match(shown, TEXTS), two[:, 1] - two[:, 0], **CLOSE)


def test_a_released_file_brings_slow_copies_and_queues() -> None:
    state, _ = released(tiny_albef())
    model = layouts.from_released(state, add_bert_tokens(word_tokenizer()), size_px=32, heads=4)
    batch = batch_of(model, EXAMPLES)
    seen = batch.segments_BT > 0
    slow = {k: v for k, v in state.items() if not k.endswith("_m")}
    for name, value in state.items():
        head, _, rest = name.partition("_m.")
        if rest:
            slow[f"{head}.{rest}"] = value
    twin = layouts.from_released(slow, add_bert_tokens(word_tokenizer()), size_px=32, heads=4)
    with torch.no_grad():
        torch.testing.assert_close(
            model.momentum("tower", batch.pixels_ICHW), twin.tower(batch.pixels_ICHW), **CLOSE
        )
        read = model.momentum("text", "read", batch.ids_BT, seen)
        torch.testing.assert_close(read, twin.text.read(batch.ids_BT, seen), **CLOSE)
        torch.testing.assert_close(
            model.momentum("images", twin.tower(batch.pixels_ICHW)),
            twin.pairing.images(twin.tower(batch.pixels_ICHW)),
            **CLOSE,
        )
    contrast = model.pairing.contrast
    assert torch.equal(contrast.texts.features_KD, state["text_queue"].T)
    assert int(contrast.images.place) == 4
    assert float(contrast.temperature.detach()) == pytest.approx(0.05)
    assert int(model.momentum.steps) == 1  # or the first batch would overwrite the copies


def test_positions_follow_the_size_of_the_picture() -> None:
    """384 px in fine-tuning: bicubic over the grid, the class token's stays; a grid of one value keeps it."""
    state, _ = released(tiny_albef())
    places = state["visual_encoder.pos_embed"]
    places[:, 1:] = places[:, 1:2].clone()
    model = layouts.from_released(state, add_bert_tokens(word_tokenizer()), size_px=48, heads=4)
    found = model.tower.model.embeddings.position_embeddings
    assert model.tower.tokens == 37
    assert torch.equal(found[:, 0], places[:, 0])
    torch.testing.assert_close(found[:, 1:], places[:, 1:2].expand(-1, 36, -1), **CLOSE)


def test_a_file_that_does_not_fit_is_told() -> None:
    state, _ = released(tiny_albef())
    tokenizer = add_bert_tokens(word_tokenizer())
    with pytest.raises(InputError, match=r"1 are unknown \(odd.weight"):
        layouts.from_released({**state, "odd.weight": torch.zeros(2)}, tokenizer, 32, 4)
    gone = "text_encoder.bert.encoder.layer.2.crossattention.self.query.weight"
    lacking = {k: v for k, v in state.items() if k != gone}
    with pytest.raises(InputError, match=r"1 are missing \(fusion.blocks.0.cross.attention.query"):
        layouts.from_released(lacking, tokenizer, 32, 4)
    with pytest.raises(InputError, match=r"no weight visual_encoder.pos_embed"):
        layouts.from_released({"a": torch.zeros(1)}, tokenizer)


def test_the_published_size_is_counted_as_in_the_paper() -> None:
    """Section 3.1: ViT-B/16 of 85.8M parameters, BERT with cross-attention of 123.7M."""
    from looksay.training.recipes import albef

    parts = albef.outline("base").parts
    count = {k: sum(p.numel() for p in part.parameters()) for k, part in parts.items()}
    pooler = 768 * 769
    assert round((count["tower"] - pooler) / 1e6, 1) == 85.8
    assert round((count["text"] + count["fusion"]) / 1e6, 1) == 123.7


# -- losses by hand


def double(x: Any) -> Any:
    return x.detach().double().numpy()


def softmax(x: Any) -> Any:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_contrast_with_queue_and_distillation_by_hand() -> None:
    """The third batch: queues hold the two before, slow copies lag, the weight has risen to 0.2 of 0.4."""
    model = tiny_albef(alpha_steps=4).train()
    model.pairing.contrast.temperature.data.fill_(0.2)
    batch = batch_of(model, EXAMPLES)
    for step in range(2):
        model(batch, ("ita",))
        for weight in model.parameters():  # as if an optimiser had moved them
            weight.data.add_(
                0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
            )
    contrast = model.pairing.contrast
    heat = double(contrast.temperature)
    queues = double(contrast.images.features_KD), double(contrast.texts.features_KD)
    known = contrast.images.ids_K.clone()
    before = {k: double(v) for k, v in model.momentum.state_dict().items()}
    loss = model(batch, ("ita",))["ita"]
    after = {k: double(v) for k, v in model.momentum.state_dict().items()}
    weight = double(model.text.bert.words.weight)
    expected = 0.995 * before["text_bert_words_weight"] + 0.005 * weight
    np.testing.assert_allclose(after["text_bert_words_weight"], expected, atol=1e-6)

    seen = batch.segments_BT > 0
    with torch.no_grad():
        features = model.tower(batch.pixels_ICHW)
        states = model.text.read(batch.ids_BT, seen)
        fast = model.pairing.images(features), model.pairing.texts(states[:, 0])
        slow_seen = model.momentum("tower", batch.pixels_ICHW)
        slow_read = model.momentum("text", "read", batch.ids_BT, seen)
        slow = model.momentum("images", slow_seen), model.momentum("texts", slow_read[:, 0])

    def unit(x: Any) -> Any:
        x = double(x)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    images, texts, slow_images, slow_texts = (unit(x) for x in (*fast, *slow))
    ids = np.concatenate([batch.targets["picture"].numpy(), known.numpy()])
    hard = (batch.targets["picture"].numpy()[:, None] == ids[None, :]).astype(float)
    assert hard.sum() == 4 * 3  # itself and twice in the queue
    hard /= hard.sum(1, keepdims=True)
    total = 0.0
    for own, slow_own, other, queue in (
        (images, slow_images, slow_texts, queues[1]),
        (texts, slow_texts, slow_images, queues[0]),
    ):
        candidates = np.concatenate([other, queue])
        soft = softmax(slow_own @ candidates.T / heat)
        target = 0.2 * soft + 0.8 * hard
        total += -(target * np.log(softmax(own @ candidates.T / heat))).sum(1).mean() / 2
    assert float(loss.detach()) == pytest.approx(total, abs=1e-5)


def test_matching_by_hand_with_nothing_encoded_twice() -> None:
    model = tiny_albef().train()
    batch = batch_of(model, EXAMPLES)
    rows: dict[str, list[int]] = {"tower": [], "text": [], "fusion": []}
    for name, module in (
        ("tower", model.tower),
        ("text", model.text.bert),
        ("fusion", model.fusion),
    ):
        module.register_forward_hook(
            lambda _, inputs, __, name=name: rows[name].append(
                len(inputs[0]) if torch.is_grad_enabled() else 0
            )
        )
    losses = model(batch, ("ita", "itm"))
    assert {name: [n for n in found if n] for name, found in rows.items()} == {
        "tower": [4],
        "text": [4],
        "fusion": [12],
    }
    shown = [e.conversation.images[0] for e in EXAMPLES]
    model.eval()
    with torch.no_grad():
        found = model._contrast(
            model.text.read(batch.ids_BT, batch.segments_BT > 0),
            model.tower(batch.pixels_ICHW),
            batch.ids_BT,
            batch.segments_BT > 0,
            model.tower(batch.pixels_ICHW),
            batch.targets["picture"],
        )
    drawn = torch.rand(4, 2, generator=torch.Generator().manual_seed(2)).double().numpy()
    chosen = []
    for scores, draw in ((found.to_texts_BG, drawn[:, 0]), (found.to_images_BG, drawn[:, 1])):
        weights = softmax(double(scores)) + 1e-4
        np.fill_diagonal(weights, 0)
        ends = weights.cumsum(1)
        chosen.append([int((e <= d * e[-1]).sum()) for e, d in zip(ends, draw, strict=True)])
    pictures = shown + [shown[i] for i in chosen[1]] + shown
    texts = TEXTS + TEXTS + [TEXTS[i] for i in chosen[0]]
    odds = double(model.match(pictures, texts))
    labels = np.array([1] * 4 + [0] * 8)
    expected = np.log1p(np.exp(np.where(labels, -odds, odds))).mean()
    assert float(losses["itm"].detach()) == pytest.approx(expected, abs=1e-5)
    assert float(losses["itm/wrong"]) == pytest.approx(((odds > 0) != labels).mean())


def test_masked_words_by_hand_with_distillation() -> None:
    model = tiny_albef(masked=0.5).train()
    batch = batch_of(model, EXAMPLES)
    loss = model(batch, ("mlm",))["mlm"]
    seen, ids = batch.segments_BT > 0, batch.ids_BT
    drawn = torch.rand(4, 48, 3, generator=torch.Generator().manual_seed(3))[:, : ids.shape[1]]
    start, vocabulary = model.tokenizer.cls_token_id, len(model.tokenizer)
    terms = []
    given, hidden = mask_words(
        ids, seen & (ids != start), drawn, 0.5, model.tokenizer.mask_token_id, vocabulary
    )
    with torch.no_grad():
        features = model.tower(batch.pixels_ICHW)
        fused = model.fuse(model.text.read(given, seen), seen, features)
        logits = double(model.text.logits(fused))
        slow = model.momentum("text", "read", given, seen)
        slow = model.momentum(
            "fusion", slow, seen[:, None, None], model.momentum("tower", batch.pixels_ICHW)
        )
        soft = softmax(double(model.momentum("text", "logits", slow)))
    for row, place in hidden.nonzero().tolist():
        logs = np.log(softmax(logits[row, place]))
        hard = -logs[int(ids[row, place])]
        terms.append(0.6 * hard - 0.4 * (logs * soft[row, place]).sum())
    assert len(terms) > 5
    assert float(loss.detach()) == pytest.approx(np.mean(terms), abs=1e-5)


def test_words_are_masked_in_the_shares_of_bert() -> None:
    ids = torch.randint(10, 90, (64, 512))
    maskable = torch.ones_like(ids, dtype=torch.bool)
    maskable[:, 0] = False
    maskable[:, 400:] = False
    drawn = torch.rand(64, 512, 3, generator=torch.Generator().manual_seed(0))
    given, hidden = mask_words(ids, maskable, drawn, 0.15, mask_id=5, vocabulary=100)
    assert not hidden[~maskable].any()
    assert torch.equal(given[~hidden], ids[~hidden])
    assert float(hidden[maskable].float().mean()) == pytest.approx(0.15, abs=0.01)
    said, was = given[hidden], ids[hidden]
    shares = [float(x.float().mean()) for x in (said == 5, said == was)]
    assert shares == [pytest.approx(0.8, abs=0.02), pytest.approx(0.101, abs=0.02)]
    others = said[(said != 5) & (said != was)]
    assert len(others.unique()) > 80


def test_answers_by_hand_with_weights() -> None:
    """The sum over an answer's words, by the share of people who gave it, mean over questions."""
    model = tiny_albef(alpha=0.0).train()
    many = replace(QUESTIONS[0], truth={"answers": ["a dog", "four", "a dog", "a dog"]})
    batch = batch_of(model, [many, QUESTIONS[1]], ("vqa",))
    loss = float(model(batch, ("vqa",))["vqa"].detach())
    asked = [Conversation(e.conversation.messages[:1]) for e in (many, QUESTIONS[1])]
    first = model.log_likelihoods(asked[0], ["a dog", "four"])
    second = model.log_likelihoods(asked[1], [TEXTS[1]])
    expected = -(0.75 * first[0] + 0.25 * first[1] + second[0]) / 2
    assert loss == pytest.approx(expected, abs=1e-4)


def test_distillation_is_a_mean_of_two_cross_entropies() -> None:
    logits, soft = torch.randn(5, 7), torch.randn(5, 7)
    ids = torch.randint(0, 7, (5,))
    hard = torch.nn.functional.cross_entropy(logits, ids, reduction="none")
    softly = torch.nn.functional.cross_entropy(logits, soft.softmax(-1), reduction="none")
    torch.testing.assert_close(distilled(logits, ids, soft, 0.0), hard)
    torch.testing.assert_close(distilled(logits, ids, soft, 0.4), 0.6 * hard + 0.4 * softly)


# -- what training relies on


def test_the_weight_of_distillation_rises_over_its_steps_and_rests() -> None:
    model = tiny_albef(alpha_steps=4).train()
    batch = batch_of(model, EXAMPLES)
    weights = []
    for _ in range(6):
        model(batch, ("ita",))
        weights.append(model.weight(int(model.momentum.steps)))
    assert weights == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4])
    model.eval()
    model(batch, ("ita",))
    assert int(model.momentum.steps) == 6  # what is only measured moves nothing
    assert int(model.pairing.contrast.images.place) == 0  # 6 × 4 of 8


def test_slow_copies_follow_weights_into_their_precision() -> None:
    """A model that was loaded in bf16 trains in fp32, where steps of 0.005 are not lost."""
    model = tiny_albef().bfloat16()
    model.momentum.update()
    model.text.float()
    weight = model.text.weight
    weight.data += 1
    before = model.momentum.text_bert_words_weight.float()
    model.momentum.update()
    found = model.momentum.text_bert_words_weight
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, before.lerp(weight.detach(), 0.005))


def test_a_batch_of_one_picture_is_refused_and_why() -> None:
    model = tiny_albef().train()
    for examples in (EXAMPLES[:1], [pair(1, "a dog"), pair(1, "a fox")]):
        with pytest.raises(InputError, match=r"no negative.*--batch"):
            model(batch_of(model, examples))


def test_a_picture_with_two_captions_is_never_its_own_negative() -> None:
    """Of three rows two show one picture: the third is the only negative that there is, both ways."""
    model = tiny_albef().train()
    examples = [pair(1, "a dog"), pair(2, "a cat"), pair(1, "a fox")]
    batch = batch_of(model, examples)
    looked: list[Any] = []
    model.fusion.register_forward_hook(
        lambda _, inputs, __: (
            looked.append(inputs[2].contexts_CSD[inputs[2].places_B])
            if len(inputs[0]) == 9
            else None
        )
    )
    for _ in range(5):
        model(batch, ("itm",))
    with torch.no_grad():
        features = model.tower(batch.pixels_ICHW)
    for contexts in looked:
        torch.testing.assert_close(contexts[3], features[1], **CLOSE)
        torch.testing.assert_close(contexts[5], features[1], **CLOSE)
        assert not torch.allclose(contexts[4], features[1], atol=1e-3)


def test_padding_changes_no_loss() -> None:
    def losses(extra: int) -> dict[str, float]:
        model = tiny_albef(masked=0.5).train()
        rows = [model.encode(e) for e in EXAMPLES]
        batch = pad(rows, model.tokenizer.pad_token_id)
        gap = torch.nn.functional.pad
        batch = replace(
            batch,
            ids_BT=gap(batch.ids_BT, (0, extra)),
            labels_BT=gap(batch.labels_BT, (0, extra), value=-100),
            positions_BT=gap(batch.positions_BT, (0, extra)),
            segments_BT=gap(batch.segments_BT, (0, extra)),
        )
        return {k: float(v.detach()) for k, v in model(batch, PAIRS).items()}

    assert losses(0) == pytest.approx(losses(5), abs=1e-5)


def test_a_frozen_tower_sees_each_picture_once_and_its_features_may_be_kept() -> None:
    model = tiny_albef().train()
    model.tower.requires_grad_(False)
    batch = batch_of(model, EXAMPLES)
    seen: list[int] = []
    model.tower.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    losses = model(batch, PAIRS)
    assert seen == [4]
    again = tiny_albef().train()
    again.tower.requires_grad_(False)
    kept = replace(batch, pixels_ICHW=None, features_IND=again.tower(batch.pixels_ICHW).detach())
    for name, loss in again(kept, PAIRS).items():
        torch.testing.assert_close(loss, losses[name])


def test_it_learns_its_pairs_its_words_and_its_answers_by_heart() -> None:
    """One batch: every text finds its picture by cosine and by matching, every question its answer."""
    model = tiny_albef(alpha=0.0, masked=0.3).train()
    pairs, asked = batch_of(model, EXAMPLES), batch_of(model, QUESTIONS, ("vqa",))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for step in range(80):
        optimizer.zero_grad()
        vqa = step % 2
        losses = model(asked if vqa else pairs, ("vqa",) if vqa else PAIRS)
        sum(losses.values()).backward()
        optimizer.step()
    model.eval()
    shown = [e.conversation.images[0] for e in EXAMPLES]
    near = model.embed_texts(TEXTS) @ model.embed_images(shown).T
    assert near.argmax(1).tolist() == near.argmax(0).tolist() == [0, 1, 2, 3]
    odds = model.match([s for s in shown for _ in TEXTS], TEXTS * 4).reshape(4, 4)
    assert torch.equal(odds > 0, torch.eye(4, dtype=torch.bool))
    prompts = [Conversation(e.conversation.messages[:1]) for e in QUESTIONS]
    answers = model.generate(prompts, Options(max_tokens=20))
    assert [answer.text for answer in answers] == TEXTS
    assert {answer.finish_reason for answer in answers} == {"stop"}
    for number, prompt in enumerate(prompts):
        told = model.log_likelihoods(prompt, TEXTS)
        assert int(np.argmax(told)) == number
        some = model.log_likelihoods(prompt, TEXTS, most=2)
        assert [value == -np.inf for value in some].count(True) == 2
        assert some[number] == pytest.approx(told[number], abs=1e-4)
        assert "".join(model.stream(prompt, Options(max_tokens=20))) == TEXTS[number]


def test_the_decoder_begins_as_the_fusion_half_and_only_once() -> None:
    model = tiny_albef(alpha=0.0).train()
    batch = batch_of(model, QUESTIONS, ("vqa",))
    model(batch, ("vqa",))
    assert torch.equal(model.decoder.bert.words.weight, model.text.bert.words.weight)
    for name, weight in model.fusion.named_parameters():
        assert torch.equal(model.decoder.bert.get_parameter(name), weight)
    assert model.decoder.bert.words.weight is not model.text.bert.words.weight
    model.decoder.head.bias.data += 1
    model(batch, ("vqa",))
    assert float((model.decoder.head.bias - model.text.head.bias).mean().detach()) == pytest.approx(
        1
    )


def test_a_checkpoint_brings_back_every_number(tmp_path: Path) -> None:
    model = tiny_albef().train()
    batch = batch_of(model, EXAMPLES)
    model(batch)
    checkpoint.save(model, tmp_path)
    again = checkpoint.load(tmp_path)
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert again.arguments == model.arguments
    model.train()
    again.train()
    for name, loss in model(batch).items():
        torch.testing.assert_close(loss, again(batch)[name])
        break  # a forward pass moves slow copies: one is enough


class Pairs:
    """Twelve pairs, over and over; fails once `after` examples were drawn."""

    size = 12
    fingerprint = "pairs"

    def __init__(self, after: int | None = None) -> None:
        self._left = after

    def example(self, index: int) -> Example:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise RuntimeError("broken off")
        return pair(index, TEXTS[index % 4], "what is in this picture ?")


def test_a_run_that_is_broken_off_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Slow copies, queues, the weight of distillation and every draw go on where they were."""
    from looksay.training.loop import train
    from looksay.training.stages import Stage

    def stages(data: Pairs) -> list[Stage]:
        common: dict[str, Any] = {"examples_per_batch": 4, "pack": False, "steps": 6, "data": data}
        halves = {"text": 1e-3, "fusion": 1e-3}
        return [
            Stage("pretrain", {**halves, "pairing": 1e-3}, objectives=PAIRS, **common),
            Stage("vqa", {**halves, "decoder": 1e-3}, objectives=("vqa",), **common),
        ]

    def run(data: Pairs, folder: str) -> dict[str, Any]:
        model = tiny_albef(alpha_steps=5)
        found = train(
            model,
            stages(data),
            tmp_path / folder,
            device="cpu",
            save_every=2,
            log_every=2,
            quiet=True,
        )
        return found.state_dict()

    whole = run(Pairs(), "whole")
    for after in (20, 22):
        with pytest.raises(RuntimeError, match="broken off"):
            run(Pairs(after), "broken")
    resumed = run(Pairs(), "broken")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    tower = tiny_albef().tower.state_dict()
    assert all(torch.equal(whole[f"tower.{name}"], value) for name, value in tower.items())
    assert "itm/wrong" in (tmp_path / "whole" / "log.jsonl").read_text("utf-8")


def _one_of_two(rank: int, port: int, objectives: tuple[str, ...], out: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    model = tiny_albef(masked=0.5).train()
    examples = EXAMPLES if "vqa" not in objectives else QUESTIONS
    losses = model(batch_of(model, examples[2 * rank : 2 * rank + 2], objectives), objectives)
    losses.pop("itm/wrong", None)
    sum(losses.values()).backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    for grad in grads.values():
        torch.distributed.all_reduce(grad)
    if rank == 0:
        queue = model.pairing.contrast.texts.features_KD
        out.put({n: (g / 2).numpy() for n, g in grads.items()} | {"queue": queue.numpy()})
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("objectives", [PAIRS, ("vqa",)])
def test_two_processes_learn_what_one_does(objectives: tuple[str, ...]) -> None:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    ranks = [
        context.Process(target=_one_of_two, args=(rank, port, objectives, out)) for rank in range(2)
    ]
    for one in ranks:
        one.start()
    two = out.get(timeout=300)
    for one in ranks:
        one.join()
    model = tiny_albef(masked=0.5).train()
    losses = model(
        batch_of(model, EXAMPLES if objectives == PAIRS else QUESTIONS, objectives), objectives
    )
    losses.pop("itm/wrong", None)
    sum(losses.values()).backward()
    grads = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    queue = model.pairing.contrast.texts.features_KD.numpy()
    np.testing.assert_allclose(two.pop("queue"), queue, atol=1e-6)
    assert two.keys() == grads.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(two[name], grad, atol=2e-5, err_msg=name)


# -- what is refused, and what recipes say


def test_matching_that_says_no_to_everything_is_told() -> None:
    pairing = Pairing(4, 4, 4).train()
    never = torch.tensor([[1.0, 0.0]]).expand(12, 2)
    assert float(pairing.wrong(never)) == pytest.approx(1 / 3)
    pairing.batches.fill_(STUCK_AFTER - 1)
    pairing.judged_2.copy_(torch.tensor([2 / 3, 0.0]))
    with pytest.warns(UserWarning, match='"no match" to nearly every pair'):
        pairing.wrong(never)
    right = torch.zeros(12, 2)
    right[:4, 1], right[4:, 0] = 1, 1
    pairing.batches.fill_(STUCK_AFTER - 1)
    pairing.judged_2.copy_(torch.tensor([0.9, 0.3]))
    assert float(pairing.wrong(right)) == 0


def test_parts_that_do_not_fit_are_told_with_their_widths() -> None:
    model = tiny_albef()
    narrow = Bert(0, WIDTH, layers=1, heads=4, inner=64, width_in=24, cross=(0,))
    with pytest.raises(InputError, match=r"features are 32, but 24 were expected"):
        Albef(model.tower, model.text, narrow, model.pairing, model.tokenizer)


def test_what_it_cannot_do_is_told() -> None:
    model = tiny_albef()
    bare = Albef(model.tower, model.text, model.fusion, model.pairing, model.tokenizer)
    assert "decoder" not in bare.parts
    with pytest.raises(InputError, match="no decoder for answers"):
        bare.generate([Conversation.ask(picture(1), "what ?")], Options())
    with pytest.raises(InputError, match="a stage of its own"):
        model.encode(EXAMPLES[0], None, ("ita", "vqa"))
    words = replace(batch_of(model, EXAMPLES[:2]), pixels_ICHW=None)
    with pytest.raises(InputError, match="2 texts with 0 pictures"):
        model(words)


def test_the_published_recipe_counts_its_steps() -> None:
    from looksay.data.dataset import Examples
    from looksay.training.recipes import albef

    pre, vqa = albef.paper(Examples(EXAMPLES * 1280), Examples(QUESTIONS * 640))
    assert (pre.steps, pre.examples_per_batch, pre.accumulate) == (300, 64, 1)
    assert (pre.weight_decay, pre.floor, pre.trains["tower"]) == (0.02, 0.1, 1e-4)
    assert (vqa.steps, vqa.examples_per_batch, vqa.objectives) == (80, 32, ("vqa",))


def test_the_recipe_for_scenes_trains_a_step_of_each_stage(tmp_path: Path) -> None:
    from looksay.training.loop import train
    from looksay.training.recipes import albef

    model, stages = albef.scenes("tiny")
    assert [stage.name for stage in stages] == ["tower", "contrast", "pretrain", "vqa"]
    short = [replace(s, steps=1, examples_per_batch=4) for s in stages[1:]]
    found = train(model, short, tmp_path, device="cpu", quiet=True)
    scene = stages[1].data.example(0)
    (image,) = scene.conversation.images
    assert found.embed_images([image]).shape == (1, 256)
    assert (
        len(found.log_likelihoods(Conversation.ask(image, "How many dogs ?"), ["one", "two"])) == 2
    )
