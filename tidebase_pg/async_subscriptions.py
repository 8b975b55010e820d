"""Following the events of runs: one connection hears for all subscribers of a Tidebase."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

import psycopg

from tidebase_pg import tasks
from tidebase_pg.client import AsyncClient
from tidebase_pg.client.async_statements import listen
from tidebase_pg.client.settings import AsyncConnection
from tidebase_pg.event_reader import EventReader
from tidebase_pg.types import EventRow
from tidebase_pg.values import RunId, told_as

CHANNELS: Final = ("tide_events", "tide_streams")

NOBODY: Final = UUID(int=0)
LOOK: Final = 0.5
"""Seconds after which the listener sees whether anybody still subscribes."""

AFTER_TROUBLE: Final = 1.0


class AsyncSeat:
    """One subscriber: its news."""

    def __init__(self) -> None:
        self.news = tasks.Event()


class AsyncFollowing:
    """Listens for all subscribers, on one connection that is there while there are any."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._seats: dict[UUID, set[AsyncSeat]] = {}
        self._lock = tasks.Lock()
        self._listens = False
        self.hears = False
        """Whether notifications come; behind a pooler they do not."""

    async def join(self, run_id: UUID) -> AsyncSeat:
        seat = AsyncSeat()
        async with self._lock:
            self._seats.setdefault(told_as(run_id), set()).add(seat)
            if not self._listens and self._client.bound is None:
                self._listens = True
                await self._begin()
        return seat

    async def leave(self, run_id: UUID, seat: AsyncSeat) -> None:
        async with self._lock:
            told = told_as(run_id)
            self._seats[told].discard(seat)
            if not self._seats[told]:
                del self._seats[told]

    async def _begin(self) -> None:
        try:
            connection = await self._client.listener()
        except psycopg.OperationalError:
            self._listens = False  # the next subscriber tries again; these poll
            return
        if await self._hear(connection):
            tasks.in_background(lambda: self._live(connection), "subscriptions")
        else:
            await self._client.close_listener(connection)

    async def _hear(self, connection: AsyncConnection) -> bool:
        try:
            for channel in CHANNELS:
                self.hears = await listen(connection, channel)
        except psycopg.OperationalError:
            self.hears = False
        return self.hears

    async def _live(self, connection: AsyncConnection) -> None:
        try:
            while self._seats:
                async for note in connection.notifies(timeout=LOOK):
                    for seat in list(self._seats.get(_identifier(note.payload) or NOBODY, ())):
                        seat.news.set()
        except psycopg.OperationalError:
            pass
        finally:
            self.hears = self._listens = False
            for seats in list(self._seats.values()):
                for seat in list(seats):
                    seat.news.set()
            await self._client.close_listener(connection)

    async def listen_again(self) -> None:
        """After the connection broke."""
        async with self._lock:
            if self._seats and not self._listens and self._client.bound is None:
                self._listens = True
                await self._begin()


def _identifier(payload: str) -> UUID | None:
    try:
        return UUID(payload)
    except ValueError:
        return None


async def subscribe(
    following: AsyncFollowing, client: AsyncClient, run_id: RunId, after: int
) -> AsyncGenerator[EventRow]:
    """See `runs.subscribe`."""
    reader = EventReader(run_id, after)
    seat = await following.join(reader.run_id)
    try:
        while not reader.over:
            if following.hears and (watch := reader.watch()) is not None:
                await client.execute(watch)
            seat.news.clear()
            events = reader.take(await client.execute(reader.read()))
            for event in events:
                yield event
            if not events:
                reader.seen(await client.execute(reader.look()))
                if not reader.over:
                    began = time.monotonic()
                    heard = following.hears
                    await tasks.wait(seat.news, reader.pause(hearing=heard))
                    if heard and not following.hears:
                        await tasks.sleep(max(0.0, began + AFTER_TROUBLE - time.monotonic()))
                        await following.listen_again()
    finally:
        await following.leave(reader.run_id, seat)
