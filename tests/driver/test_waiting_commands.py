"""The commands on gates, children, budgets, forks and events."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from tidebase_pg import Run, Tidebase, calls
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


def test_several_decide_and_comment_from_the_command_line(dsn: str, tide: Tidebase) -> None:
    run_id = tide.enqueue("pay").run_id
    (held,) = tide.execute(calls.claim(queues=["default"]))
    rules = {"quorum": 2, "assignees": ["ann", "bob"]}
    opened = tide.execute(calls.open_gate(run_id, held.lease_id, "pay", "Pay?", rules=rules))
    gate = str(opened.gate_id)
    run(dsn, "gates", "comment", gate, "who ordered this?", "--as", "bob")
    run(dsn, "gates", "remind", gate)
    first = run(dsn, "gates", "approve", gate, "--as", "ann", "--comment", "as agreed")
    assert first["status"] == "pending"
    shown = run(dsn, "gates", "show", gate)
    assert shown["assignees"] == ["ann", "bob"]
    assert [(vote["actor"], vote["comment"]) for vote in shown["votes"]] == [("ann", "as agreed")]
    assert [event["type"] for event in shown["events"]] == [
        "gate.created",
        "gate.commented",
        "gate.reminded",
        "gate.voted",
    ]
    refused = CliRunner().invoke(main, ["--dsn", dsn, "gates", "approve", gate, "--as", "eve"])
    assert refused.exit_code == 1
    assert "assigned to others" in refused.output
    assert run(dsn, "gates", "approve", gate, "--as", "bob")["status"] == "approved"
