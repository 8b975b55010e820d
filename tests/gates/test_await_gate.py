"""await_gate: the decision, or the run is parked at no cost until somebody decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock, value

YEAR = timedelta(days=365)


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def opened(tide: Tide, run: Any, **options: Any) -> Any:
    return tide.open_gate(**own(run), **{"name": "approve", "prompt": "Send it?"} | options)


def parked(tide: Tide, run: Any, **options: Any) -> Any:
    """The gate the run is parked on."""
    gate = opened(tide, run, **options)
    assert tide.await_gate(**own(run), gate_id=gate.gate_id).parked
    return gate


def test_parked_run_has_no_lease_no_slot_and_no_attempt(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    run = tide.started()
    gate = opened(tide, run)
    answer = tide.await_gate(**own(run), gate_id=gate.gate_id)
    assert answer == (True, "pending", None, None)
    waiting = tide.get_run(run_id=run.run_id)
    assert (waiting.status, waiting.waiting_on) == ("queued", "gate")
    assert waiting.waiting_for == str(gate.gate_id)
    assert (waiting.attempt, waiting.slot, waiting.leased_until) == (0, None, None)
    assert (waiting.ready, waiting.run_at) == (False, None)
    assert value(tide.connection, "select count(run_id) from tide.slots") == 0
    assert tide.last_event(run.run_id).type == "run.parked"
    assert tide.last_event(run.run_id).payload == {
        "waiting_on": "gate",
        "waiting_for": str(gate.gate_id),
        "gate": "approve",
    }
    assert tide.started().slot == 1


def test_worker_of_a_parked_run_has_lost_it(tide: Tide) -> None:
    run = tide.started()
    gate = parked(tide, run)
    before = contents(tide.connection)
    with refused("TD002", run.run_id):
        tide.await_gate(**own(run), gate_id=gate.gate_id)
    with refused("TD002", run.run_id):
        tide.complete(**own(run))
    (row,) = tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id])
    assert row.state == "lost"
    assert contents(tide.connection) == before


@pytest.mark.parametrize("decision", ["approved", "rejected", "canceled"])
def test_decision_wakes_the_run_and_replays(tide: Tide, decision: str) -> None:
    run = tide.started()
    gate = parked(tide, run)
    tide.resolve_gate(
        gate_id=gate.gate_id, token=gate.token, decision=decision, actor="ann", payload={"n": 1}
    )
    assert tide.log(run.run_id)[-3:] == ["run.parked", "gate.resolved", "run.resumed"]
    (again,) = tide.claim()
    assert (again.run_id, again.attempt, again.waiting_on) == (run.run_id, 1, None)
    for _ in range(2):
        answer = tide.await_gate(**own(again), gate_id=gate.gate_id)
        assert answer == (False, decision, {"n": 1}, "ann")


def test_decision_before_the_wait_needs_no_parking(tide: Tide) -> None:
    run = tide.started()
    gate = opened(tide, run)
    tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved")
    answer = tide.await_gate(**own(run), gate_id=gate.gate_id)
    assert answer == (False, "approved", {}, None)
    assert tide.get_run(run_id=run.run_id).status == "running"
    assert "run.parked" not in tide.log(run.run_id)


def test_gate_of_any_length_uses_no_attempt(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    for number in range(5):
        gate = parked(tide, run, name=f"gate {number}")
        hour.advance(YEAR)
        tide.reconcile()
        assert tide.claim() == []
        tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved")
        (run,) = tide.claim()
        assert (run.attempt, run.max_attempts) == (1, 1)
    assert tide.complete(**own(run)).status == "completed"
    assert "run.requeued" not in tide.log(run.run_id)


def test_decision_about_another_gate_leaves_the_run_parked(tide: Tide) -> None:
    run = tide.started()
    other = opened(tide, run, name="other")
    gate = parked(tide, run)
    tide.resolve_gate(gate_id=other.gate_id, token=other.token, decision="approved")
    waiting = tide.get_run(run_id=run.run_id)
    assert (waiting.waiting_for, waiting.open_gates) == (str(gate.gate_id), 1)
    assert tide.claim() == []


def test_gate_of_another_run_is_refused(tide: Tide) -> None:
    run, other = tide.started(), tide.started()
    gate = opened(tide, other)
    before = contents(tide.connection)
    with refused("TD010", gate.gate_id, run.run_id):
        tide.await_gate(**own(run), gate_id=gate.gate_id)
    with refused("TD010", NOBODY):
        tide.await_gate(**own(run), gate_id=NOBODY)
    with refused("TD010"):
        tide.await_gate(**own(run), gate_id=None)
    assert contents(tide.connection) == before


def test_plain_run_parks_and_is_begun_again(tide: Tide) -> None:
    run = tide.begun()
    gate = parked(tide, run)
    waiting = tide.get_run(run_id=run.run_id)
    assert (waiting.status, waiting.waiting_on, waiting.attempt) == ("pending", "gate", 0)
    tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    resumed = tide.get_run(run_id=run.run_id)
    assert (resumed.status, resumed.waiting_on, resumed.ready) == ("pending", None, False)
    again = tide.begin_run(run_id=run.run_id)
    assert tide.await_gate(**own(again), gate_id=gate.gate_id).status == "approved"
    assert again.attempt == 1


def test_plain_run_begun_while_parked_waits_itself_and_may_park_again(tide: Tide) -> None:
    run = tide.begun()
    gate = parked(tide, run)
    again = tide.begin_run(run_id=run.run_id)
    assert (again.status, again.waiting_on) == ("running", None)
    assert tide.get_gate(gate_id=gate.gate_id).status == "pending"
    assert tide.await_gate(**own(again), gate_id=gate.gate_id).parked
    tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    assert tide.log(run.run_id).count("run.resumed") == 1


def test_overdue_run_does_not_park(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE)
    gate = opened(tide, run)
    hour.advance(MINUTE)
    with refused("TD001", "deadline"):
        tide.await_gate(**own(run), gate_id=gate.gate_id)
    assert tide.reconcile()["overdue"] == 1


def test_deadline_holds_while_parked(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=10 * MINUTE)
    gate = parked(tide, run)
    hour.advance(10 * MINUTE)
    assert tide.reconcile()["overdue"] == 1
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.status, ended.cancel_reason) == ("cancelled", "deadline")
    closed = tide.get_gate(gate_id=gate.gate_id)
    assert (closed.status, closed.run_status) == ("canceled", "cancelled")


def test_time_out_by_upkeep_decides_as_said_and_wakes_the_run(tide: Tide, hour: Clock) -> None:
    for on_timeout in ("approved", "rejected", "canceled"):
        run = tide.started()
        gate = parked(tide, run, timeout="10 minutes", on_timeout=on_timeout)
        hour.advance(10 * MINUTE - timedelta(microseconds=1))
        assert tide.reconcile()["gate_timeouts"] == 0
        hour.advance(timedelta(microseconds=1))
        assert tide.reconcile()["gate_timeouts"] == 1
        assert tide.reconcile()["gate_timeouts"] == 0
        (again,) = tide.claim()
        answer = tide.await_gate(**own(again), gate_id=gate.gate_id)
        assert answer == (False, on_timeout, {}, "timeout")
        assert tide.log(run.run_id).count("gate.resolved") == 1


def test_time_out_is_carried_by_the_tick_of_a_claim(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    parked(tide, run, timeout="10 minutes")
    hour.advance(10 * MINUTE)
    (again,) = tide.claim()
    assert again.run_id == run.run_id


def test_time_out_by_the_wait_itself(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    gate = opened(tide, run, timeout="0", on_timeout="approved")
    answer = tide.await_gate(**own(run), gate_id=gate.gate_id)
    assert answer == (False, "approved", {}, "timeout")
    assert tide.get_run(run_id=run.run_id).open_gates == 0
    with refused("TD022", "approved"):
        tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="rejected")


def test_decision_after_the_time_but_before_upkeep_counts(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    gate = parked(tide, run, timeout="1 minute")
    hour.advance(2 * MINUTE)
    tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved", actor="ann")
    assert tide.reconcile()["gate_timeouts"] == 0
    assert tide.get_gate(gate_id=gate.gate_id).actor == "ann"


def test_gate_that_timed_out_in_a_running_run_does_not_disturb_it(tide: Tide, hour: Clock) -> None:
    run = tide.started(lease="1 hour")
    gate = opened(tide, run, timeout="1 minute")
    hour.advance(MINUTE)
    assert tide.reconcile()["gate_timeouts"] == 1
    assert tide.get_run(run_id=run.run_id).status == "running"
    assert tide.await_gate(**own(run), gate_id=gate.gate_id).status == "rejected"


def test_more_timeouts_than_a_batch_are_all_handled(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    for number in range(25):
        opened(tide, run, name=f"gate {number}", timeout="1 minute")
    hour.advance(MINUTE)
    assert tide.reconcile(batch=10)["gate_timeouts"] == 25
    assert tide.get_run(run_id=run.run_id).open_gates == 0
    assert tide.log(run.run_id).count("gate.resolved") == 25


def test_parked_run_can_be_cancelled(tide: Tide) -> None:
    run = tide.started(dedupe_key="k")
    parked(tide, run)
    assert tide.cancel(run_id=run.run_id).status == "cancelled"
    assert tide.get_run(run_id=run.run_id).run_at is not None
    assert not tide.enqueue(workflow="report", dedupe_key="k").deduplicated


def test_parked_run_keeps_its_dedupe_key(tide: Tide) -> None:
    run = tide.started(dedupe_key="k")
    parked(tide, run)
    again = tide.enqueue(workflow="report", dedupe_key="k")
    assert (again.run_id, again.deduplicated) == (run.run_id, True)
    replaced = tide.enqueue(workflow="report", dedupe_key="k", on_conflict="replace", input=[1])
    assert replaced.run_id == run.run_id
    assert tide.get_run(run_id=run.run_id).input == {}


def test_parked_run_cannot_be_rescheduled_and_retry_leaves_it(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    parked(tide, run)
    with refused("TD030", run.run_id):
        tide.reschedule(run_id=run.run_id, run_at=hour.now)
    assert tide.retry(run_id=run.run_id).waiting_on == "gate"


def test_explain_wait_names_the_gate(tide: Tide) -> None:
    run = tide.started()
    gate = parked(tide, run, timeout="1 hour")
    (reason,) = tide.explain_wait(run_id=run.run_id)["reasons"]
    assert (reason["reason"], reason["gate_id"]) == ("gate", str(gate.gate_id))
    assert (reason["name"], reason["prompt"]) == ("approve", "Send it?")
    assert reason["expires_at"] is not None
