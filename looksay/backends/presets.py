"""The models worth knowing: the facts of presets.toml."""

from __future__ import annotations

import datetime
import functools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from typing import Any

from looksay.backends.base import Profile
from looksay.errors import BackendError, InputError, UnknownName
from looksay.types import Completion, Conversation, Options, Price


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


@dataclass(frozen=True, slots=True)
class Quote:
    """Stands for a cloud model whose price is known, in estimates alone: it needs no key and is never asked."""

    name: str
    fingerprint: str
    profile: Profile

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        raise BackendError(f"{self.name} is here for estimates only.")

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        raise BackendError(f"{self.name} is here for estimates only.")


def quote(name: str, fingerprint: str) -> Quote | None:
    """A stand-in for the cloud model `name` ("openai:gpt-4o"), or None where no preset has its price."""
    preset = next((p for p in all() if p.cloud and name in (p.cloud, p.name)), None)
    if preset is None or preset.cloud is None or preset.price is None:
        return None
    tokens = preset.image_tokens or Profile().image_tokens
    profile = Profile(remote=True, price=preset.price, image_tokens=tokens, concurrency=4)
    return Quote(preset.cloud, fingerprint, profile)


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
