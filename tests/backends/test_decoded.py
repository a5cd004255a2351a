"""A picture may stand in a conversation as a file, as bytes, or decoded: every backend takes all three."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from faulty import Faulty, Reply, openai_models, openai_text
from pictures import encoded, picture, put
from PIL import Image as Pillow

from looksay.backends import load
from looksay.backends.http import jpeg_base64
from looksay.experts import exif
from looksay.types import Conversation, Image, Options

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "site" / "images"


def test_echo_tells_pictures_apart() -> None:
    backend = load("echo")
    said = [
        completion.text
        for image in (picture(1), picture(1), picture(2), picture(1).convert("L"))
        for completion in backend.complete([Conversation.ask(Image(image), "What?")], Options())
    ]
    assert said[0] == said[1]
    assert len(set(said)) == 3


def test_echo_streams_what_it_says() -> None:
    backend, asked = load("echo"), Conversation.ask(Image(picture(1)), "What?")
    (whole,) = backend.complete([asked], Options())
    pieces = list(backend.stream(asked, Options()))
    assert len(pieces) == 2
    assert "".join(pieces) == whole.text


def test_what_travels_is_the_same_picture(tmp_path: Path) -> None:
    data = encoded(picture(3), "PNG")
    path = put(tmp_path / "a.png", data)
    travelled = {jpeg_base64(Image(source), 64) for source in (path, data, picture(3))}
    assert len(travelled) == 1
    with Pillow.open(io.BytesIO(base64.b64decode(travelled.pop()))) as sent:
        assert max(sent.size) == 64
    taken = picture(3)
    taken.getexif()[0x010F] = "Camera"
    assert b"Camera" not in base64.b64decode(jpeg_base64(Image(taken), 512))


def test_a_server_gets_a_decoded_picture() -> None:
    with Faulty([openai_text("A dog.")], pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m")
        (done,) = backend.complete([Conversation.ask(Image(picture(1)), "What?")], Options())
    assert done.text == "A dog."
    (sent,) = server.posts[0].images
    with Pillow.open(io.BytesIO(sent)) as image:
        assert (image.format, image.size) == ("JPEG", picture(1).size)


def test_ollama_gets_a_decoded_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"name": "m:latest", "model": "m:latest", "size": 1, "digest": "d"}
    listed = Reply({"models": [about | {"capabilities": ["completion", "vision"]}]})
    said = {
        "message": {"role": "assistant", "content": "A dog."},
        "done": True,
        "done_reason": "stop",
    }
    with Faulty([Reply(said)], pages={"/api/tags": listed}) as server:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.port}")
        backend = load("ollama:m")
        (done,) = backend.complete([Conversation.ask(Image(picture(1)), "What?")], Options())
    assert done.text == "A dog."
    assert len(server.posts[-1].images) == 1


def test_facts_measures_a_decoded_picture() -> None:
    pytest.importorskip("rapidocr", reason="the extra facts is not installed")
    backend, path = load("facts"), EXAMPLES / "lighthouse.jpg"
    with Pillow.open(path) as opened:
        opened.load()
        asked = [Conversation.ask(Image(source), "") for source in (path, opened)]
        first, second = sorted(backend.complete(asked, Options()), key=lambda done: done.index)
        assert opened.getpixel((0, 0))  # still open: it is the caller's
        assert exif.read(opened) == exif.read(path) != exif.Exif()
    assert first.error is None
    assert first.details["taken"] == second.details["taken"] is not None
    assert second.text == first.text
