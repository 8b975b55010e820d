"""Brings the schema `tide` of a database to a release."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.rows import tuple_row

from tidebase_pg.admin import drift
from tidebase_pg.admin.ledger import (
    connect,
    execute,
    fact,
    missing,
    one_line,
    read_ledger,
    refuse_unprivileged,
    refuse_unsuitable,
    value,
)
from tidebase_pg.admin.releases import (
    Release,
    Script,
    State,
    batches,
    current,
    installs,
    outside,
    plan,
    refuse_newer,
)
from tidebase_pg.admin.rendering import (
    BEGAN,
    BEGIN,
    WAIT,
    body_of,
    invalid_indexes,
    record_installation,
    record_migration,
    refuse_invalid,
    settings,
    with_locks,
)
from tidebase_pg.admin.sql_text import split
from tidebase_pg.admin.strangers import refuse_strangers, remove_shell
from tidebase_pg.errors import SchemaError

LOCKED: Final = (LockNotAvailable, DeadlockDetected)


LOCK: Final = "select pg_try_advisory_xact_lock(hashtext('tide.install'))"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an installation did; nothing when the schema was current."""

    before: str | None
    version: str
    migrations: tuple[str, ...]
    functions: int
    notices: tuple[str, ...] = ()


@dataclass(slots=True)
class _Progress:
    """How many scripts have begun, of how many."""

    begun: int
    scripts: int
    tell: Callable[[str], None] | None

    def begins(self, script: Script) -> None:
        self.begun += 1
        if self.tell is not None:
            self.tell(f"{self.begun} of {self.scripts}: {script.name}")


