"""The command that serves."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Annotated

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import (
    TALK,
    DeviceOption,
    DtypeOption,
    HostOption,
    QuantizeOption,
    RemoteOption,
    TrustOption,
    app,
)
from looksay.errors import InputError, MissingDependency, plainly

KEY = "LOOKSAY_SERVE_KEY"


@app.command(rich_help_panel=TALK)
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="provider:model, or ID=provider:model to call it otherwise; once for each.",
            show_default="setting `model`, auto",
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option("--encoder", help="A dual encoder for /v1/embeddings; once for each."),
    ] = None,
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8000,
    key: Annotated[
        str | None,
        typer.Option("--key", envvar=KEY, help="What clients must send as their API key."),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="Let clients name pictures by public http(s) addresses."),
    ] = False,
    memory_gb: Annotated[
        float | None,
        typer.Option(
            "--memory", min=0, help="GB that weights may take before models are put back."
        ),
    ] = None,
    waiting: Annotated[
        int, typer.Option("--waiting", min=1, help="Requests that may wait for each model.")
    ] = 128,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows", min=1, help="Answers that a model writes at once.", show_default="64"
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds that an answer may take.")
    ] = 600.0,
    page: Annotated[bool, typer.Option(help="With the chat page at /.")] = True,
    ray: Annotated[
        bool, typer.Option("--ray", help="With Ray Serve: in several processes or machines.")
    ] = False,
    replicas: Annotated[
        str | None,
        typer.Option(
            "--replicas",
            help="With --ray: how many processes hold the models, or MIN-MAX.",
            show_default="one for each GPU, or one",
        ),
    ] = None,
    expert: Annotated[
        list[str] | None,
        typer.Option(
            "--expert",
            "-e",
            metavar="NAME[:MODEL]",
            help="Who says on the page what is in a picture; once for each. looksay experts lists them.",
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only tell what memory the models would take; load nothing."),
    ] = False,
    context: Annotated[
        int | None,
        typer.Option("--context", min=1, help="With --plan: places of a conversation."),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            "--image-size", metavar="WxH", help="With --plan: how large the pictures are, in px."
        ),
    ] = None,
    device_gb: Annotated[
        float | None,
        typer.Option("--device-memory", min=0, help="With --plan: GB of the device it is for."),
    ] = None,
    allow_remote: RemoteOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Serve models to OpenAI's clients, and a chat page: http://127.0.0.1:8000.

    looksay serve --model mini
    """
    models = named(model or [_usual()])
    if plan:
        from looksay.serve import plan as plans

        for name in models.values():
            found = plans.plan(
                name,
                quantize=quantize,
                dtype=dtype,
                context=context,
                running=rows or 8,
                image_px=None if image_size is None else _sides_px(image_size),
                device_bytes=None if device_gb is None else int(device_gb * 1e9),
                device=device,
            )
            console.say(plans.told(found) + "\n")
        return
    try:
        import uvicorn

        from looksay.web.app import create_app
    except ImportError as error:
        raise MissingDependency("looksay serve", "serve", error.name or "fastapi") from error
    from looksay import fetching
    from looksay.backends.base import LoadOptions
    from looksay.serve.shelf import Shelf

    hosts = answered(host, key)
    options = LoadOptions(
        allow_remote=allow_remote,
        device=device,
        dtype=dtype,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )
    if replicas is not None and not ray:
        raise InputError("--replicas is for --ray.")
    make_shelf = partial(
        Shelf,
        models,
        named(encoder or []),
        options,
        memory_bytes=None if memory_gb is None else int(memory_gb * 1e9),
        waiting=waiting,
        rows=rows,
        tell=_tell,
    )
    make_app = partial(
        create_app,
        key=key,
        hosts=hosts,
        fetch=partial(fetching.fetch, own=False) if fetch else None,
        timeout_s=timeout,
        experts=tuple(expert or ()),
        pages=page,
    )
    bound = listening(host, port)
    port = bound.getsockname()[1]
    place = address(host, port)
    told = f"{', '.join(make_shelf().models)} at {place}/v1"
    if page:
        told += f", the chat page at {place}/"
    if ray:
        from looksay.backends import _ray
        from looksay.serve import cluster

        bound.close()  # Ray's proxy listens there
        wanted = None if replicas is None else _ray.replicas_of(replicas)
        cluster.run(
            make_shelf,
            make_app,
            host,
            port,
            wanted,
            device=device,
            tell=lambda n: _tell(f"{told} ({n})"),
        )
        return
    shelf = make_shelf()
    with shelf.serving(next(iter(shelf.models))):
        pass  # a model that cannot be loaded is told now, not to the first client
    application = make_app(shelf)
    _tell(told)
    config = uvicorn.Config(
        application, log_level="warning", timeout_graceful_shutdown=30, server_header=False
    )
    uvicorn.Server(config).run(sockets=[bound])


