"""What is on this machine now: which presets can be used, and the best of them (`auto`).

Only loopback is asked, with connect timeouts of 0.3 s: a dead network is never waited for.
"""

from __future__ import annotations

import datetime
import functools
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx

from looksay import plugins
from looksay.backends import http, keys, ollama, presets
from looksay.backends.presets import Preset
from looksay.errors import BackendError

PORTS = {8000: "vLLM", 8080: "llama.cpp", 1234: "LM Studio"}
"""Where OpenAI-compatible servers usually listen, by their usual owner."""
PROBE = httpx.Timeout(1.0, connect=0.3)
NEVER = frozenset({"mini", "echo"})
"""`mini` knows drawn scenes, `echo` nothing: our own server lists them, and no photo should meet them."""
PROBE_S = 1.8
"""`available` answers within two seconds, whatever hangs."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a preset can be used right now, or how to get it."""

    preset: Preset
    ready: tuple[str, ...]
    """Names to give to --model."""
    get: str
    """What to type to have it; empty where it is ready."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend's name, and one sentence that says why this one and what would be better."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Served:
    """A model that an OpenAI-compatible server on loopback lists."""

    url: str
    model: str
    sees: bool | None
    """None: the server does not say, and no preset knows it."""

    @property
    def name(self) -> str:
        return f"{self.url}#{self.model}"


def choose() -> Choice:
    """The best model that is here: an Ollama or OpenAI-compatible server's, then the hub's cache, then
    `facts`. Raises BackendError where not even that is installed."""
    with ThreadPoolExecutor(3) as pool:
        pulled = pool.submit(ollama_names)
        served = pool.submit(find_served)
        cached = pool.submit(hub_names)
    blind = [s.name for s in served.result() if s.sees is None]
    unsure = (
        f" A server also has {blind[0]}, which may see: name it with --model to use it."
        if blind
        else ""
    )
    for names, where in (
        ([f"ollama:{n}" for n in pulled.result()], "an Ollama server on this machine has"),
        ([s.name for s in served.result() if s.sees], "a server on this machine has"),
        ([f"hub:{n}" for n in cached.result()], "the hub's cache on this disk has"),
    ):
        if names:
            return _best(names, where, unsure)
    if _has_facts():
        return Choice(
            "facts",
            "No vision model was found on this machine, so facts says only what it can measure (text, "
            "colours, light, faces). Better: install Ollama and type: ollama pull qwen3-vl:8b."
            + unsure,
        )
    raise BackendError(
        "There is no model on this machine: no Ollama server, no server on ports "
        f"{', '.join(map(str, PORTS))}, no checkpoint in the hub's cache, and facts is not installed. "
        'In the folder of looksay type: pip install ".[facts]"  or install Ollama and type: ollama pull qwen3-vl:8b'
        + unsure
    )


def resolve(name: str) -> str:
    """The backend of a preset to use now: one that is ready here, else the first that there is."""
    preset = presets.find(name)
    ready = next((s.ready for s in available() if s.preset == preset), ())
    return (*ready, *preset.backends)[0]


def available(within_s: float = PROBE_S) -> list[Status]:
    """For each preset, whether it is there: an Ollama server has it, a server on loopback lists it, the
    hub's cache has it, a key is set. Looks in threads; what does not answer in time is not there."""
    key_envs = {p.key_env for p in presets.all() if p.cloud}
    probes: dict[str, Callable[[], Iterable[str]]] = {
        "ollama": ollama_names,
        "served": served_names,
        "hub": hub_names,
    }
    probes |= {env: functools.partial(_has_key, env) for env in key_envs}
    pool = ThreadPoolExecutor(len(probes))
    futures = {pool.submit(probe): name for name, probe in probes.items()}
    done, _ = wait(futures, timeout=within_s)
    pool.shutdown(wait=False, cancel_futures=True)
    there = {name: set[str]() for name in probes}
    for future in done:
        if not future.exception():
            there[futures[future]] = set(future.result())
    return [_status(preset, there) for preset in presets.all()]


def _has_key(env: str) -> list[str]:
    return [env] if keys.key_for(keys.user_of(env), env) else []


def _status(preset: Preset, there: Mapping[str, set[str]]) -> Status:
    ready = []
    if preset.ollama and preset.ollama in there["ollama"]:
        ready.append(f"ollama:{preset.ollama}")
    wanted = {n for n in (preset.vllm, preset.hub) if n}
    ready += sorted(name for name in there["served"] if name.partition("#")[2] in wanted)
    if preset.hub and preset.hub in there["hub"]:
        ready.append(f"hub:{preset.hub}")
    ended = preset.ends is not None and preset.ends <= datetime.date.today()
    if preset.cloud and preset.key_env in there[preset.key_env] and not ended:
        ready.append(preset.cloud)
    return Status(preset, tuple(ready), "" if ready else _how_to_get(preset, ended))


