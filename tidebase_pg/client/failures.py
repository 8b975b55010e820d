"""Which errors pass, and how long to wait for that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg.errors import DatatypeMismatch, InFailedSqlTransaction, ProgramLimitExceeded
from psycopg_pool import PoolClosed

from tidebase_pg.client.settings import IN_ERROR, AsyncConnection, Connection
from tidebase_pg.errors import NoPlace

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


class Patience:
    """How long to wait before sending again, and when to give up."""

    def __init__(self, length: float, *, persistent: bool = False) -> None:
        """`persistent`: what a time-out of the session ended is sent again as well."""
        self._length = length
        self._persistent = persistent
        self._give_up_at: float | None = None
        self._upgraded = False
        self._pauses = pauses()

    def after(self, error: psycopg.Error) -> float | None:
        """Seconds to wait after this error, or None when it is to be raised."""
        if isinstance(error, DatatypeMismatch) and not self._upgraded:
            self._upgraded = True  # the rows got columns while the call was under way
            return 0.0
        if not is_passing(error) and not (self._persistent and is_timeout(error)):
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
    if isinstance(error, PoolClosed | NoPlace):
        return False
    sqlstate = error.sqlstate
    return sqlstate is None or sqlstate in _AGAIN or sqlstate.startswith("08")


def passed_over(connection: Connection | AsyncConnection, name: str) -> psycopg.Error | None:
    """Why a transaction cannot commit though its block ended without an error.

    psycopg would say nothing: it sends no COMMIT where the connection is lost, and to one after an
    error the server answers ROLLBACK.
    """
    what = f"transaction {name!r} is rolled back: its block passed over"
    if connection.closed:
        return psycopg.OperationalError(f"{what} the loss of the connection")
    if connection.info.transaction_status == IN_ERROR:
        return InFailedSqlTransaction(f"{what} the error of a statement")
    return None


def may_pass(error: BaseException) -> bool:
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


def is_timeout(error: BaseException) -> bool:
    """Whether a time-out of the session ended a statement, as while it waited for a lock."""
    return isinstance(error, psycopg.Error) and error.sqlstate in ("55P03", "57014")
