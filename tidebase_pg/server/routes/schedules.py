"""Routes about schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from tidebase_pg import calls
from tidebase_pg.server import bodies, objects
from tidebase_pg.server.objects import OneSchedule, Schedule, Schedules
from tidebase_pg.server.refusals import missing
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.server.tracing import traced

topic = Topic("schedules")


@topic.route("PUT", "/schedules/{name}", errors=(404,))
async def set_schedule(ask: Ask, body: bodies.SetSchedule) -> OneSchedule:
    """Declare a schedule. What this route has no word for keeps its value."""
    name = ask.path["name"]
    kept: dict[str, Any] = {}
    metadata: Mapping[str, Any] = {}
    for row in await ask(calls.list_schedules):
        if row.schedule == name:
            kept = {
                "time_zone": row.time_zone,
                "misfire": row.misfire,
                "overlap": row.overlap,
                "priority": row.priority,
                "deadline": row.deadline,
                "lane": row.lane,
                "lane_key": row.lane_key,
                "cost": row.cost,
                "also_lanes": row.also_lanes,
            }
            metadata = row.metadata
    if body.lane is not UNSET:
        kept |= {
            "lane": body.lane,
            "lane_key": body.lane_key,
            "cost": body.cost,
            "also_lanes": bodies.other_lanes(body.also_lanes),
        }
    row = await ask.carrying(input=body.input)(
        calls.set_schedule,
        name,
        body.cron,
        body.workflow_name,
        queue=body.queue,
        max_attempts=body.max_attempts or 1,
        enabled=body.enabled,
        metadata={**metadata, **traced(ask.headers, {})},
        key_hash=ask.identity.key_hash,
        actor=ask.actor,
        **kept,
    )
    return OneSchedule(Schedule.of(row))


@topic.route("GET", "/schedules")
async def list_schedules(ask: Ask) -> Schedules:
    """All schedules by name."""
    return Schedules([Schedule.of(row) for row in await ask(calls.list_schedules)])


@topic.route("DELETE", "/schedules/{name}", errors=(404,))
async def delete_schedule(ask: Ask) -> objects.Deleted:
    """Remove a schedule; its runs stay."""
    name = ask.path["name"]
    if not await ask(calls.drop_schedule, name, actor=ask.actor):
        raise missing("schedule")
    return objects.Deleted(name)


@topic.route("POST", "/schedules/{name}/pause", optional_body=True, errors=(404,))
async def pause_schedule(ask: Ask) -> OneSchedule:
    """Stop a schedule until it is resumed."""
    return OneSchedule(
        Schedule.of(await ask(calls.pause_schedule, ask.path["name"], actor=ask.actor))
    )


@topic.route("POST", "/schedules/{name}/resume", optional_body=True, errors=(404,))
async def resume_schedule(ask: Ask) -> OneSchedule:
    """Let a paused schedule go on with its next time."""
    return OneSchedule(
        Schedule.of(await ask(calls.resume_schedule, ask.path["name"], actor=ask.actor))
    )


@topic.route("POST", "/schedules/{name}/fire", optional_body=True, errors=(404,))
async def fire_schedule(ask: Ask) -> objects.OneRun:
    """Enqueue a run of a schedule now."""
    fire = await ask(calls.fire_schedule, ask.path["name"], key_hash=ask.identity.key_hash)
    if fire.run_id is None:
        raise missing("run")
    return objects.OneRun(objects.Run.of(await ask(calls.get_run, fire.run_id)))
