"""The only reader of sql/: plans, prints and applies the schema `tide`."""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.errors import DeadlockDetected, Diagnostic, LockNotAvailable

from tidebase_pg.errors import MigrationDrift, SchemaError, SchemaTooNew, SchemaTooOld
from tidebase_pg.version import __version__

NO_TRANSACTION: Final = "no transaction"
AFTER_THE_DEPLOY: Final = "after the deploy"
WITH_THE_FUNCTIONS: Final = "with the functions"
AFTER_THE_FUNCTIONS: Final = "after the functions"
PRE: Final = "pre"
POST: Final = "post"
FUNCTIONS: Final = "functions"  # stands for the functions' digest beside the migrations' names
EXTENSION: Final = "tidebase"
OLDEST_SERVER: Final = 15
WAIT: Final = 60.0
LOCKED: Final = (LockNotAvailable, DeadlockDetected)

BLOCKING: Final = {
    "access exclusive": r"alter table (?:if exists )?(?:only )?tide\.(\w+) (?!validate )",
    "share row exclusive": r"create or replace trigger .* on tide\.(\w+) for each ",
}

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

# How long a script takes is measured by the server, so that printed text measures it too.
BEGAN: Final = """\
do $tide$
begin
  perform set_config('tide.began', extract(epoch from clock_timestamp())::text, {local});
end;
$tide$;
"""

# A lock that stops others is had within half a second, over all partitions, or not at all: before
# any deadlock with an application is noticed (1 s), so it is the installer that gives way.
# Partitions first, as workers do: they touch the active runs, then look at all.
LOCK_TABLES: Final = """\
do $tide$
declare
  v_until constant timestamptz := clock_timestamp() + interval '500 milliseconds';
  v_table regclass;
begin
  for v_table in
    select coalesce(p.relid, c.oid::regclass)
    from unnest({tables}) with ordinality as n(name, place)
    join pg_class as c on c.relname = n.name and c.relnamespace = to_regnamespace('tide')
    left join lateral pg_partition_tree(c.oid) as p on true
    order by n.place, p.level desc, p.relid::text
  loop
    perform set_config(
      'lock_timeout',
      greatest(1, ceil(1000 * extract(epoch from v_until - clock_timestamp())))::text,
      true
    );
    execute format('lock table only %s in {mode} mode', v_table);
  end loop;
  perform set_config('lock_timeout', '1s', true);
end;
$tide$;
"""

# A build that failed leaves an invalid index, which `if not exists` would step over.
INVALID_INDEXES: Final = """\
select format('drop index concurrently if exists %I.%I', n.nspname, c.relname)
from pg_catalog.pg_index as i
join pg_catalog.pg_class as c on c.oid = i.indexrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'tide' and c.relkind = 'i' and not i.indisvalid
  and c.relname = any ({indexes})
order by c.relname"""


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
        return NO_TRANSACTION not in self._marks

    @property
    def contracting(self) -> bool:
        """Whether it takes away what the release before still needs."""
        return AFTER_THE_DEPLOY in self._marks

    @property
    def with_functions(self) -> bool:
        """Whether the functions of the release before cannot live with it for a moment."""
        return WITH_THE_FUNCTIONS in self._marks

    @property
    def later(self) -> bool:
        """Whether the functions can live without it, so that they need not wait for it."""
        return not self.transactional or AFTER_THE_FUNCTIONS in self._marks

    @property
    def _marks(self) -> list[str]:
        """The first line may say how to run it: -- tide: no transaction, after the deploy"""
        said = re.match(r"-- tide: (.*)", self.body)
        return [] if said is None else [mark.strip() for mark in said[1].split(",")]

    @property
    def only_builds_indexes(self) -> bool:
        """Whether it could run in a transaction too, without `concurrently`."""
        return all(
            re.match(
                r"((create (unique )?|drop )index concurrently|comment on) ", _words(statement)
            )
            for statement in split(self.body)
        )

    @property
    def indexes(self) -> list[str]:
        """The indexes it builds concurrently."""
        found = (
            re.match(
                r"create (?:unique )?index concurrently (?:if not exists )?(\w+) on ",
                _words(statement),
            )
            for statement in split(self.body)
        )
        return [match[1] for match in found if match]

    @property
    def locks(self) -> tuple[str, tuple[str, ...]] | None:
        """The lock that stops others, and the tables of the schema it is for."""
        statements = [_words(statement) for statement in split(self.body)]
        for mode, pattern in BLOCKING.items():
            found = [re.match(pattern, statement) for statement in statements]
            if tables := {match[1] for match in found if match}:
                return mode, tuple(sorted(tables))
        return None


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
                    *sorted((folder / "functions").rglob("*.sql"), key=_triggers_last),
                    *sorted((folder / "views").rglob("*.sql")),
                    *folder.glob("roles.sql"),
                    *folder.glob("grants.sql"),
                )
            ),
        )


