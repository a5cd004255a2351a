"""The picture of a run: each loss over the steps of all stages, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

_COLOURS = ("#1f5fa8", "#b3401a", "#2e7d32", "#6a3d9a", "#8a6d00", "#00707a", "#a01050", "#444444")
_WIDTH, _HEIGHT, _LEFT, _TOP = 900, 420, 60, 30


def draw(records: Sequence[Mapping[str, Any]]) -> str:
    """An SVG of the log's records (see looksay.training.log); stages follow each other, divided by
    lines, and the losses' axis is logarithmic: what is anywhere below 0 (a reward) is left out."""
    starts: dict[str, int] = {}
    end = 0
    for record in records:
        if record["stage"] not in starts:
            starts[record["stage"]] = end
        end = max(end, starts[record["stage"]] + record["step"])
    lines: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, value in record["losses"].items():
            if value > 0 and math.isfinite(value):
                at = starts[record["stage"]] + record["step"]
                lines.setdefault(name, []).append((at, math.log10(value)))
    below = {name for r in records for name, value in r["losses"].items() if value < 0}
    lines = {name: points for name, points in lines.items() if name not in below}
    heights = [y for points in lines.values() for _, y in points] or [0.0]
    low, high = min(heights), max(heights)
    high = max(high, low + 0.1)
    width, height = _WIDTH - _LEFT - 20, _HEIGHT - _TOP - 40

    def x(at: float) -> float:
        return _LEFT + width * at / max(1, end)

    def y(value: float) -> float:
        return _TOP + height * (high - value) / (high - low)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img">',
        "<title>Loss over the steps</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for tick in range(5):
        value = low + (high - low) * tick / 4
        drawn.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{10**value:.3g}</text>'
        )
        at = end * tick / 4
        drawn.append(
            f'<text x="{x(at):.1f}" y="{_TOP + height + 18}" text-anchor="middle">{at:.0f}</text>'
        )
    for name, start in starts.items():
        drawn.append(
            f'<line x1="{x(start):.1f}" x2="{x(start):.1f}" y1="{_TOP}" y2="{_TOP + height}" stroke="#999"/>'
            f'<text x="{x(start) + 4:.1f}" y="{_TOP - 6}">{escape(name)}</text>'
        )
    for number, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            f'<text x="{_LEFT + width - 4}" y="{_TOP + 16 * (number + 1)}" text-anchor="end" '
            f'fill="{colour}">{escape(name)}</text>'
        )
    drawn.append(
        f'<text x="{_LEFT + width / 2}" y="{_HEIGHT - 4}" text-anchor="middle">step</text>'
    )
    return "\n".join([*drawn, "</svg>", ""])
