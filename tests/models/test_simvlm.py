"""SimVLM: a forward pass by hand in float64, what sees what, where a text is cut, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import enliven, word_tokenizer  # noqa: E402
from PIL import Image as Pillow  # noqa: E402
from torch import Tensor  # noqa: E402

from looksay.data.dataset import Examples  # noqa: E402
from looksay.errors import InputError, UnknownName  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.batching import IGNORE, collate, pad  # noqa: E402
from looksay.models.conv_stem import ConvStem  # noqa: E402
from looksay.models.families import simvlm  # noqa: E402
from looksay.models.likelihood import log_likelihoods  # noqa: E402
from looksay.training.recipes import simvlm as recipe  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def tiny(seed: int = 0, attention: str | None = None) -> Any:
    torch.manual_seed(seed)
    stem = ConvStem(size_px=48, stem=8, widths=(8, 16, 32), depths=(1, 1, 1), layer="basic")
    model = simvlm.new(word_tokenizer(), stem, 32, 2, 4, 64, context=64, attention=attention)
    return enliven(model, seed).eval()


def picture(seed: int) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


def asked(seed: int, text: str, answer: str, images: int = 1) -> Example:
    shown = tuple(picture(seed * 10 + n) for n in range(images))
    turns = (Message("user", (*shown, text)), Message("assistant", (answer,)))
    return Example(str(seed), Conversation(turns))


EXAMPLES = [
    asked(1, "what is this ?", "a dog"),
    asked(2, "a picture of", "a cat and a small red fox"),
    asked(3, "", "four small red fox"),
    asked(4, "is there a tree in the picture ?", "no there is a house", images=0),
]
PROMPTS = [Conversation(example.conversation.messages[:1]) for example in EXAMPLES]


def by_hand(model: Any, sequence: Any, cut: int) -> Tensor:
    """Logits of ids[cut:], written out from section 3 with plain matrices."""
    weights = {k: v.detach() for k, v in model.language.model.state_dict().items()}
    heads, width, side = 4, 32, 3

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def attend(x: Tensor, read: Tensor, name: str, added: Any) -> Tensor:
        rows = []
        for head in range(heads):
            own = slice(head * width // heads, (head + 1) * width // heads)
            q, k, v = (
                linear(a, f"{name}.{p}_proj")[:, own]
                for a, p in ((x, "q"), (read, "k"), (read, "v"))
            )
            scores = torch.empty(len(x), len(read), dtype=torch.float64)
            for i in range(len(x)):
                for j in range(len(read)):
                    scores[i, j] = (q[i] * k[j]).sum() / (width // heads) ** 0.5 + added(head, i, j)
            rows.append(scores.exp() / scores.exp().sum(-1, keepdim=True) @ v)
        return linear(torch.cat(rows, dim=-1), f"{name}.out_proj")

    def feed(x: Tensor, name: str) -> Tensor:
        up = linear(norm(x, f"{name}.final_layer_norm"), f"{name}.fc1")
        return linear(up * 0.5 * (1 + torch.erf(up / 2**0.5)), f"{name}.fc2")

    words, patches = weights["shared.weight"], side * side
    start = next((n for n, i in enumerate(sequence.ids) if i == model.prompter.image_id), None)
    rows, places, said = [], [], 0
    shown = (
        model.connector(model.tower(torch.stack(sequence.pixels).double()))[0]
        if sequence.pixels
        else None
    )
    for at in range(cut):
        if start is not None and start <= at < start + patches:
            place = at - start
            rows.append(shown[place] + weights["encoder.embed_patches.weight"][place])
            places.append(divmod(place, side))
        else:
            rows.append(words[sequence.ids[at]] + weights["encoder.embed_words.weight"][said])
            said += 1
            places.append(None)
    x = norm(torch.stack(rows).detach(), "encoder.layernorm_embedding")
    for layer in range(2):
        table = weights[f"encoder.layers.{layer}.relative_HRC"]
        name = f"encoder.layers.{layer}.block"

        def lies(head: int, i: int, j: int, table: Tensor = table) -> float:
            if places[i] is None or places[j] is None:
                return 0.0
            down, right = places[i][0] - places[j][0], places[i][1] - places[j][1]
            return float(table[head, down + side - 1, right + side - 1])

        normed = norm(x, f"{name}.self_attn_layer_norm")
        x = x + attend(normed, normed, f"{name}.self_attn", lies)
        x = x + feed(x, name)
    state = norm(x, "encoder.layer_norm")
    given = [model.tokenizer.pad_token_id, *sequence.ids[cut:-1]]
    positions = weights["decoder.embed_positions.weight"][2 : 2 + len(given)]
    x = norm(words[given] + positions, "decoder.layernorm_embedding")
    for layer in range(2):
        name = f"decoder.layers.{layer}"
        normed = norm(x, f"{name}.self_attn_layer_norm")
        causal = lambda _, i, j: 0.0 if j <= i else float("-inf")  # noqa: E731
        x = x + attend(normed, normed, f"{name}.self_attn", causal)
        normed = norm(x, f"{name}.encoder_attn_layer_norm")
        x = x + attend(normed, state, f"{name}.encoder_attn", lambda *_: 0.0)
        x = x + feed(x, name)
    return norm(x, "decoder.layer_norm") @ words.T


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_loss_and_logits_are_those_written_by_hand(attention: str) -> None:
    """In float64, for a batch with and without images, cut within the text and right behind the image."""
    model = tiny(attention=attention).double()
    for layer in model.language.model.encoder.layers:
        torch.nn.init.normal_(layer.relative_HRC)
    sequences = [model.encode(example, objectives=("prefix_lm",)) for example in EXAMPLES]
    sequences = [replace(s, pixels=tuple(p.double() for p in s.pixels)) for s in sequences]
    batch = pad(sequences)
    with torch.no_grad():
        hidden = model.hidden(batch)
        total, count = 0.0, 0
        for row, sequence in enumerate(sequences):
            cut = next(at for at, label in enumerate(sequence.labels) if label != IGNORE)
            expected = by_hand(model, sequence, cut)
            found = model.language.logits(hidden[row, cut - 1 : len(sequence.ids) - 1])
            torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
            chances = expected.log_softmax(-1)
            total -= sum(float(chances[n, i]) for n, i in enumerate(sequence.ids[cut:]))
            count += len(sequence.ids) - cut
        assert float(model(batch)["lm"]) == pytest.approx(total / count, abs=1e-9)


def seen(score: Any, embeds: Tensor, places: range) -> Tensor:
    """(places, T): which embeddings each place's scores depend on, found by differentiating."""
    embeds = embeds.detach().requires_grad_()
    scores = score(embeds)
    rows = []
    for place in places:
        (grad,) = torch.autograd.grad(scores[place].pow(2).sum(), embeds, retain_graph=True)
        rows.append(grad[0].abs().sum(-1) > 0)
    return torch.stack(rows)


