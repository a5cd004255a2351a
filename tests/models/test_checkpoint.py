"""Checkpoints: whole, self-contained, and refused where they do not belong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from conftest import need  # noqa: E402
from models.tiny import enliven, tiny_llava  # noqa: E402

from looksay.errors import InputError, UnknownName  # noqa: E402
from looksay.models import checkpoint  # noqa: E402
from looksay.models.adapters import merge  # noqa: E402
from looksay.models.batching import pad  # noqa: E402
from looksay.models.export import export  # noqa: E402
from looksay.models.fingerprint import fingerprint  # noqa: E402
from looksay.models.language import Language  # noqa: E402
from looksay.types import Conversation, Example, Message, Options  # noqa: E402

pytestmark = pytest.mark.local
ASKED = Conversation((Message("user", ("how many ?",)),))
EXAMPLE = Example("1", Conversation((*ASKED.messages, Message("assistant", ("four",)))))


def same(a: Any, b: Any) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("connector", ["linear", "mlp", "qformer", "resampler"])
@pytest.mark.parametrize("language", ["llama", "qwen2", "opt"])
def test_what_is_saved_is_loaded_bit_by_bit(tmp_path: Path, language: str, connector: str) -> None:
    model = tiny_llava("siglip", language, connector, template="v0")
    checkpoint.save(model, tmp_path / "a", steps=500, title="tiny")
    shutil.move(tmp_path / "a", tmp_path / "elsewhere")
    loaded = checkpoint.load(tmp_path / "elsewhere")
    assert same(model, loaded)
    assert loaded.template == "v0"
    assert not loaded.training
    assert checkpoint.read(tmp_path / "elsewhere")["card"] == {"steps": 500, "title": "tiny"}
    options = Options(max_tokens=12)
    assert loaded.generate([ASKED], options) == model.generate([ASKED], options)
    head = loaded.language.head[0]
    assert (head is loaded.language.model.get_input_embeddings().weight) == (language != "llama")


def test_parts_take_other_options_when_loaded(tmp_path: Path) -> None:
    checkpoint.save(tiny_llava(), tmp_path)
    assert checkpoint.load(tmp_path).language.attention == "sdpa"
    eager = checkpoint.load(tmp_path, language={"attention": "eager"})
    assert eager.language.attention == "eager"
    half = checkpoint.load(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


def test_half_precision_takes_half_the_room_and_keeps_the_fingerprints(tmp_path: Path) -> None:
    model = tiny_llava()
    checkpoint.save(model, tmp_path / "full")
    checkpoint.save(model, tmp_path / "half", dtype=torch.bfloat16)
    full, half = (checkpoint.read(tmp_path / name) for name in ("full", "half"))
    sizes = [
        (tmp_path / n / c["weights"]).stat().st_size for n, c in (("full", full), ("half", half))
    ]
    assert sizes[1] < 0.6 * sizes[0]
    assert full["fingerprint"] != half["fingerprint"]
    loaded = checkpoint.load(tmp_path / "half")
    for name, part in loaded.parts.items():
        assert fingerprint(part) == fingerprint(model.parts[name])
        assert full["parts"][name]["fingerprint"] == half["parts"][name]["fingerprint"]


def test_saving_again_leaves_one_checkpoint_and_no_remains(tmp_path: Path) -> None:
    checkpoint.save(tiny_llava(seed=1), tmp_path)
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "model-half.safetensors").write_bytes(b"half a file")
    second = tiny_llava(seed=2)
    checkpoint.save(second, tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert not (tmp_path / ".partial").exists()
    assert same(checkpoint.load(tmp_path), second)


def test_a_save_that_dies_leaves_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny_llava(seed=1)
    checkpoint.save(first, tmp_path)
    moved: list[str] = []
    move = Path.replace

    def dies(self: Path, target: Path) -> Path:
        if self.name == checkpoint.FILE:
            raise OSError(28, "No space left on device")
        moved.append(self.name)
        return move(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(InputError, match="No space left"):
        checkpoint.save(tiny_llava(seed=2), tmp_path)
    monkeypatch.undo()
    assert moved
    assert same(checkpoint.load(tmp_path), first)


def test_a_connector_of_another_language_model_is_refused_with_both_fingerprints(
    tmp_path: Path,
) -> None:
    trained = tiny_llava(seed=1)
    checkpoint.save(trained, tmp_path)
    other = tiny_llava(seed=2)
    with pytest.raises(checkpoint.WrongPart) as told:
        checkpoint.load_connector(other, tmp_path)
    assert trained.language.fingerprint in str(told.value)
    assert other.language.fingerprint in str(told.value)
    assert not same(other.connector, trained.connector)


def test_a_connector_of_another_tower_or_kind_is_refused(tmp_path: Path) -> None:
    trained = tiny_llava(seed=1)
    checkpoint.save(trained, tmp_path)
    fresh = tiny_llava(seed=1, connector="linear")
    fresh.tower, fresh.language = trained.tower, trained.language
    with pytest.raises(checkpoint.WrongPart, match=r"connectors:MLP with.*connectors:Linear"):
        checkpoint.load_connector(fresh, tmp_path)
    fresh = tiny_llava(seed=1)
    enliven(fresh.tower, 9)
    with pytest.raises(checkpoint.WrongPart, match="a tower part"):
        checkpoint.load_connector(fresh, tmp_path)


def test_a_connector_of_the_same_parts_is_taken(tmp_path: Path) -> None:
    trained = tiny_llava(seed=1)
    checkpoint.save(trained, tmp_path)
    fresh = tiny_llava(seed=1)
    enliven(fresh.connector, 5)
    assert not same(fresh.connector, trained.connector)
    checkpoint.load_connector(fresh, tmp_path)
    assert same(fresh.connector, trained.connector)


def adapted(model: Any, seed: int = 4) -> Any:
    peft = pytest.importorskip("peft", reason="needs the extra train")
    names = [
        name
        for name, layer in model.language.named_modules()
        if isinstance(layer, torch.nn.Linear) and "lm_head" not in name
    ]
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=names, bias="none")
    peft.inject_adapter_in_model(config, model.language)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.2)
    return model.eval()


def loss(model: Any) -> Any:
    with torch.no_grad():
        return model(pad([model.encode(EXAMPLE)]))["lm"]


def test_an_adapter_is_saved_with_its_base_and_the_connector(tmp_path: Path) -> None:
    plain = loss(tiny_llava())
    model = adapted(tiny_llava())
    assert not torch.isclose(loss(model), plain, atol=1e-3)
    checkpoint.save(model, tmp_path)
    loaded = checkpoint.load(tmp_path)
    assert same(model, loaded)
    torch.testing.assert_close(loss(loaded), loss(model))
    assert loaded.language.fingerprint == tiny_llava().language.fingerprint
    merge(loaded)
    assert not any("lora_" in name for name, _ in loaded.named_parameters())
    torch.testing.assert_close(loss(loaded), loss(model), atol=1e-5, rtol=1e-5)


def test_an_adapter_over_a_released_model_names_it_instead_of_its_weights(tmp_path: Path) -> None:
    source = tiny_llava()
    source.language.model.save_pretrained(tmp_path / "base")
    model = tiny_llava()
    model.language = Language.from_folder(tmp_path / "base")
    checkpoint.save(model, tmp_path / "without")
    adapted(model)
    checkpoint.save(model, tmp_path / "with")
    loaded = checkpoint.load(tmp_path / "with")
    torch.testing.assert_close(loss(loaded), loss(model))
    assert same(loaded.connector, model.connector)
    content = checkpoint.read(tmp_path / "with")
    assert content["parts"]["language"]["outside"]
    assert content["parts"]["language"]["arguments"]["base"] == str(tmp_path / "base")
    size = (tmp_path / "with" / content["weights"]).stat().st_size
    words = sum(p.numel() for n, p in source.language.named_parameters()) * 4
    whole = checkpoint.read(tmp_path / "without")["weights"]
    assert size < (tmp_path / "without" / whole).stat().st_size - words / 2

    enliven(source.language, 8).model.save_pretrained(tmp_path / "base")
    with pytest.raises(checkpoint.WrongPart, match="is an adapter over a model with fingerprint"):
        checkpoint.load(tmp_path / "with")
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(InputError, match="cannot be loaded"):
        checkpoint.load(tmp_path / "with")


def test_a_base_that_was_trained_itself_is_saved_whole(tmp_path: Path) -> None:
    model = tiny_llava()
    model.language.model.save_pretrained(tmp_path / "base")
    model.language = Language.from_folder(tmp_path / "base")
    enliven(model.language, 3)
    adapted(model)
    checkpoint.save(model, tmp_path / "out")
    shutil.rmtree(tmp_path / "base")
    torch.testing.assert_close(loss(checkpoint.load(tmp_path / "out")), loss(model))


def test_an_exported_adapter_is_folded_in(tmp_path: Path) -> None:
    from transformers import LlavaForConditionalGeneration

    model = adapted(tiny_llava())
    checkpoint.save(model, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "official")
    hf = LlavaForConditionalGeneration.from_pretrained(tmp_path / "official").eval()
    batch = pad([model.encode(EXAMPLE)])
    with torch.no_grad():
        found = hf(input_ids=batch.ids_BT, labels=batch.labels_BT).loss
    torch.testing.assert_close(found, loss(model), atol=1e-5, rtol=1e-5)


def test_four_bit_weights_are_saved_as_what_they_stand_for(tmp_path: Path) -> None:
    try:
        import bitsandbytes as bnb
    except ImportError:
        need(False, "bitsandbytes (extra quantized)")
    model = tiny_llava()
    digest = model.language.fingerprint
    model.language.digest = digest
    for name, layer in list(model.language.named_modules()):
        if isinstance(layer, torch.nn.Linear) and "lm_head" not in name:
            narrow = bnb.nn.Linear4bit(
                layer.in_features, layer.out_features, bias=layer.bias is not None, quant_type="nf4"
            )
            narrow.weight = bnb.nn.Params4bit(
                layer.weight.data, requires_grad=False, quant_type="nf4", blocksize=64
            )
            parent, _, leaf = name.rpartition(".")
            setattr(model.language.get_submodule(parent), leaf, narrow.to("cpu"))
    expected = loss(model)
    checkpoint.save(model, tmp_path)
    loaded = checkpoint.load(tmp_path)
    torch.testing.assert_close(loss(loaded), expected, atol=2e-2, rtol=2e-2)
    assert loaded.language.fingerprint == digest


def test_defects_are_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no looksay\.json"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="hub:FOLDER"):
        checkpoint.load(tmp_path)
    checkpoint.save(tiny_llava(), tmp_path)
    path = tmp_path / checkpoint.FILE
    content = json.loads(path.read_text())

    def rewritten(**changes: Any) -> None:
        path.write_text(json.dumps(content | changes))

    rewritten(format=2)
    with pytest.raises(InputError, match="has format 2; this program reads 1"):
        checkpoint.load(tmp_path)
    rewritten(family="lava")
    with pytest.raises(UnknownName, match=r"no model family 'lava'. Did you mean 'llava'"):
        checkpoint.load(tmp_path)
    foreign = json.loads(json.dumps(content["parts"]))
    foreign["tower"]["class"] = "os:system"
    rewritten(parts=foreign)
    with pytest.raises(InputError, match="only parts of looksay"):
        checkpoint.load(tmp_path)
    path.write_text("{half")
    with pytest.raises(InputError, match="is damaged"):
        checkpoint.load(tmp_path)
    rewritten()
    tokenizer = (tmp_path / "tokenizer.json").rename(tmp_path / "elsewhere.json")
    with pytest.raises(InputError, match="its tokenizer is not there"):
        checkpoint.load(tmp_path)
    tokenizer.rename(tmp_path / "tokenizer.json")
    weights = tmp_path / content["weights"]
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.load(tmp_path)


def test_rotary_frequencies_stay_exact_in_half_precision(tmp_path: Path) -> None:
    checkpoint.save(tiny_llava(), tmp_path)
    loaded = checkpoint.load(tmp_path, dtype=torch.bfloat16)
    computed = {name: b for name, b in loaded.named_buffers() if name.endswith("inv_freq")}
    assert computed
    assert all(value.dtype is torch.float32 for value in computed.values())
    assert loaded.language.model.dtype is torch.bfloat16
