"""What the ledger of a database says, and who may write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.errors import Diagnostic

from tidebase_pg.admin.releases import FUNCTIONS, Release, State, current, plan, refuse_newer
from tidebase_pg.admin.rendering import OLDEST_SERVER
from tidebase_pg.errors import SchemaError, SchemaTooOld

EXTENSION: Final = "tidebase"


@dataclass(frozen=True, slots=True)
class Status:
    """How a database stands to this package."""

    installed: str | None
    package: str
    pending: tuple[str, ...]
    functions_differ: bool
    extension: bool = False

    @property
    def current(self) -> bool:
        return not self.pending and not self.functions_differ


def status(dsn: str, release: Release | None = None) -> Status:
    """How a database stands to this package; changes nothing."""
    release = release or current()
    state = read(dsn)
    refuse_newer(release, state)
    plan(release, state.applied)
    return Status(
        installed=state.version,
        package=release.version,
        pending=tuple(
            script.name for script in release.migrations if script.name not in state.applied
        ),
        functions_differ=state.version != release.version
        if state.extension
        else state.applied.get(FUNCTIONS) != release.digest,
        extension=state.extension,
    )


def read(dsn: str, *, upgrade: bool = False) -> State:
    """The ledger of a database; with `upgrade` an installation must be there."""
    with connect(dsn) as connection:
        if upgrade:
            refuse_extension(connection, "alter extension tidebase update")
        state = read_ledger(connection)
        if upgrade and state.version is None:
            raise missing(connection)
        return state


def connect(dsn: str) -> psycopg.Connection:
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=None)


def execute(connection: psycopg.Connection, text: str) -> None:
    connection.execute(text.encode())


def value(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def one_line(error: psycopg.Error) -> str:
    return fact(error.diag) if error.diag.message_primary else str(error)


def fact(said: Diagnostic) -> str:
    message = said.message_primary or ""
    return f"{message}. {said.message_hint}" if said.message_hint else message


def missing(connection: psycopg.Connection) -> SchemaTooOld:
    return SchemaTooOld(
        f"database {connection.info.dbname} has no schema tide; run: tidebase-pg install"
    )


def of_extension(connection: psycopg.Connection[Any]) -> bool:
    """Whether create extension made the schema."""
    return bool(
        connection.execute(
            """
            select
            from pg_depend as d
            join pg_extension as e on e.oid = d.refobjid
            where d.classid = 'pg_namespace'::regclass
              and d.objid = to_regnamespace('tide')::oid
              and d.refclassid = 'pg_extension'::regclass
              and d.deptype = 'e'
              and e.extname = %s
            """,
            (EXTENSION,),
        ).fetchall()
    )


def refuse_extension(connection: psycopg.Connection[Any], instead: str) -> None:
    """One door for each database: what an extension made, only the extension changes."""
    if of_extension(connection):
        raise SchemaError(
            f"the schema tide of database {connection.info.dbname} belongs to the extension "
            f"{EXTENSION}; nothing was changed: run in psql: {instead};"
        )


def refuse_unsuitable(connection: psycopg.Connection) -> None:
    server = connection.info.server_version
    if server < OLDEST_SERVER * 10000:
        raise SchemaError(
            f"the server is PostgreSQL {server // 10000}; "
            f"the schema tide needs {OLDEST_SERVER} or newer"
        )
    if value(connection, "select pg_is_in_recovery()"):
        raise SchemaError("the server is a standby: connect to the primary")
    backend = value(connection, "select pg_backend_pid()")
    if backend != connection.info.backend_pid:
        raise SchemaError(
            "there is a pooler before the server: it hands each transaction to any session, and "
            "building an index needs one that lasts; nothing was changed: give --dsn the address "
            "of the server itself"
        )


def refuse_unprivileged(connection: psycopg.Connection) -> None:
    """All missing rights at once, each as the statement that gives it."""
    rows = connection.execute(
        """
        select format('grant create on database %I to %I;', current_database(), current_user)
        where not has_database_privilege(current_database(), 'create')
        union all
        select format('grant create, usage on schema tide to %I;', current_user)
        from pg_namespace as n
        where n.nspname = 'tide'
          and not (has_schema_privilege(n.oid, 'create') and has_schema_privilege(n.oid, 'usage'))
        union all
        select distinct format('grant %I to %I;', pg_get_userbyid(o.owner), current_user)
        from (
          select c.relowner, c.relnamespace from pg_class as c
          union all
          select p.proowner, p.pronamespace from pg_proc as p
          union all
          select t.typowner, t.typnamespace from pg_type as t
        ) as o(owner, namespace)
        join pg_namespace as n on n.oid = o.namespace
        where n.nspname = 'tide' and not pg_has_role(o.owner, 'usage')
        """
    ).fetchall()
    if rows:
        raise SchemaError(
            f"role {connection.info.user} may not install the schema tide; "
            f"an administrator runs: {' '.join(str(grant) for (grant,) in rows)}"
        )


def read_ledger(connection: psycopg.Connection, *, to_write: bool = False) -> State:
    if to_write:
        refuse_extension(connection, "alter extension tidebase update")
    row = connection.execute(
        """
        select
          (
            select count(*) = 4
            from pg_attribute as a
            join pg_class as c on c.oid = a.attrelid
            where c.relnamespace = n.oid
              and (c.relname, a.attname) in (
                ('migrations', 'name'), ('migrations', 'sha256'),
                ('installs', 'version'), ('installs', 'functions_sha256')
              )
          ),
          exists (
            select from pg_class as c where c.relnamespace = n.oid
            union all
            select from pg_proc as p where p.pronamespace = n.oid
            union all
            select from pg_type as t where t.typnamespace = n.oid
          ),
          has_schema_privilege(n.oid, 'usage') and (
            select bool_and(has_table_privilege(c.oid, 'select'))
            from pg_class as c
            where c.relnamespace = n.oid and c.relname in ('migrations', 'installs')
          )
        from pg_namespace as n
        where n.nspname = 'tide'
        """
    ).fetchone()
    if row is None:
        return State()
    ledger, anything, readable = row
    if not ledger and anything:
        raise SchemaError(
            f"database {connection.info.dbname} has a schema tide that tidebase-pg did not make; "
            "nothing was changed: rename it, or install into another database"
        )
    if not ledger:
        return State()
    if not readable:
        if to_write:
            refuse_unprivileged(connection)
        raise SchemaError(
            f"role {connection.info.user} may not read the ledger of the schema tide; "
            "connect as the role that installed it"
        )
    applied = {
        str(name): str(sha256)
        for name, sha256 in connection.execute("select m.name, m.sha256 from tide.migrations as m")
    }
    newest = connection.execute(
        """
        select i.version, i.functions_sha256
        from tide.installs as i
        order by i.install_id desc
        limit 1
        """
    ).fetchone()
    if newest is None:
        return State(None, applied, ledger=True)
    applied[FUNCTIONS] = str(newest[1])
    return State(str(newest[0]), applied, extension=of_extension(connection), ledger=True)
