"""People as a backend: questions wait in a CSV, nothing that a person wrote is lost, nobody sees whose answers they are."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import encoded, jpeg, picture, put
from PIL import Image as Pillow

from looksay.backends import load
from looksay.backends.base import WAITING
from looksay.errors import BackendError, InputError
from looksay.types import Completion, Conversation, Image, Message, Options

BOM = b"\xef\xbb\xbf"
MANY = [f"Is {n} even? Only answer yes or no." for n in range(12)]


def asked(sheet: Path, questions: list[str] | list[Conversation]) -> list[Completion]:
    """What a sheet that is loaded now says, in the order of the questions."""
    told = [q if isinstance(q, Conversation) else Conversation.ask(q) for q in questions]
    found = sorted(load(f"sheet:{sheet}").complete(told, Options()), key=lambda one: one.index)
    assert [one.index for one in found] == list(range(len(told)))
    return found


def rows(sheet: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """The sheet as another program reads it."""
    data = sheet.read_bytes()
    assert data.startswith(BOM)
    return list(
        csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    )


def fill(
    sheet: Path,
    answer: Callable[[dict[str, str]], str],
    delimiter: str = ",",
    change: Callable[[list[dict[str, str]]], list[dict[str, str]]] = list,
) -> None:
    """Answer as a person does in a spreadsheet, which writes the whole file anew."""
    found = change([row | {"answer": answer(row)} for row in rows(sheet)])
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(found[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(found)
    sheet.write_bytes(BOM + out.getvalue().encode())


def test_a_question_waits_until_somebody_has_answered_it(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"
    first = asked(sheet, MANY[:3])
    told = (
        f"3 rows wait in {sheet}. Answer in the column 'answer', save it as CSV (UTF-8), close it, and type the "
        "same again."
    )
    assert {one.error for one in first} == {f"not answered yet: {told}"}
    assert {one.finish_reason for one in first} == {"error"}
    assert {one.details[WAITING] for one in first} == {told}
    assert list(rows(sheet)[0]) == ["key", "pictures", "question", "answer"]
    assert sorted(row["question"] for row in rows(sheet)) == MANY[:3]
    before = sheet.read_bytes()
    asked(sheet, MANY[:3])
    assert sheet.read_bytes() == before
    fill(sheet, lambda row: "" if row["question"] == MANY[1] else f" {row['question'][3]}\n")
    second = asked(sheet, MANY[:3])
    assert [one.text for one in second] == ["0", "", "2"]
    assert [one.error is None for one in second] == [True, False, True]
    assert str(second[1].error).startswith("not answered yet: 1 row waits in")
    assert second[0].details["where"].startswith("grades.csv, row ")


def test_another_answer_is_another_judge_and_another_row_is_not(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"

    def fingerprint() -> str:
        return load(f"sheet:{sheet}").fingerprint

    empty = fingerprint()
    asked(sheet, MANY[:3])
    assert fingerprint() == empty
    fill(sheet, lambda row: "yes")
    graded = fingerprint()
    assert graded != empty
    asked(sheet, MANY)
    assert fingerprint() == graded
    fill(sheet, lambda row: "no" if row["question"] == MANY[1] else row["answer"])
    assert fingerprint() != graded
    other = load(f"sheet:{tmp_path / 'other.csv'}")
    assert other.fingerprint != empty  # nobody has answered in either: two people all the same


def test_order_does_not_tell_models_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    asked(one, MANY[:6])
    asked(one, MANY[6:])
    asked(other, MANY[::-1])
    assert one.read_bytes() == other.read_bytes()
    places = [MANY.index(row["question"]) < 6 for row in rows(one)]
    assert len({tuple(places[:6]), (True,) * 6, (False,) * 6}) == 3  # neither model's come first
    # Two models that said the same are graded once.
    asked(one, MANY[:6])
    assert len(rows(one)) == 12
    # What is answered stays in front, as the person has it, and the rest is mixed again.
    fill(one, lambda row: "yes" if row["question"] in MANY[:4] else "", change=lambda r: r[::-1])
    kept = [row["question"] for row in rows(one) if row["answer"]]
    asked(one, ["One more?"])
    after = rows(one)
    assert [row["question"] for row in after[:4]] == kept
    assert [row["key"] for row in after[4:]] == sorted(row["key"] for row in after[4:])


def test_pictures_lie_beside_it_under_names_that_tell_nothing(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"
    with_place = picture(1).getexif()
    with_place[0x010F] = "a camera"
    data = encoded(picture(1), "JPEG", exif=with_place)
    path = put(tmp_path / "llava" / "monday.jpg", data)
    drawn = Image(Pillow.new("RGB", (9, 9), "red"))
    several = Conversation(
        (
            Message("system", ("You grade.",)),
            Message("user", (Image(path), "What is it?", drawn, Image(data), "And that?")),
        )
    )
    asked(sheet, [several, Conversation.ask(Image(data), "Is it funny?")])
    shown = {row["question"]: row["pictures"].split("\n") for row in rows(sheet)}
    told = "system: You grade.\n\n[picture 1]\nWhat is it?\n[picture 2]\n[picture 3]\nAnd that?"
    assert set(shown) == {told, "Is it funny?"}
    assert shown[told][0] == shown["Is it funny?"][0]  # the same bytes, one copy
    assert len(shown[told]) == len(list((tmp_path / "grades-pictures").iterdir())) == 2
    for name in shown[told]:
        with Pillow.open(tmp_path / name) as copy:
            assert copy.format == "JPEG"
            assert not copy.getexif()
    assert b"monday" not in sheet.read_bytes()
    # A moved file is the same question; another picture is not.
    path.rename(tmp_path / "moved.jpg")
    asked(sheet, [Conversation.ask(Image(tmp_path / "moved.jpg"), "Is it funny?")])
    assert len(rows(sheet)) == 2
    asked(sheet, [Conversation.ask(Image(jpeg(2)), "Is it funny?")])
    assert len(rows(sheet)) == 3


def test_a_picture_that_cannot_be_shown_is_that_question_s_fault_alone(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"
    broken = put(tmp_path / "broken.jpg", jpeg(1)[:300])
    gone = Conversation.ask(Image(tmp_path / "gone.jpg"), "What?")
    some = [gone, Conversation.ask(Image(broken), "What?"), Conversation.ask("Yes?")]
    found = asked(sheet, some)
    assert "gone.jpg" in str(found[0].error)
    assert "cannot be shown: the file is cut off" in str(found[1].error)
    assert [WAITING in one.details for one in found] == [False, False, True]
    assert len(rows(sheet)) == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_a_spreadsheet_makes_of_it_is_read_and_kept(tmp_path: Path, delimiter: str) -> None:
    sheet = tmp_path / "grades.csv"
    asked(sheet, MANY[:4])

    def moved(found: list[dict[str, str]]) -> list[dict[str, str]]:
        order = ("notes", "answer", "pictures", "key", "question")
        noted = [{**row, "notes": f'mine; "{n}",\n가 =1+1'} for n, row in enumerate(found)]
        blank = dict.fromkeys(order, "")
        return [{name: row[name] for name in order} for row in (noted[3], blank, *noted[:3])]

    fill(sheet, lambda row: "" if row["question"] == MANY[0] else "yes", delimiter, moved)
    before = [row for row in rows(sheet, delimiter) if row["key"]]
    assert [one.text for one in asked(sheet, MANY[1:4])] == ["yes"] * 3
    asked(sheet, MANY)
    after = rows(sheet, delimiter)
    assert list(after[0]) == ["notes", "answer", "pictures", "key", "question"]
    assert [row for row in after if row["answer"]] == [row for row in before if row["answer"]]
    assert next(row for row in before if not row["answer"]) in after
    assert len(after) == 12


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=3, max_size=3)
)
def test_whatever_a_person_writes_outlasts_new_rows(tmp_path: Path, answers: list[str]) -> None:
    sheet = tmp_path / "grades.csv"
    sheet.unlink(missing_ok=True)
    asked(sheet, MANY[:3])
    fill(sheet, lambda row: answers[MANY.index(row["question"])].replace("\0", ""))
    before = [one.text for one in asked(sheet, MANY[:3])]
    asked(sheet, MANY)
    assert [one.text for one in asked(sheet, MANY[:3])] == before
    for said, answer in zip(before, answers, strict=True):
        assert said == answer.replace("\0", "").strip() or said == answer.strip()[1:].strip()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝"])
def test_a_question_runs_nothing_in_a_spreadsheet(tmp_path: Path, start: str) -> None:
    sheet = tmp_path / "grades.csv"
    bad = f'{start}HYPERLINK("http://127.0.0.1/"&A1)'
    asked(sheet, [bad, "-1", "'quoted'"])
    cells = {row["question"] for row in rows(sheet)}
    assert cells == {f"'{bad}", "-1", "'quoted'"}
    fill(sheet, lambda row: "yes")
    assert [one.text for one in asked(sheet, [bad, "-1", "'quoted'"])] == ["yes"] * 3


def test_half_a_surrogate_pair_is_asked_about_all_the_same(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"
    asked(sheet, ["The answer was caf\ud83d."])
    fill(sheet, lambda row: "no")
    assert [one.text for one in asked(sheet, ["The answer was caf\ud83d."])] == ["no"]


def test_columns_that_were_sorted_apart_are_told(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"
    asked(sheet, MANY[:3])

    def apart(found: list[dict[str, str]]) -> list[dict[str, str]]:
        keys = [row["key"] for row in found]
        return [row | {"key": key} for row, key in zip(found, keys[1:] + keys[:1], strict=True)]

    fill(sheet, lambda row: "yes", change=apart)
    for one in asked(sheet, MANY[:3]):
        assert "the question there is another than the one of its key" in str(one.error)
        assert WAITING not in one.details


HEAD = "key,pictures,question,answer\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"should have the column 'key' once\. Expected key,pictures,question,answer.*found nothing"),
        ("key,question,answer\n", "should have the column 'pictures' once"),
        ("key,key,pictures,question,answer\n", "should have the column 'key' once"),
        (HEAD + 'q0123456789abcdef,,"A?\nB?",yes\n,,,no\n', r"grades\.csv, row 3 \(line 4\) has the key ''"),
        (HEAD + "1.2E+16,,A?,yes\n", r"row 2 \(line 2\) has the key '1\.2E\+16'; expected q and 16"),
        (HEAD + "q0123456789abcdef,,A?,yes, I think\n", r"row 2 \(line 2\) has 5 cells, and there are 4"),
        (HEAD + "q0123456789abcdef,,A?,yes\nq0123456789abcdef,,A?,no\n", r"row 3 \(line 3\) and grades\.csv, row 2 \(line 2\) answer one question with 'no' and 'yes'"),
        (HEAD + 'q0123456789abcdef,,"A?,yes\n', r"row 2 \(line 2\): not valid CSV"),
        (HEAD.encode() + b"q0123456789abcdef,,A?,\xe9\n", "is not UTF-8"),
    ],
)  # fmt: skip
def test_a_damaged_sheet_is_told_and_left_alone(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    sheet = put(tmp_path / "grades.csv", text)
    before = sheet.read_bytes()
    with pytest.raises(InputError, match=message):
        load(f"sheet:{sheet}")
    sheet.unlink()
    loaded = load(f"sheet:{sheet}")
    sheet.write_bytes(before)  # damaged after it was read
    with pytest.raises(InputError, match=message):
        list(loaded.complete([Conversation.ask("C?")], Options()))
    assert sheet.read_bytes() == before


def test_an_answer_that_comes_while_it_runs_is_kept(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"
    asked(sheet, MANY[:2])
    loaded = load(f"sheet:{sheet}")
    fill(sheet, lambda row: "yes")
    found = list(loaded.complete(map(Conversation.ask, MANY[:2]), Options()))
    assert {one.error for one in found} == {
        f"not answered yet: {sheet} was answered while this ran. Type the same again."
    }
    list(loaded.complete(map(Conversation.ask, MANY), Options()))
    assert [row["answer"] for row in rows(sheet)] == ["yes"] * 2 + [""] * 10
    assert [one.text for one in asked(sheet, MANY[:2])] == ["yes"] * 2


TWO = """
import sys
from looksay.backends import load
from looksay.types import Conversation, Options
which, path = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for n in range(25):
    list(load("sheet:" + path).complete([Conversation.ask(f"{which} {n}?")], Options()))
