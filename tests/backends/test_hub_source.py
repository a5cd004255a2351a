"""Finding checkpoints on disk, telling them apart, and saying what to type when one is not there."""

from __future__ import annotations

import http.server
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import need

from looksay.backends import LoadOptions, load
from looksay.backends import _hub_source as source
from looksay.backends.hub import discover
from looksay.errors import BackendError, InputError, MissingDependency

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLIP = {
    "model_type": "blip",
    "architectures": ["BlipForConditionalGeneration"],
    "vision_config": {},
}


def tensors(path: Path, **content: bytes) -> None:
    """A safetensors file of one-dimensional bytes, written out by hand."""
    header, at = {}, 0
    for name, data in content.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(content.values()))


def checkpoint(folder: Path, config: dict[str, object] = BLIP) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    tensors(folder / "model.safetensors", first=bytes(1000), second=bytes(1000))
    return folder


def snapshot(cache: Path, name: str, config: dict[str, object] = BLIP) -> Path:
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    return checkpoint(home / "snapshots" / COMMIT, config)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_where_huggingface_hub_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    need(importlib.util.find_spec("huggingface_hub"), 'pip install ".[local]"')
    from huggingface_hub import constants

    for names in ({}, {"XDG_CACHE_HOME": "/x"}, {"HF_HOME": "/h"}, {"HF_HUB_CACHE": "/c"}):
        with monkeypatch.context() as scope:
            for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
                scope.delenv(name, raising=False)
            for name, value in names.items():
                scope.setenv(name, value)
            assert str(source.cache_root()) == importlib.reload(constants).HF_HUB_CACHE
    importlib.reload(constants)


def test_discover_lists_what_describes_images_and_is_whole(cache: Path) -> None:
    assert discover() == []
    snapshot(cache, "Salesforce/blip-x")
    snapshot(cache, "a/clip", {"architectures": ["CLIPModel"], "vision_config": {}})
    snapshot(cache, "a/text", {"architectures": ["LlamaForCausalLM"]})
    captioner = {"architectures": ["VisionEncoderDecoderModel"], "encoder": {}, "decoder": {}}
    snapshot(cache, "nlp/vit--gpt2", captioner)
    (snapshot(cache, "b/half-fetched") / "model.safetensors").unlink()
    (snapshot(cache, "b/damaged") / "config.json").write_text("{")
    assert discover() == ["hub:Salesforce/blip-x", "hub:nlp/vit--gpt2"]


def test_discover_is_quick_and_needs_no_torch(cache: Path) -> None:
    for number in range(100):
        snapshot(cache, f"many/model-{number}")
    code = (
        "import sys, time; from looksay.backends.hub import discover; start = time.perf_counter();"
        "n = len(discover()); print(n, time.perf_counter() - start, 'torch' in sys.modules,"
        "'transformers' in sys.modules, 'huggingface_hub' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, seconds, *imported = out.stdout.split()
    assert (found, imported) == ("100", ["False"] * 3)
    assert float(seconds) < 2.0


def test_a_snapshot_is_known_by_its_commit(cache: Path) -> None:
    folder = snapshot(cache, "a/b")
    assert source.locate("a/b") == source.locate(f"a/b@{COMMIT}") == folder
    assert source.fingerprint(folder) == COMMIT[:12]


def change_config(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(BLIP | {"more": 1}))


def add_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def change_one_tensor(folder: Path) -> None:
    tensors(folder / "model.safetensors", first=bytes(1000), second=bytes([1]) * 1000)


def rename_a_tensor(folder: Path) -> None:
    tensors(folder / "model.safetensors", first=bytes(1000), secund=bytes(1000))


@pytest.mark.parametrize(
    "change", [change_config, add_template, change_one_tensor, rename_a_tensor]
)
def test_a_folder_is_known_by_what_it_holds(change: Callable[[Path], None], tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "one")
    before = source.fingerprint(folder)
    shutil.copytree(folder, tmp_path / "two", copy_function=shutil.copyfile)
    assert source.fingerprint(tmp_path / "two") == before
    change(folder)
    assert source.fingerprint(folder) != before


def test_a_pickle_of_weights_is_sampled_all_over(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "one")
    (folder / "model.safetensors").unlink()
    content = bytearray(3_000_000)
    (folder / "pytorch_model.bin").write_bytes(content)
    before = source.fingerprint(folder)
    content[1_500_000:1_501_000] = b"x" * 1000
    (folder / "pytorch_model.bin").write_bytes(content)
    assert source.fingerprint(folder) != before


@pytest.mark.parametrize("name", ["no/such/folder", "./nowhere", "/nowhere/at/all", "word"])
def test_what_is_neither_folder_nor_name_is_said_so(name: str) -> None:
    with pytest.raises(BackendError, match=f"There is no folder {name}"):
        source.locate(name)


def test_folders_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="has no config"):
        source.locate(str(tmp_path))
    folder = checkpoint(tmp_path / "parts")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    tensors(folder / "model-1.safetensors", a=b"1")
    with pytest.raises(BackendError, match="missing or incomplete"):
        source.locate(str(folder))
    tensors(folder / "model-2.safetensors", b=b"1")
    assert source.locate(str(folder)) == folder