def _triggers_last(path: Path) -> tuple[bool, Path]:
    """Making a trigger stops writers of its table until the end of the transaction."""
    return "create or replace trigger" in path.read_text(), path


@dataclass(frozen=True, slots=True)
class State:
    """What the ledger of a database says."""

    version: str | None = None
    applied: Mapping[str, str] = field(default_factory=dict[str, str])
    extension: bool = False
    """Whether the schema belongs to the extension, which alone may change it then."""

    @property
    def fresh(self) -> bool:
        """Whether no migration has run: whatever is built is empty, and nobody is there to wait."""
        return not self.applied.keys() - {FUNCTIONS}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an installation did; nothing when the schema was current."""

    before: str | None
    version: str
    migrations: tuple[str, ...]
    functions: int
    notices: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One statement of a rehearsal, and the locks it took on tables and views that were there."""

    script: str
    statement: str
    seconds: float | None
    """null = it cannot run in a transaction, so it was not tried."""
    locks: tuple[tuple[str, str], ...]


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


def released(version: str, folder: Path | None = None) -> State:
    """What the ledger says where nothing but this release was installed."""
    releases = json.loads(((folder or sql_folder()) / "releases.json").read_text())
    if version not in releases:
        raise SchemaError(
            f"{version} is no release this package can upgrade from; it knows {', '.join(releases)}"
        )
    release = releases[version]
    return State(version, {**release["migrations"], FUNCTIONS: release["functions"]})


def plan(release: Release, applied: Mapping[str, str], phase: str | None = None) -> list[Script]:
    """The scripts still to run, in order; pure, so it is also what --print prints.

    `applied` has the sha256 of each applied migration by name, and under "functions" the digest
    of the newest installation. Phase "pre" is what the release before can live with, "post" the
    rest; None is both.
    """
    for script in release.migrations:
        recorded = applied.get(script.name, script.digest)
        if recorded != script.digest:
            raise MigrationDrift(script.name, recorded, script.digest)
    pending = [script for script in release.migrations if script.name not in applied]
    contracting = [script for script in pending if script.contracting]
    later = [script for script in pending if script.later and not script.contracting]
    early = [script for script in pending if not (script.later or script.contracting)]
    early.sort(key=lambda script: script.with_functions)
    if early or applied.get(FUNCTIONS) != release.digest:
        scripts = [*early, *release.repeatables, *later]
    else:
        scripts = later
    if phase == POST and scripts:
        raise SchemaTooOld(
            "what comes before the deploy has not all been applied "
            f"for {release.version}; run: tidebase-pg upgrade --phase pre"
        )
    return scripts if phase == PRE else [*scripts, *contracting]


def prepared(release: Release, state: State) -> State:
    """The state after phase "pre", for the text of phase "post"."""
    scripts = plan(release, state.applied, PRE)
    made = {script.name: script.digest for script in scripts if script in release.migrations}
    return State(release.version, {**state.applied, **made, FUNCTIONS: release.digest})


def batches(
    release: Release, scripts: Sequence[Script], *, fresh: bool = False
) -> list[list[Script]]:
    """A plan cut into transactions: one when nothing is there yet.

    Else a migration that changes a table stands alone: with two tables locked, an installer and an
    application would wait for each other. So does what must run outside a transaction.
    """
    cut: list[list[Script]] = [[]]
    for script in scripts:
        changes = script in release.migrations and script.locks is not None
        alone = changes and not script.with_functions and not fresh
        if alone or _outside(script, fresh=fresh):
            cut += [[script], []]
        else:
            cut[-1].append(script)
    return [batch for batch in cut if batch]


