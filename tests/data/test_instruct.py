"""Instructions from a teacher without eyes: what it is told, what is taken from it, and what a kill leaves."""

from __future__ import annotations

import json
import random
import runpy
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy", reason="no numpy: scenes cannot be drawn")

from data.scripted import Server, killed, liar, manner, picture, run, serving, told

from looksay.backends.base import Profile
from looksay.data import instruct, teaching
from looksay.data.contexts import Context, Scenes, open_contexts
from looksay.data.dataset import problems
from looksay.data.dialogues import Unfit
from looksay.data.instruct import Instructor, shares
from looksay.data.opening import open_source
from looksay.errors import InputError
from looksay.spending import Budget
from looksay.types import Completion, Conversation, Image, Options, Price

ROOT = Path(__file__).resolve().parents[2]
KINDS = tuple(teaching.SHARES)


def command(data: object, out: Path, server: Server, *more: str) -> list[str]:
    words = ["instruct", str(data), "--out", str(out), "--model", server.model, *more]
    return [sys.executable, "-m", "looksay", *words]


def coco(folder: Path, count: int = 3) -> Path:
    """COCO's two files and their pictures: each shows two dogs and a bowl, and has a caption with a fence."""
    images, captions, boxes = [], [], []
    for n in range(1, count + 1):
        name = f"{n:012d}.png"
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        picture(n).save(folder / "pictures" / name)
        images.append({"id": n, "file_name": name, "width": 48, "height": 40})
        text = f"Two large puppies wait on a green background by a fence, number {n}."
        captions.append({"id": n, "image_id": n, "caption": text})
        for category, box in ((18, [0, 0, 24, 20]), (18, [24, 20, 24, 20]), (51, [10, 10, 50, 5])):
            boxes.append(
                {"id": len(boxes) + 1, "image_id": n, "category_id": category, "bbox": box}
            )
    classes = [
        {"id": 18, "name": "dog"},
        {"id": 51, "name": "bowl"},
        {"id": 900, "name": "Lantern"},
    ]
    own = {"images": images, "annotations": captions, "info": {}}
    (folder / "captions_val.json").write_text(json.dumps(own))
    own = {"images": images, "annotations": boxes, "categories": classes}
    (folder / "instances_val.json").write_text(json.dumps(own))
    return folder / "captions_val.json"


@pytest.mark.slow
def test_the_command_teaches_from_scenes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(tmp_path) as server:
        done = run(command("scenes", out, server, "--limit", "40"))
        assert done.returncode == 0, done.stderr
        asked = server.asked()
        again = run(command("scenes", out, server, "--limit", "40"))
        assert server.asked() == asked
    assert again.stdout == done.stdout
    for kind, count in shares(40).items():
        assert f"{kind}: {count} of {count}" in done.stdout
    assert "40 requests, about" in done.stderr
    assert max(Counter(asked).values()) == 1
    data = open_source(str(out / instruct.DATA))
    assert data.size == 40
    assert list(problems(data, decode=True)) == []
    entries = json.loads((out / instruct.DATA).read_text("utf-8"))
    for entry in entries:
        assert (out / entry["image"]).is_file()
        assert entry["conversations"][0]["value"].startswith("<image>\n")
    # Who answers in a wrong form is asked again, at most twice; who never answers rightly is set aside with the reason.
    aside = [json.loads(line) for line in (out / instruct.ASIDE).read_text("utf-8").splitlines()]
    reasons = Counter(one["reason"] for one in aside)
    assert set(reasons) == {"the model refused", "there are two answers"}
    tries = Counter(line.rsplit(" ", 1)[0] for line in asked)
    contexts = Scenes(0)
    names = {one["id"] for one in aside}
    for n in range(40):
        told = contexts.at(n).told
        digest = f"{hash_of(told):08x}"
        for kind in KINDS:
            many = tries[f"{kind} {digest}"]
            how = manner(told)
            if many:
                assert many == {"refuses": 3, "twice": 3, "right": 1, "fenced": 1}.get(how, 2)
                assert (f"{n}-{kind}" in names) == (how in ("refuses", "twice"))
    report = json.loads((out / instruct.REPORT).read_text("utf-8"))
    assert sum(row["set aside"] for row in report["kinds"].values()) == len(aside)


