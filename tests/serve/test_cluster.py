"""Two replicas on one machine, asked by OpenAI's client: shared out, killed under load, back again, drained.

One server for all of it (Ray takes seconds to start, and 700 MB beside the replicas); the last test ends it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from running import WAIT_S, Server, running, until
from test_serving_faults import LONG, told

openai = pytest.importorskip("openai")
pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed"),
    pytest.mark.local,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="no SIGTERM there"),
]
KEY = "s3cret"
START_S = 600.0
"""A dozen processes, three of which import torch, where other tests run beside them."""
ASK = {"model": "talker", "messages": [{"role": "user", "content": "where is it ?"}]}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from engines import saved

    folder = tmp_path_factory.mktemp("cluster")
    talker = saved(folder / "talker", endless=True)
    words = ("--model", f"talker=local:{talker}", "--model", "mini")
    replicas = ("--ray", "--replicas", "2", "--device", "cpu")
    env = {"LOOKSAY_SERVE_KEY": KEY, "RAY_TMPDIR": short(tmp_path_factory)}
    with running(*words, *replicas, folder=folder, env=env, start_s=START_S) as server:
        yield server


def short(factory: pytest.TempPathFactory) -> str:
    """A folder for Ray's logs and sockets. The path of a socket has at most 107 bytes."""
    folder = factory.getbasetemp() / "r"
    folder.mkdir(exist_ok=True)
    return str(folder) if len(str(folder)) < 40 else "/tmp"


@pytest.fixture
def client(cluster: Server) -> Iterator[Any]:
    found = openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=KEY, max_retries=0, timeout=WAIT_S)
    with found:
        yield found


def measured(server: Server, name: str, model: str) -> dict[str, float]:
    """A number of /metrics by replica."""
    answer = httpx.get(
        f"{server.url}/metrics", headers={"authorization": f"Bearer {KEY}"}, timeout=WAIT_S
    )
    line = rf'^looksay_{name}\{{model="{model}",replica="(\w+)"\}} (\S+)$'
    return {replica: float(value) for replica, value in re.findall(line, answer.text, re.M)}


def in_hand(server: Server, model: str) -> Counter[str]:
    """Requests by replica, those of replicas that have none included."""
    found: Counter[str] = Counter()
    for name in ("running", "waiting"):
        found.update({one: int(n) for one, n in measured(server, name, model).items()})
    return found


def replicas(server: Server) -> list[psutil.Process]:
    """The processes that hold the models."""
    every = psutil.Process(server.process.pid).children(recursive=True)
    return [one for one in every if one.cmdline()[:1] and "ServeReplica:" in one.cmdline()[0]]


def said(stream: Any) -> tuple[str, str]:
    """(text, how it ended) of a stream that OpenAI's client reads."""
    text, reason = "", ""
    try:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            reason = chunk.choices[0].finish_reason or reason
    except openai.APIError as error:
        return text, str(error)
    return text, reason


def test_requests_are_shared_out_and_answered_alike(cluster: Server, client: Any) -> None:
    def ask(question: str) -> tuple[str, str]:
        talk = [{"role": "user", "content": question}]
        more = {"temperature": 0, "max_tokens": 20}
        return said(
            client.chat.completions.create(model="mini", messages=talk, stream=True, **more)
        )

    asked = [f"How many apples are {place}?" for place in ("there", "left", "right")] * 4
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(ask, asked))
    assert {end for _, end in found} <= {"stop", "length"}
    assert len(set(zip(asked, found, strict=True))) == 3
    answered = measured(cluster, "answered_total", "mini")
    assert len(answered) == 2
    assert min(answered.values()) > 0
    assert sum(answered.values()) == len(asked)


def test_keys_faults_and_sizes_are_as_in_one_process(cluster: Server, client: Any) -> None:
    assert "key" in told(cluster.chat("mini", "hello"), 401)
    with pytest.raises(openai.NotFoundError, match="no model 'none'"):
        client.chat.completions.create(model="none", messages=ASK["messages"])
    with pytest.raises(openai.APIStatusError, match="is the most") as refused:
        client.chat.completions.create(
            model="mini", messages=[{"role": "user", "content": "a" * (65 << 20)}]
        )
    assert refused.value.status_code == 413


