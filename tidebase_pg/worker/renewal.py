"""The heart of a process: renews all its leases, notices cancellation, runs the tick."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Collection
from typing import Final

from tidebase_pg import calls
from tidebase_pg.client.execute import AsyncClient, Client
from tidebase_pg.flows import one_line
from tidebase_pg.types import Beat
from tidebase_pg.worker.active_run import Holding, due, heartbeat, judge

logger: Final = logging.getLogger("tidebase_pg.heartbeat")

MOST_RUNS: Final = 1000
AFTER_TROUBLE: Final = 1.0
RESTING: Final = 60.0
"""Seconds between two ticks while a listening worker has nothing to do; its claims carry the
small tick."""


class Rhythm:
    """When to do what; shared by both colours. Times are of the monotonic clock."""

    def __init__(
        self, lease: float, reconcile: float | None, holdings: Collection[Holding] | None = None
    ) -> None:
        """`holdings`: the runs of somebody else's collection instead of those added one by one.
        Other threads change it: it is only ever copied by list(), which none can interrupt."""
        self.lease = lease
        self.interval = lease / 3
        self.reconcile = reconcile
        self._added: set[Holding] = set()
        self.holdings: Collection[Holding] = self._added if holdings is None else holdings
        now = time.monotonic()
        self._beat_at = now + self.interval
        self._ticked_at = now
        self.resting = False

    def add(self, holding: Holding) -> None:
        self._added.add(holding)

    def discard(self, holding: Holding) -> None:
        self._added.discard(holding)

    def pause(self) -> float:
        return max(0.0, min(self._beat_at, self._tick_at()) - time.monotonic())

    def to_renew(self, now: float) -> list[Holding]:
        """The runs whose turn it is; a run claimed just now can wait for the next beat."""
        if now < self._beat_at:
            return []
        self._beat_at = now + self.interval
        return due(list(self.holdings), now, self.interval / 2)

    def renewed(self, holdings: list[Holding], beats: list[Beat], sent_at: float) -> None:
        judge(holdings, beats, sent_at)

    def fence(self) -> None:
        now = time.monotonic()
        for holding in list(self.holdings):
            holding.fence(now)

    def tick_is_due(self, now: float) -> bool:
        if now < self._tick_at():
            return False
        self._ticked_at = now
        return True

    def _tick_at(self) -> float:
        if self.reconcile is None:
            return float("inf")
        return self._ticked_at + (max(RESTING, self.reconcile) if self.resting else self.reconcile)

    @property
    def budget(self) -> float:
        """Seconds a tick may take: never so many that a beat comes too late."""
        return min(1.0, self.interval / 2)

    def trouble(self, error: Exception) -> None:
        """A failed beat is repeated soon; the runs go on until their leases have ended."""
        logger.warning("heartbeat or tick failed, trying again: %s", one_line(error))
        self._beat_at = min(self._beat_at, time.monotonic() + min(AFTER_TROUBLE, self.interval / 4))


class Heart:
    """A thread that beats for all runs given to it, until it is stopped."""

    def __init__(
        self,
        client: Client,
        lease: float,
        *,
        reconcile: float | None = None,
        holdings: Collection[Holding] | None = None,
    ) -> None:
        self._client = client
        self._rhythm = Rhythm(lease, reconcile, holdings)
        self._stopped = False
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._live, name="tidebase heartbeat", daemon=True)
        self.add = self._rhythm.add
        self.discard = self._rhythm.discard

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._news.set()

    def rest(self, resting: bool) -> None:
        """Whether there is nothing to do: then it ticks less often."""
        if resting is not self._rhythm.resting:
            self._rhythm.resting = resting
            if not resting:
                self._news.set()

    def _live(self) -> None:
        while True:
            self._news.wait(self._rhythm.pause())
            self._news.clear()
            if self._stopped:
                return
            try:
                self._beat()
            except Exception as error:
                self._rhythm.trouble(error)
            self._rhythm.fence()

    def _beat(self) -> None:
        now = time.monotonic()
        held = self._rhythm.to_renew(now)
        for start in range(0, len(held), MOST_RUNS):
            some = held[start : start + MOST_RUNS]
            sent_at = time.monotonic()
            beats = self._client.execute(heartbeat(some, self._rhythm.lease))
            self._rhythm.renewed(some, beats, sent_at)
        if self._rhythm.tick_is_due(now):
            self._client.execute(calls.reconcile(budget=self._rhythm.budget))


class AsyncHeart:
    """`Heart` as a task."""

    def __init__(
        self,
        client: AsyncClient,
        lease: float,
        *,
        reconcile: float | None = None,
        holdings: Collection[Holding] | None = None,
    ) -> None:
        self._client = client
        self._rhythm = Rhythm(lease, reconcile, holdings)
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.add = self._rhythm.add
        self.discard = self._rhythm.discard

    def start(self) -> None:
        self._task = asyncio.create_task(self._live(), name="tidebase heartbeat")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def rest(self, resting: bool) -> None:
        """Whether there is nothing to do: then it ticks less often."""
        if resting is not self._rhythm.resting:
            self._rhythm.resting = resting
            if not resting:
                self._news.set()

    async def _live(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._rhythm.pause())
            self._news.clear()
            try:
                await self._beat()
            except Exception as error:
                self._rhythm.trouble(error)
            self._rhythm.fence()

    async def _beat(self) -> None:
        now = time.monotonic()
        held = self._rhythm.to_renew(now)
        for start in range(0, len(held), MOST_RUNS):
            some = held[start : start + MOST_RUNS]
            sent_at = time.monotonic()
            beats = await self._client.execute(heartbeat(some, self._rhythm.lease))
            self._rhythm.renewed(some, beats, sent_at)
        if self._rhythm.tick_is_due(now):
            await self._client.execute(calls.reconcile(budget=self._rhythm.budget))
