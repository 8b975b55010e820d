"""Polls of many idle workers: one claim looks for all of them."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeVar

from tidebase_pg.types import RunRow

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Claim = Callable[[], Awaitable[list[RunRow]]]

PAUSE: Final = 0.05
"""Seconds between the beginnings of two claims from queues that have nothing ready."""
NOTED: Final = 10.0
"""Seconds after which the database notes a worker again, so each makes a claim of its own then."""
MOST: Final = 10_000


class Polls:
    """Claims from queues that had nothing ready are made at most every PAUSE seconds.

    Nothing is answered from memory: a poll shares only a claim that began after the poll came, and
    only its answer that there is nothing.
    """

    def __init__(self) -> None:
        self._due: OrderedDict[Hashable, float] = OrderedDict()
        self._noted: OrderedDict[tuple[Hashable, str], float] = OrderedDict()
        self._next: dict[Hashable, asyncio.Task[list[RunRow]]] = {}

    async def claim(self, polled: Hashable, worker: str, claim: Claim) -> list[RunRow]:
        """The answer to a claim. `polled`: what makes two of them find the same, if they find
        nothing."""
        seen = self._noted.get((polled, worker))
        if polled not in self._due or seen is None or seen + NOTED <= time.monotonic():
            rows = await self._look(polled, claim)
            _keep(self._noted, (polled, worker), time.monotonic())
            return rows
        following = self._next.get(polled)
        if following is None:
            self._next[polled] = asyncio.create_task(self._look_when_due(polled, claim))
            return await asyncio.shield(self._next[polled])
        await asyncio.wait([following])
        nothing = not following.cancelled() and not following.exception() and not following.result()
        return [] if nothing else await self._look(polled, claim)

    async def _look_when_due(self, polled: Hashable, claim: Claim) -> list[RunRow]:
        try:
            await asyncio.sleep(max(0.0, self._due.get(polled, 0.0) - time.monotonic()))
        finally:
            del self._next[polled]
        return await self._look(polled, claim)

    async def _look(self, polled: Hashable, claim: Claim) -> list[RunRow]:
        began = time.monotonic()
        rows = await claim()
        if rows:
            self._due.pop(polled, None)
        else:
            _keep(self._due, polled, max(began + PAUSE, self._due.get(polled, 0.0)))
        return rows


def _keep(known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > MOST:
        known.popitem(last=False)
