"""Calls about schedules: what is enqueued when, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from tidebase_pg.call import Call, call, truth
from tidebase_pg.documents import optional
from tidebase_pg.types import Fire, Row, Schedule, ScheduleOutline
from tidebase_pg.values import Duration


def set_schedule(
    name: str,
    cron: str,
    workflow: str,
    *,
    input: Any = None,
    queue: str | None = None,
    time_zone: str | None = None,
    misfire: str | None = None,
    overlap: str | None = None,
    max_attempts: int | None = None,
    priority: int | None = None,
    deadline: Duration | None = None,
    metadata: Mapping[str, Any] | None = None,
    enabled: bool | None = None,
    key_hash: bytes | None = None,
    actor: str | None = None,
    lane: str | None = None,
    lane_key: str | None = None,
    cost: int | None = None,
    also_lanes: Sequence[Mapping[str, Any]] | None = None,
) -> Call[Schedule]:
    """Declare a schedule: each fire of cron in time_zone enqueues a run. The same declaration again
    changes nothing and loses no due fire. misfire one, skip or all says what becomes of fires
    nobody was there for, overlap allow or skip whether a run may start beside an earlier one. Who
    declares a schedule requests its runs, with key_hash as enqueue; lane, lane_key, cost and
    also_lanes are those of enqueue. Bad: 22023; a lane that is not set: TD010.
    """
    return call(
        "set_schedule",
        Schedule.columns(),
        Schedule.one,
        name=name,
        cron=cron,
        workflow=workflow,
        input=optional(input, "input"),
        queue=queue,
        time_zone=time_zone,
        misfire=misfire,
        overlap=overlap,
        max_attempts=max_attempts,
        priority=priority,
        deadline=deadline,
        metadata=optional(metadata, "metadata"),
        enabled=enabled,
        key_hash=key_hash,
        actor=actor,
        lane=lane,
        lane_key=lane_key,
        cost=cost,
        also_lanes=optional(also_lanes, "also_lanes"),
    )


def drop_schedule(name: str, *, actor: str | None = None) -> Call[bool]:
    """Remove a schedule; its ledger and its runs stay. false = there was none."""
    return call("drop_schedule", "drop_schedule", truth, name=name, actor=actor)


def fire_schedule(name: str, *, key_hash: bytes | None = None) -> Call[Fire]:
    """Enqueue a run of a schedule now, by hand, whether or not it is paused or an earlier run is
    active; its next time stays as it is. Who fires requests the run, with key_hash as enqueue.
    Unknown: TD010.
    """
    return call("fire_schedule", Fire.columns(), Fire.one, name=name, key_hash=key_hash)


def pause_schedule(name: str, *, actor: str | None = None) -> Call[Schedule]:
    """Stop a schedule until resume_schedule; a declaration by set_schedule does not resume it."""
    return call("pause_schedule", Schedule.columns(), Schedule.one, name=name, actor=actor)


def resume_schedule(name: str, *, actor: str | None = None) -> Call[Schedule]:
    """Let a paused schedule go on with its next time; what fell into the pause is not made up
    for.
    """
    return call("resume_schedule", Schedule.columns(), Schedule.one, name=name, actor=actor)


def list_schedules() -> Call[list[Schedule]]:
    """All schedules by name, with next_fire_at, last_fire_at and last_run_id."""
    return call("list_schedules", Schedule.columns(), Schedule.many)


def list_fires(
    name: str, *, before: datetime | None = None, max_fires: int | None = None
) -> Call[list[Fire]]:
    """The ledger of a schedule, newest first: what was enqueued, passed over or missed."""
    return call(
        "list_fires", Fire.columns(), Fire.many, name=name, before=before, max_fires=max_fires
    )


def next_fire(
    cron: str, *, after: datetime | None = None, time_zone: str | None = None
) -> Call[datetime]:
    """The first time later than after (null = now) that a cron expression names in a time zone; a
    bad expression: 22023. Times in a gap of the clock fire at its end, times that occur twice the
    first time; with * for minute or hour, elapsed time counts.
    """
    return call("next_fire", "next_fire", _moment, cron=cron, after=after, time_zone=time_zone)


def _moment(rows: Sequence[Row]) -> datetime:
    return cast(datetime, rows[0][0])


def next_fires(
    cron: str,
    *,
    after: datetime | None = None,
    time_zone: str | None = None,
    max_fires: int | None = None,
) -> Call[list[datetime]]:
    """The first times later than after (null = now) that a cron expression names in a time zone; a
    bad expression: 22023.
    """
    return call(
        "next_fires",
        "next_fires",
        _moments,
        cron=cron,
        after=after,
        time_zone=time_zone,
        max_fires=max_fires,
    )


def outline_schedules() -> Call[list[ScheduleOutline]]:
    """Schedules by name without input and metadata, each with its last ten fires and what became of
    their runs.
    """
    return call("outline_schedules", ScheduleOutline.columns(), ScheduleOutline.many)


def _moments(rows: Sequence[Row]) -> list[datetime]:
    return [row[0] for row in rows]
