"""The only reader of sql/: plans, prints and applies the schema `tide`."""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from psycopg.errors import DeadlockDetected, InsufficientPrivilege, LockNotAvailable

from tidebase_pg.errors import MigrationDrift, SchemaError, SchemaTooNew, SchemaTooOld
from tidebase_pg.version import __version__

NO_TRANSACTION: Final = "-- tide: no transaction"
FUNCTIONS: Final = "functions"  # stands for the functions' digest beside the migrations' names
OLDEST_SERVER: Final = 15
WAIT: Final = 60.0
LOCKED: Final = (LockNotAvailable, DeadlockDetected)

BEGIN: Final = "begin isolation level read committed read write;"
LOCK: Final = "select pg_try_advisory_xact_lock(hashtext('tide.install'))"

# What a role or a database may have set otherwise, and what scripts rely on.
SETTINGS: Final = """\
set local lock_timeout = '1s';
set local statement_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
set local check_function_bodies = off;
set local client_min_messages = warning;
set local standard_conforming_strings = on;
set local search_path = pg_catalog, pg_temp;
"""

# `create index concurrently if not exists` steps over the invalid index a failed build leaves.
VALID_INDEXES: Final = """\
do $tide$
declare
  v_index text := (
    select min(format('%I.%I', n.nspname, c.relname))
    from pg_catalog.pg_index as i
    join pg_catalog.pg_class as c on c.oid = i.indexrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'tide' and not i.indisvalid and c.relkind = 'i'
  );
begin
  if v_index is not null then
    raise exception 'index % is invalid: an earlier build of it failed', v_index
      using errcode = 'object_not_in_prerequisite_state',
            hint = format('Run: drop index concurrently %s; then upgrade again.', v_index);
  end if;
end;
$tide$;
"""


@dataclass(frozen=True, slots=True)
class Script:
    """One file below sql/."""

    name: str
    body: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        return not self.body.startswith(NO_TRANSACTION)


@dataclass(frozen=True, slots=True)
class Release:
    """What one version of the package installs: history once, functions whole, grants last."""

    version: str
    header: Script
    migrations: tuple[Script, ...]
    repeatables: tuple[Script, ...]

    @property
    def digest(self) -> str:
        """Of all that is re-run; the version is in it, so each release leaves its row."""
        parts = [self.version]
        for script in (self.header, *self.repeatables):
            parts += [script.name, script.digest]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @classmethod
    def read(cls, folder: Path, version: str = __version__) -> Release:
        """The release in a folder laid out like sql/."""

        def script(path: Path) -> Script:
            text = path.read_bytes().decode().replace("\r\n", "\n")
            return Script(path.relative_to(folder).as_posix(), text)

        migrations = [script(path) for path in sorted((folder / "migrations").glob("*.sql"))]
        return cls(
            version,
            header=script(folder / "header.sql"),
            migrations=tuple(
                Script(Path(migration.name).name, migration.body) for migration in migrations
            ),
            repeatables=tuple(
                script(path)
                for path in (
                    *sorted((folder / "functions").rglob("*.sql")),
                    *sorted((folder / "views").rglob("*.sql")),
                    *folder.glob("grants.sql"),
                )
            ),
        )


@dataclass(frozen=True, slots=True)
class State:
    """What the ledger of a database says."""

    version: str | None = None
    applied: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an installation did; nothing when the schema was current."""

    before: str | None
    version: str
    migrations: tuple[str, ...]
    functions: int


@dataclass(frozen=True, slots=True)
class Status:
    """How a database stands to this package."""

    installed: str | None
    package: str
    pending: tuple[str, ...]
    functions_differ: bool

    @property
    def current(self) -> bool:
        return not self.pending and not self.functions_differ


# --- pure: what is to be done ---------------------------------------------------------------


def sql_folder() -> Path:
    """Where sql/ is: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    for candidate in (package / "sql", package.parent / "sql"):
        if (candidate / "header.sql").is_file():
            return candidate
    raise SchemaError(f"no sql/header.sql in {package} or beside it: reinstall tidebase-pg")


def current() -> Release:
    """The release this package carries."""
    return Release.read(sql_folder())


