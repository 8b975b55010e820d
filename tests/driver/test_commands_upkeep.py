"""The commands that keep an installation going: reconcile, prune, pause, resume, adopt, health."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from psycopg import sql

from tests.driver.test_processes import PATIENCE, ROOT, read_until
from tests.servers import RunningServer
from tests.support import Clock, Connection, open_connection
from tidebase_pg import Health, Run, Tidebase
from tidebase_pg.cli import main
from tidebase_pg.commands.health import LIMITS

Process = subprocess.Popen[str]
NOWHERE = "postgresql://127.0.0.1:1/nowhere"
OF_THE_LOOP = "datname = current_database() and query like 'call tide.reconcile%'"


class Program:
    """`tidebase-pg` on this test's database."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["--dsn", self.dsn, *arguments])

    def json(self, *arguments: str, exit_code: int = 0) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout)


@pytest.fixture
def program(dsn: str) -> Program:
    return Program(dsn)


@pytest.fixture
def loop(direct_dsn: str) -> Iterator[Callable[[], Process]]:
    """Starts `reconcile --loop` as a process of its own."""
    started: list[Process] = []

    def start() -> Process:
        command = [sys.executable, "-m", "tidebase_pg", "reconcile", "--loop", "--every", "20ms"]
        started.append(
            subprocess.Popen(
                [*command, "--json"],
                cwd=ROOT,
                env={**os.environ, "TIDEBASE_DSN": direct_dsn},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def make_due(connection: Connection) -> None:
    """One fire of a schedule is due from now on, and no other for a year."""
    connection.execute("select tide.set_schedule('s', '0 0 1 1 *', 'w')")
    connection.execute("update tide.schedules set next_fire_at = now() - interval '1 second'")


def next_line(process: Process) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_a_loop_does_what_becomes_due_and_says_only_that(
    loop: Callable[[], Process], connection: Connection
) -> None:
    running = loop()
    for _ in range(2):
        make_due(connection)
        assert next_line(running) == {"schedules": 1}
    running.send_signal(signal.SIGTERM)
    rest, errors = running.communicate(timeout=PATIENCE)
    assert (running.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_loop_after_the_call_under_way(
    loop: Callable[[], Process], direct_dsn: str, number: signal.Signals
) -> None:
    with blocked(loop, direct_dsn) as (running, observer):
        running.send_signal(number)
        assert waiting(observer)
    assert next_line(running) == {"schedules": 1}
    assert running.wait(PATIENCE) == 0


def test_signals_again_end_a_loop_where_it_stands(
    loop: Callable[[], Process], direct_dsn: str
) -> None:
    with blocked(loop, direct_dsn) as (running, _):
        while running.poll() is None:
            running.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                running.wait(0.2)  # so that each is noticed by itself
        assert running.returncode == -signal.SIGTERM


def test_a_loop_outlives_the_connection_killed_in_the_middle_of_a_call(
    loop: Callable[[], Process], direct_dsn: str
) -> None:
    with blocked(loop, direct_dsn) as (running, observer):
        killed = waiting(observer)
        observer.execute("select pg_terminate_backend(%s)", (killed,))
        read_until(running.stderr, "goes on trying")
    assert next_line(running) == {"schedules": 1}
    running.send_signal(signal.SIGTERM)
    assert running.wait(PATIENCE) == 0


def test_a_loop_whose_database_is_gone_tries_again_and_still_ends_on_a_signal(
    loop: Callable[[], Process], direct_dsn: str, database_name: str, server: RunningServer
) -> None:
    with open_connection(direct_dsn) as connection, open_connection(server.dsn()) as admin:
        database = sql.Identifier(database_name)
        running = loop()
        make_due(connection)
        assert next_line(running) == {"schedules": 1}
        for back in (True, False):
            admin.execute(sql.SQL("alter database {} allow_connections false").format(database))
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'tidebase-pg' and datname = current_database()"
            )
            read_until(running.stderr, "goes on trying")
            if back:
                admin.execute(sql.SQL("alter database {} allow_connections true").format(database))
                read_until(running.stderr, "reaches the database again")
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 0


@contextmanager
def blocked(loop: Callable[[], Process], dsn: str) -> Iterator[tuple[Process, Connection]]:
    """A loop that works, in the middle of a call that waits for a lock; then one fire is due."""
    with open_connection(dsn) as observer, open_connection(dsn, autocommit=False) as holder:
        running = loop()
        make_due(observer)
        assert next_line(running) == {"schedules": 1}
        holder.execute("lock table tide.schedules in access exclusive mode")
        make_due(holder)
        while not waiting(observer):
            assert running.poll() is None
        yield running, observer


def waiting(observer: Connection) -> int | None:
    """The backend of a loop that waits for a lock."""
    observer.execute("select pg_stat_clear_snapshot()")
    row = observer.execute(
        "select pid from pg_stat_activity "
        f"where {OF_THE_LOOP} and cardinality(pg_blocking_pids(pid)) > 0".encode()
    ).fetchone()
    return None if row is None else row.pid


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--dsn", NOWHERE, "reconcile", "--loop"], 1, "connection"),
        (["reconcile", "--every", "1s"], 2, "--loop"),
        (["reconcile", "--loop", "--every", "0"], 1, "too short"),
        (["reconcile", "--loop", "--batch", "0"], 1, "batch"),
        (["prune", "--queue", "q"], 1, "without older_than"),
        (["prune", "--max-runs", "0"], 2, "max-runs"),
        (["adopt"], 2, "quarantine"),
        (["adopt", "at once"], 2, "at once"),
        (["health", "--ready-age", "soon"], 2, "is not a length of time"),
        (["queues", "set", "q", "--push-url", "nowhere"], 1, "push_url"),
        (["queues", "set", "q", "--retention-keeps", "all"], 2, "all"),
    ],
)
def test_a_wrong_argument_is_one_line_and_an_exit_code(
    program: Program, arguments: list[str], exit_code: int, words: str
) -> None:
    result = program.run(*arguments)
    assert result.exit_code == exit_code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_prune_removes_all_that_is_old_enough_or_as_many_as_it_is_told(
    program: Program, tide: Tidebase
) -> None:
    @tide.workflow("w", queue="q")
    def w(run: Run, input: Any) -> Any:
        return 1

    tide.enqueue_many([{"workflow": w}] * 1003)
    tide.work(drain=True, reconcile=False, concurrency=100)
    assert program.json("prune")["removed"] == 0
    assert program.json("prune", "--older-than", "1h")["removed"] == 0
    age = ("--older-than", "0s", "--queue", "q")
    tried = program.json("prune", *age, "--dry-run")
    assert tried == {"removed": 1003, "dry_run": True}
    assert len(tide.runs.list(max_runs=1000)) == 1000
    assert program.json("prune", *age, "--max-runs", "2") == {"removed": 2, "dry_run": False}
    assert program.run("prune", *age).stdout == "removed 1001 runs\n"
    assert tide.runs.list() == []


