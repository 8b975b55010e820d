"""Queues, lanes and upkeep in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

from tidebase_pg.types import Health, ListedLane, QueueStats, TimeBucket

if TYPE_CHECKING:
    from tidebase_pg.server.gateway import Gateway

_COUNTS = ("queued", "ready", "delayed", "parked", "running", "slots_busy")
_DAY = ("completed_day", "failed_day", "cancelled_day")


def exposition(
    queues: Sequence[QueueStats],
    times: Sequence[TimeBucket],
    lanes: Sequence[ListedLane],
    upkeep: Health,
    gateway: Gateway,
) -> str:
    lines = [*_lines(queues, upkeep, gateway), *_time_lines(times), *_lane_lines(lanes), ""]
    return "\n".join(lines)


def _time_lines(times: Sequence[TimeBucket]) -> Iterator[str]:
    for measure in ("wait", "run"):
        name = f"tide_queue_{measure}_seconds"
        yield f"# TYPE {name} histogram"
        for row in times:
            if row.measure != measure:
                continue
            queue = f'queue="{_label(row.queue)}"'
            last = row.up_to == inf
            yield f'{name}_bucket{{{queue},le="{"+Inf" if last else f"{row.up_to:g}"}"}} {row.runs}'
            if last:
                yield f"{name}_sum{{{queue}}} {row.seconds:g}"
                yield f"{name}_count{{{queue}}} {row.runs}"


def _lane_lines(lanes: Sequence[ListedLane]) -> Iterator[str]:
    for name in ("running", "waiting", "counted_to", "total", "adaptive_limit", "per_key"):
        yield f"# TYPE tide_lane_{name} gauge"
        for row in lanes:
            if (value := getattr(row, name)) is not None:
                yield f'tide_lane_{name}{{lane="{_label(row.lane)}"}} {value}'
    yield "# TYPE tide_lane_throttled gauge"
    for row in lanes:
        throttled = int(row.throttled_until is not None)
        yield f'tide_lane_throttled{{lane="{_label(row.lane)}"}} {throttled}'
    yield "# TYPE tide_lane_open gauge"
    for row in lanes:
        if row.breaker_failures is not None:
            yield f'tide_lane_open{{lane="{_label(row.lane)}"}} {int(row.opened_at is not None)}'
    for attribute, name in (
        ("units", "units"),
        ("units_per_key", "units_per_key"),
        ("used", "used_units"),
    ):
        yield f"# TYPE tide_lane_{name} gauge"
        for row in lanes:
            if (value := getattr(row, attribute)) is not None:
                yield f'tide_lane_{name}{{lane="{_label(row.lane)}"}} {value}'


def _lines(queues: Sequence[QueueStats], upkeep: Health, gateway: Gateway) -> Iterator[str]:
    for name in (*_COUNTS, *_DAY):
        yield f"# TYPE tide_queue_{name} gauge"
        for row in queues:
            yield f'tide_queue_{name}{{queue="{_label(row.queue)}"}} {getattr(row, name)}'
    yield "# TYPE tide_queue_oldest_ready_seconds gauge"
    for row in queues:
        if row.oldest_ready_age is not None:
            age = row.oldest_ready_age.total_seconds()
            yield f'tide_queue_oldest_ready_seconds{{queue="{_label(row.queue)}"}} {age:g}'
    for field in fields(upkeep):
        value = getattr(upkeep, field.name)
        if isinstance(value, timedelta):
            name = field.name.removesuffix("_age") + "_age_seconds"
            yield f"# TYPE tide_{name} gauge"
            yield f"tide_{name} {value.total_seconds():g}"
        elif isinstance(value, int):
            yield f"# TYPE tide_{field.name} gauge"
            yield f"tide_{field.name} {value}"
    yield "# TYPE tide_paused gauge"
    yield f"tide_paused {int(upkeep.paused_at is not None)}"
    yield "# TYPE tide_gateway_streams gauge"
    yield f"tide_gateway_streams {gateway.streams}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
