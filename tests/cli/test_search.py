"""`looksay search`: the nearest photos by exact cosines, embedded once; duplicates, CLIPScore, pages, faults."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pictures import encoded, jpeg, picture, put

pytest.importorskip("torch", reason="no torch: no dual encoders")
pytest.importorskip("transformers", reason="no transformers: no dual encoders")

import numpy as np
import torch
from typer.testing import CliRunner

import looksay
from looksay import searching
from looksay.backends import encoders
from looksay.cli import app
from looksay.errors import LooksayError
from looksay.images import load_rgb
from looksay.types import Image

pytestmark = pytest.mark.local
WORDS = "two red birds"
EVIL = '<script>document.title="owned"</script>" onerror="document.title=1'


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from backends.test_encoders import blip, clip

    torch.manual_seed(0)  # some weights are left as transformers draws them
    home = tmp_path_factory.mktemp("models")
    for name, build in (("clip", clip), ("blip", blip)):
        build(home / name)
    return {name: f"hub:{home / name}" for name in ("clip", "blip")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos in two folders, one of them twice, one recompressed, and a file that is none."""
    folder = tmp_path_factory.mktemp("library")
    for n in range(12):
        put(folder / ("a" if n % 2 else "b") / f"{n:02d}.jpg", jpeg(n, (90, 60)))
    put(folder / "a" / "copy.jpg", jpeg(0, (90, 60)))
    put(folder / "a" / "again.png", encoded(picture(3, (90, 60)), "PNG"))
    return folder


@pytest.fixture
def library(photos: Path, tmp_path: Path) -> Path:
    shutil.copytree(photos, tmp_path / "photos")
    return tmp_path / "photos"


