"""Statements on one connection: the only module of calls that touches cursors."""

# Made from async_statements.py by tools/async_to_sync.py: change that, then `make sync`.

from __future__ import annotations

from typing import TypeVar

import psycopg
from psycopg.errors import InsufficientPrivilege, UndefinedFunction
from psycopg.rows import tuple_row

from tidebase_pg.call import Call
from tidebase_pg.client.limits import limited
from tidebase_pg.client.meeting import READ_COMMITTED, SHORT_QUESTION, Meeting, Met, known
from tidebase_pg.client.settings import CallCursor, Connection
from tidebase_pg.errors import translate

T = TypeVar("T")

LISTEN_LIMIT = 10.0
"""Seconds after which a connection is cut off that does not take what it is to listen to."""


def perform(connection: Connection, call: Call[T], meeting: Meeting) -> T:
    """The answer to a call. Raises TideError, Stop, SchemaError or psycopg.Error."""
    cursor = CallCursor(connection, row_factory=tuple_row)
    explicit = False
    try:
        met = known.get(connection)
        if met is None:
            met = _meet(cursor, connection, meeting)
        meeting.ahead = met.ahead
        explicit = met.explicit and not meeting.bound and call.kind != "procedure"
        if explicit:
            cursor.execute(f"begin isolation level {READ_COMMITTED}".encode(), prepare=False)
        cursor.execute(
            call.query.encode(),
            tuple(call.arguments.values()),
            prepare=met.prepare,
            binary=True,
        )
        answer = call.decode(cursor.fetchall())
        if explicit:
            cursor.execute(b"commit", prepare=False)
        return answer
    except psycopg.Error as error:
        if explicit and not connection.closed:
            connection.rollback()
        translated = translate(error)
        if translated is error:
            raise
        raise translated from None
    finally:
        cursor.close()


def _meet(cursor: CallCursor, connection: Connection, meeting: Meeting) -> Met:
    try:
        cursor.execute(meeting.question.encode(), prepare=False)
    except (InsufficientPrivilege, UndefinedFunction):
        cursor.execute(SHORT_QUESTION.encode(), prepare=False)
    return meeting.judge(connection, cursor.fetchone())


def listen(connection: Connection, channel: str, *, limit: float = LISTEN_LIMIT) -> bool:
    """Whether notifications reach this connection; behind a pooler they do not."""
    with limited(connection, limit):
        cursor = CallCursor(connection, row_factory=tuple_row)
        cursor.execute("select pg_backend_pid()", prepare=False)
        row = cursor.fetchone()
        if row is None or row[0] != connection.info.backend_pid:
            return False
        cursor.execute(f"listen {channel}".encode())
        return True


def unlisten(connection: Connection, channel: str, *, limit: float = LISTEN_LIMIT) -> None:
    """Hear no more of the channel."""
    with limited(connection, limit):
        connection.execute(f"unlisten {channel}".encode())