def plan(release: Release, applied: Mapping[str, str]) -> list[Script]:
    """The scripts still to run, in order; pure, so it is also what --print prints.

    `applied` has the sha256 of each applied migration by name, and under "functions" the digest
    of the newest installation.
    """
    for script in release.migrations:
        recorded = applied.get(script.name, script.digest)
        if recorded != script.digest:
            raise MigrationDrift(script.name, recorded, script.digest)
    pending = [script for script in release.migrations if script.name not in applied]
    if not pending and applied.get(FUNCTIONS) == release.digest:
        return []
    return [*pending, *release.repeatables]


def batches(release: Release, scripts: Sequence[Script]) -> list[list[Script]]:
    """A plan cut into transactions; a script that must run outside one stands alone.

    The last batch is a transaction, since it records the installation.
    """
    if not scripts:
        return []
    cut: list[list[Script]] = [[]]
    for script in scripts:
        if not script.transactional:
            cut += [[script], []]
        else:
            cut[-1].append(script)
    return [batch for batch in cut[:-1] if batch] + cut[-1:]


def split(body: str) -> list[str]:
    """The statements of a script, without comments around them; quotes and bodies stay whole."""
    statements: list[str] = []
    start = position = 0
    while position < len(body):
        token = TOKEN.match(body, position)
        assert token is not None  # the last alternative takes any character
        kind = token.lastgroup
        position = token.end()
        if kind == "block":
            position = _end_of_comment(body, position)
        elif kind == "dollar":
            closing = body.find(token.group(), position)
            position = len(body) if closing < 0 else closing + len(token.group())
        elif kind == "end":
            statements.append(body[start : position - 1])
            start = position
    statements.append(body[start:])
    bare = (_without_leading_comments(statement) for statement in statements)
    return [statement for statement in bare if statement]


