"""Dialogues: asked once, held several at a time, with several backends, and gone on with from the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.backends.base import Profile, as_they_finish
from looksay.data.answers import Answers
from looksay.data.dialogues import (
    Aside,
    Dialogue,
    Request,
    Unanswered,
    Unfit,
    estimated,
    hold,
    insist,
    missing,
)
from looksay.library.lines import Lines
from looksay.types import Completion, Conversation, Options, Price


class Adder:
    """Adds one, several at once and in any order; fails on what `fails` names."""

    def __init__(self, name: str = "adder", fails: frozenset[str] = frozenset()) -> None:
        self.name = self.fingerprint = name
        self.profile = Profile(concurrency=3, price=Price(1.0, 2.0))
        self.asked: list[str] = []
        self.fails = fails

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        def one(conversation: Conversation) -> Completion:
            text = conversation.messages[-1].text
            self.asked.append(text)
            if text in self.fails:
                return Completion(0, error="no ink", finish_reason="error")
            return Completion(0, str(int(text) + 1), 5, 1, 2.0, 0.25)

        for index, found in as_they_finish(one, conversations, 3):
            yield Completion(index, found.text, 5, 1, 2.0, 0.25, found.finish_reason, found.error)

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield ""


def counting(start: int, steps: int, *backends: Adder) -> Dialogue[int]:
    """Each step asks the next backend to add one."""
    for step in range(steps):
        asked = Conversation.ask(str(start))
        said = yield Request("add", backends[step % len(backends)], asked, Options())
        start = int(said.text)
    return start


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=12), st.integers(0, 1000)
)
def test_all_end_asked_once_wherever_the_file_was_cut(
    wanted: list[tuple[int, int]], seed: int
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.jsonl"

        def held(one: Adder, other: Adder) -> dict[str, int | Unanswered]:
            with Lines(path, "an answer") as lines:
                asked = (
                    (str(n), counting(start, steps, one, other))
                    for n, (start, steps) in enumerate(wanted)
                )
                return dict(hold(asked, Answers(lines)))

        first, second = Adder("one"), Adder("other")
        ends = {str(n): start + steps for n, (start, steps) in enumerate(wanted)}
        assert held(first, second) == ends
        for backend in (first, second):
            assert len(backend.asked) == len(set(backend.asked))
        whole = path.read_bytes()
        cut = Random(seed).randint(0, len(whole))
        path.write_bytes(whole[:cut])
        again, other = Adder("one"), Adder("other")
        assert held(again, other) == ends
        asked = len(first.asked) + len(second.asked)
        assert len(again.asked) + len(other.asked) == asked - whole[:cut].count(b"\n")


def test_a_failed_call_ends_its_dialogue_and_no_other_and_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    broken, sound = Adder(fails=frozenset({"11"})), Adder()
    for backend, end in ((broken, Unanswered("no ink")), (sound, 13)):
        with Lines(path, "an answer") as lines:
            asked = [("a", counting(10, 3, backend)), ("b", counting(20, 2, backend))]
            assert dict(hold(asked, Answers(lines))) == {"a": end, "b": 22}
    assert sorted(broken.asked) == ["10", "11", "20", "21"]
    assert sorted(sound.asked) == ["11", "12"]


def test_what_is_to_come_is_estimated(tmp_path: Path) -> None:
    backend = Adder()
    with Lines(tmp_path / "answers.jsonl", "an answer") as lines:
        answers = Answers(lines)
        open_ = [counting(n, 2, backend) for n in range(4)]
        (before,) = estimated(
            ((r.what, r.backend, 100) for r in missing(open_, answers)), answers, {"add": 50}
        )
        assert (before.requests, before.prompt_tokens, before.completion_tokens) == (4, 400, 200)
        assert before.cost_usd == pytest.approx((400 * 1.0 + 200 * 2.0) / 1e6)
        assert before.seconds is None
        assert backend.asked == []
        assert dict(hold([("a", counting(0, 2, backend))], answers)) == {"a": 2}
        left = [counting(n, 2, backend) for n in range(4)]
        (after,) = estimated(
            ((r.what, r.backend, 100) for r in missing(left, answers)), answers, {"add": 50}
        )
        assert after.requests == 3
        assert after.seconds == pytest.approx(3 * 2.0 / 3)
        assert answers.cost_usd() == pytest.approx(0.5)


def test_who_insists_says_what_was_wrong_and_gives_up(tmp_path: Path) -> None:
    said = iter(["one", "two", "3", "one", "two", "three"])
    told: list[list[str]] = []

    class Talker(Adder):
        def complete(
            self, conversations: Iterable[Conversation], options: Options
        ) -> Iterator[Completion]:
            for index, conversation in enumerate(conversations):
                told.append([message.text for message in conversation.messages])
                yield Completion(index, next(said))

    def read(answer: Completion) -> int:
        if not answer.text.isdigit():
            raise Unfit(f"{answer.text!r} is no {{number}}")
        return int(answer.text)

    def asked(words: str) -> Dialogue[int | Aside]:
        request = Request("count", Talker(), Conversation.ask(words), Options())
        return insist(request, read, "No: {reason}. Again.")

    with Lines(tmp_path / "answers.jsonl", "an answer") as lines:
        assert dict(hold([("a", asked("How many?"))], Answers(lines))) == {"a": 3}
        aside = Aside("'three' is no {number}", "three")
        assert dict(hold([("b", asked("And now?"))], Answers(lines))) == {"b": aside}
    assert told[2] == [
        "How many?", "one", "No: 'one' is no {number}. Again.", "two", "No: 'two' is no {number}. Again."
    ]  # fmt: skip
