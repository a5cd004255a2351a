"""Running a benchmark: answers are kept, nothing is asked twice, failures are no scores, judges are others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("numpy", reason="no numpy: no intervals")

from looksay.backends.base import Profile
from looksay.errors import BackendError, InputError
from looksay.evaluation import report
from looksay.evaluation.benchmark import Answer, Card, Item, checked
from looksay.evaluation.benchmarks._judging import verdicts_of
from looksay.evaluation.journal import Journal, key
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.run import Result, evaluate, limited
from looksay.types import Completion, Conversation, Image, Options

CARD = Card("Sums", "Sums.", {}, "here", "none", "none", "none", likelihood=True)


@dataclass
class Adder:
    """Adds two numbers, wrongly where the sum is `wrong`; `fails` names items without an answer."""

    name: str = "adder"
    fingerprint: str = "adder-1"
    wrong: int = -1
    fails: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)
    profile = Profile()

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        for number, conversation in enumerate(conversations):
            text = conversation.messages[-1].text
            self.asked.append(text)
            if text in self.fails:
                yield Completion(number, error="gone", finish_reason="error")
                continue
            total = sum(map(int, text.split("+")))
            yield Completion(number, str(total + (total == self.wrong)), 3, 1, 0.5, 0.01)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield next(self.complete([conversation], options)).text


def items(count: int = 6) -> list[Item]:
    return [
        Item(str(n), Conversation.ask(f"{n}+1"), {"answer": n + 1}, kind="odd" if n % 2 else "even")
        for n in range(count)
    ]


def score(answers: Any, compat: str, verdicts: Any) -> list[Measure]:
    return of_verdicts({a.item.id: int(a.text) == a.item.truth["answer"] for a in answers})


SUMS: Any = SimpleNamespace(CARD=CARD, score=score)


def run(backend: Adder, folder: Path, some: list[Item] | None = None, **how: Any) -> Result:
    return evaluate(
        backend, "sums", SUMS, some or items(), folder, options=how.pop("options", Options()), **how
    )


def values(result: Result) -> dict[str, float]:
    return {f"{f.measure.name} {f.measure.kind}".strip(): f.interval.value for f in result.figures}


def test_figures_are_those_of_the_benchmark_and_of_its_kinds(tmp_path: Path) -> None:
    result = run(Adder(wrong=2), tmp_path)
    assert values(result) == {
        "accuracy": pytest.approx(500 / 6),
        "unreadable": 0,
        "accuracy even": 100,
        "accuracy odd": pytest.approx(200 / 3),
    }


def test_nothing_is_asked_twice_and_what_changes_is_asked_again(tmp_path: Path) -> None:
    first = run(Adder(), tmp_path)
    again = Adder()
    second = run(again, tmp_path)
    assert again.asked == []
    assert second.asked.reused == 6
    assert values(first) == values(second)
    changed = items()
    changed[2] = Item("2", Conversation.ask("2+7"), {"answer": 9})
    run(again, tmp_path, changed)
    assert again.asked == ["2+7"]
    other = Adder(fingerprint="adder-2")
    run(other, tmp_path)
    assert len(other.asked) == 6
    run(again, tmp_path, options=Options(max_tokens=5))
    assert len(again.asked) == 7


def test_a_failed_call_is_no_score_and_only_it_is_asked_again(tmp_path: Path) -> None:
    result = run(Adder(fails=frozenset({"3+1"})), tmp_path)
    assert result.figures == ()
    assert result.failures == [("3", "gone")]
    assert "a failed call is no score" in report.table(report.record([result])).replace("\n", " ")
    mended = Adder()
    assert values(run(mended, tmp_path))["accuracy"] == 100
    assert mended.asked == ["3+1"]


def test_a_backend_that_answers_nothing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="answered none of 6 requests: gone"):
        run(Adder(fails=frozenset(f"{n}+1" for n in range(6))), tmp_path)


def test_a_line_that_a_kill_cut_off_is_asked_again(tmp_path: Path) -> None:
    before = run(Adder(wrong=4), tmp_path)
    (path,) = tmp_path.rglob("*.jsonl")
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        again = Adder(wrong=4)
        after = run(again, tmp_path)
        assert len(again.asked) == 6 - sum(end <= length for end in ends)
        assert (
            report.record([after])["results"][0]["figures"]
            == (report.record([before])["results"][0]["figures"])
        )


def test_a_damaged_line_is_told_with_its_number(tmp_path: Path) -> None:
    run(Adder(), tmp_path)
    (path,) = tmp_path.rglob("*.jsonl")
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:20]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"line 3: no record of an answer"):
        run(Adder(), tmp_path)


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from evaluation.test_running import Adder, run
class Slow(Adder):
    def complete(self, conversations, options):
        for one in super().complete(conversations, options):
            time.sleep(0.02)
            yield one
from evaluation.test_running import items
run(Slow(wrong=9), Path(sys.argv[1]), items(400))
"""


