"""Bars in SVG, written by hand: throughput, latency and growth of one run."""

from __future__ import annotations

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
CHARTS: Final = {
    "throughput": (
        "enqueue_one", "enqueue_many", "one_by_one", "batches_100", "steps", "worker",
    ),
    "latency": ("pickup_idle_p50", "pickup_rare_p50", "pickup_load_p50", "pickup_load_p99"),
    "growth": ("held_snapshot", "held_growth", "backlog"),
}  # fmt: skip


def color(contender: str) -> str:
    from benchmarks.against import NAMES

    if contender.startswith("raw"):
        return COLORS["raw"]
    return COLORS["peer" if contender in NAMES else "ours"]


def chart(results: Sequence[Result]) -> str:
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
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top + 10}" '
        'font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def draw(results: Sequence[Result], stem: Path) -> None:
    """One file for each chart that something was measured for, named after the JSON file."""
    found = {result.name: result for result in results}
    for name, shown in CHARTS.items():
        if chosen := [found[key] for key in shown if key in found]:
            stem.with_name(f"{stem.name}-{name}.svg").write_text(chart(chosen))
