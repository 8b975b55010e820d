"""Upgrading from what was released: the same schema in the end, and nobody notices meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.upgrades import RELEASES, install_release
from tests.install.load import ACTS, load, report
from tests.install.test_print import dump
from tests.servers import Absent, RunningServer
from tests.support import open_connection, value
from tidebase_pg import Run, Tidebase, admin
from tidebase_pg.errors import SchemaError

TEXTS = sorted(RELEASES.glob("*.sql"))
QUICK_ACTS = tuple(act for act in ACTS if act is not report)
PATIENCE = 300
WAITS_FOR_US = """
    select l.waitstart
    from pg_locks as l
    where l.waitstart is not null
      and pg_backend_pid() = any (pg_blocking_pids(l.pid))
"""

each_release = pytest.mark.parametrize("released", TEXTS, ids=lambda path: path.stem)


@each_release
def test_upgraded_schema_equals_a_fresh_one(
    server: RunningServer, make_dsn: Callable[[], str], released: Path
) -> None:
    upgraded, fresh = make_dsn(), make_dsn()
    install_release(upgraded, released)
    admin.install(fresh)
    assert admin.install(upgraded, upgrade=True).before == released.stem
    try:
        assert dump(server, upgraded) == dump(server, fresh)
    except Absent as absent:
        pytest.skip(str(absent))


@each_release
def test_upgrade_leaves_no_function_behind_and_no_overload(
    make_dsn: Callable[[], str], released: Path
) -> None:
    found: list[list[Any]] = []
    for text in (released, None):
        dsn = make_dsn()
        if text is not None:
            install_release(dsn, text)
        admin.install(dsn)
        with open_connection(dsn) as connection:
            rows = connection.execute(
                """
                select p.proname, pg_get_function_identity_arguments(p.oid)
                from pg_proc as p
                where p.pronamespace = 'tide'::regnamespace
                order by 1, 2
                """
            ).fetchall()
        assert len({row[0] for row in rows}) == len(rows)
        found.append(rows)
    assert found[0] == found[1]


@each_release
def test_upgrade_printed_offline_equals_the_applied_one(
    server: RunningServer,
    make_dsn: Callable[[], str],
    psql: Callable[..., subprocess.CompletedProcess[str]],
    released: Path,
) -> None:
    printed, applied = make_dsn(), make_dsn()
    for dsn in (printed, applied):
        install_release(dsn, released)
    offline = admin.render(admin.current(), admin.released(released.stem))
    assert offline == admin.render(admin.current(), admin.read(printed))
    done = psql(printed, offline)
    assert (done.returncode, done.stderr) == (0, "")
    admin.install(applied)
    assert dump(server, printed) == dump(server, applied)
    with open_connection(printed) as connection:
        took = "select count(*) from tide.migrations where took between '0' and '1 minute'"
        assert value(connection, took) == len(re.findall(r"(?m)^insert into tide.migr", offline))


def test_released_migrations_are_as_they_were_released() -> None:
    releases = json.loads((admin.sql_folder() / "releases.json").read_text())
    assert set(releases) == {path.stem for path in TEXTS}
    now = {script.name: script.digest for script in admin.current().migrations}
    for version, release in releases.items():
        frozen = (RELEASES / f"{version}.sql").read_text()
        assert release["migrations"].items() <= now.items()
        for digest in (*release["migrations"].values(), release["functions"]):
            assert digest in frozen


def test_unknown_release_is_refused_with_those_known() -> None:
    with pytest.raises(SchemaError, match=r"0\.0\.9 is no release.*knows 0\.1\.0"):
        admin.released("0.0.9")


def test_migrations_change_one_table_at_a_time() -> None:
    for script in admin.current().migrations[7:]:
        families = {t.partition("_")[0] for t in (script.locks or ("", ()))[1]}
        assert len(families) <= 1, f"{script.name} locks {families} at once"


@each_release
def test_upgrade_under_load_disturbs_nobody(empty_dsn: str, released: Path) -> None:
    install_release(empty_dsn, released)
    with open_connection(empty_dsn) as connection:
        connection.execute(
            """
            select count(e.run_id)
            from generate_series(1, 20) as g(batch),
              lateral tide.enqueue_many('load', (
                select jsonb_agg(jsonb_build_object('workflow', 'load', 'priority', n % 5))
                from generate_series(1, 1000) as n
              )) as e
            """
        )
    with load(empty_dsn) as advance:
        advance(10)
        assert admin.install(empty_dsn).before == released.stem
        advance(10)
    with open_connection(empty_dsn) as connection:
        twice = "select count(*) from tide.runs where status = 'completed' and attempt <> 1"
        assert value(connection, twice) == 0


@each_release
def test_statements_behind_an_upgrade_that_waits_go_on(empty_dsn: str, released: Path) -> None:
    """Whoever queues behind the installer waits for one try of it, not for what it waits for."""
    install_release(empty_dsn, released)
    with (
        open_connection(empty_dsn) as holder,
        load(empty_dsn, QUICK_ACTS) as advance,
        ThreadPoolExecutor(1) as pool,
    ):
        with holder.transaction():
            holder.execute("lock table tide.runs_active in access share mode")
            installation = pool.submit(admin.install, empty_dsn, wait=PATIENCE)
            tries = set[Any]()
            while len(tries) < 3:
                assert not installation.done(), "it does not touch this table: take another"
                tries.update(row.waitstart for row in holder.execute(WAITS_FOR_US))
            advance(3)
        assert installation.result().before == released.stem


def test_previous_driver_works_on_this_schema(dsn: str) -> None:
    (wheel,) = RELEASES.glob("*.whl")
    program = Path(__file__).parent / "previous_driver.py"
    done = subprocess.run(
        [sys.executable, "-P", program, dsn],
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr


@each_release
def test_this_driver_works_on_the_schema_before(empty_dsn: str, released: Path) -> None:
    install_release(empty_dsn, released)
    with Tidebase(empty_dsn) as tide:

        @tide.workflow("double")
        def double(run: Run, input: Any) -> Any:
            twice: int = run.step("times", lambda: input["n"] * 2)
            return twice

        run_id = tide.enqueue(double, input={"n": 21}).run_id
        tide.work(drain=True)
        assert tide.runs.get(run_id).result == 42


@each_release
def test_large_inputs_from_before_are_answered_and_begun_again_as_new_ones(
    empty_dsn: str, released: Path
) -> None:
    install_release(empty_dsn, released)
    large = {"n": 21, "text": "tides " * 2000}
    with Tidebase(empty_dsn) as tide:

        @tide.workflow("double")
        def double(run: Run, input: Any) -> Any:
            assert input == large
            return 2 * input["n"]

        cancelled = tide.enqueue(double, input=large).run_id
        tide.runs.cancel(cancelled)
        waiting = tide.enqueue(double, input=large).run_id
        assert admin.install(empty_dsn, upgrade=True).before == released.stem
        for run_id in (cancelled, waiting):
            assert tide.runs.get(run_id).input == large
        tide.runs.retry(cancelled)
        tide.work(drain=True)
        for run_id in (cancelled, waiting):
            run = tide.runs.get(run_id)
            assert (run.result, run.input) == (42, large)
