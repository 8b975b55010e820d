"""Installing and upgrading: all or nothing, once, by one installer, on a database that is ours."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from tests.install.conftest import COLUMN, INDEX, THINGS, MakeRelease
from tests.servers import Absent, Bouncer, OwnServer, RunningServer, scratch
from tests.support import Connection, at_once, one, results, value
from tidebase_pg import admin
from tidebase_pg.admin.ledger import refuse_unsuitable
from tidebase_pg.errors import MigrationDrift, SchemaError, SchemaTooNew, SchemaTooOld

LOCK = "select pg_advisory_xact_lock(hashtext('tide.install'))"


def ledger(database: Connection) -> list[str]:
    rows = database.execute("select name from tide.migrations order by applied_at").fetchall()
    return [row.name for row in rows]


def has_schema(database: Connection) -> bool:
    return bool(value(database, "select to_regnamespace('tide') is not null"))


def test_fresh_install_applies_everything_and_records_it(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    release = make_release()
    outcome = admin.install(empty_dsn, release)

    assert outcome.before is None
    assert outcome.migrations == ("0001_things.sql",)
    assert value(database, "select answer from tide.answers") == 42
    migration = one(database, "select * from tide.migrations")
    assert (migration.name, migration.sha256) == (
        "0001_things.sql",
        release.migrations[0].digest,
    )
    installed = one(database, "select * from tide.installs")
    assert (installed.version, installed.functions_sha256) == ("0.1.0", release.digest)
    assert installed.installed_by == value(database, "select session_user::text")


def test_this_release_installs(empty_dsn: str, database: Connection) -> None:
    outcome = admin.install(empty_dsn)

    # In phases: what waits for the functions comes after newer files that do not.
    assert sorted(ledger(database)) == [script.name for script in admin.current().migrations]
    assert outcome.functions > 0
    assert admin.status(empty_dsn).current


def test_an_installation_tells_how_far_it_is(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    told: list[str] = []
    outcome = admin.install(empty_dsn, make_release(), tell=told.append)
    scripts = len(outcome.migrations) + outcome.functions
    assert told[0] == f"1 of {scripts}: 0001_things.sql"
    assert [int(line.split()[0]) for line in told] == list(range(1, scripts + 1))


def test_second_install_changes_nothing(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    before = one(database, "select xmin, oid from pg_proc where proname = 'answer'")

    outcome = admin.install(empty_dsn, make_release())

    assert (outcome.before, outcome.migrations, outcome.functions) == ("0.1.0", (), 0)
    assert one(database, "select xmin, oid from pg_proc where proname = 'answer'") == before
    assert value(database, "select count(*) from tide.installs") == 1


def test_changed_function_is_installed_and_migrations_are_not_repeated(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())

    outcome = admin.install(empty_dsn, make_release("0.1.1", answer=43))

    assert (outcome.before, outcome.version, outcome.migrations) == ("0.1.0", "0.1.1", ())
    assert value(database, "select tide.answer()") == 43
    assert value(database, "select count(*) from tide.installs") == 2


def test_new_version_leaves_a_row_even_when_no_file_changed(
    empty_dsn: str, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release("0.1.0"))
    admin.install(empty_dsn, make_release("0.1.1"))
    assert admin.read(empty_dsn).version == "0.1.1"


def test_upgrade_applies_only_what_is_pending(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    database.execute("insert into tide.things values (1, 'kept')")

    outcome = admin.install(
        empty_dsn,
        make_release("0.2.0", {"0001_things.sql": THINGS, "0002_size.sql": COLUMN}),
        upgrade=True,
    )

    assert outcome.migrations == ("0002_size.sql",)
    assert one(database, "select name, size from tide.things") == ("kept", None)


def test_upgrade_of_an_empty_database_is_refused(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    with pytest.raises(SchemaTooOld, match="tidebase-pg install"):
        admin.install(empty_dsn, make_release(), upgrade=True)
    assert not has_schema(database)


def test_of_three_simultaneous_installers_one_applies_and_two_find_it_done(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    release = make_release()
    outcomes = results(at_once([lambda: admin.install(empty_dsn, release)] * 3))

    assert sorted(len(outcome.migrations) for outcome in outcomes) == [0, 0, 1]
    assert value(database, "select count(*) from tide.installs") == 1


def test_three_simultaneous_upgrades_build_an_index_outside_a_transaction_once(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    migrations = {"0001_things.sql": THINGS, "0002_index.sql": INDEX, "0003_size.sql": COLUMN}
    release = make_release("0.2.0", migrations)
    outcomes = results(at_once([lambda: admin.install(empty_dsn, release)] * 3))

    applied = [name for outcome in outcomes for name in outcome.migrations]
    assert sorted(applied) == ["0002_index.sql", "0003_size.sql"]
    assert ledger(database) == ["0001_things.sql", "0003_size.sql", "0002_index.sql"]
    assert value(database, "select count(*) from tide.installs") == 2


def test_installer_gives_up_when_another_holds_the_lock(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    with database.transaction():
        database.execute(LOCK)
        with pytest.raises(SchemaError, match="another installation is under way"):
            admin.install(empty_dsn, make_release(), wait=0)
    assert not has_schema(database)


def test_installer_gives_up_on_a_table_in_use_and_leaves_it_as_it_was(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    newer = make_release("0.2.0", {"0001_things.sql": THINGS, "0002_size.sql": COLUMN})
    with database.transaction():
        database.execute("lock table tide.things in share mode")
        with pytest.raises(SchemaError, match="lock timeout"):
            admin.install(empty_dsn, newer, wait=0)
    assert admin.status(empty_dsn, newer).pending == ("0002_size.sql",)

    assert admin.install(empty_dsn, newer).migrations == ("0002_size.sql",)


def test_installer_outwaits_a_table_in_use(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    newer = make_release("0.2.0", {"0001_things.sql": THINGS, "0002_size.sql": COLUMN})
    blocked = """
        select count(*) from pg_stat_activity as a
        where a.datname = current_database() and cardinality(pg_blocking_pids(a.pid)) > 0
    """
    with ThreadPoolExecutor(1) as pool:
        with database.transaction():
            database.execute("lock table tide.things in share mode")
            installation = pool.submit(admin.install, empty_dsn, newer)
            while not value(database, blocked):
                database.execute("select pg_stat_clear_snapshot()")
        assert installation.result().migrations == ("0002_size.sql",)


def test_edited_migration_is_refused_by_name_and_both_hashes(
    empty_dsn: str, make_release: MakeRelease
) -> None:
    released = make_release()
    admin.install(empty_dsn, released)
    edited = make_release("0.1.1", {"0001_things.sql": THINGS + "-- edited\n"}, answer=43)

    with pytest.raises(MigrationDrift) as refusal:
        admin.install(empty_dsn, edited)

    for fact in ("0001_things.sql", released.migrations[0].digest, edited.migrations[0].digest):
        assert fact in str(refusal.value)
    with pytest.raises(MigrationDrift):
        admin.status(empty_dsn, edited)
    assert admin.read(empty_dsn).version == "0.1.0"


@pytest.mark.parametrize(
    "foreign",
    [
        "create schema tide create table levels (metres numeric)",
        "create schema tide create table migrations (name text, sha256 text)",
        "create schema tide; create function tide.claim() returns int return 1",
        "create schema tide; create domain tide.level as numeric",
    ],
)
def test_foreign_schema_of_that_name_is_refused_and_not_touched(
    empty_dsn: str, database: Connection, make_release: MakeRelease, foreign: str
) -> None:
    database.execute(foreign.encode())
    everything = "select max(xmin::text::bigint), count(*) from pg_class"
    before = one(database, everything)

    for attempt in (admin.install, admin.status):
        with pytest.raises(SchemaError, match="did not make"):
            attempt(empty_dsn, make_release())
    assert one(database, everything) == before


def test_empty_schema_made_by_an_administrator_is_used(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    database.execute("create schema tide")
    assert admin.install(empty_dsn, make_release()).migrations == ("0001_things.sql",)


def test_installer_killed_in_the_middle_leaves_nothing(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    deadly = "create table tide.more (a int);\nselect pg_terminate_backend(pg_backend_pid());\n"
    release = make_release("0.1.0", {"0001_things.sql": THINGS, "0002_more.sql": deadly})

    with pytest.raises(SchemaError, match=r"connection was lost: .* run the command again"):
        admin.install(empty_dsn, release)

    assert not has_schema(database)
    assert value(database, "select count(*) from pg_locks where locktype = 'advisory'") == 0
    admin.install(empty_dsn, make_release())


def test_faulty_script_is_named_with_its_line_and_leaves_nothing(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    faulty = make_release("0.1.0", {"0001_things.sql": THINGS, "0002_x.sql": "\n\nselect oops;\n"})
    with pytest.raises(SchemaError, match=r'0002_x.sql, line 3: column "oops" does not exist'):
        admin.install(empty_dsn, faulty)
    assert not has_schema(database)


def test_role_without_rights_is_told_the_grants_to_ask_for(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    role = "poor_" + database.info.dbname
    name = database.info.dbname
    database.execute(f"create role {role} login".encode())
    try:
        with pytest.raises(SchemaError, match=f"grant create on database {name} to {role};"):
            admin.install(f"{empty_dsn}&user={role}", make_release())
        assert not has_schema(database)

        admin.install(empty_dsn, make_release())
        newer = make_release("0.1.1", answer=43)
        with pytest.raises(SchemaError) as refusal:
            admin.install(f"{empty_dsn}&user={role}", newer)
        for grant in (
            f"grant create on database {name} to {role};",
            f"grant create, usage on schema tide to {role};",
            f"grant postgres to {role};",
        ):
            assert grant in str(refusal.value)
        with pytest.raises(SchemaError, match="may not read the ledger"):
            admin.status(f"{empty_dsn}&user={role}", newer)

        database.execute(f"grant create on database {name} to {role}".encode())
        database.execute("drop schema tide cascade")
        assert admin.install(f"{empty_dsn}&user={role}", make_release()).functions
    finally:
        database.execute(f"drop owned by {role} cascade".encode())
        database.execute(f"drop role {role}".encode())


def test_settings_of_the_role_do_not_change_what_is_installed(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    name = database.info.dbname
    for setting in (
        "default_transaction_isolation = serializable",
        "default_transaction_read_only = on",
        "standard_conforming_strings = off",
        "search_path = pg_temp, public",
    ):
        database.execute(f"alter database {name} set {setting}".encode())
    release = make_release()
    outcomes = results(at_once([lambda: admin.install(empty_dsn, release)] * 2))
    assert sorted(len(outcome.migrations) for outcome in outcomes) == [0, 1]


def test_newer_schema_is_not_overwritten(empty_dsn: str, make_release: MakeRelease) -> None:
    both = {"0001_things.sql": THINGS, "0002_size.sql": COLUMN}
    admin.install(empty_dsn, make_release("0.2.0", both))

    for older in (make_release("0.1.0"), make_release("0.2.0"), make_release("0.1.9", both)):
        for attempt in (admin.install, admin.status):
            with pytest.raises(SchemaTooNew, match=r"0\.2\.0.*pip install --upgrade"):
                attempt(empty_dsn, older)


def test_migration_outside_a_transaction_runs_in_its_place(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    migrations = {"0001_things.sql": THINGS, "0002_index.sql": INDEX, "0003_size.sql": COLUMN}
    outcome = admin.install(empty_dsn, make_release("0.2.0", migrations))

    assert outcome.migrations == ("0003_size.sql", "0002_index.sql")
    assert ledger(database) == ["0001_things.sql", *outcome.migrations]
    assert value(database, "select indisvalid from pg_index where indexrelid = %s::regclass",
                 "tide.things_name_idx")  # fmt: skip
    assert value(database, "select count(*) from tide.installs") == 2


def test_failed_migration_outside_a_transaction_stops_there_and_is_taken_up_again(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    database.execute("insert into tide.things values (1, 'same'), (2, 'same')")
    unique = INDEX.replace("create index", "create unique index")
    release = make_release(
        "0.2.0",
        {
            "0001_things.sql": THINGS,
            "0002_size.sql": COLUMN,
            "0003_index.sql": unique,
            "0004_more.sql": "create table tide.more (a integer);\n",
        },
        answer=43,
    )

    with pytest.raises(SchemaError, match=r"0003_index.sql.*could not create unique index"):
        admin.install(empty_dsn, release)
    assert admin.status(empty_dsn, release).pending == ("0003_index.sql",)
    assert value(database, "select to_regclass('tide.things_name_idx') is null")

    database.execute("update tide.things set name = thing_id::text")
    assert admin.install(empty_dsn, release).migrations == ("0003_index.sql",)
    assert admin.status(empty_dsn, release).current


def test_half_finished_index_is_dropped_and_built_again(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    database.execute("insert into tide.things values (1, 'same'), (2, 'same')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("create unique index concurrently things_name_idx on tide.things (name)")
    valid = "select indisvalid from pg_index where indexrelid = 'tide.things_name_idx'::regclass"
    assert value(database, valid) is False

    release = make_release("0.2.0", {"0001_things.sql": THINGS, "0002_index.sql": INDEX})
    assert admin.install(empty_dsn, release).migrations == ("0002_index.sql",)
    assert value(database, valid) is True


def test_fresh_install_is_one_transaction_whatever_it_builds(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    migrations = {
        "0001_things.sql": THINGS,
        "0002_index.sql": INDEX,
        "0003_x.sql": "-- tide: after the functions\nselect oops;\n",
    }
    with pytest.raises(SchemaError, match="oops"):
        admin.install(empty_dsn, make_release("0.1.0", migrations))
    assert not has_schema(database)
    del migrations["0003_x.sql"]
    admin.install(empty_dsn, make_release("0.1.0", migrations))
    assert value(database, "select to_regclass('tide.things_name_idx') is not null")


def test_ledger_says_who_when_and_how_long(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    slow = THINGS + "select pg_sleep(0.05);\n"
    admin.install(empty_dsn, make_release("0.1.0", {"0001_things.sql": slow}))
    row = one(database, "select * from tide.migrations")
    assert row.took.total_seconds() >= 0.05
    assert row.applied_by == value(database, "select session_user::text")
    assert row.applied_at <= value(database, "select clock_timestamp()")


def test_what_takes_away_waits_for_the_phase_after_the_deploy(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    drop = "-- tide: after the deploy\n-- Short lock.\nalter table tide.things drop column name;\n"
    release = make_release(
        "0.2.0",
        {"0001_things.sql": THINGS, "0002_drop.sql": drop, "0003_size.sql": COLUMN},
        answer=43,
    )
    with pytest.raises(SchemaTooOld, match="--phase pre"):
        admin.install(empty_dsn, release, phase=admin.POST)
    done = admin.install(empty_dsn, release, phase=admin.PRE)
    assert (done.migrations, value(database, "select tide.answer()")) == (("0003_size.sql",), 43)
    assert admin.status(empty_dsn, release).pending == ("0002_drop.sql",)
    database.execute("insert into tide.things (thing_id, name) values (1, 'by the old driver')")

    done = admin.install(empty_dsn, release, phase=admin.POST)
    assert (done.migrations, done.functions) == (("0002_drop.sql",), 0)
    assert admin.status(empty_dsn, release).current


def test_dry_run_tells_the_locks_and_changes_nothing(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    before = admin.read(empty_dsn)
    release = make_release(
        "0.2.0", {"0001_things.sql": THINGS, "0002_size.sql": COLUMN, "0003_index.sql": INDEX}
    )
    rows = admin.rehearse(empty_dsn, release)
    assert admin.read(empty_dsn) == before
    (size,) = [row for row in rows if row.script == "0002_size.sql"]
    assert size.statement == COLUMN.strip().rstrip(";")
    assert ("tide.things", "AccessExclusiveLock") in size.locks
    assert size.seconds is not None
    (index,) = [row for row in rows if row.script == "0003_index.sql"]
    assert (index.seconds, index.locks) == (None, ())
    assert index.forecast is not None
    assert (index.forecast.table, index.forecast.reads) == ("tide.things", 0)
    assert value(database, "select to_regclass('tide.things_name_idx') is null")
    assert admin.rehearse(empty_dsn, make_release()) == []


def test_dry_run_tells_the_room_of_an_index_beforehand(
    empty_dsn: str, database: Connection, make_release: MakeRelease
) -> None:
    """By a sample of a table of some 2,500 pages, of which half the rows are in the index."""
    admin.install(empty_dsn, make_release())
    database.execute(
        "insert into tide.things select n, lpad('', 100, md5(n::text)) "
        "from generate_series(1, 150000) as n"
    )
    part = INDEX.replace("(name)", "(name, thing_id) where thing_id % 2 = 0")
    release = make_release("0.2.0", {"0001_things.sql": THINGS, "0003_index.sql": part})
    (found,) = [row.forecast for row in admin.rehearse(empty_dsn, release) if row.forecast]
    admin.install(empty_dsn, release)
    real = value(database, "select pg_relation_size('tide.things_name_idx')")
    assert found.reads == value(database, "select pg_relation_size('tide.things')")
    assert 0.7 * real < found.room < 1.4 * real
    assert found.seconds > 0


def test_warnings_of_scripts_reach_whoever_installs(
    empty_dsn: str, make_release: MakeRelease, tmp_path: Path
) -> None:
    make_release()
    (tmp_path / "release" / "roles.sql").write_text(
        "do $$ begin raise warning 'no role' using hint = 'Ask.'; end $$;\n"
    )
    release = admin.Release.read(tmp_path / "release", "0.1.0")
    assert admin.install(empty_dsn, release).notices == ("no role. Ask.",)


def test_waiting_installers_do_not_deadlock_with_a_concurrent_index_build(
    empty_dsn: str, make_release: MakeRelease
) -> None:
    admin.install(empty_dsn, make_release())
    release = make_release("0.2.0", {"0001_things.sql": THINGS, "0002_index.sql": INDEX})
    outcomes = results(at_once([lambda: admin.install(empty_dsn, release)] * 4))
    assert sum(len(outcome.migrations) for outcome in outcomes) == 1


def test_standby_is_refused(make_release: MakeRelease) -> None:
    with tempfile.TemporaryDirectory(prefix="tide-standby-", dir=scratch()) as folder:
        own = OwnServer(Path(folder), "18")
        try:
            own.start()
            own.server.stop()
            (own.server.data / "standby.signal").touch()
            standby: RunningServer = own.start()
            with pytest.raises(SchemaError, match="standby"):
                admin.install(standby.dsn(), make_release())
        finally:
            own.stop()


def test_server_older_than_15_is_refused() -> None:
    old: Any = SimpleNamespace(info=SimpleNamespace(server_version=140011))
    with pytest.raises(SchemaError, match=r"PostgreSQL 14.*15 or newer"):
        refuse_unsuitable(old)


def test_pooler_is_refused_with_the_reason_before_anything_is_written(
    empty_dsn: str,
    database: Connection,
    server: RunningServer,
    make_release: MakeRelease,
) -> None:
    with tempfile.TemporaryDirectory(prefix="tide-bouncer-") as folder:
        try:
            bouncer = Bouncer(Path(folder), server)
        except Absent as absent:
            pytest.skip(str(absent))
        front = bouncer.start()
        try:
            with pytest.raises(SchemaError, match=r"pooler.*the address of the server itself"):
                admin.install(front.dsn(database.info.dbname), make_release())
        finally:
            bouncer.stop()
    assert not has_schema(database)
