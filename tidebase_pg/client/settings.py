"""What to connect with, and what is expected of a connection."""

from __future__ import annotations

import os
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import adapt, postgres
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types import TypesRegistry, array
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tidebase_pg.values import unreadable_dsn

Connection: TypeAlias = psycopg.Connection[Any]
AsyncConnection: TypeAlias = psycopg.AsyncConnection[Any]
Pool: TypeAlias = ConnectionPool[Any]
AsyncPool: TypeAlias = AsyncConnectionPool[Any]

MAX_CONNECTIONS: Final = 10

READ_COMMITTED: Final = psycopg.IsolationLevel.READ_COMMITTED
IDLE: Final = psycopg.pq.TransactionStatus.IDLE
IN_ERROR: Final = psycopg.pq.TransactionStatus.INERROR
PLACE_LIMIT: Final = 10.0
"""Seconds to wait for one of the connections of a DSN to be free."""

_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "tidebase-pg",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_SEVERAL_HOSTS: Final[dict[str, Any]] = {
    "connect_timeout": 3,
    "target_session_attrs": "read-write",
}


def parameters(dsn: str) -> dict[str, Any]:
    """What to connect with: the DSN, and where it is silent, a quick end for dead connections.

    Raises ValueError, without the password, for a DSN that libpq cannot read.
    """
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise ValueError(unreadable_dsn(dsn, str(error))) from None
    several = _SEVERAL_HOSTS if "," in str(given.get("host") or given.get("hostaddr") or "") else {}
    return {**_DEFAULTS, **several, **given, "autocommit": True}


def environment() -> str:
    """TIDEBASE_DSN. Raises ValueError when it is not set."""
    dsn = os.environ.get("TIDEBASE_DSN")
    if dsn is None:
        raise ValueError("no database: set TIDEBASE_DSN, or give Tidebase a DSN or a pool")
    return dsn


def address_of(connection: Connection | AsyncConnection) -> str:
    """The DSN of an open connection, for one more like it."""
    info = connection.info
    return make_conninfo(info.dsn, password=info.password or None)


def usable(connection: Connection | AsyncConnection) -> bool:
    """Open, and between two transactions."""
    return not connection.closed and connection.pgconn.transaction_status == IDLE


ADAPTERS: Final = adapt.AdaptersMap(types=TypesRegistry())
"""How values travel, whatever an application has registered with psycopg for itself."""
postgres.register_default_types(ADAPTERS.types)
postgres.register_default_adapters(ADAPTERS)
array.register_all_arrays(ADAPTERS)


class CallCursor(psycopg.RawCursor[Any]):
    """A cursor of the standard adapters."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        super().__init__(connection, **options)
        self._adapters = ADAPTERS
        self._tx = adapt.Transformer(self)


class AsyncCallCursor(psycopg.AsyncRawCursor[Any]):
    """A cursor of the standard adapters, for asyncio."""

    def __init__(self, connection: AsyncConnection, **options: Any) -> None:
        super().__init__(connection, **options)
        self._adapters = ADAPTERS
        self._tx = adapt.Transformer(self)
