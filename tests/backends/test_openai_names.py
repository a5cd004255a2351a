"""`openai:` and `http://…`: which model, which server, whose key."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, Reply, hurry, openai_models, openai_text
from openai_asking import DOG, KEY, ask, no_keys, photo, run

from looksay.backends import LoadOptions, load, openai
from looksay.errors import BackendError, InputError, RemoteNotAllowed
from looksay.types import Options, Price

__all__ = ["no_keys", "photo"]  # fixtures


def test_the_only_model_is_taken_and_more_than_one_are_listed() -> None:
    with Faulty(pages=openai_models("org/solo")) as server:
        backend = load(f"{server.url}/v1")
        assert backend.name == f"{server.url}/v1#org/solo"
    with (
        Faulty(pages=openai_models("b", "a")) as server,
        pytest.raises(BackendError, match=r"lists 2 models.*a, b.*Type: http\S+/v1#a"),
    ):
        load(f"{server.url}/v1")


def test_a_server_without_a_list_of_models_is_used_by_name(photo: Path) -> None:
    with Faulty([DOG]) as server:
        [done] = run(server, photo)
    assert done.text


def test_fingerprints_tell_models_and_servers_apart() -> None:
    def fingerprint(model: str, **row: Any) -> tuple[str, str]:
        with Faulty(pages=openai_models(model, **row)) as server:
            return load(f"{server.url}/v1#{model}").fingerprint, server.url

    print_, url = fingerprint("m", root="/models/one")
    assert print_.startswith(f"m@{url}/v1#")
    digests = {
        fingerprint("m", **row)[0].partition("#")[2]
        for row in ({"root": "/models/one"}, {"root": "/models/two"}, {"meta": {"n_params": 7}})
    }
    assert len(digests) == 3
    now, later = fingerprint("m", created=1)[0], fingerprint("m", created=2)[0]
    assert now.partition("#")[2] == later.partition("#")[2], "vLLM puts the present time there"


def test_a_url_with_a_secret_is_refused() -> None:
    for url in ("http://me:pw@127.0.0.1:1/v1#m", "http://127.0.0.1:1/v1?key=abc#m"):
        with pytest.raises(InputError, match="would be stored"):
            load(url)


def test_another_machine_is_asked_nothing_without_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "connect", lambda *_: pytest.fail("it connected"))
    for name in ("openai:gpt-4o", "http://192.0.2.1/v1#m", "openai:gemini-3.8-flash"):
        with pytest.raises(RemoteNotAllowed, match="--allow-remote"):
            load(name)


def test_a_key_that_is_missing_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai.keys, "key_for", lambda *_: None)
    for name, env in (("openai:gpt-4o", "OPENAI"), ("openai:gemini-3.8-flash", "GEMINI")):
        with pytest.raises(BackendError, match=rf"{env}_API_KEY=KEY.*keyring set looksay"):
            load(name, LoadOptions(allow_remote=True))


def test_openai_itself(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's own path, with its URL pointed here: key sent, price from the presets."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    answer = openai_text("A dog.", usage=(1000, 100))
    with Faulty([answer], pages=openai_models("gpt-4o")) as server:
        monkeypatch.setattr(openai, "OPENAI_URL", f"{server.url}/v1")
        backend = load("openai:gpt-4o")
        [done] = backend.complete([ask(photo)], Options())
    assert backend.name == "openai:gpt-4o"
    assert backend.profile.price == Price(2.5, 10.0)
    assert done.cost_usd == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)
    assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.posts[0].headers["openai-organization"] == "org-mine"
    assert server.posts[0].body["max_completion_tokens"] == 300


def test_other_servers_get_neither_the_key_nor_the_account(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-mine")
    with Faulty([DOG], pages=openai_models("m")) as server:
        run(server, photo)
    sent = str([r.headers for r in server.received])
    assert KEY not in sent
    assert "org-mine" not in sent
    assert "proj-mine" not in sent


def test_a_server_of_ones_own_gets_its_key(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKSAY_API_KEY", "my-own-key-123")
    with Faulty([DOG], pages=openai_models("m")) as server:
        run(server, photo)
    assert server.posts[0].headers["authorization"] == "Bearer my-own-key-123"


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_is_never_shown(
    photo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    secret = "plain+secret/key=42"
    monkeypatch.setenv("LOOKSAY_API_KEY", secret)
    caplog.set_level(logging.DEBUG)
    echo = Reply(
        {"error": {"message": f"the key {secret} (Bearer {secret}, {KEY}) is bad"}}, status
    )
    with Faulty(rest=echo, pages=openai_models("m")) as server:
        backend = load(f"{server.url}/v1#m", LoadOptions(retries=1))
        hurry(backend)
        shown = repr(backend) + str(backend.profile) + backend.name + backend.fingerprint
        if status == 401:
            with pytest.raises(BackendError) as raised:
                list(backend.complete([ask(photo)], Options()))
            shown += "".join(traceback.format_exception(raised.value))
        else:
            shown += str(list(backend.complete([ask(photo)], Options())))
    assert "is bad" in shown
    assert server.posts[0].headers["authorization"] == f"Bearer {secret}"
    for place in (shown, caplog.text):
        assert secret not in place
        assert KEY not in place
