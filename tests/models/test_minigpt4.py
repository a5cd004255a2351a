"""MiniGPT-4: what trains, its prompt forms, its released matrix, and BLIP-2's parts in it."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from models.tiny import language_config, vision_config, word_tokenizer  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint, templates  # noqa: E402
from looksay.models.batching import IGNORE, pad  # noqa: E402
from looksay.models.connectors import MLP, Joined, Linear  # noqa: E402
from looksay.models.families.minigpt4 import MiniGpt4, load_projector  # noqa: E402
from looksay.models.language import Language  # noqa: E402
from looksay.models.qformer import QFormer  # noqa: E402
from looksay.models.vision import TransformersTower, new_model  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local


def picture(shade: int) -> Image:
    from PIL import Image as Pillow

    return Image(Pillow.new("RGB", (32, 32), (shade, 255 - shade, 60)))


def asked(shade: int = 9, answer: str = "a dog near the tree") -> Example:
    talk = Conversation(
        (
            Message("user", (picture(shade), "describe the picture please")),
            Message("assistant", (answer,)),
        )
    )
    return Example(str(shade), talk)


def tiny(kind: str = "paper", seed: int = 0) -> MiniGpt4:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    tokenizer = word_tokenizer()
    tower = TransformersTower(new_model(vision_config("clip")), layer=-2, drop_cls=True)
    language = Language(AutoModelForCausalLM.from_config(language_config("llama", len(tokenizer))))
    if kind == "no-qformer":
        connector = Joined(tower.width, language.width)
        return MiniGpt4(tower, connector, language, tokenizer).eval()
    queries = QFormer(tower.width, 0, queries=4, width=24, layers=2, heads=2, inner=48)
    return MiniGpt4(tower, Linear(24, language.width), language, tokenizer, qformer=queries).eval()


def test_the_matrix_reads_what_the_queries_found() -> None:
    model = tiny()
    example = asked()
    sequence = model.encode(example)
    assert sequence.ids.count(model.prompter.image_id) == 4
    batch = pad([sequence])
    with torch.no_grad():
        seen = model.tower(batch.pixels_ICHW)
        words = model.connector.linear(model.qformer.read(seen))
        embeds = model.language.embed(
            batch.ids_BT.masked_fill(batch.ids_BT == model.prompter.image_id, 0)
        )
        embeds[batch.ids_BT == model.prompter.image_id] = words[0]
        expected = model.language.model.model(inputs_embeds=embeds).last_hidden_state
        torch.testing.assert_close(model.hidden(batch), expected, atol=1e-5, rtol=1e-5)


def test_without_a_qformer_four_patches_are_one_token() -> None:
    model = tiny("no-qformer")
    assert set(model.parts) == {"tower", "connector", "language"}
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = model.tower(pixels)
        assert features.shape[1] == 16
        assert model.prompter.image_tokens == 4
        by_hand = torch.cat([features[:, place::4] for place in range(4)], dim=-1)
        torch.testing.assert_close(model.images(features), model.connector.linear(by_hand))
    with pytest.raises(InputError, match="17 tokens of a picture do not divide into groups of 4"):
        Joined(8, 8).tokens(17)


def test_the_forms_of_both_stages_are_as_published() -> None:
    """minigpt4/conversation/conversation.py and datasets/cc_sbu_dataset.py."""
    turns = [("user", "<image>\nWhat is this?"), ("assistant", "A dog.")]
    pairs = templates.render("minigpt4_pairs", turns, "</s>", "<image>")
    assert pairs == "###Human: <Img><image></Img> What is this? ###Assistant: A dog.###"
    more = [*turns, ("user", "And now?"), ("assistant", "A cat.")]
    chat = templates.render("minigpt4", more, "</s>", "<image>")
    assert chat == (
        "Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I provide "
        "it to you. Please answer my questions.###Human: <Img><image></Img> What is this? ###Assistant: A dog."
        "######Human: And now? ###Assistant: A cat.###"
    )


def test_only_the_answer_is_learned() -> None:
    model = tiny()
    for template in ("plain", "minigpt4_pairs", "minigpt4"):
        sequence = model.encode(asked(), template)
        learned = [i for i in sequence.labels if i != IGNORE]
        said = model.tokenizer.encode("a dog near the tree", add_special_tokens=False)
        assert learned[: len(said)] == said, template
        assert len(learned) <= len(said) + 3


@pytest.mark.parametrize("stage", [("itc", "itm", "itg"), ("lm",)])
def test_a_stage_moves_its_part_alone(stage: tuple[str, ...]) -> None:
    from looksay.training.recipes.minigpt4 import scenes

    model, stages = scenes("tiny")
    chosen = next(s for s in stages if s.objectives == stage and s.name != "language")
    for part in model.parts.values():
        part.requires_grad_(False)
    for name in chosen.trains:
        model.parts[name].requires_grad_(True)
    examples = [chosen.data.example(i) for i in range(4)]
    batch = pad([model.encode(e, chosen.template, stage) for e in examples])
    sum(model(batch, stage)[name] for name in stage).backward()
    moved = {
        n for n, part in model.parts.items() if any(p.grad is not None for p in part.parameters())
    }
    assert moved == set(chosen.trains)


def test_the_ablations_differ_in_what_they_say() -> None:
    from looksay.training.recipes.minigpt4 import KINDS, scenes

    made = {kind: scenes("tiny", kind=kind) for kind in KINDS}
    assert isinstance(made["three-layers"][0].connector, MLP)
    assert made["three-layers"][0].connector.depth == 3
    assert made["no-qformer"][0].qformer is None
    names = {kind: [s.name for s in stages] for kind, (_, stages) in made.items()}
    assert names["paper"] == ["tower", "language", "contrast", "represent", "align", "tune"]
    assert names["no-qformer"] == ["tower", "language", "align", "tune"]
    last = {kind: set(stages[-1].trains) for kind, (_, stages) in made.items()}
    assert last["tuned-qformer"] == {"connector", "qformer"}
    assert last["paper"] == {"connector"}


def test_a_released_matrix_loads_and_one_for_another_model_does_not(tmp_path: Path) -> None:
    model = tiny()
    there = {"llama_proj.weight": torch.randn(32, 24), "llama_proj.bias": torch.randn(32)}
    torch.save({"model": there}, tmp_path / "pretrained.pth")
    load_projector(model, tmp_path / "pretrained.pth", model.language.fingerprint)
    assert torch.equal(model.connector.linear.weight, there["llama_proj.weight"])
    other = tiny(seed=1)
    with pytest.raises(checkpoint.WrongPart, match=model.language.fingerprint):
        load_projector(other, tmp_path / "pretrained.pth", model.language.fingerprint)
    torch.save({"model": {"llama_proj.weight": torch.randn(40, 24)}}, tmp_path / "wide.pth")
    with pytest.raises(InputError, match="40, 24"):
        load_projector(model, tmp_path / "wide.pth")
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"torn\.pth"):
        load_projector(model, tmp_path / "torn.pth")


def test_a_connector_beside_another_language_model_is_refused(tmp_path: Path) -> None:
    """Vision-CAIR/MiniGPT-4 issue 417, for folders of our own."""
    model = tiny()
    checkpoint.save(model, tmp_path)
    other = tiny(seed=1)
    other.tower.load_state_dict(model.tower.state_dict())
    with pytest.raises(checkpoint.WrongPart, match="language part"):
        checkpoint.load_connector(other, tmp_path)
    again = checkpoint.load(tmp_path)
    checkpoint.load_connector(again, tmp_path)
    pictures = [Conversation((Message("user", (picture(s), "what is there")),)) for s in (3, 200)]
    options = Options(max_tokens=6)
    assert [a.text for a in again.generate(pictures, options)] == [
        a.text for a in model.generate(pictures, options)
    ]


def test_blip2s_parts_come_from_its_released_layout(tmp_path: Path) -> None:
    from models.test_blip2 import released

    from looksay.models.families import _blip2_layouts, blip2

    released(tmp_path, "opt")
    whole: blip2.Blip2 = _blip2_layouts.from_transformers(tmp_path)
    qformer = _blip2_layouts.qformer_of(tmp_path)
    pixels = torch.randn(2, 3, whole.tower.size_px, whole.tower.size_px)
    with torch.no_grad():
        features = whole.tower(pixels)
        torch.testing.assert_close(qformer.read(features), whole.connector.read(features))
    assert qformer.project is None


def test_the_published_outline_has_the_papers_size() -> None:
    from looksay.training.recipes.minigpt4 import outline

    found = outline("13b")
    matrix = sum(p.numel() for p in found.parts["connector"].parameters())
    assert matrix == 768 * 5120 + 5120
    assert found.image_tokens == 32
