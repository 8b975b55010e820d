"""Renews the leases of runs, from a thread of its own that shares its connection with nothing.

What is not renewed in time is given up by the watch, which waits for no database.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from typing import Final
from weakref import WeakKeyDictionary

from tidebase_pg.client import AsyncClient, Client
from tidebase_pg.client.connections import PinnedConnection, Source
from tidebase_pg.client.limits import cut, watch
from tidebase_pg.client.thread_sources import InTransaction, thread_source
from tidebase_pg.flows import one_line
from tidebase_pg.worker.active_run import ActiveRun, due, heartbeat, judge

logger: Final = logging.getLogger("tidebase_pg.renewal")

MOST_RUNS: Final = 1000
AFTER_TROUBLE: Final = 1.0
SHORTEST_LIMIT: Final = 0.5
IDLE: Final = 30.0
"""Seconds without a run after which the thread ends; the next run begins another."""


class RenewalSchedule:
    """Which leases to renew when; no I/O. Times are of the monotonic clock."""

    def __init__(self, runs: Collection[ActiveRun] | None = None) -> None:
        """`runs`: another collection instead of those added one by one. Other threads change it:
        it is only ever copied by list(), which none can interrupt."""
        self._added: set[ActiveRun] = set()
        self._runs: Collection[ActiveRun] = self._added if runs is None else runs
        self._again_at = 0.0
        self._hurried = False

    def hurry(self) -> None:
        self._hurried = True

    def add(self, run: ActiveRun) -> None:
        self._added.add(run)

    def discard(self, run: ActiveRun) -> None:
        self._added.discard(run)

    @property
    def runs(self) -> list[ActiveRun]:
        return list(self._runs)

    def pause(self, longest: float) -> float:
        """Seconds until a lease is to be renewed."""
        now = time.monotonic()
        moments = [run.renewed_at + run.lease / 3 for run in self.runs if run.stop is None]
        wait = min(moments, default=now + longest) - now
        return max(0.0, min(max(wait, self._again_at - now), longest))

    def to_renew(self, now: float) -> Iterator[tuple[float, list[ActiveRun]]]:
        """The runs whose turn it is, by the length of their leases; those due soon go along."""
        by_lease: dict[float, list[ActiveRun]] = {}
        hurried, self._hurried = self._hurried, False
        for run in self.runs:
            by_lease.setdefault(run.lease, []).append(run)
        for lease, runs in by_lease.items():
            if hurried or due(runs, now, lease / 3):
                turn = due(runs, now, 0.0 if hurried else lease / 6)
                for start in range(0, len(turn), MOST_RUNS):
                    yield lease, turn[start : start + MOST_RUNS]

    def fence(self, now: float) -> None:
        for run in self.runs:
            run.fence(now)

    def trouble(self, error: Exception) -> None:
        """A failed renewal is repeated soon; the runs go on until their leases have ended."""
        logger.warning("leases could not be renewed, trying again: %s", one_line(error))
        shortest = min((run.lease for run in self.runs), default=AFTER_TROUBLE)
        self._again_at = time.monotonic() + min(AFTER_TROUBLE, shortest / 12)


class LeaseRenewer:
    """A thread that renews the leases of all runs given to it."""

    _known: Final[WeakKeyDictionary[Client | AsyncClient, LeaseRenewer]] = WeakKeyDictionary()

    @classmethod
    def of(cls, client: Client | AsyncClient) -> LeaseRenewer:
        """The renewer of the runs that are worked on over this client."""
        found = cls._known.get(client)
        if found is None:
            found = LeaseRenewer(thread_source(client), beside=client.bound is not None)
            cls._known[client] = found
        return found

    def __init__(
        self,
        source: Source,
        *,
        lease: float = 60.0,
        runs: Collection[ActiveRun] | None = None,
        beside: bool = False,
    ) -> None:
        """`lease` is the length of most leases: a third of it limits each call. `beside` a
        connection of a caller each renewal has to look first whether a transaction is open."""
        self._pinned = PinnedConnection(source)
        limit = max(lease / 3, SHORTEST_LIMIT)
        self._client = Client(source if beside else self._pinned, patience=0.0, limit=limit)
        self._schedule = RenewalSchedule(runs)
        self._lease = lease
        self._own = runs is None
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._alive = False
        self._gone = threading.Event()
        self._gone.set()
        self._stopped = False

    def take_connection(self) -> None:
        """Connect now, so that what runs later cannot leave it without a connection."""
        self._pinned.release(self._pinned.acquire())

    def add(self, run: ActiveRun) -> None:
        self._schedule.add(run)
        self.start()

    def discard(self, run: ActiveRun) -> None:
        self._schedule.discard(run)

    def start(self) -> None:
        watch.add(self)
        with self._lock:
            if not self._alive:
                self._alive = True
                self._gone.clear()
                threading.Thread(
                    target=self._live, name="tidebase lease renewal", daemon=True
                ).start()
        self._news.set()

    def stop(self) -> None:
        """Renew nothing more; returns at once."""
        self._stopped = True
        watch.discard(self)
        self._news.set()

    def join(self, seconds: float) -> None:
        """Wait until its connection is given back; what takes longer is cut off."""
        self._gone.wait(seconds)
        if not self._gone.is_set() and (connection := self._pinned.pinned) is not None:
            cut(connection)

    def look_now(self) -> None:
        """Renew all leases at once: one of the runs is said to have stopped."""
        self._schedule.hurry()
        self._news.set()

    def rest(self, resting: bool) -> None:
        """Whether there is nothing to hold: then nothing is looked at."""
        if resting:
            watch.discard(self)
        else:
            watch.add(self)

    def check(self, now: float) -> None:
        """Give up what was not renewed in time; called by the watch."""
        self._schedule.fence(now)

    def _live(self) -> None:
        idle_since = time.monotonic()
        while not self._stopped:
            longest = min(self._lease / 3, IDLE)
            self._news.wait(self._schedule.pause(longest))
            self._news.clear()
            try:
                self._renew()
            except Exception as error:
                self._schedule.trouble(error)
            if self._schedule.runs or not self._own:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > IDLE:
                with self._lock:
                    if not self._schedule.runs:
                        self._alive = False
                        watch.discard(self)
                        break
        self._pinned.close()
        self._gone.set()

    def _renew(self) -> None:
        for lease, runs in list(self._schedule.to_renew(time.monotonic())):
            sent_at = time.monotonic()
            try:
                beats = self._client.execute(heartbeat(runs, lease))
            except InTransaction:
                for run in runs:
                    run.judge("busy", sent_at)
            else:
                judge(runs, beats, sent_at)
