"""Executes calls: the only module that touches cursors. Lost connections are made good here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

import psycopg
from psycopg.errors import DatatypeMismatch, ProgramLimitExceeded
from psycopg.rows import tuple_row
from psycopg_pool import PoolClosed

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.client.connections import (
    AsyncConnection,
    AsyncFromDsn,
    AsyncKept,
    AsyncSource,
    Connection,
    FromDsn,
    Kept,
    Line,
    Source,
)
from tidebase_pg.errors import translate
from tidebase_pg.version import check_version

T = TypeVar("T")

PATIENCE: Final = 30.0
"""Seconds for which a call is sent again while the database cannot be reached."""

_AGAIN: Final = frozenset({
    "40001",  # serialization failure
    "40P01",  # deadlock
    "25006",  # read only: a failover has left us at a standby
    "53300",  # too many connections
    "57P01",  # the server or an administrator ends the connection
    "57P02",
    "57P03",  # the server is starting or stopping
    "57P05",
})  # fmt: skip


class Client:
    """Executes calls on connections of a source, sending again what a broken one lost.

    Over a connection of the caller it takes part in his transaction: nothing is sent twice, and
    after an error the connection is as Postgres leaves it.
    """

    def __init__(self, source: Source | Connection, *, patience: float = PATIENCE) -> None:
        self._bound = source if isinstance(source, psycopg.Connection) else None
        self._source = cast(Source, source)
        self._patience = patience
        self._met = False

    def execute(self, call: Call[T], sent: Callable[[], None] | None = None) -> T:
        """The answer of the database. Raises TideError, SchemaError or psycopg.Error.

        `sent` is called when the call is on its way, where the connection can tell.
        """
        if self._bound is not None:
            return _perform(self._bound, replace(call, relaxed=False))
        call = call.repeatable()
        patience = Patience(self._patience)
        while True:
            try:
                return self._once(call, sent)
            except psycopg.Error as error:
                pause = patience.after(error) if self._met else None
                if pause is None:
                    raise
            time.sleep(pause)

    def _once(self, call: Call[T], sent: Callable[[], None] | None) -> T:
        connection = self._source.acquire()
        try:
            if not self._met:
                check_version(_perform(connection, calls.version()))
                self._met = True
            if sent is not None and isinstance(connection, Line):
                connection.sent = sent
            return _perform(connection, call)
        except psycopg.Error as error:
            discard_if_useless(connection, error)
            raise
        finally:
            self._source.release(connection)

    @property
    def bound(self) -> bool:
        """Whether every call takes part in a transaction of the caller."""
        return self._bound is not None

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection nobody else uses meanwhile; over a connection of the caller, that one."""
        if self._bound is not None:
            yield self._bound
            return
        source = self._source.behind if isinstance(self._source, Kept) else self._source
        connection = source.acquire()
        try:
            yield connection
        except psycopg.Error as error:
            discard_if_useless(connection, error)
            raise
        finally:
            source.release(connection)

    @contextmanager
    def listener(self) -> Generator[Connection]:
        """A connection to listen on, closed afterwards; over a DSN, one more than the others."""
        source = self._source.behind if isinstance(self._source, Kept) else self._source
        own = source.connect() if isinstance(source, FromDsn) else None
        connection = source.acquire() if own is None else own
        try:
            yield connection
        finally:
            connection.close()
            if own is None:
                source.release(connection)

    def close(self) -> None:
        """Close what this client has opened; a connection of the caller stays open."""
        if self._bound is None:
            self._source.close()


class AsyncClient:
    """`Client` for asyncio."""

    def __init__(
        self, source: AsyncSource | AsyncConnection, *, patience: float = PATIENCE
    ) -> None:
        self._bound = source if isinstance(source, psycopg.AsyncConnection) else None
        self._source = cast(AsyncSource, source)
        self._patience = patience
        self._met = False

    async def execute(self, call: Call[T]) -> T:
        """The answer of the database. Raises TideError, SchemaError or psycopg.Error."""
        if self._bound is not None:
            return await _perform_async(self._bound, replace(call, relaxed=False))
        call = call.repeatable()
        patience = Patience(self._patience)
        while True:
            try:
                return await self._once(call)
            except psycopg.Error as error:
                pause = patience.after(error) if self._met else None
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _once(self, call: Call[T]) -> T:
        connection = await self._source.acquire()
        try:
            if not self._met:
                check_version(await _perform_async(connection, calls.version()))
                self._met = True
            return await _perform_async(connection, call)
        except psycopg.Error as error:
            discard_if_useless(connection, error)
            raise
        finally:
            await self._source.release(connection)

    @property
    def bound(self) -> bool:
        """Whether every call takes part in a transaction of the caller."""
        return self._bound is not None

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AsyncConnection]:
        """A connection nobody else uses meanwhile; over a connection of the caller, that one."""
        if self._bound is not None:
            yield self._bound
            return
        source = self._source.behind if isinstance(self._source, AsyncKept) else self._source
        connection = await source.acquire()
        try:
            yield connection
        except psycopg.Error as error:
            discard_if_useless(connection, error)
            raise
        finally:
            await source.release(connection)

    @asynccontextmanager
    async def listener(self) -> AsyncGenerator[AsyncConnection]:
        """A connection to listen on, closed afterwards; over a DSN, one more than the others."""
        source = self._source.behind if isinstance(self._source, AsyncKept) else self._source
        own = await source.connect() if isinstance(source, AsyncFromDsn) else None
        connection = await source.acquire() if own is None else own
        try:
            yield connection
        finally:
            await connection.close()
            if own is None:
                await source.release(connection)

    async def close(self) -> None:
        """Close what this client has opened; a connection of the caller stays open."""
        if self._bound is None:
            await self._source.close()


