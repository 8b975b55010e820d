"""Calls about lanes: the limits that runs of any number of queues share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tidebase_pg.call import Call, call, truth
from tidebase_pg.documents import optional
from tidebase_pg.types import LaneRow, ListedLane


def set_lane(
    lane: str, *, settings: Mapping[str, Any] | None = None, actor: str | None = None
) -> Call[LaneRow]:
    """Make a lane or change its settings: absent keys stay as they are, null clears. total = how
    many of its runs may run at once, per_key = how many with one lane_key. Limits hold for claims
    that begin after the commit; running runs are never stopped, they count.
    """
    return call(
        "set_lane",
        LaneRow.columns(),
        LaneRow.one,
        lane=lane,
        settings=optional(settings, "settings"),
        actor=actor,
    )


def throttle(
    lane: str,
    *,
    until: datetime | None = None,
    reason: str | None = None,
    actor: str | None = None,
) -> Call[LaneRow]:
    """Let no run of a lane be claimed before a time; null or a time that has passed lifts it. Holds
    for claims that begin after the commit; running runs go on. A lane that is not set: TD010.
    """
    return call(
        "throttle",
        LaneRow.columns(),
        LaneRow.one,
        lane=lane,
        until=until,
        reason=reason,
        actor=actor,
    )


def drop_lane(lane: str, *, actor: str | None = None) -> Call[bool]:
    """Remove a lane; false = there was none. Its runs stay: from now on nothing limits them, and
    those that wait go on, a thousand at once and the others by upkeep.
    """
    return call("drop_lane", "drop_lane", truth, lane=lane, actor=actor)


def list_lanes(*, lanes: Sequence[str] | None = None) -> Call[list[ListedLane]]:
    """All lanes, or those given: limits, how many of their runs run and how many wait for a place,
    each counted to 10001 and no further, the twenty keys with most of them, and until when the lane
    is throttled, null = it is not.
    """
    return call("list_lanes", ListedLane.columns(), ListedLane.many, lanes=lanes)
