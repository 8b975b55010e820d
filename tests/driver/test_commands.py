"""The commands on runs, queues and workers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from tidebase_pg import Tidebase, calls
from tidebase_pg.cli import main

APPLICATION = """
from tidebase_pg import AsyncTidebase, Tidebase

tide = Tidebase()
atide = AsyncTidebase()
other = 7

@tide.workflow("sync", queue="q")
def sync(run, input):
    return run.step("s", lambda: input["n"] + 1)

@atide.workflow("async", queue="aq")
async def asynchronous(run, input):
    return await run.step("s", lambda: input["n"] + 1)
"""


class Program:
    """`tidebase-pg` on this test's database."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["--dsn", self.dsn, *arguments])

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


class Terminal:
    """Runs the program on a terminal of so many columns."""

    def __init__(self, program: Program, *, columns: int) -> None:
        self.program = program
        self.columns = columns

    def run(self, *arguments: str) -> str:
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, self.columns, 0, 0))
            command = [sys.executable, "-m", "tidebase_pg", "--dsn", self.program.dsn, *arguments]
            subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, check=True)
            return os.read(ours, 100_000).decode()
        finally:
            os.close(theirs)
            os.close(ours)


@pytest.fixture
def program(dsn: str) -> Program:
    return Program(dsn)


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "application_of_the_test"
    (tmp_path / f"{name}.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


@pytest.mark.parametrize(
    ("app", "workflow", "queue"), [("tide", "sync", "q"), ("atide", "async", "aq")]
)
def test_a_run_is_enqueued_worked_and_shown(
    program: Program, application: str, app: str, workflow: str, queue: str
) -> None:
    made = program.json("enqueue", workflow, "--queue", queue, "--input", '{"n": 1}')
    assert made["status"] == "queued"
    report = program.json("work", f"{application}:{app}", "--drain", "--concurrency", "2")
    assert (report["claimed"], report["completed"]) == (1, 1)
    shown = program.json("runs", "show", made["run_id"])
    assert (shown["status"], shown["result"], shown["steps"][0]["name"]) == ("completed", 2, "s")
    (listed,) = program.json("runs", "list", "--status", "completed")
    assert listed["run_id"] == made["run_id"]
    assert "lease_id" not in listed
    types = [event["type"] for event in program.json("events", made["run_id"], "--after", "1")]
    assert types == ["run.claimed", "step.started", "step.completed", "run.completed"]


def test_runs_are_cancelled_and_retried(program: Program) -> None:
    run_id = program.json("enqueue", "w", "--delay", "1h", "--dedupe-key", "k")["run_id"]
    assert program.json("runs", "show", run_id)["waits"]
    cancelled = program.json("runs", "cancel", run_id, "--reason", "over")
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("cancelled", "over")
    assert cancelled["cancel_actor"].startswith("cli")
    assert program.json("runs", "retry", run_id)["status"] == "queued"


def test_enqueue_takes_all_that_the_schema_takes(program: Program) -> None:
    run = program.json(
        *("enqueue", "w", "--run-at", "2030-01-01T00:00:00Z", "--budget", '{"max_steps": 3}'),
        *("--backoff", '{"base": 7}', "--recovery-url", "https://app.example/recover"),
    )
    shown = program.json("runs", "show", run["run_id"])
    assert shown["run_at"].startswith("2030-01-01")
    assert shown["budget"]["max_steps"] == 3
    assert shown["recovery_url"] == "https://app.example/recover"


def test_a_queued_run_is_moved_in_time_and_order(program: Program) -> None:
    run_id = program.json("enqueue", "w", "--delay", "1h")["run_id"]
    moved = program.json("runs", "reschedule", run_id, "--delay", "0s", "--priority", "7")
    assert (moved["priority"], moved["status"]) == (7, "queued")
    again = program.json("runs", "reschedule", run_id, "--run-at", "2030-01-01T00:00:00Z")
    assert (again["run_at"][:10], again["priority"]) == ("2030-01-01", 7)
    refused = program.run("runs", "reschedule", run_id)
    assert (refused.exit_code, "--run-at or --delay" in refused.stderr) == (2, True)


def test_a_run_is_taken_from_its_worker(program: Program, dsn: str) -> None:
    run_id = program.json("enqueue", "w", "--queue", "taken")["run_id"]
    with Tidebase(dsn) as tide:
        assert tide.execute(calls.claim(queues=["taken"]))[0].run_id == UUID(run_id)
    taken = program.json("runs", "revoke", run_id, "--note", "hangs")
    assert (taken["status"], taken["attempt"]) == ("queued", 0)
    logged = program.json("events", run_id)[-1]["payload"]
    assert (logged["note"], logged["actor"][:3]) == ("hangs", "cli")


def test_who_changed_a_setting_is_listed(program: Program) -> None:
    program.json("queues", "set", "audited", "--concurrency", "4")
    program.json("schedules", "set", "audited", "@daily", "w")
    program.json("schedules", "pause", "audited")
    found = program.json("changes", "--name", "audited")
    assert [change["kind"] for change in found] == ["schedule", "schedule", "queue"]
    assert (found[2]["before"], found[2]["after"]) == ({}, {"concurrency": 4})
    assert all(change["actor"].startswith("cli") for change in found)


def test_many_runs_are_cancelled_at_once_after_a_look_at_how_many(
    program: Program, dsn: str
) -> None:
    with Tidebase(dsn) as tide:
        tide.enqueue_many([{"workflow": "w", "metadata": {"tenant": "a"}}] * 1100, queue="q")
        tide.enqueue_many([{"workflow": "w", "metadata": {"tenant": "b"}}] * 3, queue="q")
    chosen = ("runs", "cancel-many", "--queue", "q", "--metadata", '{"tenant": "a"}')
    assert program.json(*chosen, "--dry-run") == {"cancelled": 1100, "dry_run": True}
    assert program.json("runs", "list", "--status", "cancelled") == []
    assert program.json(*chosen, "--max-runs", "1") == {"cancelled": 1, "dry_run": False}
    assert program.run(*chosen, "--reason", "over").stdout == "1099 runs cancelled\n"
    assert program.json(*chosen) == {"cancelled": 0, "dry_run": False}
    assert len(program.json("runs", "list", "--queue", "q", "--status", "queued")) == 3
    refused = program.run("runs", "cancel-many")
    assert (refused.exit_code, "all null or empty" in refused.stderr) == (1, True)


def test_failures_are_grouped_counted_and_retried_at_a_pace(program: Program, dsn: str) -> None:
    with Tidebase(dsn) as tide:
        for number in range(3):
            run_id = tide.enqueue("w", queue="q", max_attempts=1).run_id
            (run,) = tide.execute(calls.claim(queues=["q"]))
            assert run.lease_id is not None
            error = {"type": "HTTPError", "message": f"HTTP 502 for run {number}"}
            tide.execute(calls.fail(run.run_id, run.lease_id, error=error, retryable=False))
    (group,) = program.json("runs", "errors", "--queue", "q")
    assert (group["runs"], group["message"]) == (3, "HTTP <n> for run <n>")
    assert group["newest_run"] == str(run_id)
    assert "HTTP <n> for run <n>" in program.run("runs", "errors").stdout
    chosen = ("runs", "redrive", "--fingerprint", group["fingerprint"])
    counted = program.json(*chosen, "--dry-run")
    assert counted["groups"] == [{"queue": "q", "failure_class": "error", "runs": 3}]
    lines = program.run(*chosen, "--dry-run").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [["3", "q", "error"]]
    assert len(program.json("runs", "list", "--status", "failed")) == 3
    done = program.json(*chosen, "--max-runs", "1", "--per-second", "0.5")
    assert (done["retried"], done["dry_run"]) == (1, False)
    assert program.run(*chosen).stdout == "2 runs retried\n"
    assert program.run(*chosen).stdout == "nothing matches; nothing was changed\n"
    assert len(program.json("runs", "list", "--status", "queued")) == 3
    refused = program.run("runs", "redrive", "--status", "failed")
    assert (refused.exit_code, "nothing but a status" in refused.stderr) == (1, True)


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    "command",
    [
        ("runs", "cancel-many", "--queue", "nowhere"),
        ("runs", "redrive", "--queue", "nowhere"),
        ("prune", "--older-than", "1d", "--queue", "nowhere"),
    ],
)
def test_a_filter_that_matches_nothing_says_so_and_changes_nothing(
    program: Program, command: tuple[str, ...], dry_run: tuple[str, ...]
) -> None:
    run_id = program.json("enqueue", "w")["run_id"]
    result = program.run(*command, *dry_run)
    assert (result.exit_code, result.stdout.startswith("nothing ")) == (0, True)
    assert [run["status"] for run in program.json("runs", "list")] == ["queued"]
    assert [event["type"] for event in program.json("events", run_id)] == ["run.enqueued"]