def test_a_client_who_has_gone_is_not_written_for(cluster: Server, client: Any) -> None:
    before = sum(measured(cluster, "answered_total", "talker").values())
    stream = client.chat.completions.create(**ASK | LONG, stream=True)
    next(stream)
    until(lambda: in_hand(cluster, "talker").total() == 1)
    stream.close()
    until(lambda: in_hand(cluster, "talker").total() == 0)
    assert sum(measured(cluster, "answered_total", "talker").values()) == before


def test_a_replica_killed_under_load_takes_only_its_own_requests_along(
    cluster: Server, client: Any
) -> None:
    whole = client.chat.completions.create(**ASK | LONG).choices[0].message.content
    until(lambda: in_hand(cluster, "talker").total() == 0)
    held: Counter[str] = Counter()

    def all_are_being_answered() -> bool:
        held.clear()
        held.update(in_hand(cluster, "talker"))
        return held.total() == 6

    ask = client.chat.completions.create
    with ExitStack() as opened, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(ask, **ASK | LONG) for _ in range(3)]
        streams = [ask(**ASK | LONG, stream=True) for _ in range(3)]
        for stream in streams:
            opened.callback(stream.close)
            next(stream)
        until(all_are_being_answered)
        killed, _ = replicas(cluster)
        killed.kill()
        ends = [said(stream) for stream in streams]
        faults = [one.exception() for one in waiting]
        # At once, and nothing is tried again: the other answers.
        later = [ask(**ASK, max_tokens=2) for _ in range(6)]
    assert all(one.usage.completion_tokens == 2 for one in later)

    until(lambda: len(measured(cluster, "answered_total", "talker")) == 2)  # it is back
    now = measured(cluster, "answered_total", "talker")
    assert len(set(held) & set(now)) == 1, cluster.log.read_text("utf-8")
    (left,) = set(held) & set(now)
    (gone,) = set(held) - set(now)
    broken = [end for _, end in ends if end != "length"]
    failed = [fault for fault in faults if fault is not None]
    assert len(broken) + len(failed) == held[gone] > 0
    assert held[left] > 0
    assert all("has died" in end for end in broken)
    assert all(isinstance(one, openai.InternalServerError) for one in failed)
    assert all(one.status_code == 503 and "has died" in str(one) for one in failed)
    survived = [text for text, end in ends if end == "length"]
    survived += [
        one.result().choices[0].message.content for one in waiting if one.exception() is None
    ]
    assert survived == [whole] * held[left]

    assert killed.pid not in {one.pid for one in replicas(cluster)}
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: ask(**ASK | LONG).choices[0].message.content, range(4)))
    assert again == [whole] * 4
    assert min(measured(cluster, "answered_total", "talker").values()) > 0


def test_what_is_being_answered_is_before_the_server_ends(cluster: Server, client: Any) -> None:
    whole = client.chat.completions.create(**ASK | LONG).choices[0].message.content
    every = psutil.Process(cluster.process.pid).children(recursive=True)
    stream = client.chat.completions.create(**ASK | LONG, stream=True)
    first = next(stream)
    cluster.process.send_signal(signal.SIGTERM)
    assert first.choices[0].delta.content in (None, "")
    assert said(stream) == (whole, "length")
    assert cluster.process.wait(WAIT_S) == 0
    _, alive = psutil.wait_procs(every, WAIT_S)
    assert not alive
    log = cluster.log.read_text("utf-8")
    assert KEY not in log
    assert "where is it" not in log


def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    words = ["--model", f"hub:{tmp_path / 'nowhere'}", "--ray", "--replicas", "1", "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "looksay", "serve", *words],
        capture_output=True,
        text=True,
        timeout=2 * WAIT_S,
    )
    assert done.returncode == 2, done.stderr
    assert "There is no folder" in done.stderr
    assert "Traceback" not in done.stderr