"""


def test_two_runs_at_once_lose_no_row(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, which, str(sheet)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for which in ("one", "other")
    ]
    try:
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
        for run in runs:
            assert run.stdin is not None
            run.stdin.write("\n")
            run.stdin.flush()
        assert [run.wait(timeout=120) for run in runs] == [0, 0]
    finally:
        for run in runs:
            run.kill()
            run.wait()
            for stream in (run.stdin, run.stdout):
                assert stream is not None
                stream.close()
    expected = {f"{which} {n}?" for which in ("one", "other") for n in range(25)}
    assert {row["question"] for row in rows(sheet)} == expected


def test_it_streams_what_is_answered(tmp_path: Path) -> None:
    sheet = tmp_path / "grades.csv"
    with pytest.raises(BackendError, match=r"not answered yet: 1 row waits in .*grades\.csv"):
        list(load(f"sheet:{sheet}").stream(Conversation.ask(MANY[0]), Options()))
    fill(sheet, lambda row: "yes")
    assert list(load(f"sheet:{sheet}").stream(Conversation.ask(MANY[0]), Options())) == ["yes"]


def test_what_is_no_sheet_is_refused(tmp_path: Path) -> None:
    for name in ("", str(tmp_path), str(tmp_path / "gone" / "grades.csv")):
        with pytest.raises(InputError, match=r"needs the path of a CSV file .*sheet:grades\.csv"):
            load(f"sheet:{name}")
    photo = put(tmp_path / "photo.csv", jpeg(1))
    with pytest.raises(InputError, match="is not UTF-8"):
        load(f"sheet:{photo}")


def test_nobody_is_offered_a_sheet_to_describe_with(tmp_path: Path) -> None:
    from looksay import plugins

    assert "sheet" in plugins.names("looksay.backends")
    assert not hasattr(plugins.load("looksay.backends", "sheet", "backend"), "discover")
    profile = load(f"sheet:{tmp_path / 'grades.csv'}").profile
    assert (profile.draft, profile.converses, profile.remote) == (True, False, False)
