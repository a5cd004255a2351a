"""LoRA and QLoRA: only the adapter and the connector learn, and a checkpoint holds both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from conftest import need  # noqa: E402
from models.tiny import tiny_llava  # noqa: E402
from training.trained import Broken, Pictures, breaking, stages  # noqa: E402

from looksay.errors import InputError, UnknownName  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.adapters import merge  # noqa: E402
from looksay.models.batching import pad  # noqa: E402
from looksay.training import adapters  # noqa: E402
from looksay.training.loop import train  # noqa: E402
from looksay.training.stages import Adapter, Stage  # noqa: E402

pytestmark = pytest.mark.local

SMALL = Adapter(rank=4, alpha=8)


def outputs(model: Any) -> Any:
    data = Pictures()
    batch = pad([model.encode(data.example(i), None, ("lm",)) for i in range(4)])
    with torch.no_grad():
        return model.eval().hidden(batch)


def tuned(out: Path, adapter: Adapter, model: Any) -> Any:
    return train(model, stages(adapter=adapter), out, device="cpu", quiet=True, save_every=3)


def base(name: str) -> str:
    return name.replace(".base_layer", "")


def test_only_adapter_and_connector_change_and_reload_gives_the_same(tmp_path: Path) -> None:
    model = tiny_llava()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    tuned(tmp_path, SMALL, model)
    after = model.state_dict()
    changed = {
        k for k, v in after.items() if base(k) in before and not torch.equal(v, before[base(k)])
    }
    assert {k.split(".")[0] for k in changed} == {"connector"}
    adapted = [k for k in after if "lora_B" in k]
    assert adapted
    assert all(after[k].any() for k in adapted)
    assert all(k.startswith("language.") for k in adapted)
    again = checkpoint.load(tmp_path)
    assert torch.allclose(outputs(again), outputs(model), atol=1e-5)


def test_the_output_layer_gets_no_adapter() -> None:
    model = tiny_llava()
    names = adapters.attach(model, SMALL)
    assert len(names) == 2 * 7
    assert not any("lm_head" in name for name in names)


def test_merging_keeps_the_outputs_and_leaves_plain_layers(tmp_path: Path) -> None:
    model = tiny_llava()
    names = sorted(model.state_dict())
    tuned(tmp_path / "lora", SMALL, model)
    wanted = outputs(model)
    assert merge(model)
    assert sorted(model.state_dict()) == names
    assert torch.allclose(outputs(model), wanted, atol=1e-5)
    checkpoint.save(model, tmp_path / "merged")
    assert torch.allclose(outputs(checkpoint.load(tmp_path / "merged")), wanted, atol=1e-5)


def test_a_stage_without_the_adapter_goes_on_from_the_merged_weights(tmp_path: Path) -> None:
    aligned, lora = stages(adapter=SMALL)
    last = Stage("last", {"connector": 1e-3}, Pictures(), 8, max_length=128, tokens_per_batch=256)
    model = tiny_llava()
    start = model.language.head[0].clone()
    train(model, [aligned, lora, last], tmp_path, device="cpu", quiet=True)
    assert not any("lora" in name for name in model.state_dict())
    after_lora = checkpoint.load(tmp_path / "tune")
    merge(after_lora)
    for name, value in after_lora.language.state_dict().items():
        assert torch.allclose(value, model.language.state_dict()[name], atol=1e-5), name
    assert torch.equal(model.language.head[0], start)


def test_unknown_parts_and_layers_are_named() -> None:
    with pytest.raises(UnknownName, match="language"):
        adapters.attach(tiny_llava(), Adapter(part="speech"))
    with pytest.raises(UnknownName, match="q_proj"):
        adapters.attach(tiny_llava(), Adapter(targets=("q_porj",)))


def wide_llava() -> Any:
    """With a language model of width 64: a row of 4-bit weights is at least one block."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from looksay.models.connectors import MLP
    from looksay.models.families.llava import Llava
    from looksay.models.language import Language

    narrow = tiny_llava()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(narrow.tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    language = Language(LlamaForCausalLM(config))
    return Llava(narrow.tower, MLP(narrow.tower.width, 64), language, narrow.tokenizer)


@pytest.mark.slow
def test_qlora_holds_the_weights_in_four_bits_and_learns(tmp_path: Path) -> None:
    try:
        import bitsandbytes
    except ImportError:
        need(False, "bitsandbytes is not installed")
    model = wide_llava()
    wide = outputs(model)
    tuned(tmp_path, Adapter(rank=4, alpha=8, quantize="nf4"), model)
    layers = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 2 * 7
    assert not torch.allclose(outputs(model), wide)
    again = checkpoint.load(tmp_path)
    assert torch.allclose(outputs(again), outputs(model), atol=0.05, rtol=0.05)
    with pytest.raises(InputError, match="unquantised"):
        merge(model)


@pytest.mark.slow
@pytest.mark.parametrize("quantize", [None, "nf4"])
def test_a_run_with_an_adapter_that_breaks_goes_on_exactly(
    tmp_path: Path, quantize: str | None
) -> None:
    if quantize:
        try:
            import bitsandbytes  # noqa: F401
        except ImportError:
            need(False, "bitsandbytes is not installed")
    plan = stages(adapter=Adapter(rank=4, alpha=8, dropout=0.0, quantize=quantize))
    options: dict[str, Any] = {"device": "cpu", "quiet": True, "save_every": 3, "log_every": 4}
    train(wide_llava(), plan, tmp_path / "whole", **options)
    faulty = [plan[0], replace(plan[1], data=breaking(plan[1].data, 60))]
    with pytest.raises(Broken):
        train(wide_llava(), faulty, tmp_path / "broken", **options)
    train(wide_llava(), plan, tmp_path / "broken", **options)

    def curve(name: str) -> list[Any]:
        lines = (tmp_path / name / "log.jsonl").read_text("utf-8").splitlines()
        return [r["losses"] for r in map(json.loads, lines) if "losses" in r]

    assert curve("broken") == curve("whole")


@pytest.mark.parametrize("again", [None, SMALL])
def test_training_on_from_a_model_with_an_adapter_folds_it_in_first(
    tmp_path: Path, again: Adapter | None
) -> None:
    tuned(tmp_path / "lora", SMALL, tiny_llava())
    model = checkpoint.load(tmp_path / "lora")
    wanted = outputs(model)
    still = Stage("still", {"language": 0.0}, Pictures(), 1, max_length=128, adapter=again)
    train(model, [still], tmp_path / "on", device="cpu", quiet=True)
    assert any("lora" in name for name in model.state_dict()) == (again is not None)
    assert torch.allclose(outputs(model), wanted, atol=1e-5)
    learning = Stage("more", {"language": 1e-2}, Pictures(), 3, max_length=128, adapter=again)
    train(
        checkpoint.load(tmp_path / "lora"), [learning], tmp_path / "more", device="cpu", quiet=True
    )
    assert not torch.allclose(outputs(checkpoint.load(tmp_path / "more")), wanted, atol=1e-3)


def test_a_quantised_adapter_is_not_followed_by_another_stage(tmp_path: Path) -> None:
    plan = stages(adapter=replace(SMALL, quantize="nf4"))
    with pytest.raises(InputError, match=r"'tune' trains an adapter over 4-bit.*'after'"):
        train(tiny_llava(), [*plan, replace(plan[0], name="after")], tmp_path, quiet=True)
    assert not list(tmp_path.iterdir())


def test_an_adapter_over_a_model_from_nothing_is_refused() -> None:
    from looksay.training.recipes import _published, llava

    _, plan = llava.scenes("tiny")
    with pytest.raises(
        InputError, match=r"'language' trains a language model from nothing.*--from"
    ):
        _published.lora(plan)
    with pytest.raises(InputError, match=r"'all' .* from nothing"):
        _published.lora(_published.own(Pictures(), fresh=True))
    *before, tuned = _published.lora(plan[2:], quantize=True)
    assert [(stage.name, stage.adapter) for stage in before] == [("ground", None), ("align", None)]
    assert tuned.adapter
    assert tuned.adapter.quantize == "nf4"
