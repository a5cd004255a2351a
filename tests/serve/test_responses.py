"""OpenAI's newer form: the same answers as a chat, by the official client."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import openai
from fastapi.testclient import TestClient

from looksay.serve.api import create_app
from looksay.serve.shelf import Shelf

HOST = "http://127.0.0.1"


@pytest.fixture(scope="module")
def client() -> Any:
    with TestClient(create_app(Shelf({"echo": "echo"})), base_url=HOST) as http:
        yield openai.OpenAI(base_url=f"{HOST}/v1", api_key="none", http_client=http, max_retries=0)


def chatted(client: Any, *messages: tuple[str, str]) -> str:
    asked = [{"role": role, "content": text} for role, text in messages]
    answer = client.chat.completions.create(model="echo", messages=asked)
    return str(answer.choices[0].message.content)


def test_an_answer_is_that_of_a_chat(client: Any) -> None:
    found = client.responses.create(model="echo", input="What is it?", instructions="Be brief.")
    assert found.status == "completed"
    assert found.output_text == chatted(client, ("system", "Be brief."), ("user", "What is it?"))
    assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens


def test_turns_and_parts(client: Any) -> None:
    turns = [
        {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "two"}]},
        {"role": "user", "content": "three"},
    ]
    found = client.responses.create(model="echo", input=turns)
    wanted = chatted(client, ("user", "one"), ("assistant", "two"), ("user", "three"))
    assert found.output_text == wanted


def test_a_stream_says_what_the_whole_says(client: Any) -> None:
    events = list(client.responses.create(model="echo", input="What is it?", stream=True))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert said == events[-1].response.output_text == chatted(client, ("user", "What is it?"))
    assert kinds.count("response.output_text.delta") > 1


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "web_search"}]},
        {"previous_response_id": "resp_1"},
        {"text": {"format": {"type": "json_object"}}},  # echo cannot be held to it
    ],
)
def test_what_is_not_done_is_refused(client: Any, more: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="echo", input="What is it?", **more)
