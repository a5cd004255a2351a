"""What every family keeps, by name: a new file in looksay/models/families is held to it without a word here."""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from training.families import made, names  # noqa: E402

from looksay.models import checkpoint  # noqa: E402
from looksay.models.batching import pad  # noqa: E402
from looksay.models.fingerprint import is_adapter, plain  # noqa: E402
from looksay.training.loop import train  # noqa: E402
from looksay.types import Options  # noqa: E402

pytestmark = [pytest.mark.local, pytest.mark.slow]

TESTS = Path(__file__).parent.parent
FEW = Options(max_tokens=12)


def run(model: Any, stages: list[Any], out: Path, **how: Any) -> Any:
    return train(model, stages, out, device="cpu", precision="fp32", quiet=True, **how)


@pytest.fixture(scope="module", params=names())
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(name, the model before, the model after two steps of each of its stages, its folder)."""
    name = request.param
    out = tmp_path_factory.mktemp(name)
    model, stages = made(name)
    before = {key: value.clone() for key, value in weights(model).items()}
    return name, before, run(model, stages, out), out


def examples(name: str, count: int) -> list[Any]:
    """Of the family's last stage."""
    _, stages = made(name)
    return [stages[-1].data.example(index) for index in range(count)]


def weights(model: Any) -> dict[str, Any]:
    """By their names without an adapter's in front."""
    return {plain(key): value for key, value in model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any], part: str) -> bool:
    """An adapter that is new is a change."""
    keys = [key for key in other if key.startswith(f"{part}.")]
    assert keys
    return all(key in one and torch.equal(one[key], other[key]) for key in keys)


def test_a_stage_trains_what_it_names_and_nothing_else(trained: Any) -> None:
    name, last, _, out = trained
    for stage in made(name)[1]:
        model = checkpoint.load(out / stage.name)
        after = weights(model)
        learned = {
            part
            for part, module in model.parts.items()
            if any(True for _ in module.parameters()) and not same(last, after, part)
        }
        assert learned <= set(stage.trains), stage.name
        # Gates at zero pass no gradient to what stands behind them in the first steps.
        assert learned, stage.name
        last = after


def test_a_new_tower_is_trained_first(trained: Any, tmp_path: Path) -> None:
    model, stages = made(trained[0], steps=1, tower=True)
    if not stages:
        pytest.skip("the recipe trains its eyes together with the rest")
    run(model, stages, tmp_path)
    losses = json.loads((tmp_path / "log.jsonl").read_text("utf-8").splitlines()[-1])["losses"]
    assert all(name.startswith("recognise/") for name in losses)


def test_a_checkpoint_is_the_model_to_the_last_bit(trained: Any, tmp_path: Path) -> None:
    _, _, model, out = trained
    again = checkpoint.load(out)
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    content = checkpoint.read(checkpoint.save(again, tmp_path / "again"))
    assert content["fingerprint"] == checkpoint.read(out)["fingerprint"]
    assert json.loads(json.dumps(content["arguments"])) == content["arguments"]


def test_a_run_that_broke_goes_on_to_the_same_weights(trained: Any, tmp_path: Path) -> None:
    name, _, whole, _ = trained
    model, stages = made(name)
    last = stages[-1]

    breaking, real = copy.copy(last.data), last.data.example

    def example(index: int) -> Any:
        if index >= last.examples_per_batch:
            raise KeyboardInterrupt
        return real(index)

    breaking.example = example
    broken = [*stages[:-1], replace(last, data=breaking)]
    with pytest.raises(KeyboardInterrupt):
        run(model, broken, tmp_path / "run", save_every=1)
    again, stages = made(name)
    found = run(again, stages, tmp_path / "run", save_every=1)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, found.state_dict()[key]), key


def test_many_at_once_are_as_each_alone(trained: Any) -> None:
    name, _, model, _ = trained
    some = examples(name, 3)
    tried = 0
    if hasattr(model, "embed_images") and _embeds(model):
        images = [example.conversation.images[0] for example in some]
        texts = ["a dog", "two small cats beside a car and a sign", "three trees"]
        for embed, items in ((model.embed_images, images), (model.embed_texts, texts)):
            together = embed(items)
            alone = torch.cat([embed([item]) for item in items])
            assert torch.allclose(together, alone, atol=2e-6)
            assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)
        tried += 1
    if hasattr(model, "match") and _embeds(model):
        together = model.match(images, texts)
        alone = torch.cat([model.match([i], [t]) for i, t in zip(images, texts, strict=True)])
        assert torch.allclose(together, alone, atol=2e-5)
    if hasattr(model, "answer"):
        asked = [replace(e.conversation, messages=e.conversation.messages[:1]) for e in some]
        prompts = [model.prepare(one) for one in asked]
        together = [one.text for one in model.answer(prompts, FEW, 3)]
        assert together == [model.answer([one], FEW, 1)[0].text for one in prompts]
        assert together[0] == "".join(model.stream(asked[0], FEW))
        tried += 1
    assert tried


def _embeds(model: Any) -> bool:
    """Whether it has learned contrast: a captioner of the same family embeds nothing."""
    try:
        model.embed_texts(["a dog"])
    except Exception:
        return False
    return True


def test_padding_changes_no_loss(trained: Any) -> None:
    name, _, model, _ = trained
    _, stages = made(name)
    stage = stages[-1]
    rows = sorted(
        (model.encode(e, objectives=stage.objectives) for e in examples(name, 8)),
        key=lambda row: len(row.ids),
    )
    first, second, longest = rows[0], rows[1], rows[-1]
    assert len(longest.ids) > len(second.ids), "the examples are of one length"
    images = len(first.pixels) + len(second.pixels)
    model.eval()
    with torch.no_grad():
        one = model(pad([first, second]), objectives=stage.objectives)
        wide = pad([first, second, longest])
        cut = replace(
            wide,
            **{
                field: getattr(wide, field)[:2]
                for field in ("ids_BT", "labels_BT", "positions_BT", "segments_BT")
            },
            pixels_ICHW=wide.pixels_ICHW[:images] if images else None,
            targets={key: value[:images] for key, value in wide.targets.items()},
        )
        two = model(cut, objectives=stage.objectives)
    for key, value in one.items():
        assert torch.allclose(value, two[key], atol=2e-6), key


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ranks")
    program = str(TESTS / "training" / "families.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-addr", "127.0.0.1", "--master-port", str(port)),
    ]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    subprocess.run(
        [*torchrun, program, str(out), "2"],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=900,
    )
    return out


def test_two_processes_learn_as_one_does(trained: Any, two_processes: Path) -> None:
    name, before, whole, out = trained
    one, two = losses(out), losses(two_processes / name)
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert two[key] == pytest.approx(value, rel=2e-4, abs=2e-5), key
    found, own = weights(checkpoint.load(two_processes / name)), weights(whole)
    # The second matrix of an adapter begins at zero.
    before = {k: torch.zeros_like(v) for k, v in own.items() if is_adapter(k)} | before
    for part in whole.parts:
        keys = [k for k, v in before.items() if k.startswith(f"{part}.") and v.is_floating_point()]
        keys = [k for k in keys if "lora_A" not in k]
        moved = sum(float((own[k] - before[k]).square().sum()) for k in keys)
        apart = sum(float((own[k] - found[k]).square().sum()) for k in keys)
        assert apart <= 1e-3 * moved, (part, apart, moved)


def losses(out: Path) -> dict[tuple[str, str], float]:
    """By stage and name, as the log has them."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    return {
        (line["stage"], name): value
        for line in lines
        for name, value in line.get("losses", {}).items()
    }
