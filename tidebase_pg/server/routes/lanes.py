"""Routes about lanes: the limits that runs of any number of queues share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET

from tidebase_pg import calls
from tidebase_pg.server import bodies, objects
from tidebase_pg.server.objects import Lane, OneLane, ThrottledLane
from tidebase_pg.server.refusals import BadBody, missing
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.server.values import length, moment
from tidebase_pg.types import LaneRow
from tidebase_pg.values import interval_text

topic = Topic("lanes")


@topic.route("GET", "/lanes")
async def list_lanes(ask: Ask) -> objects.Lanes:
    """Every lane by name: its limits, who runs and who waits, what keeps its runs."""
    return objects.Lanes([Lane.of(row) for row in await ask(calls.list_lanes)])


@topic.route("GET", "/lanes/{lane}", errors=(404,))
async def get_lane(ask: Ask) -> OneLane:
    """One lane."""
    return await _lane(ask)


@topic.route("PUT", "/lanes/{lane}")
async def set_lane(ask: Ask, body: bodies.SetLane) -> OneLane:
    """Make a lane or change its settings: absent stays as it is, null clears."""
    settings: dict[str, Any] = {}
    for name in body.__struct_fields__:
        given = getattr(body, name)
        if given is UNSET:
            continue
        if name.endswith("_ms"):
            name = name.removesuffix("_ms")
            given = given if (span := length(given)) is None else interval_text(span)
        settings[name] = given
    await ask(calls.set_lane, ask.path["lane"], settings=settings, actor=ask.actor)
    return await _lane(ask)


@topic.route("DELETE", "/lanes/{lane}", errors=(404,))
async def drop_lane(ask: Ask) -> objects.Deleted:
    """Remove a lane; its runs stay, and nothing limits them any more."""
    name = ask.path["lane"]
    if not await ask(calls.drop_lane, name, actor=ask.actor):
        raise missing("lane")
    return objects.Deleted(name)


@topic.route("POST", "/lanes/{lane}/throttle", errors=(404,))
async def throttle_lane(ask: Ask, body: bodies.Throttle) -> ThrottledLane:
    """Let no run of a lane be claimed before a time: until, or forMs from now."""
    until = moment("until", body.until)
    if until is None:
        span = length(body.for_ms)
        if span is None:
            raise BadBody(["until"], "give until or forMs; POST …/lift ends a throttle")
        until = datetime.now(UTC) + span
    row = await ask(
        calls.throttle, ask.path["lane"], until=until, reason=body.reason, actor=ask.actor
    )
    return _throttled(row)


@topic.route("POST", "/lanes/{lane}/lift", optional_body=True, errors=(404,))
async def lift_throttle(ask: Ask) -> ThrottledLane:
    """Let runs of a lane that is throttled, or whose breaker is open, be claimed again."""
    return _throttled(await ask(calls.throttle, ask.path["lane"], actor=ask.actor))


async def _lane(ask: Ask) -> OneLane:
    rows = await ask(calls.list_lanes, lanes=[ask.path["lane"]])
    if not rows:
        raise missing("lane")
    return OneLane(Lane.of(rows[0]))


def _throttled(row: LaneRow) -> ThrottledLane:
    return ThrottledLane(row.lane, objects.time(row.throttled_until), row.throttle_reason)
