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
    many of its runs may run at once, per_key = how many with one lane_key. adaptive = total is
    halved, to no less than adaptive_min, default 1, when a run is refused, and rises again by one
    as often as so many runs completed. units = how many units they may use within any period
    (default 1 minute), units_per_key = those with one lane_key; unit = what of record_usage counts
    as used, such as tokens. After breaker_failures in a row of breaker_classes, types of errors or
    failure classes, it opens: none is claimed, and after breaker_delay, 30 seconds, one probes; a
    probe that fails so doubles it, to breaker_max_delay, 10 minutes. fair = its keys are served in
    turn, those in weights, an object, so many times while others are served once. Settings hold for
    claims that begin after the commit; running runs are never stopped, they count.
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
    """Let no run of a lane be claimed before a time; null or a time that has passed lifts it, and
    closes its breaker. Holds for claims that begin after the commit; running runs go on. A lane
    that is not set: TD010.
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
    """All lanes, or those given: limits, how many of their runs and steps run and how many wait,
    each counted to counted_to and no further, so a number that reaches it may be more: 10001, or
    less where more than a hundred lanes have over a hundred, so that all counts are a million at
    most; the twenty keys with most of them, and until when the lane is throttled, null = it is not.
    Of a breaker: the failures in a row, with failed probes while it is open, the last failure,
    since when it is open, null = it is closed, and when a run probes next. fair = its keys are
    served in turn, by weights. used = how many of its units are used in the period. adaptive_limit
    = how many runs of an adaptive lane may run at once now.
    """
    return call("list_lanes", ListedLane.columns(), ListedLane.many, lanes=lanes)
