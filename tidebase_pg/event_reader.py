"""What a subscriber of a run's events asks next, and when; no I/O."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.types import EventRow, RunRow
from tidebase_pg.values import RunId, identifier, whole

WATCH: Final = 60.0
"""Seconds for which the events of the run are notified; renewed at half-time."""
MOST_EVENTS: Final = 1000
SHORTEST_PAUSE: Final = 0.02
LONGEST_HEARING: Final = 5.0
"""Seconds between two looks of one that is notified: an event of a transaction that was open when
the watch began is not notified."""
LONGEST_POLLING: Final = 1.0
LAST: Final = frozenset({"run.completed", "run.failed", "run.cancelled"})
AGAIN: Final = "run.retried"


class EventReader:
    """The position of one subscriber of one run."""

    def __init__(self, run_id: RunId, after: int) -> None:
        self.run_id: UUID = identifier("run_id", run_id)
        self.after = whole("after", after, 0, 2**31 - 1)
        self.over = False
        self._ended = False
        self._renew_at = 0.0
        self._pause = SHORTEST_PAUSE

    def watch(self) -> Call[None] | None:
        """The call that has events notified, when it is due."""
        now = time.monotonic()
        if now < self._renew_at:
            return None
        self._renew_at = now + WATCH / 2
        return calls.watch_run(self.run_id, duration=WATCH)

    def read(self) -> Call[list[EventRow]]:
        return calls.list_events(self.run_id, after=self.after, max_events=MOST_EVENTS)

    def take(self, events: list[EventRow]) -> list[EventRow]:
        """The events to hand out of those read; the one that ended the run is the last."""
        if not events:
            return events
        self._pause = SHORTEST_PAUSE
        kept = len(events)
        for place, event in enumerate(events, 1):
            if event.type in LAST:
                self._ended, kept = True, place
            elif event.type == AGAIN:
                self._ended, kept = False, len(events)
        if self._ended and len(events) < MOST_EVENTS:
            self.over = True
            events = events[:kept]
        self.after = events[-1].seq
        return events

    def look(self) -> Call[RunRow]:
        """Asked when nothing was read: whether anything can still come."""
        return calls.get_run(self.run_id)

    def seen(self, run: RunRow) -> None:
        self.over = self._ended or (run.finished and self.after >= run.last_seq)

    def pause(self, *, hearing: bool) -> float:
        """Seconds until the next look, longer each time nothing came."""
        pause = self._pause
        self._pause = min(pause * 2, LONGEST_HEARING if hearing else LONGEST_POLLING)
        return pause
