"""Talking about images as a user does: a process with a pipe or a terminal at its other end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import need
from faulty import Faulty, Received, Reply, openai_models, openai_text
from pictures import jpeg, put
from test_cli import looksay

from looksay.backends import load
from looksay.backends.echo import Echo
from looksay.cli.talk import Talk
from looksay.errors import BackendError, InputError
from looksay.types import Conversation, Options


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return put(tmp_path / "photo.jpg", jpeg(1))


def chat(
    typed: str, *words: str | Path, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "looksay", "chat", *map(str, words)],
        input=typed,
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        env=os.environ | environment,
    )


def spoken(*pieces: str) -> Reply:
    """An answer that is streamed."""
    events = []
    for piece in pieces:
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        events.append(f"data: {json.dumps(chunk | {'choices': [choice]})}\n\n")
    body = "".join(events) + "data: [DONE]\n\n"
    return Reply(body, headers={"content-type": "text/event-stream"})


def test_a_piped_chat_answers_each_line_and_nothing_else(photo: Path) -> None:
    done = chat("What is it?\n\nAnd now?\n", photo, "-m", "echo")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("Echo ")
    assert second.startswith("Echo ")
    assert first != second  # the second question comes with the first turn before it
    again = chat("What is it?\n/reset\nWhat is it?\n", photo, "-m", "echo", LOOKSAY_PLAIN="1")
    assert again.stdout.splitlines() == [first, first]


def test_what_is_asked_reaches_the_model_turn_by_turn(photo: Path, tmp_path: Path) -> None:
    put(tmp_path / "other.jpg", jpeg(2))
    script = [spoken("Two", " boats.\x1b[31m"), spoken("A quay.")]
    with Faulty(script, pages=openai_models("m")) as server:
        typed = "What is it?\n/image 'other.jpg'\nAnd here?\n/save talk.json\n"
        done = chat(typed, photo, "-m", f"{server.url}/v1#m", cwd=tmp_path)
        first, second = server.posts
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Two boats.[31m\nA quay.\n"  # no escape sequence gets to the terminal
    assert [m["role"] for m in second.body["messages"]] == ["user", "assistant", "user"]
    assert (len(first.images), len(second.images)) == (1, 2)
    kept = json.loads((tmp_path / "talk.json").read_text("utf-8"))
    assert [turn["images"] for turn in kept["turns"]] == [[str(photo)], ["other.jpg"]]
    assert kept["turns"][1]["answer"] == "A quay."


def test_faults_leave_the_talk_alive(photo: Path, tmp_path: Path) -> None:
    put(tmp_path / "broken.jpg", jpeg(2)[:200])
    script = [
        spoken("One."),
        Reply({"error": {"message": "too hot"}}, 400),
        spoken("Two."),
        spoken(),
    ]
    with Faulty(script, pages=openai_models("m")) as server:
        typed = "/save t.md\na\nb\n/image gone.jpg\n/image broken.jpg\n/image\n/dance\n/save talk.txt\nc\nd\n"
        done = chat(typed, photo, "-m", f"{server.url}/v1#m", cwd=tmp_path)
        last = server.posts[-2].body["messages"]
    assert done.returncode == 1
    assert done.stdout == "One.\nTwo.\n"
    for said in (
        "Nothing was said yet",
        "too hot",
        "the answer is empty. Ask in other words, or take another model: looksay models",
        "gone.jpg is not there",
        "broken.jpg",
        "/image photo.jpg",
        "/dance",
    ):
        assert said in done.stderr
    assert "Expected .md or .json" in done.stderr
    assert "Traceback" not in done.stderr
    # The question that failed is not a part of the talk.
    assert [m["role"] for m in last] == ["user", "assistant", "user"]


def test_saving_asks_before_it_overwrites(photo: Path, tmp_path: Path) -> None:
    done = chat("a\n/save t.md\n/save t.md\n/save! t.md\n", photo, "-m", "echo", cwd=tmp_path)
    assert done.returncode == 1
    assert "t.md is there already. To write over it: /save! t.md" in done.stderr
    assert done.stderr.count("Saved 1 turn") == 2
    assert f"![](<{photo}>)\n\n> a\n\nEcho " in (tmp_path / "t.md").read_text("utf-8")


def test_a_folder_that_is_not_there_is_named_when_saving(photo: Path, tmp_path: Path) -> None:
    put(tmp_path / "file", "")
    typed = "a\n/save nodir/talk.md\n/save file/talk.md\n"
    done = chat(typed, photo, "-m", "echo", cwd=tmp_path)
    assert done.returncode == 1
    told = done.stderr.replace(os.sep, "/")
    assert "nodir/talk.md cannot be saved: there is no folder nodir." in told
    assert "file/talk.md cannot be saved: there is no folder file." in told
    assert not (tmp_path / "nodir").exists()


def test_a_file_that_cannot_be_written_is_named_when_saving(tmp_path: Path) -> None:
    (tmp_path / "talk.md").mkdir()
    with pytest.raises(InputError, match=r"talk\.md cannot be written"):
        Talk(Echo(), Options()).keep(tmp_path / "talk.md")


class Silent(Echo):
    name = "local:runs/tiny"

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        yield " "


def test_a_model_of_ones_own_that_says_nothing_was_perhaps_trained_too_short() -> None:
    with pytest.raises(
        BackendError, match=r"local:runs/tiny: the answer is empty.*Train it longer"
    ):
        list(Talk(Silent(), Options()).say("What is it?"))


def test_a_folder_is_no_name_of_a_model(tmp_path: Path) -> None:
    """What is meant is told, by what lies in it."""
    put(tmp_path / "released" / "config.json", "{}")
    (tmp_path / "runs").mkdir()
    for name, meant in (("released", "hub"), ("runs", "local")):
        folder = str(tmp_path / name)
        with pytest.raises(InputError) as told:
            load(folder)
        assert f"Did you mean {meant}:{folder}?" in str(told.value)


@pytest.mark.slow
def test_a_kill_while_saving_leaves_the_old_file_or_the_new(photo: Path, tmp_path: Path) -> None:
    target, generator = tmp_path / "talk.json", random.Random(5)
    turns = "".join(f"{'why ' * 400}{n}?\n" for n in range(150))
    whole = set()
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "looksay", "chat", str(photo), "-m", "echo"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
            encoding="utf-8",
        )
        assert process.stdin
        assert process.stderr
        process.stdin.write(turns + "".join(f"{n}?\n/save! talk.json\n" for n in range(3000)))
        process.stdin.close()
        process.stderr.readline()  # the first save is done
        time.sleep(generator.uniform(0.0, 0.4))
        process.kill()
        process.wait()
        process.stderr.close()
        whole.add(len(json.loads(target.read_text("utf-8"))["turns"]))
    assert min(whole) > 150
    assert len(list(tmp_path.glob(".*looksay-tmp"))) <= 1


def test_ask_prints_the_answer_alone_or_as_json(photo: Path) -> None:
    plain = looksay("ask", photo, "How many boats?", "-m", "echo")
    assert plain.returncode == 0, plain.stderr
    told = json.loads(looksay("ask", photo, photo, "How many?", "-m", "echo", "--json").stdout)
    assert plain.stdout.startswith("Echo ")
    assert told["images"] == [str(photo)] * 2
    assert told["answer"] != plain.stdout.strip()


def test_what_goes_wrong_is_in_the_json_too(photo: Path, tmp_path: Path) -> None:
    def answer(received: Received) -> Reply:
        hot = "hot" in str(received.body)
        return Reply({"error": {"message": "too hot"}}, 400) if hot else openai_text("")

    with Faulty(answer, pages=openai_models("m")) as server:
        of = ("-m", f"{server.url}/v1#m", "--json")
        hot = looksay("ask", photo, "Is it hot?", *of)
        silent = looksay("ask", photo, "What?", *of)
    absent = looksay("ask", tmp_path / "gone.jpg", "What?", "-m", "echo", "--json")
    nowhere = looksay("ask", photo, "What?", "-m", "http://127.0.0.1:9/v1#m", "--json")
    for done, said in (
        (hot, "too hot"),
        (silent, "empty answer"),
        (absent, "gone.jpg is not there"),
        (nowhere, "Start the server there first"),
    ):
        assert done.returncode == 2
        told = json.loads(done.stdout)
        assert said in told["error"]
        assert told["error"] in done.stderr
        assert told["finish_reason"] == "error" or told["answer"] == ""
    assert json.loads(absent.stdout)["model"] == "echo"


def test_each_image_can_be_asked_about_by_itself(photo: Path, tmp_path: Path) -> None:
    broken = put(tmp_path / "broken.jpg", jpeg(2)[:200])
    other = put(tmp_path / "other.jpg", jpeg(2))
    asked = ("ask", photo, broken, other, "What?", "-m", "echo", "--each")
    done = looksay(*asked, "--json")
    told = {line["images"][0]: line for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert set(told) == {str(photo), str(broken), str(other)}
    assert "broken.jpg" in told[str(broken)]["error"]
    alone = looksay("ask", other, "What?", "-m", "echo")
    assert told[str(other)]["answer"] == alone.stdout.strip()
    assert told[str(other)]["error"] is None
    plain = looksay(*asked)
    assert f"{other}: {alone.stdout}" in plain.stdout
    assert plain.stdout.count("Echo ") == 2
    all_wrong = looksay("ask", broken, other, "What?", "-m", "ecko", "--each")
    assert all_wrong.returncode == 2
    assert all_wrong.stderr.count("Did you mean 'echo'?") == 1


def test_a_servers_models_are_taken_by_its_address(photo: Path) -> None:
    words = openai_text("Two boats.")
    with Faulty([words, words, spoken("A quay.")], pages=openai_models("only")) as one:
        told = json.loads(
            looksay("ask", photo, "What?", "--url", f"{one.url}/v1/", "--json").stdout
        )
        named = looksay("ask", photo, "What?", "--url", f"{one.url}/v1", "-m", "only")
        talk = chat("And?\n", photo, "--url", f"{one.url}/v1")
        assert [post.body["model"] for post in one.posts] == ["only"] * 3
    assert (told["answer"], told["model"]) == ("Two boats.", f"{one.url}/v1#only")
    assert (named.stdout, talk.stdout) == ("Two boats.\n", "A quay.\n")
    with Faulty([], pages=openai_models("small", "large:7b")) as two:
        which = chat("And?\n", photo, "--url", f"{two.url}/v1")
        assert not two.posts
    assert which.returncode == 2
    assert "lists 2 models, and the name says not which: large:7b, small" in which.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ask", "photo.jpg", "-m", "echo"], "a question"),
        (["ask", "photo.jpg", "photo.jpg", "-m", "echo"], "a question"),
        (["ask", "What?", "photo.jpg", "-m", "echo"], 'Type: looksay ask photo.jpg "What?"'),
        (["ask", "In v1.5?", "https://example.org/a.jpg"], "The question comes last."),
        (["ask", "gone.jpg", "photo.jpg", "-m", "echo"], "Expected images and, last, a question"),
        (["chat", "-m", "."], ". is a folder; expected provider:model. Did you mean local:.?"),
        (["ask", "gone.jpg", "What?", "-m", "echo"], "gone.jpg is not there"),
        (["ask", ".", "What?", "-m", "echo"], "looksay describe"),
        (["ask", "https://example.org/a.jpg", "What?", "-m", "echo"], "--fetch"),
        (["ask", "photo.jpg", "What?", "-m", "http://192.0.2.1/v1#m"], "--allow-remote"),
        (["chat", "photo.jpg", "-m", "ecko"], "Did you mean 'echo'?"),
        (["chat", "photo.jpg", "--url", "echo"], "echo is no URL. Expected --url http"),
        (["chat", "photo.jpg", "--url", "http://192.0.2.1/v1"], "--allow-remote"),
    ],
)
def test_mistakes_of_a_talk_are_told(
    words: list[str], expected: str, photo: Path, tmp_path: Path
) -> None:
    done = looksay(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_help_asks_for_one_model_where_one_is_taken() -> None:
    for verb, several in (("ask", False), ("chat", False), ("describe", True)):
        shown = " ".join(looksay(verb, "--help", LOOKSAY_PLAIN="1").stdout.split())
        assert ("several with commas" in shown) == several
        assert "looksay models" in shown


def test_what_only_describes_does_not_chat(photo: Path) -> None:
    pytest.importorskip("rapidocr", reason="the extra facts is not installed")
    done = chat("What is it?\n", photo, "-m", "facts")
    assert done.returncode == 2
    assert "facts only describes" in done.stderr
    assert "ollama pull" in done.stderr


def test_an_image_from_the_web_on_demand(tmp_path: Path) -> None:
    picture = put(tmp_path / "a.jpg", jpeg(3))
    served = subprocess.Popen(
        [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert served.stdout
        port = int(served.stdout.readline().split(" port ")[1].split()[0])
        url = f"http://127.0.0.1:{port}/a.jpg"
        fetched = looksay("ask", url, "What?", "-m", "echo", "--fetch")
        assert fetched.stdout == looksay("ask", picture, "What?", "-m", "echo").stdout
        assert "HTTP 404" in looksay("ask", f"{url}x", "What?", "-m", "echo", "--fetch").stderr
    finally:
        served.terminate()
        served.wait(240)
        if served.stdout:
            served.stdout.close()


class Terminal:
    """A chat with a pseudo-terminal at its stdin, stdout and stderr."""

    def __init__(self, *words: str | Path, cwd: Path) -> None:
        import pty

        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "looksay", "chat", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env=os.environ | {"TERM": "dumb"},
            start_new_session=True,
            # A suite in the background of a shell has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(theirs)
        self.seen, self.read_to = "", 0

    def until(self, words: str, within_s: float = 240.0) -> None:
        """Wait for these words, after those that were waited for before."""
        import select

        deadline = time.monotonic() + within_s
        while (at := self.seen.find(words, self.read_to)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"no {words!r} in {self.seen!r}"
            if select.select([self.ours], [], [], left)[0]:
                self.seen += os.read(self.ours, 65536).decode("utf-8", "replace")
        self.read_to = at + len(words)

    def type(self, line: str) -> None:
        os.write(self.ours, line.encode())


@pytest.fixture
def terminal(photo: Path, tmp_path: Path) -> Iterator[Terminal]:
    need(sys.platform != "win32", "pseudo-terminals are not on Windows")
    opened = Terminal(photo, "-m", "echo", cwd=tmp_path)
    yield opened
    opened.process.kill()
    opened.process.wait()
    os.close(opened.ours)


def test_at_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until("> ")
    assert "echo: 1 image" in terminal.seen
    terminal.type("What is it?\n")
    terminal.until("Echo ")
    terminal.until("> ")
    put(tmp_path / "t.md", "old")
    terminal.type("/save t.md\n")
    terminal.until("[y/N]")
    terminal.type("n\n")
    terminal.until("Not saved.")
    assert (tmp_path / "t.md").read_text() == "old"
    terminal.type("/save t.md\n")
    terminal.until("[y/N]")
    terminal.type("y\n")
    terminal.until("Saved 1 turn")
    assert "What is it?" in (tmp_path / "t.md").read_text("utf-8")
    terminal.type("/help\n")
    terminal.until("/reset")
    terminal.type("/dance\n")
    terminal.until("There is no /dance")
    terminal.type("/quit\n")
    assert terminal.process.wait(240) == 0


def test_interrupting_an_answer_leaves_the_talk_alive(photo: Path, tmp_path: Path) -> None:
    need(sys.platform != "win32", "pseudo-terminals are not on Windows")
    with Faulty([Reply(fault="hang")], rest=spoken("Here."), pages=openai_models("m")) as server:
        terminal = Terminal(photo, "-m", f"{server.url}/v1#m", cwd=tmp_path)
        try:
            terminal.until("> ")
            terminal.type("What is it?\n")
            deadline = time.monotonic() + 240
            while not server.posts:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            # Python loses an interrupt that falls into a finaliser; a person presses Ctrl-C again.
            for _ in range(5):
                time.sleep(0.2)
                terminal.process.send_signal(signal.SIGINT)
                with contextlib.suppress(AssertionError):
                    terminal.until("(broken off)", within_s=40)
                    break
            assert "(broken off)" in terminal.seen
            terminal.until("> ")
            terminal.type("And now?\n")
            terminal.until("Here.")
            terminal.until("> ")
            terminal.type("\x04")
            assert terminal.process.wait(240) == 0
        finally:
            terminal.process.kill()
            terminal.process.wait()
            os.close(terminal.ours)
