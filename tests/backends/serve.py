"""A real OpenAI-compatible vision server: `transformers serve` on a tiny random LLaVA, on loopback.

    with serving(tmp_path) as server:
        backend = load(f"{server.url}#{server.model}")

Starting it takes 9 to 20 seconds, so share one between tests (a session fixture).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
START_S = 120.0


@dataclass(frozen=True)
class Server:
    """Example: Server(url="http://127.0.0.1:40123/v1", model="tiny/llava", log=Path(".../serve.log"))."""

    url: str
    model: str
    log: Path


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run the server with `folder` for its cache and its log; it is up when the body starts.

    After an answer of 500 it resets the connection without having announced it, as some servers do: the
    next request must come on a new one.
    """
    from checkpoints import llava

    home = folder / "hub" / "models--tiny--llava"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    (home / "blobs").mkdir()
    (home / "snapshots").mkdir()
    (home / "snapshots" / COMMIT).mkdir()
    llava.build(home / "snapshots" / COMMIT)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The command `transformers`, run by the Python that runs the tests.
    start = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    place = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    settings = {
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
    }
    log = folder / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", start, "serve", "tiny/llava", *place],
            env=os.environ | settings,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield Server(f"http://127.0.0.1:{port}/v1", "tiny/llava", log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"transformers serve is not up:\n{log.read_text(errors='replace')[-3000:]}")
