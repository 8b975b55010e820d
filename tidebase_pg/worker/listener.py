"""Notifications for a worker, on the connection it claims with; and waiting for them."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from typing import Final
from uuid import UUID

import psycopg

from tidebase_pg.client import async_statements, statements
from tidebase_pg.client.async_connections import AsyncPinnedConnection
from tidebase_pg.client.connections import PinnedConnection
from tidebase_pg.client.settings import AsyncConnection, Connection
from tidebase_pg.values import told_as

CHANNEL: Final = "tide_work"
LONGEST_WAIT: Final = 0.5
"""Seconds after which a blocked wait looks up: Python notices a signal that arrives just before
the wait begins only at its end."""
EVERY_WORKER: Final = "*"
STOPPED: Final = "!"
"""After what a session is called: a run it holds has been cancelled."""


class Inbox:
    """What came since the last look; `alone` when it was said to this worker only."""

    def __init__(self, waiter: str, session_id: UUID) -> None:
        """`session_id` is the secret under which the worker holds its runs."""
        self._waiter = str(told_as(waiter))
        self._holder = str(told_as(session_id))
        self.any = False
        self.alone = False
        self.stopped = False
        """Whether one of its runs has been cancelled."""

    def take(self, channel: str, payload: str) -> None:
        if channel == CHANNEL and payload == self._holder + STOPPED:
            self.stopped = True
        if channel == CHANNEL and payload in (self._waiter, EVERY_WORKER):
            self.any = True
            self.alone = self.alone or payload == self._waiter

    def forget(self) -> None:
        self.any = self.alone = self.stopped = False


class _Listening:
    """Shared by both colours: one connection, and what came on it.

    Notifications come with the answers of queries, to the handler, and between queries, to `look`.
    """

    def __init__(self, waiter: str, session_id: UUID) -> None:
        self.inbox = Inbox(waiter, session_id)
        self._connection: Connection | AsyncConnection | None = None

    @property
    def open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def look(self) -> bool:
        """Whether anything has come; never waits. Raises OperationalError when it is broken."""
        connection = self._connection
        if connection is not None and not connection.closed:
            connection.pgconn.consume_input()
            encoding = connection.info.encoding
            while (note := connection.pgconn.notifies()) is not None:
                self.inbox.take(note.relname.decode(encoding), note.extra.decode(encoding))
        return self.inbox.any or self.inbox.stopped

    def drop(self) -> None:
        """The connection is broken: close it, so that its user gets another."""
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None

    def _begin(self, connection: Connection | AsyncConnection) -> None:
        connection.add_notify_handler(self._take)
        self._connection = connection

    def _end(self, connection: Connection | AsyncConnection) -> bool:
        """Whether there is something to take back on this connection."""
        if self._connection is None or self._connection is not connection or connection.closed:
            return False
        connection.remove_notify_handler(self._take)
        self._connection = None
        return True

    def _take(self, note: psycopg.Notify) -> None:
        self.inbox.take(note.channel, note.payload)


class Listener(_Listening):
    """Listens on the connection that a worker keeps for its claims."""

    def __init__(self, waiter: str, session_id: UUID, pinned: PinnedConnection) -> None:
        super().__init__(waiter, session_id)
        self._pinned = pinned

    def listen(self) -> bool:
        """Listen, unless it does on this connection. False where nothing can be heard."""
        connection = self._pinned.acquire()
        try:
            if connection is not self._connection:
                if not statements.listen(connection, CHANNEL):
                    return False
                self._begin(connection)
            return True
        finally:
            self._pinned.release(connection)

    def wait(self, waker: Waker, seconds: float | None) -> None:
        """Until something comes, the waker wakes, or the time has passed."""
        connection = self._connection
        if connection is not None and not connection.closed and not self.look():
            waker.wait(seconds, connection.fileno())
            self.look()

    def close(self) -> None:
        """Leave the connection as it was; it may be of the application's pool."""
        if not self.open:
            return
        connection = self._pinned.acquire()
        try:
            if self._end(connection):
                statements.unlisten(connection, CHANNEL)
        finally:
            self._pinned.release(connection)


class AsyncListener(_Listening):
    """`Listener` for asyncio."""

    def __init__(self, waiter: str, session_id: UUID, pinned: AsyncPinnedConnection) -> None:
        super().__init__(waiter, session_id)
        self._pinned = pinned

    async def listen(self) -> bool:
        connection = await self._pinned.acquire()
        try:
            if connection is not self._connection:
                if not await async_statements.listen(connection, CHANNEL):
                    return False
                self._begin(connection)
            return True
        finally:
            await self._pinned.release(connection)

    async def wait(self, waker: AsyncWaker, seconds: float | None) -> None:
        """Until something comes, the waker wakes, or the time has passed."""
        connection = self._connection
        if connection is None or connection.closed or self.look():
            return
        loop, descriptor = asyncio.get_running_loop(), connection.fileno()
        # psycopg watches the same descriptor during queries; here none is under way.
        loop.add_reader(descriptor, waker.wake_now)
        try:
            await waker.wait(seconds)
        finally:
            loop.remove_reader(descriptor)
        self.look()

    async def close(self) -> None:
        if not self.open:
            return
        connection = await self._pinned.acquire()
        try:
            if self._end(connection):
                await async_statements.unlisten(connection, CHANNEL)
        finally:
            await self._pinned.release(connection)


class Waker:
    """Wakes one thread that waits for it, also beside a socket; costs next to nothing while none
    does."""

    def __init__(self, pending: Callable[[], bool]) -> None:
        """`pending` says whether there is something to wake up for."""
        self._pending = pending
        self._waits = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def wake(self) -> None:
        """For any thread or signal handler, after what `pending` looks at."""
        if self._waits and self._pending():
            self._waits = False
            with contextlib.suppress(OSError):
                self._writer.send(b"\0")

    def wait(self, seconds: float | None, descriptor: int | None = None) -> None:
        """Until the waker wakes, the descriptor can be read, or some time has passed."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        self._waits = True
        try:
            if not self._pending():
                longest = LONGEST_WAIT if seconds is None else min(seconds, LONGEST_WAIT)
                poll.poll(longest * 1000)
        finally:
            self._waits = False
            with contextlib.suppress(BlockingIOError):
                self._reader.recv(4096)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class AsyncWaker:
    """`Waker` for one task."""

    def __init__(self, pending: Callable[[], bool]) -> None:
        """`pending` says whether there is something to wake up for."""
        self._pending = pending
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """After what `pending` looks at."""
        if self._waiter is not None and self._pending():
            self.wake_now()

    def wake_now(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Until the waker wakes, or the time has passed."""
        if self._pending():
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.wake_now)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """There is nothing to close."""
