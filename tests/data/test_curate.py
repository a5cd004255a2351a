"""Curating descriptions: what is asked, what is kept and why, what a person decides, and what a kill leaves."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data.scripted import HABITS, SENTENCES, Server, killed, picture, run, serving, told, whole

from looksay.backends.base import Profile
from looksay.data import curate
from looksay.data.curate import Curator, Rules, Text, listed, mended, opened
from looksay.data.dataset import problems
from looksay.data.dialogues import Unfit
from looksay.data.opening import open_source
from looksay.data.review import check, look
from looksay.errors import BackendError, InputError
from looksay.spending import Budget
from looksay.types import Completion, Conversation, Options, Price

KEPT = {"long", "brief", "loop", "cut off", "talks first"}
DROPPED = {
    "looped still": "repetition", "foreign": "other language", "short": "too short", "refuses": "refused",
    "own words": "not mended",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        picture(number).save(folder / f"{number:02d}.png")
    return folder


def command(photos: Path, out: Path, server: Server, *more: str) -> list[str]:
    program = [sys.executable, "-m", "looksay", "curate", str(photos), "--out", str(out)]
    return [*program, "--describer", server.model, "--repairer", server.model, *more]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def save(path: Path, found: list[dict[str, str]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(found[0]))
    writer.writeheader()
    writer.writerows(found)
    path.write_text(stream.getvalue(), "utf-8", newline="")


@pytest.mark.slow
def test_the_command_describes_mends_judges_and_writes_data(photos: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        check_the_command(photos, tmp_path, server)


def check_the_command(photos: Path, tmp_path: Path, server: Server) -> None:
    (photos / "copy.png").write_bytes((photos / "00.png").read_bytes())
    out, review = tmp_path / "out", tmp_path / "review.csv"
    done = run(command(photos, out, server, "--review", str(review)))
    assert done.returncode == 0, done.stderr
    assert "10 texts: 5 kept." in done.stdout
    for rule in DROPPED.values():
        assert f"1 dropped: {rule}" in done.stdout
    assert "20 requests" in done.stderr  # told before it begins: described and gone on with
    report = json.loads((out / curate.REPORT).read_text("utf-8"))
    assert report["dropped"] == dict.fromkeys(DROPPED.values(), 1)
    assert (report["described"], report["kept"], report["copies"]) == (10, 5, 1)
    why = {Path(row["image"]).stem: row for row in report["texts dropped"]}
    for number, habit in enumerate(HABITS):
        assert (habit in KEPT) == (f"{number:02d}" not in why)
        if habit in DROPPED:
            assert why[f"{number:02d}"]["rules"][0] == DROPPED[habit]
    assert "says what the description does not" in why["09"]["why"]
    data = open_source(str(out / curate.DATA))
    assert data.size == 5
    assert list(problems(data, decode=True)) == []
    said = [data.example(i).conversation.messages for i in range(5)]
    assert [turns[1].text for turns in said] == [
        whole(n) for n, habit in enumerate(HABITS) if habit in KEPT
    ]
    assert all(turns[0].text in curate.INSTRUCTIONS for turns in said)
    # What was asked: nothing twice, the picture only of who describes, and mending only where there is a text.
    asked = server.asked()
    assert max(Counter(asked).values()) == 1
    assert {f"describe {n}" for n in range(10)} <= set(asked)
    assert {one for one in asked if one.startswith("continue")} == {"continue 1", "continue 6"}
    assert "repair 7 0" not in asked  # it was refused
    assert {"repair 8 0", "repair 8 1"} <= set(asked)
    assert {"repair 9 0", "repair 9 1", "repair 9 2"} <= set(asked)
    assert "repair 9 3" not in asked
    # The same again asks nothing and ends the same.
    before = (out / curate.DATA).read_bytes(), review.read_bytes()
    again = run(command(photos, out, server, "--review", str(review)))
    assert again.returncode == 0
    assert server.asked() == asked
    assert ((out / curate.DATA).read_bytes(), review.read_bytes()) == before


@pytest.mark.slow
def test_a_person_has_the_last_word_and_loses_none(
    photos: Path, tmp_path: Path, server: Server
) -> None:
    out, review = tmp_path / "out", tmp_path / "review.csv"
    assert run(command(photos, out, server, "--review", str(review))).returncode == 0
    found = rows(review)
    assert [row["verdict"].partition(" (")[0] for row in found] == [
        DROPPED.get(habit, "kept") for habit in HABITS
    ]
    by = {Path(row["image"]).stem: row for row in found}
    by["00"]["keep"] = "no"
    by["01"]["after"] = "=A text of my own, with a comma."
    by["02"]["after"] = ""
    by["06"]["keep"] = "YES"
    by["09"]["after"] = "A house with a green door."
    for row in found:
        row["my notes"] = f"seen {row['image'][-6:-4]}"
    save(review, found)
    done = run(command(photos, out, server, "--review", str(review), "--json"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kept"] == 5
    assert told["dropped"]["a person"] == 2
    written = json.loads((out / curate.DATA).read_text("utf-8"))
    texts = {row["id"][:2]: row["conversations"][1]["value"] for row in written}
    assert set(texts) == {"01", "05", "06", "08", "09"}
    assert texts["01"] == "=A text of my own, with a comma."
    assert texts["06"].startswith("A house with the number 6")
    assert texts["09"] == "A house with a green door."
    kept = rows(review)
    assert [row["my notes"] for row in kept] == [row["my notes"] for row in found]
    assert [row["keep"] for row in kept] == [row["keep"] for row in found]
    assert kept[1]["after"] == "'=A text of my own, with a comma."  # a formula for no spreadsheet
    # Fewer pictures, and another rule: rows that somebody decided on stay as they are, the others are brought in line.
    for number in range(5):
        (photos / f"{number:02d}.png").unlink()
    assert (
        run(command(photos, out, server, "--review", str(review), "--least", "200")).returncode == 0
    )
    assert [
        row for row in rows(review) if row["keep"] or row["image"][-6:-4] in ("01", "02", "09")
    ] == [row for row in kept if row["keep"] or row["image"][-6:-4] in ("01", "02", "09")]
    assert rows(review)[8]["verdict"] == "too short"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keep": "perhaps"}, "row 3 (line 3): keep should be yes, no or empty; found 'perhaps'"),
        ({"key": "1"}, "row 3 (line 3) has the key '1'; expected p, 16 digits"),
        ({"keep": "yes", "after": " "}, "keep is 'yes', but its text is empty"),
        ({"key": "pffff000000000000-00000000"}, "row 3 (line 3) and review.csv, row 2"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_and_left(
    change: dict[str, str], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "review.csv"
    texts = [
        Text(Path(f"{n}.png"), f"ffff{n:012d}" + 48 * "0", whole(n), whole(n), ("too short",))
        for n in (0, 1)
    ]
    assert [final.broken for final in look(path, texts)] == [("too short",)] * 2
    found = rows(path)
    found[1] |= change
    save(path, found)
    before = path.read_bytes()
    for attempt in (lambda: check(path), lambda: look(path, texts)):
        with pytest.raises(InputError) as error:
            attempt()
        assert told in " ".join(str(error.value).split())
    assert path.read_bytes() == before


def test_a_text_that_a_spreadsheet_only_wrapped_is_no_correction(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    text = Text(Path("a.png"), "ab" * 32, "Two boats.", "Two boats\nlie at a quay.", ())
    look(path, [text])
    found = rows(path)
    found[0]["after"] = " Two boats\r\nlie  at a quay. "
    save(path, found)
    (final,) = look(path, [text])
    assert not final.person
    later = replace(text, after="Three boats.")
    assert look(path, [later])[0].words == "Three boats."
    assert rows(path)[0]["after"] == "Three boats."
    found = rows(path)
    found[0]["after"] = "Four boats."
    save(path, found)
    for again in (later, text):  # whatever a model says now
        (final,) = look(path, [again])
        assert (final.words, final.broken, final.person) == ("Four boats.", (), True)


@pytest.mark.slow
def test_killed_at_random_moments_it_loses_and_repeats_nothing(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "killed"
    photos.mkdir()
    for number in range(25):
        picture(number).save(photos / f"{number:02d}.png")
    with serving(tmp_path) as server:
        review = str(tmp_path / "whole.csv")
        done = run(command(photos, tmp_path / "whole", server, "--review", review))
        assert done.returncode == 0, done.stderr
        wanted = Counter(server.asked())
    (tmp_path / "slow").mkdir()
    with serving(tmp_path / "slow", after_s=0.03) as server:
        more = ("--review", str(tmp_path / "killed.csv"), "--concurrency", "2")
        words = command(photos, out, server, *more)
        alive = killed(words, out / curate.ANSWERS, seed=7)
        assert alive >= 2
        done = run(words)
        assert done.returncode == 0, done.stderr
        asked = Counter(server.asked())
    assert set(asked) == set(wanted)
    assert sum(asked.values()) - len(asked) <= 2 * alive  # those in flight at a kill
    lines = [json.loads(line) for line in (out / curate.ANSWERS).read_text("utf-8").splitlines()]
    assert len({line["key"] for line in lines}) == len(lines) == sum(wanted.values())
    whole = tmp_path / "whole"
    assert (out / curate.DATA).read_bytes() == (whole / curate.DATA).read_bytes()
    assert told(out / curate.REPORT) == told(whole / curate.REPORT)
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


class Said:
    """A backend of one answer, or of what a function says; each costs a cent."""

    name, fingerprint = "said", "said-1"

    def __init__(self, text: Any, **profile: Any) -> None:
        self.text, self.asked = text, 0
        self.profile = Profile(**{"price": Price(0.0, 1e6 / 30000), **profile})

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for index, conversation in enumerate(conversations):
            self.asked += 1
            text = self.text(conversation) if callable(self.text) else self.text
            if text is None:
                yield Completion(index, error="no paper", finish_reason="error")
            else:
                yield Completion(index, text, 10, 300, 1.0, 0.01)


def test_a_failed_call_is_told_and_asked_again(photos: Path, tmp_path: Path) -> None:
    pictures = opened(listed([photos]))

    def fails_once(conversation: Conversation) -> str | None:
        broken = Path(str(conversation.images[0].source)).stem == "04" and describer.asked < 6
        return None if broken else whole(3)

    describer = Said(fails_once)
    repairer = Said(lambda c: c.messages[-1].text.partition("The description:\n")[2])
    curator = Curator(tmp_path, describer, repairer)
    found = curator.run(pictures)
    assert found.failures == [(str(photos / "04.png"), "no paper")]
    assert len(found.texts) == 9
    again = curator.run(pictures)
    assert (again.failures, len(again.texts)) == ([], 10)
    assert describer.asked == 11
    assert repairer.asked == 1  # who is asked the same is asked once


def test_the_budget_ends_a_run_that_goes_on_later(photos: Path, tmp_path: Path) -> None:
    pictures = opened(listed([photos]))
    describer = Said(lambda c: whole(int(Path(str(c.images[0].source)).stem)))
    repairer = Said(lambda c: c.messages[-1].text.partition("The description:\n")[2])
    curator = Curator(tmp_path, describer, repairer)
    (one, two) = curator.estimate(pictures)
    assert (one.requests, two.requests) == (20, 10)
    assert one.cost_usd == pytest.approx(10 * (150 + 100) / 30000)
    found = curator.run(pictures, budget=Budget(0.07))
    assert found.stopped
    assert describer.asked + repairer.asked == 7
    rest = curator.run(pictures)
    assert not rest.stopped
    assert len(rest.texts) == 10
    assert describer.asked + repairer.asked == 20
    assert rest.cost_usd == pytest.approx(0.20)
    assert curator.estimate(pictures) == []


def test_what_cannot_curate_is_refused(photos: Path, tmp_path: Path) -> None:
    good = Said("A dog.")
    with pytest.raises(InputError, match="said does not describe: it answers"):
        Curator(tmp_path, Said("", cannot_describe="it answers"), good)
    with pytest.raises(InputError, match="follows no instructions, so it cannot mend"):
        Curator(tmp_path, good, Said("", instructable=False))
    assert listed([photos], photos / "out") == listed([photos])
    (photos / "out" / "images").mkdir(parents=True)
    (photos / ".hidden").mkdir()
    for place in ("out/images/a.png", ".hidden/a.png", "._a.png"):
        picture(3).save(photos / place)
    assert [path.name for path in listed([photos], photos / "out")] == [
        f"{number:02d}.png" for number in range(10)
    ]
    with pytest.raises(InputError, match="There is no picture or folder"):
        listed([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="No picture was found"):
        listed([tmp_path / "empty"])
    (photos / "03.png").write_bytes(b"no picture")
    pictures = opened(listed([photos], photos / "out"))
    assert [Path(name).name for name, _ in pictures.failures] == ["03.png"]
    found = Curator(tmp_path / "out", good, good).run(pictures)
    with pytest.raises(
        InputError, match=r"None of 9 texts was kept \(too short 9; 1 failed: cannot be"
    ):
        curate.write(found, found.ruled, tmp_path / "out")
    assert json.loads((tmp_path / "out" / curate.REPORT).read_text())["dropped"] == {"too short": 9}

    class Silent(Said):
        def complete(self, conversations: Any, options: Options) -> Iterator[Completion]:
            yield from list(super().complete(conversations, options))[1:]

    with pytest.raises(BackendError, match="left 1 requests without an answer"):
        Curator(tmp_path / "silent", Silent(whole(0)), good).run(pictures)


LONG = whole(0)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        (LONG, ()),
        ("", ("empty",)),
        ("...", ("empty",)),
        (f"{LONG} {SENTENCES[3]} {SENTENCES[3]}", ("repetition",)),
        ("A very very very very long street. " + LONG, ("repetition",)),
        (f"{LONG} Beside the", ("fragment",)),
        (
            f"{LONG} El perro negro corre por la calle con una pelota en la boca.",
            ("other language",),
        ),
        (f"{LONG} 집 앞에 두 개의 화분이 놓여 있다.", ("other language",)),
        ("- a dog\n- a cat\n- a tree\n- a car\n- a house\n" + LONG, ("non-sentence",)),
        (f"{LONG} ### Human: go on.", ("non-sentence",)),
        (f"{LONG} <br> It is late.", ("non-sentence",)),
        (
            "dog cat tree car street sky grass fence house roof.",
            ("non-sentence", "too short"),
        ),
        (whole(0, 2), ("too short",)),
        ("A sign says “Zur schönen Aussicht auf den Hafen und die Stadt”. " + LONG, ()),
    ],
)
def test_each_rule_finds_what_it_is_for(text: str, broken: tuple[str, ...]) -> None:
    assert Rules().broken(text) == broken


def test_other_languages_have_the_same_rules() -> None:
    korean = "집 앞에 두 개의 화분이 놓여 있고 그 옆에는 낡은 자전거가 있다. 하늘은 맑고 거리는 조용하다."
    assert Rules(5, "ko").broken(korean) == ()
    assert Rules(5, "ko").broken(LONG) == ("other language",)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("", "empty"),
        (f"Here it is:\n{LONG}", "words about itself"),
        (f"```\n{LONG}\n```", "code"),
        (f"{LONG} {LONG}", "words, and the description only"),
        (
            "Boats rock beside quays while hungry gulls circle overhead today.",
            "does not: boats, rock",
        ),
    ],
)
def test_an_answer_that_is_no_mended_description_is_unfit(answer: str, told: str) -> None:
    with pytest.raises(Unfit, match=told):
        mended(Completion(0, answer), LONG)
    with pytest.raises(Unfit, match="limit of tokens"):
        mended(Completion(0, LONG, finish_reason="length"), LONG)
    shorter = LONG.replace(SENTENCES[4], "")
    assert mended(Completion(0, f" {shorter}\n"), LONG) == shorter