def test_what_sees_what_is_the_prefix_mask_and_that_of_paligemma() -> None:
    """What is learned at a place depends on the whole prefix and on what was said since, and on nothing
    else; a prefix LM in one stack (PaliGemma's own mask) draws the same line."""
    from transformers import (
        GemmaConfig,
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        SiglipVisionConfig,
    )

    model = tiny()
    sequence = model.encode(EXAMPLES[1], objectives=("prefix_lm",))
    cut = next(at for at, label in enumerate(sequence.labels) if label != IGNORE)
    length = len(sequence.ids)
    assert 9 < cut < length - 1
    batch = pad([sequence])
    images = model.connector(model.tower(batch.pixels_ICHW))
    embeds = model.embed(batch.ids_BT, images)

    def ours(embeds: Tensor) -> Tensor:
        hidden = model.language.hidden(
            embeds, batch.segments_BT, batch.positions_BT, batch.labels_BT
        )
        return hidden[0]

    learned = range(cut - 1, length - 1)
    found = seen(ours, embeds, learned)
    expected = torch.tensor([[at <= place for at in range(length)] for place in learned])
    assert torch.equal(found, expected)

    torch.manual_seed(0)
    text = GemmaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=8,
    )
    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    config = PaliGemmaConfig(text_config=text, vision_config=vision, image_token_id=49)
    theirs = PaliGemmaForConditionalGeneration(config).eval()
    kinds = torch.tensor([[0] * cut + [1] * (length - cut)])

    def paligemma(embeds: Tensor) -> Tensor:
        output = theirs.model(
            inputs_embeds=embeds,
            attention_mask=torch.ones(1, length, dtype=torch.long),
            token_type_ids=kinds,
        )
        return output.last_hidden_state[0]

    assert torch.equal(seen(paligemma, torch.randn(1, length, 32), learned), expected)


