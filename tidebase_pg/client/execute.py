"""Executes calls; lost connections are made good here."""

# Made from async_execute.py by tools/async_to_sync.py: change that, then `make sync`.

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar, cast

import psycopg

from tidebase_pg import calls, threads
from tidebase_pg.call import Call
from tidebase_pg.client.connections import FromDsn, PinnedConnection, Source
from tidebase_pg.client.failures import PATIENCE, Patience, discard_if_useless
from tidebase_pg.client.limits import CALL_LIMIT, limited
from tidebase_pg.client.meeting import Meeting
from tidebase_pg.client.settings import Connection
from tidebase_pg.client.statements import perform
from tidebase_pg.version import check_version

T = TypeVar("T")


class Client:
    """Executes calls on connections of a source, sending again what a broken one lost.

    Over a connection of the caller it takes part in its transaction: nothing is sent twice, and
    after an error the connection is as Postgres leaves it.
    """

    def __init__(
        self,
        source: Source | Connection,
        *,
        patience: float = PATIENCE,
        limit: float | None = CALL_LIMIT,
        persistent: bool = False,
    ) -> None:
        """`persistent`: a call that a time-out of the session ended is made again as well."""
        self._bound = source if isinstance(source, psycopg.Connection) else None
        self._source = cast(Source, source)
        self._patience = patience
        self._limit = limit
        self._persistent = persistent
        self._meeting = Meeting(None if self._bound is not None else self._source.primary)

    def execute(self, call: Call[T]) -> T:
        """The answer of the database. Raises TideError, Stop, SchemaError or psycopg.Error."""
        if self._bound is not None:
            return perform(self._bound, replace(call, relaxed=False), self._meeting)
        call = call.repeatable()
        patience = Patience(self._patience, persistent=self._persistent)
        while True:
            try:
                return self._once(call)
            except psycopg.Error as error:
                pause = patience.after(error) if self._meeting.versioned else None
                if pause is None:
                    raise
            threads.sleep(pause)

    def _once(self, call: Call[T]) -> T:
        connection = self._source.acquire()
        try:
            with limited(connection, self._limit):
                if not self._meeting.versioned:
                    check_version(perform(connection, calls.version(), self._meeting))
                    self._meeting.versioned = True
                return perform(connection, call, self._meeting)
        except psycopg.Error as error:
            discard_if_useless(connection, error)
            raise
        finally:
            self._source.release(connection)

    def now(self) -> datetime:
        """What time it is for the database, by what its clock said when it was met."""
        if self._meeting.ahead is None:
            self.execute(calls.version())
        return self._meeting.now()

    @property
    def bound(self) -> Connection | None:
        """The connection of the caller in whose transaction every call takes part."""
        return self._bound

    @property
    def source(self) -> Source:
        """Where the connections come from, unless it is bound."""
        return self._source

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection nobody else uses meanwhile; over a connection of the caller, that one."""
        if self._bound is not None:
            yield self._bound
            return
        source = self._source
        source = source.behind if isinstance(source, PinnedConnection) else source
        connection = source.acquire()
        try:
            yield connection
        except psycopg.Error as error:
            discard_if_useless(connection, error)
            raise
        finally:
            source.release(connection)

    def listener(self) -> Connection:
        """A connection to listen on, for its user to close; over a DSN, one more than the others.

        Of a pool it takes one, which the pool replaces.
        """
        source = self._source
        source = source.behind if isinstance(source, PinnedConnection) else source
        if isinstance(source, FromDsn):
            return source.connect()
        return source.acquire()

    def close_listener(self, connection: Connection) -> None:
        """Close what `listener` gave, and give its place back."""
        connection.close()
        source = self._source
        source = source.behind if isinstance(source, PinnedConnection) else source
        if not isinstance(source, FromDsn):
            source.release(connection)

    def close(self) -> None:
        """Close what this client has opened; a connection of the caller stays open."""
        if self._bound is None:
            self._source.close()
