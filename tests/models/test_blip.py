"""BLIP's objectives against oracles by hand, its modes, and what it says of pictures, questions and videos."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
import torch.nn.functional as F  # noqa: E402
from models.tiny import enliven, vision_config, word_tokenizer  # noqa: E402
from PIL import Image as Pillow  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models import checkpoint, ranks  # noqa: E402
from looksay.models.answering import BertLM  # noqa: E402
from looksay.models.batching import pad  # noqa: E402
from looksay.models.families._blip_layouts import answering  # noqa: E402
from looksay.models.families.blip import Blip, add_blip_tokens  # noqa: E402
from looksay.models.pairing import Pairing  # noqa: E402
from looksay.models.vision import TransformersTower  # noqa: E402
from looksay.types import Conversation, Example, Image, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
TEXTS = ["a small red dog", "two cat and a fox", "four", "a tree near the house", "one blue sign"]
PAIRS = ("itc", "itm", "lm")


def picture(seed: int) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    return Image(Pillow.fromarray(pixels))


def pair(seed: int, text: str, asked: str = "") -> Example:
    turns = (Message("user", (picture(seed), asked)), Message("assistant", (text,)))
    return Example(str(seed), Conversation(turns))


def tiny_blip(queue: int = 10, seed: int = 0, **arguments: Any) -> Any:
    from transformers import AutoModel

    torch.manual_seed(seed)
    tokenizer = add_blip_tokens(word_tokenizer())
    tower = TransformersTower(AutoModel.from_config(vision_config()), None, drop_cls=False)
    common: dict[str, Any] = {"layers": 2, "heads": 4, "inner": 64, "positions": 64}
    text = BertLM(len(tokenizer), 24, width_in=32, cross=(0, 1), decodes=True, **common)
    answers = BertLM(len(tokenizer), 24, width_in=24, cross=(0, 1), **common)
    model = Blip(tower, text, tokenizer, Pairing(32, 24, 16, queue), answers, **arguments)
    return enliven(model, seed).eval()


def batch_of(model: Any, examples: list[Example], objectives: tuple[str, ...] = PAIRS) -> Any:
    return pad([model.encode(e, "", objectives) for e in examples])


EXAMPLES = [pair(i, text) for i, text in enumerate(TEXTS)]


def rows(model: Any, batch: Any) -> tuple[Any, Any]:
    """Embeddings by hand, each pair by itself, in float64."""
    images, texts = [], []
    for b in range(len(batch.ids_BT)):
        length = int((batch.segments_BT[b] > 0).sum())
        ids = batch.ids_BT[b : b + 1, :length]
        seen = torch.ones_like(ids, dtype=torch.bool)
        state = model.text.read(ids, seen)[0, 0]
        feature = model.tower(batch.pixels_ICHW[b : b + 1])[0, 0]
        images.append(F.normalize(model.pairing.images.project(feature).double(), dim=0))
        texts.append(F.normalize(model.pairing.texts(state).double(), dim=0))
    return torch.stack(images), torch.stack(texts)


def contrast_by_hand(model: Any, slow: Any, batch: Any, ids: list[int], alpha: float) -> float:
    """ITC (ALBEF, equations 1, 6): candidates are the slow models' rows of the batch, then of the queue."""
    images, texts = rows(model, batch)
    slow_images, slow_texts = rows(slow, batch)
    queue = slow.pairing.contrast
    names = [*ids, *queue.images.ids_K.tolist()]
    t = float(queue.temperature)
    total = 0.0
    for own, others, own_slow, kept in (
        (images, slow_texts, slow_images, queue.texts.features_KD),
        (texts, slow_images, slow_texts, queue.images.features_KD),
    ):
        candidates = torch.cat([others, kept.double()])
        for b in range(len(ids)):
            positives = [float(name == ids[b]) for name in names]
            soft = torch.softmax(own_slow[b] @ candidates.T / t, 0)
            log = torch.log_softmax(own[b] @ candidates.T / t, 0)
            for c, positive in enumerate(positives):
                target = alpha * float(soft[c]) + (1 - alpha) * positive / sum(positives)
                total -= target * float(log[c])
    return total / (2 * len(ids))


