"""Where connections come from: a DSN, a pool, or one pinned for one purpose, for asyncio."""

from __future__ import annotations

from typing import Protocol

import psycopg
from psycopg_pool import AsyncConnectionPool

from tidebase_pg import tasks
from tidebase_pg.client.meeting import Primary
from tidebase_pg.client.settings import (
    MAX_CONNECTIONS,
    PLACE_LIMIT,
    READ_COMMITTED,
    AsyncConnection,
    AsyncPool,
    environment,
    parameters,
    usable,
)
from tidebase_pg.errors import NoPlace
from tidebase_pg.tasks import ASYNC

if ASYNC:
    from psycopg_pool import AsyncConnectionPool
else:
    pass


class AsyncSource(Protocol):
    """Gives connections in autocommit mode, each to one user at a time."""

    @property
    def primary(self) -> Primary: ...
    async def acquire(self) -> AsyncConnection: ...
    async def release(self, connection: AsyncConnection) -> None: ...
    async def close(self) -> None: ...


class AsyncRoom:
    """The connections made in one process and event loop."""

    def __init__(self, places: int) -> None:
        self.places = tasks.Semaphore(places)
        self.idle: list[AsyncConnection] = []


class AsyncFromDsn:
    """Up to so many connections, made when needed and kept for the next user.

    Each process and each event loop has its own: a fork leaves those of its parent alone.
    """

    def __init__(self, dsn: str, places: int = MAX_CONNECTIONS) -> None:
        self.dsn = dsn
        self.places = places
        self.primary = Primary()
        self._parameters = parameters(dsn)
        self._rooms: tasks.Homes[AsyncRoom] = tasks.Homes(lambda: AsyncRoom(places))
        self._closed = False

    async def acquire(self) -> AsyncConnection:
        """Raises NoPlace when all are in use for PLACE_LIMIT seconds."""
        room = self._rooms.here()
        if not await tasks.acquired(room.places, PLACE_LIMIT):
            raise NoPlace(
                f"all {self.places} connections of this Tidebase were in use for "
                f"{PLACE_LIMIT:g} s: give it a pool that is larger, or hold them for less time"
            )
        try:
            while room.idle:
                connection = room.idle.pop()
                if usable(connection):
                    return connection
                await connection.close()
            return await self.connect()
        except BaseException:
            room.places.release()
            raise

    async def connect(self) -> AsyncConnection:
        """One more, which takes no place of the others'; its user closes it."""
        connection = await psycopg.AsyncConnection.connect(**self._parameters)
        await connection.set_isolation_level(READ_COMMITTED)
        return connection

    async def release(self, connection: AsyncConnection) -> None:
        room = self._rooms.here()
        room.places.release()
        if self._closed or not usable(connection):
            await connection.close()
        else:
            room.idle.append(connection)

    async def close(self) -> None:
        self._closed = True
        room = self._rooms.here()
        while room.idle:
            await room.idle.pop().close()


class AsyncFromPool:
    """Connections of the application's pool; while they are ours in autocommit mode, and READ
    COMMITTED within transactions."""

    def __init__(self, pool: AsyncPool) -> None:
        self.pool = pool
        self.primary = Primary()
        self._before: dict[AsyncConnection, tuple[bool, psycopg.IsolationLevel | None]] = {}

    async def acquire(self) -> AsyncConnection:
        connection: AsyncConnection = await self.pool.getconn()
        try:
            self._before[connection] = connection.autocommit, connection.isolation_level
            await connection.set_autocommit(True)
            await connection.set_isolation_level(READ_COMMITTED)
        except BaseException:
            await self.pool.putconn(connection)
            raise
        return connection

    async def release(self, connection: AsyncConnection) -> None:
        autocommit, isolation_level = self._before.pop(connection, (False, None))
        if usable(connection):
            await connection.set_autocommit(autocommit)
            await connection.set_isolation_level(isolation_level)
        await self.pool.putconn(connection)

    async def close(self) -> None:
        """The pool belongs to the application."""


class AsyncPinnedConnection:
    """One connection of a source, held until it breaks; its users take turns."""

    def __init__(self, source: AsyncSource) -> None:
        self._source = source
        self._turn = tasks.Lock()
        self._connection: AsyncConnection | None = None

    @property
    def primary(self) -> Primary:
        return self._source.primary

    @property
    def behind(self) -> AsyncSource:
        """Where the connection comes from; for who needs one of his own."""
        return self._source

    @property
    def pinned(self) -> AsyncConnection | None:
        """The connection that is held; only to cut it off."""
        return self._connection

    async def acquire(self) -> AsyncConnection:
        await self._turn.acquire()
        try:
            if self._connection is None:
                self._connection = await self._source.acquire()
        except BaseException:
            self._turn.release()
            raise
        return self._connection

    async def release(self, connection: AsyncConnection) -> None:
        try:
            if not usable(connection):
                self._connection = None
                await self._source.release(connection)
        finally:
            self._turn.release()

    async def close(self) -> None:
        """A connection that is still in use after a second stays with its user."""
        if await tasks.acquired(self._turn, 1.0):
            try:
                if self._connection is not None:
                    await self._source.release(self._connection)
                    self._connection = None
            finally:
                self._turn.release()


def new_source(given: str | AsyncPool | None, places: int = MAX_CONNECTIONS) -> AsyncSource:
    """Where the connections come from: a pool, a DSN, or TIDEBASE_DSN."""
    if isinstance(given, AsyncConnectionPool):
        return AsyncFromPool(given)
    return AsyncFromDsn(environment() if given is None else given, places)
