"""CapFilt: what is written, what is kept, what a kill leaves, and captions that are wrong on purpose."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from forking import looksay
from PIL import Image as Pillow

from looksay.backends.base import LoadOptions, Profile
from looksay.data.capfilt import (
    NUCLEUS,
    VERDICTS,
    Bootstrapped,
    Filter,
    bootstrap,
    load_filter,
    write,
)
from looksay.data.dataset import Examples
from looksay.data.sources import coco_captions, webdataset
from looksay.errors import InputError
from looksay.types import Completion, Conversation, Example, Image, Message, Options

WORDS = ("red", "green", "blue")


def picture(index: int) -> Image:
    """One of three colours, with the number in one pixel."""
    shown = Pillow.new("RGB", (8, 8), [(200, 0, 0), (0, 200, 0), (0, 0, 200)][index % 3])
    shown.putpixel((0, 0), (index, 0, 0))
    return Image(shown)


def pairs(count: int = 12) -> Examples:
    """Every fourth caption names another colour."""
    found = []
    for index in range(count):
        word = WORDS[(index + (index % 4 == 3)) % 3]
        turns = (Message("user", (picture(index), "?")), Message("assistant", (f"a {word} one",)))
        found.append(Example(f"p{index}", Conversation(turns)))
    return Examples(found)


class Captioner:
    """Names the colour, or (every fifth picture) another one; counts what it was asked."""

    name, fingerprint, profile = "test", "captioner-1", Profile()

    def __init__(self, wrong_every: int = 5, fails: tuple[int, ...] = ()) -> None:
        self.asked = 0
        self._wrong, self._fails = wrong_every, fails

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        assert options.temperature == 1.0
        assert options.top_p == 0.9
        for place, conversation in enumerate(conversations):
            self.asked += 1
            pixel = conversation.images[0].source.getpixel((0, 0))[0]
            if pixel in self._fails:
                yield Completion(place, error="out of ink", finish_reason="error")
                continue
            word = WORDS[(pixel + (pixel % self._wrong == 0)) % 3]
            yield Completion(place, f" a {word} picture ")


class Judge:
    """Knows the colour; counts the pairs that it judged."""

    def __init__(self, offset: float = 0.0) -> None:
        self.judged, self._offset = 0, offset

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> np.ndarray:
        self.judged += len(texts)
        colours = [WORDS[int(np.argmax(image.source.getpixel((4, 4))))] for image in images]
        fits = [2.0 if c in t else -2.0 for c, t in zip(colours, texts, strict=True)]
        return np.array(fits) + self._offset


def test_texts_that_do_not_fit_are_dropped_wherever_they_come_from(tmp_path: Path) -> None:
    found = bootstrap(pairs(), tmp_path, captioner=Captioner(), filter=Filter(Judge(), "judge-1"))
    assert found.counts() == {"web": (9, 12), "synthetic": (9, 12)}
    for verdict in found.verdicts:
        right = WORDS[verdict.index % 3] in verdict.text
        assert verdict.kept == right
        assert verdict.log_odds == (2.0 if right else -2.0)
    lines = [json.loads(line) for line in (tmp_path / VERDICTS).read_text().splitlines()]
    assert len(lines) == 12 + 24
    assert {line["what"] for line in lines} == {"caption", "verdict"}
    assert sum(line["kept"] for line in lines if line["what"] == "verdict") == 18


def test_the_papers_ablations(tmp_path: Path) -> None:
    judged = bootstrap(pairs(), tmp_path / "f", filter=Filter(Judge(), "j"))
    assert judged.counts() == {"web": (9, 12), "synthetic": (0, 0)}
    written = bootstrap(pairs(), tmp_path / "c", captioner=Captioner())
    assert written.counts() == {"web": (12, 12), "synthetic": (12, 12)}
    assert {v.log_odds for v in written.verdicts} == {None}


def test_nothing_is_made_again_and_what_changed_is(tmp_path: Path) -> None:
    captioner, judge = Captioner(), Judge()
    first = bootstrap(pairs(), tmp_path, captioner=captioner, filter=Filter(judge, "j"))
    again = bootstrap(pairs(), tmp_path, captioner=captioner, filter=Filter(judge, "j"))
    assert again == first
    assert (captioner.asked, judge.judged) == (12, 24)
    more = bootstrap(pairs(20), tmp_path, captioner=captioner, filter=Filter(judge, "j"))
    assert more.verdicts[:24] == first.verdicts
    assert (captioner.asked, judge.judged) == (20, 40)
    bootstrap(pairs(), tmp_path, captioner=captioner, filter=Filter(judge, "another"))
    assert (captioner.asked, judge.judged) == (20, 64)
    other = replace(NUCLEUS, seed=1)
    bootstrap(pairs(), tmp_path, captioner=captioner, filter=Filter(judge, "j"), options=other)
    assert captioner.asked == 32


def test_a_picture_without_caption_is_told_and_asked_again(tmp_path: Path) -> None:
    found = bootstrap(pairs(), tmp_path, captioner=Captioner(fails=(4,)))
    assert found.failures == [("p4", "out of ink")]
    assert found.counts()["synthetic"] == (11, 11)
    captioner = Captioner()
    assert bootstrap(pairs(), tmp_path, captioner=captioner).failures == []
    assert captioner.asked == 1


def test_a_round_in_which_all_was_rejected_says_so(tmp_path: Path) -> None:
    strict = Filter(Judge(offset=-5.0), "j")
    with pytest.raises(InputError, match=r"rejected all 24 texts of 12 pictures .*-3\.00.*0\.637"):
        bootstrap(pairs(), tmp_path, captioner=Captioner(), filter=strict)
    assert len((tmp_path / VERDICTS).read_text().splitlines()) == 36


def test_a_captioner_that_answers_questions_only_is_refused(tmp_path: Path) -> None:
    captioner = Captioner()
    captioner.profile = Profile(cannot_describe="it answers questions")
    with pytest.raises(InputError, match="test does not describe: it answers questions"):
        bootstrap(pairs(), tmp_path, captioner=captioner)
    assert captioner.asked == 0


def test_data_without_end_need_a_limit(tmp_path: Path) -> None:
    endless = pairs()
    endless.size = None
    with pytest.raises(InputError, match="limit=N"):
        bootstrap(endless, tmp_path, captioner=Captioner())
    assert len(bootstrap(endless, tmp_path, captioner=Captioner(), limit=5).verdicts) == 10


def test_what_is_kept_can_be_trained_on_and_written(tmp_path: Path) -> None:
    source = pairs()
    found = bootstrap(source, tmp_path, captioner=Captioner(), filter=Filter(Judge(), "j"))
    data = Bootstrapped(source, found.verdicts)
    assert data.size == 18
    texts = [data.example(i).conversation.messages[1].text for i in range(18)]
    assert texts == [v.text for v in found.kept]
    assert {data.example(i).truth["origin"] for i in range(18)} == {"web", "synthetic"}
    assert write(source, found, tmp_path / "tar") == 18
    shards = webdataset.read(tmp_path / "tar")
    assert [shards.example(i).conversation.messages[1].text for i in range(18)] == texts
    assert write(source, found, tmp_path / "coco", "coco_captions") == 18
    listed = coco_captions.read(tmp_path / "coco" / "captions.json")
    assert [listed.example(i).conversation.messages[1].text for i in range(18)] == texts


PROGRAM = """
import sys, time
from pathlib import Path
from data.test_capfilt import Captioner, Judge, pairs
from looksay.data import capfilt
capfilt._WINDOW = 3
class Slow(Captioner):
    def complete(self, conversations, options):
        for completion in super().complete(conversations, options):
            time.sleep(0.05)
            yield completion
