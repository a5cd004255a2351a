"""What a backend is, how one is named, and the little that all of them share."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from looksay import images
from looksay.errors import InputError
from looksay.parallel import as_they_finish
from looksay.types import Completion, Conversation, Image, Options, Price

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "WAITING",
    "Backend",
    "Encoder",
    "LoadOptions",
    "Matcher",
    "Profile",
    "Ranker",
    "as_they_finish",
    "check_describes",
    "is_loopback",
    "parse_name",
    "same_model",
    "searches",
    "spelled",
]


WAITING = "waiting"
"""Key of `Completion.details` where a call failed only because a person has not answered yet: what to do then."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a backend can do and what it costs; describing plans by it."""

    remote: bool = False
    """Images leave this machine (anything that is not on loopback)."""
    instructable: bool = True
    """Follows a prompt, so page context, purpose and language are worth sending. Captioners do not."""
    converses: bool = True
    """Answers what it is asked, turn by turn: something to chat with. Captioners and `facts` do not."""
    cannot_describe: str = ""
    """Why it has no words for a picture of which nothing is asked, and what to type instead; empty: it has."""
    draft: bool = False
    """Its texts are drafts: never written to a file unless a person accepted them."""
    knows: str = ""
    """What it knows, where that is little ("drawn scenes only, …"): told when it loads. Empty: pictures of any kind."""
    languages: tuple[str, ...] | None = None
    """BCP 47 codes that it writes; None: any."""
    price: Price | None = None
    concurrency: int = 1
    """Requests (or the batch) that it works on at once."""
    shared: bool = False
    """It computes its answers together: each one's seconds are its part of those that pass."""
    image_tokens: int = 800
    """Prompt tokens that one image costs, for estimates."""
    reads_px: int | None = None
    """It shrinks pictures to this longest side before all else (`images.load_rgb`), so that they may be sent to it so;
    None: it wants the file."""

    @property
    def workers(self) -> int:
        """How many seconds of answers pass in one."""
        return 1 if self.shared else max(1, self.concurrency)


class Backend(Protocol):
    """Something that answers conversations."""

    @property
    def name(self) -> str:
        """As the user writes it, provider included: "ollama:llama3.2-vision"."""

    @property
    def fingerprint(self) -> str:
        """Digest or revision of the model: part of every resume key. Two different models never share it."""

    @property
    def profile(self) -> Profile: ...

    def complete(
        self, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        """Answer each conversation, yielding completions as they finish, in any order.

        Conversations are drawn lazily, no further ahead than the backend works at once, so a caller
        that stops feeding stops the run after the requests in flight. `Completion.index` counts the
        conversations in the order in which they were drawn. A fault of one conversation is a completion
        with `error`; only a fault that dooms all of them (no server, no key) raises BackendError.
        """

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """Yield the answer's text piece by piece."""


@runtime_checkable
class Ranker(Protocol):
    """A backend that can also say how likely it finds given answers."""

    def rank(self, conversation: Conversation, choices: Sequence[str]) -> list[float]:
        """Log-likelihood of each choice as the answer (nats, summed over its tokens and its end)."""


class Encoder(Protocol):
    """Something that puts pictures and texts into one space, where what belongs together lies close.

    Embeddings are float32 rows (n, d) of length 1. A fault of one picture or text is an error of all
    (BackendError): a set that lacks some is another set.
    """

    @property
    def name(self) -> str:
        """As the user writes it, provider included: "hub:openai/clip-vit-base-patch32"."""

    @property
    def fingerprint(self) -> str:
        """Digest or revision of the model and its precision, as `Backend.fingerprint`."""

    def embed_images(self, images: Iterable[Image]) -> NDArray[np.float32]: ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@runtime_checkable
class Matcher(Protocol):
    """An encoder that can also look at a picture and a text together (BLIP's image-text matching)."""

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float32]:
        """How well each text fits the picture (a video's frames are one): logits (n,), more is better."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a backend; each backend takes what concerns it."""

    allow_remote: bool = False
    concurrency: int | None = None
    retries: int = 5
    device: str = "auto"
    """auto, cpu, cuda, mps (hub, local)."""
    dtype: str = "auto"
    """auto, float32, bfloat16, float16 (hub, local)."""
    quantize: str | None = None
    """None, int8, int4, nf4 (hub, local): weights of linear layers in 8 or 4 bits."""
    runtime: str = "auto"
    """What holds them: auto, openvino (int8 and int4 on a CPU) or torch."""
    batch_size: int | None = None
    trust_remote_code: bool = False
    max_side_px: int = 1536
    language: str = "en"


def check_describes(backend: Backend) -> None:
    """Raise InputError where the backend describes nothing."""
    if backend.profile.cannot_describe:
        raise InputError(f"{backend.name} does not describe: {backend.profile.cannot_describe}")


def parse_name(name: str) -> tuple[str, str]:
    """Split "provider:model". A URL is the provider `openai`; a bare word is a provider without model.

    >>> parse_name("ollama:llava:13b")
    ('ollama', 'llava:13b')
    >>> parse_name("http://127.0.0.1:8000/v1#any")
    ('openai', 'http://127.0.0.1:8000/v1#any')
    """
    name = name.strip()
    if not name:
        raise InputError("The model's name is empty. Expected provider:model; type: looksay models")
    if name.startswith(("http://", "https://")):
        return "openai", name
    provider, _, model = name.partition(":")
    return provider, model


def same_model(one: Backend, other: Backend) -> bool:
    """By fingerprint, or by the name of one server that has two."""
    plain = [backend.name.replace("//localhost", "//127.0.0.1") for backend in (one, other)]
    return one.fingerprint == other.fingerprint or plain[0] == plain[1]


def searches(name: str) -> str:
    """What to type with a dual encoder that was taken for a model that writes."""
    return f'It finds photos by words. Type: looksay search DIR "a red car" --encoder {name}'


def spelled(conversation: Conversation) -> list[list[Any]]:
    """What a conversation says and shows, pictures as digests of their bytes: equal where two ask the same."""
    return [
        [
            message.role,
            [p if isinstance(p, str) else images.digest(p.source) for p in message.parts],
        ]
        for message in conversation.messages
    ]


def is_loopback(url: str) -> bool:
    """Whether a URL stays on this machine. Only literal loopback counts: no name is looked up."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