def test_an_installation_is_paused_and_resumed(program: Program, tide: Tidebase) -> None:
    assert program.json("pause", "--reason", "moving house") == {"paused": True}
    tide.reconcile()
    shown = program.json("health", exit_code=1)
    assert (shown["healthy"], shown["pause_reason"]) == (False, "moving house")
    assert "the installation is paused: moving house" in shown["problems"]
    assert program.json("resume") == {"paused": False}
    tide.reconcile()
    assert program.json("health")["problems"] == []


def test_a_copy_is_adopted(program: Program, connection: Connection, tide: Tidebase) -> None:
    connection.execute("update tide.identity set system_identifier = 7, database_oid = 1")
    tide.reconcile()
    refused = program.run("resume")
    assert (refused.exit_code, "copy" in refused.stderr) == (1, True)
    assert program.json("adopt", "quarantine", "--dry-run")["mode"] == "quarantine"
    assert program.run("resume").exit_code == 1
    assert program.json("adopt", "quarantine")["mode"] == "quarantine"
    assert program.json("resume") == {"paused": False}


def test_health_exits_with_one_when_a_limit_is_passed(
    program: Program, tide: Tidebase, clock: Clock
) -> None:
    clock.advance(timedelta(0))
    never = program.json("health", exit_code=1)
    assert never["problems"] == ["reconcile was never called"]
    tide.reconcile()
    well = program.run("health")
    assert (well.exit_code, well.stderr) == (0, "")
    assert well.stdout.split()[:2] == ["healthy", "yes"]

    tide.enqueue("w")
    clock.advance(timedelta(minutes=20))
    tide.reconcile()
    late = program.run("health")
    assert late.exit_code == 1
    (problem,) = late.stderr.splitlines()
    assert problem.startswith("oldest_ready_run_age is 1200")
    assert problem.endswith("more than 900s")
    assert program.run("health", "--ready-age", "1h").exit_code == 0


def test_all_that_health_tells_has_a_limit_but_the_pause_and_the_tick() -> None:
    limited = {limit.fact for limit in LIMITS}
    assert limited == {field.name for field in fields(Health)} - {
        "paused_at",
        "pause_reason",
        "last_tick_age",  # idle workers claim rarely
    }


def test_a_queue_is_set_to_push_and_to_keep(program: Program) -> None:
    url = "https://example.com/hook"
    made = program.json(
        "queues", "set", "q", "--push-url", url, "--push-secret", "mine", "--retention", "30d",
        "--retention-keeps", "usage", "--retention-keeps", "gates",
    )  # fmt: skip
    assert (made["push_url"], made["push_secret"], made["retention"]) == (url, "mine", 2592000)
    assert made["retention_keeps"] == ["gates", "usage"]
    same = program.json("queues", "set", "q", "--concurrency", "1")
    assert (same["push_url"], same["retention_keeps"]) == (url, ["gates", "usage"])
    cleared = program.json(
        "queues", "set", "q", "--clear", "push_url", "--clear", "retention_keeps"
    )
    assert (cleared["push_url"], cleared["retention_keeps"]) == (None, [])


def test_a_run_is_enqueued_with_channels(program: Program, connection: Connection) -> None:
    made = program.json("enqueue", "w", "--channels", '[{"url": "https://example.com"}]')
    (row,) = connection.execute("select c.run_id, c.url from tide.channels as c").fetchall()
    assert (str(row.run_id), row.url) == (made["run_id"], "https://example.com")


def test_the_retention_of_runs_whose_queue_has_none_is_set(program: Program) -> None:
    assert program.run("retention", "90d").stdout == "finished runs are kept for 90 d\n"
    assert program.json("retention", "--forever") == {"retention": None}
    (last, first) = program.json("changes", "--kind", "installation")
    assert (first["after"], last["after"]) == ({"retention": "2160:00:00"}, {})
    assert program.run("retention").exit_code == 2


def test_a_secret_is_given_to_queues_and_roles(program: Program, dsn: str) -> None:
    program.run("webhooks", "set-secret", "billing", "--generate")
    granted = program.json("webhooks", "grant", "billing", "--queue", "invoices")
    assert (granted["name"], granted["queues"], granted["roles"]) == ("billing", ["invoices"], [])