TOKEN: Final = re.compile(
    r"""
    (?P<line>--[^\n]*)
    | (?P<block>/\*)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<string>'(?:[^']|'')*')
    | (?P<identifier>"(?:[^"]|"")*")
    | (?P<word>[^\W\d][\w$]*)
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def _end_of_comment(body: str, position: int) -> int:
    depth = 1
    for edge in re.compile(r"/\*|\*/").finditer(body, position):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(body)


def _without_leading_comments(statement: str) -> str:
    statement = statement.strip()
    while statement.startswith(("--", "/*")):
        if statement.startswith("--"):
            statement = statement.partition("\n")[2].lstrip()
        else:
            statement = statement[_end_of_comment(statement, 2) :].lstrip()
    return statement


def render(release: Release, state: State | None = None) -> str:
    """The text psql runs for the same result as `install`; the same for the same state.

    Each transaction first checks that the ledger is as this text expects it, so running it on
    another database, or twice, stops with an error and changes nothing.
    """
    state = state or State()
    _refuse_newer(release, state)
    scripts = plan(release, state.applied)
    if not scripts:
        return f"-- tidebase-pg {release.version}: the schema tide is current; nothing to run.\n"
    ledger = dict(state.applied)
    parts: list[str] = []
    cut = batches(release, scripts)
    for number, batch in enumerate(cut, start=1):
        guard = _guard(ledger)
        if batch and not batch[0].transactional:
            (script,) = batch
            parts += [guard, _titled(script), BEGIN, SETTINGS + VALID_INDEXES, _record(script)]
            parts.append("commit;\n")
            ledger[script.name] = script.digest
            continue
        parts += [BEGIN, SETTINGS + guard, _titled(release.header)]
        for script in batch:
            parts.append(_titled(script))
            if script in release.migrations:
                parts.append(_record(script))
                ledger[script.name] = script.digest
        if number == len(cut):
            parts.append(_record_installation(release))
        parts.append("commit;\n")
    text = "\\set ON_ERROR_STOP on\n\n" + "\n".join(parts)
    return _preamble(release, state, scripts, text) + text


def check_version(installed: str | None, driver: str = __version__) -> None:
    """Refuse a schema more than one minor version away from the driver's."""
    if installed is None:
        raise SchemaTooOld("this database has no schema tide; run: tidebase-pg install")
    schema_major, schema_minor, _ = _number(installed)
    driver_major, driver_minor, _ = _number(driver)
    if schema_major == driver_major and abs(schema_minor - driver_minor) <= 1:
        return
    if _number(installed) < _number(driver):
        raise SchemaTooOld(
            f"the schema tide has version {installed}, too old for tidebase-pg {driver}; "
            "run: tidebase-pg upgrade"
        )
    raise SchemaTooNew(
        f"the schema tide has version {installed}, too new for tidebase-pg {driver}; "
        f"run: pip install 'tidebase-pg>={installed}'"
    )


def _number(version: str) -> tuple[int, int, int]:
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        raise SchemaError(f"{version!r} is not a version of the schema tide")
    major, minor, patch = found.groups(default="0")
    return int(major), int(minor), int(patch)


def _refuse_newer(release: Release, state: State) -> None:
    """An older package neither drops nor overwrites what a newer one made."""
    known = {script.name for script in release.migrations} | {FUNCTIONS}
    unknown = sorted(state.applied.keys() - known)
    newer = state.version is not None and _number(state.version) > _number(release.version)
    if newer or unknown:
        facts = f" and migrations unknown here ({', '.join(unknown)})" if unknown else ""
        raise SchemaTooNew(
            f"the schema tide has version {state.version}{facts}, newer than tidebase-pg "
            f"{release.version}; run: pip install --upgrade tidebase-pg"
        )


# --- pure: the texts that install and render share ------------------------------------------


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _record(script: Script) -> str:
    return (
        "insert into tide.migrations (name, sha256)\n"
        f"values ({_literal(script.name)}, {_literal(script.digest)});\n"
    )


def _record_installation(release: Release) -> str:
    return (
        "insert into tide.installs (version, functions_sha256)\n"
        f"values ({_literal(release.version)}, {_literal(release.digest)});\n"
    )


def _titled(script: Script) -> str:
    body = script.body if script.body.endswith("\n") else script.body + "\n"
    return f"-- {script.name}\n{body}"


def _preamble(release: Release, state: State, scripts: Sequence[Script], text: str) -> str:
    what = (
        f"installs the schema tide {release.version}"
        if state.version is None
        else f"upgrades the schema tide from {state.version} to {release.version}"
    )
    lines = [
        f"-- This text {what}, just as the command would.",
        "-- Run it as the role that owns the schema: psql -X -f FILE",
        "-- It checks first that the database is as it expects, and otherwise changes nothing.",
        "--",
        f"-- sha256 of the text below the line: {hashlib.sha256(text.encode()).hexdigest()}",
        *(
            f"-- {script.name} {script.digest}"
            for script in scripts
            if script in release.migrations
        ),
        f"-- functions, views and grants {release.digest}",
        "-- " + "-" * 85,
    ]
    return "\n".join(lines) + "\n"


def _guard(ledger: Mapping[str, str]) -> str:
    """Everything `install` checks in Python before it writes, for a text that runs alone."""
    expected = _literal(json.dumps(dict(sorted(ledger.items()))))
    return f"""\
do $tide$
declare
  v_expected constant jsonb := {expected};
  v_found jsonb := '{{}}';
begin
  if not pg_try_advisory_xact_lock(hashtext('tide.install')) then
    raise exception 'another installation is under way; nothing was changed';
  end if;
  if current_setting('server_version_num')::integer < {OLDEST_SERVER}0000 then
    raise exception 'the schema tide needs PostgreSQL {OLDEST_SERVER} or newer';
  end if;
  if pg_is_in_recovery() then
    raise exception 'this server is a standby; run this text on the primary';
  end if;
  if to_regclass('tide.migrations') is not null then
    v_found := coalesce(
      (select jsonb_object_agg(m.name, m.sha256) from tide.migrations as m), '{{}}'
    ) || jsonb_strip_nulls(
      jsonb_build_object(
        '{FUNCTIONS}',
        (select i.functions_sha256 from tide.installs as i order by i.install_id desc limit 1)
      )
    );
  elsif exists (
    select from pg_class as c where c.relnamespace = to_regnamespace('tide')::oid
    union all
    select from pg_proc as p where p.pronamespace = to_regnamespace('tide')::oid
  ) then
    raise exception 'this database has another schema named tide; nothing was changed';
  end if;
  if v_found <> v_expected then
    raise exception 'the ledger tide.migrations is not as this text expects it'
      using detail = format('Expected %s, found %s.', v_expected, v_found),
            hint = 'Nothing was changed. Make a new text with: tidebase-pg upgrade --print';
  end if;
end;
$tide$;
"""


# --- the database ---------------------------------------------------------------------------


def install(
    dsn: str, release: Release | None = None, *, upgrade: bool = False, wait: float = WAIT
) -> Outcome:
    """Bring the schema of a database to this release; safe to repeat and to run at once.

    With `upgrade` an installation must be there already. `wait` is how many seconds to try for
    the lock against other installers and for the locks on tables in use.
    """
    release = release or current()
    first: State | None = None
    migrations: list[str] = []
    functions = 0
    give_up_at = time.monotonic() + wait
    with _connect(dsn) as connection:
        _refuse_unsuitable(connection)
        while True:
            try:
                with _alone(connection) as alone:
                    if not alone:
                        raise LockNotAvailable("another installation is under way")
                    state = _read(connection)
                    first = first or state
                    if upgrade and state.version is None:
                        raise _missing(connection)
                    _refuse_newer(release, state)
                    pending = batches(release, plan(release, state.applied))
                    if not pending:
                        return Outcome(first.version, release.version, tuple(migrations), functions)
                    batch, last = pending[0], len(pending) == 1
                    _refuse_unprivileged(connection)
                    if batch and not batch[0].transactional:
                        _apply_outside(dsn, batch[0])
                    else:
                        _apply(connection, release, batch, last=last)
            except LOCKED as error:
                if time.monotonic() >= give_up_at:
                    raise SchemaError(
                        f"gave up after {wait:g} s of waiting for locks: {_one_line(error)}"
                    ) from error
                time.sleep(random.uniform(0.05, 0.25))
                continue
            applied = [script for script in batch if script in release.migrations]
            migrations += [script.name for script in applied]
            functions += len(batch) - len(applied)
            give_up_at = time.monotonic() + wait


def status(dsn: str, release: Release | None = None) -> Status:
    """How a database stands to this package; changes nothing."""
    release = release or current()
    state = read(dsn)
    _refuse_newer(release, state)
    plan(release, state.applied)
    return Status(
        installed=state.version,
        package=release.version,
        pending=tuple(
            script.name for script in release.migrations if script.name not in state.applied
        ),
        functions_differ=state.applied.get(FUNCTIONS) != release.digest,
    )


def read(dsn: str, *, upgrade: bool = False) -> State:
    """The ledger of a database; with `upgrade` an installation must be there."""
    with _connect(dsn) as connection:
        state = _read(connection)
        if upgrade and state.version is None:
            raise _missing(connection)
        return state


def _connect(dsn: str) -> psycopg.Connection:
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=None)


