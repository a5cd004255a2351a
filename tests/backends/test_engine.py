"""The engine: answers side by side are those alone, what was read is read once, what is asked besides is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch", reason="no torch: nothing is written side by side")
pytest.importorskip("transformers", reason="no transformers: nothing is written side by side")

import torch
from engines import Told, alone, ask, shown, talks, tiny, told
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import picture

from looksay.backends._kept import Seen
from looksay.backends.engine import Engine
from looksay.backends.opening import open_engine
from looksay.backends.tickets import Ticket, Unsupported, Wish
from looksay.errors import InputError
from looksay.models.batching import pad
from looksay.types import CONFIDENCE, Conversation, Image, Message, Options

pytestmark = pytest.mark.local
SHORT = Options(max_tokens=14)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny(tmp_path_factory.mktemp("letters"), words=False)


def fresh(backend: Any, rows: int | None = None) -> Engine:
    """An engine that remembers nothing of earlier ones."""
    vars(backend).pop("steps", None)
    Seen.forget()
    return open_engine(backend, rows=rows)


@pytest.fixture
def engine(words: Any) -> Iterator[Engine]:
    opened = fresh(words)
    yield opened
    assert opened.close()


@pytest.fixture
def by_letter(letters: Any) -> Iterator[Engine]:
    opened = fresh(letters)
    yield opened
    assert opened.close()


def same(found: Told, wanted: Any) -> None:
    end = found.done
    assert (found.text, end.prompt_tokens, end.completion_tokens, end.reason) == (
        wanted.text,
        wanted.prompt_tokens,
        wanted.completion_tokens,
        wanted.finish_reason,
    )


# -- side by side


def test_side_by_side_is_as_alone(words: Any, engine: Engine) -> None:
    wanted = [alone(words, talk, SHORT) for talk in talks()]
    assert len({one.text for one in wanted}) > 5
    for _ in range(2):  # the second time much is remembered
        tickets = [engine.submit(Ticket(talk, SHORT)) for talk in talks()]
        for ticket, one in zip(tickets, wanted, strict=True):
            same(told(ticket), one)
    assert engine.load().reused > 0
    assert engine.load().answered == 16


def test_half_characters_are_never_given(letters: Any, by_letter: Engine) -> None:
    """A word of this model is a byte, and its answers are no language: most bytes begin no character."""
    options = Options(max_tokens=60, temperature=1.0, seed=3)
    found = ask(by_letter, shown(1), options)
    same(found, alone(letters, shown(1), options))
    assert found.pieces > 3


@settings(max_examples=12)
@given(
    company=st.lists(
        st.tuples(
            st.integers(0, 7),
            st.sampled_from([0.0, 0.7, 1.5]),
            st.integers(0, 3),
            st.integers(1, 9),
        ),
        min_size=1,
        max_size=9,
    ),
    rows=st.integers(1, 5),
)
def test_no_answer_depends_on_its_company(words: Any, company: Any, rows: int) -> None:
    known: dict[Any, Any] = words.__dict__.setdefault("known_answers", {})
    engine = fresh(words, rows)
    try:
        asked = [
            (which, Options(max_tokens=most, temperature=heat, top_p=0.9, seed=seed))
            for which, heat, seed, most in company
        ]
        tickets = [
            engine.submit(Ticket(talks()[which], options, client=str(options.seed)))
            for which, options in asked
        ]
        for ticket, key in zip(tickets, asked, strict=True):
            if key not in known:
                known[key] = alone(words, talks()[key[0]], key[1])
            same(told(ticket), known[key])
    finally:
        assert engine.close()


def test_without_a_seed_answers_differ(engine: Engine) -> None:
    options = Options(max_tokens=12, temperature=1.0)
    tickets = [engine.submit(Ticket(shown(1), options)) for _ in range(6)]
    assert len({told(ticket).text for ticket in tickets}) > 1


def test_one_word(words: Any, engine: Engine) -> None:
    options = Options(max_tokens=1)
    tickets = [engine.submit(Ticket(talk, options)) for talk in talks()]
    for ticket, talk in zip(tickets, talks(), strict=True):
        found = told(ticket)
        same(found, alone(words, talk, options))
        assert found.done.completion_tokens == 1


def test_a_stop_string_over_several_words(words: Any, engine: Engine) -> None:
    """Cut anywhere out of an answer, mostly over the end of a word: nothing of it is ever given."""
    options = Options(max_tokens=14, temperature=1.0, seed=1)
    whole = alone(words, shown(2), options).text
    assert len(whole) > 30
    for at in range(1, len(whole) - 5):
        stop = whole[at : at + 5]
        cut = replace(options, stop=(stop, "no such words"))
        found = ask(engine, shown(2), cut)
        assert found.text == whole[: whole.index(stop)].rstrip()
        assert found.done.reason == "stop"


# -- what was read is read once


def test_the_second_turn_of_a_talk_reads_what_is_new(words: Any, engine: Engine) -> None:
    first = shown(1, system="you see a picture . " * 6)
    said = ask(engine, first, SHORT)
    assert said.done.reused_tokens == 0
    second = Conversation(
        (
            *first.messages,
            Message("assistant", (said.text,)),
            Message("user", ("where is the dog ?",)),
        )
    )
    found = ask(engine, second, SHORT)
    same(found, alone(words, second, SHORT))
    assert (found.done.reused_tokens or 0) >= (said.done.prompt_tokens or 0)


def test_an_instruction_is_shared(words: Any, engine: Engine) -> None:
    system = "a small red dog is near the large house . " * 5
    ask(engine, shown(times=2, system=system), SHORT)
    other = Conversation.ask("describe the tree .", system=system)
    found = ask(engine, other, SHORT)
    same(found, alone(words, other, SHORT))
    assert (found.done.reused_tokens or 0) >= len(system.split())


@pytest.mark.parametrize(("before", "after"), [((1,), (2,)), ((1, 2), (1, 3)), ((1, 2), (2, 1))])
def test_different_pictures_share_nothing_from_the_first_difference(
    words: Any, engine: Engine, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    system = "you see a picture . " * 6
    first = ask(engine, shown(*before, system=system), SHORT)
    found = ask(engine, shown(*after, system=system), SHORT)
    same(found, alone(words, shown(*after, system=system), SHORT))
    steps = engine.worker.steps  # type: ignore[attr-defined]
    prompt = steps.prompt(shown(*after, system=system))
    image = words._model.prompter.image_id
    begin = prompt.inputs.ids.index(image)
    alike = sum(a == b for a, b in zip(before, after, strict=True))
    assert found.done.reused_tokens == begin + 16 * alike
    assert first.text != found.text


def test_the_same_picture_is_looked_at_once(
    words: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    model = words._model
    tower = model.tower.forward
    monkeypatch.setattr(
        model.tower, "forward", lambda pixels: (looked.append(len(pixels)), tower(pixels))[1]
    )
    for talk in (shown(1), shown(1, times=3), shown(2, 1), shown(1, 1, times=2), shown(2)):
        same(ask(engine, talk, SHORT), alone(words, talk, SHORT))
    # Each is asked alone as well, where every picture is looked at.
    assert sum(looked) - (1 + 1 + 2 + 2 + 1) == 2


# -- what is asked besides


def test_log_probabilities_are_those_of_the_model(words: Any, letters: Any) -> None:
    """Held to log_softmax over `Language.hidden` in float64, each answer read as one text."""
    import copy

    for backend in (words, letters):
        model = copy.deepcopy(backend._model).double()
        engine = fresh(backend)
        try:
            tickets = [
                engine.submit(
                    Ticket(
                        talk, Options(max_tokens=12, temperature=1.0, seed=n), wish=Wish(logprobs=3)
                    )
                )
                for n, talk in enumerate(talks())
            ]
            for ticket in tickets:
                check_scored(model, ticket, told(ticket))
        finally:
            assert engine.close()


def check_scored(model: Any, ticket: Ticket, found: Told) -> None:
    tokenizer, prompt = model.tokenizer, model.prepare(ticket.conversation)
    names = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    assert len(found.scored) == found.done.completion_tokens
    mean = sum(one.logprob for one in found.scored) / len(found.scored)
    assert found.done.confidence == pytest.approx(mean, abs=1e-5)
    said: list[int] = []
    for one in found.scored:
        batch = pad(
            [replace(prompt, ids=prompt.ids + said, labels=[-100] * (len(prompt.ids) + len(said)))]
        )
        if batch.pixels_ICHW is not None:
            batch = replace(batch, pixels_ICHW=batch.pixels_ICHW.double())
        with torch.inference_mode():
            scores_V = model.language.logits(model.hidden(batch)[0, -1]).log_softmax(-1)
        likeliest, ids = scores_V.topk(3)
        assert [text for text, _ in one.top] == [names[i] for i in ids]
        assert [value for _, value in one.top] == pytest.approx(likeliest.tolist(), abs=2e-4)
        matching = [i for i, name in enumerate(names) if name == one.text]
        chosen = min(matching, key=lambda i: abs(float(scores_V[i]) - one.logprob))
        assert float(scores_V[chosen]) == pytest.approx(one.logprob, abs=2e-4)
        said.append(chosen)


def test_how_sure_it_was_comes_with_every_completion(words: Any) -> None:
    found = list(words.complete(talks()[:3], SHORT))
    sure = {one.index: one.details[CONFIDENCE] for one in found}
    assert len(sure) == 3
    assert all(value < 0 for value in sure.values())
    for index, talk in enumerate(talks()[:3]):
        (alone_,) = words.complete([talk], SHORT)
        assert alone_.details[CONFIDENCE] == pytest.approx(sure[index], abs=1e-5)


SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "blue", "grün"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "there": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["colour", "count", "there"],
    "additionalProperties": False,
}


def test_answers_fit_their_schema(by_letter: Engine) -> None:
    """A model of random weights, which knows nothing of JSON, beside others that are held to nothing."""
    jsonschema = pytest.importorskip("jsonschema")
    pytest.importorskip("llguidance")
    wish = Wish(grammar=json.dumps(SCHEMA), logprobs=2)
    tickets = []
    for seed in range(6):
        options = Options(max_tokens=200, temperature=(seed % 3) * 0.7, seed=seed)
        tickets.append(by_letter.submit(Ticket(shown(seed), options, wish=wish)))
        by_letter.submit(Ticket(shown(seed), Options(max_tokens=30)))
    found = [told(ticket) for ticket in tickets]
    for one in found:
        assert one.done.reason == "stop"
        jsonschema.validate(json.loads(one.text), SCHEMA)
    assert len({one.text for one in found}) > 1
    assert by_letter.load().faults == 0


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "string", "minLength": 5, "maxLength": 2},
        {"not": {}},
        {"type": "string", "pattern": "("},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
    ],
)
def test_a_schema_that_nothing_can_follow_is_refused(by_letter: Engine, schema: Any) -> None:
    pytest.importorskip("llguidance")
    with pytest.raises(InputError, match="JSON schema"):
        by_letter.submit(Ticket(shown(1), SHORT, wish=Wish(grammar=json.dumps(schema))))
    assert by_letter.load().waiting == 0


def test_what_takes_more_places_than_there_are_is_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="2048"):
        engine.submit(Ticket(shown(times=500), SHORT))
    longest = ask(engine, shown(times=150), Options(max_tokens=5000))
    assert (longest.done.completion_tokens or 0) + (longest.done.prompt_tokens or 0) <= 2048


def test_a_captioner_takes_turns_and_says_what_it_cannot() -> None:
    from looksay.backends.echo import Echo

    engine = open_engine(Echo())
    try:
        assert ask(engine, shown(1), SHORT).text.startswith("Echo ")
        for wish, what in ((Wish(logprobs=0), "log-prob"), (Wish(grammar="{}"), "JSON schema")):
            with pytest.raises(Unsupported, match=what):
                engine.submit(Ticket(shown(1), SHORT, wish=wish))
    finally:
        assert engine.close()


def test_the_small_model_that_ships_sees_side_by_side_what_it_sees_alone() -> None:
    import looksay
    from looksay.data.sources.scenes import DESCRIBE

    backend = looksay.load("mini")
    asked = [Conversation.ask(Image(picture(n)), DESCRIBE) for n in range(3)]
    options = Options(max_tokens=30)
    engine = open_engine(backend)
    try:
        tickets = [engine.submit(Ticket(one, options)) for one in asked]
        for ticket, one in zip(tickets, asked, strict=True):
            same(told(ticket), alone(backend, one, options))
    finally:
        assert engine.close()