def test_a_parent_is_cancelled_without_its_children(program: Program, dsn: str) -> None:
    with Tidebase(dsn) as tide:
        parent = tide.enqueue("w").run_id
        (claimed,) = tide.execute(calls.claim())
        assert claimed.lease_id is not None
        child = tide.execute(calls.spawn(parent, claimed.lease_id, "one", "w")).child_id
        program.json("runs", "cancel", str(parent), "--spare-children")
        tide.reconcile()
        assert tide.runs.get(child).status == "pending"


def test_a_failed_run_is_retried_at_a_time(program: Program) -> None:
    run_id = program.json("enqueue", "w")["run_id"]
    program.json("runs", "cancel", run_id)
    run = program.json("runs", "retry", run_id, "--run-at", "2030-01-01T00:00:00Z")
    assert (run["status"], run["run_at"][:10]) == ("queued", "2030-01-01")


def test_an_application_is_asked_to_take_a_run_up_again(program: Program) -> None:
    url = "https://app.example/recover"
    run_id = program.json("enqueue", "w", "--recovery-url", url)["run_id"]
    asked = program.json("runs", "recover", run_id, "--reason", "deployed")
    assert (asked["url"], asked["run_id"]) == (url, run_id)


def test_a_price_is_removed(program: Program) -> None:
    set_ = program.json("prices", "set", "acme", "small", "--input", "1", "--output", "2")
    assert (set_["input_usd"], set_["output_usd"]) == ("1.0", "2.0")
    program.json("prices", "remove", "acme", "small")
    assert program.json("prices", "list") == []