def test_a_text_is_cut_behind_its_image_anywhere_and_always_at_the_same_place() -> None:
    model = tiny()
    cuts, alone = set(), set()
    for number in range(150):
        for example, found in ((EXAMPLES[1], cuts), (EXAMPLES[3], alone)):
            named = replace(example, id=f"{number}")
            first, second = (model.encode(named, objectives=("prefix_lm",)) for _ in range(2))
            assert first.labels == second.labels
            cut = next(at for at, label in enumerate(first.labels) if label != IGNORE)
            assert first.labels[cut:] == first.ids[cut:]
            found.add(cut)
    ids = model.encode(EXAMPLES[1]).ids
    last = max(at for at, token in enumerate(ids) if token == model.prompter.image_id)
    assert cuts == set(range(last + 1, len(ids)))
    assert alone == set(range(1, len(model.encode(EXAMPLES[3]).ids)))
    backwards = (Message("user", ("what ?", picture(1))), Message("assistant", ("a dog",)))
    sequence = model.encode(Example("9", Conversation(backwards)), objectives=("prefix_lm",))
    assert sequence.ids[: sequence.ids.index(model.prompter.image_id)]
    assert set(sequence.labels[: last + 1]) == {IGNORE}


def test_batches_padding_and_packing_change_nothing() -> None:
    model = tiny()
    for objective in ("prefix_lm", "lm"):
        sequences = [model.encode(example, objectives=(objective,)) for example in EXAMPLES]
        packed = collate([[sequences[0], sequences[1]], [sequences[3], sequences[2]]])
        with torch.inference_mode():
            alone = [model(pad([sequence]))["lm"] for sequence in sequences]
            counts = [pad([s]).learned for s in sequences]
            mean = sum(n * loss for n, loss in zip(counts, alone, strict=True)) / sum(counts)
            for batch in (pad(sequences), packed, pad(sequences, side="left")):
                torch.testing.assert_close(model(batch)["lm"], mean, **CLOSE)


def test_captions_with_and_without_a_prompt_answers_and_streams() -> None:
    model = tiny()
    options = Options(max_tokens=12)
    together = model.generate(PROMPTS, options)
    assert together == [model.generate([prompt], options)[0] for prompt in PROMPTS]
    assert len({answer.text for answer in together}) > 1
    for prompt, answer in zip(PROMPTS, together, strict=True):
        assert "".join(model.stream(prompt, options)) == answer.text
        # Step by step with a cache: the words are those that a whole pass finds likeliest.
        prepared, said = model.prepare(prompt), []
        pixels = torch.stack(prepared.pixels) if prepared.pixels else None
        images = None if pixels is None else model.connector(model.tower(pixels))
        row = model.embed(torch.tensor([prepared.ids]), images)[0].detach()
        for _, token in model.language.generate([row], lambda *_, said=said: len(said) == 7):
            said.append(token)
        words = model.language.embed(torch.tensor(said))
        words = torch.cat([words, words.new_zeros(len(said), simvlm.PLACE)], dim=-1)
        ids = [*prepared.ids, *said]
        batch = pad([replace(prepared, ids=ids, labels=[IGNORE] * len(prepared.ids) + said)])
        with torch.inference_mode():
            hidden = model.language.hidden(
                torch.cat([row, words])[None],
                batch.segments_BT,
                batch.positions_BT,
                batch.labels_BT,
            )
            likeliest = model.language.logits(hidden)[0].argmax(-1)
        assert likeliest[len(prepared.ids) - 1 : -1].tolist() == said
        assert len(said) == 8
    scores = log_likelihoods(model, PROMPTS[0], ["a dog", "a cat"])
    assert len(scores) == 2
    assert scores[0] != scores[1]


def test_where_a_patch_lies_matters_and_images_do_not_mix() -> None:
    model = tiny()
    for layer in model.language.model.encoder.layers:
        torch.nn.init.normal_(layer.relative_HRC)
    sequence = model.encode(EXAMPLES[0])
    ids = torch.tensor([sequence.ids])
    images = model.connector(model.tower(torch.stack(sequence.pixels)))
    embeds = model.embed(ids, images)
    image, row, column = embeds[0, :, 32:].unbind(-1)
    patches = ids[0] == model.prompter.image_id
    assert image.tolist() == patches.float().tolist()
    assert row[patches].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert column[patches].tolist() == [0, 1, 2] * 3
    with torch.no_grad():
        encoder = model.language.model.encoder
        mask = torch.ones(ids.shape, dtype=torch.long)
        plain = encoder(embeds, mask).last_hidden_state
        turned = embeds.clone()
        turned[0, patches, 33:] = turned[0, patches, 33:].flip(0)
        assert not torch.allclose(plain, encoder(turned, mask).last_hidden_state, atol=1e-3)
    two = model.embed(*_two(model))[0]
    assert two[:, 32].tolist().count(1) == two[:, 32].tolist().count(2) == 9


def _two(model: Any) -> tuple[Tensor, Tensor]:
    sequence = model.encode(asked(7, "what are these two ?", "dog", images=2))
    return torch.tensor([sequence.ids]), model.connector(model.tower(torch.stack(sequence.pixels)))


