"""Dual encoders that looksay trained: opened from a real checkpoint, they embed, search, score and are measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: no dual encoders")
pytest.importorskip("transformers", reason="no transformers: no dual encoders")

import numpy as np
from cli.scores import scored, value
from pictures import jpeg, picture, put
from typer.testing import CliRunner

from looksay.backends.base import LoadOptions, Matcher
from looksay.backends.encoders import load
from looksay.cli import app
from looksay.errors import BackendError, InputError
from looksay.types import Image

pytestmark = pytest.mark.local
TEXTS = ["a dog", "the small red fox is left of a house", "a cat", "two trees and a cat"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from models.test_clip import tiny_clip

    from looksay.models import checkpoint

    return checkpoint.save(tiny_clip(), tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from models.test_blip_parity import released

    from looksay.models import checkpoint
    from looksay.models.families._blip_layouts import from_transformers

    folder = tmp_path_factory.mktemp("released")
    released(folder, "BlipForImageTextRetrieval")
    return checkpoint.save(from_transformers(folder), tmp_path_factory.mktemp("blip"))


def on_cpu(folder: Path, **more: Any) -> Any:
    return load(f"local:{folder}", LoadOptions(device="cpu", **more))


def test_rows_are_those_of_the_model_whatever_the_batch(clip: Path) -> None:
    from models.test_clip import tiny_clip

    shown = [Image(picture(n, (40 + n, 30))) for n in range(5)]
    model = tiny_clip()
    expected = model.embed_images(shown).numpy(), model.embed_texts(TEXTS).numpy()
    for batch_size in (1, 2, 16):
        encoder = on_cpu(clip, batch_size=batch_size)
        seen, told = encoder.embed_images(iter(shown)), encoder.embed_texts(TEXTS)
        assert seen.dtype == told.dtype == np.float32
        assert seen == pytest.approx(expected[0], abs=2e-6)
        assert told == pytest.approx(expected[1], abs=2e-6)
    assert np.ptp(seen @ told.T) > 1e-2
    assert len(encoder.embed_images([])) == 0
    assert not isinstance(encoder, Matcher)


def test_the_head_looks_at_pictures_and_texts_together(blip: Path) -> None:
    encoder = on_cpu(blip, batch_size=3)
    assert isinstance(encoder, Matcher)
    shown = [Image(picture(n)) for n in range(2)]
    expected = encoder._model.match([shown[0]] * len(TEXTS), TEXTS).numpy()
    one = encoder.match(shown[:1], TEXTS)
    assert (one.shape, one.dtype) == ((len(TEXTS),), np.float32)
    assert one == pytest.approx(expected, abs=1e-5)
    assert np.ptp(one) > 1e-3
    both = (one + encoder.match(shown[1:], TEXTS)) / 2
    assert encoder.match(shown, TEXTS) == pytest.approx(both, abs=1e-5)  # a video: its frames' mean


def test_the_fingerprint_is_of_weights_and_precision_not_of_the_folder(
    clip: Path, blip: Path, tmp_path: Path
) -> None:
    plain = on_cpu(clip).fingerprint
    shutil.copytree(clip, tmp_path / "moved")
    assert plain == on_cpu(tmp_path / "moved").fingerprint
    assert plain.endswith("-float32")
    assert plain != on_cpu(clip, dtype="bfloat16").fingerprint
    assert plain != on_cpu(blip).fingerprint


def test_what_does_not_embed_is_refused(clip: Path, tmp_path: Path) -> None:
    from models.tiny import tiny_llava

    from looksay.backends import load as load_backend
    from looksay.models import checkpoint

    checkpoint.save(tiny_llava(), tmp_path / "llava")
    with pytest.raises(InputError, match="is a llava, which does not embed both"):
        on_cpu(tmp_path / "llava")
    with pytest.raises(InputError, match="is no folder"):
        on_cpu(tmp_path / "gone")
    with pytest.raises(InputError, match=r"holds no looksay\.json"):
        on_cpu(put(tmp_path / "empty" / "x", "").parent)
    with pytest.raises(InputError, match="quantize is for models that write"):
        on_cpu(clip, quantize="int8")
    with pytest.raises(
        BackendError, match=r"is a clip, which answers no questions.*search.*local:"
    ):
        load_backend(f"local:{clip}", LoadOptions(device="cpu"))


def test_it_searches_again_ranks_and_scores(clip: Path, blip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for n in range(6):
        put(folder / f"{n}.jpg", jpeg(n, (60, 40)))
    encoder = on_cpu(clip)
    cosines = encoder.embed_images(Image(folder / f"{n}.jpg") for n in range(6))
    order = np.argsort(-(cosines @ encoder.embed_texts(["a dog"])[0]))
    words = ["search", str(folder), "a dog", "--json", "--encoder"]
    done = CliRunner().invoke(app, [*words, f"local:{clip}"])
    assert done.exit_code == 0, done.output
    assert [hit["photo"] for hit in json.loads(done.stdout)["hits"]] == [f"{n}.jpg" for n in order]
    done = CliRunner().invoke(app, [*words, f"local:{blip}", "--rerank", "4"])
    assert done.exit_code == 0, done.output
    temperature = on_cpu(blip).temperature  # type: ignore[attr-defined]
    assert temperature == pytest.approx(0.07)
    hits = json.loads(done.stdout)["hits"][:4]
    both = [hit["match"] + hit["score"] / temperature for hit in hits]
    assert both == sorted(both, reverse=True)
    assert len({hit["match"] for hit in hits}) > 1
    put(folder / "candidates.json", json.dumps({str(n): TEXTS[n % 4] for n in range(6)}))
    (result,) = scored("clipscore", folder, "--encoder", f"local:{clip}")
    told = encoder.embed_texts([f"A photo depicts {TEXTS[n % 4]}" for n in range(6)])
    expected = 250 * np.clip((cosines * told).sum(1), 0, None).mean()
    assert value(result, "CLIPScore") == pytest.approx(expected, abs=1e-3)


def test_it_is_measured_on_retrieval(
    blip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from evaluation.benchmarks.test_retrieval_benchmarks import a_flickr30k

    a_flickr30k(tmp_path / "benchmarks" / "flickr30k")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["evaluate", f"local:{blip}", "--on", "flickr30k", "--rerank", "--json"]
    )
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["results"]
    names = {figure["name"] for figure in found["figures"]}
    assert {"TR R@1", "IR R@1"} <= names
    assert any("looked at again" in name for name in names)
