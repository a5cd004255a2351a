"""`looksay score`: official figures from official files, and what is told where files are at fault."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from scores import EXAMPLES, ROOT, content, refused, row, scored, typed, value, write
from test_cli import looksay

pytest.importorskip("numpy", reason="scores need numpy")

from looksay.evaluation import scoring
from looksay.evaluation.metrics import coco_java
from looksay.evaluation.metrics.coco_java import JavaScores

# Worked by hand: what the examples come to. (kind, options, {(figure, part): value}, unreadable)
BY_HAND: list[tuple[str, list[str], dict[tuple[str, str], float], int | None]] = [
    # 11 of 12 tokens are in references (boat is not boats), of 17: exp(1 - 17/12) x 11/12.
    # ROUGE-L: 1; precision 1 and recall 4/7; precision 1/2 and recall 1/6.
    ("caption", [], {("length", ""): 4.0, ("BLEU-1", ""): 60.43, ("ROUGE-L", ""): 64.08}, 0),
    # 3 of 10 say red: (3 x 2/3 + 7 x 1) / 10. "Two." is 2 once nine differ from the tenth; "Yes." is not
    # normalised where all ten agree.
    ("vqa", [], {("VQA accuracy", ""): 190 / 3, ("VQA accuracy", "yes/no"): 0.0}, None),
    ("chair", [], {("CHAIRi", ""): 25.0, ("CHAIRs", ""): 50.0, ("recall", ""): 75.0}, None),
    # officially "Unsure" is yes: one hit, one false alarm, one miss
    ("pope", [], {("F1", ""): 50.0, ("accuracy", ""): 50.0, ("yes ratio", ""): 50.0}, 0),
    # strict leaves "Unsure." and "There is no bus." unread
    ("pope", ["--compat", "strict"], {("accuracy", ""): 25.0, ("precision", ""): 100.0}, 2),
    # "known" is no; the picture of count has one of two: 50 + 0
    (
        "mme",
        ["--partial"],
        {("perception, 2 of 10 tasks", ""): 250.0, ("accuracy+", ""): 200 / 3},
        1,
    ),
    ("mme", ["--partial", "--compat", "strict"], {("perception, 2 of 10 tasks", ""): 175.0}, 2),
    ("multiple-choice", [], {("circular accuracy", ""): 50.0, ("unreadable", ""): 0.0}, 0),
    ("multiple-choice", ["--compat", "strict"], {("circular accuracy", ""): 50.0}, 1),
    # official: "norh" is nearest to north
    ("mathvista", [], {("accuracy", ""): 200 / 3, ("accuracy", "answer_type text"): 100.0}, 1),
    ("mathvista", ["--compat", "strict"], {("accuracy", ""): 100 / 3}, 2),
    (
        "scienceqa",
        [],
        {("accuracy", ""): 200 / 3, ("accuracy", "IMG"): 100.0, ("accuracy", "LAN"): 0},
        1,
    ),
    # ranks of images 1 and 2, of captions 1 and 2, 1, 1
    (
        "retrieval",
        [],
        {("TR R@1", ""): 50.0, ("IR R@1", ""): 75.0, ("TR mean rank", ""): 1.5},
        None,
    ),
    # (7 + 9 + 9) / (8 + 9 + 8); conv 16 / 16
    ("relative", [], {("relative score", ""): 100.0, ("relative score", "conv"): 100.0}, None),
]


@pytest.mark.parametrize(
    ("kind", "options", "expected", "unreadable"),
    BY_HAND,
    ids=[" ".join([kind, *options]) for kind, options, *_ in BY_HAND],
)
def test_the_examples_come_to_what_they_are_by_hand(
    kind: str, options: list[str], expected: Any, unreadable: int | None
) -> None:
    (result,) = scored(kind, EXAMPLES / kind, *options)
    for (name, part), figure in expected.items():
        assert value(result, name, part) == pytest.approx(figure, abs=0.01), name
    assert result["unreadable"] == unreadable
    assert result["files"]


def test_every_kind_has_an_example_and_says_what_it_reads() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == set(scoring.names())
    code, out, _ = typed()
    assert code == 0
    for name in scoring.names():
        kind = scoring.load(name)
        assert f"{name}  {kind.ABOUT}" in out
        assert typed(name)[1].count("reads") == 1
        assert kind.COMPAT[0] == "official"
    said = json.loads(typed("pope", "--json")[1])["pope"]
    assert said["compat"] == ["official", "strict", "lmms-eval", "vlmevalkit"]


def test_the_table_of_the_docs_is_the_real_one() -> None:
    page = (ROOT / "docs" / "scoring.md").read_text("utf-8")
    command, shown = page.partition("```sh\n")[2].partition("```text\n")[::2]
    assert command.splitlines()[0] == "looksay score pope score/pope"
    done = looksay("score", "pope", "score/pope", cwd=ROOT / "examples")
    assert done.returncode == 0, done.stderr
    assert shown.partition("```")[0].strip() == done.stdout.strip()


def test_a_process_of_its_own_ends_as_others_do(tmp_path: Path) -> None:
    done = looksay("score", "vqa", tmp_path / "gone")
    assert done.returncode == 2
    assert "There is no file or folder" in done.stderr
    assert "Traceback" not in done.stderr


# The reference scorers' own output.


@pytest.fixture
def golden(shared_data: Path) -> Path:
    folder = shared_data.parent / "golden"
    need(folder.is_dir(), "no golden data")
    return folder


CAPTIONS = {
    "CIDErD_vrama91": "CIDEr-D",
    "CIDEr_original_vrama91": "CIDEr (original)",
    "ROUGE_L": "ROUGE-L",
    **{f"Bleu_{n}": f"BLEU-{n}" for n in range(1, 5)},
}


@pytest.mark.parametrize(
    "part",
    [
        "caption-abstract50s/given",
        "caption-coco80/given",
        "caption-edge/given",
        "caption-nlgeval/given",
        "clipscore-example/good",
        "clipscore-example/bad",
    ],
)
def test_captions_are_scored_as_by_the_reference(golden: Path, tmp_path: Path, part: str) -> None:
    expected = content(golden / part / "golden.json")["overall"]
    (result,) = scored("caption", golden / part)
    for theirs, ours in CAPTIONS.items():
        assert value(result, ours) / 100 == pytest.approx(expected[theirs], abs=1e-6), ours
    for name in ("candidates.json", "references.json"):
        shutil.copy(golden / part / name, tmp_path)
    (own,) = scored("caption", tmp_path)
    assert value(own, "CIDEr-D") / 100 == pytest.approx(expected["CIDErD_vrama91"], abs=0.002)


def test_vqa_is_scored_as_by_the_tool(golden: Path) -> None:
    expected = content(golden / "vqa-accuracy/given/golden.json")["accuracy"]
    (result,) = scored("vqa", golden / "vqa-accuracy/given")
    assert round(value(result, "VQA accuracy"), 2) == expected["overall"]
    for kind, score in {**expected["perQuestionType"], **expected["perAnswerType"]}.items():
        assert round(value(result, "VQA accuracy", kind), 2) == score, kind


def test_pope_is_scored_as_by_its_script(golden: Path) -> None:
    (result,) = scored("pope", golden / "pope/given")
    total = 0.0
    for part in ("random", "popular", "adversarial"):
        expected = content(golden / f"pope/given/golden_{part}.json")
        total += expected["f1"]
        for theirs, ours in (
            ("f1", "F1"),
            ("accuracy", "accuracy"),
            ("precision", "precision"),
            ("recall", "recall"),
            ("yes_ratio", "yes ratio"),
        ):
            assert value(result, ours, part) == pytest.approx(100 * expected[theirs], abs=1e-10)
    mean = value(result, "F1, mean of the parts")
    assert mean == pytest.approx(100 * total / 3, abs=1e-10)


@pytest.mark.parametrize("part", ["given_gpt4_detail_first15", "given_rotated40"])
def test_chair_is_scored_as_by_its_code(golden: Path, part: str) -> None:
    expected = content(golden / "chair" / part / "golden.json")["overall"]
    words = golden / "chair" / "synonyms.txt"
    (result,) = scored("chair", golden / "chair" / part, "--synonyms", words)
    assert value(result, "CHAIRi") == pytest.approx(100 * expected["CHAIRi"], abs=1e-10)
    assert value(result, "CHAIRs") == pytest.approx(100 * expected["CHAIRs"], abs=1e-10)
    recall = 100 * expected["object_recall_micro(extra, not in reference)"]
    assert value(result, "recall") == pytest.approx(recall, abs=1e-10)
    assert result["notes"] == []


def test_circles_are_scored_as_by_vlmevalkit(golden: Path) -> None:
    expected = content(golden / "mcq-circular/given/golden.json")
    (result,) = scored("multiple-choice", golden / "mcq-circular/given")
    circular, plain = (
        value(result, n) for n in ("circular accuracy", "accuracy, options as given")
    )
    assert circular == pytest.approx(100 * expected["circular_acc"], abs=1e-10)
    assert plain == pytest.approx(100 * expected["vanilla_acc"], abs=1e-10)


def test_mathvista_is_scored_as_by_its_script(golden: Path) -> None:
    folder = golden / "mathvista" / "given"
    results = scored("mathvista", folder)
    assert [one["name"] for one in results] == ["llava_llama_2_13b", "random_guess"]
    for result in results:
        expected = content(folder / f"{result['name']}.golden.json")["published_scores"]
        assert value(result, "accuracy") == pytest.approx(float(expected["average"]["accuracy"]))
        for about, kinds in expected.items():
            if about != "average":
                for kind, one in kinds.items():
                    found = row(result, "accuracy", f"{about} {kind}")
                    assert found["of"] == one["total"], (about, kind)
                    assert found["value"] * one["total"] / 100 == pytest.approx(one["correct"])


def test_scienceqa_is_read_as_by_llava(golden: Path) -> None:
    folder = golden / "scienceqa" / "given"
    (result,) = scored("scienceqa", folder)
    expected = content(folder / "test_sqa_llava_13b_v0.json.golden.json")
    found = row(result, "agreement with the file's indices")
    other = expected["n_outputs"] - expected["agree_with_llava_rule"]
    assert round(found["of"] * (1 - found["value"] / 100)) == other
    assert result["unreadable"] == expected["failed_parse"]
    assert "no accuracy" in result["notes"][0]


def test_retrieval_is_scored_as_by_the_protocol(golden: Path) -> None:
    expected = content(golden / "retrieval/given/golden.json")
    (result,) = scored("retrieval", golden / "retrieval/given")
    for theirs, way in (("image_to_text(TR)", "TR"), ("text_to_image(IR)", "IR")):
        for k in (1, 5, 10):
            assert value(result, f"{way} R@{k}") == pytest.approx(expected[theirs][f"R@{k}"])
        assert value(result, f"{way} median rank") == expected[theirs]["MedR"]
        assert value(result, f"{way} mean rank") == pytest.approx(expected[theirs]["MeanR"])


def test_relative_scores_are_those_of_llava_s_script(golden: Path) -> None:
    folder = golden / "judge-relative-score" / "given"
    for result in scored("relative", folder):
        name = result["name"].removesuffix("_vicuna-13b")
        expected = content(folder / f"{name}.golden.json")
        assert round(value(result, "relative score"), 1) == expected["relative_2_over_1"]
        assert round(10 * value(result, "rating of the reference"), 1) == expected["mean1_x10"]
        assert round(10 * value(result, "rating"), 1) == expected["mean2_x10"]
        assert row(result, "relative score")["of"] == expected["n"]
        assert result["notes"][0].endswith("first line: 3; the stored ones were taken.")
    said = refused("relative", folder, "--compat", "strict")
    assert "expected two numbers from 1 to 10" in said
    assert "of 80 (question_id" in said


# The benchmarks' own files.


def test_results_of_coco_with_its_annotations(tmp_path: Path) -> None:
    references = content(EXAMPLES / "caption" / "references.json")
    candidates = content(EXAMPLES / "caption" / "candidates.json")
    numbers = {name: 9 + number for number, name in enumerate(references)}
    annotations = [
        {"id": 100 * numbers[name] + n, "image_id": numbers[name], "caption": text}
        for name, texts in references.items()
        for n, text in enumerate(texts)
    ]
    images = [{"id": n, "file_name": f"{n:012d}.jpg"} for n in numbers.values()]
    write(tmp_path / "captions_val.json", {"images": images, "annotations": annotations})
    results = [{"image_id": numbers[name], "caption": text} for name, text in candidates.items()]
    write(tmp_path / "mini.json", results)
    write(tmp_path / "other.json", list(reversed(results)))
    (whole,) = scored("caption", EXAMPLES / "caption")
    for result in scored("caption", tmp_path):
        assert [one["value"] for one in result["figures"]] == pytest.approx(
            [one["value"] for one in whole["figures"]]
        )
        assert result["name"] in ("mini", "other")
    write(tmp_path / "other.json", results[:2])
    assert "other.json: 1 of 3 images in" in refused("caption", tmp_path)
    part = scored("caption", tmp_path, "--partial")[1]
    assert part["notes"][0] == "2 of 3 images scored; the others have no answer."


def test_tokens_that_are_given_are_taken(tmp_path: Path) -> None:
    write(tmp_path / "candidates.json", {"a": "22 3/4 street", "b": "a dog"})
    write(tmp_path / "references.json", {"a": ["the 22 3/4 street"], "b": ["a cat"]})
    (own,) = scored("caption", tmp_path)
    tokens = {
        "candidates": {"a": ["22\u00a03/4 street"], "b": ["a dog"]},
        "references": {"a": ["the 22\u00a03/4 street"], "b": ["a cat"]},
    }
    write(tmp_path / "ptb_tokens.json", tokens)
    (given,) = scored("caption", tmp_path)
    for name in ("BLEU-1", "CIDEr-D"):
        assert value(given, name) == value(own, name)
    # There ROUGE takes the mixed number for one token: recall 2/3, not 3/4; precision 1.
    half = 2.44 * 0.5 * 0.5 / (0.5 + 1.44 * 0.5)
    recalls = {"own": (own, 3 / 4), "given": (given, 2 / 3)}
    for result, recall in recalls.values():
        first = 2.44 * recall / (recall + 1.44)
        assert value(result, "ROUGE-L") == pytest.approx(50 * (first + half))


def test_document_frequencies_are_saved_and_used(tmp_path: Path) -> None:
    whole, table = EXAMPLES / "caption", tmp_path / "df.json"
    (before,) = scored("caption", whole, "--save-df", table)
    for name in ("candidates.json", "references.json"):
        kept = content(whole / name)
        write(tmp_path / "one" / name, {"lighthouse": kept["lighthouse"]})
    # Of one image alone every n-gram is in all images, and weighs nothing.
    (alone,) = scored("caption", tmp_path / "one")
    assert value(alone, "CIDEr-D") == 0
    (known,) = scored("caption", tmp_path / "one", "--df", table)
    assert "a table of 3 images" in known["notes"][0]
    for name in ("quay", "market"):
        write(tmp_path / name / "candidates.json", {name: content(whole / "candidates.json")[name]})
        write(tmp_path / name / "references.json", {name: content(whole / "references.json")[name]})
    parts = [scored("caption", tmp_path / name, "--df", table)[0] for name in ("quay", "market")]
    every = [known, *parts]
    assert sum(value(one, "CIDEr-D") for one in every) / 3 == pytest.approx(
        value(before, "CIDEr-D")
    )


def test_meteor_s_figure_is_the_program_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def meteor(candidates: Any, references: Any, timeout_s: float = 0) -> JavaScores:
        assert timeout_s == 5
        assert len(candidates) == len(references) == 3
        return JavaScores((0.2, None, 0.6), 0.45, 1)

    monkeypatch.setattr(coco_java, "meteor", meteor)
    (result,) = scored(
        "caption", EXAMPLES / "caption", "--meteor", "--timeout", "5", "--samples", "200"
    )
    found = row(result, "METEOR")
    assert found["value"] == pytest.approx(45)
    assert (found["low"], found["high"]) == (pytest.approx(25), pytest.approx(65))
    assert found["of"] == 2
    assert result["notes"][-1].endswith("most often empty ones: 1.")


def test_what_the_coco_evaluation_leaves_is_read_by_chair(tmp_path: Path) -> None:
    captions = content(EXAMPLES / "chair" / "captions.json")
    truth = content(EXAMPLES / "chair" / "ground_truth.json")
    said = {str(one["image_id"]): {**one, "CIDEr": 0.5} for one in captions}
    write(tmp_path / "said.json", {"overall": {"CIDEr": 0.5}, "imgToEval": said})
    names = ["dog", "boat", "person", "cat"]
    write(
        tmp_path / "instances_all.json",
        {
            "images": [{"id": n} for n in (1, 2, 3)],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
            "annotations": [
                {"id": 10 * int(image) + n, "image_id": int(image), "category_id": names.index(one)}
                for image, row in truth.items()
                for n, one in enumerate(row["objects"])
            ]
            + [{"id": 99, "image_id": 3, "category_id": 3}],
        },
    )
    write(
        tmp_path / "captions_all.json",
        {
            "annotations": [
                {"id": 10 * int(image) + n, "image_id": int(image), "caption": one}
                for image, row in truth.items()
                for n, one in enumerate(row["captions"])
            ]
        },
    )
    (own,), (coco,) = scored("chair", EXAMPLES / "chair"), scored("chair", tmp_path)
    assert own["figures"] == coco["figures"]
    assert "--synonyms FILE" in coco["notes"][0]


def test_pope_with_llava_s_files(tmp_path: Path) -> None:
    labels = content(EXAMPLES / "pope" / "coco_pope_random.json")
    said = [one["answer"] for one in content(EXAMPLES / "pope" / "answers.jsonl")]
    other = [{**one, "label": "no", "text": one["text"].replace("a ", "a red ")} for one in labels]
    write(tmp_path / "coco_pope_random.json", labels)
    write(tmp_path / "coco_pope_popular.json", other)
    questions, answers = [], []
    for part, rows in (("random", labels), ("popular", other)):
        for one, text in zip(rows, said, strict=True):
            name = len(questions)
            prompt = f"{one['text']}\nAnswer the question using a single word or phrase."
            questions.append(
                {"question_id": name, "image": one["image"], "text": prompt, "category": part}
            )
            answers.append({"question_id": name, "prompt": prompt, "text": text, "metadata": {}})
    write(tmp_path / "llava_pope_test.jsonl", questions)
    write(tmp_path / "mine.jsonl", answers)
    (plain,), (result,) = scored("pope", EXAMPLES / "pope"), scored("pope", tmp_path)
    for name in ("F1", "accuracy", "yes ratio"):
        assert value(result, name, "random") == value(plain, name)
    assert value(result, "accuracy", "popular") == 50
    assert value(result, "F1, mean of the parts") == value(result, "F1", "random") / 2
    write(tmp_path / "coco_pope_popular.json", labels)
    assert "are these the answers to another part?" in refused("pope", tmp_path)


def test_a_perfect_mme_has_2800_points(tmp_path: Path) -> None:
    from looksay.evaluation.metrics.mme import COGNITION, PERCEPTION

    for task in (*PERCEPTION, *COGNITION):
        lines = [
            f"{n}.jpg\tIs it {word} {n}?\t{word}\t{word}\n"
            for n in range(2)
            for word in ("Yes", "No")
        ]
        write(tmp_path / f"{task}.txt", "".join(lines))
    (result,) = scored("mme", tmp_path)
    assert value(result, "perception") == pytest.approx(2000)
    assert value(result, "cognition") == pytest.approx(800)
    assert result["unreadable"] == 0


def test_multiple_choice_as_a_table(tmp_path: Path) -> None:
    rows = content(EXAMPLES / "multiple-choice" / "rows.jsonl")
    lines = ["\t".join(["index", "A", "B", "C", "answer", "prediction", "category"])]
    lines += [
        "\t".join(
            [
                str(r["index"]),
                *r["options"].values(),
                "",
                r["answer"],
                r["prediction"],
                r["category"],
            ]
        )
        for r in rows
    ]
    path = write(tmp_path / "MMBench.tsv", "\n".join(lines) + "\n")
    (own,), (table,) = (
        scored("multiple-choice", EXAMPLES / "multiple-choice"),
        scored("multiple-choice", path),
    )
    assert own["figures"] == table["figures"]
    plain = write(tmp_path / "plain.jsonl", rows[::2])
    (result,) = scored("multiple-choice", plain)
    assert value(result, "accuracy") == 100
    assert {one["name"] for one in result["figures"]} == {"accuracy", "unreadable"}
    lines[1] = lines[1].partition("\t")[0]
    write(path, "\n".join(lines))
    assert "row 1: expected 7 fields; found 1" in refused("multiple-choice", path)


def test_mathvista_takes_answers_from_testmini(tmp_path: Path) -> None:
    rows = content(EXAMPLES / "mathvista" / "output.json")
    keys = ("question_type", "answer_type", "choices", "precision", "metadata")
    write(
        tmp_path / "testmini.json",
        {pid: {k: one[k] for k in (*keys, "answer")} for pid, one in rows.items()},
    )
    said = {pid: {k: v for k, v in one.items() if k != "answer"} for pid, one in rows.items()}
    write(tmp_path / "output_mine.json", said)
    (own,), (result,) = scored("mathvista", EXAMPLES / "mathvista"), scored("mathvista", tmp_path)
    assert own["figures"] == result["figures"]
    for one in said.values():
        del one["extraction"]
        one["response"] = "It is 3."
    write(tmp_path / "output_mine.json", said)
    assert "a language model extracts answers first" in refused("mathvista", tmp_path)


def test_scienceqa_s_own_results_and_their_guesses(tmp_path: Path) -> None:
    outputs = {
        one["question_id"]: one["text"] for one in content(EXAMPLES / "scienceqa" / "answers.jsonl")
    }
    guessed = {"acc": 100.0, "results": {"1": 1, "2": 0, "3": 1}, "outputs": outputs}
    write(tmp_path / "exp1.json", guessed)
    shutil.copy(EXAMPLES / "scienceqa" / "problems.json", tmp_path)
    (own,), (result,) = scored("scienceqa", EXAMPLES / "scienceqa"), scored("scienceqa", tmp_path)
    assert own["figures"] == result["figures"]
    assert "index in the file all the same: 1." in result["notes"][0]
    (alone,) = scored("scienceqa", tmp_path / "exp1.json")
    assert value(alone, "agreement with the file's indices") == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("ties", "text", "image"),
    [("official", [1, 0], [1, 1, 0, 0]), ("strict", [0, 0], [0, 0, 0, 0])],
)
def test_equal_similarities(tmp_path: Path, ties: str, text: list[int], image: list[int]) -> None:
    write(tmp_path / "similarity.json", [[0.5] * 4] * 2)
    (result,) = scored("retrieval", tmp_path, "--compat", ties)
    assert value(result, "TR R@1") == 100 * sum(text) / 2
    assert value(result, "IR R@1") == 100 * sum(image) / 4


def test_a_line_ends_where_the_file_says(tmp_path: Path) -> None:
    rows = content(EXAMPLES / "relative" / "reviews.jsonl")
    rows[0]["content"] += "\u2028It is better.\x85"
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\r\n" for one in rows)
    (tmp_path / "reviews.jsonl").write_bytes(lines.encode())
    (own,), (result,) = scored("relative", EXAMPLES / "relative"), scored("relative", tmp_path)
    assert own["figures"] == result["figures"]


def test_similarities_as_an_array(tmp_path: Path) -> None:
    import numpy as np

    rows = content(EXAMPLES / "retrieval" / "similarity.json")
    np.save(tmp_path / "similarity.npy", np.array(rows, dtype=np.float32))
    (own,), (result,) = scored("retrieval", EXAMPLES / "retrieval"), scored("retrieval", tmp_path)
    assert own["figures"] == result["figures"]


# What must hold of any.


@pytest.mark.parametrize(
    ("kind", "file", "also"),
    [
        ("vqa", "results.json", ()),
        ("chair", "captions.json", ()),
        ("multiple-choice", "rows.jsonl", ()),
        ("scienceqa", "answers.jsonl", ()),
        ("relative", "reviews.jsonl", ()),
    ],
)
def test_order_changes_nothing(tmp_path: Path, kind: str, file: str, also: Any) -> None:
    for path in (EXAMPLES / kind).iterdir():
        shutil.copy(path, tmp_path)
    rows = content(tmp_path / file)
    random.Random(3).shuffle(rows)
    assert rows != content(EXAMPLES / kind / file)
    write(tmp_path / file, rows)
    seen = [scored(kind, folder, "--samples", "50") for folder in (EXAMPLES / kind, tmp_path)]
    for one in seen:
        del one[0]["files"]
        one[0]["figures"].sort(key=lambda f: (f["name"], f["kind"]))
    assert seen[0] == seen[1]


def test_pictures_are_resampled_whole(tmp_path: Path) -> None:
    # Both questions about the one picture are right, or both wrong: the interval sees two pictures.
    (result,) = scored("pope", EXAMPLES / "pope", "--samples", "100", "--seed", "1")
    assert row(result, "accuracy")["of"] == 4
    assert row(result, "accuracy")["clusters"] == 2
    assert row(result, "accuracy")["low"] == row(result, "accuracy")["high"] == 50
    again = scored("pope", EXAMPLES / "pope", "--samples", "100", "--seed", "1")
    assert again == [result]


def test_without_intervals_there_are_none() -> None:
    (result,) = scored("vqa", EXAMPLES / "vqa")
    assert {(one["low"], one["high"]) for one in result["figures"]} == {(None, None)}
    assert " to " not in typed("vqa", EXAMPLES / "vqa", "--no-intervals")[1]
