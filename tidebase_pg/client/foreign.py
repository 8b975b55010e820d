"""Connections of other libraries that calls take part in."""

# Made from async_foreign.py by tools/async_to_sync.py: change that, then `make sync`.

from __future__ import annotations

from typing import Any

import psycopg

from tidebase_pg.client.execute import Client


def connection_of(given: Any) -> Any:
    """What executes calls in the transaction of a connection, session, or Django connection.

    Raises TypeError naming what is taken.
    """
    if isinstance(given, psycopg.Connection):
        return Client(given)  # pyright: ignore[reportUnknownArgumentType]
    found = given
    if type(given).__module__.startswith("sqlalchemy."):
        connection = given.connection() if hasattr(given, "get_bind") else given
        connection.exec_driver_sql("select")  # begins the transaction, whatever driver
        found = connection.connection.driver_connection
    elif hasattr(given, "ensure_connection"):  # Django
        given.ensure_connection()
        found = given.connection
    if isinstance(found, psycopg.Connection):
        return Client(found)  # pyright: ignore[reportUnknownArgumentType]
    raise refused(given, found)


def refused(given: object, found: object) -> TypeError:
    """Why a connection is not taken."""
    kind, driver = type(given), type(found)
    if driver.__module__.startswith("psycopg2"):
        return TypeError(
            "connection is one of psycopg2, which cannot be shared: use psycopg 3, "
            "with SQLAlchemy as postgresql+psycopg://"
        )
    return TypeError(
        f"connection must be one of psycopg, SQLAlchemy, Django or asyncpg, not "
        f"{kind.__module__}.{kind.__qualname__}; of the same colour, sync or async, as the Tidebase"
    )