@torch.no_grad()
def test_contrast_is_the_papers_over_batch_and_queue() -> None:
    model = tiny_blip(ramp_steps=10).train()
    examples = [*EXAMPLES, pair(0, "there is a dog")]  # one picture with two captions
    batch = batch_of(model, examples)
    ids = batch.targets["picture"].tolist()
    assert ids[0] == ids[-1]
    first = contrast_by_hand(model, copy.deepcopy(model), batch, ids, alpha=0.0)
    assert float(model(batch, ("itc",))["itc"]) == pytest.approx(first, abs=1e-5)
    # The slow copies follow the next weights by half a percent, and the queue holds the first batch.
    assert model.pairing.contrast.images.ids_K.tolist()[:6] == ids
    slow = copy.deepcopy(model)
    enliven(model.text, 7), enliven(model.pairing, 8), enliven(model.tower, 9)
    for part in ("tower", "text", "pairing"):
        for old, new in zip(
            getattr(slow, part).parameters(), getattr(model, part).parameters(), strict=True
        ):
            old.lerp_(new, 0.005)
    slow.pairing.contrast.temperature.copy_(model.pairing.contrast.temperature)
    second = contrast_by_hand(model, slow, batch, ids, alpha=0.4 * 1 / 10)
    assert float(model(batch, ("itc",))["itc"]) == pytest.approx(second, abs=1e-5)
    assert abs(first - second) > 0.01


@torch.no_grad()
def test_matching_draws_hard_negatives_and_judges_each_pair() -> None:
    model = tiny_blip().train()
    examples = [*EXAMPLES, pair(0, "there is a dog")]
    batch = batch_of(model, examples)
    ids = batch.targets["picture"].tolist()
    images, texts = rows(model, batch)  # the slow copies are these weights, the first time
    t = float(model.pairing.contrast.temperature)
    drawn = ranks.uniform(1, 6, 2).double()

    def pick(scores: Any, b: int, u: float) -> int:
        weights = [
            0.0 if ids[c] == ids[b] else float(w) + 1e-4
            for c, w in enumerate(torch.softmax(scores / t, 0))
        ]
        ends = np.cumsum(weights)
        return int(np.searchsorted(ends, u * ends[-1], side="right"))

    found = model(batch, ("itm",))
    pairs = [(b, b, 1) for b in range(6)]
    pairs += [(pick(texts[b] @ images.T, b, float(drawn[b, 1])), b, 0) for b in range(6)]
    pairs += [(b, pick(images[b] @ texts.T, b, float(drawn[b, 0])), 0) for b in range(6)]
    total, wrong = 0.0, 0
    for image, text, label in pairs:
        length = int((batch.segments_BT[text] > 0).sum())
        words = batch.ids_BT[text : text + 1, :length].clone()
        words[0, 0] = model.enc_id
        features = model.tower(batch.pixels_ICHW[image : image + 1])
        state = model.text.read(words, torch.ones_like(words, dtype=torch.bool), features)
        logits = model.pairing.matches(state[0, 0]).double()
        total -= float(torch.log_softmax(logits, 0)[label])
        wrong += int(logits.argmax()) != label
    assert float(found["itm"]) == pytest.approx(total / 18, abs=1e-5)
    assert float(found["itm/wrong"]) == pytest.approx(wrong / 18, abs=1e-6)
    assert all(ids[i] != ids[t] for i, t, label in pairs if not label)


@torch.no_grad()
def test_captions_learn_with_smoothing_from_their_first_word_on() -> None:
    model = tiny_blip()
    batch = batch_of(model, EXAMPLES, ("lm",))
    ids = batch.ids_BT.clone()
    ids[:, 0] = model.dec_id
    states = model.text.written(ids, batch.segments_BT > 0, model.tower(batch.pixels_ICHW))
    logs = model.text.logits(states).double().log_softmax(-1)
    total, count = 0.0, 0
    for b, text in enumerate(TEXTS):
        for place in range(1, len(text.split()) + 2):  # every word, and the end
            row = logs[b, place - 1]
            total -= 0.9 * float(row[batch.ids_BT[b, place]]) + 0.1 * float(row.mean())
            count += 1
    assert float(model(batch)["lm"]) == pytest.approx(total / count, abs=1e-5)


@torch.no_grad()
def test_the_modes_share_all_but_what_looks_at_itself() -> None:
    model = tiny_blip()
    names = {n for n, _ in model.text.named_parameters() if ".writing." in n}
    assert {n.replace(".writing.", ".itself.") for n in names} == {
        n for n, _ in model.text.named_parameters() if ".itself." in n
    }
    batch = batch_of(model, EXAMPLES[:2])
    seen, features = batch.segments_BT > 0, model.tower(batch.pixels_ICHW)
    read, fused = model.text.read(batch.ids_BT, seen), model.matched(batch.ids_BT, seen, features)
    written = model.text.written(batch.ids_BT, seen, features)
    other = batch.ids_BT.clone()
    other[:, 2] = 9  # a later word changes what is read before it, not what is written before it
    assert not torch.allclose(model.text.read(other, seen)[:, 1], read[:, 1], atol=1e-3)
    assert not torch.allclose(model.matched(other, seen, features)[:, 1], fused[:, 1], atol=1e-3)
    torch.testing.assert_close(
        model.text.written(other, seen, features)[:, :2], written[:, :2], **CLOSE
    )


