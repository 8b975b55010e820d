"""Connections of adapters: a pool of their own or of the application, sync and async."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Final, Self

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tidebase_pg.agents.schemas import Schema
from tidebase_pg.errors import translate

Pool = ConnectionPool[Any]
AsyncPool = AsyncConnectionPool[Any]

LARGEST_POOL: Final = 4
_KWARGS: Final = {"autocommit": True}


@dataclass(frozen=True, slots=True)
class Statement:
    """One function of a schema, and what is to be remembered once it went through."""

    function: str
    arguments: dict[str, Any]
    stored: Callable[[], None] = lambda: None
    rows: Callable[[Any], Any] = namedtuple_row

    def query(self, schema: Schema) -> bytes:
        # Arrays of bytes in hexadecimal would cost more than all the rest.
        formats = [
            (name, "b" if isinstance(value, list) else "s")
            for name, value in self.arguments.items()
        ]
        return _query(schema.name, self.function, tuple(formats))


@cache
def _query(schema: str, function: str, arguments: tuple[tuple[str, str], ...]) -> bytes:
    named = (
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name, form))
        for name, form in arguments
    )
    called = sql.Identifier(schema, function)
    return sql.SQL("select * from {}({})").format(called, sql.SQL(", ").join(named)).as_bytes(None)


class Installed:
    """What keeps things in a schema; one that needs more in it has its own `_install`."""

    schema: ClassVar[Schema]

    def _install(self, connection: psycopg.Connection[Any]) -> None:
        self.schema.install(connection)


class Connected(Installed):
    """What has connections: those of a psycopg pool, or its own to a DSN."""

    def __init__(self, source: str | Pool, **options: Any) -> None:
        super().__init__(**options)
        self._own = isinstance(source, str)
        self._pool: Pool = (
            ConnectionPool(source, min_size=1, max_size=LARGEST_POOL, kwargs=_KWARGS, open=True)
            if isinstance(source, str)
            else source
        )

    @classmethod
    @contextmanager
    def from_conn_string(cls, conn_string: str, **options: Any) -> Generator[Self]:
        """One with connections of its own, closed with the block."""
        made = cls(conn_string, **options)
        try:
            yield made
        finally:
            made.close()

    def close(self) -> None:
        """Close the connections that were opened here; a pool of the caller stays open."""
        if self._own:
            self._pool.close()

    def setup(self) -> None:
        """Make or upgrade the schema. Safe to repeat; needs create on the database."""
        with self._pool.connection() as connection:
            self._install(connection)

    def _execute(self, statement: Statement) -> list[Any]:
        with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=statement.rows, binary=True)
            with cursor, _translated():
                cursor.execute(statement.query(self.schema), statement.arguments)
                rows: list[Any] = cursor.fetchall()
        statement.stored()
        return rows


class AsyncConnected(Installed):
    """`Connected` for asyncio."""

    def __init__(self, source: str | AsyncPool, **options: Any) -> None:
        super().__init__(**options)
        self._own = isinstance(source, str)
        self._pool: AsyncPool = (
            AsyncConnectionPool(
                source, min_size=1, max_size=LARGEST_POOL, kwargs=_KWARGS, open=False
            )
            if isinstance(source, str)
            else source
        )

    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, conn_string: str, **options: Any) -> AsyncGenerator[Self]:
        """One with connections of its own, closed with the block."""
        made = cls(conn_string, **options)
        try:
            yield made
        finally:
            await made.close()

    async def close(self) -> None:
        """Close the connections that were opened here; a pool of the caller stays open."""
        if self._own:
            await self._pool.close()

    async def setup(self) -> None:
        """Make or upgrade the schema. Safe to repeat; needs create on the database."""
        await self._opened()
        async with self._pool.connection() as connection:
            dsn, password = connection.info.dsn, connection.info.password
        # Once in the life of a database: not worth a second, asynchronous installer.
        with psycopg.connect(dsn, password=password or None, autocommit=True) as plain:
            self._install(plain)

    async def _opened(self) -> None:
        if self._own and self._pool.closed:
            await self._pool.open()

    async def _execute(self, statement: Statement) -> list[Any]:
        await self._opened()
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=statement.rows, binary=True)
            async with cursor:
                with _translated():
                    await cursor.execute(statement.query(self.schema), statement.arguments)
                    rows: list[Any] = await cursor.fetchall()
        statement.stored()
        return rows


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except psycopg.Error as error:
        translated = translate(error)
        if translated is error:
            raise
        raise translated from None