@pytest.mark.local
def test_offline_says_what_to_type(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(importlib.util.find_spec("transformers"), 'pip install ".[local]"')
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackendError, match=r"HF_HUB_OFFLINE.*hf download a/b.*hub:/path/to/folder"):
        load("hub:a/b")


class Hub(http.server.BaseHTTPRequestHandler):
    """The four requests that huggingface_hub makes of a hub, answered from `files`."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if path == "/api/models/gated/b/revision/main":
            self.reply(b"", 403, {"X-Error-Code": "GatedRepo"})
        elif path.startswith("/api/models/a/b/revision/"):
            found = [{"rfilename": file} for file in self.files]
            self.reply(json.dumps({"id": "a/b", "sha": COMMIT, "siblings": found}).encode())
        elif path.startswith("/api/models/a/b/tree/"):
            sizes = {file: len(content) for file, content in self.files.items()}
            tree = [{"type": "file", "path": f, "size": n, "oid": f} for f, n in sizes.items()]
            self.reply(json.dumps(tree).encode())
        elif path.startswith("/a/b/resolve/") and name in self.files:
            self.reply(self.files[name], 200, {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT})
        else:
            self.reply(b"", 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def reply(self, body: bytes, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def ask_hub(cache: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Locate a model with a hub in reach (or at the URL given), in a process of its own, since
    huggingface_hub reads its settings when it is imported. Returns what was said."""
    need(importlib.util.find_spec("huggingface_hub"), 'pip install ".[local]"')
    folder = checkpoint(tmp_path / "published")
    (folder / "flax_model.msgpack").write_bytes(b"another program's copy of the weights")
    Hub.files = {file.name: file.read_bytes() for file in folder.iterdir()}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    code = (
        "import sys; from looksay.backends._hub_source import locate, fingerprint\n"
        "try: folder = locate(sys.argv[1]); print(fingerprint(folder), *sorted(f.name for f in folder.iterdir()))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    def ask(name: str, url: str = f"http://127.0.0.1:{server.server_port}") -> str:
        Hub.asked.clear()
        settings = {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-c", code, name]
        return subprocess.run(
            command,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()

    yield ask
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.local
def test_a_model_is_fetched_once_and_only_what_is_needed(ask_hub: Callable[..., str]) -> None:
    said = ask_hub("a/b")
    assert said == f"{COMMIT[:12]} config.json model.safetensors"
    assert Hub.asked
    assert ask_hub("a/b") == said
    assert Hub.asked == []  # on disk: nobody is asked


@pytest.mark.local
def test_what_the_hub_refuses_is_said_in_plain_words(ask_hub: Callable[..., str]) -> None:
    assert "has no public model 'a/typo' with revision 'main'" in ask_hub("a/typo")
    assert "accepted its licence" in ask_hub("gated/b")


@pytest.mark.local
def test_no_hub_in_reach_is_found_out_quickly(ask_hub: Callable[..., str]) -> None:
    start = time.perf_counter()
    said = ask_hub("a/b", "http://127.0.0.1:9")
    assert said.startswith("BackendError hub:a/b is not on this machine, and no hub is in reach")
    assert "hf download a/b" in said
    assert time.perf_counter() - start < 20  # most of it is the start of a process


@pytest.mark.local
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "bert"}, "'bert', which does not write text about images"),
        (
            {"model_type": "qwen2_audio", "audio_config": {}},
            "which does not write text about images",
        ),
        ({"model_type": "clip", "architectures": ["CLIPModel"]}, "looksay search DIR"),
        ({"model_type": "blip", "architectures": ["BlipForImageTextRetrieval"]}, "--encoder hub:"),
        ({"model_type": "from_the_future"}, "pip install -U transformers"),
        ({"model_type": "minicpmv", "auto_map": {"AutoModel": "x.Y"}}, "--trust-remote-code"),
        ({}, "''"),
    ],
)
def test_other_types_are_refused_with_a_way_on(
    config: dict[str, object], said: str, tmp_path: Path
) -> None:
    need(importlib.util.find_spec("transformers"), 'pip install ".[local]"')
    folder = checkpoint(tmp_path / "model", config)
    with pytest.raises(BackendError) as caught:
        load(f"hub:{folder}")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            LoadOptions(device="gpu"),
            "device = 'gpu' is unknown. Expected one of: auto, cpu, cuda, mps",
        ),
        (LoadOptions(dtype="int8"), "dtype = 'int8' is unknown. Expected one of: auto, float32"),
        (
            LoadOptions(quantize="2bit"),
            "quantize = '2bit' is unknown. Expected one of: int8, int4, nf4",
        ),
    ],
)
def test_options_are_checked_before_anything_is_loaded(options: LoadOptions, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load("hub:a/b", options)
    assert said in str(caught.value)


def test_hub_alone_names_no_model() -> None:
    with pytest.raises(InputError, match="hub:OWNER/NAME"):
        load("hub:")


@pytest.mark.parametrize(
    ("package", "options", "extra"),
    [
        ("torch", LoadOptions(), "local"),
        ("bitsandbytes", LoadOptions(quantize="nf4"), "quantized"),
    ],
)
def test_a_missing_extra_is_named(
    package: str, options: LoadOptions, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency) as caught:
        load("hub:a/b", options)
    assert f'pip install ".[{extra}]"' in str(caught.value)
