"""Words for places: right names at right tokens, and a loss that only the right words make small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from models.tiny import tiny_llava  # noqa: E402

from looksay.data.scenes import Scenes  # noqa: E402
from looksay.data.scenes.asking import place  # noqa: E402
from looksay.data.sources import scenes as talks  # noqa: E402
from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.connectors import MLP  # noqa: E402
from looksay.models.grounding import TEMPERATURE, grounding_loss, named_places  # noqa: E402
from looksay.training.loop import train  # noqa: E402
from looksay.training.recipes import llava  # noqa: E402
from looksay.types import Conversation, Example  # noqa: E402

pytestmark = pytest.mark.local


def letters(name: str) -> list[int]:
    return [ord(letter) for letter in name]


def test_words_stand_at_the_tokens_where_things_are() -> None:
    scene = next(s for s in map(Scenes(0, "words").scene, range(50)) if len(s.things) == 2)
    example = talks.talk(scene, "picture")
    (words_MJK,) = named_places(example, letters, 64)
    found = {
        place: ["".join(chr(i) for i in ids if i >= 0) for ids in sorts]
        for place, sorts in enumerate(words_MJK.tolist())
        if sorts[0][0] >= 0
    }
    for number, thing in enumerate(scene.things):
        x, y = thing.box.centre
        group = scene.groups[thing.group]
        name, size, part = found[int(y // 16) * 8 + int(x // 16)]
        assert (name, size) == (group.noun.name[:8], group.size)
        if group.count == 1 and place(scene, thing.group):
            assert part == str(place(scene, thing.group))[:8], number
    assert scene.sign
    spelt = [words[0] for words in found.values() if len(words[0]) == 1]
    assert len(spelt) <= len(scene.sign.word)
    assert set(spelt) <= set(scene.sign.word)
    assert all(words[1:] == ["", ""] for words in found.values() if len(words[0]) == 1)


def test_the_loss_is_the_cross_entropy_among_the_words_of_each_sort() -> None:
    torch.manual_seed(0)
    table_VD = torch.randn(9, 6)
    words_IMJK = torch.full((2, 4, 2, 3), -1)
    words_IMJK[0, 1, 0, :2] = torch.tensor([3, 4])
    words_IMJK[0, 2, 0, 0] = words_IMJK[1, 0, 0, 0] = 5
    words_IMJK[0, 1, 1, 0] = 7
    words_IMJK[1, 0, 1, 0] = 8
    names = torch.stack([table_VD[3:5].mean(0), table_VD[5]])
    embeds_IMD = torch.randn(2, 4, 6, requires_grad=True)
    places = embeds_IMD[[0, 0, 1], [1, 2, 0]]

    def entropy(some: Any, words: Any, right: list[int]) -> Any:
        scores = torch.cosine_similarity(some[:, None], words[None], dim=-1) / TEMPERATURE
        return torch.nn.functional.cross_entropy(scores, torch.tensor(right))

    expected = entropy(places, names, [0, 1, 1]) + entropy(places[[0, 2]], table_VD[7:9], [0, 1])
    wanted = torch.stack([names[0] + table_VD[7], names[1], names[1] + table_VD[8]])
    expected = expected + 0.3 * (places - wanted).square().sum(-1).mean()
    others = embeds_IMD[words_IMJK[..., 0, 0] < 0]
    expected = expected + 0.3 * others.square().sum(-1).mean()
    loss = grounding_loss(embeds_IMD, words_IMJK, lambda ids: table_VD[ids])
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert embeds_IMD.grad is not None
    nothing = grounding_loss(embeds_IMD, torch.full((2, 4, 2, 3), -1), lambda ids: table_VD[ids])
    assert float(nothing.detach()) == 0


def test_it_leaves_the_words_alone_and_moves_the_connector() -> None:
    model = tiny_llava()
    names = torch.full((1, model.prompter.image_tokens, 1, 2), -1)
    names[0, 0, 0, 0] = 3
    images = model.connector.what(model.tower(torch.randn(1, 3, 32, 32)))
    grounding_loss(images, names, model.language.embed).backward()
    assert all(p.grad is None for p in model.language.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.connector.parameters())


def test_data_that_do_not_say_what_lies_where_are_told() -> None:
    with pytest.raises(InputError, match="what lies where"):
        named_places(Example("7", Conversation(())), letters, 64)
    with pytest.raises(InputError, match="square"):
        named_places(Example("7", Conversation(()), {"named": []}), letters, 60)


def test_places_go_straight_through_beside_the_layers() -> None:
    connector = MLP(12, 6, place=4)
    features_IND = torch.randn(2, 3, 12)
    straight = features_IND[..., -4:] @ connector.straight.weight.T
    torch.testing.assert_close(connector(features_IND), connector.layers(features_IND) + straight)
    again = build(MLP, checkpoint.describe(connector)["arguments"])
    again.load_state_dict(connector.state_dict())
    torch.testing.assert_close(again(features_IND), connector(features_IND))
    assert MLP(12, 6).straight is None


def build(kind: type, arguments: dict[str, object]) -> Any:
    return kind(**arguments)


def test_words_for_places_are_learned_from_kept_features_as_from_pictures(tmp_path: Path) -> None:
    (stage,) = [
        replace(s, steps=3, examples_per_batch=4, warmup=0.0)
        for s in llava.joining(0, pictures=4)
        if s.name == "ground"
    ]
    assert stage.cache_features
    found = []
    for keeps in (True, False):
        torch.manual_seed(0)
        model, _ = llava.scenes("tiny", 0)
        seen: list[int] = []
        model.tower.register_forward_hook(lambda _, given, __, s=seen: s.append(len(given[0])))
        stages = [replace(stage, cache_features=keeps)]
        train(model, stages, tmp_path / str(keeps), device="cpu", precision="fp32", quiet=True)
        assert sum(seen) == (4 if keeps else 12)
        found.append(model.connector.state_dict())
    torch.testing.assert_close(*found)