found = capfilt.bootstrap(pairs(60), Path(sys.argv[1]), captioner=Slow(), filter=capfilt.Filter(Judge(), "j"))
print(len(found.kept))
"""


@pytest.mark.slow
def test_a_killed_round_goes_on_where_it_was(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    where = {**os.environ, "PYTHONPATH": tests}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "killed")]
    file = tmp_path / "killed" / VERDICTS
    for least in (8, 40):
        with subprocess.Popen(command, env=where) as process:
            deadline = time.monotonic() + 240
            while not file.is_file() or file.read_bytes().count(b"\n") < least:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
    with file.open("ab") as stream:
        stream.write(b'{"key": "cut o')  # what a kill in the middle of a line leaves
    before = file.read_bytes().count(b"\n")
    assert before < 180
    captioner, judge = Captioner(), Judge()
    found = bootstrap(
        pairs(60), tmp_path / "killed", captioner=captioner, filter=Filter(judge, "j")
    )
    assert captioner.asked + judge.judged == 180 - before
    whole = bootstrap(
        pairs(60), tmp_path / "whole", captioner=Captioner(), filter=Filter(Judge(), "j")
    )
    assert found == whole
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({row["key"] for row in rows}) == len(rows) == 180


def test_the_share_of_wrong_captions_of_scenes_is_what_was_asked() -> None:
    from looksay.data.scenes.corrupting import Corrupted
    from looksay.data.sources import scenes

    clean = scenes.read(mix={"caption": 1.0})
    wrong = Corrupted(clean, share=0.4)
    how = []
    for index in range(200):
        before, after = clean.example(index), wrong.example(index)
        kind = after.truth["corrupted"]
        how.append(kind)
        said, now = (e.conversation.messages[-1].text for e in (before, after))
        assert (said == now) == (kind is None)
        if kind == "edited":
            assert now not in before.truth["captions"]
            assert abs(len(said.split()) - len(now.split())) <= 2
        assert after.conversation.images == before.conversation.images
    assert 0.3 <= sum(kind is not None for kind in how) / 200 <= 0.5
    assert {"edited", "replaced", None} == set(how)
    again = [Corrupted(clean, share=0.4).example(i).truth["corrupted"] for i in range(20)]
    assert again == how[:20]
    assert wrong.fingerprint != Corrupted(clean, share=0.2).fingerprint


def test_an_edit_changes_one_word_into_another_of_its_kind() -> None:
    from looksay.data.scenes.corrupting import edited

    seen = {edited("Two small dogs on a plain red background.", Random(f"{i}")) for i in range(40)}
    assert any(text.startswith("Two large dogs") for text in seen)
    assert any(text.startswith(("Three small dogs", "Four small", "Five small")) for text in seen)
    assert any("plain blue background" in text for text in seen)
    assert edited("No object at all", Random(1)) == "No object at all"


def test_of_scenes_the_command_takes_captions(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from looksay.cli import app
    from looksay.data.scenes import Scenes, captions

    asked = ["capfilt", "scenes", "--captioner", "echo", "--limit", "12", "--seed", "3"]
    done = CliRunner().invoke(app, [*asked, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in (tmp_path / VERDICTS).read_text().splitlines()]
    texts = {row["index"]: row["text"] for row in found if row.get("origin") == "web"}
    assert len(texts) == 12
    world = Scenes(3, "train")
    assert all(text in captions(world.scene(index)) for index, text in texts.items())


@pytest.mark.local
def test_a_model_that_does_not_match_is_told_which_families_do(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra local")
    from models.tiny import tiny_llava, word_tokenizer

    from looksay import plugins
    from looksay.models import checkpoint

    checkpoint.save(tiny_llava(tokenizer=word_tokenizer()), tmp_path)
    with pytest.raises(InputError, match="is a llava") as told:
        load_filter(f"local:{tmp_path}", LoadOptions())
    expected = re.findall(r"\w+", str(told.value).split("Expected")[1])
    families = "looksay.models.families"
    for name in plugins.names(families):
        kinds = vars(plugins.load(families, name, "model family")).values()
        own = next(kind for kind in kinds if getattr(kind, "family", None) == name)
        assert (name in expected) == hasattr(own, "match"), name


@pytest.mark.slow
@pytest.mark.local
def test_the_command_with_models_of_ours(tmp_path: Path) -> None:
    """A real captioner and a real filter, both untrained: one that keeps all, one that keeps nothing."""
    pytest.importorskip("torch", reason="needs the extra local")
    from models.test_blip import tiny_blip

    from looksay.models import checkpoint

    checkpoint.save(tiny_blip(prompt=""), tmp_path / "blip")
    webdataset.write((pairs().example(i) for i in range(12)), tmp_path / "web.tar")
    model = f"local:{tmp_path / 'blip'}"
    command = ("capfilt", tmp_path / "web.tar", "--captioner", model, "--filter", model)
    out = tmp_path / "out"

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return looksay(*command, *more)

    done = run("--out", str(out), "--least=-1000", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["web"] == {"kept": 12, "of": 12}
    assert told["synthetic"]["kept"] == told["synthetic"]["of"] > 0
    assert webdataset.read(out / "00000.tar").size == told["written"]
    lines = (out / VERDICTS).read_text().splitlines()
    again = run("--out", str(out), "--least=-1000")
    assert again.returncode == 0
    assert "web: 12 of 12 texts kept." in again.stdout
    assert (out / VERDICTS).read_text().splitlines() == lines
    none = run("--out", str(out), "--least=1000")
    assert none.returncode == 2
    assert "rejected all" in none.stderr
    assert "Traceback" not in none.stderr