@pytest.mark.slow
def test_the_command_teaches_from_coco(tmp_path: Path) -> None:
    captions = coco(tmp_path / "coco", 12)
    pictures = tmp_path / "coco" / "pictures"
    with serving(tmp_path) as server:
        more = ("--images", str(pictures))
        told = run(command(captions, tmp_path / "out", server, *more, "--estimate"))
        assert told.returncode == 0, told.stderr
        assert "12 requests" in told.stdout
        assert server.asked() == []
        done = run(command(captions, tmp_path / "out", server, *more, "--json"))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    data = open_source(str(tmp_path / "out" / instruct.DATA), pictures)
    assert data.size == sum(said["written"].values()) <= 12
    assert list(problems(data, decode=True)) == []
    assert not (tmp_path / "out" / "images").exists()


@pytest.mark.slow
def test_killed_at_random_moments_it_loses_and_repeats_nothing(tmp_path: Path) -> None:
    out = tmp_path / "killed"
    with serving(tmp_path) as server:
        done = run(command("scenes", tmp_path / "whole", server, "--limit", "60"))
        assert done.returncode == 0, done.stderr
        wanted = Counter(server.asked())
    (tmp_path / "slow").mkdir()
    with serving(tmp_path / "slow", after_s=0.03) as server:
        words = command("scenes", out, server, "--limit", "60", "--concurrency", "2")
        alive = killed(words, out / instruct.ANSWERS, seed=3)
        assert alive >= 2
        done = run(words)
        assert done.returncode == 0, done.stderr
        asked = Counter(server.asked())
    assert set(asked) == set(wanted)
    assert sum(asked.values()) - len(asked) <= 2 * alive  # those in flight at a kill
    lines = [json.loads(line) for line in (out / instruct.ANSWERS).read_text("utf-8").splitlines()]
    assert len({line["key"] for line in lines}) == len(lines) == sum(wanted.values())
    whole = tmp_path / "whole"
    for name in (instruct.DATA, instruct.ASIDE):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert told(out / instruct.REPORT) == told(whole / instruct.REPORT)


class Teacher:
    """Writes what is true, or what `says` makes of it; each answer costs a cent."""

    name, fingerprint = "teacher", "teacher-1"

    def __init__(self, says: Any = lambda kind, told, right: right, **profile: Any) -> None:
        self.says, self.asked = says, Counter[str]()
        self.profile = Profile(**{"price": Price(0.0, 50.0), **profile})

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for index, conversation in enumerate(conversations):
            kind, told, _ = liar["asked"](conversation)
            self.asked[kind] += 1
            right = json.dumps(liar["written"](kind, told, "", random.Random(0)))
            text = self.says(kind, told, right)
            if text is None:
                yield Completion(index, error="no chalk", finish_reason="error")
            else:
                yield Completion(index, text, 10, 1, 1.0, 0.01)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield ""


def test_kinds_are_balanced_also_where_some_are_set_aside(tmp_path: Path) -> None:
    """A third of the reasoning is of no use; others are asked in its stead."""

    def lazy(kind: str, told: str, right: str) -> str:
        spoilt = kind == "reasoning" and hash_of(told) % 3 == 0
        return "I would rather not say." if spoilt else right

    teacher = Teacher(lazy)
    taught = Instructor(tmp_path, teacher, Scenes(1)).run(158)
    assert taught.counts == dict(teaching.SHARES)
    assert len(taught.aside) > 15
    assert {one.kind for one in taught.aside} == {"reasoning"}
    assert {one.text for one in taught.aside} == {"I would rather not say."}
    assert teacher.asked["conversation"] == 58
    used = Counter((sample.index, sample.kind) for sample in taught.samples)
    assert max(used.values()) == 1
    again = Teacher(lazy)
    assert Instructor(tmp_path, again, Scenes(1)).run(158) == taught
    assert not again.asked


def hash_of(text: str) -> int:
    import hashlib

    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def test_a_hopeless_teacher_ends_and_says_where_its_answers_are(tmp_path: Path) -> None:
    teacher = Teacher(lambda kind, told, right: "no")
    instructor = Instructor(tmp_path, teacher, Scenes(1))
    taught = instructor.run(20)
    assert taught.samples == []
    assert len(taught.aside) == 20
    assert sum(teacher.asked.values()) == 60
    with pytest.raises(InputError, match=r"No answer could be used: 20 were set aside, 0 failed"):
        instruct.save(instructor, taught)
    assert len((tmp_path / instruct.ASIDE).read_text().splitlines()) == 20


