"""The models worth knowing: facts from presets.toml, and whether each is there on this machine now."""

from __future__ import annotations

import datetime
import functools
import tomllib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from typing import Any

from looksay.backends import keys
from looksay.errors import InputError, UnknownName
from looksay.types import Price

PROBE_S = 1.8
"""`available` answers within two seconds, whatever hangs."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One model, its facts, and its names in the places where it can be had."""

    name: str
    title: str
    licence: str
    released: datetime.date
    parameters_b: float | None = None
    """Billions, all of them (a mixture of experts needs memory for all). None: not published."""
    compared: bool = False
    """One of the twelve of the alt-text comparison of February 2025."""
    ollama: str | None = None
    hub: str | None = None
    vllm: str | None = None
    cloud: str | None = None
    """Name of the backend: "openai:gpt-4o"."""
    base_url: str | None = None
    key_env: str = ""
    prompt_usd: float | None = None
    """Per million tokens, as is `completion_usd`."""
    completion_usd: float | None = None
    price_date: datetime.date | None = None
    """The day on which the price was known to hold."""
    price_source: str = ""
    ends: datetime.date | None = None
    """The day on which the provider stops serving it."""
    image_tokens: int | None = None
    """Of a photo of 1536 × 1152 px, for estimates."""
    thinking_tokens: int = 0
    """Room for thinking that counts against the limit of the answer's tokens."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Added to the body of each request."""
    unconfirmed: bool = False
    """Something here could not be checked against its source; shown as "?"."""
    note: str = ""

    @property
    def price(self) -> Price | None:
        if self.prompt_usd is None or self.completion_usd is None:
            return None
        return Price(self.prompt_usd, self.completion_usd)

    @property
    def memory_gb(self) -> tuple[float, float] | None:
        """Weights in bf16 and in 4 bit, GB: 2 and 0.6 bytes per parameter (4-bit formats keep scales,
        embeddings and the vision tower wider). Activations and cache come on top."""
        if self.parameters_b is None:
            return None
        return round(2 * self.parameters_b, 1), round(0.6 * self.parameters_b, 1)

    @property
    def backends(self) -> list[str]:
        """Its names as looksay takes them, local first."""
        local = [f"{p}:{n}" for p, n in (("ollama", self.ollama), ("hub", self.hub)) if n]
        return local + ([self.cloud] if self.cloud else [])


@dataclass(frozen=True, slots=True)
class Status:
    """Where a preset can be used right now, or how to get it."""

    preset: Preset
    ready: tuple[str, ...]
    """Names to give to --model."""
    get: str
    """What to type to have it; empty where it is ready."""


@functools.cache
def all() -> tuple[Preset, ...]:
    """Every preset, in the order of presets.toml."""
    return parse(resources.files("looksay.backends").joinpath("presets.toml").read_text("utf-8"))


def find(name: str) -> Preset:
    """The preset of this name, or of this backend's name ("ollama:llava:13b"). Raises UnknownName."""
    for preset in all():
        if name == preset.name or name in preset.backends:
            return preset
    raise UnknownName("preset", name, [preset.name for preset in all()])


def resolve(name: str) -> str:
    """The backend of a preset to use now: one that is ready here, else the first that there is."""
    preset = find(name)
    ready = next((s.ready for s in available() if s.preset == preset), ())
    return (*ready, *preset.backends)[0]


def of(provider: str, model: str) -> Preset | None:
    """The preset that a provider knows as `model`, if there is one."""
    for preset in all():
        there = {"ollama": preset.ollama, "hub": preset.hub, "vllm": preset.vllm}
        if there.get(provider) == model or preset.cloud == f"{provider}:{model}":
            return preset
    return None


def parse(text: str) -> tuple[Preset, ...]:
    """Presets from TOML text: one table per model, named by it. Raises InputError on an unknown key, a
    missing one or a wrong type, naming the place."""
    presets = []
    known = {f.name: f for f in fields(Preset)}
    must = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    for name, table in tomllib.loads(text).items():
        if not isinstance(table, dict):
            raise InputError(f"presets: {name!r} stands alone. Expected a table: [{name}]")
        if odd := set(table) - (set(known) - {"name"}):
            raise InputError(
                f"presets: [{name}] has {', '.join(sorted(odd))}: probably a typo. "
                f"Known: {', '.join(sorted(set(known) - {'name'}))}"
            )
        if gone := must - {"name"} - set(table):
            raise InputError(f"presets: [{name}] lacks {', '.join(sorted(gone))}")
        for key, value in table.items():
            if not _fits(value, str(known[key].type)):
                raise InputError(f"presets: [{name}] {key} = {value!r}. Expected {known[key].type}")
        presets.append(Preset(name, **table))
    return tuple(presets)


def available(within_s: float = PROBE_S) -> list[Status]:
    """For each preset, whether it is there: an Ollama server has it, a server on loopback lists it, the
    hub's cache has it, a key is set. Looks in threads; what does not answer in time is not there."""
    from looksay.backends.auto import hub_names, ollama_names, served_names

    key_envs = {p.key_env for p in all() if p.cloud}
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
    return [_status(preset, there) for preset in all()]


def _has_key(env: str) -> list[str]:
    return [env] if keys.key_for(user_of(env), env) else []


def user_of(key_env: str) -> str:
    """The keyring's user for a key variable: "OPENAI_API_KEY" → "openai"."""
    return key_env.removesuffix("_API_KEY").lower()


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
    return keys.how_to_set(user_of(preset.key_env), preset.key_env)


def _fits(value: object, expected: str) -> bool:
    kinds: dict[str, type | tuple[type, ...]] = {
        "str": str,
        "float": (int, float),
        "int": int,
        "bool": bool,
        "datetime.date": datetime.date,
    }
    kind = kinds.get(expected.removesuffix(" | None"), dict)
    return isinstance(value, kind) and (isinstance(value, bool) <= (kind is bool))