@pytest.mark.slow
def test_killed_at_any_instant_it_ends_with_the_same_report(tmp_path: Path) -> None:
    whole = run(Adder(wrong=9), tmp_path / "whole", items(400))
    broken = tmp_path / "broken"
    tests = str(Path(__file__).parents[1])
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(broken), tests], env=os.environ)
        deadline = time.monotonic() + 240
        before = sum(p.stat().st_size for p in broken.rglob("*.jsonl"))
        while sum(p.stat().st_size for p in broken.rglob("*.jsonl")) < before + 2000:
            assert child.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        child.kill()
        child.wait()
    last = Adder(wrong=9)
    after = run(last, broken, items(400))
    assert 0 < len(last.asked) < 400
    one, other = (report.record([r]) for r in (whole, after))
    for found in (one, other):
        for told in ("reused", "memory_mb"):
            found["results"][0].pop(told)
    assert one == other


def test_the_judge_is_another_and_its_failure_is_no_score(tmp_path: Path) -> None:
    def judge(answers: list[Answer]) -> list[Item]:
        return [Item(a.item.id, Conversation.ask(f"{a.text}+0")) for a in answers]

    def judged(answers: Any, compat: str, verdicts: list[Answer]) -> list[Measure]:
        return of_verdicts({v.item.id: int(v.text) > 0 for v in verdicts})

    bench: Any = SimpleNamespace(CARD=CARD, score=judged, judge=judge)

    def go(reader: Adder | None) -> Result:
        return evaluate(
            Adder(), "judged", bench, items(), tmp_path, options=Options(), judge=reader
        )

    with pytest.raises(InputError, match="--judge MODEL"):
        go(None)
    with pytest.raises(InputError, match="is the model that it would judge"):
        go(Adder(name="another name"))
    failed = go(Adder("judge", "judge-1", fails=frozenset({"2+0"})))
    assert failed.figures == ()
    assert failed.failures == [("1", "judge: gone")]
    reader = Adder("judge", "judge-1")
    assert values(go(reader))["accuracy"] == 100
    assert reader.asked == ["2+0"]
    assert len(list((tmp_path / "answers").rglob("*.jsonl"))) == 2


def test_a_verdict_that_nobody_can_read_is_a_failed_call_and_asked_again(tmp_path: Path) -> None:
    def judge(answers: list[Answer]) -> list[Item]:
        return [Item(a.item.id, Conversation.ask(f"{a.text}+0")) for a in answers]

    def read(text: str) -> bool:
        if text == "3":
            raise InputError("The judge wrote '3'; expected another number.")
        return True

    def judged(answers: Any, compat: str, verdicts: list[Answer]) -> list[Measure]:
        return of_verdicts(verdicts_of(answers, verdicts, read))

    bench: Any = SimpleNamespace(CARD=CARD, score=judged, judge=judge)
    reader = Adder("judge", "judge-1")

    def go() -> Result:
        return evaluate(
            Adder(), "judged", bench, items(), tmp_path, options=Options(), judge=reader
        )

    first = go()
    assert first.figures == ()
    assert first.failures == [("2", "judge: The judge wrote '3'; expected another number.")]
    reader.asked.clear()
    reader.wrong = 3  # it now says 4
    assert values(go())["accuracy"] == 100
    assert reader.asked == ["3+0"]


