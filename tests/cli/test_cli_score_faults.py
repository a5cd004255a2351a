"""`looksay score` where files are at fault: what is told names the file and the line or entry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scores import EXAMPLES, content, refused, scored, typed, value, write

pytest.importorskip("numpy", reason="scores need numpy")

Change = Callable[[Any], Any]


def spoilt(tmp_path: Path, kind: str, file: str, change: Change) -> Path:
    """A copy of the example in which one file is changed."""
    folder = tmp_path / kind
    shutil.copytree(EXAMPLES / kind, folder)
    write(folder / file, change(content(folder / file)))
    return folder


def again(rows: list[Any]) -> list[Any]:
    return [*rows, rows[0]]


def renamed(key: str, name: Any) -> Change:
    return lambda rows: [{**rows[0], key: name}, *rows[1:]]


def short(rows: list[Any]) -> list[Any]:
    return rows[:-1]


def kept(*keys: str) -> Change:
    return lambda rows: [{key: one[key] for key in keys} for one in rows]


FAULTS: list[tuple[str, str, Change, str]] = [
    # the same id twice
    ("vqa", "results.json", again, "results.json, entry 4 of 4 (question_id 1000): question_id 1000 was there before, in entry 1"),
    ("chair", "captions.json", again, "captions.json, entry 3 of 3 (image_id 1): image_id 1 was there before"),
    ("pope", "coco_pope_random.json", again, "coco_pope_random.json, entry 5 of 5 (question_id 1)"),
    ("multiple-choice", "rows.jsonl", again, "rows.jsonl, entry 5 of 5 (index 0): index 0 was there before"),
    ("scienceqa", "answers.jsonl", again, "answers.jsonl, entry 4 of 4 (question_id '1')"),
    ("relative", "reviews.jsonl", again, "reviews.jsonl, entry 4 of 4 (question_id 0)"),
    # an answer to what is not asked
    ("vqa", "results.json", renamed("question_id", 7), "results.json, entry 1 of 3 (question_id 7): question 7 is not in"),
    ("chair", "captions.json", renamed("image_id", 7), "captions.json, entry 1 of 2 (image_id 7): image 7 is not in"),
    ("scienceqa", "answers.jsonl", renamed("question_id", "7"), "answers.jsonl, entry 1 of 3 (question_id '7'): question 7 is not in"),
    ("caption", "candidates.json", lambda said: {**said, "pier": "A pier."}, "candidates.json, entry 4 of 4 (id 'pier'): image pier is not in"),
    ("retrieval", "image_of.json", lambda rows: [0, 0, 1, 5], "Caption 3 belongs to image 5, but there are images 0 to 1"),
    # answers are missing
    ("vqa", "results.json", short, "results.json: 1 of 3 questions in"),
    ("caption", "candidates.json", lambda said: {"quay": said["quay"]}, "candidates.json: 2 of 3 images in"),
    ("chair", "captions.json", short, "captions.json: 1 of 2 images in"),
    ("pope", "answers.jsonl", short, "answers.jsonl has 3 answers without question_id"),
    ("multiple-choice", "rows.jsonl", short, "rows.jsonl, entry 3 of 3 (index 1): question 1 with 2 options has the shifts [0]"),
    ("scienceqa", "answers.jsonl", short, "answers.jsonl: 1 of 3 questions in"),
    ("vqa", "annotations.json", lambda told: {"annotations": told["annotations"][1:]}, "questions.json, entry 1 of 3 (question_id 1000)"),
    # files of different benchmarks, or of different parts of one
    ("vqa", "results.json", lambda rows: [{**r, "question_id": 9} for r in rows[:1]], "are these files of one benchmark?"),
    ("pope", "answers.jsonl", lambda rows: [rows[1], rows[0], *rows[2:]], "answers.jsonl, entry 1 of 4: it answers 'Is there a dog in the image?'"),
    ("pope", "answers.jsonl", kept("question"), "There are no answers."),
    ("vqa", "results.json", lambda rows: [{"image_id": 1, "caption": "A dog."}], "results.json: 1 entries with 'image_id', 'caption'"),
    # what is in an entry
    ("vqa", "results.json", renamed("answer", None), "results.json, entry 1 of 3 (question_id 1000): 'answer' should be text; found null"),
    ("vqa", "annotations.json", lambda told: {"annotations": [{**r, "answers": []} for r in told["annotations"]]}, "annotations.json, entry 1 of 3 (question_id 1000): 'answers' is empty"),
    ("pope", "coco_pope_random.json", renamed("label", "maybe"), "coco_pope_random.json, entry 1 of 4 (question_id 1): 'label' should be yes or no"),
    ("multiple-choice", "rows.jsonl", renamed("answer", "C"), "rows.jsonl, entry 1 of 4 (index 0): 'answer' should be A or B; found 'C'"),
    ("multiple-choice", "rows.jsonl", renamed("options", {"A": "a boat"}), "(index 0): expected at least two options"),
    ("chair", "ground_truth.json", lambda told: {**told, "1": {"objects": ["yeti"], "captions": []}}, "(id '1'): 'yeti' is no class of COCO"),
    ("mathvista", "output.json", lambda rows: {**rows, "3": {**rows["3"], "choices": []}}, "output.json, entry 3 of 3 (id '3'): 'choices' is empty"),
    ("mathvista", "output.json", lambda rows: {**rows, "1": {**rows["1"], "answer_type": "number"}}, "(id '1'): answer_type 'number': expected integer, float, list or text"),
    ("scienceqa", "problems.json", lambda rows: {**rows, "1": {**rows["1"], "grade": "first"}}, "problems.json, entry 1 of 4 (id '1'): subject 'natural science', grade 'first'"),
    ("retrieval", "similarity.json", lambda rows: [rows[0], rows[1][:3]], "similarity.json, row 2 of 2 has 3 similarities, the first 4"),
    ("retrieval", "similarity.json", lambda rows: [rows[0], [None] * 4], "similarity.json, row 2: expected a number; found null"),
    # an empty reference
    ("caption", "references.json", lambda told: {**told, "quay": ["Two boats.", " "]}, "references.json, entry 3 of 3 (id 'quay'): a reference caption is empty"),
    ("caption", "references.json", lambda told: {**told, "quay": []}, "references.json, entry 3 of 3 (id 'quay'): expected a list of reference captions"),
    # what a judge wrote
    ("relative", "reviews.jsonl", lambda rows: [*rows[:2], {**rows[2], "tuple": [-1, -1], "content": "Rate limit"}], "reviews.jsonl, entry 3 of 3 (question_id 2): the ratings are [-1, -1]; expected two numbers from 1 to 10. A call that failed has no rating: ask the judge again. The review begins 'Rate limit'"),
    ("relative", "reviews.jsonl", lambda rows: [{"question_id": 0, "content": "Scores: 8 and 9."}, *rows[1:]], "reviews.jsonl, entry 1 of 3 (question_id 0): The judge's first line is 'Scores: 8 and 9.'"),
    ("relative", "reviews.jsonl", renamed("tuple", [9.0, 9.0]), "(question_id 0): the ratings are [9.0, 9.0], but the review says 8 and 7"),
    ("relative", "reviews.jsonl", renamed("tuple", "8 7"), "(question_id 0): the ratings are 8 7; expected two numbers"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "file", "change", "told"),
    FAULTS,
    ids=[f"{n} {one[0]}" for n, one in enumerate(FAULTS)],
)
def test_a_fault_is_told_with_its_place(
    tmp_path: Path, kind: str, file: str, change: Change, told: str
) -> None:
    assert told in refused(kind, spoilt(tmp_path, kind, file, change))


def test_prose_around_a_judge_s_numbers(tmp_path: Path) -> None:
    def prose(rows: list[Any]) -> list[Any]:
        return [{**rows[0], "content": "Scores:\n8 7"}, *rows[1:]]

    folder = spoilt(tmp_path, "relative", "reviews.jsonl", prose)
    # official keeps the ratings that somebody stored, and says so; strict does not.
    (result,) = scored("relative", folder)
    assert value(result, "relative score") == pytest.approx(100)
    assert "in their first line: 1;" in result["notes"][0]
    said = refused("relative", folder, "--compat", "strict")
    assert (
        "reviews.jsonl, entry 1 of 3 (question_id 0): The judge's first line is 'Scores:'" in said
    )
    (part,) = scored("relative", folder, "--compat", "strict", "--partial")
    assert part["notes"] == ["1 of 3 reviews left out: they have no ratings."]


@pytest.mark.parametrize(
    ("kind", "file", "line"),
    [
        ("relative", "reviews.jsonl", 3),
        ("pope", "answers.jsonl", 4),
        ("pope", "coco_pope_random.json", 4),
        ("scienceqa", "answers.jsonl", 3),
        ("multiple-choice", "rows.jsonl", 4),
        ("vqa", "results.json", 4),
        ("caption", "references.json", 4),
    ],
)
def test_a_file_that_is_cut_short(tmp_path: Path, kind: str, file: str, line: int) -> None:
    folder = tmp_path / kind
    shutil.copytree(EXAMPLES / kind, folder)
    text = (folder / file).read_text("utf-8").rstrip()
    write(folder / file, text[: -len(text.splitlines()[line - 1]) // 2] if line > 1 else text)
    said = refused(kind, folder)
    assert f"{file} is not JSON" in said
    assert f"in line {line}, column" in said


MME = {
    "of no task": ("birds.txt", "a.jpg\tIs it?\tYes\tYes\n", "birds.txt is of no task of MME"),
    "short": (
        "existence.txt",
        "a.jpg\tIs it?\tYes\tYes\na.jpg\tIs it not?",
        "existence.txt, line 2: expected four parts with tabs between",
    ),
    "twice": (
        "existence.txt",
        "a.jpg\tIs it?\tYes\tYes\na.jpg\tIs it?\tYes\tNo\n",
        "existence.txt, line 2: a.jpg is asked 'Is it?' in line 1 too",
    ),
    "alone": (
        "existence.txt",
        "a.jpg\tIs it?\tYes\tYes\nb.jpg\tIs it?\tYes\tYes\nb.jpg\tWas it?\tNo\tNo\n",
        "1 answers; expected two",
    ),
    "label": (
        "existence.txt",
        "a.jpg\tIs it?\tPerhaps\tYes\na.jpg\tIs it not?\tNo\tNo\n",
        "existence.txt, entry 1 of 2: 'label' should be yes or no; found 'perhaps'",
    ),
    "empty": ("existence.txt", "\n", "existence.txt is empty"),
}


@pytest.mark.parametrize("fault", MME)
def test_faults_in_a_task_of_mme(tmp_path: Path, fault: str) -> None:
    file, text, told = MME[fault]
    write(tmp_path / file, text)
    assert told in refused("mme", tmp_path, "--partial")


def test_a_task_of_mme_is_missing() -> None:
    said = refused("mme", EXAMPLES / "mme")
    assert "has no position.txt; 12 of 14 tasks are missing" in said
    assert "--partial" in said


def test_what_is_answered_is_scored_if_one_says_so(tmp_path: Path) -> None:
    for kind, file in (
        ("vqa", "results.json"),
        ("chair", "captions.json"),
        ("multiple-choice", "rows.jsonl"),
        ("scienceqa", "answers.jsonl"),
    ):
        (result,) = scored(kind, spoilt(tmp_path, kind, file, short), "--partial")
        assert " of " in result["notes"][-1], kind
    truth = ("questions.json", "annotations.json")
    kept_ids = [1000, 1001]
    folder = spoilt(tmp_path / "again", "vqa", "results.json", short)
    for name, key in zip(truth, ("questions", "annotations"), strict=True):
        whole = content(folder / name)
        whole[key] = [one for one in whole[key] if one["question_id"] in kept_ids]
        write(folder / name, whole)
    (left,) = scored("vqa", folder)
    (partial,) = scored("vqa", tmp_path / "vqa", "--partial")
    assert left["figures"] == partial["figures"]


def test_two_files_of_one_part_of_pope(tmp_path: Path) -> None:
    folder = tmp_path / "pope"
    shutil.copytree(EXAMPLES / "pope", folder)
    (folder / "older").mkdir()
    shutil.copy(folder / "coco_pope_random.json", folder / "older" / "coco_pope_random.json")
    told = refused("pope", folder, folder / "older")
    assert "are both of the part 'random'; expected one file" in told
    shutil.copy(folder / "coco_pope_random.json", folder / "coco_pope_popular.json")
    for name in ("answers_random.json", "answers_random.jsonl", "answers_popular.jsonl"):
        shutil.copy(folder / "answers.jsonl", folder / name)
    (folder / "answers.jsonl").unlink()
    assert "are both of the part 'random'" in refused("pope", folder)
    (folder / "answers_random.json").unlink()
    (result,) = scored("pope", folder)
    assert value(result, "F1, mean of the parts") == 50


def test_labels_are_no_answers(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "pope" / "coco_pope_random.json", tmp_path)
    rows = content(EXAMPLES / "pope" / "coco_pope_random.json")
    write(tmp_path / "more.jsonl", [{**row, "answer": row["label"]} for row in rows])
    assert "There are no answers." in refused("pope", tmp_path / "more.jsonl")


def test_a_part_of_pope_without_answers(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "pope", tmp_path / "pope")
    folder = tmp_path / "pope"
    shutil.copy(folder / "coco_pope_random.json", folder / "coco_pope_popular.json")
    assert "to which part does it answer?" in refused("pope", folder)
    (folder / "answers.jsonl").rename(folder / "mine_random.jsonl")
    assert "mine has no answers to" in refused("pope", folder)
    (result,) = scored("pope", folder, "--partial")
    (whole,) = scored("pope", EXAMPLES / "pope")
    assert result["name"] == "mine"
    assert result["figures"] == whole["figures"]


def test_results_of_two_layouts(tmp_path: Path) -> None:
    folder = spoilt(tmp_path, "caption", "candidates.json", lambda said: said)
    write(folder / "results.json", [{"image_id": 1, "caption": "A dog."}])
    write(
        folder / "captions.json",
        {"images": [{"id": 1}], "annotations": [{"id": 1, "image_id": 1, "caption": "A cat."}]},
    )
    assert "are results of two layouts" in refused("caption", folder)


def test_an_empty_reference_in_coco_s_annotations(tmp_path: Path) -> None:
    write(tmp_path / "results.json", [{"image_id": 1, "caption": "A dog."}])
    annotations = [{"id": 5, "image_id": 1, "caption": "  "}]
    write(tmp_path / "captions.json", {"annotations": annotations})
    said = refused("caption", tmp_path)
    assert "captions.json, entry 1 of 1 (id 5): 'caption' is empty" in said


def test_files_that_are_of_another_kind_are_named_with_what_they_hold() -> None:
    said = refused("vqa", EXAMPLES / "relative")
    assert "There are no results." in said
    assert "reviews.jsonl: 3 entries with 'question_id', 'category', 'content', 'tuple'" in said
    assert "looksay score vqa reads:" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["captions", "x"], "There is no kind of score 'captions'. Did you mean 'caption'?"),
        (["vqa", "gone"], "There is no file or folder gone."),
        (["vqa", EXAMPLES / "mme"], "holds no file ending in .json or .jsonl"),
        (
            ["vqa", EXAMPLES / "vqa", "--compat", "strict"],
            "vqa has no rules of 'strict'; it has official.",
        ),
        (
            ["vqa", EXAMPLES / "vqa", "--df", "x"],
            "--df is no option of vqa; it belongs to caption.",
        ),
        (["pope", EXAMPLES / "pope", "--synonyms", "x"], "it belongs to chair."),
        (["caption", EXAMPLES / "caption", "--df", "gone"], "is no table of n-gram frequencies"),
        (["caption", EXAMPLES / "caption", "--save-df", "gone/df"], "cannot be written"),
        (["retrieval", EXAMPLES / "pope"], "Expected one matrix of similarities; found 0"),
        (["chair", EXAMPLES / "chair", "--synonyms", EXAMPLES / "mme"], "cannot be read"),
    ],
)
def test_words_that_mean_nothing(
    words: list[Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refused(*words)


def test_java_s_scorers_say_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    from looksay.evaluation.metrics import coco_java

    monkeypatch.setattr(coco_java, "find_spec", lambda name: None)
    for option in ("--meteor", "--spice"):
        assert 'pip install ".[coco-java]"' in refused("caption", EXAMPLES / "caption", option)


def test_a_median_has_no_interval() -> None:
    code, out, _ = typed("retrieval", EXAMPLES / "retrieval")
    assert code == 0
    (line,) = (one for one in out.splitlines() if "TR median rank" in one)
    assert line.split() == ["TR", "median", "rank", "1.0"]
    assert json.loads(typed("retrieval", EXAMPLES / "retrieval", "--json")[1])["samples"] == 1000
