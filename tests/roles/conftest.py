"""Fixtures of the tests of who may do what: logins that are members of the group roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.runs.acts import hour as hour
from tests.runs.acts import tide as tide
from tests.support import Connection, open_connection
from tidebase_pg.testing.databases import end_sessions


@pytest.fixture
def log_in(connection: Connection, direct_dsn: str) -> Iterator[Callable[..., Connection]]:
    """log_in("tide_client") -> a connection as a new login that is a member of these roles."""
    numbers = count(1)
    with ExitStack() as ending:

        def log_in(*roles: str) -> Connection:
            name = f"{connection.info.dbname}_login_{next(numbers)}"
            login = sql.Identifier(name)
            connection.execute(sql.SQL("create role {} login").format(login))

            def forget() -> None:
                # A session that is ending still removes its temporary tables.
                end_sessions(connection, sql.SQL("a.usename = {}").format(sql.Literal(name)))
                connection.execute(sql.SQL("drop owned by {}").format(login))
                connection.execute(sql.SQL("drop role {}").format(login))

            ending.callback(forget)
            for role in roles:
                connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), login))
            opened = open_connection(make_conninfo(direct_dsn, user=name))
            ending.callback(opened.close)
            return opened

        yield log_in
