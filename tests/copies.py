"""Databases that one test after the other has to itself, each as new, or else dropped.

A copy of the template costs 30 ms of a processor, and a session that has run no function yet some
40 more. Most tests leave rows only: those are removed, and the catalogues show that nothing else
has changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from tests.servers import RunningServer
from tests.support import Clock, Connection, Databases, open_connection

PATIENCE = 10
"""Seconds for a session to end, or for a lock."""

TABLES = """
select
  format('%I.%I', n.nspname, c.relname) as name,
  pg_relation_size(c.oid) > 0 as filled
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r'
  and n.nspname not in ('pg_catalog', 'information_schema')
order by name
"""

FILLED = """
select string_agg(name, ', ')
from unnest(%s::text[]) as name
where pg_relation_size(name::regclass) > 0
"""

OTHERS = """
select pg_terminate_backend(a.pid)
from pg_stat_activity as a
where a.datname = current_database()
  and a.backend_type = 'client backend'
  and a.pid <> all (%s::integer[])
"""

# Who writes there leaves a newer row, or fewer; bootstrap's rows have no age.
CATALOGUES = """
select string_agg(
  format(
    'select %L as name, count(*) as rows, '
    'age(''3''::xid) - min(age(xmin)) filter (where age(xmin) < 2147483647) as newest from %I',
    c.relname,
    c.relname
  )
  || case c.relname
    when 'pg_database' then ' where datname = current_database()'
    when 'pg_db_role_setting' then
      ' where setdatabase = (select oid from pg_database where datname = current_database())'
    else ''
  end,
  ' union all '
  order by c.relname
)
from pg_class as c
where c.relnamespace = 'pg_catalog'::regnamespace
  and c.relkind = 'r'
  and c.relname <> 'pg_class'
  and (not c.relisshared or c.relname in ('pg_database', 'pg_db_role_setting'))
"""

# It changes when tables are emptied; vacuum and analyze write sizes in place.
CLASSES = """
select
  count(*),
  sum(relpages) as pages,
  sum(reltuples)::bigint as rows,
  min(age(xmin)) - age('3'::xid) as newest
from pg_class
"""


SEQUENCES = "select array_agg((sequencename, last_value)::text order by 1) from pg_sequences"


class Lent(psycopg.Connection[Any]):
    """A connection object of one test, with its converters and factories, over a session that
    goes on."""

    def __del__(self, *_: object) -> None:
        pass


class Copy:
    """A copy of the template, a session that tests are lent, and one that looks after both."""

    def __init__(self, name: str, dsn: str, ending: ExitStack, *, clock: bool) -> None:
        self.name = name
        self.ending = ending
        if clock:
            Clock(dsn).close()
        self._session = ending.enter_context(open_connection(dsn))
        self._keeper = ending.enter_context(open_connection(dsn))
        self._keeper.prepare_threshold = 0
        # Rows are removed and put back without triggers.
        self._keeper.execute("set session_replication_role = replica")
        self._keeper.execute(f"set lock_timeout = '{PATIENCE} s'".encode())
        self._keeper.execute("set client_min_messages = warning")
        tables = self._keeper.execute(TABLES).fetchall()
        self._empty = [table.name for table in tables if not table.filled]
        self._rows = {table.name: self._read(table.name) for table in tables if table.filled}
        self._digests = " union all ".join(
            f"select '{name}' as name, md5(string_agg(t::text, ';' order by t::text)) as digest "
            f"from {name} as t"
            for name in self._rows
        )
        self._digested = self._ask(self._digests)
        ((self._catalogues,),) = self._ask(CATALOGUES)
        self._as_new = self._ask(self._catalogues)
        self._classes = self._ask(CLASSES)
        self._sequences = self._ask(SEQUENCES)

    def lend(self) -> Connection:
        """The session, as `open_connection` gives one."""
        lent = Lent(self._session.pgconn, row_factory=namedtuple_row)
        lent.prepare_threshold = None
        lent.autocommit = True
        return lent

    def renew(self) -> bool:
        """Remove what a test has left; whether the database and the session are as new."""
        try:
            self._end_others()
            if (self._ask(self._catalogues), self._ask(CLASSES)) != (self._as_new, self._classes):
                return False
            self._session.rollback()
            self._session.execute("discard all")
            self._session.execute("select pg_stat_force_next_flush()")
            self._empty_tables()
            self._classes = self._ask(CLASSES)
            return self._ask(SEQUENCES) == self._sequences
        except psycopg.Error:
            return False

    def _ask(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        return self._keeper.execute(query.encode(), arguments or None).fetchall()

    def _end_others(self) -> None:
        own = [self._session.info.backend_pid, self._keeper.info.backend_pid]
        until = time.monotonic() + PATIENCE
        while self._ask(OTHERS, own):
            if time.monotonic() > until:
                raise psycopg.OperationalError("a session does not end")

    def _empty_tables(self) -> None:
        ((filled,),) = self._ask(FILLED, self._empty)
        if filled:
            self._keeper.execute(f"truncate {filled} restart identity cascade".encode())
        for table, _ in set(self._ask(self._digests)) - set(self._digested):
            self._keeper.execute(f"delete from {table}".encode())
            with self._keeper.cursor().copy(f"copy {table} from stdin".encode()) as into:
                into.write(self._rows[table])

    def _read(self, table: str) -> bytes:
        with self._keeper.cursor().copy(f"copy {table} to stdout".encode()) as rows:
            return b"".join(rows)


class Copies:
    """Copies of the template; of each kind one that no test has now."""

    def __init__(self, databases: Databases, template: str, server: RunningServer) -> None:
        self._databases = databases
        self._template = template
        self._server = server
        self._idle: dict[bool, Copy] = {}

    @contextmanager
    def copy(self, *, clock: bool) -> Iterator[Copy]:
        """A database as new; with the clock of `Clock`, or with the server's."""
        copy = self._idle.pop(clock, None) or self._make(clock)
        try:
            yield copy
        finally:
            if copy.renew():
                self._idle[clock] = copy
            else:
                copy.ending.close()

    def close(self) -> None:
        for copy in self._idle.values():
            copy.ending.close()

    def _make(self, clock: bool) -> Copy:
        with ExitStack() as ending:
            name = ending.enter_context(self._databases.database(self._template))
            copy = Copy(name, self._server.dsn(name), ending, clock=clock)
            copy.ending = ending.pop_all()
        return copy
