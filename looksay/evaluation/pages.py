"""A report for people, drawn from its record: one HTML file with plots and worst samples, or Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, select_autoescape

from looksay.data.reading import write as write_file
from looksay.errors import UnreadablePhoto
from looksay.evaluation import figures, published
from looksay.evaluation.benchmark import Item
from looksay.evaluation.report import number, part, unscored
from looksay.evaluation.run import Result
from looksay.images import load_rgb
from looksay.types import Image

WORST = 6
"""Samples shown of each model and benchmark."""
_THUMB_PX = 192
_BARS = 40
"""More rows than that make no readable plot."""


def write(found: Mapping[str, Any], results: Sequence[Result], folder: Path) -> list[Path]:
    """report.html and report.md in `folder`, each written in one step; returns their paths."""
    pages = {"report.html": html(found, results), "report.md": markdown(found)}
    for name, text in pages.items():
        write_file(folder / name, text.encode("utf-8", "replace"))
    return [folder / name for name in pages]


def html(found: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The whole report as one file that needs nothing else; every plot says in words what it shows."""
    made = Environment(autoescape=select_autoescape(default=True), trim_blocks=True)
    made.filters |= {"number": number, "unscored": unscored}
    template = files("looksay.evaluation") / "templates" / "report.html"
    return made.from_string(template.read_text("utf-8")).render(
        record=found,
        tables=[
            {**table, "plot": plot(table), "means": explained(table)} for table in tables(found)
        ],
        note=published.NOTE,
        second_hand=published.SECOND_HAND,
        samples=[
            {"model": one.model, "benchmark": one.benchmark, "worst": worst(one)} for one in results
        ],
    )