def test_a_run_comes_after_others(program: Program, dsn: str) -> None:
    first = program.json("enqueue", "w")["run_id"]
    second = program.json("enqueue", "w", "--after", first, "--after-failure", "run")["run_id"]
    assert "waits for runs it comes after" in program.run("runs", "show", second).stdout
    with Tidebase(dsn) as tide:
        rows = tide.enqueue_many(
            [{"workflow": "w"}, {"workflow": "w", "after": [0, UUID(second)], "after_mode": "any"}]
        )
        third = tide.enqueue("w", after=[row.run_id for row in rows], after_failure="fail").run_id
        assert tide.runs.explain_wait(third)["reasons"][0]["open"] == 2
        tide.runs.cancel(first)
    program.json("reconcile")
    shown = program.json("runs", "list", "--status", "queued")
    assert {run["run_id"]: run["ready"] for run in shown} == {
        second: True,
        str(rows[0].run_id): True,
        str(rows[1].run_id): False,
        str(third): False,
    }


def test_tables_say_when_they_are_empty_and_how_long_ago_things_were(program: Program) -> None:
    empty = program.run("runs", "list", "--queue", "none")
    assert (empty.stdout, empty.stderr, empty.exit_code) == ("", "nothing found\n", 0)
    program.json("enqueue", "w", "--delay", "2h")
    heading, row = program.run("runs", "list").stdout.splitlines()
    assert heading.split()[:2] == ["run_id", "workflow"]
    assert "in 2 h" in row or "in 119 min" in row


