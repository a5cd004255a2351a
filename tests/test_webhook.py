"""The bridge of examples/webhook.py as a process, between a chat program and a model's server that are scripted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import runpy
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from conftest import need
from faulty import Faulty, Received, Reply, openai_models, openai_text
from pictures import jpeg
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "examples" / "webhook.py"
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
GREEN = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="#0a0"/></svg>'


def signature(timestamp: str, body: bytes, secret: str = SECRET) -> str:
    return (
        "v0="
        + hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    )


@dataclass
class Chat:
    """The chat program's side: it asks, and answers are posted to it."""

    bridge: str
    hook: Faulty
    process: subprocess.Popen[str]

    def send(self, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        timestamp = headers.pop("timestamp", str(int(time.time())))
        signed = {
            "x-slack-request-timestamp": timestamp,
            "x-slack-signature": headers.pop("given", signature(timestamp, body)),
        }
        request = urllib.request.Request(self.bridge + path, body, signed | headers)
        try:
            with urllib.request.urlopen(request, timeout=240) as answer:
                return answer.status, json.load(answer)["text"]
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)["text"]

    def slash(self, text: str, **headers: str) -> tuple[int, str]:
        form = {"command": "/look", "text": text, "response_url": f"{self.hook.url}/commands/1"}
        return self.send("/slack", urlencode(form).encode(), **headers)

    def posted(self, count: int) -> list[Received]:
        """The first answers, once so many have come."""
        deadline = time.monotonic() + 240
        while len(self.hook.posts) < count:
            assert time.monotonic() < deadline, f"{len(self.hook.posts)} of {count} answers came"
            time.sleep(0.02)
        return self.hook.posts