def _outside(script: Script, *, fresh: bool) -> bool:
    return not script.transactional and not (fresh and script.only_builds_indexes)


def _body(script: Script, *, fresh: bool) -> str:
    """What runs in a transaction; a fresh install is all of one, so nothing is concurrent there."""
    if script.transactional or not fresh:
        return script.body
    return "".join(
        "" if token.lastgroup == "word" and token.group().lower() == "concurrently" else text
        for token, text in _tokens(script.body)
    ).replace("index  ", "index ")


def split(body: str) -> list[str]:
    """The statements of a script, without comments around them; quotes and bodies stay whole."""
    statements = [""]
    for token, text in _tokens(body):
        if token.lastgroup == "end":
            statements.append("")
        else:
            statements[-1] += text
    bare = (_without_leading_comments(statement) for statement in statements)
    return [statement for statement in bare if statement]


def _tokens(body: str) -> Iterator[tuple[re.Match[str], str]]:
    """How each piece of a script begins, and the whole of it."""
    position = 0
    while position < len(body):
        token = TOKEN.match(body, position)
        assert token is not None  # the last alternative takes any character
        end = token.end()
        if token.lastgroup == "block":
            end = _end_of_comment(body, end)
        elif token.lastgroup == "dollar":
            closing = body.find(token.group(), end)
            end = len(body) if closing < 0 else closing + len(token.group())
        yield token, body[position:end]
        position = end


def _words(statement: str) -> str:
    return " ".join(statement.lower().split()) + " "


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


def render(release: Release, state: State | None = None, phase: str | None = None) -> str:
    """The text psql runs for the same result as `install`; the same for the same state.

    Each transaction first checks that the ledger is as this text expects it, so running it on
    another database, or twice, stops with an error and changes nothing.
    """
    state = state or State()
    _refuse_newer(release, state)
    scripts = plan(release, state.applied, phase)
    if not scripts:
        return f"-- tidebase-pg {release.version}: the schema tide is current; nothing to run.\n"
    ledger = dict(state.applied)
    parts: list[str] = []
    for batch in batches(release, scripts, fresh=state.fresh):
        guard = _guard(ledger)
        if batch and _outside(batch[0], fresh=state.fresh):
            (script,) = batch
            repair = f"{_invalid_indexes(script)} \\gexec\n" if script.indexes else ""
            parts += [guard, BEGAN.format(local="false"), repair, _titled(script, script.body)]
            parts += [BEGIN, SETTINGS + _refuse_invalid(script), _titled(release.header)]
            parts += [_record(script), "commit;\n"]
            ledger[script.name] = script.digest
            continue
        parts += [BEGIN, SETTINGS + guard, _titled(release.header)]
        for script in batch:
            migration = script in release.migrations
            if migration:
                parts.append(BEGAN.format(local="true"))
            parts.append(_lock_tables(script, fresh=state.fresh))
            parts.append(_titled(script, _body(script, fresh=state.fresh)))
            if migration:
                parts.append(_record(script))
                ledger[script.name] = script.digest
        if _installs(release, batch):
            parts.append(_record_installation(release))
            ledger[FUNCTIONS] = release.digest
        parts.append("commit;\n")
    text = "\\set ON_ERROR_STOP on\n\n" + "\n".join(part for part in parts if part)
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
        "insert into tide.migrations (name, sha256, took)\n"
        f"values (\n  {_literal(script.name)},\n  {_literal(script.digest)},\n"
        "  make_interval(secs => extract(epoch from clock_timestamp())::double precision\n"
        "    - current_setting('tide.began')::double precision)\n"
        ");\n"
    )


def _installs(release: Release, batch: Sequence[Script]) -> bool:
    """Whether the batch is the one that records the installation: that of the functions."""
    return release.repeatables[-1] in batch


def _lock_tables(script: Script, *, fresh: bool) -> str:
    if fresh or script.locks is None:
        return ""
    mode, tables = script.locks
    return LOCK_TABLES.format(mode=mode, tables=_array(tables))


def _array(texts: Sequence[str]) -> str:
    return f"array[{', '.join(map(_literal, texts))}]::text[]"


def _invalid_indexes(script: Script) -> str:
    return INVALID_INDEXES.format(indexes=_array(script.indexes))


