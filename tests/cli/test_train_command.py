"""looksay train as a user types it: a plan, a run on one's own JSON, going on, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from forking import looksay
from PIL import Image as Pillow
from typer.testing import CliRunner

from looksay import plugins
from looksay.errors import InputError, UnknownName

pytestmark = [pytest.mark.local, pytest.mark.slow]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    entries = []
    for number in range(10):
        Pillow.new("RGB", (60, 40), (number * 25, 80, 120)).save(tmp_path / f"{number}.png")
        turns = [
            {"from": "human", "value": "<image>\nWhich shade is it?"},
            {"from": "gpt", "value": f"Shade number {number}."},
        ]
        entries.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
    path = tmp_path / "own.json"
    path.write_text(json.dumps(entries), "utf-8")
    return path


def test_ten_images_of_ones_own_from_nothing_then_with_an_adapter(
    own: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    asked = ("train", "llava", "--data", own, "--size", "tiny", "--steps", 12, "--batch", 4)
    done = looksay(*asked, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"local:{out}" in done.stdout.replace("\n", "")
    # Off a terminal one line says that there is something to wait for.
    assert done.stderr.startswith("Preparing llava: ")
    assert done.stderr.count("Preparing") == 1
    assert "trains tower" in done.stderr
    again = looksay(*asked, "--out", out)
    assert again.returncode == 0, again.stderr
    assert "finished" in again.stderr
    other = looksay(*asked, "--seed", 1, "--out", out)
    assert other.returncode == 2
    assert "--fresh" in other.stderr
    tuned = tmp_path / "tuned"
    options = ("--from", out, "--lora", "--stages", "instruct", "--steps", 4, "--out", tuned)
    done = looksay("train", "llava", "--data", own, *options)
    assert done.returncode == 0, done.stderr
    answer = looksay("ask", own.parent / "3.png", "Which shade is it?", "--model", f"local:{tuned}")
    assert answer.returncode == 0, answer.stderr


def test_few_pictures_get_steps_enough_to_be_learned(own: Path) -> None:
    from looksay.cli import app

    def planned(family: str, *options: str) -> str:
        asked = ["train", family, "--data", str(own), "--size", "tiny", "--plan", *options]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
        return done.output

    assert "Stage all: 500 steps of 16 examples" in planned("llava")
    assert "Stage pairs: 500 steps of 16 examples" in planned("clip")
    onwards = planned("llava", "--from", "mini")
    assert "Stage align: 75 steps of 16 examples" in onwards
    assert "Stage instruct: 300 steps of 16 examples" in onwards


def test_many_pictures_come_ten_times_whatever_the_model_begins_with(own: Path) -> None:
    from looksay.data.dataset import Part
    from looksay.data.opening import open_source
    from looksay.training.recipes import _published

    data = Part(open_source("scenes"), 0, 4000)
    for fresh in (True, False):
        assert _published.own(data, fresh=fresh)[-1].steps == 2500
    assert _published.own(Part(data, 0, 4000), fresh=True, examples=1)[-1].steps == 5000


def test_mini_is_trained_on_in_fp32_although_it_was_saved_in_bf16(
    own: Path, tmp_path: Path
) -> None:
    import torch

    from looksay.models import checkpoint

    asked = ("train", "llava", "--data", own, "--from", "mini", "--batch", 4)
    done = looksay(*asked, "--steps", 2, "--precision", "fp32", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "instruct 2/2" in done.stderr
    found = checkpoint.load(tmp_path / "run")
    assert {p.dtype for p in found.tower.parameters()} == {torch.float32}


@pytest.mark.parametrize("family", plugins.names("looksay.models.families"))
def test_every_family_learns_from_ones_own_pictures(family: str, own: Path, tmp_path: Path) -> None:
    from looksay.cli import app

    asked = ["train", family, "--data", str(own), "--size", "tiny", "--batch", "4"]
    planned = CliRunner().invoke(app, [*asked, "--plan"])
    assert planned.exit_code == 0, planned.output
    assert "In all" in planned.output
    done = CliRunner().invoke(app, [*asked, "--steps", "2", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    again = [*asked, "--from", str(tmp_path / "run"), "--steps", "1"]
    done = CliRunner().invoke(app, [*again, "--out", str(tmp_path / "more")])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("kind", ["phrases", "regions", "relations", "narratives"])
def test_what_is_released_with_boxes_or_spoken_is_learned_from(kind: str, tmp_path: Path) -> None:
    from data import test_localized_narratives, test_refcoco_source, test_visual_genome

    data = {
        "phrases": lambda: test_refcoco_source.saved(tmp_path),
        "regions": lambda: test_visual_genome.saved(tmp_path, "region_descriptions.json"),
        "relations": lambda: test_visual_genome.saved(tmp_path, "relationships.json"),
        "narratives": lambda: test_localized_narratives.saved(tmp_path),
    }[kind]()
    options = ("--size", "tiny", "--steps", 1, "--batch", 1, "--out", tmp_path / "run")
    done = looksay("train", "llava", "--data", data, *options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "looksay.json").is_file()


def test_a_tower_that_was_saved_in_bf16_is_trained_on(tmp_path: Path) -> None:
    import torch

    from looksay.models import checkpoint
    from looksay.training.recipes import llava

    before = checkpoint.save(llava.scenes("tiny")[0], tmp_path / "before", dtype=torch.bfloat16)
    asked = ("train", "llava", "--data", "scenes", "--size", "tiny", "--from", before)
    named = ("--stages", "tower", "--steps", "tower=2", "--lr", "tower=1e-3", "--seed", 5)
    done = looksay(*asked, *named, "--precision", "fp32", "--out", tmp_path / "after")
    assert done.returncode == 0, done.stderr
    first, second = checkpoint.load(before), checkpoint.load(tmp_path / "after")
    assert all(value.dtype is torch.float32 for value in second.tower.parameters())
    assert second.tower.fingerprint != first.tower.fingerprint
    assert all(
        torch.equal(value.float(), second.language.state_dict()[key].float())
        for key, value in first.language.state_dict().items()
    )
    card = checkpoint.read(tmp_path / "after")["card"]
    assert card["training"]["stages"][0]["trains"] == {"tower": 1e-3}
    for wrong, expected in {"tower=0": "above 0", "towre=1e-3": "tower"}.items():
        done = looksay(*asked, "--stages", "tower", "--lr", wrong, "--out", tmp_path / "no")
        assert done.returncode == 2, done.stderr
        assert expected in done.stderr


def test_the_plan_of_a_published_model_loads_nothing(own: Path, tmp_path: Path) -> None:
    options = ("--size", "7b", "--device", "a100-80gb", "--devices", 8, "--price", 2, "--lora")
    done = looksay("train", "llava15", "--data", own, *options, "--plan")
    assert done.returncode == 0, done.stderr
    assert "connector 20,979,712" in done.stdout
    assert "USD" in done.stdout
    assert not list(tmp_path.glob("run*"))


def test_a_size_has_the_stages_that_the_paper_gave_it(own: Path) -> None:
    def planned(family: str, size: str) -> str:
        from looksay.cli import app

        asked = ["train", family, "--data", str(own), "--size", size, "--plan"]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
        return done.output

    assert "high" in planned("pali", "17b")
    assert "high" not in planned("pali", "3b")


def test_a_model_of_scenes_says_which_languages_it_writes(tmp_path: Path) -> None:
    from looksay.backends import load
    from looksay.cli import app
    from looksay.models import checkpoint

    asked = ["train", "pali", "--data", "scenes", "--size", "tiny", "--stages", "ground"]
    done = CliRunner().invoke(app, [*asked, "--steps", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    card = checkpoint.read(tmp_path)["card"]
    assert card["languages"] == ["en", "ko"]
    assert card["describe"]["ko"] == "그림을 한국어로 자세히 설명하세요."
    profile = load(f"local:{tmp_path}").profile
    assert (profile.languages, profile.instructable) == (("en", "ko"), False)


def test_faults_of_the_user_are_sentences(own: Path, tmp_path: Path) -> None:
    faults = {
        ("train", "lava", "--data", own): "llava",
        ("train", "llava", "--data", own): "--out",
        ("train", "llava", "--data", tmp_path / "no.json", "--out", tmp_path / "o"): "no.json",
        ("train", "llava", "--data", own, "--plan", "--device", "a1000"): "a100-80gb",
        ("train", "llava", "--data", own, "--plan", "--size", "tiny", "--stages", "x"): "stage",
    }
    for arguments, expected in faults.items():
        done = looksay(*arguments)
        assert done.returncode == 2, done.stderr
        assert expected in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr


def test_a_size_that_there_is_not_tells_those_that_there_are(own: Path) -> None:
    from looksay.cli import app

    for data, size, told in (
        (own, "big", "no clip of the size 'big'. Known: b16, b32, l14, l14-336, mini, tiny."),
        ("scenes", "big", "no clip on scenes of the size 'big'. Known: mini, tiny."),
        ("scenes", "b32", "Type --size mini or --size tiny, or name your own data: --data FILE."),
    ):
        for way in ("--plan", "--out=no"):
            asked = ["train", "clip", "--data", str(data), "--size", size, way]
            done = CliRunner().invoke(app, asked)
            assert isinstance(done.exception, InputError | UnknownName)
            assert told in str(done.exception)


def test_faulty_data_stop_a_run_before_its_first_step(own: Path, tmp_path: Path) -> None:
    entries = json.loads(own.read_text("utf-8"))
    (tmp_path / "7.png").unlink()
    del entries[2]["conversations"]
    own.write_text(json.dumps(entries), "utf-8")
    done = looksay("train", "llava", "--data", own, "--size", "tiny", "--out", tmp_path / "run")
    assert done.returncode == 2
    told = done.stderr.replace("\n", " ")
    assert "2 of the 10 examples" in told
    assert "entry 3 of 10" in told
    assert "7.png" in told
    assert not (tmp_path / "run").exists()


def test_steps_by_stage_and_features_on_disk(own: Path, tmp_path: Path) -> None:
    run, kept = tmp_path / "run", tmp_path / "kept"
    first = ("train", "llava", "--data", own, "--size", "tiny", "--batch", 4, "--out", run)
    assert looksay(*first, "--steps", "all=3").returncode == 0
    more = ("train", "llava", "--data", own, "--from", run, "--batch", 4, "--features", kept)
    done = looksay(*more, "--steps", "align=2,instruct=3", "--out", tmp_path / "more")
    assert done.returncode == 0, done.stderr
    assert "align 2/2" in done.stderr
    assert "instruct 3/3" in done.stderr
    assert len(list(kept.glob("*/*/*.safetensors"))) == 10
    for wrong, expected in {
        "align": "language=5000",
        "align=0": "language=5000",
        "x=3": "stage",
    }.items():
        done = looksay(*more, "--steps", wrong, "--out", tmp_path / "more")
        assert done.returncode == 2
        assert expected in done.stderr
    refused = looksay(*first[:-1], tmp_path / "lora", "--lora")
    assert refused.returncode == 2
    assert "--from" in refused.stderr
