"""Commands that talk about images: chat and ask."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from looksay import fetching
from looksay.cli import console
from looksay.cli.options import (
    TALK,
    DeviceOption,
    DtypeOption,
    JsonOption,
    OneModelOption,
    QuantizeOption,
    RemoteOption,
    TimeoutOption,
    TrustOption,
    app,
)
from looksay.errors import InputError, LooksayError
from looksay.types import Completion, Options

if TYPE_CHECKING:
    from looksay.backends.base import Backend
    from looksay.cli.talk import Question, Shown, Talk

HELP = """\
/image FILE   show another image with the next question (with --fetch also a URL)
/reset        start over with the images of the beginning
/save FILE    keep the talk, as .md or .json; /save! FILE writes over a file without asking
/help         this list
/quit         leave (as do Ctrl-D and, while nothing is being written, Ctrl-C)
Anything else is a question. Ctrl-C while an answer is written breaks it off."""

FetchOption = Annotated[
    bool, typer.Option("--fetch", help="Fetch images that are named by http(s) URLs.")
]
TokensOption = Annotated[
    int, typer.Option("--max-tokens", min=1, help="At most so many tokens per answer.")
]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", min=0, help="0: the likeliest words; above: varied ones.")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="An OpenAI-compatible server, such as http://127.0.0.1:8000/v1; --model is then one of its models.",
    ),
]
EachOption = Annotated[
    bool, typer.Option("--each", help="Ask about each image by itself: one answer for each.")
]


@app.command(rich_help_panel=TALK)
def chat(
    images: Annotated[
        list[str] | None, typer.Argument(help="Image files, or with --fetch URLs of images.")
    ] = None,
    model: OneModelOption = None,
    url: UrlOption = None,
    fetch: FetchOption = False,
    max_tokens: TokensOption = 500,
    temperature: TemperatureOption = 0.0,
    allow_remote: RemoteOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    timeout: TimeoutOption = 120.0,
) -> None:
    """Talk about images, turn by turn; questions come from the terminal or from a pipe."""
    from looksay.cli.talk import Talk, show

    shown = [show(name, fetch=fetch) for name in images or ()]
    name = _named(model, url)
    backend = _backend(name, allow_remote, device, dtype, quantize, trust_remote_code)
    options = Options(max_tokens=max_tokens, temperature=temperature, timeout_s=timeout)
    failed = _converse(Talk(backend, options, shown), fetch)
    # At a terminal each fault was seen and answered; a program has the exit code alone.
    if failed and not sys.stdin.isatty():
        raise typer.Exit(1)


@app.command(rich_help_panel=TALK)
def ask(
    words: Annotated[
        list[str], typer.Argument(metavar='IMAGE... "QUESTION"', help="Images, then the question.")
    ],
    model: OneModelOption = None,
    url: UrlOption = None,
    fetch: FetchOption = False,
    max_tokens: TokensOption = 500,
    temperature: TemperatureOption = 0.0,
    allow_remote: RemoteOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
    timeout: TimeoutOption = 120.0,
    each: EachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask one question about one or several images. With --json one object for each answer, with its error where it
    failed. The exit code is 1 where some failed, and 2 where all did."""
    from looksay.cli.talk import Question

    *images, question = words
    _check_order(words)
    if not images or not question.strip() or _is_file(question):
        raise InputError(
            'Expected images and, last, a question: looksay ask photo.jpg "How many boats are there?"'
        )
    groups = [(image,) for image in images] if each else [tuple(images)]
    questions = [Question(names, question) for names in groups]
    name = _named(model, url)
    load = partial(_backend, name, allow_remote, device, dtype, quantize, trust_remote_code)
    options = Options(max_tokens=max_tokens, temperature=temperature, timeout_s=timeout)
    failed, told = 0, ""
    for one, model_name, answer in _answers(questions, load, fetch, options, as_json):
        if as_json:
            console.print_json(one.record(model_name or name, answer), line=each)
        elif answer.text.strip():
            console.say(f"{one.images[0]}: {answer.text}\n" if each else f"{answer.text}\n")
            if answer.finish_reason == "length":
                console.err.print("(cut off at --max-tokens)")
        if answer.error:
            failed += 1
            if answer.error != told:  # what is wrong with all is told once
                console.err.print(escape(answer.error), style="red")
            told = answer.error
    if failed:
        raise typer.Exit(2 if failed == len(questions) else 1)


def _answers(
    questions: list[Question],
    load: Callable[[], Backend],
    fetch: bool,
    options: Options,
    quiet: bool,
) -> Iterator[tuple[Question, str | None, Completion]]:
    """Each question with the model's name and the answer, as they come. An image that cannot be read costs its own
    question; what is wrong with all (no such model) is the error of each that is left."""
    from looksay.cli.talk import empty_answer

    ready = []
    for one in questions:
        try:
            ready.append((one, one.conversation(fetch=fetch)))
        except LooksayError as error:
            yield one, None, Completion(0, error=str(error), finish_reason="error")
    left = dict(enumerate(one for one, _ in ready))
    name = None
    try:
        if ready:
            backend = load()
            name = backend.name
            coming = backend.complete((talk for _, talk in ready), options)
        while left:
            with console.spinner("Looking", quiet):
                answer = next(coming)
            fault = f"{name}: {answer.error}" if answer.error else None
            if not fault and not answer.text.strip():
                fault = str(empty_answer(backend))
            yield left.pop(answer.index), name, replace(answer, error=fault)
    except LooksayError as error:
        for one in left.values():
            yield one, name, Completion(0, error=str(error), finish_reason="error")