def test_failures_are_asked_again_and_a_budget_is_kept_to(tmp_path: Path) -> None:
    teacher = Teacher(lambda kind, told, right: None if kind == "detail" else right)
    instructor = Instructor(tmp_path, teacher, Scenes(1))
    (before,) = instructor.estimate(20)
    assert before.requests == 20
    assert before.cost_usd == pytest.approx(20 * 200 * 50 / 1e6, rel=0.2)
    first = instructor.run(20, budget=Budget(0.10))
    assert first.stopped
    assert first.cost_usd == pytest.approx(0.10)
    assert teacher.asked["conversation"] + teacher.asked["reasoning"] == 10  # failures cost nothing
    second = instructor.run(20)
    assert [reason for _, reason in second.failures] == ["no chalk"] * 3
    teacher.says = lambda kind, told, right: right
    last = instructor.run(20)
    assert last.failures == []
    assert last.counts == shares(20)
    assert instructor.estimate(20) == []


def test_there_are_only_so_many_pictures(tmp_path: Path) -> None:
    contexts = open_contexts(str(coco(tmp_path, 10)), images=tmp_path / "pictures")
    instructor = Instructor(tmp_path / "out", Teacher(), contexts)
    with pytest.raises(InputError, match=r"need 12 pictures.*there are 10. Type --limit 20"):
        instructor.run(24)
    taught = instructor.run(20)
    assert taught.counts == shares(20)
    with pytest.raises(InputError, match="follows no instructions, so it cannot teach"):
        Instructor(tmp_path, Teacher(instructable=False), contexts)


def test_coco_is_told_as_captions_and_boxes(tmp_path: Path) -> None:
    contexts = open_contexts(str(coco(tmp_path)), images=tmp_path / "pictures")
    context = contexts.at(1)
    assert context.told == (
        "Two large puppies wait on a green background by a fence, number 2.\n\n"
        "dog: [0.00, 0.00, 0.50, 0.50]\ndog: [0.50, 0.50, 1.00, 1.00]\nbowl: [0.21, 0.25, 1.00, 0.38]"
    )
    assert context.there == {"dog", "bowl"}
    assert contexts.named("A puppy, three lanterns, and a cat.") == ["dog", "lantern", "cat"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"category_id": 7}, "entry 2 of 9 (id 2): category_id 7 is not among the 3 'categories'"),
        ({"image_id": 99}, "image_id 99 is not among the 3 'images'"),
        ({"bbox": [1, 2, 3]}, "'bbox' should be [x, y, width, height] in pixels; found [1, 2, 3]"),
        ({"bbox": [60, 2, 3, 3]}, "the box [60, 2, 3, 3] lies outside its picture of 48 × 40 px"),
        ({"bbox": "all"}, "'bbox' should be [x, y, width, height]; found text ('all')"),
    ],
)
def test_what_is_wrong_with_boxes_is_told(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    captions = coco(tmp_path)
    path = tmp_path / "instances_val.json"
    content = json.loads(path.read_text())
    content["annotations"][1] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        open_contexts(str(captions), images=tmp_path / "pictures")
    assert told in str(error.value)


def test_boxes_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    captions = coco(tmp_path)
    (tmp_path / "instances_val.json").rename(tmp_path / "boxes.json")
    with pytest.raises(InputError, match=r"instances_val.json, which is not there.*--boxes FILE"):
        open_contexts(str(captions))
    assert open_contexts(str(captions), tmp_path / "boxes.json", tmp_path / "pictures").size == 3


PAIR = {"question": "What is there?", "answer": "Two dogs."}
OTHER = {"question": "Where?", "answer": "On the left."}


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("reasoning", "", "the answer is empty"),
        ("reasoning", "Two dogs.", "the answer is no JSON"),
        ("reasoning", f"Sure! {json.dumps(PAIR)}", "there is text before the JSON"),
        ("reasoning", f"{json.dumps(PAIR)} Anything else?", "there is text after the JSON"),
        ("reasoning", f"{json.dumps(PAIR)}\n{json.dumps(OTHER)}", "there are two answers"),
        ("reasoning", json.dumps(PAIR)[:30], "the JSON is broken, or breaks off"),
        ("reasoning", '{"question": "A?", "question": "B?", "answer": "C."}', "a key comes twice"),
        ("reasoning", json.dumps(PAIR | {"why": "x"}), "expected an object with question and answer; found"),
        ("reasoning", json.dumps(PAIR | {"answer": 2}), "'answer' should be text; found '2'"),
        ("reasoning", json.dumps(PAIR | {"question": "Say it."}), "ends with a question mark"),
        ("reasoning", json.dumps(PAIR | {"answer": "By the given captions, dogs."}), "'given captions'|'captions'"),
        ("reasoning", json.dumps(PAIR | {"answer": "It is. " * 9 + "a dog and " * 4}), "again and again"),
        ("conversation", json.dumps({"turns": [PAIR]}), "a list of 2 to 10 questions; found 1"),
        ("conversation", json.dumps({"turns": [PAIR, PAIR]}), "the same question comes twice"),
        ("conversation", json.dumps([PAIR, OTHER]), "the answer is no JSON|text before"),
        ("conversation", json.dumps({"turns": [PAIR, "Where?"]}), "expected an object with question and answer; found str"),
        ("detail", json.dumps({"description": "Two dogs."}), "fewer than 12 words"),
    ],
)  # fmt: skip
def test_answers_in_a_wrong_form_are_unfit(kind: Any, text: str, told: str) -> None:
    with pytest.raises(Unfit, match=told):
        teaching.read(kind, Completion(0, text), "What?")