def test_a_table_fits_the_terminal_and_cuts_no_id(program: Program) -> None:
    run_id = program.json("enqueue", "w" * 80, "--queue", "q" * 80)["run_id"]
    lines = Terminal(program, columns=120).run("runs", "list").splitlines()
    assert max(len(line) for line in lines) <= 120
    assert lines[1].startswith(run_id)
    assert "…" in lines[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_a_completion(program: Program, shell: str) -> None:
    script = program.run("completion", shell).stdout
    assert f"{shell}_complete" in script
    assert "tidebase-pg" in script


def test_bash_completes_commands_and_options(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TIDEBASE_PG_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "tidebase-pg runs can")
    monkeypatch.setenv("COMP_CWORD", "2")
    done = subprocess.run(
        [Path(sys.executable).with_name("tidebase-pg")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["plain,cancel", "plain,cancel-many"]


def test_queues_are_set_listed_paused_and_resumed(program: Program) -> None:
    program.json("queues", "set", "q", "--concurrency", "2", "--rate-period", "30s")
    cleared = program.json("queues", "set", "q", "--clear", "concurrency")
    assert (cleared["concurrency"], cleared["rate_period"]) == (None, 30)
    assert program.json("queues", "pause", "q")["paused"] is True
    assert program.json("queues", "resume", "q")["paused"] is False
    assert [queue["queue"] for queue in program.json("queues", "list")] == ["q"]
    assert program.run("queues", "list").stdout.split()[0] == "queue"


def test_lanes_are_set_listed_and_dropped(program: Program) -> None:
    made = program.json("lanes", "set", "openai", "--total", "20", "--per-key", "2")
    assert (made["total"], made["per_key"]) == (20, 2)
    cleared = program.json("lanes", "set", "openai", "--clear", "total")
    made = program.json(
        "lanes", "set", "openai", "--units", "900", "--units-per-key", "90", "--period", "10s",
        "--unit", "tokens",
    )  # fmt: skip
    assert (made["units"], made["units_per_key"], made["unit"]) == (900, 90, "tokens")
    assert (cleared["total"], cleared["per_key"]) == (None, 2)
    made = program.json(
        "lanes", "set", "openai", "--total", "9", "--adaptive", "--adaptive-min", "3"
    )
    assert (made["adaptive"], made["adaptive_min"]) == (True, 3)
    (listed,) = program.json("lanes", "list")
    assert (listed["total"], listed["adaptive_limit"]) == (9, 9)
    made = program.json("lanes", "set", "openai", "--clear", "adaptive", "--clear", "adaptive_min")
    assert (made["adaptive"], made["adaptive_min"]) == (None, None)
    program.json("enqueue", "w", "--lane", "openai", "--lane-key", "acme", "--cost", "90")
    assert [lane["lane"] for lane in program.json("lanes", "list")] == ["openai"]
    classes = ("--breaker-classes", "ProviderDown", "--breaker-classes", "TimeoutError")
    program.json("lanes", "set", "openai", "--breaker-failures", "5", *classes)
    broken = program.json("lanes", "set", "openai", "--breaker-delay", "1m")
    assert broken["breaker_failures"] == 5
    assert broken["breaker_classes"] == ["ProviderDown", "TimeoutError"]
    throttled = program.json("lanes", "throttle", "openai", "--for", "1h", "--reason", "429")
    assert throttled["throttle_reason"] == "429"
    assert program.json("lanes", "list")[0]["throttled_until"] == throttled["throttled_until"]
    assert program.json("lanes", "lift", "openai")["throttled_until"] is None
    until = program.json("lanes", "throttle", "openai", "--until", "2035-01-01T00:00:00Z")
    assert until["throttled_until"].startswith("2035-01-01")
    assert program.json("lanes", "drop", "openai")["dropped"] is True
    assert program.json("lanes", "drop", "openai")["dropped"] is False
    assert program.json("lanes", "list") == []


def test_reconcile_says_what_it_did(program: Program) -> None:
    assert program.json("reconcile", "--budget", "1s")["expired_leases"] == 0


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["enqueue", "w", "--input", "{"], 2, "is not JSON"),
        (["enqueue", "w", "--delay", "soon"], 2, "is not a length of time"),
        (["enqueue", "not a name"], 1, "workflow is not a valid name"),
        (["enqueue", "w", "--priority", "99999999999"], 1, "priority"),
        (["runs", "show", "x"], 2, "UUID"),
        (["runs", "cancel", "00000000-0000-0000-0000-000000000000"], 1, "does not exist"),
        (["runs", "list", "--max-runs", "0"], 1, "max_runs"),
        (["queues", "set", "q"], 2, "nothing to set"),
        (["queues", "set", "q", "--concurrency", "-1"], 1, "concurrency"),
        (["lanes", "set", "l", "--total", "0"], 1, "total"),
        (["lanes", "throttle", "l"], 2, "--until or --for"),
        (["lanes", "throttle", "nowhere", "--for", "1m"], 1, "lane 'nowhere' does not exist"),
        (["lanes", "throttle", "nowhere", "--for", "1m"], 1, "See tidebase-pg lanes list;"),
        (["schedules", "fire", "nightly"], 1, "See tidebase-pg schedules list."),
        (["keys", "revoke", "ci"], 1, "tidebase-pg keys list"),
        (["--dsn", "postgresql://localhost:1/x", "runs", "list"], 1, "tidebase-pg dev starts"),
        (["enqueue", "w", "--lane", "nowhere"], 1, "lane 'nowhere' does not exist"),
        (["enqueue", "w", "--cost", "5"], 1, "cost is given without a lane: 5"),
        (["work", "nothing"], 2, "is not MODULE:APP"),
        (["work", "no_such_module:tide"], 2, "no module 'no_such_module'"),
    ],
)
def test_a_wrong_argument_is_one_line_and_an_exit_code(
    program: Program, arguments: list[str], exit_code: int, words: str
) -> None:
    result = program.run(*arguments)
    assert result.exit_code == exit_code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_what_is_no_application_is_refused(program: Program, application: str) -> None:
    result = program.run("work", f"{application}:other")
    assert result.exit_code == 2
    assert "is no Tidebase" in result.stderr


def test_poison_in_one_run_does_not_hide_the_others(
    program: Program, dsn: str, connect: Any
) -> None:
    with Tidebase(dsn) as tide:
        runs = [str(tide.enqueue("w", input={"n": n}).run_id) for n in range(2)]
    connect().execute(
        "update tide.runs_active set input = '[1e100000]' where run_id = %s", (runs[0],)
    )
    listed = {run["run_id"]: run["input"] for run in program.json("runs", "list")}
    assert listed[runs[1]] == {"n": 1}
    assert isinstance(listed[runs[0]], str)


def test_allowances_are_set_listed_and_dropped(program: Program) -> None:
    made = program.json("allowances", "set", "tenant:acme", "usd", "5", "--per", "month")
    assert (made["per"], float(made["amount"]), float(made["estimate"])) == ("month", 5, 0.05)
    (listed,) = program.json("allowances", "list", "tenant:acme")
    assert (float(listed["left_over"]), listed["waiting"]) == (5, 0)
    assert program.json("allowances", "list", "tenant:other") == []
    assert program.json("allowances", "drop", "tenant:acme", "usd")["dropped"] is False
    dropped = program.json("allowances", "drop", "tenant:acme", "usd", "--per", "month")
    assert dropped["dropped"] is True