def named(wanted: list[str]) -> dict[str, str]:
    """Models by id: "ID=provider:model", or the name itself. Raises InputError where two have one id.

    >>> named(["mini", "big=hub:org/model"])
    {'mini': 'mini', 'big': 'hub:org/model'}
    """
    found: dict[str, str] = {}
    for one in wanted:
        id, equals, name = one.partition("=")
        if not equals or "/" in id or ":" in id:  # a = in an address
            id, name = one, one
        if id in found:
            raise InputError(
                f"Two models are called {id!r}. Call one otherwise: --model other={name}"
            )
        found[id] = name
    return found


def _sides_px(words: str) -> tuple[int, int]:
    """
    >>> _sides_px("1280x960")
    (1280, 960)
    """
    sides = words.lower().replace("×", "x").split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise InputError(f"--image-size {words!r}: expected WIDTHxHEIGHT in px, as 1280x960.")
    return int(sides[0]), int(sides[1])


def _usual() -> str:
    """The model of the settings; where that is `auto` and nothing here converses, the small one that ships."""
    from pathlib import Path

    from looksay import settings
    from looksay.backends import auto, mini
    from looksay.errors import BackendError
    from looksay.library import catalog

    found = catalog.find(Path())
    name = settings.load(found.parent if found else Path()).model
    if name != "auto":
        return name
    try:
        choice = auto.choose()
    except BackendError:
        choice = None
    if choice is not None and choice.name != "facts":
        _tell(f"{choice.name}: {choice.reason}")
        return choice.name
    if not mini.is_here():
        raise BackendError("No model was found that answers. Name one: looksay serve --model NAME")
    _tell(
        "No other model was found here, so the small one that ships is served: it knows drawn scenes only."
    )
    return "mini"


def answered(host: str, key: str | None) -> frozenset[str] | None:
    """As which hosts a server at that address is asked (None: any), for `serve.limits.Guard`. Raises InputError where
    others could reach it without a key."""
    from looksay.backends.base import is_loopback
    from looksay.serve.limits import LOCAL_HOSTS

    own = is_loopback(address(host))
    if not own and not key:
        raise InputError(
            f"{host} can be reached from other machines. Set a key that clients must send (--key, or {KEY} in the "
            "environment), or leave --host out."
        )
    return LOCAL_HOSTS if own and not key else None


def address(host: str, port: int | None = None) -> str:
    """Where a server is, as a browser wants it."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}" if port is None else f"http://{name}:{port}"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InputError where the place is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    if os.name != "nt":  # there it would let two servers share the port
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen()  # who comes before the server is up waits, and is not refused
    except OSError as error:
        found.close()
        raise InputError(
            f"{host}:{port} cannot be listened at ({plainly(error)}). Take another: --port {port + 1 if port else 8001}"
        ) from None
    return found


def _tell(words: str) -> None:
    console.err.print(escape(words))