@torch.no_grad()
def test_answers_weigh_by_how_many_people_gave_them() -> None:
    model = tiny_blip()
    given = ["two", "two", "two", "three"]
    many = replace(pair(1, "two", "how many ?"), truth={"answers": given})
    whole = model(batch_of(model, [many], ("vqa",)), ("vqa",))["vqa"]
    each = {
        text: float(
            model(batch_of(model, [pair(1, text, "how many ?")], ("vqa",)), ("vqa",))["vqa"]
        )
        for text in ("two", "three")
    }
    assert float(whole) == pytest.approx(0.75 * each["two"] + 0.25 * each["three"], abs=1e-5)
    both = model(batch_of(model, [many, pair(2, "no", "is it ?")], ("vqa",)), ("vqa",))["vqa"]
    one = model(batch_of(model, [pair(2, "no", "is it ?")], ("vqa",)), ("vqa",))["vqa"]
    assert float(both) == pytest.approx((float(whole) + float(one)) / 2, abs=1e-5)


def test_answers_begin_as_the_decoder_of_captions() -> None:
    model = tiny_blip()
    assert model.writer is model.text
    asked = batch_of(model, [pair(1, "two", "how many ?")], ("vqa",))
    model.answers.train()
    model(asked, ("vqa",))
    assert model.writer is model.answers
    ours, theirs = model.answers.state_dict(), model.text.state_dict()
    block = "bert.blocks.1"
    for name in ("query", "out"):
        assert torch.equal(
            ours[f"{block}.itself.attention.{name}.weight"],
            theirs[f"{block}.writing.attention.{name}.weight"],
        )
    assert torch.equal(ours["bert.words.weight"], theirs["bert.words.weight"])
    assert ours[f"{block}.cross.attention.key.weight"].shape == (
        24,
        24,
    )  # looks at words, not pictures
    before = ours["bert.words.weight"].clone()
    with torch.no_grad():
        model.text.bert.words.weight.add_(1.0)
    model(asked, ("vqa",))
    assert torch.equal(model.answers.state_dict()["bert.words.weight"], before)


@pytest.mark.slow
def test_a_batch_learns_until_it_is_known_by_heart(tmp_path: Path) -> None:
    model = tiny_blip(queue=20, prompt="").train()
    for part in (model.text, model.pairing):  # weights at which gradients are neither lost nor wild
        for weight in part.parameters():
            if weight.ndim >= 2:
                torch.nn.init.normal_(weight, std=0.5 / weight.shape[-1] ** 0.5)
    model.answers.eval()
    model.smoothing = 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch = batch_of(model, EXAMPLES)
    for _ in range(110):
        optimizer.zero_grad()
        losses = model(batch, PAIRS)
        sum(losses.values()).backward()
        optimizer.step()
    model.eval()
    said = model.generate([Conversation.ask(picture(i)) for i in range(5)], Options(max_tokens=12))
    assert [answer.text for answer in said] == TEXTS
    images = [picture(i) for i in range(5)]
    cosine = model.embed_images(images) @ model.embed_texts(TEXTS).T
    assert cosine.argmax(0).tolist() == cosine.argmax(1).tolist() == list(range(5))
    odds = model.match([image for image in images for _ in TEXTS], TEXTS * 5).reshape(5, 5)
    assert ((odds > 0) == torch.eye(5, dtype=torch.bool)).all()
    assert float(model(batch, ("itm",))["itm/wrong"]) == 0
    saved = checkpoint.load(checkpoint.save(model, tmp_path))
    for name, value in model.state_dict().items():
        assert torch.equal(saved.state_dict()[name], value), name
    torch.testing.assert_close(saved.embed_texts(TEXTS), model.embed_texts(TEXTS))


def test_a_batch_says_what_each_alone_says() -> None:
    for beams in (1, 3):
        model = tiny_blip(beams=beams, prompt="a picture of ")
        asked = [Conversation.ask(picture(i)) for i in range(4)]
        together = model.generate(asked, Options(max_tokens=9))
        assert together == [model.generate([one], Options(max_tokens=9))[0] for one in asked]
        assert len({answer.text for answer in together}) > 1
        assert "".join(model.stream(asked[0], Options(max_tokens=9))) == together[0].text
        drawn = Options(max_tokens=9, temperature=1.0, top_p=0.9, seed=3)
        assert model.generate(asked, drawn) == model.generate(asked, drawn)


