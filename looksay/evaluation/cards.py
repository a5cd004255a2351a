"""The cards of all benchmarks, told: what each measures and needs, in lines or as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from looksay.evaluation import benchmark, published
from looksay.evaluation.benchmark import Benchmark

_HEAD = (
    "# Benchmarks\n\n"
    "This page is what `looksay benchmarks --markdown` prints; a test compares the two. "
    "[evaluation.md](evaluation.md) says how to measure models on them. The files that a benchmark needs lie in a "
    "folder of its name. `looksay benchmarks` lists parts and rules as well.\n"
)
_COLUMNS = ("name", "title", "measures", "needs", "where", "licence", "follows")


def every() -> dict[str, Benchmark]:
    """All benchmarks by name, in alphabetical order."""
    return {name: benchmark.load(name)[0] for name in benchmark.names()}


def besides_files(one: Benchmark) -> list[str]:
    """What a benchmark needs that is no file: a judge, or a model that embeds."""
    found = []
    if hasattr(one, "judge"):
        found.append("a judge")
    if hasattr(one, "score_embeddings"):
        found.append("a dual encoder")
    return found


def rows(name: str, one: Benchmark) -> dict[str, str]:
    """What a card says, by the word that stands before it in a list; empty where it has nothing to say."""
    card = one.CARD
    return {
        "parts": ", ".join(f"{name}/{part}" for part in card.variants if part),
        "needs": ", ".join([*card.needs, *besides_files(one)]) or "nothing",
        "rules": ", ".join(card.compat) if len(card.compat) > 1 else "",
        "from": card.where,
        "licence": card.licence,
        "as": card.loader,
    }


def markdown(found: Mapping[str, Benchmark]) -> str:
    """A page with one table, a row for each benchmark."""
    lines = [_HEAD, _row(_COLUMNS), "|---" * len(_COLUMNS) + "|"]
    for name, one in found.items():
        card = one.CARD
        needs = [f"`{file}`: {what}" for file, what in card.needs.items()] + besides_files(one)
        lines.append(
            _row(
                (
                    f"`{name}`",
                    card.title,
                    card.measures,
                    "; ".join(needs) or "nothing",
                    card.where,
                    card.licence,
                    card.loader,
                )
            )
        )
    return "\n".join(lines) + "\n"


def lines(name: str) -> list[str]:
    """One card in full, and what others print of the benchmark's figures; of a part ("pope/random") what is
    published of it. Raises UnknownName."""
    one, _ = benchmark.load(name)
    card, base = one.CARD, name.partition("/")[0]
    said = {
        "paper": card.paper,
        **{word: what for word, what in rows(base, one).items() if word != "needs"},
        "ranks": "its choices by likelihood too: --mode likelihood" if card.likelihood else "",
        "also": ", ".join(besides_files(one)),
        "needs": f"below {base}/ in the folder of --data:" if card.needs else "nothing",
    }
    told = [f"{base}  {card.title}", card.measures]
    told += [f"  {word:<8}{what}" for word, what in said.items() if what]
    told += [f"    {file}: {what}" for file, what in card.needs.items()]
    found = published.lines([published.row(entry) for entry in published.about(name)])
    return [*told, "", *found] if found else told


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
