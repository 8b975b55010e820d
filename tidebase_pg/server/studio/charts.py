"""Charts as SVG, drawn on the server: no script and no style of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup, escape

from tidebase_pg.types import Bucket

WIDTH: Final = 560
HEIGHT: Final = 120
FOOT: Final = 18
"""Room for the times below the bars."""


@dataclass(frozen=True, slots=True)
class Series:
    """What ended in equal spans of time, the empty ones included."""

    begins: Sequence[datetime]
    completed: Sequence[int]
    failed: Sequence[int]
    cancelled: Sequence[int]

    @property
    def totals(self) -> tuple[int, int, int]:
        return sum(self.completed), sum(self.failed), sum(self.cancelled)


def series(
    buckets: Sequence[Bucket], now: datetime, duration: timedelta, bucket: timedelta
) -> Series:
    """The buckets laid on a whole axis that ends now."""
    size = int(bucket.total_seconds())
    last = int(now.timestamp()) // size * size
    number = int(duration.total_seconds()) // size
    begins = [datetime.fromtimestamp(last - size * at, UTC) for at in range(number - 1, -1, -1)]
    found = {row.begins_at.astimezone(UTC): row for row in buckets}

    def column(name: str) -> list[int]:
        return [getattr(found[at], name) if at in found else 0 for at in begins]

    return Series(begins, column("completed"), column("failed"), column("cancelled"))


def bars(shown: Series, *, title: str, step: timedelta) -> Markup:
    """Bars of completed runs with the failed ones on top, and a scale of time and number."""
    number = len(shown.begins)
    heights = [sum(at) for at in zip(shown.completed, shown.failed, shown.cancelled, strict=True)]
    top = _round_up(max(heights, default=0))
    room = HEIGHT - FOOT - 8
    width = WIDTH / max(number, 1)
    said = escape(_summary(shown, title))
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
    parts = [f'<svg class="chart" {box} role="img" aria-label="{said}">']
    for line in (1.0, 0.5):
        y = 8 + room * (1 - line)
        parts.append(f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts.append(f'<line class="axis" x1="0" x2="{WIDTH}" y1="{8 + room}" y2="{8 + room}"/>')
    for at, begin in enumerate(shown.begins):
        y = 8.0 + room
        for name, value in (
            ("completed", shown.completed[at]),
            ("cancelled", shown.cancelled[at]),
            ("failed", shown.failed[at]),
        ):
            if not value:
                continue
            tall = max(room * value / top, 1.5)
            y -= tall
            parts.append(
                f'<rect class="{name}" x="{at * width + width * 0.12:.2f}" y="{y:.2f}" '
                f'width="{width * 0.76:.2f}" height="{tall:.2f}">'
                f"<title>{begin:%H:%M} {value} {name}</title></rect>"
            )
    parts.append("</svg>")
    labels = "".join(
        f'<text x="{100 * (at + 0.0) / max(number, 1):.2f}%" y="12">{begin:%H:%M}</text>'
        for at, begin in enumerate(shown.begins)
        # The last ones have no room before the edge.
        if 0 < at < 0.93 * number and int(begin.timestamp()) % int(step.total_seconds()) == 0
    )
    axis = f'<svg class="chart-times" aria-hidden="true">{labels}</svg>'
    scale = f'<span class="chart-top" aria-hidden="true">{top:,}</span>'
    return Markup(f'<div class="chart-box">{scale}{"".join(parts)}{axis}</div>')


def spark(values: Sequence[int], failed: Sequence[int], *, title: str) -> Markup:
    """A small line of bars for a row of a table."""
    top = max(max(values, default=0), max(failed, default=0), 1)
    width = 100 / max(len(values), 1)
    box = 'viewBox="0 0 100 20" preserveAspectRatio="none"'
    parts = [f'<svg class="spark" {box} role="img" aria-label="{escape(title)}">']
    for at, (well, badly) in enumerate(zip(values, failed, strict=True)):
        tall = 19 * well / top
        if well:
            parts.append(
                f'<rect class="completed" x="{at * width:.2f}" y="{20 - max(tall, 1):.2f}" '
                f'width="{width * 0.8:.2f}" height="{max(tall, 1):.2f}"/>'
            )
        if badly:
            high = max(19 * badly / top, 2)
            parts.append(
                f'<rect class="failed" x="{at * width:.2f}" y="{20 - high:.2f}" '
                f'width="{width * 0.8:.2f}" height="{high:.2f}"/>'
            )
    return Markup("".join(parts) + "</svg>")


def meter(used: float, most: float, *, title: str, tone: str = "") -> Markup:
    """How much of a limit is used."""
    share = 0.0 if most <= 0 else min(used / most, 1.0)
    level = tone or ("full" if share >= 1 else "high" if share >= 0.8 else "")
    return Markup(
        f'<svg class="meter {level}" role="img" aria-label="{escape(title)}">'
        f'<rect class="track" width="100%" height="100%" rx="3"/>'
        f'<rect class="used" width="{100 * share:.1f}%" height="100%" rx="3"/></svg>'
    )


def _round_up(value: int) -> int:
    steps: list[int] = sorted(
        size * 10**power // 10
        for power in range(1, 13)
        for size in (10, 15, 20, 25, 30, 40, 50, 60, 80)
    )
    return next((step for step in steps if step >= max(value, 1)), 10**13)


def _summary(shown: Series, title: str) -> str:
    completed, failed, cancelled = shown.totals
    return f"{title}: {completed} completed, {failed} failed, {cancelled} cancelled"