@torch.no_grad()
def test_padding_changes_no_loss() -> None:
    model = tiny_blip()
    long, short = pair(1, "a small red dog on the left of two fox"), pair(2, "four")
    for objectives in (("lm",), ("vqa",)):
        both = float(model(batch_of(model, [long, short], objectives), objectives)[objectives[0]])
        each = [batch_of(model, [one], objectives) for one in (long, short)]
        counts = [one.learned for one in each] if objectives == ("lm",) else [1, 1]
        alone = [float(model(one, objectives)[objectives[0]]) for one in each]
        mean = sum(n * loss for n, loss in zip(counts, alone, strict=True)) / sum(counts)
        assert both == pytest.approx(mean, abs=1e-5)


@torch.no_grad()
def test_a_video_is_its_frames_side_by_side() -> None:
    model = tiny_blip(prompt="")
    clip, still = [picture(i) for i in range(3)], picture(7)
    words = model._words(["a dog"])
    features = model.tower(torch.stack([model.pixels(frame) for frame in clip]))
    logits = model.matching(words.ids_BT, words.segments_BT > 0, features.flatten(0, 1)[None])
    found = model.match([clip, still, clip], ["a dog", "a dog", "a cat"])
    assert float(found[0]) == pytest.approx(float(logits[0, 1] - logits[0, 0]), abs=1e-5)
    assert float(found[1]) == pytest.approx(float(model.match([still], ["a dog"])[0]), abs=1e-5)
    mean = model.pairing.images(features).mean(0, keepdim=True)
    torch.testing.assert_close(model.embed_images([clip]), F.normalize(mean, dim=-1), **CLOSE)
    asked = [Conversation.ask(*clip), Conversation.ask(still)]
    both = model.generate(asked, Options(max_tokens=8))
    assert both == [model.generate([one], Options(max_tokens=8))[0] for one in asked]


def test_matching_that_says_one_thing_only_is_told() -> None:
    model = tiny_blip(queue=0).train()
    stuck = torch.tensor([[9.0, -9.0]] * 12)
    for _ in range(499):
        model.pairing.wrong(stuck)
    with pytest.warns(UserWarning, match=r'"no match" to nearly every pair.*0\.637'):
        model.pairing.wrong(stuck)
    assert -(math.log(2 / 3) * 2 + math.log(1 / 3)) / 3 == pytest.approx(0.637, abs=1e-3)


def test_what_cannot_be_learned_is_refused_with_the_reason() -> None:
    model = tiny_blip().train()
    with pytest.raises(InputError, match="two different pictures or more"):
        model(batch_of(model, [pair(1, "a dog")]), ("itm",))
    for queue, reason in ((0, "built without"), (4, "does not fit into a queue of 4")):
        other = tiny_blip(queue=queue).train()
        with pytest.raises(InputError, match=reason):
            other(batch_of(other, EXAMPLES), ("itc",))
    with pytest.raises(InputError, match="Train vqa by itself"):
        model.encode(EXAMPLES[0], None, ("lm", "vqa"))
    captioner = answering(tiny_blip())
    with pytest.raises(InputError, match="neither embeds nor matches"):
        captioner.embed_texts(["a dog"])
    with pytest.raises(InputError, match="The text transformer was built for"):
        Blip(captioner.tower, captioner.answers, captioner.tokenizer)
    with pytest.raises(InputError, match="wants a picture"):
        model.prepare(Conversation.ask("what is this ?"))


def _one_of_two(rank: int, port: int, out: Any) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = tiny_blip(queue=12).train()
    batch = batch_of(model, EXAMPLES[2 * rank : 2 * rank + 2])
    losses = model(batch, PAIRS)
    # The loop weighs "lm" by ids and the others by examples; gradients are the mean of both processes'.
    counts = torch.tensor([float(batch.learned)])
    dist.all_reduce(counts)
    weighed = {**losses, "lm": losses["lm"] * 2 * batch.learned / counts[0]}
    sum(weighed.values()).backward()
    found = {}
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            dist.all_reduce(weight.grad)
            found[name] = weight.grad / 2
    total = torch.stack([weighed[name].detach() for name in sorted(weighed)])
    dist.all_reduce(total)
    if rank == 0:
        torch.save((total / 2, found, model.pairing.contrast.texts.ids_K), out)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    import multiprocessing
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ranks_ = [
        context.Process(target=_one_of_two, args=(rank, port, tmp_path / "found"))
        for rank in range(2)
    ]
    for one in ranks_:
        one.start()
    for one in ranks_:
        one.join(300)
        assert one.exitcode == 0
    losses, gradients, queue = torch.load(tmp_path / "found", weights_only=True)
    model = tiny_blip(queue=12).train()
    alone = model(batch_of(model, EXAMPLES[:4]), PAIRS)
    sum(alone.values()).backward()
    expected = torch.stack([alone[name].detach() for name in sorted(alone)])
    torch.testing.assert_close(losses, expected, **CLOSE)
    assert torch.equal(queue, model.pairing.contrast.texts.ids_K)
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(gradients[name], weight.grad, atol=1e-5, rtol=1e-3, msg=name)


