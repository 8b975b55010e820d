"""Connections of other libraries that calls take part in, for asyncio."""

from __future__ import annotations

from typing import Any

import psycopg

from tidebase_pg.client.async_execute import AsyncClient
from tidebase_pg.tasks import ASYNC

if ASYNC:
    from tidebase_pg.client.asyncpg_client import AsyncpgClient


async def connection_of(given: Any) -> Any:
    """What executes calls in the transaction of a connection, session, or Django connection.

    Raises TypeError naming what is taken.
    """
    if isinstance(given, psycopg.AsyncConnection):
        return AsyncClient(given)  # pyright: ignore[reportUnknownArgumentType]
    if ASYNC:
        found = given
        if type(given).__module__.startswith("sqlalchemy.ext.asyncio"):
            connection = await given.connection() if hasattr(given, "get_bind") else given
            await connection.exec_driver_sql("select")  # begins the transaction, whatever driver
            found = (await connection.get_raw_connection()).driver_connection
        if type(found).__module__.startswith("asyncpg"):
            return AsyncpgClient(found)
    else:
        found = given
        if type(given).__module__.startswith("sqlalchemy."):
            connection = given.connection() if hasattr(given, "get_bind") else given
            connection.exec_driver_sql("select")  # begins the transaction, whatever driver
            found = connection.connection.driver_connection
        elif hasattr(given, "ensure_connection"):  # Django
            given.ensure_connection()
            found = given.connection
    if isinstance(found, psycopg.AsyncConnection):
        return AsyncClient(found)  # pyright: ignore[reportUnknownArgumentType]
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