def searched(*words: object, code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["search", *map(str, words), "--json"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def refused(*words: object) -> str:
    with pytest.raises(LooksayError) as found:
        searched(*words)
    return str(found.value)


def cosines(model: str, folder: Path, words: str) -> dict[str, float]:
    """Of every photo with the words, straight from the encoder."""
    encoder = encoders.load(model)
    paths = sorted(folder.rglob("*.jpg")) + sorted(folder.rglob("*.png"))
    seen = encoder.embed_images(Image(load_rgb(path)) for path in paths)
    found = seen @ encoder.embed_texts([words])[0]
    return dict(
        zip([p.relative_to(folder).as_posix() for p in paths], map(float, found), strict=True)
    )


@pytest.mark.parametrize("mapped", [False, True])
def test_words_find_the_nearest_photos_and_nothing_is_embedded_twice(
    mapped: bool, models: dict[str, str], library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "CHUNK", 5)
    if mapped:
        monkeypatch.setattr(searching, "MAPPED", 1)
    expected = cosines(models["clip"], library, WORDS)
    del expected["a/copy.jpg"]  # the same photo as b/00.jpg
    order = sorted(expected, key=lambda name: -expected[name])
    found = searched(library, WORDS, "--encoder", models["clip"], "--top", 5)
    first = [hit["photo"].replace("a/copy.jpg", "b/00.jpg") for hit in found["hits"]]
    assert first == order[:5]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx(
        [expected[name] for name in first], abs=1e-5
    )
    assert (found["embedded"], found["photos"], found["problems"]) == (13, 13, [])
    assert bool(list(library.glob("looksay.db-vectors-*"))) == mapped
    put(library / "new.jpg", jpeg(50, (90, 60)))
    with looksay.Library(library) as opened:
        opened.scan()
    again = searched(library, WORDS, "--top", 99)  # the encoder is remembered
    assert (again["embedded"], again["encoder"], len(again["hits"])) == (1, models["clip"], 14)
    inside = searched(library / "b", WORDS, "--top", 3)
    assert [hit["photo"] for hit in inside["hits"]] == [n for n in order if n[0] == "b"][:3]
    other = searched(library, WORDS, "--encoder", models["blip"])
    assert other["embedded"] == 14
    assert other["fingerprint"] != found["fingerprint"]


def test_a_picture_finds_those_like_it_but_not_itself(
    models: dict[str, str], library: Path
) -> None:
    words = ("--encoder", models["clip"], "--top", 3)
    found = searched(library, "--like", library / "a" / "again.png", *words)
    assert found["hits"][0]["photo"] == "a/03.jpg"
    assert found["hits"][0]["score"] > 0.99
    assert "a/again.png" not in [hit["photo"] for hit in found["hits"]]
    found = searched(library, "--like", library / "b" / "00.jpg", "--top", 99)
    shown = {path for hit in found["hits"] for path in hit["paths"]}
    assert len(shown) == 12
    assert not shown & {"b/00.jpg", "a/copy.jpg"}  # of the same bytes
    elsewhere = put(
        library.parent / "elsewhere.png", (library / "a" / "again.png").read_bytes() + b"x"
    )
    found = searched(library, "--like", elsewhere, *words)
    assert found["hits"][0]["photo"] == "a/again.png"
    assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_the_first_are_looked_at_again_by_a_model_that_can(
    models: dict[str, str], library: Path
) -> None:
    encoder: Any = encoders.load(models["blip"])
    plain = searched(library, WORDS, "--encoder", models["blip"], "--top", 9)["hits"]
    found = searched(library, WORDS, "--encoder", models["blip"], "--top", 9, "--rerank", 6)["hits"]
    assert {hit["photo"] for hit in found[:6]} == {hit["photo"] for hit in plain[:6]}
    assert [hit["photo"] for hit in found[6:]] == [hit["photo"] for hit in plain[6:]]
    logits = [hit["match"] for hit in found[:6]]
    assert logits == sorted(logits, reverse=True)
    assert [hit["match"] for hit in found[6:]] == [None] * 3
    assert [hit["photo"] for hit in found] != [hit["photo"] for hit in plain]
    told = encoder.match([Image(load_rgb(library / found[0]["photo"]))], [WORDS])
    assert logits[0] == pytest.approx(float(told[0]), abs=1e-5)
    (library / found[0]["photo"]).unlink()
    gone = searched(library, WORDS, "--encoder", models["blip"], "--top", 9, "--rerank", 6)["hits"]
    assert [hit["photo"] for hit in gone[:5]] == [hit["photo"] for hit in found[1:6]]
    assert (gone[5]["photo"], gone[5]["match"]) == (found[0]["photo"], None)
    said = refused(library, WORDS, "--encoder", models["clip"], "--rerank", 3)
    assert "cannot look at both together. Leave --rerank out" in said
    with looksay.Library(library) as opened:  # said before anything was embedded
        assert opened.catalog.one("SELECT count(*) FROM encoder") == 1


def test_duplicates_are_copies_and_what_looks_the_same(
    models: dict[str, str], library: Path
) -> None:
    found = searched(library, "--duplicates", "--least", 0.99, "--encoder", models["clip"])
    groups = [[path for hit in group for path in hit["paths"]] for group in found["groups"]]
    assert ["a/copy.jpg", "b/00.jpg"] in groups
    assert any({"a/03.jpg", "a/again.png"} <= set(group) for group in groups)
    everything = searched(library, "--duplicates", "--least", -1)["groups"]
    assert [len(group) for group in everything] == [13]


def test_groups_lie_around_their_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "ROWS", 7)
    monkeypatch.setattr(searching, "COLUMNS", 11)
    rows = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = dict(searching.alike(rows, 0.9))
    taken: set[int] = set()
    for first in range(50):
        if first not in taken:
            others = [
                n for n in range(first + 1, 50) if n not in taken and rows[n] @ rows[first] >= 0.9
            ]
            assert found.pop(first).tolist() == others
            taken |= {first, *others}
    assert not found


@pytest.mark.parametrize("top", [1, 10, 999, 1000, 2000])
def test_nearest_is_a_full_sort(top: int) -> None:
    scores = np.random.default_rng(top).integers(0, 40, 1000).astype(np.float32)
    assert (
        searching.nearest(scores, top).tolist() == np.argsort(-scores, kind="stable")[:top].tolist()
    )


def test_clipscore_is_that_of_the_file_scorer(models: dict[str, str], library: Path) -> None:
    said = {"a/01.jpg": "a dog on the street", "b/02.jpg": WORDS, "b/04.jpg": "the small house"}
    with looksay.Library(library) as opened:
        opened.scan()
        for name, text in said.items():
            opened.decide(library / name, "edit", text)
    found = searched(library, "--clipscore", "--encoder", models["clip"])
    scores = library.parent / "score"
    put(scores / "candidates.json", json.dumps({n[2:4]: text for n, text in said.items()}))
    for name in said:
        put(scores / f"{name[2:4]}.jpg", (library / name).read_bytes())
    done = CliRunner().invoke(
        app, ["score", "clipscore", str(scores), "--encoder", models["clip"], "--json"]
    )
    (result,) = json.loads(done.stdout)["results"]
    (figure,) = [one for one in result["figures"] if one["name"] == "CLIPScore"]
    assert found["clipscore"] == pytest.approx(figure["value"], abs=1e-3)
    assert [row["score"] for row in found["texts"]] == sorted(
        row["score"] for row in found["texts"]
    )
    assert {row["photo"]: row["alt"] for row in found["texts"]} == said


def test_a_photo_that_cannot_be_read_is_told_and_stops_nothing(
    models: dict[str, str], library: Path
) -> None:
    with looksay.Library(library) as opened:
        opened.scan()
    put(library / "b" / "02.jpg", jpeg(2)[:200])
    (library / "b" / "04.jpg").unlink()
    found = searched(library, WORDS, "--encoder", models["clip"], "--top", 99, code=1)
    assert dict(found["problems"]) == {
        "b/02.jpg": "the file is cut off (truncated)",
        "b/04.jpg": "the file is gone",
    }
    assert (found["embedded"], len(found["hits"])) == (11, 11)
    said = refused(library, "--like", library / "b" / "02.jpg")
    assert "02.jpg cannot be read: the file is cut off (truncated)." in said


def test_what_cannot_be_searched_for_is_refused(
    models: dict[str, str], library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert "No dual encoder is named, and none is on this disk" in refused(library, WORDS)
    assert 'Type: looksay search . "a red car"' in refused("a red car")
    assert "Found nothing to look for; expected one of words" in refused(library)
    assert "Found words and --duplicates" in refused(library, WORDS, "--duplicates")
    assert "The words are empty" in refused(library, " ")
    assert "is not there. Expected a picture file" in refused(library, "--like", "gone.jpg")
    assert "--least is for --duplicates" in refused(library, WORDS, "--least", 0.9)
    assert "--rerank is for words" in refused(library, "--duplicates", "--rerank", 3)
    assert "Make the folder first" in refused(library, WORDS, "--html", tmp_path / "no" / "x.html")
    assert "is no dual encoder" in refused(library, WORDS, "--encoder", "echo")
    assert "is not there. Expected a folder" in refused(tmp_path / "no", WORDS)


def test_the_encoder_on_this_disk_is_taken_and_told(
    models: dict[str, str], library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "hub" / "models--openai--clip-vit-base-patch32"
    put(home / "refs" / "main", "0123abc")
    shutil.copytree(models["clip"][4:], home / "snapshots" / "0123abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    done = CliRunner().invoke(app, ["search", str(library), WORDS, "--top", "2"])
    assert done.exit_code == 0, done.output
    assert "Encoder: hub:openai/clip-vit-base-patch32, which is on this disk" in done.stderr
    assert len(done.stdout.splitlines()) >= 2
    shutil.rmtree(tmp_path / "hub")
    said = refused(library, WORDS)
    assert "was searched with hub:openai/clip-vit-base-patch32 last; name another" in said


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(models: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "many"
    for n in range(searching.CHUNK * 6):
        put(folder / f"{n}.jpg", jpeg(n, (24, 18)))
    with looksay.Library(folder) as opened:
        opened.scan()
        words = [sys.executable, "-m", "looksay", "search", str(folder), WORDS]
        started = subprocess.Popen(
            [*words, "--encoder", models["clip"], "--concurrency", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        count = "SELECT count(*) FROM embedding"
        while not opened.catalog.one(count) and started.poll() is None:
            time.sleep(0.005)
        os.kill(started.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        assert started.wait() != 0
        kept = opened.catalog.one(count)
        assert 0 < kept < searching.CHUNK * 6
        assert kept % searching.CHUNK == 0
    found = searched(folder, WORDS, "--encoder", models["clip"])
    assert found["embedded"] == searching.CHUNK * 6 - kept


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_no_words_run_as_script(
    scheme: str, models: dict[str, str], library: Path, browser: Any
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with looksay.Library(library) as opened:
        opened.scan()
        opened.decide(library / "a" / "01.jpg", "edit", EVIL)
    found, same = library / "found.html", library / "same.html"
    words = (library, "--encoder", models["clip"], "--html")
    searched(*words, found, EVIL, "--top", 99)
    searched(*words, same, "--duplicates", "--least", 0.99)
    page = browser.new_page(color_scheme=scheme)
    for path in (same, found):
        page.goto(path.as_uri())
        results = axe.run(page)
        assert results.violations_count == 0, results.generate_report()
    assert page.title() == f"Photos of “{EVIL}”"
    assert page.get_by_alt_text(EVIL).count() == 1
    page.set_viewport_size({"width": 320, "height": 600})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, "wider than a small screen"
    page.keyboard.press("Tab")
    name = page.evaluate("document.activeElement.textContent")
    assert (library / name).is_file()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{name}")
    with looksay.Library(library) as opened:
        assert opened.scan().pages == 0  # pages of ours are none of the site
