"""Hearing what is said to an idle worker, on the connection it claims with; and waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from typing import Final

import psycopg

from tidebase_pg.client.connections import AsyncConnection, AsyncKept, Connection, Kept
from tidebase_pg.client.execute import listen, listen_async, unlisten, unlisten_async

CHANNEL: Final = "tide_work"
EVERYBODY: Final = "*"


class Heard:
    """What came since the last look; `alone` when it was said to this worker only."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.any = False
        self.alone = False

    def take(self, channel: str, payload: str) -> None:
        if channel == CHANNEL and payload in (self._name, EVERYBODY):
            self.any = True
            self.alone = self.alone or payload == self._name

    def forget(self) -> None:
        self.any = self.alone = False


class _Hearing:
    """Shared by both colours: one connection, and what was heard on it.

    Notifications come with the answers of queries, to the handler, and between queries, to `look`.
    """

    def __init__(self, name: str) -> None:
        self.heard = Heard(name)
        self._connection: Connection | AsyncConnection | None = None

    @property
    def open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def look(self) -> bool:
        """Whether anything has come; never waits. Raises OperationalError when the line is dead."""
        connection = self._connection
        if connection is not None and not connection.closed:
            connection.pgconn.consume_input()
            encoding = connection.info.encoding
            while (note := connection.pgconn.notifies()) is not None:
                self.heard.take(note.relname.decode(encoding), note.extra.decode(encoding))
        return self.heard.any

    def lose(self) -> None:
        """The line is dead: close it, so that whoever holds it gets another."""
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
        self.heard.take(note.channel, note.payload)


class Ear(_Hearing):
    """Listens on the connection that a worker keeps for its claims."""

    def __init__(self, name: str, kept: Kept) -> None:
        super().__init__(name)
        self._kept = kept

    def listen(self) -> bool:
        """Listen, unless it does on this connection. False where nothing can be heard."""
        connection = self._kept.acquire()
        try:
            if connection is not self._connection:
                if not listen(connection, CHANNEL):
                    return False
                self._begin(connection)
            return True
        finally:
            self._kept.release(connection)

    def wait(self, bell: Bell, seconds: float) -> None:
        """Until something is heard, the bell rings, or the time has passed."""
        connection = self._connection
        if connection is not None and not connection.closed and not self.look():
            bell.wait(seconds, connection.fileno())
            self.look()

    def close(self) -> None:
        """Leave the connection as it was; it may be of the application's pool."""
        if not self.open:
            return
        connection = self._kept.acquire()
        try:
            if self._end(connection):
                unlisten(connection, CHANNEL)
        finally:
            self._kept.release(connection)


class AsyncEar(_Hearing):
    """`Ear` for asyncio."""

    def __init__(self, name: str, kept: AsyncKept) -> None:
        super().__init__(name)
        self._kept = kept

    async def listen(self) -> bool:
        connection = await self._kept.acquire()
        try:
            if connection is not self._connection:
                if not await listen_async(connection, CHANNEL):
                    return False
                self._begin(connection)
            return True
        finally:
            await self._kept.release(connection)

    async def wait(self, bell: AsyncBell, seconds: float | None) -> None:
        """Until something is heard, the bell rings, or the time has passed."""
        connection = self._connection
        if connection is None or connection.closed or self.look():
            return
        loop, descriptor = asyncio.get_running_loop(), connection.fileno()
        # psycopg watches the same descriptor during queries; here none is under way.
        loop.add_reader(descriptor, bell.ring)
        try:
            await bell.wait(seconds)
        finally:
            loop.remove_reader(descriptor)
        self.look()

    async def close(self) -> None:
        if not self.open:
            return
        connection = await self._kept.acquire()
        try:
            if self._end(connection):
                await unlisten_async(connection, CHANNEL)
        finally:
            await self._kept.release(connection)


class Bell:
    """Wakes one thread that waits for it, also beside a socket; costs next to nothing while none
    does."""

    def __init__(self, pending: Callable[[], bool]) -> None:
        """`pending` says whether there is something to wake up for."""
        self._pending = pending
        self._waits = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def ring(self) -> None:
        """For any thread or signal handler, after what `pending` looks at."""
        if self._waits and self._pending():
            self._waits = False
            with contextlib.suppress(OSError):
                self._writer.send(b"\0")

    def wait(self, seconds: float, descriptor: int | None = None) -> None:
        """Until the bell rings, the descriptor can be read, or the time has passed."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        self._waits = True
        try:
            if not self._pending():
                poll.poll(seconds * 1000)
        finally:
            self._waits = False
            with contextlib.suppress(BlockingIOError):
                self._reader.recv(4096)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class AsyncBell:
    """`Bell` for one task of an event loop. Rung while nobody waits, it is heard by the next."""

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        self._rung = True
        self._wake()

    def hush(self) -> None:
        """Forget what was rung so far."""
        self._rung = False

    async def wait(self, seconds: float | None) -> None:
        """Until the bell rings, or the time has passed."""
        if self._rung:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
