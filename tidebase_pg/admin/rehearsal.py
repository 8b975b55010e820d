"""An installation that is rolled back, to tell which locks, how much time and room it takes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.errors import LockNotAvailable

from tidebase_pg.admin.installer import (
    LOCKED,
    Patience,
    locked,
    make_way,
    refuse_other_prefix,
    run_script,
)
from tidebase_pg.admin.ledger import (
    connect,
    execute,
    missing,
    read_ledger,
    refuse_unsuitable,
    value,
)
from tidebase_pg.admin.releases import Release, Script, current, outside, plan, refuse_newer
from tidebase_pg.admin.rendering import WAIT, body_of, lock_tables
from tidebase_pg.admin.sql_text import first_line, split

SAMPLED_PAGES: Final = 500
"""Of a table, for an index to be built on it: the locks of a rehearsal are held meanwhile."""

BUILD: Final = re.compile(
    r"create (?:unique )?index concurrently (?:if not exists )?\w+\s+on (?P<table>[\w.]+)\s*"
    r"\((?P<columns>[^()]+)\)(?:\s+where (?P<condition>.+))?$",
    re.DOTALL,
)

SAMPLE: Final = """
select
  count(*) filter (where coalesce({condition}, false)),
  avg(pg_column_size(row({columns}))) filter (where coalesce({condition}, false))
from {table} tablesample system ({percent})
"""

ROW_HEADER, ENTRY_HEADER, PAGE = 24, 12, 8192


@dataclass(frozen=True, slots=True)
class Forecast:
    """What building an index would take here, judged by a sample of the pages of its table."""

    table: str
    reads: int
    """Bytes of the table, which is read twice."""
    seconds: float
    """Of reading, as fast as the sample was read; waiting for older transactions comes on top."""
    room: int
    """Bytes on disk that stay taken."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One statement of a rehearsal, and the locks it took on tables and views that were there."""

    script: str
    statement: str
    seconds: float | None
    """null = it cannot run in a transaction, so it was not tried."""
    locks: tuple[tuple[str, str], ...]
    forecast: Forecast | None = None
    """Of an index that is built outside a transaction."""


def rehearse(
    dsn: str,
    release: Release | None = None,
    *,
    upgrade: bool = False,
    wait: float = WAIT,
    phase: str | None = None,
    role_prefix: str | None = None,
) -> list[Rehearsed]:
    """Do what `install` would in one transaction, roll it back, and tell what each statement took.

    The locks are real ones, held until everything has run, so what takes them comes last.
    """
    release = release or current()
    patience = Patience(wait)
    with connect(dsn) as connection:
        refuse_unsuitable(connection)
        while True:
            try:
                with locked(connection, keep=False, role_prefix=role_prefix) as alone:
                    if not alone:
                        raise LockNotAvailable("another installation is under way")
                    state = read_ledger(connection, to_write=True)
                    refuse_newer(release, state)
                    if upgrade and state.version is None:
                        raise missing(connection)
                    refuse_other_prefix(connection, state, role_prefix)
                    scripts = plan(release, state.applied, phase)
                    if not scripts:
                        return []
                    make_way(connection, state, role_prefix)
                    return _rehearse(connection, release, scripts, fresh=state.fresh)
            except LOCKED as error:
                patience.after(error)


def _rehearse(
    connection: psycopg.Connection, release: Release, scripts: Sequence[Script], *, fresh: bool
) -> list[Rehearsed]:
    there = [
        oid
        for (oid,) in connection.execute(
            """
            select c.oid
            from pg_class as c
            join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname !~ '^(pg_|information_schema$)'
            """
        )
    ]
    known: set[tuple[str, str]] = set()

    def locks() -> tuple[tuple[str, str], ...]:
        taken = connection.execute(
            """
            select l.relation::regclass::text, l.mode
            from pg_locks as l
            where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.granted
              and l.relation = any (%s)
            order by 1, 2
            """,
            (there,),
        ).fetchall()
        new = tuple((str(name), str(mode)) for name, mode in taken if (name, mode) not in known)
        known.update(new)
        return new

    def tried(script: Script, statements: Sequence[str]) -> Iterator[Rehearsed]:
        for statement in statements:
            began = time.monotonic()
            run_script(connection, script, statement)
            seconds = time.monotonic() - began
            yield Rehearsed(script.name, first_line(statement), seconds, locks())

    locks()
    done = list(tried(release.header, split(release.header.body)))
    for script in scripts if fresh else _locks_last(release, scripts):
        execute(connection, lock_tables([script], fresh=fresh, wait=0))
        if outside(script, fresh=fresh):
            done += [
                Rehearsed(
                    script.name, first_line(statement), None, (), _forecast(connection, statement)
                )
                for statement in split(script.body)
            ]
        elif script in release.migrations:
            done += tried(script, split(body_of(script, fresh=fresh)))
        else:
            done += tried(script, [script.body])
    return done


def _locks_last(release: Release, scripts: Sequence[Script]) -> list[Script]:
    """A plan in another order: in one transaction, each lock is held until everything has run."""
    bodies = {script.name for script in release.bodies}
    last = max((place for place, script in enumerate(scripts) if script.name in bodies), default=-1)
    before, after = scripts[: last + 1], scripts[last + 1 :]
    return [
        *(script for script in before if script.locks is None),
        *(script for script in before if script.locks is not None),
        *after,
    ]


def _forecast(connection: psycopg.Connection, statement: str) -> Forecast | None:
    build = BUILD.match(statement)
    if build is None:
        return None
    table, condition = build["table"], build["condition"] or "true"
    reads = int(str(value(connection, f"select pg_relation_size('{table}')")))
    part = min(1.0, SAMPLED_PAGES * PAGE / max(1, reads))
    text = SAMPLE.format(
        table=table, columns=build["columns"], condition=condition, percent=100 * part
    )
    began = time.monotonic()
    row = connection.execute(text.encode()).fetchone()
    seconds = (time.monotonic() - began) / part
    assert row is not None  # an aggregate has a row
    entries, size = row
    entry = float(size) - ROW_HEADER + ENTRY_HEADER if entries else 0
    # A tenth of each page stays free, and there are a first page and a root.
    room = 2 * PAGE + int(entries / part * entry / 0.9)
    return Forecast(table, reads, 2 * seconds, room)
