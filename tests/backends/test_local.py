"""Checkpoints of looksay answer, stream, describe and chat: a tiny model with random weights on disk."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from conftest import need
from forking import looksay
from pictures import picture

from looksay.backends import load, mini
from looksay.backends.base import LoadOptions
from looksay.errors import BackendError, InputError
from looksay.types import Completion, Conversation, Image, Message, Options

pytestmark = pytest.mark.local
OPTIONS = Options(max_tokens=12)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    for package in ("torch", "transformers", "accelerate"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    from models.tiny import byte_tokenizer, tiny_llava, word_tokenizer

    from looksay.models import checkpoint

    def make(seed: int = 0, words: bool = True, **card: Any) -> Path:
        folder = tmp_path_factory.mktemp("run")
        tokenizer = word_tokenizer() if words else byte_tokenizer()
        checkpoint.save(tiny_llava(seed=seed, tokenizer=tokenizer), folder, **card)
        return folder

    return make


@pytest.fixture(scope="module")
def folder(build: Any) -> Path:
    made: Path = build(describe="describe the picture", languages=["en"])
    return made


def asked(seed: int, words: str = "what is this ?") -> Conversation:
    return Conversation.ask(Image(picture(seed)), *([words] if words else []))


def only(backend: Any, conversation: Conversation, options: Options = OPTIONS) -> Completion:
    (done,) = backend.complete([conversation], options)
    return done


def test_a_batch_answers_as_each_alone_would(folder: Path) -> None:
    backend = load(f"local:{folder}")
    questions = [asked(n % 5, "what is this ? " * (1 + n % 4)) for n in range(20)]
    questions.append(Conversation((Message("user", ("who are you ?",)),)))  # without an image
    one = load(f"local:{folder}", LoadOptions(batch_size=1))
    alone = [only(one, q) for q in questions]
    assert len({done.text for done in alone}) > 5
    batch = sorted(backend.complete(questions, OPTIONS), key=lambda done: done.index)
    for together, single in zip(batch, alone, strict=True):
        assert together.error is None
        assert (together.text, together.prompt_tokens, together.completion_tokens) == (
            single.text,
            single.prompt_tokens,
            single.completion_tokens,
        )


def test_a_stream_joins_to_the_same_text(folder: Path) -> None:
    backend = load(f"local:{folder}")
    pieces = list(backend.stream(asked(1), OPTIONS))
    assert "".join(pieces) == only(backend, asked(1)).text
    assert len(pieces) > 1
    stream = backend.stream(asked(1), Options(max_tokens=400))
    assert isinstance(stream, Iterator)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # nobody listens any more: the model is free again
    assert only(backend, asked(2)).text


def test_a_reader_that_stands_still_stops_nobody_else(folder: Path) -> None:
    backend = load(f"local:{folder}")
    standing = backend.stream(asked(1), OPTIONS)
    next(standing)
    found: list[Completion] = []
    other = threading.Thread(target=lambda: found.append(only(backend, asked(2))), daemon=True)
    other.start()
    other.join(60)
    assert found
    assert found[0].error is None
    assert list(standing)


def test_no_more_is_drawn_than_is_answered_and_made_ready(folder: Path) -> None:
    backend = load(f"local:{folder}", LoadOptions(batch_size=4))
    drawn: list[int] = []

    def source() -> Iterator[Conversation]:
        for n in range(64):
            drawn.append(n)
            yield asked(0, "what " * (1 + n % 4))

    answers = backend.complete(source(), OPTIONS)
    for done in range(1, 9):
        next(answers)
        assert len(drawn) <= 2 * 4 + done
    answers.close()  # type: ignore[attr-defined]


def in_batches(folder: Path, size: int, monkeypatch: Any) -> Any:
    """As families are asked whose answers cannot join each other."""
    backend: Any = load(f"local:{folder}", LoadOptions(batch_size=size))
    monkeypatch.setattr(type(backend._model), "joinable", False)
    return backend


def test_batches_are_of_similar_length_and_drawn_lazily(folder: Path, monkeypatch: Any) -> None:
    backend = in_batches(folder, 4, monkeypatch)
    lengths: list[list[int]] = []
    answer = backend._model.answer

    def watch(prompts: Any, *rest: Any) -> Any:
        lengths.append([len(p.ids) for p in prompts])
        return answer(prompts, *rest)

    monkeypatch.setattr(backend._model, "answer", watch)
    drawn: list[int] = []

    def source() -> Iterator[Conversation]:
        for n in range(64):
            drawn.append(n)
            yield asked(0, "what " * (1 + n % 4))

    answers = backend.complete(source(), OPTIONS)
    next(answers)
    assert len(drawn) == 16
    list(answers)
    assert [len(set(batch)) for batch in lengths] == [1] * 16


def test_faults_stop_no_run(folder: Path, tmp_path: Path) -> None:
    backend = load(f"local:{folder}")
    gone = Conversation.ask(Image(tmp_path / "gone.jpg"), "what is this ?")
    long = asked(1, "what " * 600)
    empty = Conversation(())
    done = {c.index: c for c in backend.complete([asked(1), gone, long, empty, asked(2)], OPTIONS)}
    assert [done[n].error is None for n in range(5)] == [True, False, False, False, True]
    assert "gone" in str(done[1].error)
    assert "512" in str(done[2].error)
    with pytest.raises(InputError, match="512"):
        list(backend.stream(long, OPTIONS))


def test_out_of_memory_halves_the_batch(folder: Path, monkeypatch: Any) -> None:
    import torch

    backend = in_batches(folder, 8, monkeypatch)
    questions = [asked(n) for n in range(12)]
    expected = [only(backend, q).text for q in questions]
    sizes: list[int] = []
    answer = backend._model.answer

    def small(prompts: Any, *rest: Any) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return answer(prompts, *rest)

    monkeypatch.setattr(backend._model, "answer", small)
    batch = sorted(backend.complete(questions, OPTIONS), key=lambda c: c.index)
    assert [c.text for c in batch] == expected
    assert sizes == [8, 4, 2, 2, 4, 2, 2, 2, 2]


def test_the_fingerprint_tells_models_apart(folder: Path, build: Any, tmp_path: Path) -> None:
    name = f"local:{folder}"
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert load(f"local:{moved}").fingerprint == load(name).fingerprint
    others = [
        load(name, LoadOptions(dtype="bfloat16")),
        load(f"local:{build(seed=1, describe='describe the picture')}"),
        load(f"local:{build(describe='what is this ?')}"),
        load(f"local:{build(words=False, describe='describe the picture')}"),
    ]
    assert len({load(name).fingerprint, *(b.fingerprint for b in others)}) == 5


def test_the_card_says_how_to_ask(folder: Path, build: Any) -> None:
    told = load(f"local:{folder}")
    assert not told.profile.instructable
    assert told.profile.converses
    assert told.profile.languages == ("en",)
    assert told.profile.image_tokens == 16
    # Without words, the model's own words are asked.
    assert only(told, asked(1, "")).text == only(told, asked(1, "describe the picture")).text
    assert load(f"local:{build()}").profile.instructable
    trained = load(f"local:{build(data='scenes', size='tiny')}").profile
    assert (trained.instructable, trained.draft, trained.languages) == (False, True, ("en",))


def test_a_model_of_several_languages_is_asked_in_the_one_that_is_wanted(build: Any) -> None:
    asks = {"en": "describe the picture", "ko": "what is this ?"}
    told = load(f"local:{build(describe=asks, languages=['en', 'ko'])}")
    without = asked(1, "")
    for language, words in ("ko", asks["ko"]), ("en", asks["en"]), ("de", asks["en"]):
        wanted = Conversation(without.messages, {"language": language})
        assert only(told, wanted).text == only(told, asked(1, words)).text
    assert only(told, without).text == only(told, asked(1, asks["en"])).text
    assert len({only(told, asked(1, words)).text for words in asks.values()}) == 2


def check_refused(name: str, *said: str) -> None:
    """A model that describes nothing is told before any picture is asked about; it answers what it is asked."""
    from looksay.api import Library

    backend = load(name)
    assert not backend.profile.instructable
    error = str(only(backend, asked(1, "")).error)
    assert only(backend, asked(1)).error is None
    with TemporaryDirectory() as photos:
        picture(1).save(Path(photos) / "1.png")
        with Library(photos) as library, pytest.raises(InputError) as told:
            library.describe(backend)
    for words in (*said, f"looksay ask IMAGE .* --model {re.escape(name)}"):
        assert re.search(words, error), error
        assert re.search(words, str(told.value)), told.value


def test_a_model_without_captions_does_not_describe(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra local")
    from models.test_albef import tiny_albef

    from looksay.models import checkpoint

    checkpoint.save(tiny_albef(), tmp_path, data="scenes")
    check_refused(f"local:{tmp_path}", "answers questions, searches and matches", "train blip")


def test_a_model_that_has_learned_questions_names_the_one_that_captions(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra local")
    from models.test_blip import tiny_blip

    from looksay.models import checkpoint

    model = tiny_blip()
    checkpoint.save(model, tmp_path / "caption", data="scenes")
    model.answered += 1
    for folder in (tmp_path, tmp_path / "vqa"):
        checkpoint.save(model, folder, data="scenes")
        captions = f"local:{tmp_path / 'caption'}"
        check_refused(f"local:{folder}", "learned to answer questions", re.escape(captions))
    assert only(load(captions), asked(1, "")).error is None
    shutil.rmtree(tmp_path / "caption")
    check_refused(f"local:{tmp_path}", "learned to answer questions", "looksay train blip")


def test_models_of_scenes_are_asked_in_the_words_that_they_learned() -> None:
    from looksay.backends.local import SCENES
    from looksay.data.sources.scenes import DESCRIBE

    assert SCENES["describe"] == DESCRIBE


def test_models_of_scenes_say_that_they_know_nothing_else(
    build: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from looksay.cli import console

    scenes, own = (load(f"local:{build(data=data)}") for data in ("scenes", "photos.json"))
    console.tell_limits(own)
    assert capsys.readouterr() == ("", "")
    console.tell_limits(scenes)
    told = f"{scenes.name} knows drawn scenes only, not photographs: docs/scenes.md\n"
    assert capsys.readouterr() == ("", told)


def test_mistakes_are_told(folder: Path, tmp_path: Path) -> None:
    for name, said in (
        ("local:", "local:runs/llava"),
        (f"local:{tmp_path / 'gone'}", "is no folder"),
        (f"local:{tmp_path}", "no checkpoint of looksay"),
        ("mini:large", "only one mini"),
    ):
        with pytest.raises(InputError, match=said):
            load(name)
    with pytest.raises(InputError, match="device"):
        load(f"local:{folder}", LoadOptions(device="tpu"))


def test_mini_says_what_to_do_where_it_is_not(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(mini, "FOLDER", tmp_path)
    assert mini.discover() == []
    with pytest.raises(BackendError, match="looksay train llava15 --data scenes"):
        load("mini")


def test_mini_writes_drafts_and_auto_never_takes_it(folder: Path, monkeypatch: Any) -> None:
    from looksay.backends import auto

    monkeypatch.setattr(mini, "FOLDER", folder)
    small = load("mini")
    assert (small.name, small.profile.draft, mini.discover()) == ("mini", True, ["mini"])
    assert small.fingerprint == load(f"local:{folder}").fingerprint
    for server in ("ollama_names", "find_served", "hub_names"):
        monkeypatch.setattr(auto, server, list)
    monkeypatch.setattr(auto, "_has_facts", lambda: True)
    assert auto.choose().name == "facts"


def test_export_for_other_programs(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    out = tmp_path / "out"
    done = looksay("export", folder, "--to", "transformers", "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"hub:{out}" in done.stdout
    assert AutoModelForImageTextToText.from_pretrained(out).config.model_type == "llava"
    for words, said in (
        (("--to", "transformers", "--out", out), "not empty"),
        (("--to", "gguf", "--out", tmp_path / "x"), "--to transformers"),
        (("--to", "transformers"), "--out DIR"),
    ):
        refused = looksay("export", folder, *words)
        assert refused.returncode == 2
        assert said in refused.stderr


@pytest.mark.slow
def test_it_describes_chats_and_answers(folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        picture(number).save(photos / f"{number}.png")
    name = f"local:{folder}"
    described = looksay("describe", photos, "-m", name, "--json")
    events = [json.loads(line) for line in described.stdout.splitlines()]
    report = events[-1]["summary"]
    # A random model says nothing sensible; what counts is that each photo was asked about.
    assert report["described"] + len(report["failures"]) == 3, described.stderr
    again = json.loads(looksay("describe", photos, "-m", name, "--json").stdout.splitlines()[-1])
    assert again["summary"]["present"] == report["described"]

    question = ["ask", photos / "0.png", "what is this ?", "-m", name, "--max-tokens", "12"]
    answer = json.loads(looksay(*question, "--json").stdout)["answer"]
    assert (
        answer == only(load(name), Conversation.ask(Image(photos / "0.png"), "what is this ?")).text
    )
    chat = looksay(
        "chat",
        photos / "0.png",
        "-m",
        name,
        "--max-tokens",
        "12",
        typed="what is this ?\nwho are you ?\n",
    )
    assert chat.returncode == 0, chat.stderr
    assert chat.stdout.splitlines()[0] == answer
    assert len(chat.stdout.splitlines()) == 2
