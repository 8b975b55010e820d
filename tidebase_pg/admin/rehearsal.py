"""An installation that is rolled back, to tell which locks it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.errors import LockNotAvailable

from tidebase_pg.admin.installer import (
    LOCKED,
    WAIT,
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
)
from tidebase_pg.admin.releases import Release, Script, current, outside, plan, refuse_newer
from tidebase_pg.admin.rendering import body_of, lock_tables
from tidebase_pg.admin.sql_text import first_line, split


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One statement of a rehearsal, and the locks it took on tables and views that were there."""

    script: str
    statement: str
    seconds: float | None
    """null = it cannot run in a transaction, so it was not tried."""
    locks: tuple[tuple[str, str], ...]


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

    The locks are real ones, held until everything has run: up to a second or so.
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
    for script in scripts:
        execute(connection, lock_tables(script, fresh=fresh))
        if outside(script, fresh=fresh):
            done += [
                Rehearsed(script.name, first_line(statement), None, ())
                for statement in split(script.body)
            ]
        elif script in release.migrations:
            done += tried(script, split(body_of(script, fresh=fresh)))
        else:
            done += tried(script, [script.body])
    return done
