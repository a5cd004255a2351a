"""What every backend over HTTP shares: retries, one gate per server, refusals, clean errors, images.

A backend gives a `Courier` one function that makes one exchange; the courier decides when it is made,
how often, and what its outcome means. Nothing here knows any provider's API.
"""

from __future__ import annotations

import base64
import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import tenacity

from looksay.backends._gate import Clock as Clock
from looksay.backends._gate import Gate as Gate
from looksay.backends._gate import SystemClock as SystemClock
from looksay.backends._words import is_refusal, scrub
from looksay.backends.base import LoadOptions, as_they_finish, is_loopback
from looksay.errors import BackendError, InputError, RemoteNotAllowed, UnreadablePhoto
from looksay.images import encode_jpeg
from looksay.types import Completion, Conversation, FinishReason, Image, Options, Price

T = TypeVar("T")

MAX_WAIT_S = 300.0
"""No conversation is tried again later than this after its first attempt."""
MAX_IMAGE_BYTES = 5_000_000
"""Of one image as it travels (base64): the limit that Anthropic documents, and the smallest known."""
CONNECT_S = 5.0
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Statuses worth another attempt. 529 is Anthropic's "overloaded"."""
SAMPLING = ("temperature", "top_p", "seed", "max_tokens")
"""Parameters that some models refuse with a 400 that names them; they are then left out (or renamed)."""
LOGPROBS = "logprobs"
"""A parameter that is refused with other statuses and spellings as well ("log-probabilities"), and then left out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one exchange brought back, provider's spelling removed."""

    text: str
    finish: FinishReason = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    refusal: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Fault(Exception):
    """One exchange that failed, and what that means for this conversation and for the others."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry: bool = False,
        doom: bool = False,
        unreachable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry = retry
        self.doom = doom
        """No other conversation can succeed either."""
        self.unreachable = unreachable
        """Nothing listens there: hopeless at the start, worth waiting for in the middle of a run."""
        self.retry_after_s = retry_after_s


def fault_of_status(
    status: int, message: str, headers: Mapping[str, str], clock: Clock, *, quota: bool = False
) -> Fault:
    """The fault that an HTTP status means. `quota`: this 429 will not pass by waiting."""
    if 300 <= status < 400:
        to = urlsplit(headers.get("location", "")).hostname or "another address"
        return Fault(f"it redirects to {to}, which is not followed", status=status, doom=True)
    return Fault(
        f"HTTP {status}: {message or 'no reason given'}",
        status=status,
        retry=status in TRANSIENT and not quota,
        doom=quota or status in {401, 402, 404},
        retry_after_s=retry_after_s(headers, clock),
    )


def fault_of_transport(error: BaseException) -> Fault:
    """The fault behind an exception of httpx, or of an SDK that wraps one (two httpx generations exist,
    so classes are told apart by name)."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    names = {type(e).__name__ for e in chain}
    if any(isinstance(e, UnicodeEncodeError) for e in chain):
        return Fault("the key has characters that no key has: is it pasted right?", doom=True)
    if tls := next((e for e in chain if isinstance(e, ssl.SSLError)), None):
        return Fault(
            f"no secure connection ({tls.reason or 'TLS failed'}); https or http?", doom=True
        )
    if names & {"ConnectError", "ConnectTimeout", "ConnectionRefusedError"}:
        return Fault("nothing answers there", retry=True, unreachable=True)
    if any("Timeout" in n for n in names):
        return Fault("no answer within the time limit", retry=True)
    if any(isinstance(e, ValueError) for e in chain):
        return Fault("the answer broke off or is not JSON", retry=True)
    return Fault(f"the connection broke ({type(chain[-1]).__name__})", retry=True)


@dataclass(slots=True)
class Faults:
    """A block whose exceptions come out as Fault: `with Faults(fault_of, clock): client.post(...)`."""

    fault_of: Callable[[Exception, Clock], Fault]
    clock: Clock

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # "from None": what the SDK raised holds the request, and the request holds the key.
        if isinstance(error, Exception) and not isinstance(error, Fault):
            raise self.fault_of(error, self.clock) from None