def test_answers_in_the_form_are_read() -> None:
    right = json.dumps({"turns": [PAIR, OTHER]})
    turns = (("What is there?", "Two dogs."), ("Where?", "On the left."))
    for text in (right, f"\n{right} ", f"```json\n{right}\n```"):
        assert teaching.read("conversation", Completion(0, text), "") == turns
    with pytest.raises(Unfit, match="breaks off at the limit"):
        teaching.read("conversation", Completion(0, right, finish_reason="length"), "")


def test_the_examples_keep_to_the_rules(tmp_path: Path) -> None:
    contexts = open_contexts(str(coco(tmp_path)), images=tmp_path / "pictures")
    instructor = Instructor(tmp_path, Teacher(), contexts)
    for shown in teaching.EXAMPLES:
        captions, _, boxes = shown.told.partition("\n\n")
        names = {line.partition(":")[0] for line in boxes.splitlines()}
        there = frozenset(names).union(contexts.named(captions))
        context = Context("x", Image(b""), (), (), there)
        for kind in KINDS:
            turns = teaching.read(kind, Completion(0, json.dumps(shown.answers[kind])), "What?")
            assert instructor.absent(turns, context) == []
    assert len(teaching.asked("detail", "A dog.").messages) == 6


def test_lies_about_objects_do_not_slip_through_and_others_are_counted() -> None:
    measured = runpy.run_path(str(ROOT / "benchmarks" / "instruct.py"))
    found = measured["measure"](158, 0.4, seed=5)
    told = sum(found["told"].values())
    assert 0.3 < told / (told + found["true answers"]) < 0.5
    assert found["told"]["object"] > 10
    assert found["slipped"]["object"] == 0
    assert found["true answers not taken"] == 0
    assert found["written"] == 158
    # Counts, sizes and colours are not checked: the benchmark says how much of them slips through.
    for lie in ("count", "size", "colour"):
        assert found["slipped"][lie] == found["told"][lie] > 5


def test_of_the_answers_of_gpt_4_few_are_rejected() -> None:
    """Its answers in LLaVA-Bench (COCO) name what is not in boxes or captions in 9 of 90, mostly people in general."""
    golden = ROOT.parent / "shared" / "golden" / "llava-bench-coco"
    if not golden.is_dir():
        pytest.skip("the reference answers are not beside this checkout")
    from looksay.texts.coco_objects import find, present

    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (golden / name).read_text("utf-8").splitlines()]

    there = {
        row["image"]: present([one["category"] for one in row["instances"]], row["captions"])
        for row in lines("caps_boxes_30.jsonl")
    }
    said = {row["question_id"]: row["text"] for row in lines("qa90_gpt4_answer.jsonl")}
    absent = [
        {one.object for one in find(f"{row['text']}\n{said[row['question_id']]}")}
        - there[row["image"]]
        for row in lines("qa90_questions.jsonl")
    ]
    assert len(absent) == 90
    assert sum(map(bool, absent)) == 9
    assert sum(names == {"person"} for names in absent) == 8
