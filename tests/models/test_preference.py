"""The preference objective: the paper's loss by hand in float64, the same for every family that talks, whatever stands
beside a pair."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from models.tiny import tiny_llava  # noqa: E402
from PIL import Image as Pillow  # noqa: E402
from training.families import made, names  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import preference  # noqa: E402
from looksay.models.batching import IGNORE, Batch, collate, pad  # noqa: E402
from looksay.models.likelihood import log_likelihoods  # noqa: E402
from looksay.models.preference import ANCHOR, PREFERENCE, losses  # noqa: E402
from looksay.models.spliced import Spliced  # noqa: E402
from looksay.types import Conversation, Example, Image, Message  # noqa: E402

pytestmark = pytest.mark.local

BOTH = (PREFERENCE, ANCHOR)
ANSWERS = (
    ("a dog", "a cat and a dog"),
    ("two small house", "one"),
    ("i see no fox", "i see a large fox near the tree"),
)


def picture(number: int) -> Image:
    return Image(Pillow.effect_noise((40, 32), 40 + 60 * number).convert("RGB"))


def talk(number: int, pictures: int = 1, turns: int = 0) -> Conversation:
    shown = [picture(number + k) for k in range(pictures)]
    asked = Conversation.ask(*shown, "what is in the picture ?")
    more = (Message("assistant", ("a sign",)), Message("user", ("what is there ?",)))
    return Conversation((*asked.messages, *more * turns))


def pair(number: int, pictures: int = 1, turns: int = 0, **truth: Any) -> Example:
    chosen, rejected = ANSWERS[number % 3]
    asked = talk(number, pictures, turns)
    said = Conversation((*asked.messages, Message("assistant", (chosen,))))
    return Example(str(number), said, {"rejected": rejected, **truth})


def encoded(model: Any, *examples: Example) -> list[Any]:
    return [model.encode(example, objectives=BOTH) for example in examples]


def wide(batch: Batch) -> Batch:
    return replace(batch, pixels_ICHW=batch.pixels_ICHW.double())


# -- the loss


def test_loss_and_gradients_are_the_paper_s_by_hand_in_float64() -> None:
    # OPT's norms keep float64; Llama's do not.
    model = tiny_llava(language="opt").double().eval()
    references = [(-9.0, -12.5), (-7.25, -3.0), (-11.0, -10.0)]
    beta, smoothing = 0.3, 0.1
    pairs = [
        pair(n, turns=n, reference=references[n], beta=beta, smoothing=smoothing) for n in range(3)
    ]
    batch = wide(pad(encoded(model, *pairs)))
    exact = {"beta": [beta] * 3, "smoothing": [smoothing] * 3, "reference": references}
    tables = {name: torch.tensor(value, dtype=torch.float64) for name, value in exact.items()}
    assert all(torch.equal(table.float(), batch.targets[n]) for n, table in tables.items())
    batch = replace(batch, targets={**batch.targets, **tables})
    found = model(batch, objectives=BOTH)

    def likelihood(conversation: Conversation, answer: str) -> tuple[Any, int]:
        """Token by token over full logits, of one answer alone."""
        said = Conversation((*conversation.messages, Message("assistant", (answer,))))
        row = model.encode(Example("", said))
        start = len(model.prepare(conversation).ids)
        whole = wide(pad([row]))
        logits = model.language.logits(model.hidden(whole))[0].log_softmax(-1)
        places = [t for t in range(start, len(row.ids)) if row.labels[t] != IGNORE]
        return sum(logits[t - 1, row.ids[t]] for t in places), len(places)

    terms, anchors, rewards = [], [], []
    for n, example in enumerate(pairs):
        asked = Conversation(example.conversation.messages[:-1])
        (chosen, ids), (rejected, _) = (likelihood(asked, text) for text in ANSWERS[n])
        first, second = references[n]
        margin = beta * ((chosen - first) - (rejected - second))
        right, wrong = (torch.log(torch.sigmoid(sign * margin)) for sign in (1, -1))
        terms.append(-(1 - smoothing) * right - smoothing * wrong)
        anchors.append(-chosen / ids)
        rewards.append((beta * (chosen - first), beta * (rejected - second)))
    expected, anchor = (torch.stack(found).mean() for found in (terms, anchors))
    assert torch.allclose(found[PREFERENCE], expected, rtol=1e-12)
    assert torch.allclose(found[ANCHOR], anchor, rtol=1e-12)
    figures = {name.partition("/")[2]: float(value) for name, value in found.items() if "/" in name}
    means = [sum(float(r[side].detach()) for r in rewards) / 3 for side in (0, 1)]
    assert figures == pytest.approx(
        {
            "chosen": means[0],
            "rejected": means[1],
            "margin": means[0] - means[1],
            "accuracy": sum(bool(r[0] > r[1]) for r in rewards) / 3,
        },
        rel=1e-9,
    )
    assert not any(value.requires_grad for name, value in found.items() if "/" in name)
    learning = [*model.connector.parameters(), *model.language.parameters()]
    ours = torch.autograd.grad(found[PREFERENCE], learning, allow_unused=True)
    theirs = torch.autograd.grad(expected, learning, allow_unused=True)
    assert any(g is not None and float(g.abs().sum()) > 0 for g in ours)
    for mine, wanted in zip(ours, theirs, strict=True):
        assert (mine is None) == (wanted is None)
        if mine is not None:
            assert torch.allclose(mine, wanted, rtol=1e-8, atol=1e-11)


numbers = st.floats(-60, 0)


@given(
    st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=5),
    st.floats(0.01, 1),
    st.floats(0, 0.45),
)
def test_losses_follow_the_formula_and_turn_with_the_pair(
    rows: list[tuple[float, float, float, float]], beta: float, smoothing: float
) -> None:
    table = torch.tensor(rows, dtype=torch.float64)
    own, reference = table[:, :2].T, table[:, 2:]
    count = len(rows)
    targets = {
        "reference": reference,
        "beta": torch.full((count,), beta, dtype=torch.float64),
        "smoothing": torch.full((count,), smoothing, dtype=torch.float64),
    }
    found = losses(own, targets)
    expected = 0.0
    for chosen, rejected, first, second in rows:
        margin = beta * ((chosen - first) - (rejected - second))
        expected += (1 - smoothing) * math.log1p(math.exp(-margin))
        expected += smoothing * math.log1p(math.exp(margin))
    assert float(found[PREFERENCE]) == pytest.approx(expected / count, rel=1e-9, abs=1e-12)
    turned = losses(own.flip(0), {**targets, "reference": reference.flip(1)})
    assert float(turned["preference/margin"]) == pytest.approx(-float(found["preference/margin"]))
    same = losses(reference.T, targets)
    assert float(same[PREFERENCE]) == pytest.approx(math.log(2))
    assert float(same["preference/margin"]) == 0


# -- a pair in a batch


def test_neither_padding_nor_packing_nor_neighbours_change_a_pair() -> None:
    model = tiny_llava()
    pairs = [pair(0), pair(1, pictures=2), pair(2, turns=2), pair(3, pictures=0)]
    rows = encoded(model, *pairs)
    with torch.no_grad():
        alone = torch.cat([model.likelihoods(pad([row])) for row in rows], 1)
        padded = model.likelihoods(pad(rows))
        packed = model.likelihoods(collate([rows[:2], rows[2:]]))
        turned = model.likelihoods(pad(rows[::-1])).flip(1)
    for found in (padded, packed, turned):
        assert torch.allclose(found, alone, atol=2e-5)
    assert not torch.allclose(alone[0], alone[1])


def test_the_tower_sees_a_picture_once_for_both_answers() -> None:
    model = tiny_llava()
    seen: list[int] = []
    model.tower.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    rows = encoded(model, pair(0, reference=(0, 0)), pair(1, pictures=2, reference=(0, 0)))
    assert sum(len(row.pixels) for row in rows) == 3
    model(pad(rows), objectives=(PREFERENCE,))
    assert seen == [3]


def test_only_the_last_answer_is_compared() -> None:
    (row,) = encoded(tiny_llava(), pair(0, turns=2))
    first = int(row.targets[preference.CHOSEN])
    words = tiny_llava().tokenizer
    for part, answer in zip((row.labels[:first], row.labels[first:]), ANSWERS[0], strict=True):
        learned = [label for label in part if label != IGNORE]
        assert words.decode(learned, skip_special_tokens=True).split() == answer.split()


# -- every family


def talkers() -> list[str]:
    from looksay import plugins

    return [
        name
        for name in names()
        if any(
            isinstance(one, type) and issubclass(one, Spliced) and one is not Spliced
            for one in vars(plugins.load("looksay.models.families", name, "family")).values()
        )
    ]


def test_the_families_that_talk_are_known() -> None:
    assert {"llava", "minigpt4", "blip2", "flamingo", "pali", "simvlm", "collavo", "moai"} <= set(
        talkers()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", talkers())
def test_every_family_that_talks_compares_what_it_would_say(name: str) -> None:
    """Likelihoods are those by which answers are ranked; with them as reference the loss is log 2."""
    model, stages = made(name)
    model.eval()
    drawn = [stages[-1].data.example(index) for index in range(40)]
    some = [e for e in drawn if e.conversation.images and len(e.conversation.messages) >= 2][:3]
    texts = [("one small dog", "a cat and two houses"), ("three trees", "no"), ("a fox", "a box")]
    pairs, ranked = [], []
    for number, (example, (chosen, rejected)) in enumerate(zip(some, texts, strict=True)):
        asked = Conversation(example.conversation.messages[:1])
        ranked.append(log_likelihoods(model, asked, (chosen, rejected)))
        said = Conversation((*asked.messages, Message("assistant", (chosen,))))
        truth = {**example.truth, "rejected": rejected, "reference": tuple(ranked[-1])}
        truth.pop("skill", None)
        pairs.append(Example(str(number), said, truth))
    batch = pad(encoded(model, *pairs))
    assert batch.pixels_ICHW is not None
    with torch.no_grad():
        found = model.likelihoods(batch).T
    assert torch.allclose(found, torch.tensor(ranked), atol=2e-4), name
    assert len({round(float(value), 3) for value in found.flatten()}) == 6
    parts = {part: list(model.parts[part].parameters()) for part in stages[-1].trains}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameters in parts.values():
        for parameter in parameters:
            parameter.requires_grad_(True)
    loss = model(batch, objectives=(PREFERENCE,))
    assert float(loss[PREFERENCE].detach()) == pytest.approx(math.log(2), abs=1e-4)
    loss[PREFERENCE].backward()
    moved = [p.grad for one in parts.values() for p in one if p.grad is not None]
    assert any(float(grad.abs().sum()) > 0 for grad in moved), name


# -- what is no pair


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        ({"rejected": None}, "no pair of answers"),
        ({"rejected": "  "}, "no pair of answers"),
        ({"rejected": "a dog "}, "the same"),
        ({"beta": 0.0}, "beta above 0"),
        ({"smoothing": 0.5}, "from 0 to below 0.5"),
    ],
)
def test_what_is_no_pair_is_told(truth: dict[str, Any], told: str) -> None:
    example = pair(0)
    with pytest.raises(InputError, match=told):
        encoded(tiny_llava(), replace(example, truth={**example.truth, **truth}))


def test_a_question_without_an_answer_is_no_pair() -> None:
    with pytest.raises(InputError, match="no pair of answers"):
        encoded(tiny_llava(), Example("q", talk(0), {"rejected": "a dog"}))


def test_pairs_without_a_reference_and_objectives_of_single_answers_are_told() -> None:
    model = tiny_llava()
    with pytest.raises(InputError, match="no reference"):
        model(pad(encoded(model, pair(0))), objectives=(PREFERENCE,))
    for mixed in ((PREFERENCE, "lm"), ("recognise", ANCHOR)):
        with pytest.raises(InputError, match="a stage of its own"):
            model.encode(pair(0), objectives=mixed)
    with pytest.raises(InputError, match="goes beside"):
        model.encode(pair(0), objectives=(ANCHOR,))
