"""Executes calls; lost connections are made good here, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar, cast

import psycopg

from tidebase_pg import calls, tasks
from tidebase_pg.call import Call
from tidebase_pg.client.async_connections import AsyncFromDsn, AsyncPinnedConnection, AsyncSource
from tidebase_pg.client.async_statements import perform
from tidebase_pg.client.failures import PATIENCE, Patience, discard_if_useless
from tidebase_pg.client.limits import CALL_LIMIT, limited
from tidebase_pg.client.meeting import Meeting
from tidebase_pg.client.settings import AsyncConnection
from tidebase_pg.version import check_version

T = TypeVar("T")


class AsyncClient:
    """Executes calls on connections of a source, sending again what a broken one lost.

    Over a connection of the caller it takes part in its transaction: nothing is sent twice, and
    after an error the connection is as Postgres leaves it.
    """

    def __init__(
        self,
        source: AsyncSource | AsyncConnection,
        *,
        patience: float = PATIENCE,
        limit: float | None = CALL_LIMIT,
        persistent: bool = False,
    ) -> None:
        """`persistent`: a call that a time-out of the session ended is made again as well."""
        self._bound = source if isinstance(source, psycopg.AsyncConnection) else None
        self._source = cast(AsyncSource, source)
        self._patience = patience
        self._limit = limit
        self._persistent = persistent
        self._meeting = Meeting(None if self._bound is not None else self._source.primary)

    async def execute(self, call: Call[T]) -> T:
        """The answer of the database. Raises TideError, Stop, SchemaError or psycopg.Error."""
        if self._bound is not None:
            return await perform(self._bound, replace(call, relaxed=False), self._meeting)
        call = call.repeatable()
        patience = Patience(self._patience, persistent=self._persistent)
        while True:
            try:
                return await self._once(call)
            except psycopg.Error as error:
                pause = patience.after(error) if self._meeting.versioned else None
                if pause is None:
                    raise
            await tasks.sleep(pause)

    async def _once(self, call: Call[T]) -> T:
        connection = await self._source.acquire()
        try:
            with limited(connection, self._limit):
                if not self._meeting.versioned:
                    check_version(await perform(connection, calls.version(), self._meeting))
                    self._meeting.versioned = True
                return await perform(connection, call, self._meeting)
        except psycopg.Error as error:
            discard_if_useless(connection, error)
            raise
        finally:
            await self._source.release(connection)

    async def now(self) -> datetime:
        """What time it is for the database, by what its clock said when it was met."""
        if self._meeting.ahead is None:
            await self.execute(calls.version())
        return self._meeting.now()

    @property
    def bound(self) -> AsyncConnection | None:
        """The connection of the caller in whose transaction every call takes part."""
        return self._bound

    @property
    def source(self) -> AsyncSource:
        """Where the connections come from, unless it is bound."""
        return self._source

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AsyncConnection]:
        """A connection nobody else uses meanwhile; over a connection of the caller, that one."""
        if self._bound is not None:
            yield self._bound
            return
        source = self._source
        source = source.behind if isinstance(source, AsyncPinnedConnection) else source
        connection = await source.acquire()
        try:
            yield connection
        except psycopg.Error as error:
            discard_if_useless(connection, error)
            raise
        finally:
            await source.release(connection)

    async def listener(self) -> AsyncConnection:
        """A connection to listen on, for its user to close; over a DSN, one more than the others.

        Of a pool it takes one, which the pool replaces.
        """
        source = self._source
        source = source.behind if isinstance(source, AsyncPinnedConnection) else source
        if isinstance(source, AsyncFromDsn):
            return await source.connect()
        return await source.acquire()

    async def close_listener(self, connection: AsyncConnection) -> None:
        """Close what `listener` gave, and give its place back."""
        await connection.close()
        source = self._source
        source = source.behind if isinstance(source, AsyncPinnedConnection) else source
        if not isinstance(source, AsyncFromDsn):
            await source.release(connection)

    async def close(self) -> None:
        """Close what this client has opened; a connection of the caller stays open."""
        if self._bound is None:
            await self._source.close()
