"""Describing through servers: a real one, and scripted ones on their bad days."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from pathlib import Path

import pytest
from conftest import need
from faulty import Faulty, Received, Reply, openai_models, openai_text, too_many
from serve import serving
from test_cli import looksay, photo

from looksay.api import Library


@pytest.mark.slow
@pytest.mark.local
def test_a_real_server_describes_photos(tmp_path: Path) -> None:
    for package in ("torch", "transformers", "fastapi", "uvicorn"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    photos = tmp_path / "photos"
    for number in range(3):
        photo(photos / f"{number}.png", number + 3)
    (tmp_path / "serve").mkdir()
    with serving(tmp_path / "serve") as server:
        done = looksay("describe", photos, "-m", f"{server.url}#{server.model}", "--json")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert {e["photo"] for e in events[:-1]} == {"0.png", "1.png", "2.png"}, done.stderr
        # A tiny random model says nothing sensible; what counts is that each answer came and was stored.
        report = events[-1]["summary"]
        assert report["described"] + len(report["failures"]) == 3
        assert report["prompt_tokens"] > 100
        assert all(
            "answer is not in en" in reason or "empty" in reason for _, reason in report["failures"]
        )


@pytest.mark.slow
@pytest.mark.local
def test_a_real_server_is_talked_with_by_its_address(tmp_path: Path) -> None:
    """One question, and a talk that begins with it. tests/serve does the same with our own server."""
    for package in ("torch", "transformers", "fastapi", "uvicorn"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    from test_chat import chat

    picture = tmp_path / "a.png"
    photo(picture, 5)
    (tmp_path / "serve").mkdir()
    with serving(tmp_path / "serve") as server:
        asked = ("--url", server.url, "--max-tokens", "8")
        told = json.loads(looksay("ask", picture, "What?", *asked, "--json").stdout)
        talk = chat("What?\nAnd now?\n/save talk.json\n", picture, *asked, cwd=tmp_path)
    assert (told["model"], told["error"]) == (f"{server.url}#{server.model}", None)
    assert told["completion_tokens"] > 0
    assert talk.returncode == 0, talk.stderr
    turns = json.loads((tmp_path / "talk.json").read_text("utf-8"))["turns"]
    assert len(turns) == 2
    assert turns[0]["answer"] == told["answer"] != ""


def test_texts_that_repeat_themselves_are_counted_and_can_be_listed(tmp_path: Path) -> None:
    loop, fine = openai_text("A dog and a cat and " * 9), openai_text("A quay with two boats.")
    for number in range(3):
        photo(tmp_path / f"{number}.png", number + 3)
    with Faulty([loop, fine, loop], pages=openai_models("m")) as server:
        model = f"{server.url}/v1#m"
        done = looksay("describe", tmp_path, "-m", model, "--concurrency", "1")
    told = "2 texts with notes (repeats itself). To list them: looksay status --list noted"
    assert f"{told} {tmp_path}" in done.stdout, done.stderr
    listed = looksay("status", "--list", "noted", tmp_path).stdout.splitlines()
    assert len(listed) == 2
    assert all(line.startswith("noted (repeats itself): ") for line in listed)
    decided = looksay("decide", tmp_path / listed[0].split(": ")[1], "--edit", "A dog and a cat.")
    assert decided.returncode == 0, decided.stderr
    left = looksay("status", "--list", "noted", tmp_path, "--json").stdout.splitlines()
    assert [json.loads(line)["image"] for line in left] == [listed[1].split(": ")[1]]
    with Faulty(rest=loop, pages=openai_models("m")) as server:
        photo(tmp_path / "last.png", 9)
        one = looksay("describe", tmp_path, "-m", f"{server.url}/v1#m", "--limit", "1")
    assert one.stdout.count("(repeats itself)") == 1, one.stdout
    assert "Next: looksay decide" in one.stdout


def test_a_bad_day_loses_no_photo(tmp_path: Path) -> None:
    """429, 500, a reset, half a JSON, an empty text, a refusal: all but the refused photo get their words."""
    for number in range(8):
        photo(tmp_path / f"{number}.png", number + 3)
    script = [
        too_many(1), openai_text("A first photo of many."), Reply("oops", 500), openai_text("A second photo of many."),
        Reply(openai_text("x").body, fault="half"), openai_text("A third photo of many."), Reply(fault="reset"),
        openai_text("A fourth photo of many."), openai_text(""), openai_text("A fifth photo of many."),
        openai_text("I'm sorry, but I can't assist with that request."),
    ]  # fmt: skip
    with Faulty(script, rest=openai_text("Any other photo."), pages=openai_models("m")) as server:
        done = looksay("describe", tmp_path, "-m", f"{server.url}/v1#m", "--json")
    report = json.loads(done.stdout.splitlines()[-1])["summary"]
    assert done.returncode == 1
    assert report["described"] == 7, report
    assert len(report["failures"]) == 1
    assert "refus" in report["failures"][0][1].lower()
    with (
        Faulty(rest=openai_text("Now it is described."), pages=openai_models("m")) as other,
        Library(tmp_path) as library,
    ):
        # Another address is another model, so ask the first one's key what is missing: nothing is repeated.
        assert library.status().described_photos == 7
        assert other.posts == []


def test_what_is_sent_and_what_is_not(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F] = "SECRET CAMERA"
    Image.effect_noise((80, 60), 90).convert("RGB").save(tmp_path / "a.jpg", exif=exif)
    seen: list[Received] = []

    def answer(received: Received) -> Reply:
        seen.append(received)
        return openai_text("A grey pattern.")

    with Faulty(answer, pages=openai_models("m")) as server:
        done = looksay(
            "describe", tmp_path, "-m", f"{server.url}/v1#m", LOOKSAY_API_KEY="sk-secret-123456"
        )
    assert done.returncode == 0, done.stderr
    assert b"SECRET CAMERA" not in seen[0].images[0]
    assert seen[0].headers["authorization"] == "Bearer sk-secret-123456"
    database = sqlite3.connect(tmp_path / "looksay.db")
    assert "sk-secret" not in "\n".join(database.iterdump())
    database.close()
    assert "sk-secret" not in done.stdout + done.stderr


def test_wrong_language_and_length_are_asked_once_more(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 5)
    photo(tmp_path / "b.png", 9)
    long = "word " * 80 + "end."
    asked: list[str] = []

    def answer(received: Received) -> Reply:
        turns = received.body["messages"]
        asked.append(str(turns[-1]["content"]))
        if len(turns) > 2:
            return openai_text("두 척의 배가 부두에 있다.")
        return openai_text(long if len(asked) == 1 else "A dog is lying on the beach in the sun.")

    with Faulty(answer, pages=openai_models("m")) as server:
        done = looksay("describe", tmp_path, "-m", f"{server.url}/v1#m", "-l", "ko", "--json")
    report = json.loads(done.stdout.splitlines()[-1])["summary"]
    assert (report["described"], report["failures"], len(asked)) == (2, [], 4)
    with Library(tmp_path) as library:
        assert {w.text for _, w in library.targets()} == {"두 척의 배가 부두에 있다."}