def _refuse_invalid(script: Script) -> str:
    if not script.indexes:
        return ""
    return f"""\
do $tide$
begin
  if exists ({_invalid_indexes(script)}) then
    raise exception 'an index of {script.name} is invalid: its build failed'
      using errcode = 'object_not_in_prerequisite_state', hint = 'Upgrade again.';
  end if;
end;
$tide$;
"""


def _record_installation(release: Release) -> str:
    return (
        "insert into tide.installs (version, functions_sha256)\n"
        f"values ({_literal(release.version)}, {_literal(release.digest)});\n"
    )


def _titled(script: Script, body: str | None = None) -> str:
    text = script.body if body is None else body
    return f"-- {script.name}\n{text.rstrip()}\n"


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
        *(
            [f"-- functions, views, roles and grants {release.digest}"]
            if _installs(release, scripts)
            else []
        ),
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
    dsn: str,
    release: Release | None = None,
    *,
    upgrade: bool = False,
    wait: float = WAIT,
    phase: str | None = None,
) -> Outcome:
    """Bring the schema of a database to this release; safe to repeat and to run at once.

    With `upgrade` an installation must be there already. `wait` is how many seconds to try for
    the lock against other installers and for the locks on tables in use. `phase` "pre" stops
    before what the release before cannot live with; "post" is the rest.
    """
    release = release or current()
    first: State | None = None
    migrations: list[str] = []
    functions = 0
    notices: list[str] = []
    patience = _Patience(wait)
    with _connect(dsn) as connection:
        connection.add_notice_handler(lambda notice: notices.append(_fact(notice)))
        _refuse_unsuitable(connection)
        while True:
            batch: list[Script] = []
            try:
                with _alone(connection) as alone:
                    if not alone:
                        raise LockNotAvailable("another installation is under way")
                    state = _read(connection, to_write=True)
                    first = first or state
                    _refuse_newer(release, state)
                    if upgrade and state.version is None:
                        raise _missing(connection)
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
                    _refuse_unprivileged(connection)
                    _apply(connection, release, batch, fresh=state.fresh, dsn=dsn, wait=wait)
            except LOCKED as error:
                patience.after(error)
                continue
            except psycopg.OperationalError as error:
                raise SchemaError(
                    f"the connection was lost: {_one_line(error)}; what was not committed is "
                    "undone: run the command again, it goes on from there"
                ) from error
            applied = [script for script in batch if script in release.migrations]
            migrations += [script.name for script in applied]
            functions += len(batch) - len(applied)
            patience = _Patience(wait)


def rehearse(
    dsn: str,
    release: Release | None = None,
    *,
    upgrade: bool = False,
    wait: float = WAIT,
    phase: str | None = None,
) -> list[Rehearsed]:
    """Do what `install` would in one transaction, roll it back, and tell what each statement took.

    The locks are real ones, held until everything has run: up to a second or so.
    """
    release = release or current()
    patience = _Patience(wait)
    with _connect(dsn) as connection:
        _refuse_unsuitable(connection)
        while True:
            try:
                with _alone(connection, keep=False) as alone:
                    if not alone:
                        raise LockNotAvailable("another installation is under way")
                    state = _read(connection, to_write=True)
                    _refuse_newer(release, state)
                    if upgrade and state.version is None:
                        raise _missing(connection)
                    scripts = plan(release, state.applied, phase)
                    if not scripts:
                        return []
                    _refuse_unprivileged(connection)
                    return _rehearse(connection, release, scripts, fresh=state.fresh)
            except LOCKED as error:
                patience.after(error)