def install(
    dsn: str,
    release: Release | None = None,
    *,
    upgrade: bool = False,
    wait: float = WAIT,
    phase: str | None = None,
    role_prefix: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Bring the schema of a database to this release; safe to repeat and to run at once.

    With `upgrade` an installation must be there already. `wait` is how many seconds to try for
    the lock against other installers and for the locks on tables in use. `phase` "pre" stops
    before what the release before cannot live with; "post" is the rest. `role_prefix` begins the
    names of the group roles of a new installation, "tide_" by default; an installation keeps its.
    `tell` is called with how far it is, before each script.
    """
    release = release or current()
    first: State | None = None
    migrations: list[str] = []
    functions = 0
    notices: list[str] = []
    patience = Patience(wait)
    with connect(dsn) as connection:
        connection.add_notice_handler(lambda notice: notices.append(fact(notice)))
        refuse_unsuitable(connection)
        while True:
            batch: list[Script] = []
            try:
                with locked(connection, role_prefix=role_prefix) as alone:
                    if not alone:
                        raise LockNotAvailable("another installation is under way")
                    state = read_ledger(connection, to_write=True)
                    first = first or state
                    refuse_newer(release, state)
                    if upgrade and state.version is None:
                        raise missing(connection)
                    refuse_other_prefix(connection, state, role_prefix)
                    scripts = plan(release, state.applied, phase)
                    pending = batches(release, scripts, fresh=state.fresh)
                    if not pending:
                        return Outcome(
                            first.version,
                            release.version,
                            tuple(migrations),
                            functions,
                            tuple(dict.fromkeys(notices)),
                        )
                    batch = pending[0]
                    done = len(migrations) + functions
                    progress = _Progress(done, done + len(scripts), tell)
                    notices += make_way(connection, state, role_prefix)
                    _apply(
                        connection, release, batch, progress, fresh=state.fresh, dsn=dsn, wait=wait
                    )
            except LOCKED as error:
                patience.after(error)
                continue
            except psycopg.OperationalError as error:
                raise SchemaError(
                    f"the connection was lost: {one_line(error)}; what was not committed is "
                    "undone: run the command again, it goes on from there"
                ) from error
            applied = [script for script in batch if script in release.migrations]
            migrations += [script.name for script in applied]
            functions += len(batch) - len(applied)
            patience = Patience(wait)


def make_way(connection: psycopg.Connection, state: State, role_prefix: str | None) -> list[str]:
    """Refuse what was there before and cannot be trusted, and remove the empty schema of a dump.

    What its group roles were called is all that is taken from it, and from an owner who is
    trusted only. Returns what is to be known.
    """
    refuse_unprivileged(connection)
    shell = state.fresh and state.ledger
    if shell and role_prefix is None:
        role_prefix = recorded_prefix(connection)
    told = refuse_strangers(connection, fresh=state.fresh, role_prefix=role_prefix)
    if shell:
        execute(connection, settings(role_prefix))
        remove_shell(connection)
    return told


def refuse_other_prefix(
    connection: psycopg.Connection, state: State, role_prefix: str | None
) -> None:
    """An installation keeps the names of its group roles: rights were given by them."""
    if role_prefix is None or state.version is None:
        return
    prefix = recorded_prefix(connection)
    if prefix != role_prefix:
        raise SchemaError(
            f"the group roles of database {connection.info.dbname} begin with {prefix}, not with "
            f"{role_prefix}; nothing was changed: they are named when the schema is installed, and "
            "keep their names"
        )


def recorded_prefix(connection: psycopg.Connection) -> str:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return drift.role_prefix(cursor)


class Patience:
    """Trying again after a lock could not be had, for so many seconds."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self.give_up_at = time.monotonic() + wait

    def after(self, error: psycopg.Error) -> None:
        if time.monotonic() >= self.give_up_at:
            where = (error.diag.context or "").partition("\n")[0]
            raise SchemaError(
                f"gave up after {self.wait:g} s of waiting for locks: {one_line(error)}"
                + (f" ({where})" if where else "")
            ) from error
        time.sleep(random.uniform(0.05, 0.25))


@contextmanager
def locked(
    connection: psycopg.Connection, *, keep: bool = True, role_prefix: str | None = None
) -> Generator[bool, None, None]:
    """A transaction that holds the installation lock, if it could be had at once.

    Polled, never waited for: a waiter holds a snapshot, and `create index concurrently` would
    wait for it while it waits for the builder.
    """
    connection.execute(BEGIN)
    try:
        connection.execute(settings(role_prefix).encode())
        yield bool(value(connection, LOCK))
    except BaseException:
        if not connection.closed:
            connection.execute("rollback")
        raise
    connection.execute("commit" if keep else "rollback")


def _apply(
    connection: psycopg.Connection,
    release: Release,
    batch: Sequence[Script],
    progress: _Progress,
    *,
    fresh: bool,
    dsn: str,
    wait: float,
) -> None:
    if batch and outside(batch[0], fresh=fresh):
        (script,) = batch
        progress.begins(script)
        execute(connection, BEGAN.format(local="true"))
        _apply_outside(dsn, script, wait)
        run_script(connection, release.header, release.header.body)
        execute(connection, record_migration(script))
        return
    run_script(connection, release.header, release.header.body)
    for script, locks in with_locks(batch, fresh=fresh, wait=wait):
        progress.begins(script)
        migration = script in release.migrations
        execute(connection, locks)
        if migration:
            execute(connection, BEGAN.format(local="true"))
        run_script(connection, script, body_of(script, fresh=fresh))
        if migration:
            execute(connection, record_migration(script))
    if installs(release, batch):
        execute(connection, record_installation(release))


def _apply_outside(dsn: str, script: Script, wait: float) -> None:
    """On a connection of its own, while the caller's transaction holds the lock.

    Building an index waits for transactions that are older, and stops nobody meanwhile.
    """
    with connect(dsn) as connection:
        connection.execute(
            "select set_config(s.name, s.setting, false)"
            " from unnest(%s::text[], %s::text[]) as s(name, setting)",
            (
                ["lock_timeout", "statement_timeout", "client_min_messages", "search_path"],
                [str(max(1, int(wait * 1000))), "0", "warning", "pg_catalog, pg_temp"],
            ),
        )
        _drop_invalid_indexes(connection, script)
        try:
            for statement in split(script.body):
                run_script(connection, script, statement)
        except BaseException:
            if not connection.closed:
                with suppress(psycopg.Error):
                    _drop_invalid_indexes(connection, script)
            raise
        run_script(connection, script, refuse_invalid(script))


def _drop_invalid_indexes(connection: psycopg.Connection, script: Script) -> None:
    if script.indexes:
        for (drop,) in connection.execute(invalid_indexes(script).encode()).fetchall():
            execute(connection, str(drop))


def run_script(connection: psycopg.Connection, script: Script, text: str) -> None:
    try:
        execute(connection, text)
    except psycopg.Error as error:
        if isinstance(error, LOCKED) or connection.closed:
            raise
        line = ""
        if error.diag.statement_position is not None:
            at = text.count("\n", 0, int(error.diag.statement_position) - 1) + 1
            line = f", line {at}"
        raise SchemaError(f"{script.name}{line}: {one_line(error)}") from error
