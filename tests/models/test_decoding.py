"""While a model speaks it rests; then each part of it is as it was, what a stage has frozen too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.test_albef import tiny_albef  # noqa: E402
from models.test_blip import tiny_blip  # noqa: E402
from models.test_flamingo import tiny_flamingo  # noqa: E402
from models.tiny import tiny_llava, word_tokenizer  # noqa: E402
from pictures import picture  # noqa: E402

from looksay.types import Conversation, Image, Options  # noqa: E402

pytestmark = pytest.mark.local

MODELS: dict[str, Callable[[], Any]] = {
    "albef": tiny_albef,
    "blip": tiny_blip,
    "blip, by beams": lambda: tiny_blip(beams=2),
    "flamingo": tiny_flamingo,
    "llava": lambda: tiny_llava(tokenizer=word_tokenizer()),
}
ASKED = Conversation.ask(Image(picture(1)), "what is this ?")
FEW = Options(max_tokens=4)


def modes(model: Any) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


@pytest.fixture(params=MODELS)
def learning(request: pytest.FixtureRequest) -> Any:
    """A model in a stage that has frozen its tower."""
    model = MODELS[request.param]().train()
    model.tower.eval()
    return model


def test_speaking_leaves_each_module_in_the_mode_that_it_was_in(learning: Any) -> None:
    before = modes(learning)
    assert set(before.values()) == {True, False}
    awake: list[str] = []

    def watch(module: Any, inputs: Any) -> None:
        if module.training:
            awake.append(type(module).__name__)

    for module in learning.modules():
        module.register_forward_pre_hook(watch)
    learning.generate([ASKED], FEW)
    assert modes(learning) == before
    if hasattr(learning, "log_likelihoods"):
        learning.log_likelihoods(ASKED, ["a dog", "two"])
        assert modes(learning) == before
    assert awake == []


def test_between_two_pieces_of_a_stream_the_model_is_as_it_was(learning: Any) -> None:
    before = modes(learning)
    stream = learning.stream(ASKED, FEW)
    for _ in stream:
        assert modes(learning) == before
        assert not torch.is_inference_mode_enabled()
    broken = learning.stream(ASKED, FEW)
    next(broken, None)
    broken.close()
    assert modes(learning) == before