def test_who_waits_for_a_person_has_not_failed_and_has_no_score_either(tmp_path: Path) -> None:
    class Later(Adder):
        """A person who has answered what comes to an even number."""

        def complete(self, conversations: Any, options: Options) -> Iterator[Completion]:
            for one in super().complete(conversations, options):
                later = Completion(
                    one.index, error="not yet", finish_reason="error", details={"waiting": "Do it."}
                )
                yield later if one.text and int(one.text) % 2 else one

    result = run(Later(), tmp_path)
    assert result.figures == ()
    assert result.waiting == dict.fromkeys(["0", "2", "4"], "Do it.")
    (journal,) = tmp_path.rglob("*.jsonl")
    assert len(journal.read_text().splitlines()) == 3  # what waits is no record of an answer
    record = report.record([result])
    assert (record["results"][0]["failed"], record["results"][0]["waiting"]) == (3, 3)
    told = report.table(record)
    assert "not scored: 3 of 6 wait for a person's answer." in told
    assert told.endswith("\nDo it.")
    assert "failed" not in told
    both = run(Later(fails=frozenset({"1+1"})), tmp_path / "both")
    told = report.table(report.record([both]))
    assert "not scored: 1 of 6 calls failed." in told
    assert "3 of 6 wait for a person's answer.\n    1: gone\n" in told
    nobody = run(Later(), tmp_path / "nobody", [one for one in items() if one.kind == "even"])
    assert len(nobody.waiting) == 3  # no fault of the backend


def test_a_refusal_is_an_answer_that_nobody_can_read(tmp_path: Path) -> None:
    class Shy(Adder):
        def complete(self, conversations: Any, options: Options) -> Iterator[Completion]:
            for one in super().complete(conversations, options):
                said = replace(
                    one,
                    text="",
                    error="the model refused",
                    finish_reason="refusal",
                    details={"refused": "I cannot."},
                )
                yield said if one.text == "3" else one

    def read(answers: Any, compat: str, verdicts: Any) -> list[Measure]:
        return of_verdicts({a.item.id: True if a.text.isdigit() else None for a in answers})

    bench: Any = SimpleNamespace(CARD=CARD, score=read)
    result = evaluate(Shy(), "sums", bench, items(), tmp_path, options=Options())
    assert values(result)["unreadable"] == pytest.approx(100 / 6)
    assert result.asked.answers[2].text == "I cannot."
    again = Shy()
    evaluate(again, "sums", bench, items(), tmp_path, options=Options())
    assert again.asked == []


def test_half_a_surrogate_pair_stops_nothing(tmp_path: Path) -> None:
    class Cut(Adder):
        def complete(self, conversations: Any, options: Options) -> Iterator[Completion]:
            for one in super().complete(conversations, options):
                yield replace(one, text="caf\ud83d")

    def same(answers: Any, compat: str, verdicts: Any) -> list[Measure]:
        return of_verdicts({a.item.id: a.text == "caf\ud83d" for a in answers})

    bench: Any = SimpleNamespace(CARD=CARD, score=same)
    for _ in range(2):
        result = evaluate(Cut(), "sums", bench, items(), tmp_path, options=Options())
        assert values(result)["accuracy"] == 100


