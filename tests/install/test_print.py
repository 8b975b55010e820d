"""What --print prints: the same text each time, and the same result as applying."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable

from tests.install.conftest import COLUMN, INDEX, THINGS, MakeRelease
from tests.servers import RunningServer
from tidebase_pg import admin
from tidebase_pg.admin import State

BOTH = {"0001_things.sql": THINGS, "0002_size.sql": COLUMN}
ALL = {**BOTH, "0003_index.sql": INDEX, "0004_more.sql": "create table tide.more (a integer);\n"}


def dump(server: RunningServer, dsn: str) -> str:
    """The schema and the ledger, without the moments in it."""
    done = subprocess.run(
        [server.program("pg_dump"), "--schema-only", "--restrict-key=tide", dsn],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:  # before --restrict-key was known
        done = subprocess.run(
            [server.program("pg_dump"), "--schema-only", dsn],
            capture_output=True,
            text=True,
            check=True,
        )
    state = admin.read(dsn)
    return f"{done.stdout}\n{state.version}\n{sorted(state.applied.items())}"


def test_printed_install_equals_an_applied_one(
    server: RunningServer,
    make_dsn: Callable[[], str],
    psql: Callable[..., subprocess.CompletedProcess[str]],
    make_release: MakeRelease,
) -> None:
    for release in (admin.current(), make_release("0.2.0", ALL)):
        printed, applied = make_dsn(), make_dsn()
        done = psql(printed, admin.render(release))
        assert (done.returncode, done.stderr) == (0, "")
        admin.install(applied, release)
        assert dump(server, printed) == dump(server, applied)
        assert admin.install(printed, release).functions == 0


def test_printed_upgrade_equals_an_applied_one(
    server: RunningServer,
    make_dsn: Callable[[], str],
    psql: Callable[..., subprocess.CompletedProcess[str]],
    make_release: MakeRelease,
) -> None:
    older, newer = make_release(), make_release("0.2.0", ALL, answer=43)
    printed, applied = make_dsn(), make_dsn()
    for dsn in (printed, applied):
        admin.install(dsn, older)
    text = admin.render(newer, admin.read(printed))
    assert "0001_things.sql" not in text.split("-" * 85)[0]
    done = psql(printed, text)
    assert (done.returncode, done.stderr) == (0, "")
    admin.install(applied, newer)
    assert dump(server, printed) == dump(server, applied)


def test_printed_text_run_twice_stops_and_changes_nothing(
    server: RunningServer,
    make_dsn: Callable[[], str],
    psql: Callable[..., subprocess.CompletedProcess[str]],
    make_release: MakeRelease,
) -> None:
    dsn = make_dsn()
    older = make_release("0.1.0", BOTH)
    text = admin.render(older)
    assert psql(dsn, text).returncode == 0
    before = dump(server, dsn)

    again = psql(dsn, text)
    assert again.returncode == 3
    assert "is not as this text expects it" in again.stderr
    assert "upgrade --print" in again.stderr
    assert dump(server, dsn) == before

    upgrade = admin.render(make_release("0.1.1", BOTH, answer=43), admin.read(dsn))
    assert psql(dsn, upgrade).returncode == 0
    assert psql(dsn, upgrade).returncode == 3


def test_printed_upgrade_stops_on_another_database_than_it_was_made_for(
    make_dsn: Callable[[], str],
    psql: Callable[..., subprocess.CompletedProcess[str]],
    make_release: MakeRelease,
) -> None:
    older, newer = make_release(), make_release("0.2.0", ALL)
    installed, empty = make_dsn(), make_dsn()
    admin.install(installed, older)
    text = admin.render(newer, admin.read(installed))
    assert psql(empty, text).returncode == 3
    assert admin.read(empty) == State()


def test_printed_install_leaves_a_foreign_schema_alone(
    make_dsn: Callable[[], str],
    psql: Callable[..., subprocess.CompletedProcess[str]],
    make_release: MakeRelease,
) -> None:
    dsn = make_dsn()
    psql(dsn, "create schema tide create table levels (metres numeric)")
    done = psql(dsn, admin.render(make_release()))
    assert done.returncode == 3
    assert "another schema named tide" in done.stderr


def test_printed_text_is_the_same_each_time_and_carries_its_hash(
    make_release: MakeRelease,
) -> None:
    for release in (admin.current(), make_release("0.2.0", ALL)):
        text = admin.render(release)
        assert text == admin.render(release)
        header, _, below = text.partition(f"-- {'-' * 85}\n")
        assert hashlib.sha256(below.encode()).hexdigest() in header
        for migration in release.migrations:
            assert f"-- {migration.name} {migration.digest}" in header


def test_printed_text_for_a_current_schema_runs_nothing(make_release: MakeRelease) -> None:
    release = make_release()
    applied = {script.name: script.digest for script in release.migrations}
    text = admin.render(release, State("0.1.0", {**applied, admin.FUNCTIONS: release.digest}))
    assert all(line.startswith("--") for line in text.splitlines())


def test_printed_upgrade_repairs_a_half_finished_index(
    make_dsn: Callable[[], str],
    psql: Callable[..., subprocess.CompletedProcess[str]],
    make_release: MakeRelease,
) -> None:
    dsn = make_dsn()
    admin.install(dsn, make_release("0.1.0", BOTH))
    psql(
        dsn,
        "insert into tide.things values (1, 'same'), (2, 'same');"
        "create unique index concurrently things_name_idx on tide.things (name);",
    )
    text = admin.render(make_release("0.2.0", ALL), admin.read(dsn))
    done = psql(dsn, text)
    assert (done.returncode, done.stderr) == (0, "")
    valid = "select indisvalid from pg_index where indexrelid = 'tide.things_name_idx'::regclass"
    assert "t" in psql(dsn, valid).stdout.split()
    assert admin.read(dsn).applied.keys() >= ALL.keys()
