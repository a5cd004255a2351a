"""The command that puts the papers' claims to the test."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from looksay.cli import console
from looksay.cli.options import MEASURE, DeviceOption, JsonOption, app
from looksay.errors import InputError, MissingDependency, UnknownName

if TYPE_CHECKING:
    from looksay.claims.base import Claim

OUT = Path("claims")


@app.command(rich_help_panel=MEASURE)
def reproduce(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLAIM]...", help="Claims (llava/align) or families (llava); all by default."
        ),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Only say which there are.")] = False,
    page: Annotated[
        bool,
        typer.Option(
            "--page", help="Only print the page of the results in --out (docs/claims.md)."
        ),
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for trained stages, answers and results.")
    ] = OUT,
    seeds: Annotated[
        str, typer.Option("--seeds", help="Seeds that every arm is trained with, with commas.")
    ] = "0,1,2",
    size: Annotated[str, typer.Option("--size", help="mini, or tiny (for first tries).")] = "mini",
    scenes: Annotated[int, typer.Option("--scenes", min=1, help="Scenes to ask about.")] = 1000,
    steps_share: Annotated[
        float,
        typer.Option(
            "--steps-share",
            min=0.0,
            max=1.0,
            help="Below 1: a trial with that share of every stage's steps, and no verdict.",
        ),
    ] = 1.0,
    device: DeviceOption = "auto",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="auto, bf16 or fp32, for stages that arms do not all share. On a CPU with AMX bf16 may be faster.",
        ),
    ] = "auto",
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the layers first: faster steps, later start.")
    ] = False,
    save_every: Annotated[
        int, typer.Option("--save-every", min=1, help="Steps between two states to resume from.")
    ] = 500,
    as_json: JsonOption = False,
) -> None:
    """Put the papers' claims to the test: train their arms on scenes, with seeds, and judge by one rule.

    Hours on a CPU. The same command goes on where it was broken off; docs/claims.md has the rule.
    """
    from looksay.claims import base

    claims = base.chosen(wanted or [])
    try:
        from looksay.claims import page as telling
    except ImportError as error:
        raise MissingDependency("Comparing arms", "evaluate", error.name or "numpy") from error
    if list_them:
        if as_json:
            console.print_json([telling.listed(name, claim) for name, claim in claims.items()])
            return
        for name, claim in claims.items():
            console.out.print(escape("\n".join(telling.about(name, claim))))
        return
    if page:
        typer.echo(telling.markdown(claims, out), nl=False)
        return
    if not steps_share > 0:
        raise InputError("--steps-share takes a number above 0, at most 1; found 0.")
    how: dict[str, Any] = {
        "seeds": _seeds(seeds),
        "size": _size(size),
        "scenes": scenes,
        "steps_share": steps_share,
        "device": device,
        "precision": precision,
        "compile": compile,
        "save_every": save_every,
    }
    _run(claims, out, how, as_json)


def _run(claims: dict[str, Claim], out: Path, how: dict[str, Any], as_json: bool) -> None:
    from looksay.claims import page, results
    from looksay.claims.verdict import outcome

    try:
        from looksay.claims.run import reproduce as run
    except ImportError as error:
        raise MissingDependency("Training", "train", error.name or "torch") from error
    told = []
    for name, claim in claims.items():
        found = run(
            name,
            claim,
            out,
            command=_command(name, how),
            quiet=as_json,
            tell=lambda words: None if as_json else console.err.print(escape(words)),
            **how,
        )
        if not found.trial:
            results.save(found, out)
        row = page.record(name, claim, found, outcome(claim, found))
        told.append(row)
        if not as_json:
            console.out.print(escape("\n".join([*page.lines(row, claim), ""])))
    if as_json:
        console.print_json(told)


def _seeds(words: str) -> tuple[int, ...]:
    found = [word.strip() for word in words.split(",")]
    if not all(word.isdecimal() for word in found) or len({*map(int, found)}) < len(found):
        raise InputError(
            f"--seeds takes distinct whole numbers with commas, such as 0,1,2; found {words!r}."
        )
    return tuple(map(int, found))


def _size(name: str) -> str:
    known = ("mini", "tiny")
    if name not in known:
        raise UnknownName("size", name, known)
    return name


def _command(name: str, how: dict[str, Any]) -> str:
    """What to type for the same result."""
    words = ["looksay", "reproduce", name, "--seeds", ",".join(map(str, how["seeds"]))]
    words += ["--size", how["size"], "--scenes", str(how["scenes"])]
    if how["steps_share"] != 1:
        words += ["--steps-share", f"{how['steps_share']:g}"]
    if how["device"] != "auto":
        words += ["--device", how["device"]]
    if how["precision"] != "auto":
        words += ["--precision", how["precision"]]
    return shlex.join([*words, "--compile"] if how["compile"] else words)
