"""Calls about the event log of runs."""

from __future__ import annotations

from tidebase_pg.call import Call, call
from tidebase_pg.types import EventRow
from tidebase_pg.values import RunId


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
