"""The extension: what `make install` puts beside a server, and one door for each database.

The server is a copy of Debian's, so that nothing is installed into the one of this machine.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.servers import ROOT, SETTINGS, RunningServer, free_port, scratch
from tests.support import Connection, Databases, one, open_connection, value
from tidebase_pg import admin
from tidebase_pg.admin import doctor, uninstall
from tidebase_pg.admin.embedded import Server
from tidebase_pg.errors import SchemaError
from tidebase_pg.version import __version__

MAJOR = "15"
USR = Path("/usr")
PGXS = USR / "lib/postgresql" / MAJOR / "lib/pgxs/src/makefiles/pgxs.mk"
NEXT = "99.0.0"
MIGRATIONS = {
    "0998_installed.sql": """\
-- What was installed. A new table only.
create table tide.installed (version text primary key, at timestamptz);
""",
    "0999_installed_index.sql": """\
-- tide: no transaction
-- Finds what was installed when. Blocks neither readers nor writers.
create index concurrently if not exists installed_at_idx on tide.installed (at);
""",
}


@dataclass(frozen=True)
class Extended:
    """A running server, and `make install` of a source tree into it."""

    server: RunningServer
    pg_config: Path

    def make(self, goal: str, source: Path) -> str:
        made = subprocess.run(
            ["make", "--no-print-directory", goal, f"PG_CONFIG={self.pg_config}"],
            cwd=source,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        assert "warning" not in made.stderr
        return made.stdout

    def installed(self) -> set[str]:
        share = subprocess.run(
            [self.pg_config, "--sharedir"], capture_output=True, text=True, check=True
        ).stdout.strip()
        return {path.name for path in Path(share, "extension").glob("tidebase*")}


def sources(folder: Path) -> Path:
    """What `make install` reads, by itself: nothing of the rest is needed."""
    for name in ("Makefile", "tidebase.control.in", "tidebase_pg/version.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "sql", folder / "sql")
    return folder


def relocated(folder: Path) -> Path:
    """Debian's server under another prefix, its programs in the folder that is returned.

    A server looks for its files relative to itself, so only the programs are copied.
    """
    programs = folder / "lib/postgresql" / MAJOR / "bin"
    shutil.copytree(USR / "lib/postgresql" / MAJOR / "bin", programs)
    (programs.parent / "lib").symlink_to(USR / "lib/postgresql" / MAJOR / "lib")
    share = folder / "share/postgresql" / MAJOR
    (share / "extension").mkdir(parents=True)
    original = USR / "share/postgresql" / MAJOR
    for path in (*original.iterdir(), *(original / "extension").iterdir()):
        if path.name != "extension":
            (share / path.relative_to(original)).symlink_to(path)
    return programs


@pytest.fixture(scope="module")
def extended() -> Iterator[Extended]:
    if not PGXS.exists():
        pytest.skip(f"no PGXS of PostgreSQL {MAJOR}; Debian: postgresql-server-dev-{MAJOR}")
    if not (USR / "lib/postgresql" / MAJOR / "bin/initdb").exists():
        pytest.skip(f"no server of PostgreSQL {MAJOR}; Debian: postgresql-{MAJOR}")
    folder = Path(tempfile.mkdtemp(prefix="tide-extension-", dir=scratch()))
    folder.chmod(0o755)
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        programs = relocated(folder / "usr")
        (folder / "data").mkdir()
        own = Server(folder / "data", binaries_folder=programs, settings=SETTINGS, port=free_port())
        ending.callback(own.stop, mode="immediate")
        own.start()
        assert own.port is not None
        server = RunningServer(
            host=str(own.socket_folder), port=own.port, user="postgres", binaries=own.binaries
        )
        made = Extended(server, programs / "pg_config")
        made.make("install", sources(folder / "source"))
        yield made


@pytest.fixture
def make_database(extended: Extended) -> Iterator[Callable[[], str]]:
    """Makes empty databases beside the extension."""
    databases = Databases(extended.server, "extension")
    with ExitStack() as made:
        made.callback(databases.close)
        yield lambda: extended.server.dsn(made.enter_context(databases.database()))


@pytest.fixture
def bare_dsn(make_database: Callable[[], str]) -> str:
    return make_database()


@pytest.fixture
def extension_dsn(make_database: Callable[[], str]) -> str:
    """A database with the extension."""
    dsn = make_database()
    with open_connection(dsn) as connection:
        connection.execute("create extension tidebase")
    return dsn


@pytest.fixture
def database(extension_dsn: str) -> Iterator[Connection]:
    with open_connection(extension_dsn) as connection:
        yield connection


def run(extended: Extended, program: str, *arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        [extended.server.program(program), *arguments], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def schema_of(extended: Extended, dsn: str) -> str:
    """All definitions of a database. Each dump has a word of its own against tampering."""
    text = run(extended, "pg_dump", "--schema-only", dsn)
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", text)


def test_make_install_puts_a_control_file_and_a_script_and_nothing_else(
    extended: Extended, tmp_path: Path
) -> None:
    expected = {"tidebase.control", f"tidebase--{__version__}.sql"}
    assert extended.installed() == expected

    source = sources(tmp_path / "source")
    extended.make("uninstall", source)
    assert extended.installed() == set()
    extended.make("install", source)
    assert extended.installed() == expected


def test_an_extension_is_the_same_schema_as_an_install(
    extended: Extended, bare_dsn: str, extension_dsn: str
) -> None:
    admin.install(bare_dsn)
    with open_connection(extension_dsn) as connection:
        ledger = dict(
            connection.execute("select m.name, m.sha256 from tide.migrations as m").fetchall()
        )
        assert ledger == {script.name: script.digest for script in admin.current().migrations}
        newest = one(connection, "select version, functions_sha256 from tide.installs")
        assert newest == (__version__, "extension")
        # pg_dump leaves out what belongs to an extension, so here it ceases to.
        connection.execute(
            """
            delete from pg_depend where deptype = 'e' and refobjid = (
              select e.oid from pg_extension as e where e.extname = 'tidebase'
            );
            delete from pg_init_privs where privtype = 'e';
            delete from pg_extension where extname = 'tidebase';
            """
        )

    installed = schema_of(extended, bare_dsn)
    assert "CREATE FUNCTION tide.claim(" in installed
    assert schema_of(extended, extension_dsn) == installed


def test_an_extension_works(database: Connection) -> None:
    run_id = one(database, "select * from tide.enqueue('mail', queue => 'mails')").run_id
    claimed = one(database, "select * from tide.claim('{mails}')")
    assert claimed.run_id == run_id
    done = one(
        database,
        """select * from tide.complete(%s, %s, result => '{"sent": true}')""",
        run_id,
        claimed.lease_id,
    )
    assert (done.status, done.result) == ("completed", {"sent": True})
    database.execute("call tide.reconcile()")
    assert value(database, "select tide.version()") == __version__


def test_a_restored_dump_has_every_row_and_waits_to_be_adopted(
    extended: Extended, bare_dsn: str, extension_dsn: str, database: Connection
) -> None:
    database.execute("select tide.set_queue('mails', '{\"concurrency\": 3}')")
    database.execute("select tide.set_retention('90 days')")
    database.execute("select tide.set_schedule('daily', '0 9 * * *', 'mail')")
    database.execute("select tide.set_webhook_secret('partner', 'only the partner knows')")
    database.execute("select tide.enqueue('mail', queue => 'mails')")
    database.execute("select tide.enqueue('mail', queue => 'mails')")
    leased = one(database, "select * from tide.claim('{mails}')")
    database.execute("select tide.begin_step(%s, %s, 'write')", (leased.run_id, leased.lease_id))
    database.execute("select tide.complete(%s, %s)", (leased.run_id, leased.lease_id))

    dump = run(extended, "pg_dump", extension_dsn)
    run(extended, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", bare_dsn, text=dump)

    with open_connection(bare_dsn) as restored:
        assert contents(restored) == contents(database)
        assert one(restored, "select concurrency from tide.queues") == (3,)

        restored.execute("call tide.reconcile()")
        assert restored.execute("select * from tide.claim('{mails}')").fetchall() == []
        assert "tide.adopt" in value(restored, "select pause_reason from tide.ticks")
        restored.execute("select tide.adopt()")
        assert one(restored, "select * from tide.claim('{mails}')").status == "running"

        # A dump of the restored copy has its rows as well.
        again = run(extended, "pg_dump", "--data-only", bare_dsn)
        assert str(leased.run_id) in again


def contents(connection: Connection) -> dict[str, list[str]]:
    """Every row of the schema but those of the ledger and whose turn it is, as text."""
    tables = connection.execute(
        """
        select c.oid::regclass::text as name
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and c.relkind = 'r'
          and c.relname not in ('migrations', 'installs', 'turns')
        """
    ).fetchall()
    return {
        table.name: sorted(
            str(row[0]) for row in connection.execute(f"select t::text from {table.name} as t")
        )
        for table in tables
    }


def test_dropping_the_extension_leaves_nothing_but_the_roles(
    extended: Extended, bare_dsn: str, extension_dsn: str, database: Connection
) -> None:
    database.execute("select tide.enqueue('mail')")
    database.execute("drop extension tidebase")

    assert value(database, "select to_regnamespace('tide') is null")
    assert schema_of(extended, extension_dsn) == schema_of(extended, bare_dsn)
    database.execute("create extension tidebase")
    assert value(database, "select count(*) from tide.runs") == 0


def test_an_extension_is_refused_where_the_command_installed(bare_dsn: str) -> None:
    admin.install(bare_dsn)
    with open_connection(bare_dsn) as connection:
        connection.execute("select tide.enqueue('mail')")
        with pytest.raises(
            psycopg.errors.ObjectNotInPrerequisiteState, match="not a member of extension"
        ):
            connection.execute("create extension tidebase")
        assert value(connection, "select count(*) from tide.runs") == 1
    assert admin.status(bare_dsn).current


def test_the_commands_refuse_what_belongs_to_the_extension(
    extension_dsn: str, database: Connection
) -> None:
    before = contents(database)
    for refused in (
        lambda: admin.install(extension_dsn),
        lambda: admin.install(extension_dsn, upgrade=True),
        lambda: admin.rehearse(extension_dsn),
        lambda: admin.read(extension_dsn, upgrade=True),
    ):
        with pytest.raises(SchemaError, match="run in psql: alter extension tidebase update;"):
            refused()
    for removed in (lambda: uninstall.look(extension_dsn), lambda: uninstall.remove(extension_dsn)):
        with pytest.raises(SchemaError, match="run in psql: drop extension tidebase;"):
            removed()
    assert contents(database) == before


def test_a_printed_text_is_refused_where_the_extension_is(
    extended: Extended, extension_dsn: str
) -> None:
    text = admin.render(admin.current())
    done = subprocess.run(
        [extended.server.program("psql"), "-X", "-q", "-f", "-", extension_dsn],
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "is not as this text expects it" in done.stderr


def test_status_and_doctor_tell_of_the_extension_and_not_of_drift(
    extension_dsn: str, database: Connection
) -> None:
    status = admin.status(extension_dsn)
    assert status.current
    assert status.extension
    checks = {name: doctor.CHECKS[name] for name in ("version", "drift")}
    assert doctor.examine(extension_dsn, checks=checks) == []

    database.execute("update tide.installs set version = '0.1.0'")
    assert not admin.status(extension_dsn).current
    remedies = {finding.remedy for finding in doctor.examine(extension_dsn, checks=checks)}
    assert "alter extension tidebase update;" in remedies


def test_alter_extension_update_applies_what_a_next_version_adds(
    extended: Extended, tmp_path: Path, bare_dsn: str, extension_dsn: str, database: Connection
) -> None:
    database.execute("select tide.enqueue('mail')")
    source = sources(tmp_path / "next")
    names = [script.name for script in admin.current().migrations]
    releases = json.loads((source / "sql/releases.json").read_text())
    releases[__version__] = {
        "migrations": {script.name: script.digest for script in admin.current().migrations},
        "functions": admin.current().digest,
    }
    (source / "sql/releases.json").write_text(json.dumps(releases, indent=2) + "\n")
    for name, body in MIGRATIONS.items():
        (source / "sql/migrations" / name).write_text(body)
    (source / "tidebase_pg/version.py").write_text(f'__version__ = "{NEXT}"\n')
    extended.make("install", source)
    try:
        assert f"tidebase--{__version__}--{NEXT}.sql" in extended.installed()
        database.execute(f"alter extension tidebase update to '{NEXT}'")
        assert value(database, "select tide.version()") == NEXT
        found = database.execute("select m.name from tide.migrations as m order by m.name")
        assert [row.name for row in found] == [*names, *MIGRATIONS]
        assert value(database, "select count(*) from tide.runs") == 1

        # The new table is dumped too; those of before are not registered twice.
        database.execute("insert into tide.installed values ('kept')")
        with open_connection(bare_dsn) as fresh:
            fresh.execute("create extension tidebase")
            registered = """
                select array_agg(t.name order by t.name)
                from (
                  select unnest(e.extconfig)::regclass::text as name
                  from pg_extension as e
                  where e.extname = 'tidebase'
                ) as t
            """
            tables = value(fresh, registered)
            assert "tide.installed" in tables
            assert value(database, registered) == tables
        assert "kept" in run(extended, "pg_dump", "--data-only", extension_dsn)
    finally:
        extended.make("uninstall", source)
        extended.make("install", sources(tmp_path / "present"))


def test_what_cannot_run_in_a_transaction_builds_indexes_only() -> None:
    """The script of the extension is one transaction, and leaves out `concurrently`."""
    outside = [script for script in admin.current().migrations if not script.transactional]
    assert outside != []
    assert [script.name for script in outside if not script.only_builds_indexes] == []


def test_the_extension_takes_a_prefix_from_a_parameter(bare_dsn: str) -> None:
    with open_connection(bare_dsn) as connection:
        connection.execute("set tide.role_prefix = 'ext_'")
        connection.execute("create extension tidebase")
        found = [one for one in doctor.examine(bare_dsn) if one.severity == "error"]
        assert found == []
        assert value(connection, "select has_schema_privilege('ext_client', 'tide', 'usage')")
        assert value(connection, "select prefix from tide.role_names") == "ext_"
