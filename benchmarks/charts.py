"""Plots in SVG, written by hand: throughput, latency and growth of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.report import number
from benchmarks.results import Result

WIDTH: Final = 760
LABEL: Final = 210
BAR: Final = 380
LINE: Final = 20
COLORS: Final = {"raw": "#8a8f98", "ours": "#1f6feb", "peer": "#c9a227"}
LINES: Final = (
    "#1f6feb", "#c9a227", "#2da44e", "#cf222e", "#8250df", "#bf3989", "#57606a", "#1b7c83",
    "#953800", "#0a3069",
)  # fmt: skip
"""A color for each call."""
CHARTS: Final = {
    "throughput": (
        "enqueue_one", "enqueue_many", "one_by_one", "batches_10", "batches_100", "limits",
        "slow_commits", "steps", "worker", "heartbeats", "gates", "pooler",
    ),
    "latency": (
        "pickup_idle_p50", "pickup_idle_p99", "pickup_rare_p50", "pickup_rare_p99",
        "pickup_load_p50", "pickup_load_p99",
    ),
    "backlog": ("backlog", "held_snapshot", "held_growth"),
}  # fmt: skip
GROWTH: Final = "growth_"


def color(contender: str) -> str:
    from benchmarks.against import NAMES

    if contender.startswith("raw"):
        return COLORS["raw"]
    return COLORS["peer" if contender in NAMES else "ours"]


def bars(results: Sequence[Result]) -> str:
    parts: list[str] = []
    top = 10
    for result in results:
        medians = {name: result.median(name) for name, values in result.values.items() if values}
        most = max(medians.values(), default=0) or 1
        top += LINE + 6
        title = escape(f"{result.title}, {result.unit}")
        parts.append(f'<text x="10" y="{top}" font-weight="bold">{title}</text>')
        for name, value in medians.items():
            top += LINE
            length = max(1, round(BAR * value / most))
            parts.append(
                f'<text x="{LABEL}" y="{top}" text-anchor="end">{escape(name)}</text>'
                f'<rect x="{LABEL + 10}" y="{top - 11}" width="{length}" height="13" '
                f'fill="{color(name)}"/>'
                f'<text x="{LABEL + 16 + length}" y="{top}">{number(value)}</text>'
            )
        top += 10
    return picture(top + 10, parts)


def lines(results: Sequence[Result]) -> str:
    """A line for each call, over histories that grow tenfold; buffers on a logarithmic scale."""
    sizes = list(results[0].values)
    left, right, above, below = 60, 560, 50, 390
    medians = {result.name: [result.median(size) for size in sizes] for result in results}
    exponents = [math.log10(max(value, 1)) for row in medians.values() for value in row]
    least, most = math.floor(min(exponents)), max(math.ceil(max(exponents)), 1)

    def across(place: int) -> float:
        return left + (right - left) * place / max(len(sizes) - 1, 1)

    def height(value: float) -> float:
        return below - (below - above) * (math.log10(max(value, 1)) - least) / (most - least)

    parts = [
        '<text x="10" y="24" font-weight="bold">Buffers of a call, by finished runs</text>',
        *(
            f'<line x1="{left}" x2="{right}" y1="{height(10**power):.1f}" '
            f'y2="{height(10**power):.1f}" stroke="#d0d7de"/>'
            f'<text x="{left - 8}" y="{height(10**power) + 4:.1f}" text-anchor="end">'
            f"{10**power:,}</text>"
            for power in range(least, most + 1)
        ),
        *(
            f'<text x="{across(place):.1f}" y="{below + 20}" text-anchor="middle">{size}</text>'
            for place, size in enumerate(sizes)
        ),
    ]
    # Names stand at the ends of their lines, apart from each other.
    last = 0.0
    ends = sorted(results, key=lambda result: height(medians[result.name][-1]))
    for result in ends:
        stroke = LINES[results.index(result) % len(LINES)]
        points = [
            (across(place), height(value)) for place, value in enumerate(medians[result.name])
        ]
        last = max(points[-1][1] + 4, last + 15)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        title = escape(result.title.partition(",")[0])
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="2"/>'
            + "".join(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{stroke}"/>' for x, y in points
            )
            + f'<text x="{right + 10}" y="{last:.1f}" fill="{stroke}">{title}</text>'
        )
    return picture(round(max(below + 40, last + 10)), parts)


def picture(height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def charts(results: Sequence[Result]) -> dict[str, str]:
    """A picture for each chart that something was measured for."""
    found = {result.name: result for result in results}
    drawn = {
        name: bars(chosen)
        for name, shown in CHARTS.items()
        if (chosen := [found[key] for key in shown if key in found])
    }
    if grown := [result for result in results if result.name.startswith(GROWTH)]:
        drawn["growth"] = lines(grown)
    return drawn


def path(stem: Path, name: str) -> Path:
    return stem.with_name(f"{stem.name}-{name}.svg")


def draw(results: Sequence[Result], stem: Path) -> None:
    """One file for each chart, named after the JSON file."""
    for name, drawn in charts(results).items():
        path(stem, name).write_text(drawn)
