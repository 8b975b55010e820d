"""A server for tests, and a database for each of them, copied from a template."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tidebase_pg import admin
from tidebase_pg.admin.embedded import Server
from tidebase_pg.testing.clock import INSTALL

if TYPE_CHECKING:
    from tidebase_pg.testing.application import Application
    from tidebase_pg.testing.kit import TideTest

SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
}
"""Data nobody keeps need not survive the machine; processes may still be killed."""


# Postgres itself looks every tenth of a second only, when a database is dropped or a session ended.
END_SESSIONS: Final = """
do $$
begin
  perform pg_terminate_backend(a.pid)
  from pg_stat_activity as a
  where {}
    and a.backend_type = 'client backend'
    and pg_has_role(a.usesysid, 'usage');
  for v_look in 1..500 loop
    perform pg_stat_clear_snapshot();
    exit when not exists (select from pg_stat_activity as a where {});
    perform pg_sleep(0.001);
  end loop;
end;
$$
"""


class KitError(Exception):
    """A test asked the kit for something it cannot do; the message names it and the remedy."""


class TestServer:
    """A Postgres server on which test databases are made; made by `databases`."""

    __test__ = False  # no test class, whatever its name

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._prefix = f"tide_test_{os.getpid()}"
        self._numbers = count(1)
        self._admin: psycopg.Connection[Any] = psycopg.connect(dsn, autocommit=True)
        self._template: str | None = None

    @contextmanager
    def database(self) -> Generator[str]:
        """The DSN of a new database with the schema installed, gone afterwards."""
        if self._template is None:
            self._template = self._make_template()
        name = f"{self._prefix}_{next(self._numbers)}"
        self._create(name, self._template)
        try:
            yield make_conninfo(self._dsn, dbname=name)
        finally:
            self._drop(name)

    @contextmanager
    def tide_test(self, app: Application) -> Generator[TideTest]:
        """A kit for one test of an application: its Tidebase or AsyncTidebase.

        Until the end the application works on the test's database, whatever it was made for.
        """
        from tidebase_pg.testing.kit import TideTest

        with self.database() as dsn, TideTest(dsn, app) as kit:
            yield kit

    def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            self._drop(self._template)
        self._admin.close()

    def _make_template(self) -> str:
        name = f"{self._prefix}_template"
        self._drop(name)
        self._create(name, "template0")
        dsn = make_conninfo(self._dsn, dbname=name)
        admin.install(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(INSTALL.encode())
            # Each test's database is a copy, and a copy would be paused.
            connection.execute(
                "update tide.identity set system_identifier = null, database_oid = null"
            )
        return name

    def _create(self, name: str, template: str) -> None:
        self._admin.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )

    def _drop(self, name: str) -> None:
        drop_database(self._admin, name)


def end_sessions(connection: psycopg.Connection[Any], which: sql.Composable) -> None:
    """End sessions, given by a condition on `pg_stat_activity as a`, and see them gone."""
    connection.execute(sql.SQL(END_SESSIONS).format(which, which))


def drop_database(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a database if it exists, whoever is still connected."""
    end_sessions(connection, sql.SQL("a.datname = {}").format(sql.Literal(name)))
    connection.execute(
        sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    )


@contextmanager
def databases(dsn: str | None = None) -> Generator[TestServer]:
    """A server for tests: the one behind `dsn`, where a role may create databases, else one of its
    own from the extra `embedded`, stopped and removed afterwards.

    Raises EmbeddedError where there is none.

    >>> with databases() as server, server.database() as dsn:
    ...     print(dsn)
    """
    with ExitStack() as ending:
        if dsn is None:
            folder = Path(tempfile.mkdtemp(prefix="tide-test-"))
            ending.callback(shutil.rmtree, folder, ignore_errors=True)
            own = Server(folder, settings=SETTINGS)
            ending.callback(own.stop, mode="immediate")
            dsn = own.start()
        server = TestServer(dsn)
        ending.callback(server.close)
        yield server
