"""What goes wrong at a server: clients that go or read slowly, bodies that are none, pictures that are bombs, a model
that is damaged. Each has a clear answer, and nobody else is harmed."""

from __future__ import annotations

import io
import json
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest
from PIL import Image as Pillow
from running import WAIT_S, Server, data_url, pictured, spoken, until

pytestmark = pytest.mark.local
LONG = {"max_tokens": 1900, "temperature": 0}


def told(answer: httpx.Response, status: int = 400) -> str:
    """The words of a fault."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in error["message"]
    return str(error["message"])


def streamed(lines: Any) -> str:
    """The text of a stream that is complete."""
    found, ended = "", False
    for line in lines:
        if line == "data: [DONE]":
            ended = True
        elif line:
            piece = json.loads(line.removeprefix("data: "))
            assert "error" not in piece, piece
            found += "".join(one["delta"].get("content") or "" for one in piece["choices"])
    assert ended
    return found


def begun(server: Server, **more: Any) -> Any:
    asked = {"model": "talker", "messages": [spoken("where is it ?")], "stream": True}
    body = {**LONG, **asked, **more}
    return httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=WAIT_S)


def idle(server: Server) -> bool:
    return not any(server.metric(f"looksay_{what}", "talker") for what in ("running", "waiting"))


# -- clients


def test_a_client_that_goes_in_the_middle_of_a_stream(served: Server) -> None:
    served.chat("talker", "wake up", max_tokens=1)
    answered = served.metric("looksay_answered_total", "talker")
    with begun(served) as answer:
        lines = answer.iter_lines()
        for _ in range(6):
            next(lines)
        assert served.metric("looksay_running", "talker") == 1
    until(lambda: idle(served))
    assert served.metric("looksay_answered_total", "talker") == answered  # it was not written on


@pytest.mark.parametrize("stream", [True, False])
def test_clients_that_go_before_the_first_word(served: Server, stream: bool) -> None:
    served.chat("talker", "wake up", max_tokens=1)
    answered = served.metric("looksay_answered_total", "talker")
    for number in range(8):
        asked = {"model": "talker", "messages": [spoken(f"where {number} ?")], "stream": stream}
        raw(served, {**LONG, **asked}).close()
    until(lambda: idle(served))
    assert served.metric("looksay_answered_total", "talker") == answered
    served.works("talker")


def raw(server: Server, body: dict[str, Any]) -> socket.socket:
    """A connection over which a request has been sent, and nothing read."""
    sent = json.dumps(body).encode()
    url = httpx.URL(server.url)
    found = socket.create_connection((url.host, url.port or 80), timeout=WAIT_S)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    found.sendall(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
    return found


def test_a_slow_reader_gets_all_of_it_and_holds_up_nobody(served: Server) -> None:
    whole = served.chat("talker", "where is it ?", **{**LONG, "max_tokens": 300}).json()
    with begun(served, max_tokens=300) as answer:
        lines = answer.iter_lines()
        first = next(lines)
        for number in range(3):  # others come and go meanwhile
            assert served.chat("talker", f"what is {number} ?", max_tokens=20).status_code == 200
        assert streamed([first, *lines]) == whole["choices"][0]["message"]["content"]


def test_many_streams_at_once_are_each_as_alone(served: Server) -> None:
    questions = ["what is this ? " * (1 + n % 5) + ("a", "the", "dog")[n % 3] for n in range(24)]

    def ask(question: str) -> str:
        message = pictured(question, data_url(len(question) % 4))
        with begun(served, max_tokens=40, messages=[message]) as answer:
            return streamed(answer.iter_lines())

    alone = {question: ask(question) for question in set(questions)}
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(ask, questions)) == [alone[question] for question in questions]


# -- bodies


NESTED = 100_000
TALK = '"model":"echo","messages":[{"role":"user","content":"hello"}]'


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe{}", b'"hello"', b"{}",
        b"[" * NESTED, b'{"a":' * NESTED,
        b'{"model":"echo","messages":[' + b"[" * NESTED + b"]" * NESTED + b"]}",
        b'{"model":"echo","messages":[]}',
        b'{"model":"echo","messages":"hello"}',
        b'{"model":"echo","messages":[{"role":"wizard","content":"hello"}]}',
        b'{"model":"echo","messages":[{"role":"user","content":null}]}',
        b'{"model":"echo","messages":[{"role":"user","content":[{"type":"input_audio"}]}]}',
        b'{"model":"echo","messages":[{"role":"assistant","content":"hello"}]}',
        b'{"model":"echo","messages":[{"role":"user","content":"\\ud800"}]}',
        f'{{{TALK},"temperature":NaN}}'.encode(),
        f'{{{TALK},"temperature":1e999}}'.encode(),
        f'{{{TALK},"seed":{"9" * 6000}}}'.encode(),
        f'{{{TALK},"max_tokens":1.5}}'.encode(),
        f'{{{TALK},"stop":[""]}}'.encode(),
        f'{{{TALK},"response_format":{{"type":"json_schema"}}}}'.encode(),
    ],
    ids=lambda body: body[:60].decode("latin-1").replace("\x00", ""),
)  # fmt: skip
def test_a_body_that_is_no_request(served: Server, body: bytes) -> None:
    url = f"{served.url}/v1/chat/completions"
    told(httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=240))
    served.works()


@pytest.mark.parametrize("depth", [50, 400, 700])
def test_a_schema_that_is_too_deep(served: Server, depth: int) -> None:
    schema: Any = {"type": "boolean"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    answer = served.chat("mini", "hello", response_format=form, max_tokens=5)
    assert answer.status_code in {200, 400}, answer.text
    served.works("mini")


def test_fields_that_nobody_knows_are_left_alone(served: Server) -> None:
    more = {"metadata": {"a": "b"}, "store": True, "no_such_field": [1, {}], "tools": []}
    assert served.chat("echo", "hello", **more).status_code == 200


def test_two_hundred_megabytes_are_refused_before_they_come(served: Server) -> None:
    url = httpx.URL(served.url)
    with closing(socket.create_connection((url.host, url.port or 80), timeout=WAIT_S)) as line:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        line.sendall(f"{head}Content-Length: 200000000\r\n\r\n{{".encode())
        answer = ""
        while piece := line.recv(65536).decode():  # until it closes
            answer += piece
    assert answer.startswith("HTTP/1.1 413 ")
    assert "Send fewer or smaller images" in answer
    served.works()


def test_a_body_of_no_length_that_does_not_end(served: Server) -> None:
    """It is cut off where the limit is; the rest is never taken."""
    url = httpx.URL(served.url)
    megabyte = bytes(1_000_000)
    chunk = f"{len(megabyte):x}\r\n".encode() + megabyte + b"\r\n"
    sent: list[int] = []
    with closing(socket.create_connection((url.host, url.port or 80), timeout=WAIT_S)) as line:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        line.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            while len(sent) < 200:
                line.sendall(chunk)
                sent.append(len(chunk))
        except OSError:  # the connection is closed under the sender's hands
            pass
    assert 60 < len(sent) < 120
    served.works()


# -- pictures


def png(width_px: int, height_px: int, data: bytes = b"") -> bytes:
    """A PNG that says to be so large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + packed + chunk(b"IEND", b"")