@contextmanager
def bridged(
    script: list[Reply] | Callable[[Received], Reply], *words: str
) -> Iterator[tuple[Chat, Faulty]]:
    picture = Reply(GREEN, headers={"content-type": "image/svg+xml"})
    with (
        Faulty(script, pages=openai_models("m")) as model,
        Faulty(rest=Reply("ok"), pages={"/green.svg": picture}) as hook,
    ):
        process = subprocess.Popen(
            [
                sys.executable,
                str(SCRIPT),
                f"{model.url}/v1",
                *("--port", "0", "--reply-to", f"127.0.0.1:{hook.port}", *words),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"WEBHOOK_SECRET": SECRET, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout
        assert process.stderr
        try:
            line = process.stdout.readline()
            assert line.startswith("Listening on "), process.stderr.read()
            yield Chat(line.split()[-1], hook, process), model
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()
            process.stderr.close()


def test_its_signature_is_the_one_of_slacks_own_example() -> None:
    """https://api.slack.com/authentication/verifying-requests-from-slack"""
    body = (
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    expected = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    theirs = runpy.run_path(str(SCRIPT))["signature"](SECRET, "1531420618", body.encode())
    assert theirs == signature("1531420618", body.encode()) == expected


def test_a_question_in_slack_is_answered_there() -> None:
    with bridged([openai_text("A <!channel> & a green wall.")], "--local-images") as (chat, model):
        assert chat.slash(f"<{chat.hook.url}/green.svg> What colour?") == (200, "Looking …")
        (answer,) = chat.posted(1)
        (asked,) = model.posts
    assert answer.path == "/commands/1"
    assert answer.body["text"] == "A &lt;!channel&gt; &amp; a green wall."  # nobody is called
    assert answer.body["response_type"] == "in_channel"
    (shown,) = asked.images
    assert Image.open(io.BytesIO(shown)).getpixel((20, 15))[1] > 150  # type: ignore[index]
    assert "What colour?" in str(asked.body)


def test_an_upload_is_answered_as_discord_wants_it() -> None:
    picture = jpeg(1)
    upload = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    with bridged([openai_text("@everyone: a dog. " + "x" * 3000)]) as (chat, model):
        asked: dict[str, Any] = {"image": upload, "question": "What is it?"}
        body = json.dumps(asked | {"response_url": f"{chat.hook.url}/api/webhooks/1/t"}).encode()
        assert chat.send("/discord", body)[0] == 200
        (answer,) = chat.posted(1)
        assert len(model.posts[0].images) == 1
    assert answer.body["content"].startswith("@everyone: a dog.")
    assert len(answer.body["content"]) == 2000
    assert answer.body["allowed_mentions"] == {"parse": []}


def test_only_who_knows_the_secret_asks_and_only_once() -> None:
    with bridged(lambda _: openai_text("A wall."), "--local-images") as (chat, model):
        words, now = f"{chat.hook.url}/green.svg What?", str(int(time.time()))
        old = str(int(time.time()) - 400)
        for wrong in (
            {"given": ""},
            {"given": "v0=" + "0" * 64},
            {"given": "v0=é"},
            {"timestamp": old},
            {"timestamp": "soon"},
            {"given": signature(now, b"another body")},
        ):
            assert chat.slash(words, **wrong)[0] == 401, wrong
        assert chat.slash(words, timestamp=now)[0] == 200
        assert chat.slash(words, timestamp=now)[0] == 401  # the same again
        chat.posted(1)
        assert len(model.posts) == 1


def test_what_cannot_be_done_is_said_to_who_asked() -> None:
    faults = [Reply({"error": {"message": "too hot"}}, 400)]
    with bridged(faults) as (chat, model):
        assert "no host" in chat.send("/slack", _form("https://a.example/x.jpg What?", "http://127.0.0.1:1/x"))[1]  # fmt: skip
        assert "a space, and a question" in chat.slash("https://a.example/x.jpg")[1]
        assert chat.send("/discord", b"[]")[0] == 400
        assert chat.send("/discord", b"\xff")[0] == 400
        assert chat.send("/else", b"")[0] == 404
        assert chat.slash(f"{chat.hook.url}/green.svg What?")[0] == 200
        assert "private network" in chat.posted(1)[0].body["text"]  # without --local-images
        assert not model.posts
        broken = "data:image/jpeg;base64," + base64.b64encode(jpeg(1)[:200]).decode()
        for number, image in enumerate(("data:image/png;base64,!", broken, _upload(1)), 2):
            told = {"image": image, "question": "?", "response_url": f"{chat.hook.url}/w"}
            assert chat.send("/discord", json.dumps(told).encode())[0] == 200
            said = chat.posted(number)[-1].body["content"]
            assert said
            assert "Traceback" not in said
        assert "too hot" in said
        assert len(model.posts) == 1


def test_a_body_without_end_is_not_read() -> None:
    with bridged([]) as (chat, _):
        status, said = chat.send("/slack", b"x", **{"content-length": "99999999999"})
    assert (status, said) == (413, "Expected a body of at most 20 MB.")


def test_who_was_told_to_wait_is_answered_also_while_it_leaves() -> None:
    need(sys.platform != "win32", "Windows ends a process without telling it")
    with bridged([openai_text("Late.", after_s=1.0)], "--local-images") as (chat, model):
        chat.slash(f"{chat.hook.url}/green.svg What?")
        deadline = time.monotonic() + 240
        while not model.posts:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        chat.process.terminate()
        assert chat.process.wait(60) == 0
        assert chat.posted(1)[0].body["text"] == "Late."


def test_it_begins_only_with_a_secret_and_a_server() -> None:
    for environment, expected in (
        ({"WEBHOOK_SECRET": ""}, "set WEBHOOK_SECRET first"),
        ({"WEBHOOK_SECRET": SECRET}, "Start the server there first"),
    ):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "http://127.0.0.1:9/v1"],
            capture_output=True,
            text=True,
            env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
            timeout=120,
        )
        assert done.returncode == 2
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def _form(text: str, reply_to: str) -> bytes:
    return urlencode({"text": text, "response_url": reply_to}).encode()


def _upload(seed: int) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(seed)).decode()
