"""Calls reconcile now and then, from a thread of its own beside a worker."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from tidebase_pg import calls
from tidebase_pg.client import Client
from tidebase_pg.client.connections import PinnedConnection, Source
from tidebase_pg.client.limits import cut
from tidebase_pg.flows import one_line

logger: Final = logging.getLogger("tidebase_pg.reconciler")

RESTING: Final = 60.0
"""Seconds between two ticks while a listening worker has nothing to do; its claims carry the
small tick."""
BUDGET: Final = 1.0
"""Seconds a tick may take."""
LIMIT: Final = 30.0


class TickSchedule:
    """When to tick; no I/O. Times are of the monotonic clock."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._ticked_at = time.monotonic()
        self.resting = False

    def due_at(self) -> float:
        return self._ticked_at + (max(RESTING, self._every) if self.resting else self._every)

    def tick_is_due(self, now: float) -> bool:
        if now < self.due_at():
            return False
        self._ticked_at = now
        return True


class Ticker:
    """A thread that ticks every so many seconds until it is stopped."""

    def __init__(self, source: Source, every: float) -> None:
        self._pinned = PinnedConnection(source)
        self._client = Client(self._pinned, patience=0.0, limit=LIMIT)
        self._schedule = TickSchedule(every)
        self._stopped = False
        self._gone = threading.Event()
        self._gone.set()
        self._news = threading.Event()

    def start(self) -> None:
        self._gone.clear()
        threading.Thread(target=self._live, name="tidebase reconcile", daemon=True).start()

    def stop(self) -> None:
        """Tick no more; returns at once."""
        self._stopped = True
        self._news.set()

    def join(self, seconds: float) -> None:
        """Wait until its connection is given back; what takes longer is cut off."""
        self._gone.wait(seconds)
        if not self._gone.is_set() and (connection := self._pinned.pinned) is not None:
            cut(connection)

    def rest(self, resting: bool) -> None:
        """Whether there is nothing to do: then it ticks less often."""
        if resting is not self._schedule.resting:
            self._schedule.resting = resting
            if not resting:
                self._news.set()

    def _live(self) -> None:
        while not self._stopped:
            self._news.wait(max(0.0, self._schedule.due_at() - time.monotonic()))
            self._news.clear()
            if self._stopped or not self._schedule.tick_is_due(time.monotonic()):
                continue
            try:
                self._client.execute(calls.reconcile(budget=BUDGET))
            except Exception as error:
                if not self._stopped:
                    logger.warning("reconcile failed, trying again: %s", one_line(error))
        self._pinned.close()
        self._gone.set()
