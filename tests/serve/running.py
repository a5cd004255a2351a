"""A real `looksay serve` as a process of its own, ended by its id, and what tests ask it with.

with running("--model", "mini", folder=tmp_path) as server:
    httpx.get(f"{server.url}/healthz")
"""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from conftest import need
from pictures import jpeg

START_S = 240.0
WAIT_S = 120.0
"""Longer than anything takes that ends at all."""


@dataclass
class Server:
    """A server that is up."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def metric(self, name: str, model: str) -> float:
        """A number of /metrics; 0 where it is not there yet."""
        text = httpx.get(f"{self.url}/metrics").text
        found = re.search(rf'^{name}\{{model="{model}"\}} (\S+)$', text, re.M)
        return float(found[1]) if found else 0.0

    def chat(self, model: str, *messages: Any, **more: Any) -> httpx.Response:
        """One chat request without OpenAI's client; a message that is a text is the user's."""
        body = {"model": model, "messages": [spoken(one) for one in messages], **more}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=WAIT_S)

    def works(self, model: str = "echo") -> None:
        """It still answers."""
        assert self.process.poll() is None, self.log.read_text("utf-8")
        assert self.chat(model, "are you there?").status_code == 200


def spoken(message: Any) -> dict[str, Any]:
    if isinstance(message, dict):
        return message
    return {"role": "user", "content": message}


def pictured(words: str, *urls: str) -> dict[str, Any]:
    """A user's turn with pictures before the words."""
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [*shown, {"type": "text", "text": words}]}


def data_url(data: bytes | int, kind: str = "image/jpeg") -> str:
    """Bytes, or the picture of a seed, as a data URL."""
    found = jpeg(data) if isinstance(data, int) else data
    return f"data:{kind};base64,{base64.b64encode(found).decode()}"


def until(true: Callable[[], bool]) -> None:
    """Wait until something has come to be."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


@contextmanager
def running(
    *words: str,
    folder: Path,
    env: Mapping[str, str] | None = None,
    port: int = 0,
    start_s: float = START_S,
) -> Iterator[Server]:
    """`looksay serve` with these words at a port that is free, its log in `folder`."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "looksay", "serve", "--port", str(port), *words]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, "COLUMNS": "500", **(env or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(_place(process, log, start_s), process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


@contextmanager
def several(folder: Path) -> Iterator[Server]:
    """The small model that ships, two that need no weights, one that talks long, one that is damaged, and a dual
    encoder."""
    for package in ("torch", "transformers", "fastapi", "uvicorn", "prometheus_client"):
        need(importlib.util.find_spec(package), f"{package} is missing")
    from engines import saved
    from test_encoders import clip

    from looksay.backends import mini

    talker, damaged, encoder = folder / "talker", folder / "damaged", folder / "clip"
    saved(talker, endless=True)
    shutil.copytree(mini.FOLDER, damaged)
    weights = next(damaged.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100_000])
    encoder.mkdir()
    clip(encoder)
    models = ("mini", "echo", "slow=echo:0.2", f"talker=local:{talker}", f"damaged=local:{damaged}")
    words = [word for model in models for word in ("--model", model)]
    with running(*words, "--encoder", f"clip=hub:{encoder}", folder=folder) as server:
        yield server


def _place(process: subprocess.Popen[bytes], log: Path, start_s: float) -> str:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline and process.poll() is None:
        told = re.search(r"at (http://\S+?)/v1", log.read_text("utf-8", "replace"))
        if told:
            try:
                if httpx.get(f"{told[1]}/healthz", timeout=5).status_code == 200:
                    return told[1]
            except httpx.HTTPError:
                pass
        time.sleep(0.1)
    raise RuntimeError(f"looksay serve is not up:\n{log.read_text('utf-8', 'replace')[-3000:]}")
