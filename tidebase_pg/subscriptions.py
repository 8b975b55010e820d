"""Following the events of runs: one connection hears for all subscribers of a Tidebase."""

# Made from async_subscriptions.py by tools/async_to_sync.py: change that, then `make sync`.

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Final
from uuid import UUID

import psycopg

from tidebase_pg import threads
from tidebase_pg.client import Client
from tidebase_pg.client.settings import Connection
from tidebase_pg.client.statements import listen
from tidebase_pg.event_reader import EventReader
from tidebase_pg.types import EventRow
from tidebase_pg.values import RunId, told_as

CHANNELS: Final = ("tide_events", "tide_streams")

NOBODY: Final = UUID(int=0)
LOOK: Final = 0.5
"""Seconds after which the listener sees whether anybody still subscribes."""

AFTER_TROUBLE: Final = 1.0


class Seat:
    """One subscriber: its news."""

    def __init__(self) -> None:
        self.news = threads.Event()


class Following:
    """Listens for all subscribers, on one connection that is there while there are any."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seats: dict[UUID, set[Seat]] = {}
        self._lock = threads.Lock()
        self._listens = False
        self.hears = False
        """Whether notifications come; behind a pooler they do not."""

    def join(self, run_id: UUID) -> Seat:
        seat = Seat()
        with self._lock:
            self._seats.setdefault(told_as(run_id), set()).add(seat)
            if not self._listens and self._client.bound is None:
                self._listens = True
                self._begin()
        return seat

    def leave(self, run_id: UUID, seat: Seat) -> None:
        with self._lock:
            told = told_as(run_id)
            self._seats[told].discard(seat)
            if not self._seats[told]:
                del self._seats[told]

    def _begin(self) -> None:
        try:
            connection = self._client.listener()
        except psycopg.OperationalError:
            self._listens = False  # the next subscriber tries again; these poll
            return
        if self._hear(connection):
            threads.in_background(lambda: self._live(connection), "subscriptions")
        else:
            self._client.close_listener(connection)

    def _hear(self, connection: Connection) -> bool:
        try:
            for channel in CHANNELS:
                self.hears = listen(connection, channel)
        except psycopg.OperationalError:
            self.hears = False
        return self.hears

    def _live(self, connection: Connection) -> None:
        try:
            while self._seats:
                for note in connection.notifies(timeout=LOOK):
                    for seat in list(self._seats.get(_identifier(note.payload) or NOBODY, ())):
                        seat.news.set()
        except psycopg.OperationalError:
            pass
        finally:
            self.hears = self._listens = False
            for seats in list(self._seats.values()):
                for seat in list(seats):
                    seat.news.set()
            self._client.close_listener(connection)

    def listen_again(self) -> None:
        """After the connection broke."""
        with self._lock:
            if self._seats and not self._listens and self._client.bound is None:
                self._listens = True
                self._begin()


def _identifier(payload: str) -> UUID | None:
    try:
        return UUID(payload)
    except ValueError:
        return None


def subscribe(
    following: Following, client: Client, run_id: RunId, after: int
) -> Generator[EventRow]:
    """See `runs.subscribe`."""
    reader = EventReader(run_id, after)
    seat = following.join(reader.run_id)
    try:
        while not reader.over:
            if following.hears and (watch := reader.watch()) is not None:
                client.execute(watch)
            seat.news.clear()
            events = reader.take(client.execute(reader.read()))
            yield from events
            if not events:
                reader.seen(client.execute(reader.look()))
                if not reader.over:
                    began = time.monotonic()
                    heard = following.hears
                    threads.wait(seat.news, reader.pause(hearing=heard))
                    if heard and not following.hears:
                        threads.sleep(max(0.0, began + AFTER_TROUBLE - time.monotonic()))
                        following.listen_again()
    finally:
        following.leave(reader.run_id, seat)
