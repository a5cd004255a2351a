"""`openai:` and `http://…` against a real server: what is sent, and what becomes of the answers."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from faulty import Faulty, Reply, hurry, openai_models, openai_text, too_many
from openai_asking import DOG, ask, no_keys, photo, run
from PIL import Image as Pillow

from looksay.backends import http, load
from looksay.errors import BackendError
from looksay.types import Image, Options

__all__ = ["no_keys", "photo"]  # fixtures


def test_a_photo_is_described(photo: Path) -> None:
    with Faulty([DOG], pages=openai_models("m")) as server:
        [done] = run(server, photo, options=Options(max_tokens=77, temperature=0.5, seed=3))
    assert (done.text, done.error, done.finish_reason) == ("A dog on a beach.", None, "stop")
    assert (done.prompt_tokens, done.completion_tokens, done.cost_usd) == (100, 10, 0.0)
    body = server.posts[0].body
    assert body["model"] == "m"
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (77, 0.5, 3)
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"][0] == {"type": "text", "text": "photo 0"}


def test_what_leaves_is_a_small_jpeg_without_metadata(photo: Path) -> None:
    with Faulty([DOG], pages=openai_models("m")) as server:
        run(server, photo, max_side_px=320)
    [sent] = server.posts[0].images
    with Pillow.open(io.BytesIO(sent)) as image:
        assert image.format == "JPEG"
        assert max(image.size) == 320
        assert not image.getexif()
    assert b"SecretCamera" not in sent
    assert b"SecretCamera" in photo.read_bytes()


def test_an_image_over_the_limit_is_sent_with_less_quality(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(http.jpeg_base64(Image(photo), 640))
    monkeypatch.setattr(http, "MAX_IMAGE_BYTES", whole * 2 // 3)
    assert len(http.jpeg_base64(Image(photo), 640)) <= whole * 2 // 3
    monkeypatch.setattr(http, "MAX_IMAGE_BYTES", whole // 20)  # no quality is low enough: shrink
    assert len(http.jpeg_base64(Image(photo), 640)) <= whole // 20


def test_an_empty_text_is_asked_for_once_more(photo: Path) -> None:
    with Faulty([openai_text(""), DOG], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.prompt_tokens) == ("A dog on a beach.", 200)
    with Faulty(rest=openai_text("  \n"), pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.finish_reason, done.error) == ("", "stop", "empty answer")
    assert len(server.posts) == 2


def test_thinking_that_leaves_no_room_says_so(photo: Path) -> None:
    with Faulty(rest=openai_text("", finish="length"), pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert "raise max_tokens" in (done.error or "")
    assert len(server.posts) == 1


def test_a_text_that_was_cut_says_so(photo: Path) -> None:
    with Faulty([openai_text("A dog on", finish="length")], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.finish_reason, done.error) == ("A dog on", "length", None)


@pytest.mark.parametrize(
    "reply",
    [
        openai_text(None, refusal="I can't help with that."),
        openai_text("", finish="content_filter"),
        openai_text("I'm sorry, but I can't assist with that request."),
    ],
)
def test_a_refusal_is_no_text(photo: Path, reply: Reply) -> None:
    with Faulty([reply], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.text, done.finish_reason) == ("", "refusal")
    assert (done.error or "").startswith("the model refused: ")
    assert done.prompt_tokens == 100, "a refusal is paid for"
    assert len(server.posts) == 1


@pytest.mark.parametrize(
    "text",
    [
        "I cannot identify people in images.",
        "I’m sorry, I can’t help with identifying people.",
        "As an AI language model, I am unable to view images.",
        "Sorry, but as an AI assistant I cannot describe this.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Lo siento, pero no puedo ayudar con eso.",
        "죄송하지만 이 이미지는 설명할 수 없습니다.",
        "抱歉，我无法描述这张图片。",
    ],
)
def test_refusals_are_known(text: str) -> None:
    assert http.is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "A handwritten note that reads “Sorry, I can't come”.",
        "Sorry, we are closed: a sign on a shop door.",
        "I ♥ NY printed on a white mug.",
        "A man who cannot help laughing holds his belly.",
        "Unfortunately placed lamp post behind a smiling woman.",
        "I can see a dog.",
        "I'm sorry, but I can't " + "describe a very long text of many words " * 20,
    ],
)
def test_descriptions_are_no_refusals(text: str) -> None:
    assert not http.is_refusal(text)


def test_usage_that_is_not_reported_is_unknown(photo: Path) -> None:
    with Faulty([openai_text("A dog.", usage=None)], pages=openai_models("m")) as server:
        [done] = run(server, photo)
    assert (done.prompt_tokens, done.completion_tokens) == (None, None)


def test_a_bad_photo_does_not_stop_the_run(photo: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    photos = [empty, tmp_path / "gone.jpg", photo]
    with Faulty(rest=DOG, pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m")
        done = sorted(backend.complete(map(ask, photos), Options()), key=lambda c: c.index)
    assert "0 bytes" in (done[0].error or "")
    assert done[1].error
    assert done[2].text
    assert len(server.posts) == 1


def test_redirects_are_not_followed(photo: Path) -> None:
    with Faulty(rest=DOG) as elsewhere:
        to = Reply(None, 307, {"location": f"{elsewhere.url}/v1/chat/completions"})
        with (
            Faulty(rest=to, pages=openai_models("m")) as server,
            pytest.raises(BackendError, match=r"redirects to 127\.0\.0\.1, which is not followed"),
        ):
            run(server, photo, 3)
        assert elsewhere.received == []


def test_no_proxy_of_the_environment_sees_what_stays_here(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Faulty(rest=DOG) as proxy, Faulty(rest=DOG, pages=openai_models("m")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        [done] = run(server, photo)
        assert done.text
        assert proxy.received == []


def test_streaming(photo: Path) -> None:
    def chunk(text: str) -> str:
        delta = '{"index": 0, "delta": {"content": "%s"}, "finish_reason": null}' % text  # noqa: UP031
        return (
            'data: {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", '
            f'"choices": [{delta}]}}\n\n'
        )

    events = chunk("A dog") + chunk(" runs.") + "data: [DONE]\n\n"
    stream = Reply(events, headers={"content-type": "text/event-stream"})
    with Faulty([too_many(), stream], pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m")
        hurry(backend)
        assert list(backend.stream(ask(photo), Options())) == ["A dog", " runs."]
        assert server.posts[-1].body["stream"] is True
        server.script = iter([Reply({"error": {"message": "bad key"}}, 401)])
        with pytest.raises(BackendError, match="bad key"):
            list(backend.stream(ask(photo), Options()))