class Pictures:
    """Endless pairs; fails after some, where told so."""

    size = None
    fingerprint = "pictures"

    def __init__(self, breaks_at: int | None = None) -> None:
        self._left = breaks_at

    def example(self, index: int) -> Example:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise RuntimeError("broken")
        return pair(index % 40, f"{TEXTS[index % 5]} {TEXTS[index % 3]}", "what is this ?")


@pytest.mark.slow
def test_a_stage_trains_its_parts_and_a_broken_run_ends_with_the_same_numbers(
    tmp_path: Path,
) -> None:
    from looksay.training.loop import train
    from looksay.training.stages import Stage

    def stages(data: Any) -> list[Stage]:
        common: dict[str, Any] = {"examples_per_batch": 4, "pack": False, "steps": 5}
        return [
            Stage("pre", {"text": 1e-3, "pairing": 1e-3}, data, objectives=PAIRS, **common),
            Stage("vqa", {"answers": 1e-3}, data, objectives=("vqa",), **common),
        ]

    options: dict[str, Any] = {"device": "cpu", "save_every": 2, "log_every": 5, "quiet": True}
    before = tiny_blip().state_dict()
    whole = train(tiny_blip(), stages(Pictures()), tmp_path / "whole", **options)
    with pytest.raises(RuntimeError, match="broken"):
        train(tiny_blip(), stages(Pictures(13)), tmp_path / "broken", **options)
    broken = train(tiny_blip(), stages(Pictures()), tmp_path / "broken", **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(broken.state_dict()[name], value), name
        assert torch.equal(value, before[name]) or not name.startswith("tower."), name
    middle = checkpoint.load(tmp_path / "whole" / "pre").state_dict()
    for name, value in middle.items():
        changed = not torch.equal(value, before[name])
        assert changed or not name.startswith("text.bert.blocks."), name
        assert not changed or not name.startswith("answers."), name
        assert not name.startswith("text.") or torch.equal(value, whole.state_dict()[name]), name
    assert whole.writer is whole.answers


def test_the_published_size_is_that_of_the_paper() -> None:
    from looksay.training.recipes.blip import outline

    parts = outline("base").parts.values()
    assert round(sum(p.numel() for part in parts for p in part.parameters()) / 1e6) == 252


def test_the_recipe_on_scenes_encodes_what_each_stage_wants() -> None:
    from looksay.training.recipes import blip, capfilt

    model, stages = blip.scenes("tiny")
    assert [s.name for s in stages] == ["tower", "contrast", "pretrain", "caption", "vqa"]
    for stage in [*stages, *capfilt.scenes("tiny")[1]]:
        examples = [stage.data.example(i) for i in range(3)]
        batch = pad([model.encode(e, stage.template, stage.objectives) for e in examples])
        losses = model(batch, stage.objectives)
        assert {name.split("/")[0] for name in losses} == set(stage.objectives)
        assert all(bool(loss.isfinite()) for loss in losses.values())
        assert set(stage.trains) <= set(model.parts)


def test_the_papers_stages_have_its_settings() -> None:
    from looksay.data.dataset import Part
    from looksay.training.recipes import blip

    data = Part(Pictures(), 0, 288_000)
    stages = {s.name: s for s in blip.paper(data, data, data, data, devices=8)}
    first = stages["pretrain"]
    assert first.examples_per_batch * 8 * first.accumulate == 2880
    assert (first.steps, first.warmup * first.steps) == (2000, 1000.0)  # half of so few, not 3,000
    assert first.objectives == ("itc", "itm", "lm")
    assert (first.template, stages["caption"].template) == ("", None)
    assert stages["vqa"].trains == {"tower": 2e-5, "text": 2e-5, "answers": 2e-5}
    assert {s.weight_decay for s in stages.values()} == {0.05}