def test_one_process_writes_at_a_time_and_a_kill_lifts_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    program = (
        "import sys, time; from pathlib import Path; from looksay.evaluation.journal import Journal;"
        "j = Journal(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"held"
        with pytest.raises(InputError, match="is being written by another run"):
            Journal(path)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    with Journal(path) as journal:
        journal.add("k", "1", Completion(0, "yes"))


def test_other_choices_are_another_question() -> None:
    one, other = (Item("1", Conversation.ask("?"), choices=c) for c in (("A", "B"), ("X", "Y")))
    assert key("model", one, Options()) != key("model", other, Options())


def test_other_findings_are_another_question_and_none_the_same_as_ever() -> None:
    from looksay.experts.base import Findings, TextLine

    def item(findings: Findings | None) -> Item:
        return Item("1", Conversation.ask(Image(b"png", findings), "?"))

    read = [
        *(None, Findings((4, 2)), Findings((4, 3))),
        Findings((4, 2), lines=(TextLine("A", (0, 0, 1, 1)),)),
        Findings((4, 2), lines=(TextLine("B", (0, 0, 1, 1)),)),
    ]
    keys = [key("model", item(found), Options()) for found in read]
    assert len(set(keys)) == len(read)
    assert [key("model", item(found), Options()) for found in read] == keys
    # What was asked before pictures could carry findings is not asked again.
    assert keys[0] == "8aa2486bc39913441909e6e0cf4eb599"


def test_likelihoods_that_are_no_numbers_are_a_failed_call(tmp_path: Path) -> None:
    class Ranked(Adder):
        def rank(self, conversation: Conversation, choices: Any) -> list[float]:
            return [float("nan") if "3" in conversation.messages[-1].text else 0.0, -1.0]

    some = [replace(item, choices=("yes", "no")) for item in items()]
    result = evaluate(Ranked(), "sums", SUMS, some, tmp_path, options=Options(), likelihood=True)
    assert [one for one, _ in result.failures] == ["3"]
    assert result.asked.completions[0] is not None
    assert result.asked.completions[0].text == "yes"
    with pytest.raises(InputError, match="names no choices to rank"):
        evaluate(Ranked(), "sums", SUMS, items(), tmp_path, options=Options(), likelihood=True)


def test_a_part_says_that_it_is_one(tmp_path: Path) -> None:
    found = report.record([run(Adder(), tmp_path, whole=60)])
    assert "adder on sums, 6 of 60 items" in report.table(found)


def test_models_are_compared_on_the_same_samples(tmp_path: Path) -> None:
    results = [run(Adder(), tmp_path), run(Adder("odd one", "adder-3", wrong=2), tmp_path)]
    rows = report.record(results)["differences"]
    assert rows[0]["name"] == "accuracy"
    assert rows[0]["value"] == pytest.approx(-100 / 6)
    assert rows[0]["of"] == 6
    text = report.table(report.record(results))
    assert "odd one - adder = -16.7" in text


def test_a_limit_counts_pictures() -> None:
    some = [Item(f"{n}", Conversation.ask("1+1"), image=f"{n // 3}") for n in range(12)]
    assert [i.id for i in limited(some, 2)] == ["0", "1", "2", "3", "4", "5"]
    assert limited(some, None) == some
    with pytest.raises(InputError, match="two items have the id '1'"):
        checked([some[1], some[1]], "twice")
    with pytest.raises(InputError, match="holds no item"):
        checked([], "nothing")


def test_a_picture_is_its_bytes(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Pillow.new("RGB", (4, 4), "red").save(path)

    def of(image: Image) -> str:
        return key("model", Item("1", Conversation.ask(image, "What?")), Options())

    assert of(Image(paths[0])) == of(Image(paths[1])) == of(Image(paths[0].read_bytes()))
    assert of(Image(Pillow.new("RGB", (4, 4), "red"))) != of(
        Image(Pillow.new("RGB", (4, 4), "blue"))
    )


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path / "file" / "answers.jsonl")


def test_the_record_is_json(tmp_path: Path) -> None:
    found = report.record([run(Adder(), tmp_path)])
    report.write(found, tmp_path)
    text = (tmp_path / "report.json").read_text("utf-8")
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(text)
    result = found["results"][0]
    psutil = pytest.importorskip("psutil")
    assert 1 < result["memory_mb"] <= psutil.Process().memory_info().rss / 2**20 + 500
    assert run(Adder(), tmp_path).asked.memory is None
    assert (result["seconds"], result["completion_tokens"]) == (3.0, 6)
    assert result["cost_usd"] == pytest.approx(0.06)