def tables(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One table per benchmark and rules: rows are figures, columns models, cells the model's figure; beside it
    what others print of the same figures."""
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for result in found["results"]:
        key = (result["benchmark"], result["compat"])
        table = made.setdefault(
            key,
            {
                "benchmark": key[0],
                "compat": key[1],
                "models": [],
                "rows": {},
                "published": [one for one in found["published"] if one["benchmark"] == key[0]],
            },
        )
        table["models"].append(result)
        for figure in result["figures"]:
            name = figure["name"] + (f": {figure['kind']}" if figure["kind"] else "")
            table["rows"].setdefault(name, {})[result["model"]] = figure
    return list(made.values())


def explained(table: Mapping[str, Any]) -> dict[str, str]:
    """What the figures of a table say, by name, in its order; those that nothing is known of are left out."""
    rows = {f["name"]: f for model in table["models"] for f in model["figures"]}
    said = {name: figures.means(table["benchmark"], name) for name in rows}
    less = {name: " Less is better." if rows[name]["better"] < 0 else "" for name in rows}
    return {name: words + less[name] for name, words in said.items() if words}


def markdown(found: Mapping[str, Any]) -> str:
    """The figures, the differences and what was spent as tables of Markdown."""
    lines = ["# Report", ""]
    for table in tables(found):
        names = [model["model"] for model in table["models"]]
        lines += [
            f"## {table['benchmark']} (rules: {table['compat']})",
            "",
            "| figure | " + " | ".join(names) + " |",
            "|---" * (len(names) + 1) + "|",
        ]
        lines += [
            f"| {name} | " + " | ".join(_cell(cells.get(model)) for model in names) + " |"
            for name, cells in table["rows"].items()
        ]
        lines += [f"\n{model['model']}{part(model)}." for model in table["models"] if part(model)]
        lines += [
            f"\n{model['model']}: not scored, {unscored(model)}"
            for model in table["models"]
            if model["failed"]
        ]
        lines.append("")
        lines += _published(table)
    told = [row for row in found["differences"] if row["value"] is not None]
    if told:
        lines += ["## Differences on the same samples", ""]
        lines += ["| benchmark | figure | second less first | difference | p |", "|---" * 5 + "|"]
        lines += [
            f"| {row['benchmark']} | {row['name']}{': ' + row['kind'] if row['kind'] else ''} | "
            f"{row['second']} - {row['first']} | {_cell(row)} | {row['p']:.3f} |"
            for row in told
        ]
        lines.append("")
    lines += [
        "## Tokens and cost",
        "",
        "| model | benchmark | answers | tokens in, out | USD | judge | its tokens in, out | its USD |",
        "|---" * 8 + "|",
        *(_spent(result) for result in found["results"]),
        "",
        *([found["waits"], ""] if found["waits"] else []),
        f"95 % intervals from {found['samples']} bootstrap samples, seed {found['seed']}; "
        f"looksay {found['looksay']}.",
        "",
    ]
    return "\n".join(lines)


def _spent(result: Mapping[str, Any]) -> str:
    both = [
        f"{result[f'{whose}prompt_tokens']}, {result[f'{whose}completion_tokens']} | "
        f"{result[f'{whose}cost_usd']:.4f}"
        for whose in ("", "judge_")
    ]
    judge = f"{result['judge']} | {both[1]}" if result["judge"] else "none | - | -"
    return (
        f"| {result['model']} | {result['benchmark']} | {result['asked']} | {both[0]} | {judge} |"
    )


def _published(table: Mapping[str, Any]) -> list[str]:
    if not table["published"]:
        return []
    lines = [
        f"### Published figures of {table['benchmark']}",
        "",
        published.NOTE,
        "",
        "| figure | model | published | how | source |",
        "|---" * 5 + "|",
    ]
    for one in table["published"]:
        name = one["name"] + (f": {one['kind']}" if one["kind"] else "")
        doubt = "" if one["checked"] else f" ({published.SECOND_HAND})"
        lines.append(
            f"| {name} | {one['model']} | {one['printed']} | {one['how']} | "
            f"[{one['source']}]({one['address']}){doubt} |"
        )
    return [*lines, ""]


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    return f"{number(figure['value'])} ({number(figure['low'])} to {number(figure['high'])})"


def plot(table: Mapping[str, Any]) -> dict[str, str] | None:
    """Bars of the first figure by type with their intervals: SVG, and the same in words. None where there
    is no more than one type."""
    models = [model for model in table["models"] if model["figures"]]
    first = models[0]["figures"][0]["name"] if models else ""
    kinds = [
        figure["kind"]
        for figure in (models[0]["figures"] if models else [])
        if figure["name"] == first
    ]
    if not 1 < len(kinds) <= _BARS:
        return None
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "looksay"  # the same figures give the same file
    shape, axes = pyplot.subplots(figsize=(8, 0.6 + 0.22 * len(kinds) * (len(models) + 0.6)))
    try:
        height = 0.8 / len(models)
        for place, model in enumerate(models):
            rows = {f["kind"]: f for f in model["figures"] if f["name"] == first}
            chosen = [rows[kind] for kind in kinds if kind in rows]
            values = [row["value"] or 0.0 for row in chosen]
            below = [_apart(row["low"], v) for v, row in zip(values, chosen, strict=True)]
            above = [_apart(v, row["high"]) for v, row in zip(values, chosen, strict=True)]
            at = [kinds.index(row["kind"]) + place * height for row in chosen]
            axes.barh(at, values, height, xerr=[below, above], label=model["model"])
        axes.set_yticks(
            [n + 0.4 - height / 2 for n in range(len(kinds))], [kind or "all" for kind in kinds]
        )
        axes.invert_yaxis()
        axes.set_xlabel(first)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        stream = io.StringIO()
        shape.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    finally:
        pyplot.close(shape)
    told = "; ".join(
        f"{model['model']}: "
        + ", ".join(
            f"{f['kind'] or 'all'} {number(f['value'])}"
            for f in model["figures"]
            if f["name"] == first
        )
        for model in models
    )
    data = base64.b64encode(stream.getvalue().encode()).decode()
    return {"src": f"data:image/svg+xml;base64,{data}", "alt": f"Bars of {first} by type. {told}."}


def _apart(low: float | None, high: float | None) -> float:
    """How far one is above the other: 0 where one was not measured, or where an interval of few samples
    leaves its own value out."""
    return 0.0 if low is None or high is None else max(0.0, high - low)


def worst(result: Result, count: int = WORST) -> list[dict[str, Any]]:
    """The samples that do worst by the first figure, each with its pictures and the answers that decided it: what
    was asked, said and expected."""
    if not result.figures:
        return []
    measure = result.figures[0].measure
    sign = measure.better or 1
    ranked = sorted(
        (sign * value, place, one)
        for place, (one, row) in enumerate(measure.rows.items())
        for value in [measure.value(*row)]
        if value == value
    )
    answers = {answer.item.id: answer for answer in result.asked.answers}
    shown = []
    for value, _, one in ranked[:count]:
        told = [answers[name] for name in measure.decided_by.get(one, (one,)) if name in answers]
        if not told:
            continue
        item = told[0].item
        shown.append(
            {
                "id": one,
                "kind": item.kind,
                "answers": [
                    {
                        "id": answer.item.id,
                        "asked": answer.item.conversation.messages[-1].text,
                        "said": answer.text,
                        "expected": _expected(answer.item),
                    }
                    for answer in told
                ],
                "value": sign * value * measure.scale,
                "pictures": [
                    uri for image in item.conversation.images[:2] for uri in [_thumb(image)] if uri
                ],
            }
        )
    return shown


def _expected(item: Item) -> str:
    """What the answer is held to, in words; empty where no one answer is right."""
    known = ("answer", "answers", "references", "captions")
    return str(next((item.truth[key] for key in known if key in item.truth), ""))


def _thumb(image: Image) -> str | None:
    try:
        picture = load_rgb(image.source)
    except (UnreadablePhoto, OSError):
        return None  # the run has long read it: a picture that went since stops no report
    picture.thumbnail((_THUMB_PX, _THUMB_PX))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