def retry_after_s(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Seconds that the server asks to wait: retry-after-ms, or Retry-After as a number or an HTTP date."""
    with contextlib.suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    value = headers.get("retry-after", "").strip()
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - clock.wall())
    return None


Ask = Callable[[Conversation, Options, frozenset[str]], Answer]
"""One exchange, without the sampling parameters named. Raises Fault."""


@dataclass(slots=True)
class Courier:
    """Carries conversations to one server and brings completions back, whatever happens on the way."""

    where: str
    """Who is asked, for messages: "http://127.0.0.1:8000/v1"."""
    advise: Callable[[Fault], str]
    """What to type after a fault that dooms the run."""
    workers: int = 4
    retries: int = 5
    price: Price | None = None
    secrets: tuple[str, ...] = ()
    clock: Clock = field(default_factory=SystemClock)
    gate: Gate = field(init=False)
    reached: bool = False
    """Something there has answered, if only with an error."""
    served: bool = False
    """At least one conversation was answered."""
    left_out: set[str] = field(default_factory=set)
    """Sampling parameters that the model refuses."""

    def __post_init__(self) -> None:
        self.gate = Gate(self.clock)

    def complete(
        self, ask: Ask, conversations: Iterable[Conversation], options: Options
    ) -> Iterator[Completion]:
        """As Backend.complete. What was paid for is yielded before a BackendError is raised."""
        doomed: list[Fault] = []
        leaving = threading.Event()

        def work(item: tuple[int, Conversation]) -> Completion | None:
            try:
                return self._completion(ask, *item, options, leaving)
            except Fault as fault:
                doomed.append(fault)
                return None

        def until_doomed() -> Iterator[tuple[int, Conversation]]:
            for item in enumerate(conversations):
                yield item
                if doomed:
                    return

        done = cast(Generator[Any], as_they_finish(work, until_doomed(), self.workers))
        with contextlib.closing(done):
            for _, completion in done:
                if completion is not None:
                    try:
                        yield completion
                    except GeneratorExit:
                        leaving.set()  # whoever waits for another attempt gives up
                        raise
        if doomed:
            raise self.error(doomed[0])

    def deliver(
        self, attempt: Callable[[frozenset[str]], T], leaving: threading.Event | None = None
    ) -> T:
        """Make the exchange until it succeeds or nothing more can be hoped for. Raises Fault."""
        leaving = leaving or threading.Event()
        began = self.clock.now()

        def hopeful(error: BaseException) -> bool:
            return isinstance(error, Fault) and error.retry and not self.hopeless(error)

        def stop(state: tenacity.RetryCallState) -> bool:
            late = self.clock.now() - began + state.upcoming_sleep > MAX_WAIT_S
            return late or leaving.is_set() or state.attempt_number > self.retries

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(hopeful),
            stop=stop,
            wait=_wait,
            sleep=lambda seconds: self.clock.sleep(seconds, leaving),
            reraise=True,
        )
        answer: T = retrying(self._attempt, attempt, leaving)
        return answer

    def hopeless(self, fault: Fault) -> bool:
        """Whether a fault dooms every other conversation, now rather than after more attempts."""
        return (
            fault.doom
            or (fault.unreachable and not self.reached)
            or (fault.status == 403 and not self.served)
        )

    def error(self, fault: Fault) -> BackendError:
        """The fault as the user reads it, with what to type."""
        return BackendError(self.scrub(f"{self.where}: {fault.message}. {self.advise(fault)}"))

    def scrub(self, text: str) -> str:
        return scrub(text, self.secrets)

    def _attempt(self, attempt: Callable[[frozenset[str]], T], leaving: threading.Event) -> T:
        while True:
            left_out = frozenset(self.left_out)
            self.gate.enter(leaving)
            if leaving.is_set():
                raise Fault("given up: nobody waits for the answer any more")
            try:
                answer = attempt(left_out)
            except Fault as fault:
                self.reached = self.reached or fault.status is not None
                refused = _refused_parameters(fault) - left_out
                if refused:
                    self.left_out |= refused
                    continue
                wait_s = fault.retry_after_s or 0.0
                if fault.status == 429 or (fault.retry and wait_s):
                    self.gate.refused(wait_s)
                if wait_s > MAX_WAIT_S:  # or every worker would sleep at the gate
                    fault.doom = True
                    fault.message += f" (it asks to wait {wait_s / 60:.0f} minutes)"
                raise
            self.reached = True
            self.gate.passed()
            return answer

    def _completion(
        self,
        ask: Ask,
        index: int,
        conversation: Conversation,
        options: Options,
        leaving: threading.Event,
    ) -> Completion:
        """One conversation's completion. Raises Fault only where all the others are doomed too."""
        started = self.clock.now()
        answers: list[Answer] = []

        def finish(
            finish_reason: FinishReason, text: str = "", error: str | None = None
        ) -> Completion:
            prompt = _total([a.prompt_tokens for a in answers])
            completion = _total([a.completion_tokens for a in answers])
            details = dict(answers[-1].details) if answers else {}
            if self.left_out:
                details["left_out"] = sorted(self.left_out)
            return Completion(
                index,
                text,
                prompt,
                completion,
                self.clock.now() - started,
                self.price.cost(prompt, completion) if self.price else 0.0,
                finish_reason,
                error,
                details,
            )

        try:
            for _ in range(2):  # a second time for an empty text: often a passing fault
                answers.append(self.deliver(lambda out: ask(conversation, options, out), leaving))
                last = answers[-1]
                self.served = True
                if last.text or last.refusal or last.finish != "stop":
                    break
        except (UnreadablePhoto, OSError) as error:
            return finish("error", error=str(error))
        except Fault as fault:
            if self.hopeless(fault) or fault.unreachable:
                raise
            return finish("error", error=self.scrub(f"{self.where}: {fault.message}"))
        refusal = last.refusal or (last.text if is_refusal(last.text) else "")
        if refusal or last.finish == "refusal":
            said = self.scrub(refusal or last.text or "no reason given")
            refused = finish("refusal", error=f"the model refused: {said[:200]}")
            return replace(refused, details={**refused.details, "refused": self.scrub(last.text)})
        if last.text:
            return finish(last.finish, last.text)
        if last.finish == "length":
            spent = f"all {options.max_tokens} tokens went into thinking: raise max_tokens"
            return finish("length", error=f"empty answer ({spent})")
        return finish("stop", error="empty answer")


_BACKOFF = tenacity.wait_exponential(multiplier=0.5, max=30.0) + tenacity.wait_random(0.0, 0.5)


def _wait(state: tenacity.RetryCallState) -> float:
    """Exponential with jitter, unless the server said how long."""
    fault = state.outcome.exception() if state.outcome else None
    if isinstance(fault, Fault) and fault.retry_after_s is not None:
        return fault.retry_after_s
    return _BACKOFF(state)


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _refused_parameters(fault: Fault) -> set[str]:
    refused = set()
    if fault.status == 400:
        refused = {name for name in SAMPLING if re.search(rf"\b{name}\b", fault.message)}
    if fault.status in {400, 403, 422} and re.search(r"log[-_ ]?prob", fault.message, re.I):
        refused.add(LOGPROBS)
    return refused


def jpeg_base64(image: Image, max_side_px: int) -> str:
    """The image as a base64 JPEG without metadata, under 5 MB. Raises UnreadablePhoto and OSError."""
    source = image.source
    if isinstance(source, Path):
        with contextlib.suppress(OSError):  # encode_jpeg says it in plain words
            source = source.read_bytes()  # once, whatever number of qualities is tried
    side_px = max_side_px
    while True:
        for quality in (88, 75, 60, 45):
            text = base64.b64encode(encode_jpeg(source, max_side_px=side_px, quality=quality))
            if len(text) <= MAX_IMAGE_BYTES:
                return text.decode("ascii")
        side_px = side_px * 3 // 4


def check_url(url: str) -> str:
    """A server's URL, checked and without a final slash. Raises InputError where it carries a secret:
    the name of a backend is stored with every text that it wrote."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise InputError(
            f"The URL of {parts.hostname} holds a password or a query, which would be stored with every "
            "text. Expected http://host:port/path#model; put the key into LOOKSAY_API_KEY."
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(f"{url!r} is not a server's URL. Expected http://host:port/path#model")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def may_leave(name: str, remote: bool, options: LoadOptions) -> None:
    """Raise RemoteNotAllowed before the first byte goes to another machine, key included."""
    if remote and not options.allow_remote:
        raise RemoteNotAllowed(
            f"{name} is not on this machine: the photos would be sent away (without their EXIF data). "
            "If you want that, add --allow-remote, or set allow_remote = true in looksay.toml."
        )


def client_settings(url: str) -> dict[str, Any]:
    """How an HTTP client is made for this server: no redirects (a server on loopback could point
    elsewhere), and on loopback no proxy from the environment (it would see the photos)."""
    return {"follow_redirects": False, "trust_env": not is_loopback(url)}


def workers(options: LoadOptions, remote: bool) -> int:
    return options.concurrency or (4 if remote else 1)
