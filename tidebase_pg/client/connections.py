"""Where connections come from: a DSN, a pool, or one pinned for one purpose."""

# Made from async_connections.py by tools/async_to_sync.py: change that, then `make sync`.

from __future__ import annotations

from typing import Protocol

import psycopg
from psycopg_pool import ConnectionPool

from tidebase_pg import threads
from tidebase_pg.client.meeting import Primary
from tidebase_pg.client.settings import (
    MAX_CONNECTIONS,
    PLACE_LIMIT,
    READ_COMMITTED,
    Connection,
    Pool,
    environment,
    parameters,
    usable,
)
from tidebase_pg.errors import NoPlace


class Source(Protocol):
    """Gives connections in autocommit mode, each to one user at a time."""

    @property
    def primary(self) -> Primary: ...
    def acquire(self) -> Connection: ...
    def release(self, connection: Connection) -> None: ...
    def close(self) -> None: ...


class Room:
    """The connections made in one process and event loop."""

    def __init__(self, places: int) -> None:
        self.places = threads.Semaphore(places)
        self.idle: list[Connection] = []


class FromDsn:
    """Up to so many connections, made when needed and kept for the next user.

    Each process and each event loop has its own: a fork leaves those of its parent alone.
    """

    def __init__(self, dsn: str, places: int = MAX_CONNECTIONS) -> None:
        self.dsn = dsn
        self.places = places
        self.primary = Primary()
        self._parameters = parameters(dsn)
        self._rooms: threads.Homes[Room] = threads.Homes(lambda: Room(places))
        self._closed = False

    def acquire(self) -> Connection:
        """Raises NoPlace when all are in use for PLACE_LIMIT seconds."""
        room = self._rooms.here()
        if not threads.acquired(room.places, PLACE_LIMIT):
            raise NoPlace(
                f"all {self.places} connections of this Tidebase were in use for "
                f"{PLACE_LIMIT:g} s: give it a pool that is larger, or hold them for less time"
            )
        try:
            while room.idle:
                connection = room.idle.pop()
                if usable(connection):
                    return connection
                connection.close()
            return self.connect()
        except BaseException:
            room.places.release()
            raise

    def connect(self) -> Connection:
        """One more, which takes no place of the others'; its user closes it."""
        connection = psycopg.Connection.connect(**self._parameters)
        connection.set_isolation_level(READ_COMMITTED)
        return connection

    def release(self, connection: Connection) -> None:
        room = self._rooms.here()
        room.places.release()
        if self._closed or not usable(connection):
            connection.close()
        else:
            room.idle.append(connection)

    def close(self) -> None:
        self._closed = True
        room = self._rooms.here()
        while room.idle:
            room.idle.pop().close()


class FromPool:
    """Connections of the application's pool; while they are ours in autocommit mode, and READ
    COMMITTED within transactions."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.primary = Primary()
        self._before: dict[Connection, tuple[bool, psycopg.IsolationLevel | None]] = {}

    def acquire(self) -> Connection:
        connection: Connection = self.pool.getconn()
        try:
            self._before[connection] = connection.autocommit, connection.isolation_level
            connection.set_autocommit(True)
            connection.set_isolation_level(READ_COMMITTED)
        except BaseException:
            self.pool.putconn(connection)
            raise
        return connection

    def release(self, connection: Connection) -> None:
        autocommit, isolation_level = self._before.pop(connection, (False, None))
        if usable(connection):
            connection.set_autocommit(autocommit)
            connection.set_isolation_level(isolation_level)
        self.pool.putconn(connection)

    def close(self) -> None:
        """The pool belongs to the application."""


class PinnedConnection:
    """One connection of a source, held until it breaks; its users take turns."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._turn = threads.Lock()
        self._connection: Connection | None = None

    @property
    def primary(self) -> Primary:
        return self._source.primary

    @property
    def behind(self) -> Source:
        """Where the connection comes from; for who needs one of his own."""
        return self._source

    @property
    def pinned(self) -> Connection | None:
        """The connection that is held; only to cut it off."""
        return self._connection

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
        """A connection that is still in use after a second stays with its user."""
        if threads.acquired(self._turn, 1.0):
            try:
                if self._connection is not None:
                    self._source.release(self._connection)
                    self._connection = None
            finally:
                self._turn.release()


def new_source(given: str | Pool | None, places: int = MAX_CONNECTIONS) -> Source:
    """Where the connections come from: a pool, a DSN, or TIDEBASE_DSN."""
    if isinstance(given, ConnectionPool):
        return FromPool(given)
    return FromDsn(environment() if given is None else given, places)
