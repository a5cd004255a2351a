"""A Python program in a process of its own that begins with the libraries imported: it is forked from one that has them.

PyTorch and transformers take five seconds of a core to import, and the pages of docs alone type sixty commands that
want them. So one process imports them once (the libraries, never looksay) and forks for each program, which from
there on has what a process that a user starts has: its own arguments, folder, environment, input, output and end.
What looksay itself imports, and in which order, is seen where tests start Python anew (`commands.looksay`).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import types
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

LOOKSAY = "import runpy; runpy.run_module('looksay', run_name='__main__', alter_sys=True)"
LIBRARIES = (
    *("httpx", "jinja2", "matplotlib.pyplot", "numpy", "openai", "PIL.Image", "pydantic"),
    *("rich.console", "typer", "typer.rich_utils"),
    *("torch", "accelerate", "safetensors.torch", "tokenizers", "transformers.modeling_utils"),
)
READ_AT_IMPORT = ("ACCELERATE_", "HF_", "OMP_", "PYTHON", "TOKENIZERS_", "TORCH", "TRANSFORMERS_")
"""How the names of variables begin that libraries or Python read once, at first."""


def run(
    words: list[str],
    *,
    code: str = LOOKSAY,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    typed: str = "",
    timeout_s: int = 300,
) -> subprocess.CompletedProcess[str]:
    """`python -c CODE WORDS…` (`looksay WORDS…`), with `typed` at its input. Only Linux forks; elsewhere Python starts.

    A program that takes longer is ended by a signal, which its `returncode` tells.
    """
    environment = dict(os.environ if env is None else env)
    if sys.platform != "linux":
        command = [sys.executable, "-c", code, *words]
        how: dict[str, Any] = {"capture_output": True, "text": True, "encoding": "utf-8"}
        return subprocess.run(
            command, cwd=cwd, env=environment, input=typed, timeout=timeout_s, **how
        )
    early = {k: v for k, v in environment.items() if k.startswith(READ_AT_IMPORT)}
    parent = _parent(json.dumps(early, sort_keys=True))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("in", "out", "err")]
        files[0].write_text(typed, "utf-8")
        asked = {
            "code": code,
            "words": words,
            "cwd": str(cwd or Path.cwd()),
            "env": environment,
            "files": [str(file) for file in files],
            "timeout_s": timeout_s,
        }
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(json.dumps(asked) + "\n")
        parent.stdin.flush()
        ended = int(parent.stdout.readline())
        out, err = (file.read_text("utf-8") for file in files[1:])
    return subprocess.CompletedProcess(words, ended, out, err)


def looksay(
    *words: object, typed: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`looksay WORDS…` where no progress is drawn; `typed` is what stands at its input."""
    environment = os.environ | {"LOOKSAY_PLAIN": "1", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    return run([*map(str, words)], cwd=cwd, env=environment, typed=typed)


@cache
def _parent(early: str) -> subprocess.Popen[str]:
    """The process that forks, one for each environment that libraries would read otherwise; it ends with this one."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(READ_AT_IMPORT)}
    process = subprocess.Popen(
        [sys.executable, __file__],
        env=others | json.loads(early),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # called first
    return process


def _become(asked: dict[str, Any]) -> NoReturn:
    """Be the program: what a new process is given, and what Python draws when it starts."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for number, (name, flags) in enumerate(
        zip(asked["files"], (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)
    ):
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - what the parent read ahead is not its
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    signal.alarm(asked["timeout_s"])
    sys.argv, sys.path[0] = ["-c", *asked["words"]], ""
    sys.modules["__main__"] = types.ModuleType("__main__")
    ended = 0
    try:
        exec(compile(asked["code"], "<string>", "exec"), vars(sys.modules["__main__"]))
    except SystemExit as end:
        ended = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        ended = 1
    # As Python ends, but for taking apart all that was imported, which costs as much as a small command.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended & 0xFF)


def main() -> None:
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    assert not any(name.partition(".")[0] == "looksay" for name in sys.modules)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
