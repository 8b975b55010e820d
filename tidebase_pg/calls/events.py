"""Calls about the event log of runs."""

from __future__ import annotations

from collections.abc import Sequence

from tidebase_pg.call import Call, call
from tidebase_pg.types import EventRow, Row
from tidebase_pg.values import Duration, RunId


def list_events(
    run_id: RunId, *, after: int | None = None, max_events: int | None = None
) -> Call[list[EventRow]]:
    """Events of a run with seq greater than after, oldest first; unknown run: TD010."""
    return call(
        "list_events",
        EventRow.columns(),
        EventRow.many,
        run_id=run_id,
        after=after,
        max_events=max_events,
    )


def outline_events(
    run_id: RunId, *, after: int | None = None, max_events: int | None = None
) -> Call[list[EventRow]]:
    """As list_events, with nothing in the payloads: for those who may not see what runs carry."""
    return call(
        "outline_events",
        EventRow.columns(),
        EventRow.many,
        run_id=run_id,
        after=after,
        max_events=max_events,
    )


def watch_run(run_id: RunId, *, duration: Duration | None = None) -> Call[None]:
    """Have events of a run notified on channel tide_events for a while; the payload is a uuid of
    the first 16 bytes of the sha256 of its id. Listen first, then watch, then read: nothing is
    missed.
    """
    return call("watch_run", "true", _nothing, run_id=run_id, duration=duration)


def _nothing(rows: Sequence[Row]) -> None:
    return None
