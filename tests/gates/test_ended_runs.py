"""Gates of runs that end are closed, those of runs that go on again are asked again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def opened(tide: Tide, run: Any, **options: Any) -> Any:
    return tide.open_gate(**own(run), **{"name": "approve", "prompt": "?"} | options)


def test_cancel_closes_every_pending_gate(tide: Tide) -> None:
    run = tide.started()
    decided = opened(tide, run, name="decided")
    tide.decide_gate(gate_id=decided.gate_id, decision="approved", actor="ann")
    gates = [opened(tide, run, name=f"gate {number}") for number in range(3)]
    tide.await_gate(**own(run), gate_id=gates[0].gate_id)
    tide.cancel(run_id=run.run_id)
    for gate in gates:
        closed = tide.get_gate(gate_id=gate.gate_id)
        assert (closed.status, closed.actor, closed.run_status) == ("canceled", "tide", "cancelled")
        with refused("TD022", "canceled"):
            tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved")
    assert tide.get_gate(gate_id=decided.gate_id).status == "approved"
    assert tide.connection.execute("select from tide.pending_gates").fetchall() == []


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_any_other_end_closes_them_too(tide: Tide, end: str) -> None:
    run = tide.started()
    gate = opened(tide, run, timeout="1 minute")
    tide.call(end, **own(run))
    assert tide.get_gate(gate_id=gate.gate_id).status == "canceled"


def test_cancel_many_closes_them_too(tide: Tide) -> None:
    gates = []
    for _ in range(3):
        run = tide.started()
        gates.append(opened(tide, run))
        tide.await_gate(**own(run), gate_id=gates[-1].gate_id)
    assert tide.cancel_many(queue="default") == 3
    assert {tide.get_gate(gate_id=gate.gate_id).status for gate in gates} == {"canceled"}


def test_closed_gate_does_not_time_out(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    gate = opened(tide, run, timeout="1 minute", on_timeout="approved")
    tide.cancel(run_id=run.run_id)
    hour.advance(2 * MINUTE)
    assert tide.reconcile()["gate_timeouts"] == 0
    assert tide.get_gate(gate_id=gate.gate_id).status == "canceled"


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_retried_run_asks_again_what_its_end_closed(tide: Tide, end: str) -> None:
    run = tide.started()
    gate = opened(tide, run)
    tide.call(end, **(own(run) if end == "fail" else {"run_id": run.run_id}))
    tide.retry(run_id=run.run_id)
    (run,) = tide.claim()
    again = opened(tide, run)
    assert again.status == "pending"
    assert again.gate_id != gate.gate_id
    assert again.token not in (None, gate.token)
    with refused("TD010", gate.gate_id):
        tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved")
    assert tide.await_gate(**own(run), gate_id=again.gate_id).parked
    tide.resolve_gate(gate_id=again.gate_id, token=again.token, decision="approved")
    (run,) = tide.claim()
    assert tide.await_gate(**own(run), gate_id=again.gate_id).status == "approved"
    assert tide.get_run(run_id=run.run_id).open_gates == 0


@pytest.mark.parametrize("actor", ["ann", "tide", "timeout"])
def test_retried_run_keeps_what_people_decided(tide: Tide, actor: str) -> None:
    run = tide.started()
    gate = opened(tide, run)
    tide.decide_gate(gate_id=gate.gate_id, decision="canceled", actor=actor)
    tide.fail(**own(run))
    tide.retry(run_id=run.run_id)
    (run,) = tide.claim()
    again = opened(tide, run)
    assert (again.gate_id, again.status, again.actor) == (gate.gate_id, "canceled", actor)


def test_gate_of_a_finished_run_cannot_be_opened(tide: Tide) -> None:
    done, cancelled = tide.started(), tide.started()
    tide.complete(**own(done))
    tide.cancel(run_id=cancelled.run_id)
    before = contents(tide.connection)
    with refused("TD003", done.run_id):
        opened(tide, done)
    with refused("TD001", cancelled.run_id):
        opened(tide, cancelled)
    assert contents(tide.connection) == before