@contextmanager
def _alone(connection: psycopg.Connection) -> Generator[bool, None, None]:
    """A transaction that holds the installation lock, if it could be had at once.

    Polled, never waited for: a waiter holds a snapshot, and `create index concurrently` would
    wait for it while it waits for the builder.
    """
    connection.execute(BEGIN)
    try:
        connection.execute(SETTINGS)
        yield bool(_value(connection, LOCK))
    except BaseException:
        if not connection.closed:
            connection.execute("rollback")
        raise
    connection.execute("commit")


def _apply(
    connection: psycopg.Connection, release: Release, batch: Sequence[Script], *, last: bool
) -> None:
    _run(connection, release.header, release.header.body)
    for script in batch:
        _run(connection, script, script.body)
        if script in release.migrations:
            _execute(connection, _record(script))
    if last:
        _execute(connection, _record_installation(release))


def _apply_outside(dsn: str, script: Script) -> None:
    """On a connection of its own, while the caller's transaction holds the lock."""
    with _connect(dsn) as connection:
        for statement in split(script.body):
            _run(connection, script, statement)
        with connection.transaction():
            _run(connection, script, VALID_INDEXES)
            _execute(connection, _record(script))


def _execute(connection: psycopg.Connection, text: str) -> None:
    connection.execute(text.encode())