def test_it_overfits_a_batch_from_nothing() -> None:
    """Every part learns, the stem's first convolution too, and greedy words are those that were taught."""
    model = tiny().train()
    batch = pad([model.encode(example, objectives=("lm",)) for example in EXAMPLES])
    before = model.tower.embedder.embedder.convolution.weight.clone()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        model(batch, objectives=("prefix_lm",))["lm"].backward()
        optimizer.step()
    assert not torch.equal(before, model.tower.embedder.embedder.convolution.weight)
    answers = model.generate(PROMPTS, Options(max_tokens=12))
    expected = [example.conversation.messages[1].text for example in EXAMPLES]
    assert [answer.text for answer in answers] == expected


def test_a_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    model = tiny()
    model.language.model.encoder.layers[0].relative_HRC.data.normal_()
    checkpoint.save(model, tmp_path)
    again = checkpoint.load(tmp_path)
    assert type(again) is simvlm.SimVlm
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    options = Options(max_tokens=12)
    assert again.generate(PROMPTS, options) == model.generate(PROMPTS, options)
    weights = again.language.model
    assert weights.lm_head.weight is weights.shared.weight is weights.decoder.embed_tokens.weight


def test_the_stem_is_that_of_transformers_but_for_its_norms() -> None:
    from transformers import ResNetConfig, ResNetModel

    stem = ConvStem(size_px=32, stem=8, widths=(16, 32, 64), depths=(1, 2, 1))
    theirs = ResNetModel(
        ResNetConfig(embedding_size=8, hidden_sizes=[16, 32, 64], depths=[1, 2, 1])
    ).eval()
    names = {n.replace("embedder.embedder", "embedder", 1): n for n, _ in theirs.named_parameters()}
    assert len(names) == sum(1 for _ in stem.parameters())
    for (name, own), (other, value) in zip(
        stem.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert own.shape == value.shape, (name, other)
    pixels = torch.randn(3, 3, 32, 32)
    together = stem(pixels)
    assert together.shape == (3, stem.tokens, stem.width) == (3, 4, 64)
    each = torch.cat([stem(pixels[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(
        together, each, **CLOSE
    )  # in training too: no statistics over a batch
    assert stem.prepare(Pillow.new("RGB", (50, 70), (255, 0, 127))).amax().item() == 1.0


def test_a_stem_that_does_not_fit_is_told() -> None:
    with pytest.raises(InputError, match="multiple of 16"):
        ConvStem(size_px=50)
    with pytest.raises(InputError, match="first three stages"):
        ConvStem(depths=(3, 4, 6, 3), widths=(256, 512, 1024, 2048))


def test_the_recipe_is_prefix_lm_over_a_tower_that_sees_then_answers() -> None:
    model, (tower, prefix, answers) = recipe.scenes("tiny")
    assert set(tower.trains) == {"tower"}
    assert set(prefix.trains) == set(answers.trains) == set(model.parts) - {"tower"}
    alone = bare = 0
    for index in range(54):
        example = prefix.data.example(index)
        sequence = model.encode(example, prefix.template, prefix.objectives)
        at = next(n for n, label in enumerate(sequence.labels) if label != IGNORE)
        assert model.prompter.image_id not in sequence.ids[at:]
        alone += not sequence.pixels
        bare += bool(sequence.pixels) and not example.conversation.messages[0].text
    assert 1 <= alone <= 14  # 54/9, three sigma
    assert bare > 15


def test_the_papers_stages_and_sizes() -> None:
    pairs = Examples([EXAMPLES[0], EXAMPLES[1]])
    texts = Examples([EXAMPLES[3]])
    prefix, tune = recipe.paper(pairs, EXAMPLES_AS_TASK, texts)
    assert (prefix.steps, prefix.accumulate * 8 * 16) == (1_000_000, 4608)
    shown = [bool(prefix.data.example(n).conversation.images) for n in range(4096)]
    assert sum(shown) == round(4096 * 4096 / 4608)
    assert tune.objectives == ("lm",)
    # The same pair comes again under another id, so that it is cut elsewhere.
    again = recipe.Bare(pairs, rounds=3)
    assert [again.example(n).id for n in range(6)] == ["1", "2", "1-1", "2-1", "1-2", "2-2"]
    assert again.example(0).conversation.messages[0].text == ""
    sizes = {}
    for size in recipe.PUBLISHED:
        outlined = recipe.outline(size)
        assert outlined.image_tokens == 196
        sizes[size] = sum(p.numel() for part in outlined.parts.values() for p in part.parameters())
    assert sizes["base"] < sizes["large"] < sizes["huge"]
    assert 1.3e9 < sizes["huge"] < 1.7e9
    with pytest.raises(UnknownName, match="huge"):
        recipe.outline("7b")


EXAMPLES_AS_TASK = Examples(EXAMPLES * 32)
