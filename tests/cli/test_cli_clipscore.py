"""`looksay score clipscore`: what transformers' own cosines come to, and what is told where files are at fault."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from pictures import jpeg, put
from scores import EXAMPLES, content, refused, row, scored, value, write

pytest.importorskip("torch", reason="no torch: no dual encoders")
pytest.importorskip("transformers", reason="no transformers: no dual encoders")

import numpy as np
import torch

pytestmark = pytest.mark.local

SAID = {"dog": "two red birds", "bird": "the small house", "house": "", "street": "a dog"}
KNOWN = {
    "dog": ["a dog on the street"],
    "bird": ["two birds", "red birds on the house"],
    "house": ["the house"],
    "street": ["the street", "a dog", "one large window"],
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    from backends.test_encoders import clip

    folder = tmp_path_factory.mktemp("clip")
    clip(folder)
    return f"hub:{folder}"


def files(folder: Path, references: bool = True) -> Path:
    write(folder / "candidates.json", SAID)
    if references:
        write(folder / "references.json", KNOWN)
    for number, name in enumerate(SAID):
        put(folder / "images" / f"{name}.jpg", jpeg(number, (60, 48)))
    return folder


def cosines(encoder: str, folder: Path, texts: list[str]) -> Any:
    """Of every picture with every text, as transformers' own model gives them, and of texts with texts."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    from looksay.images import load_rgb

    home = encoder.removeprefix("hub:")
    words = AutoTokenizer.from_pretrained(home)(
        texts, padding="max_length", truncation=True, max_length=40, return_tensors="pt"
    )
    words.pop("token_type_ids", None)
    pictures = [load_rgb(folder / "images" / f"{name}.jpg") for name in SAID]
    pixels = AutoImageProcessor.from_pretrained(home, backend="pil")(pictures, return_tensors="pt")
    with torch.inference_mode():
        found = AutoModel.from_pretrained(home)(**pixels, **words)
    seen, told = found.image_embeds.numpy(), found.text_embeds.numpy()
    return seen @ told.T, told @ told.T


def test_figures_are_those_of_transformers_cosines(clip: str, tmp_path: Path) -> None:
    folder = files(tmp_path)
    captions = ["A photo depicts " + text for text in SAID.values()]
    known = [["A photo depicts " + text for text in KNOWN[name]] for name in SAID]
    flat = [text for some in known for text in some]
    across, among = cosines(clip, folder, captions + flat)
    own = 2.5 * np.clip(np.diag(across[:, : len(SAID)]), 0, None)
    assert (own > 0.01).any()  # weights are random, so some lie apart and count as 0
    ends = np.cumsum([len(some) for some in known]) + len(SAID)
    best = np.array(
        [
            max(0.0, among[n, end - len(some) : end].max())
            for n, (end, some) in enumerate(zip(ends, known, strict=True))
        ]
    )
    both = [2 * a * b / (a + b) if a + b else 0.0 for a, b in zip(own, best, strict=True)]
    (result,) = scored("clipscore", folder, "--encoder", clip)
    assert value(result, "CLIPScore") == pytest.approx(100 * own.mean(), abs=1e-3)
    assert value(result, "RefCLIPScore") == pytest.approx(100 * np.mean(both), abs=1e-3)
    assert value(result, "CLIPScore") != pytest.approx(value(result, "RefCLIPScore"), abs=0.1)
    assert row(result, "CLIPScore")["of"] == 4
    assert (result["unreadable"], result["answers"]) == (1, 4)
    assert clip in result["notes"][-1]


def test_without_references_pictures_are_what_must_be_captioned(clip: str, tmp_path: Path) -> None:
    folder = files(tmp_path / "captions", references=False)
    shutil.move(folder / "images", tmp_path / "photos")
    (result,) = scored("clipscore", folder, tmp_path / "photos", "--encoder", clip)
    assert [one["name"] for one in result["figures"]] == ["CLIPScore", "unreadable"]
    write(folder / "candidates.json", {name: SAID[name] for name in ("dog", "bird")})
    words = ("clipscore", folder, tmp_path / "photos", "--encoder", clip)
    assert "2 of 4 images in" in refused(*words)
    (part,) = scored(*words, "--partial")
    assert part["notes"][0] == "2 of 4 images scored; the others have no answer."


def test_the_example_runs(clip: str) -> None:
    (result,) = scored("clipscore", EXAMPLES / "clipscore", "--encoder", clip)
    assert row(result, "CLIPScore")["of"] == 3


def test_the_published_example_has_the_published_figures(shared_data: Path, tmp_path: Path) -> None:
    """With the paper's own encoder, where it is on this machine."""
    from looksay.backends.encoders import load
    from looksay.errors import BackendError
    from looksay.evaluation.results.clipscore import PUBLISHED

    example = shared_data.parent / "golden" / "clipscore-example"
    need(example.is_dir(), "no golden example")
    try:
        load(PUBLISHED)
    except BackendError:
        pytest.skip("openai/clip-vit-base-patch32 is not in the hub's cache")
    golden = content(example / "good" / "golden.json")["how"]["published_readme"]
    (result,) = scored("clipscore", example / "good", example, "--encoder", PUBLISHED)
    for name in ("CLIPScore", "RefCLIPScore"):
        assert value(result, name) == pytest.approx(100 * golden[name], abs=0.1)


def test_faults_are_told_with_their_place(clip: str, tmp_path: Path) -> None:
    folder = files(tmp_path)
    assert "such as the paper's: --encoder hub:openai/" in refused("clipscore", folder)
    words = ("clipscore", folder, "--encoder", clip)
    (folder / "images" / "bird.jpg").unlink()
    told = refused(*words)
    assert "candidates.json, entry 2 of 4 (id 'bird'): there is no picture named bird.jpg" in told
    put(folder / "images" / "bird.png", jpeg(7)[:300])
    assert "cannot embed" in refused(*words)
    assert "bird.png" in refused(*words)
    put(folder / "bird.jpg", jpeg(7))
    assert "are two pictures for the captions of 'bird'" in refused(*words)
    write(folder / "candidates.json", {**SAID, "cat": "a cat"})
    (folder / "bird.jpg").unlink()
    assert "entry 5 of 5 (id 'cat'): image cat is not in" in refused(*words)
    write(folder / "candidates.json", {**SAID, "dog": ["a dog"]})
    assert "(id 'dog'): expected a caption; found a list" in refused(*words)
    shutil.rmtree(folder / "images")
    assert "There are no pictures. Found:" in refused(*words)
    (folder / "candidates.json").unlink()
    assert "There are no captions. Found:" in refused(*words)
    assert "--encoder is no option of caption; it belongs to clipscore." in refused(
        "caption", EXAMPLES / "caption", "--encoder", clip
    )
    assert json.loads((folder / "references.json").read_text("utf-8")) == KNOWN