def _named(model: str | None, url: str | None) -> str | None:
    """What `--model` and `--url` name together; without `--model` the only model that the server lists."""
    if url is None:
        return model
    if not fetching.is_url(url):
        raise InputError(f"{url} is no URL. Expected --url http://127.0.0.1:8000/v1")
    server, _, own = url.partition("#")
    return f"{server}#{model or own}"


def _check_order(words: list[str]) -> None:
    """Raise InputError where the question comes before its images."""
    first, *others = words
    asks = (" " in first or not Path(first).suffix) and not _is_file(first)
    if others and asks and all(fetching.is_url(word) or _is_file(word) for word in others):
        shown = " ".join(console.quoted(word) for word in others)
        raise InputError(f'The question comes last. Type: looksay ask {shown} "{first}"')


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # a long question is no path
        return False


def _backend(
    model: str | None,
    allow_remote: bool,
    device: str,
    dtype: str,
    quantize: str | None,
    trust_remote_code: bool,
) -> Backend:
    from looksay import settings
    from looksay.backends.base import LoadOptions
    from looksay.cli.talk import converser
    from looksay.library import catalog

    found = catalog.find(Path())
    chosen = settings.load(found.parent if found else Path())
    options = LoadOptions(
        allow_remote=allow_remote or chosen.allow_remote,
        device=device,
        dtype=dtype,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
        max_side_px=chosen.max_side_px,
        language=chosen.language,
        retries=1,  # a person waits
    )
    with console.spinner("Loading the model", False):
        backend, why = converser(model or chosen.model, options)
    if why:
        console.err.print(escape(why))
    console.tell_limits(backend)
    if backend.profile.remote:
        console.err.print(f"Images go to {escape(backend.name)}, without EXIF data.")
    return backend


def _converse(talk: Talk, fetch: bool) -> bool:
    """Answer line by line until the end of input; returns whether anything failed."""
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        console.err.print(
            f"{escape(talk.backend.name)}: {_images(talk.waiting)}. "
            "Type a question; /help lists what else; /quit leaves."
        )
        with contextlib.suppress(ImportError):  # not on Windows
            import readline  # noqa: F401  (input() then edits lines and remembers them)
    elif hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    failed = False
    for line in _lines(at_terminal):
        try:
            if line.startswith("/"):
                if not _command(talk, line, fetch, at_terminal):
                    break
            else:
                _answer(talk, line)
        except LooksayError as error:
            failed = True
            console.err.print(escape(str(error)), style="red")
        except KeyboardInterrupt:
            if not at_terminal:
                raise
            console.err.print("(broken off)")
        except BrokenPipeError:
            raise
        except Exception as error:  # a backend's own fault must not cost the talk
            failed = True
            console.err.print(escape(f"{type(error).__name__}: {error}"), style="red")
    return failed


def _lines(at_terminal: bool) -> Iterator[str]:
    while True:
        try:
            line = _input("> " if at_terminal else "").strip()
        except (EOFError, KeyboardInterrupt):
            if at_terminal:
                console.err.print()
            return
        if line:
            yield line


def _input(prompt: str) -> str:
    if prompt and not sys.stdout.isatty():  # the answers go to a file, the prompt does not
        console.err.print(prompt, end="")
        prompt = ""
    return input(prompt)


def _answer(talk: Talk, question: str) -> None:
    if console.PLAIN:  # a screen reader wants the answer, not its growth
        console.say("".join(talk.say(question)).strip() + "\n")
        return
    written = ""
    try:
        for piece in talk.say(question):
            console.say(piece if written else piece.lstrip())
            written += piece.lstrip() if not written else piece
    finally:
        if written and not written.endswith("\n"):
            console.say("\n")


def _command(talk: Talk, line: str, fetch: bool, at_terminal: bool) -> bool:
    """Carry out a command; False leaves the chat."""
    from looksay.cli.talk import show

    name, _, rest = line.partition(" ")
    rest = _unquoted(rest.strip())
    if name == "/quit":
        return False
    if name == "/help":
        console.out.print(escape(HELP))
    elif name == "/image":
        if not rest:
            raise InputError("Expected a file: /image photo.jpg")
        talk.waiting.append(show(rest, fetch=fetch))
        console.err.print(f"{_images(talk.waiting)} with the next question.")
    elif name == "/reset":
        talk.start_over()
        console.err.print(f"Started over: {_images(talk.waiting)}.")
    elif name in ("/save", "/save!"):
        if not rest:
            raise InputError("Expected a file: /save talk.md")
        if not talk.turns:
            raise InputError("Nothing was said yet, so there is nothing to save.")
        path = Path(rest).expanduser()
        if path.exists() and name == "/save" and not _may_overwrite(path, at_terminal):
            console.err.print("Not saved.")
        else:
            talk.keep(path)
            turns = console.count(len(talk.turns), "turn")
            console.err.print(f"Saved {turns} to {escape(str(path))}")
    else:
        raise InputError(f"There is no {name}. Known: /image, /reset, /save, /help, /quit.")
    return True


def _may_overwrite(path: Path, at_terminal: bool) -> bool:
    if not at_terminal:
        raise InputError(f"{path} is there already. To write over it: /save! {path}")
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        return _input(f"{path} is there already. Write over it? [y/N] ").strip().lower() in (
            "y",
            "yes",
        )
    return False


def _unquoted(name: str) -> str:
    """A path as a terminal pastes it: within quotation marks."""
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name


def _images(shown: list[Shown]) -> str:
    return console.count(len(shown), "image")
