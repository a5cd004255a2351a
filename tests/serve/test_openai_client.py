"""The official `openai` client against a real server, and the same questions to `transformers serve`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import need
from running import Server, data_url, pictured, spoken

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.local

BOTH, OURS = frozenset({"looksay", "transformers"}), frozenset({"looksay"})
SUPPORTED = {
    "models are listed": BOTH,
    "one model is looked up": OURS,
    "text": BOTH,
    "a picture as data URL": BOTH,
    "several pictures": BOTH,
    "several turns and an instruction": BOTH,
    "streaming": BOTH,
    "streaming with usage": BOTH,
    "max_tokens": BOTH,
    "stop": OURS,
    "n": OURS,
    "temperature and seed": OURS,
    "top_p": OURS,
    "logprobs": OURS,
    "response_format": OURS,
    "responses": BOTH,
    "embeddings": OURS,
    "an unknown model is 404": OURS,
    "what is not done is refused": OURS,
}
"""Who does what; docs/serving.md has this table. What is not supported is asked for all the same, so that the table
stays true."""


@dataclass
class Asked:
    """A server, a model of it that writes word by word, and a client."""

    kind: str
    model: str
    client: Any

    def chat(self, *messages: Any, **more: Any) -> Any:
        options = {"temperature": 0, "max_tokens": 12, **more}
        return self.client.chat.completions.create(
            model=self.model, messages=[spoken(one) for one in messages], **options
        )

    def text(self, *messages: Any, **more: Any) -> str:
        return str(self.chat(*messages, **more).choices[0].message.content)


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    need(importlib.util.find_spec("fastapi"), "fastapi is missing (transformers[serving])")
    from serve import serving

    with serving(tmp_path_factory.mktemp("transformers")) as server:
        yield server


@pytest.fixture(
    params=[pytest.param("looksay"), pytest.param("transformers", marks=pytest.mark.slow)]
)
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    if request.param == "looksay":
        server: Server = request.getfixturevalue("served")
        url, model = f"{server.url}/v1", "talker"
    else:
        other = request.getfixturevalue("others")
        url, model = other.url, other.model
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as client:
        yield Asked(request.param, model, client)


def feature(name: str) -> Any:
    """A test of a feature: where the table says no, it has to fail."""

    def mark(test: Any) -> Any:
        test.feature = name
        return test

    assert name in SUPPORTED
    return mark


@pytest.fixture(autouse=True)
def as_the_table_says(request: pytest.FixtureRequest) -> None:
    name = getattr(request.function, "feature", None)
    kind = request.node.callspec.params["asked"] if hasattr(request.node, "callspec") else ""
    if name is not None and kind and kind not in SUPPORTED[name]:
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"{kind}: no {name}"))


def test_every_feature_has_its_test() -> None:
    tested = {getattr(one, "feature", None) for one in globals().values() if callable(one)}
    assert tested - {None} == set(SUPPORTED)


@feature("models are listed")
def test_models(asked: Asked) -> None:
    listed = [model.id for model in asked.client.models.list()]
    assert asked.model in listed
    if asked.kind == "looksay":
        assert listed == ["mini", "echo", "slow", "talker", "damaged", "clip"]


@feature("one model is looked up")
def test_one_model(asked: Asked) -> None:
    found = asked.client.models.retrieve(asked.model)
    assert (found.id, found.object) == (asked.model, "model")
    with pytest.raises(openai.NotFoundError):
        asked.client.models.retrieve("no/such model")


@feature("text")
def test_text(asked: Asked) -> None:
    found = asked.chat("describe the dog")
    (choice,) = found.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    usage = found.usage
    assert usage.prompt_tokens > 3
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert asked.text("describe the dog") == choice.message.content  # greedy: the same again


@feature("a picture as data URL")
def test_a_picture(asked: Asked) -> None:
    found = [asked.chat(pictured("what is this ?", data_url(seed))) for seed in (1, 2)]
    assert found[0].usage.prompt_tokens > 16
    assert found[0].choices[0].message.content != found[1].choices[0].message.content


@feature("several pictures")
def test_several_pictures(asked: Asked) -> None:
    one = asked.chat(pictured("what is this ?", data_url(1)))
    both = asked.chat(pictured("what is this ?", data_url(1), data_url(2)))
    turned = asked.chat(pictured("what is this ?", data_url(2), data_url(1)))
    each = both.usage.prompt_tokens - one.usage.prompt_tokens
    assert each >= 16
    said = {answer.choices[0].message.content for answer in (one, both, turned)}
    assert len(said) == 3


@feature("several turns and an instruction")
def test_several_turns(asked: Asked) -> None:
    turns = [
        {"role": "system", "content": "you see a picture ."},
        pictured("what is this ?", data_url(1)),
        {"role": "assistant", "content": "a dog ."},
        "where is it ?",
    ]
    assert asked.text(*turns) != asked.text(*turns[1:]) != asked.text(turns[-1])


@feature("streaming")
def test_streaming(asked: Asked) -> None:
    question = pictured("what is this ?", data_url(3))
    pieces = list(asked.chat(question, stream=True))
    texts = [p.choices[0].delta.content or "" for p in pieces if p.choices]
    assert len([text for text in texts if text]) > 2
    assert "".join(texts).strip() == asked.text(question).strip()
    ends = [p.choices[0].finish_reason for p in pieces if p.choices and p.choices[0].finish_reason]
    assert ends == ["length"]
    assert len({p.id for p in pieces}) == 1


@feature("streaming with usage")
def test_streaming_with_usage(asked: Asked) -> None:
    pieces = list(asked.chat("where is it ?", stream=True, stream_options={"include_usage": True}))
    counted = [p.usage for p in pieces if p.usage]
    assert counted[-1].completion_tokens == 12
    assert counted[-1].prompt_tokens == asked.chat("where is it ?").usage.prompt_tokens


@feature("max_tokens")
def test_max_tokens(asked: Asked) -> None:
    for most in (1, 5):
        found = asked.chat("where is it ?", max_tokens=most)
        assert found.usage.completion_tokens == most
        assert found.choices[0].finish_reason == "length"


@feature("stop")
def test_stop(asked: Asked) -> None:
    whole = asked.text("where is it ?").strip()
    word = next(word for word in whole.split()[1:] if word not in whole.split()[0])
    found = asked.chat("where is it ?", stop=[word, "no such words"])
    assert found.choices[0].finish_reason == "stop"
    assert found.choices[0].message.content == whole[: whole.index(word)].rstrip()
    pieces = asked.chat("where is it ?", stop=word, stream=True)
    streamed = "".join(p.choices[0].delta.content or "" for p in pieces)
    assert streamed == found.choices[0].message.content


@feature("n")
def test_n(asked: Asked) -> None:
    found = asked.chat("where is it ?", n=3, temperature=1.5, seed=1)
    assert [choice.index for choice in found.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in found.choices}) > 1
    assert found.usage.completion_tokens >= 3
    pieces = list(asked.chat("where is it ?", n=3, temperature=1.5, seed=1, stream=True))
    for choice in found.choices:
        mine = [p.choices[0] for p in pieces if p.choices and p.choices[0].index == choice.index]
        assert "".join(one.delta.content or "" for one in mine) == choice.message.content


@feature("temperature and seed")
def test_seed(asked: Asked) -> None:
    def said(seed: int) -> str:
        return asked.text("where is it ?", temperature=1.5, seed=seed)

    assert said(1) == said(1)
    assert len({said(seed) for seed in range(5)}) > 1


@feature("top_p")
def test_top_p(asked: Asked) -> None:
    greedy = asked.text("where is it ?")
    narrow = {asked.text("where is it ?", temperature=1.5, top_p=1e-6, seed=s) for s in range(3)}
    wide = {asked.text("where is it ?", temperature=1.5, top_p=1.0, seed=s) for s in range(3)}
    assert narrow == {greedy}
    assert len(wide) > 1


@feature("logprobs")
def test_logprobs(asked: Asked) -> None:
    found = asked.chat("where is it ?", logprobs=True, top_logprobs=4)
    rows = found.choices[0].logprobs.content
    assert len(rows) == found.usage.completion_tokens
    for row in rows:
        assert row.logprob <= 0
        assert len(row.top_logprobs) == 4
        assert row.top_logprobs[0].token == row.token  # greedy: the likeliest
        assert bytes(row.bytes).decode() == row.token
    pieces = list(asked.chat("where is it ?", logprobs=True, top_logprobs=4, stream=True))
    streamed = [
        row
        for p in pieces
        if p.choices and p.choices[0].logprobs
        for row in p.choices[0].logprobs.content
    ]
    assert [row.token for row in streamed] == [row.token for row in rows]


SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"enum": [1, 2, 3]}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


@feature("response_format")
def test_response_format(asked: Asked) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "found", "schema": SCHEMA}}
    model = "mini" if asked.kind == "looksay" else asked.model  # the others know whole words only
    found = asked.client.chat.completions.create(
        model=model,
        messages=[pictured("What is there?", data_url(1))],
        response_format=form,
        max_tokens=60,
        temperature=1,
        seed=1,
    )
    told = json.loads(found.choices[0].message.content)
    assert told["colour"] in {"red", "blue"}
    assert told["count"] in {1, 2, 3}


@feature("responses")
def test_responses(asked: Asked) -> None:
    options = {"max_output_tokens": 12, "temperature": 0}
    found = asked.client.responses.create(  # transformers streams unless it is told not to
        model=asked.model, input="where is it ?", stream=False, **options
    )
    assert found.output_text.strip() == asked.text("where is it ?").strip()


@feature("embeddings")
def test_embeddings(asked: Asked) -> None:
    texts = ["a dog on the street", "two red birds"]
    found = asked.client.embeddings.create(model="clip", input=texts)
    vectors = [row.embedding for row in found.data]
    assert [row.index for row in found.data] == [0, 1]
    assert all(sum(x * x for x in v) == pytest.approx(1, abs=1e-5) for v in vectors)
    image = {"type": "image_url", "image_url": {"url": data_url(1)}}
    mixed: Any = [texts[1], image]
    plain = asked.client.embeddings.create(model="clip", input=mixed, encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(vectors[1], abs=1e-6)
    assert len(plain.data[1].embedding) == len(vectors[0])
    assert plain.data[1].embedding != pytest.approx(vectors[0], abs=1e-3)


@feature("an unknown model is 404")
def test_an_unknown_model(asked: Asked) -> None:
    asked.model = "gpt-nothing"
    with pytest.raises(openai.NotFoundError) as told:
        asked.chat("hello")
    assert told.value.code == "model_not_found"
    assert "talker" in told.value.message
    with pytest.raises(openai.NotFoundError, match="dual encoder"):
        asked.client.embeddings.create(model="mini", input="a dog")


@feature("what is not done is refused")
def test_what_is_not_done(asked: Asked) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    for more in (
        {"tools": [tool]},
        {"presence_penalty": 1.0},
        {"logit_bias": {"5": 10}},
        {"top_logprobs": 2},
        {"temperature": 7},
        {"n": 1000},
        {"max_tokens": 0},
    ):
        with pytest.raises(openai.BadRequestError):
            asked.chat("hello", **more)


def test_the_small_model_that_ships_answers(served: Server) -> None:
    """And the model's own key is never needed on this machine: any will do."""
    from looksay.data.sources.scenes import LIST

    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as client:
        found = client.chat.completions.create(
            model="mini", messages=[pictured(LIST, data_url(4))], temperature=0, max_tokens=40
        )
    assert found.choices[0].message.content
    assert found.system_fingerprint
