"""The commands on gates, children, budgets, forks and events."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from tidebase_pg import Run, Tidebase
from tidebase_pg.cli import main


def run(dsn: str, *arguments: str) -> Any:
    result = CliRunner().invoke(main, ["--dsn", dsn, *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_run_is_let_through_its_waits_by_hand(tide: Tidebase, dsn: str) -> None:
    @tide.workflow("child")
    def child(run: Run, input: Any) -> Any:
        return "result"

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("first", lambda: 1)
        run.child("child", name="one", queue="default")
        decision = run.gate("approve", "Send it?")
        event = run.wait_event("paid")
        run.step("last", lambda: 2)
        return [decision.payload, event and event.payload]

    run_id = str(tide.enqueue(w, budget={"max_steps": 1}).run_id)
    tide.work(drain=True)
    (gate,) = run(dsn, "gates", "list")
    assert gate["run_id"] == run_id
    approved = run(dsn, "gates", "approve", gate["gate_id"], "--payload", "7")
    assert (approved["status"], approved["actor"].startswith("cli")) == ("approved", True)
    assert run(dsn, "gates", "show", gate["gate_id"])["payload"] == 7
    refused = CliRunner().invoke(main, ["--dsn", dsn, "gates", "reject", gate["gate_id"]])
    assert (refused.exit_code, "already decided: approved" in refused.stderr) == (1, True)
    tide.work(drain=True)
    assert run(dsn, "send-event", run_id, "paid", "--payload", "[1]")["sent"] is True
    assert run(dsn, "send-event", run_id, "paid")["sent"] is True
    tide.work(drain=True)
    assert tide.runs.get(run_id).waiting_on == "budget"
    run(dsn, "runs", "budget", run_id, '{"max_steps": 9}')
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == [7, [1]]
    (edge,) = run(dsn, "runs", "children", run_id)
    assert (edge["edge"], edge["status"]) == ("one", "completed")
    fork = run(dsn, "runs", "fork", run_id, "last", "--overrides", '{"first": 2}')
    assert fork["forked_from"] == run_id
