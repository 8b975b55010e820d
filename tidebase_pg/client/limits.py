"""Limits of time, kept by one thread that waits for nobody: it cuts off what takes too long."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Final, Protocol

import psycopg

from tidebase_pg.client.settings import AsyncConnection, Connection

CALL_LIMIT: Final = 60.0
"""Seconds after which a call that was not answered is cut off and sent again."""

TICK: Final = 0.1
"""Seconds between two looks at what has a limit, while anything has."""

IDLE_TICKS: Final = 20
"""So many looks at nothing end the looking."""


class Watched(Protocol):
    """Something with limits of time."""

    def check(self, now: float) -> None:
        """Do what is due by now, of the monotonic clock; must neither wait nor raise."""


class Watch:
    """Looks at everything that is watched ten times a second, from a thread of its own."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._process = 0
        self._resting = True

    def add(self, watched: Watched) -> None:
        self._watched.add(watched)
        if self._resting or self._process != os.getpid():
            self._wake()

    def discard(self, watched: Watched) -> None:
        self._watched.discard(watched)

    def _wake(self) -> None:
        if self._process != os.getpid():  # after a fork the thread is not here, nor what it watched
            self._lock = threading.Lock()
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                self._news = threading.Event()
                threading.Thread(target=self._live, name="tidebase watch", daemon=True).start()
            self._resting = False
            self._news.set()

    def _live(self) -> None:
        vain = 0
        while True:
            watched = list(self._watched)
            now = time.monotonic()
            for one in watched:
                one.check(now)
            vain = 0 if watched else vain + 1
            if vain < IDLE_TICKS:
                time.sleep(TICK)
                continue
            self._news.clear()
            self._resting = True
            if not self._watched:
                self._news.wait()
            self._resting = False
            vain = 0


watch: Final = Watch()


class Limit:
    """One call on one connection, which is cut off when its time is up."""

    __slots__ = ("_connection", "_due", "_lock", "expired")

    def __init__(self, connection: Connection | AsyncConnection, seconds: float) -> None:
        self._connection: Connection | AsyncConnection | None = connection
        self._due = time.monotonic() + seconds
        self._lock = threading.Lock()
        self.expired = False

    def over(self, now: float) -> bool:
        return now >= self._due

    def check(self, now: float) -> None:
        if not self.expired and self.over(now):
            with self._lock:
                if self._connection is not None:
                    self.expired = True
                    cut(self._connection)

    def end(self) -> None:
        with self._lock:
            self._connection = None


class LimitOfLease(Limit):
    """Many calls on one connection, which is cut off when their lease has ended unrenewed."""

    __slots__ = ("_unrenewed",)

    def __init__(
        self, connection: Connection | AsyncConnection, unrenewed: Callable[[float], bool]
    ) -> None:
        super().__init__(connection, 0.0)
        self._unrenewed = unrenewed

    def over(self, now: float) -> bool:
        return self._unrenewed(now)


@contextlib.contextmanager
def limited_by_lease(
    connection: Connection | AsyncConnection, unrenewed: Callable[[float], bool]
) -> Generator[None]:
    """Cut the connection off when the lease is said to have ended unrenewed within the block."""
    limit = LimitOfLease(connection, unrenewed)
    watch.add(limit)
    try:
        yield
    finally:
        watch.discard(limit)
        limit.end()


@contextlib.contextmanager
def limited(connection: Connection | AsyncConnection, seconds: float | None) -> Generator[None]:
    """Cut the connection off when the block takes longer. Raises OperationalError then."""
    if seconds is None:
        yield
        return
    limit = Limit(connection, seconds)
    watch.add(limit)
    try:
        yield
    except psycopg.OperationalError:
        if not limit.expired:
            raise
        raise psycopg.OperationalError(
            f"the server did not answer within {seconds:g} s: the connection was cut off"
        ) from None
    finally:
        watch.discard(limit)
        limit.end()


def cut(connection: Connection | AsyncConnection) -> None:
    """End a connection from another thread: its user gets an OperationalError.

    The server is not asked to cancel: libpq would wait for its answer, with all threads.
    """
    with contextlib.suppress(psycopg.Error, OSError, ValueError):
        end = socket.socket(fileno=os.dup(connection.pgconn.socket))
        try:
            end.shutdown(socket.SHUT_RDWR)
        finally:
            end.close()