class Patience:
    """How long to wait before sending again, and when to give up."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._give_up_at: float | None = None
        self._upgraded = False
        self._pauses = pauses()

    def after(self, error: psycopg.Error) -> float | None:
        """Seconds to wait after this error, or None when it is to be raised."""
        if isinstance(error, DatatypeMismatch) and not self._upgraded:
            self._upgraded = True  # the rows got columns while the call was under way
            return 0.0
        if not is_passing(error):
            return None
        now = time.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + self._length
        return next(self._pauses) if now < self._give_up_at else None


def pauses(longest: float = 1.0) -> Iterator[float]:
    """Seconds between attempts: none before the second, then longer and longer."""
    yield 0.0
    pause = 0.05
    while True:
        yield pause
        pause = min(pause * 2, longest)


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed on another connection, or a little later."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    if isinstance(error, PoolClosed):
        return False
    sqlstate = error.sqlstate
    return sqlstate is None or sqlstate in _AGAIN or sqlstate.startswith("08")


def may_pass(error: Exception) -> bool:
    """Whether a worker outlives this error: anything but a refusal of what was asked."""
    if isinstance(error, ProgramLimitExceeded | PoolClosed):
        return False
    return isinstance(
        error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError
    )


def discard_if_useless(connection: Connection | AsyncConnection, error: psycopg.Error) -> None:
    """A connection whose server is going or has become a standby must not be used again."""
    if error.sqlstate in ("25006", "57P01", "57P02", "57P03", "57P05"):
        connection.pgconn.finish()


# psycopg --------------------------------------------------------------------------------

_prepare: WeakKeyDictionary[Any, bool | None] = WeakKeyDictionary()
"""Per connection: None = psycopg prepares what is repeated; False behind a pooler, which may
give every transaction another server connection."""


def _perform(connection: Connection, call: Call[T]) -> T:
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    try:
        if connection not in _prepare:
            cursor.execute("select pg_backend_pid()", prepare=False)
            _meet(connection, cursor.fetchone())
        cursor.execute(
            call.query.encode(),
            tuple(call.arguments.values()),
            prepare=_prepare[connection],
            binary=True,
        )
        return call.decode(cursor.fetchall())
    except psycopg.Error as error:
        translated = translate(error)
        if translated is error:
            raise
        raise translated from None
    finally:
        cursor.close()


async def _perform_async(connection: AsyncConnection, call: Call[T]) -> T:
    cursor = psycopg.AsyncRawCursor(connection, row_factory=tuple_row)
    try:
        if connection not in _prepare:
            await cursor.execute("select pg_backend_pid()", prepare=False)
            _meet(connection, await cursor.fetchone())
        await cursor.execute(
            call.query.encode(),
            tuple(call.arguments.values()),
            prepare=_prepare[connection],
            binary=True,
        )
        return call.decode(await cursor.fetchall())
    except psycopg.Error as error:
        translated = translate(error)
        if translated is error:
            raise
        raise translated from None
    finally:
        await cursor.close()


def listen(connection: Connection, channel: str) -> bool:
    """Whether notifications reach this connection; behind a pooler they do not."""
    row = connection.execute("select pg_backend_pid()", prepare=False).fetchone()
    if row is None or row[0] != connection.info.backend_pid:
        return False
    connection.execute(f"listen {channel}".encode())
    return True


async def listen_async(connection: AsyncConnection, channel: str) -> bool:
    """`listen` for asyncio."""
    row = await (await connection.execute("select pg_backend_pid()", prepare=False)).fetchone()
    if row is None or row[0] != connection.info.backend_pid:
        return False
    await connection.execute(f"listen {channel}".encode())
    return True


def unlisten(connection: Connection, channel: str) -> None:
    """Hear no more of the channel."""
    connection.execute(f"unlisten {channel}".encode())


async def unlisten_async(connection: AsyncConnection, channel: str) -> None:
    """`unlisten` for asyncio."""
    await connection.execute(f"unlisten {channel}".encode())


def _meet(connection: Connection | AsyncConnection, row: tuple[Any, ...] | None) -> None:
    direct = row is not None and row[0] == connection.info.backend_pid
    _prepare[connection] = None if direct else False
