"""The engine with every type of chat model that the hub backend is proven on: the same words as alone."""

from __future__ import annotations

from typing import Any

import pytest
from hub_asking import PROMPTS, TYPES, build, extra_is_there, hub, photo

from looksay.backends._hub_seeing import SLICE
from looksay.backends._kept import Prefixes, Seen
from looksay.backends.opening import open_engine
from looksay.backends.tickets import Done, Piece, Ticket
from looksay.types import Conversation, Image, Options

__all__ = ["build", "extra_is_there", "hub"]
pytestmark = [pytest.mark.local, pytest.mark.slow]

ALONE = {
    "blip", "blip_2_opt", "blip_2_t5", "florence2", "git", "paligemma", "vision_encoder_decoder",
}  # fmt: skip
"""Captioners: no chat template."""
OTHER_MEMORY = {
    "aya_vision": "windows",
    "exaone4_5": "windows",
    "gemma3": "windows",
    "gemma4": "windows",
    "idefics2": "windows",
    "minicpmv4_6": "states",
    "minicpmv4_7": "states",
    "mistral3": "windows",
    "mllama": "layers that look at the picture",
    "qwen3_5": "states",
}
"""What they remember besides keys and values of every place, or instead."""
TORCHVISION = {"lfm2_vl", "phi4_multimodal"}
"""Types that do not read pictures without it."""


def talks(count: int) -> list[Conversation]:
    """Several at once: of unequal length, with a picture, with two, with none."""
    shown = [[0], [1], [0, 2], [], [2], [0]]
    return [
        Conversation.ask(*(Image(photo(i)) for i in shown[n % 6]), PROMPTS[n % 2])
        for n in range(count)
    ]


JOINING = sorted(set(TYPES) - ALONE - set(OTHER_MEMORY) - TORCHVISION)


def fresh(backend: Any) -> None:
    """It remembers no prompt and no picture."""
    backend.steps._prefixes = Prefixes()
    Seen.forget()


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("kind", JOINING)
def test_answers_side_by_side_are_those_alone(kind: str, lanes: int, hub: Any, cores: int) -> None:
    backend = hub(kind)
    assert backend.steps is not None
    options = Options(max_tokens=12)
    asked = talks(6)
    alone = [next(iter(backend.complete([one], options))) for one in asked]
    fresh(backend)
    engine = open_engine(backend, lanes=lanes)
    assert engine.worker.threads == (lanes if backend.steps.apart else 1)
    try:
        for _ in range(2):  # the second time from what was kept of the first
            tickets = [
                engine.submit(Ticket(one, options, client=str(n))) for n, one in enumerate(asked)
            ]
            for ticket, wanted in zip(tickets, alone, strict=True):
                *pieces, end = ticket
                assert isinstance(end, Done), end
                text = "".join(piece.text for piece in pieces if isinstance(piece, Piece))
                assert text.strip() == wanted.text
                assert end.prompt_tokens == wanted.prompt_tokens
        assert engine.load().reused > 0
    finally:
        assert engine.close()


RULES = "What matters first , in one sentence , and no names . " * 3


@pytest.mark.parametrize("kind", JOINING)
def test_what_is_said_before_a_picture_is_read_once(kind: str, hub: Any) -> None:
    """The rules are the same of all photos; models that number pictures in two dimensions read them anew."""
    backend = hub(kind)
    steps, options = backend.steps, Options(max_tokens=6)
    asked = [Conversation.ask(Image(photo(n)), PROMPTS[0], system=RULES) for n in range(3)]
    fresh(backend)
    alone = []
    for one in asked:
        fresh(backend)
        alone.append(next(iter(backend.complete([one], options))).text)
    fresh(backend)
    engine = open_engine(backend)
    try:
        for one, wanted in zip(asked, alone, strict=True):
            ticket = engine.submit(Ticket(one, options))
            *pieces, end = ticket
            assert isinstance(end, Done), end
            assert "".join(p.text for p in pieces if isinstance(p, Piece)).strip() == wanted
        before = next(at for at, unit in enumerate(ticket.prompt.units) if isinstance(unit, str))
        shared = steps._counts_in_two is None and before >= 16
        assert (engine.load().reused > 0) == shared
    finally:
        assert engine.close()


@pytest.mark.parametrize("kind", JOINING)
def test_a_picture_is_looked_at_once(kind: str, hub: Any, monkeypatch: Any) -> None:
    """Whatever else is asked about it: other words before it, a second request."""
    backend = hub(kind)
    options = Options(max_tokens=6)
    asked = [Conversation.ask(Image(photo(1)), PROMPTS[0], system=words) for words in "abc"]
    alone = []
    for one in asked:
        fresh(backend)
        alone.append(next(iter(backend.complete([one], options))).text)
    fresh(backend)
    tower = backend._model.get_encoder(modality="image")
    looked: list[int] = []
    whole = tower.forward
    monkeypatch.setattr(
        tower, "forward", lambda *given, **named: (looked.append(1), whole(*given, **named))[1]
    )
    found = {one.index: one.text for one in backend.complete([asked[0]], options)}
    once = len(looked)
    found |= {n + 1: one.text for n, one in enumerate(backend.complete(asked[1:2], options))}
    found |= {n + 2: one.text for n, one in enumerate(backend.complete(asked[2:], options))}
    assert [found[n] for n in range(3)] == alone
    assert len(looked) == once


def test_only_where_a_model_sees_one_square_is_a_photo_decoded_smaller(hub: Any) -> None:
    assert hub("llava")._asking.seen_px == 32
    for kind in ("idefics3", "llava_next", "llava_onevision", "qwen2_vl", "internvl"):
        assert hub(kind)._asking.seen_px is None


@pytest.mark.parametrize("kind", ["idefics3", "llava_next", "llava_onevision", "smolvlm"])
def test_tiles_pass_a_few_at_a_time(kind: str, hub: Any, monkeypatch: Any) -> None:
    """A tall photo is many tiles; a tower sees no more of them at once than fit a processor's caches."""
    import torch

    backend = hub(kind)
    (talk,) = [Conversation.ask(Image(photo(1)), PROMPTS[0])]
    inputs = backend.steps.prompt(talk).inputs
    assert backend.steps is not None
    tower = backend._model.get_encoder(modality="image")
    pixels = inputs["pixel_values"].flatten(0, -4)
    pixels = torch.cat([pixels, pixels.flip(-1)])
    assert len(pixels) > SLICE
    named = {"output_hidden_states": True} if "llava" in kind else {}
    with torch.inference_mode():
        apart = [tower(one[None], **named) for one in pixels]
        at_once = tower(pixels, **named)
    for name in ("last_hidden_state", *(["hidden_states"] if named else [])):
        ours = at_once[name] if name == "last_hidden_state" else torch.stack(at_once[name])
        theirs = [
            one[name] if name == "last_hidden_state" else torch.stack(one[name]) for one in apart
        ]
        joined = torch.cat(theirs, dim=0 if name == "last_hidden_state" else 1)
        torch.testing.assert_close(ours, joined, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", sorted(OTHER_MEMORY))
def test_models_that_remember_otherwise_take_turns(kind: str, hub: Any) -> None:
    backend = hub(kind)
    assert backend.steps is None
    engine = open_engine(backend)
    try:
        ticket = engine.submit(Ticket(talks(1)[0], Options(max_tokens=6), whole=True))
        assert isinstance(list(ticket)[-1], Done)
    finally:
        assert engine.close()
