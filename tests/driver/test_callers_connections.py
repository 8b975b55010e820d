"""`connection=` takes part in the transaction of a caller, whatever library it is of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest
import sqlalchemy
from django.conf import settings
from django.db import connections, transaction
from django.utils.connection import ConnectionProxy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from tests.driver.conftest import Background
from tests.support import Connection, value
from tidebase_pg import AsyncTidebase, InvalidArgument, Run, Tidebase


class Rollback(Exception):
    """Ends a transaction of the test's."""


def url(dsn: str, driver: str) -> sqlalchemy.URL:
    given: dict[str, Any] = dict(conninfo_to_dict(dsn))
    query = {}
    if str(given["host"]).startswith("/"):
        query["host"] = given.pop("host")
    return sqlalchemy.URL.create(
        f"postgresql+{driver}", given.get("user"), given.get("password"), given.get("host"),
        int(given.get("port") or 5432), given["dbname"], query,
    )  # fmt: skip


# Each gives a connection within a transaction that commits, or rolls back after an error.


@contextmanager
def with_psycopg(dsn: str) -> Iterator[Any]:
    with psycopg.connect(dsn) as connection:
        yield connection


@contextmanager
def with_sqlalchemy_connection(dsn: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(url(dsn, "psycopg"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def with_sqlalchemy_session(dsn: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(url(dsn, "psycopg"))
    try:
        with orm.Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


@contextmanager
def with_django(dsn: str) -> Iterator[Any]:
    if not settings.configured:
        settings.configure(USE_TZ=True)
    given = conninfo_to_dict(dsn)
    connections.databases["tide"] = {
        "ENGINE": "django.db.backends.postgresql", "NAME": given["dbname"],
        "USER": given.get("user") or "", "PASSWORD": given.get("password") or "",
        "HOST": given.get("host") or "", "PORT": given.get("port") or "", "OPTIONS": {},
        "TIME_ZONE": None, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False, "AUTOCOMMIT": True,
        "ATOMIC_REQUESTS": False,
    }  # fmt: skip
    try:
        with transaction.atomic(using="tide"):
            yield ConnectionProxy(connections, "tide")  # what django.db.connection is
    finally:
        connections["tide"].close()
        del connections["tide"], connections.databases["tide"]


@asynccontextmanager
async def with_async_psycopg(dsn: str) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection


@asynccontextmanager
async def with_async_sqlalchemy_connection(dsn: str) -> AsyncIterator[Any]:
    engine = sqlalchemy_asyncio.create_async_engine(url(dsn, "psycopg"))
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def with_async_sqlalchemy_session(dsn: str, driver: str = "psycopg") -> AsyncIterator[Any]:
    engine = sqlalchemy_asyncio.create_async_engine(url(dsn, driver))
    try:
        async with sqlalchemy_asyncio.AsyncSession(engine) as session, session.begin():
            yield session
    finally:
        await engine.dispose()


def with_sqlalchemy_over_asyncpg(dsn: str) -> AbstractAsyncContextManager[Any]:
    return with_async_sqlalchemy_session(dsn, "asyncpg")


@asynccontextmanager
async def with_asyncpg(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


SYNC: list[Callable[[str], AbstractContextManager[Any]]] = [
    with_psycopg, with_sqlalchemy_connection, with_sqlalchemy_session, with_django,
]  # fmt: skip
ASYNC: list[Callable[[str], AbstractAsyncContextManager[Any]]] = [
    with_async_psycopg, with_async_sqlalchemy_connection, with_async_sqlalchemy_session,
    with_sqlalchemy_over_asyncpg, with_asyncpg,
]  # fmt: skip


def runs(connection: Connection) -> set[UUID]:
    return set(value(connection, "select coalesce(array_agg(run_id), '{}') from tide.runs"))


@pytest.mark.parametrize("opened", SYNC)
def test_what_is_enqueued_commits_and_rolls_back_with_the_caller(
    tide: Tidebase, dsn: str, connection: Connection, opened: Any
) -> None:
    with pytest.raises(Rollback), opened(dsn) as theirs:
        tide.enqueue("w", connection=theirs)
        raise Rollback
    assert runs(connection) == set()
    with opened(dsn) as theirs:
        one = tide.enqueue("w", input={"n": 1}, delay=60, connection=theirs)
        many = tide.enqueue_many([{"workflow": "w"}] * 2, connection=theirs)
        assert runs(connection) == set()
    assert runs(connection) == {one.run_id, *(run.run_id for run in many)}
    assert tide.runs.get(one.run_id).input == {"n": 1}


@pytest.mark.parametrize("opened", ASYNC)
async def test_what_is_enqueued_commits_and_rolls_back_with_an_asynchronous_caller(
    atide: AsyncTidebase, dsn: str, connection: Connection, opened: Any
) -> None:
    with pytest.raises(Rollback):
        async with opened(dsn) as theirs:
            await atide.enqueue("w", connection=theirs)
            raise Rollback
    assert runs(connection) == set()
    async with opened(dsn) as theirs:
        one = await atide.enqueue("w", input={"n": 1}, delay=60, connection=theirs)
        many = await atide.enqueue_many([{"workflow": "w"}] * 2, connection=theirs)
        assert runs(connection) == set()
    assert runs(connection) == {one.run_id, *(run.run_id for run in many)}
    assert (await atide.runs.get(one.run_id)).input == {"n": 1}


@pytest.mark.parametrize("opened", SYNC)
def test_a_refusal_is_the_same_error_over_every_connection(
    tide: Tidebase, dsn: str, opened: Any
) -> None:
    with pytest.raises(InvalidArgument, match="workflow"), opened(dsn) as theirs:
        tide.enqueue("not a name", connection=theirs)


@pytest.mark.parametrize("opened", ASYNC)
async def test_a_refusal_is_the_same_error_over_every_asynchronous_connection(
    atide: AsyncTidebase, dsn: str, opened: Any
) -> None:
    with pytest.raises(InvalidArgument, match="workflow"):
        async with opened(dsn) as theirs:
            await atide.enqueue("not a name", connection=theirs)


@pytest.mark.parametrize("opened", SYNC)
def test_an_event_is_heard_when_the_caller_has_committed(
    tide: Tidebase, dsn: str, opened: Any, background: Background
) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        event = run.wait_event("paid", timeout=60)
        return None if event is None else event.payload

    run_id = tide.enqueue(w).run_id
    stop = background.start(tide)
    with pytest.raises(Rollback), opened(dsn) as theirs:
        tide.send_event(run_id, "paid", {"n": 1}, connection=theirs)
        raise Rollback
    with opened(dsn) as theirs:
        tide.send_event(run_id, "paid", {"n": 2}, connection=theirs)
    assert tide.runs.wait(run_id, timeout=60).result == {"n": 2}
    stop()


@pytest.mark.parametrize("given", [object(), "postgresql://", None.__class__])
def test_what_is_no_connection_is_refused_by_its_kind(tide: Tidebase, given: Any) -> None:
    with pytest.raises(TypeError, match=r"must be one of psycopg, SQLAlchemy, Django or asyncpg"):
        tide.enqueue("w", connection=given)


async def test_a_connection_of_the_other_colour_is_refused(
    tide: Tidebase, atide: AsyncTidebase, dsn: str
) -> None:
    with with_psycopg(dsn) as theirs, pytest.raises(TypeError, match="same colour"):
        await atide.enqueue("w", connection=theirs)
    async with with_async_psycopg(dsn) as theirs:
        with pytest.raises(TypeError, match="same colour"):
            tide.enqueue("w", connection=theirs)
