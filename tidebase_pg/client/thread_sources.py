"""Where a thread beside the caller has its connections from, whatever colour the caller is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final, cast

import psycopg

from tidebase_pg.client.async_connections import AsyncFromDsn, AsyncFromPool, AsyncSource
from tidebase_pg.client.async_execute import AsyncClient
from tidebase_pg.client.connections import FromDsn, Source
from tidebase_pg.client.execute import Client
from tidebase_pg.client.meeting import Primary
from tidebase_pg.client.settings import (
    READ_COMMITTED,
    AsyncConnection,
    AsyncPool,
    Connection,
    address_of,
    usable,
)

CONNECTING: Final = 10.0
"""Seconds to find out how a pool connects."""


class Fresh:
    """A new connection for each user, closed afterwards."""

    def __init__(self, connect: Callable[[], Connection], primary: Primary) -> None:
        self._connect = connect
        self.primary = primary

    def acquire(self) -> Connection:
        return self._connect()

    def release(self, connection: Connection) -> None:
        connection.close()

    def close(self) -> None:
        """Each is closed by its user."""


class InTransaction(psycopg.OperationalError):
    """A caller's transaction is open, so that there is nothing to renew."""


def thread_source(client: Client | AsyncClient) -> Source:
    """Connections for threads, like those of a client; of a DSN they take no place."""
    if client.bound is not None:
        return Fresh(_beside(client.bound), Primary())
    return threaded(client.source)


def threaded(source: Source | AsyncSource) -> Source:
    """Connections for threads, like those of a source; of a DSN they take no place."""
    behind: Any = getattr(source, "behind", source)
    if isinstance(behind, AsyncFromDsn):
        return Fresh(FromDsn(behind.dsn).connect, behind.primary)
    if isinstance(behind, FromDsn):
        return Fresh(behind.connect, behind.primary)
    if isinstance(behind, AsyncFromPool):
        return Fresh(_like(behind.pool, asyncio.get_running_loop()), behind.primary)
    return cast(Source, behind)


def _beside(bound: Connection | AsyncConnection) -> Callable[[], Connection]:
    """While a transaction of the caller is open there is nothing to renew: the lease is in it, or
    it holds the row of the run."""

    def connect() -> Connection:
        if not usable(bound):
            raise InTransaction("the caller's transaction is open")
        return FromDsn(address_of(bound)).connect()

    return connect


def _like(pool: AsyncPool, loop: asyncio.AbstractEventLoop) -> Callable[[], Connection]:
    """Made as the connections of a pool of asyncio are."""

    def resolved(given: Any) -> Any:
        found = given() if callable(given) else given
        if inspect.iscoroutine(found):
            return asyncio.run_coroutine_threadsafe(found, loop).result(CONNECTING)
        return found

    def connect() -> Connection:
        given: dict[str, Any] = resolved(pool.kwargs) or {}
        own = ("row_factory", "cursor_factory", "autocommit")
        options: dict[str, Any] = {name: given[name] for name in given if name not in own}
        connection: Connection = psycopg.connect(
            resolved(pool.conninfo) or "", **options, autocommit=True
        )
        connection.isolation_level = READ_COMMITTED
        return connection

    return connect