class _Patience:
    """Trying again after a lock could not be had, for so many seconds."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self.give_up_at = time.monotonic() + wait

    def after(self, error: psycopg.Error) -> None:
        if time.monotonic() >= self.give_up_at:
            where = (error.diag.context or "").partition("\n")[0]
            raise SchemaError(
                f"gave up after {self.wait:g} s of waiting for locks: {_one_line(error)}"
                + (f" ({where})" if where else "")
            ) from error
        time.sleep(random.uniform(0.05, 0.25))


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
        functions_differ=state.version != release.version
        if state.extension
        else state.applied.get(FUNCTIONS) != release.digest,
        extension=state.extension,
    )


def read(dsn: str, *, upgrade: bool = False) -> State:
    """The ledger of a database; with `upgrade` an installation must be there."""
    with _connect(dsn) as connection:
        if upgrade:
            refuse_extension(connection, "alter extension tidebase update")
        state = _read(connection)
        if upgrade and state.version is None:
            raise _missing(connection)
        return state


def _connect(dsn: str) -> psycopg.Connection:
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=None)


@contextmanager
def _alone(connection: psycopg.Connection, *, keep: bool = True) -> Generator[bool, None, None]:
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
    connection.execute("commit" if keep else "rollback")


def _apply(
    connection: psycopg.Connection,
    release: Release,
    batch: Sequence[Script],
    *,
    fresh: bool,
    dsn: str,
    wait: float,
) -> None:
    if batch and _outside(batch[0], fresh=fresh):
        (script,) = batch
        _execute(connection, BEGAN.format(local="true"))
        _apply_outside(dsn, script, wait)
        _run(connection, release.header, release.header.body)
        _execute(connection, _record(script))
        return
    _run(connection, release.header, release.header.body)
    for script in batch:
        migration = script in release.migrations
        if migration:
            _execute(connection, BEGAN.format(local="true"))
        _execute(connection, _lock_tables(script, fresh=fresh))
        _run(connection, script, _body(script, fresh=fresh))
        if migration:
            _execute(connection, _record(script))
    if _installs(release, batch):
        _execute(connection, _record_installation(release))


def _apply_outside(dsn: str, script: Script, wait: float) -> None:
    """On a connection of its own, while the caller's transaction holds the lock.

    Building an index waits for transactions that are older, and stops nobody meanwhile.
    """
    with _connect(dsn) as connection:
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
                _run(connection, script, statement)
        except BaseException:
            if not connection.closed:
                with suppress(psycopg.Error):
                    _drop_invalid_indexes(connection, script)
            raise
        _run(connection, script, _refuse_invalid(script))


def _drop_invalid_indexes(connection: psycopg.Connection, script: Script) -> None:
    if script.indexes:
        for (drop,) in connection.execute(_invalid_indexes(script).encode()).fetchall():
            _execute(connection, str(drop))


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
            _run(connection, script, statement)
            seconds = time.monotonic() - began
            yield Rehearsed(script.name, _first_line(statement), seconds, locks())

    locks()
    done = list(tried(release.header, split(release.header.body)))
    for script in scripts:
        _execute(connection, _lock_tables(script, fresh=fresh))
        if _outside(script, fresh=fresh):
            done += [
                Rehearsed(script.name, _first_line(statement), None, ())
                for statement in split(script.body)
            ]
        elif script in release.migrations:
            done += tried(script, split(_body(script, fresh=fresh)))
        else:
            done += tried(script, [script.body])
    return done


def _first_line(statement: str) -> str:
    return _without_leading_comments(statement).partition("\n")[0]


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
    return _fact(error.diag) if error.diag.message_primary else str(error)


def _fact(said: Diagnostic) -> str:
    message = said.message_primary or ""
    return f"{message}. {said.message_hint}" if said.message_hint else message


def _missing(connection: psycopg.Connection) -> SchemaTooOld:
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


def _refuse_unsuitable(connection: psycopg.Connection) -> None:
    server = connection.info.server_version
    if server < OLDEST_SERVER * 10000:
        raise SchemaError(
            f"the server is PostgreSQL {server // 10000}; "
            f"the schema tide needs {OLDEST_SERVER} or newer"
        )
    if _value(connection, "select pg_is_in_recovery()"):
        raise SchemaError("the server is a standby: connect to the primary")
    backend = _value(connection, "select pg_backend_pid()")
    if backend != connection.info.backend_pid:
        raise SchemaError(
            "there is a pooler before the server: it hands each transaction to any session, and "
            "building an index needs one that lasts; nothing was changed: give --dsn the address "
            "of the server itself"
        )


def _refuse_unprivileged(connection: psycopg.Connection) -> None:
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


def _read(connection: psycopg.Connection, *, to_write: bool = False) -> State:
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
            _refuse_unprivileged(connection)
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
        return State(None, applied)
    applied[FUNCTIONS] = str(newest[1])
    return State(str(newest[0]), applied, extension=of_extension(connection))
