"""Where connections come from: a DSN, a pool of the application, or one kept for one purpose."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

Connection: TypeAlias = psycopg.Connection[Any]
AsyncConnection: TypeAlias = psycopg.AsyncConnection[Any]
Pool: TypeAlias = ConnectionPool[Any]
AsyncPool: TypeAlias = AsyncConnectionPool[Any]

MAX_CONNECTIONS: Final = 10

_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "tidebase-pg",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def parameters(dsn: str) -> dict[str, Any]:
    """What to connect with: the DSN, and where it is silent, a quick end for dead connections."""
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise ValueError(f"the DSN cannot be read: {error}") from None
    return {**_DEFAULTS, **given, "autocommit": True}


def environment() -> str:
    """TIDEBASE_DSN. Raises ValueError when it is not set."""
    dsn = os.environ.get("TIDEBASE_DSN")
    if dsn is None:
        raise ValueError("no database: set TIDEBASE_DSN, or give Tidebase a DSN or a pool")
    return dsn


class Line(psycopg.Connection[Any]):
    """A connection that can tell when a query is on its way."""

    sent: Callable[[], None] | None = None
    """Called once, when the next query has been sent and before its answer is awaited. Threads that
    were woken earlier would take the processor from the server when it is woken by the query."""

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        sent, self.sent = self.sent, None
        if sent is not None:
            gen = _telling(gen, sent)
        return super().wait(gen, *arguments, **options)


def _telling(gen: Generator[Any, Any, Any], sent: Callable[[], None]) -> Generator[Any, Any, Any]:
    """The same generator of psycopg; where it first has to wait, the query is sent."""
    try:
        try:
            state = next(gen)
        finally:
            sent()
        while True:
            state = gen.send((yield state))
    except StopIteration as end:
        return end.value


class Source(Protocol):
    """Gives connections in autocommit mode, each to one user at a time."""

    def acquire(self) -> Connection: ...
    def release(self, connection: Connection) -> None: ...
    def close(self) -> None: ...


class FromDsn:
    """Up to MAX_CONNECTIONS connections, made when needed and kept for the next user."""

    def __init__(self, dsn: str) -> None:
        self._parameters = parameters(dsn)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._idle: list[Connection] = []
        self._process = os.getpid()
        self._closed = False

    def acquire(self) -> Connection:
        self._places.acquire()
        if self._process != os.getpid():
            # After a fork the parent goes on using its connections: leave them alone.
            self._process, self._idle = os.getpid(), []
        try:
            return self._idle.pop() if self._idle else self.connect()
        except BaseException:
            self._places.release()
            raise

    def connect(self) -> Connection:
        """One more, which takes no place of the others'; its user closes it."""
        return Line.connect(**self._parameters)

    def release(self, connection: Connection) -> None:
        if self._closed or not usable(connection):
            connection.close()
        else:
            self._idle.append(connection)
        self._places.release()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()


class FromPool:
    """Connections of the application's pool, in autocommit mode while they are ours."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._autocommit: dict[Connection, bool] = {}

    def acquire(self) -> Connection:
        connection: Connection = self._pool.getconn()
        try:
            self._autocommit[connection] = connection.autocommit
            connection.autocommit = True
        except psycopg.Error:
            self._pool.putconn(connection)
            raise
        return connection

    def release(self, connection: Connection) -> None:
        autocommit = self._autocommit.pop(connection, False)
        if usable(connection):
            connection.autocommit = autocommit
        self._pool.putconn(connection)

    def close(self) -> None:
        """The pool belongs to the application."""


class Kept:
    """One connection of a source, held until it breaks; its users take turns."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._turn = threading.Lock()
        self._connection: Connection | None = None

    @property
    def behind(self) -> Source:
        """Where the connection comes from; for who needs one of his own."""
        return self._source

    def acquire(self) -> Connection:
        self._turn.acquire()
        try:
            if self._connection is None:
                self._connection = self._source.acquire()
        except BaseException:
            self._turn.release()
            raise
        return self._connection

    def release(self, connection: Connection) -> None:
        try:
            if not usable(connection):
                self._connection = None
                self._source.release(connection)
        finally:
            self._turn.release()

    def close(self) -> None:
        """Whoever is still busy with the connection after a second keeps it."""
        if self._turn.acquire(timeout=1.0):
            try:
                if self._connection is not None:
                    self._source.release(self._connection)
                    self._connection = None
            finally:
                self._turn.release()


class AsyncSource(Protocol):
    """Gives connections in autocommit mode, each to one user at a time."""

    async def acquire(self) -> AsyncConnection: ...
    async def release(self, connection: AsyncConnection) -> None: ...
    async def close(self) -> None: ...


class AsyncFromDsn:
    """Up to MAX_CONNECTIONS connections, made when needed and kept for the next user."""

    def __init__(self, dsn: str) -> None:
        self._parameters = parameters(dsn)
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: list[AsyncConnection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def acquire(self) -> AsyncConnection:
        if self._loop is not asyncio.get_running_loop():
            self._move()
        await self._places.acquire()
        try:
            if self._idle:
                return self._idle.pop()
            return await self.connect()
        except BaseException:
            self._places.release()
            raise

    async def connect(self) -> AsyncConnection:
        """One more, which takes no place of the others'; its user closes it."""
        return await psycopg.AsyncConnection.connect(**self._parameters)

    async def release(self, connection: AsyncConnection) -> None:
        self._places.release()
        if self._closed or not usable(connection):
            await connection.close()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    def _move(self) -> None:
        """Connections made in another event loop are of no use in this one."""
        self._loop = asyncio.get_running_loop()
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        while self._idle:
            self._idle.pop().pgconn.finish()


class AsyncFromPool:
    """Connections of the application's pool, in autocommit mode while they are ours."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self._autocommit: dict[AsyncConnection, bool] = {}

    async def acquire(self) -> AsyncConnection:
        connection: AsyncConnection = await self._pool.getconn()
        try:
            self._autocommit[connection] = connection.autocommit
            await connection.set_autocommit(True)
        except BaseException:
            await self._pool.putconn(connection)
            raise
        return connection

    async def release(self, connection: AsyncConnection) -> None:
        autocommit = self._autocommit.pop(connection, False)
        if usable(connection):
            await connection.set_autocommit(autocommit)
        await self._pool.putconn(connection)

    async def close(self) -> None:
        """The pool belongs to the application."""


class AsyncKept:
    """One connection of a source, held until it breaks; its users take turns."""

    def __init__(self, source: AsyncSource) -> None:
        self._source = source
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection | None = None

    @property
    def behind(self) -> AsyncSource:
        """Where the connection comes from; for who needs one of his own."""
        return self._source

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
        async with self._turn:
            if self._connection is not None:
                await self._source.release(self._connection)
                self._connection = None


def usable(connection: Connection | AsyncConnection) -> bool:
    """Open, and between two transactions."""
    idle = psycopg.pq.TransactionStatus.IDLE
    return not connection.closed and connection.info.transaction_status == idle