def _run(connection: psycopg.Connection, script: Script, text: str) -> None:
    try:
        _execute(connection, text)
    except psycopg.Error as error:
        if isinstance(error, LOCKED) or connection.closed:
            raise
        line = ""
        if error.diag.statement_position is not None:
            at = text.count("\n", 0, int(error.diag.statement_position) - 1) + 1
            line = f", line {at}"
        raise SchemaError(f"{script.name}{line}: {_one_line(error)}") from error


def _value(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def _one_line(error: psycopg.Error) -> str:
    message = error.diag.message_primary or str(error)
    return f"{message}. {error.diag.message_hint}" if error.diag.message_hint else message


def _missing(connection: psycopg.Connection) -> SchemaTooOld:
    return SchemaTooOld(
        f"database {connection.info.dbname} has no schema tide; run: tidebase-pg install"
    )


def _refuse_unsuitable(connection: psycopg.Connection) -> None:
    server = connection.info.server_version
    if server < OLDEST_SERVER * 10000:
        raise SchemaError(
            f"the server is PostgreSQL {server // 10000}; "
            f"the schema tide needs {OLDEST_SERVER} or newer"
        )
    if _value(connection, "select pg_is_in_recovery()"):
        raise SchemaError("the server is a standby: connect to the primary")


def _refuse_unprivileged(connection: psycopg.Connection) -> None:
    """All missing rights at once, each as the statement that gives it."""
    row = connection.execute(
        """
        select
          case when not has_database_privilege(current_database(), 'create')
            then format('grant create on database %I to %I;', current_database(), current_user)
          end,
          case when not has_schema_privilege(n.oid, 'create')
            then format('grant create, usage on schema tide to %I;', current_user)
          end,
          case when c.relowner is not null and not pg_has_role(c.relowner, 'usage')
            then format('grant %I to %I;', pg_get_userbyid(c.relowner), current_user)
          end
        from (select to_regnamespace('tide')::oid as tide) as s
        left join pg_namespace as n on n.oid = s.tide
        left join pg_class as c on c.relnamespace = s.tide and c.relname = 'migrations'
        """
    ).fetchone()
    assert row is not None
    grants = [str(grant) for grant in row if grant is not None]
    if grants:
        raise SchemaError(
            f"role {connection.info.user} may not install the schema tide; "
            f"an administrator runs: {' '.join(grants)}"
        )


def _read(connection: psycopg.Connection) -> State:
    row = connection.execute(
        """
        select
          (
            select count(*) = 4
            from pg_attribute as a
            where (a.attrelid = to_regclass('tide.migrations')
                and a.attname in ('name', 'sha256'))
              or (a.attrelid = to_regclass('tide.installs')
                and a.attname in ('version', 'functions_sha256'))
          ),
          exists (
            select from pg_class as c where c.relnamespace = to_regnamespace('tide')::oid
            union all
            select from pg_proc as p where p.pronamespace = to_regnamespace('tide')::oid
            union all
            select from pg_type as t where t.typnamespace = to_regnamespace('tide')::oid
          )
        """
    ).fetchone()
    assert row is not None
    ledger, anything = row
    if not ledger and anything:
        raise SchemaError(
            f"database {connection.info.dbname} has a schema tide that tidebase-pg did not make; "
            "nothing was changed: rename it, or install into another database"
        )
    if not ledger:
        return State()
    try:
        applied = {
            str(name): str(sha256)
            for name, sha256 in connection.execute(
                "select m.name, m.sha256 from tide.migrations as m"
            )
        }
        newest = connection.execute(
            """
            select i.version, i.functions_sha256
            from tide.installs as i
            order by i.install_id desc
            limit 1
            """
        ).fetchone()
    except InsufficientPrivilege as error:
        raise SchemaError(
            f"role {connection.info.user} may not read the ledger of the schema tide; "
            "connect as the role that installed it"
        ) from error
    if newest is None:
        return State(None, applied)
    return State(str(newest[0]), {**applied, FUNCTIONS: str(newest[1])})