def bomb() -> bytes:
    """Sixty megapixels in a few kilobytes."""
    out = io.BytesIO()
    Pillow.new("1", (12_000, 5_000)).save(out, "PNG")
    return out.getvalue()


def huge_svg(side: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}"/>'.encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: png(18_919, 18_919), "megapixels"),  # 1 GB of RGB
        (lambda: png(2**31 - 1, 2**31 - 1), "Image 1"),
        (bomb, "megapixels"),
        (lambda: huge_svg("1e9"), "megapixels"),
        (lambda: huge_svg("1e400"), "Image 1"),
        (lambda: b"", "empty"),
        (lambda: b"GIF89a", "Image 1"),
        (lambda: b"<svg><!DOCTYPE", "Image 1"),
        (lambda: b"%PDF-1.4", "Image 1"),
        (
            lambda: b'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">'
            + b"".join(f'<!ENTITY a{n} "{f"&a{n - 1 if n > 1 else str()};" * 10}">'.encode() for n in range(1, 9))
            + b']><svg xmlns="http://www.w3.org/2000/svg"><text>&a8;</text></svg>',
            "Image 1",
        ),
    ],
    ids=["claims 1 GB", "claims 2^62", "bomb", "svg 1e9", "svg 1e400", "empty", "cut", "svg cut", "pdf", "laughs"],
)  # fmt: skip
@pytest.mark.parametrize("model", ["echo", "mini"])
def test_pictures_that_are_none_or_too_much(
    served: Server, model: str, data: Any, said: str
) -> None:
    answer = served.chat(model, pictured("what is this?", data_url(data())))
    assert said in told(answer)
    served.works(model)


def test_a_picture_that_breaks_off_is_the_fault_of_its_request(served: Server) -> None:
    """Its head is sound, so that only the model finds it out."""
    whole = png(200, 200, b"\0" * 100)
    answer = served.chat("mini", pictured("what is this?", data_url(whole)), max_tokens=4)
    assert answer.status_code in {200, 400}, answer.text
    served.works("mini")


def test_a_thousand_pictures(served: Server) -> None:
    small = data_url(png(1, 1, b"\0" * 4), "image/png")
    assert "more than 32 images" in told(served.chat("mini", pictured("?", *[small] * 1000)))


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png,abc", "data:;base64,!!!!", "data:image/png;base64", "data:image/png;base64,aGFsbG8",
        "", "x" * 100, "file:///etc/passwd", "/etc/passwd", "C:\\a.png", "http://127.0.0.1:1/a.png",
        "https://example.org/a.png", "ftp://example.org/a.png", "//example.org/a.png", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_a_picture_at_an_address_is_not_fetched(served: Server, url: str) -> None:
    assert "Image 1" in told(served.chat("echo", pictured("what is this?", url)))


# -- models


def test_a_model_that_is_damaged_is_told_and_the_others_go_on(served: Server) -> None:
    for _ in range(2):
        assert "damaged" in told(served.chat("damaged", "hello"), 503)
        served.works("mini")
    listed = {
        one["id"]: one["looksay"] for one in httpx.get(f"{served.url}/v1/models").json()["data"]
    }
    assert not listed["damaged"]["loaded"]
    assert listed["damaged"]["note"]
    assert listed["mini"]["loaded"]


def test_what_only_some_models_do(served: Server) -> None:
    form = {"type": "json_object"}
    assert "JSON schema" in told(served.chat("echo", "hello", response_format=form))
    assert "log-probabilities" in told(served.chat("echo", "hello", logprobs=True))
    too_long = served.chat("mini", "what is this? " * 3000)
    assert "2048" in told(too_long)
    url = f"{served.url}/v1/embeddings"
    for more in ({"dimensions": 4}, {"input": []}, {"input": [""]}, {"input": [1, 2]}):
        told(httpx.post(url, json={"model": "clip", "input": "a", **more}))
