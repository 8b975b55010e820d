"""Helper functions of the tests: databases, a clock that stands still, things done at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

from tests.servers import RunningServer
from tidebase_pg import admin
from tidebase_pg.testing.databases import drop_database

T = TypeVar("T")
Connection = psycopg.Connection[Any]

MIDNIGHT = datetime(2030, 1, 1, tzinfo=UTC)
LONG = os.environ.get("TIDE_TEST_LONG") == "1"


def size(usual: int, long: int) -> int:
    """How many of something a test makes: usually, and in `make test-long`."""
    return long if LONG else usual


def open_connection(dsn: str, *, autocommit: bool = True) -> Connection:
    """As every test connection is: rows are named tuples, nothing is prepared."""
    return psycopg.connect(
        dsn, autocommit=autocommit, row_factory=namedtuple_row, prepare_threshold=None
    )


def one(connection: Connection, query: str, *arguments: Any) -> Any:
    """The single row of a query with %s placeholders; an assertion if there is not exactly one."""
    rows = connection.execute(query.encode(), arguments or None).fetchall()
    assert len(rows) == 1, f"{len(rows)} rows: {query}"
    return rows[0]


def value(connection: Connection, query: str, *arguments: Any) -> Any:
    """The single value of a query."""
    return one(connection, query, *arguments)[0]


def contents(connection: Connection) -> dict[str, str]:
    """A digest of the rows of every table of the schema: equal before and after = not written."""
    tables = connection.execute(
        """
        select c.relname
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and c.relkind = 'r'
        """
    ).fetchall()
    query = " union all ".join(
        f"select '{name}' as name, md5(string_agg(t::text, ';' order by t::text)) as digest "
        f"from tide.{name} as t"
        for (name,) in tables
    )
    return dict(connection.execute(query.encode()).fetchall())


class Databases:
    """Makes and drops databases over one connection that stays open: some 20 ms a database."""

    def __init__(self, server: RunningServer, prefix: str) -> None:
        self.server = server
        self.prefix = prefix
        self.numbers = count(1)
        self.admin = open_connection(server.dsn())

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The name of a new database, gone afterwards whoever is still connected."""
        name = f"{self.prefix}_{next(self.numbers)}"
        self.admin.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        try:
            yield name
        finally:
            drop_database(self.admin, name)

    def close(self) -> None:
        self.admin.close()


def install_for_copies(dsn: str) -> None:
    """Install the schema in a database that every test's database is a copy of."""
    admin.install(dsn)
    # What identity does not know it does not compare.
    with open_connection(dsn) as connection:
        connection.execute("update tide.identity set system_identifier = null, database_oid = null")


def need_floors(connection: Connection) -> None:
    """Claim floors are written though no entries of runs that are gone lie before the first."""
    connection.execute(
        "create or replace function tide._needs_floor(entries bigint) returns boolean "
        "language sql stable parallel safe as 'select true'"
    )


def fold_charges(connection: Connection) -> None:
    """Settled charges of lanes are folded however few there are."""
    connection.execute(
        "create or replace function tide._many_charges() returns integer "
        "language sql immutable parallel safe as 'select 1'"
    )


class Clock:
    """The database's clock, stopped: every connection to the database sees the time set here."""

    def __init__(self, dsn: str) -> None:
        self.connection = open_connection(dsn)
        if value(self.connection, "select to_regclass('tide_test.clock') is not null"):
            return
        self.connection.execute(
            """
            create schema tide_test;
            create table tide_test.clock (stopped_at timestamptz);
            grant usage on schema tide_test to public;
            grant select on tide_test.clock to public;
            insert into tide_test.clock values (null);
            create or replace function tide._now()
            returns timestamptz
            language plpgsql
            volatile
            as $$
            begin
              return coalesce(
                (select c.stopped_at from tide_test.clock as c), pg_catalog.clock_timestamp()
              );
            end;
            $$;
            """
        )

    @property
    def now(self) -> datetime:
        found: datetime = value(self.connection, "select tide._now()")
        return found

    def set(self, moment: datetime = MIDNIGHT) -> datetime:
        """Stop the clock at a moment with a time zone."""
        assert moment.tzinfo is not None
        self.connection.execute("update tide_test.clock set stopped_at = %s", (moment,))
        return moment

    def advance(self, step: timedelta) -> datetime:
        """Move the clock, stopping it first if it still runs."""
        return self.set(self.now + step)

    def run(self) -> None:
        """Let it run again with the server's time."""
        self.connection.execute("update tide_test.clock set stopped_at = null")

    def close(self) -> None:
        self.connection.close()


class Outcome(NamedTuple):
    """What became of one of several things done at once."""

    value: Any
    error: BaseException | None


def at_once(functions: Sequence[Callable[[], T]]) -> list[Outcome]:
    """Call each function in a thread of its own, all released together; outcomes in their order."""
    start = threading.Barrier(len(functions))

    def released(function: Callable[[], T]) -> Outcome:
        start.wait()
        try:
            return Outcome(function(), None)
        except BaseException as error:
            return Outcome(None, error)

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(released, functions))


def results(outcomes: Sequence[Outcome]) -> list[Any]:
    """The values; raises the first error."""
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.value for outcome in outcomes]


def wait_until_blocked(observer: Connection, pid: int) -> None:
    """Return once the backend waits for a lock of another; fails if it goes idle instead."""
    while True:
        row = observer.execute(
            """
            select cardinality(pg_blocking_pids(a.pid)) > 0 as blocked, a.state
            from pg_stat_activity as a
            where a.pid = %s
            """,
            (pid,),
        ).fetchone()
        assert row is not None, f"backend {pid} has gone"
        if row.blocked:
            return
        observer.execute("select pg_stat_clear_snapshot()")
