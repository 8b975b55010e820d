"""Following the events of one run: listen, then read; or poll where nothing can be heard."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Generator
from typing import Final
from uuid import UUID

import psycopg

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.client.connections import AsyncConnection, Connection
from tidebase_pg.client.execute import AsyncClient, Client, listen, listen_async
from tidebase_pg.types import EventRow, RunRow
from tidebase_pg.values import RunId, identifier, whole

CHANNEL: Final = "tide_events"
WATCH: Final = 60.0
"""Seconds for which the events of the run are notified; renewed at half-time."""
MOST_EVENTS: Final = 1000
SHORTEST_PAUSE: Final = 0.02
LONGEST_HEARING: Final = 5.0
"""Seconds between two looks of one who hears: an event of a transaction that was open when the
watch began is not notified."""
LONGEST_POLLING: Final = 1.0
LAST: Final = frozenset({"run.completed", "run.failed", "run.cancelled"})
AGAIN: Final = "run.retried"


class Subscription:
    """What to ask next and when; shared by both colours."""

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


def subscribe(client: Client, run_id: RunId, after: int) -> Generator[EventRow]:
    """See `runs.subscribe`."""
    subscription = Subscription(run_id, after)
    with contextlib.ExitStack() as stack:
        ear = _Ear(client, stack)
        while not subscription.over:
            if ear.hears and (watch := subscription.watch()) is not None:
                client.execute(watch)
            events = subscription.take(client.execute(subscription.read()))
            yield from events
            if not events:
                subscription.seen(client.execute(subscription.look()))
                if not subscription.over:
                    ear.wait(subscription.run_id, subscription.pause(hearing=ear.hears))


async def subscribe_async(
    client: AsyncClient, run_id: RunId, after: int
) -> AsyncGenerator[EventRow]:
    """See `runs.subscribe`."""
    subscription = Subscription(run_id, after)
    async with contextlib.AsyncExitStack() as stack:
        ear = _AsyncEar()
        await ear.open(client, stack)
        while not subscription.over:
            if ear.hears and (watch := subscription.watch()) is not None:
                await client.execute(watch)
            events = subscription.take(await client.execute(subscription.read()))
            for event in events:
                yield event
            if not events:
                subscription.seen(await client.execute(subscription.look()))
                if not subscription.over:
                    await ear.wait(subscription.run_id, subscription.pause(hearing=ear.hears))


class _Ear:
    """Waits for a notification about a run on a connection of its own, or for the time to pass."""

    def __init__(self, client: Client, stack: contextlib.ExitStack) -> None:
        self._connection: Connection | None = None
        if client.bound:
            return
        connection = stack.enter_context(client.listener())
        with contextlib.suppress(psycopg.OperationalError):
            if listen(connection, CHANNEL):
                self._connection = connection

    @property
    def hears(self) -> bool:
        return self._connection is not None

    def wait(self, run_id: UUID, seconds: float) -> None:
        give_up_at = time.monotonic() + seconds
        try:
            while self._connection is not None and (left := give_up_at - time.monotonic()) > 0:
                for note in self._connection.notifies(timeout=left, stop_after=1):
                    if note.payload == str(run_id):
                        return
        except psycopg.OperationalError:
            self._connection = None
        time.sleep(max(0.0, give_up_at - time.monotonic()))


class _AsyncEar:
    """`_Ear` for asyncio."""

    def __init__(self) -> None:
        self._connection: AsyncConnection | None = None

    async def open(self, client: AsyncClient, stack: contextlib.AsyncExitStack) -> None:
        if client.bound:
            return
        connection = await stack.enter_async_context(client.listener())
        with contextlib.suppress(psycopg.OperationalError):
            if await listen_async(connection, CHANNEL):
                self._connection = connection

    @property
    def hears(self) -> bool:
        return self._connection is not None

    async def wait(self, run_id: UUID, seconds: float) -> None:
        give_up_at = time.monotonic() + seconds
        try:
            while self._connection is not None and (left := give_up_at - time.monotonic()) > 0:
                async for note in self._connection.notifies(timeout=left, stop_after=1):
                    if note.payload == str(run_id):
                        return
        except psycopg.OperationalError:
            self._connection = None
        await asyncio.sleep(max(0.0, give_up_at - time.monotonic()))
