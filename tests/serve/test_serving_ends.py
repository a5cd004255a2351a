"""A server that is full, and one that ends: by SIGTERM in the middle of an answer, and by kill -9."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from running import WAIT_S, Server, running, until
from test_serving_faults import LONG, begun, streamed, told

openai = pytest.importorskip("openai")
pytestmark = [pytest.mark.local, pytest.mark.slow]


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engines import saved

    return saved(tmp_path_factory.mktemp("talker"), endless=True)


@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM there")
def test_an_answer_is_completed_before_the_server_ends(talker: Path, tmp_path: Path) -> None:
    with running("--model", f"talker=local:{talker}", folder=tmp_path) as server:
        whole = server.chat("talker", "where is it ?", **LONG).json()["choices"][0]["message"]
        with begun(server) as answer:
            lines = answer.iter_lines()
            first = [next(lines) for _ in range(6)]
            server.process.send_signal(signal.SIGTERM)
            until(lambda: not takes_more(server))
            assert streamed([*first, *lines]) == whole["content"]
        assert server.process.wait(WAIT_S) in {0, -signal.SIGTERM}
        assert "Traceback" not in server.log.read_text("utf-8")


def takes_more(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/healthz", timeout=WAIT_S).status_code == 200
    except httpx.HTTPError:
        return False


def test_after_a_kill_it_starts_again_where_it_was(tmp_path: Path) -> None:
    with running("--model", "slow=echo:0.5", folder=tmp_path) as server:
        port = httpx.URL(server.url).port
        server.works("slow")
        server.process.kill()
        server.process.wait(WAIT_S)
    with running("--model", "slow=echo:0.1", folder=tmp_path, port=port or 0) as again:
        assert again.url == server.url
        again.works("slow")


def test_a_full_queue_and_a_key(talker: Path, tmp_path: Path) -> None:
    """One is answered, one waits, the third is told for how long; OpenAI's client then comes again by itself."""
    words = ("--model", f"talker=local:{talker}", "--waiting", "1", "--rows", "1")
    with running(*words, folder=tmp_path, env={"LOOKSAY_SERVE_KEY": "s3cret"}) as server:
        url = f"{server.url}/v1/chat/completions"
        key = {"authorization": "Bearer s3cret"}
        assert "key" in told(server.chat("talker", "hello"), 401)
        asked = {"model": "talker", "messages": [{"role": "user", "content": "where ?"}]}
        body = {**LONG, **asked, "stream": True}
        with (
            httpx.stream("POST", url, json=body, headers=key, timeout=WAIT_S) as one,
            httpx.stream("POST", url, json=body, headers=key, timeout=WAIT_S) as two,
        ):
            lines = one.iter_lines()  # held, for without it the connection is closed
            assert next(lines)
            full = httpx.post(url, json=body, headers=key, timeout=WAIT_S)
            assert "1 requests wait" in told(full, 429)
            assert 1 <= int(full.headers["retry-after"]) <= 60
            two.close()
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="s3cret", max_retries=8) as client:
            found = client.chat.completions.create(
                model="talker",
                messages=[{"role": "user", "content": "hello"}],
                max_tokens=3,
                temperature=0,
            )
        assert found.usage.completion_tokens == 3
        log = server.log.read_text("utf-8")
        assert "s3cret" not in log
        assert "where ?" not in log