def _how_to_get(preset: Preset, ended: bool) -> str:
    if preset.ollama:
        return f"ollama pull {preset.ollama}"
    if preset.hub:
        return f"hf download {preset.hub}"
    if ended:
        return f"withdrawn by its provider on {preset.ends}"
    return keys.how_to_set(keys.user_of(preset.key_env), preset.key_env)


def ollama_names() -> list[str]:
    """Vision models of an Ollama server on this machine, without "ollama:"."""
    return [name.removeprefix("ollama:") for name in ollama.discover()]


def served_names() -> list[str]:
    """Names ("http://127.0.0.1:8000/v1#model") of what servers on the usual ports list."""
    return [served.name for served in find_served()]


def hub_names() -> list[str]:
    """Checkpoints in the hub's cache that the `hub` backend can run, without "hub:"."""
    if not all(importlib.util.find_spec(module) for module in ("torch", "transformers")):
        return []
    return [name.removeprefix("hub:") for name in _discovered("hub")]


def find_served() -> list[Served]:
    """Models of OpenAI-compatible servers on the usual ports; whatever else listens there is ignored."""
    ports = tuple(PORTS)
    with ThreadPoolExecutor(len(ports)) as pool:
        return [served for found in pool.map(_ask_port, ports) for served in found]


def _ask_port(port: int) -> list[Served]:
    root = f"http://127.0.0.1:{port}"
    with httpx.Client(timeout=PROBE, **http.client_settings(root)) as client:
        rows = _json(client, f"{root}/v1/models").get("data")
        if not isinstance(rows, list):
            return []
        ids = [str(row["id"]) for row in rows if isinstance(row, dict) and row.get("id")]
        ids = [i for i in ids if i.partition(":")[0] not in NEVER]
        if not ids:
            return []
        llama = _json(client, f"{root}/props").get("modalities")  # llama.cpp
        studio = _json(client, f"{root}/api/v0/models").get("data")  # LM Studio
    kinds: dict[str, Any] = {}
    if isinstance(studio, list):
        kinds = {str(r.get("id")): r.get("type") for r in studio if isinstance(r, dict)}

    def sees(model: str) -> bool | None:
        if isinstance(llama, dict):
            return bool(llama.get("vision"))
        if model in kinds:
            return bool(kinds[model] == "vlm")
        known = presets.of("vllm", model) or presets.of("hub", model)
        return True if known else None

    return [Served(f"{root}/v1", model, sees(model)) for model in ids]


def _json(client: httpx.Client, url: str) -> dict[str, Any]:
    try:
        response = client.get(url)
        found = response.json() if response.is_success else {}
    except (httpx.HTTPError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _best(names: list[str], where: str, unsure: str) -> Choice:
    """The newest that the presets know, of equals the largest; else the first by name."""

    def rank(name: str) -> tuple[int, float, str]:
        preset = _preset(name)
        if preset is None:
            return (0, 0.0, name)
        return (-preset.released.toordinal(), -(preset.parameters_b or 0.0), name)

    best = min(names, key=rank)
    preset = _preset(best)
    if preset is None:
        why = (
            "the first by name, none of them being known to looksay"
            if len(names) > 1
            else "its only one"
        )
    else:
        why = f"{preset.title}, released {preset.released:%B %Y}"
        why += f", the newest of {len(names)}" if len(names) > 1 else ""
    return Choice(best, f"{where[0].upper()}{where[1:]} {best} ({why}).{_better(preset)}{unsure}")


def _better(preset: Preset | None) -> str:
    """What to try where the choice is an old captioner or unknown: the first current local preset."""
    today = presets.find("qwen3-vl-8b")
    if preset is not None and (preset.released >= today.released or not preset.compared):
        return ""
    return f" Probably better: {today.title} (ollama pull {today.ollama})."


def _preset(name: str) -> Preset | None:
    if "#" in name:
        model = name.partition("#")[2]
        return presets.of("vllm", model) or presets.of("hub", model)
    provider, _, model = name.partition(":")
    return presets.of(provider, model)


def _has_facts() -> bool:
    return bool(_discovered("facts"))


def _discovered(backend: str) -> list[str]:
    """What a backend says that it can serve here; nothing where it is absent or cannot even look."""
    try:
        return [
            str(name) for name in plugins.load("looksay.backends", backend, "backend").discover()
        ]
    except Exception:  # without its extra, or with a broken cache, there is nothing to offer
        return []
