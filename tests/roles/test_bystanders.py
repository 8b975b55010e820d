"""Who does not hold a run may write beside it, but keeps no dead worker's lease alive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection

Act = Callable[[Tide, Any, Any], Any]

BESIDE: dict[str, Act] = {
    "record_usage": lambda tide, run, _: tide.record_usage(run_id=run.run_id, input_tokens=1),
    "set_state": lambda tide, run, _: tide.set_state(run_id=run.run_id, value={}),
    "patch_state": lambda tide, run, _: tide.patch_state(run_id=run.run_id, patch={}),
    "save_state": lambda tide, run, _: tide.save_state(run_id=run.run_id, label="a"),
    "create_snapshot": lambda tide, run, _: tide.create_snapshot(
        run_id=run.run_id, label="a", state={}
    ),
    "note_gate": lambda tide, _, gate: tide.note_gate(
        gate_id=gate.gate_id, note="viewed", actor="ann"
    ),
    "decide_gate": lambda tide, _, gate: tide.decide_gate(
        gate_id=gate.gate_id, decision="approved", actor="ann"
    ),
    "send_event": lambda tide, run, _: tide.send_event(run_id=run.run_id, name="paid"),
}


@pytest.mark.parametrize("act", BESIDE)
def test_a_bystander_renews_no_lease(tide: Tide, hour: Clock, act: str) -> None:
    run = tide.started(lease=MINUTE, max_attempts=3)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.set_state(**own, value={})
    gate = tide.open_gate(**own, name="ok", prompt="?")
    until = tide.get_run(run_id=run.run_id).leased_until
    hour.advance(timedelta(seconds=50))
    BESIDE[act](tide, run, gate)
    assert tide.get_run(run_id=run.run_id).leased_until == until
    hour.advance(timedelta(seconds=11))
    assert tide.reconcile()["expired_leases"] == 1


def test_the_worker_itself_does(tide: Tide, hour: Clock) -> None:
    run = tide.started(lease=MINUTE)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    for act in (
        lambda: tide.record_usage(**own, input_tokens=1),
        lambda: tide.set_state(**own, value={}),
    ):
        hour.advance(timedelta(seconds=50))
        act()
        assert tide.get_run(run_id=run.run_id).leased_until == hour.now + MINUTE


def test_a_bystander_spends_no_budget_of_a_queue_closed_to_it(
    tide: Tide, connection: Connection, log_in: Callable[..., Connection]
) -> None:
    worker, member = Tide(log_in("tide_worker")), Tide(log_in("tide_worker"))
    tide.enqueue(workflow="parent", queue="vault", budget={"max_cost_usd": 1})
    (parent,) = tide.claim(queues=["vault"], lease="1 day")
    own = {"run_id": parent.run_id, "lease_id": parent.lease_id}
    tide.spawn(**own, edge="part", workflow="part", queue="open")
    tide.grant_queue(queue="vault", role=member.connection.info.user)
    (child,) = worker.claim(queues=["open"], lease="1 day")
    before = contents(connection)
    with refused("42501", child.run_id, "may not spend the budget"):
        worker.record_usage(run_id=child.run_id, cost_usd=5)
    assert contents(connection) == before
    # The holder of the lease spends it, and so does a member of the queue.
    worker.record_usage(run_id=child.run_id, lease_id=child.lease_id, cost_usd=Decimal("0.25"))
    member.record_usage(run_id=child.run_id, cost_usd=Decimal("0.25"))
    row = connection.execute(
        "select cost_usd from tide.spending where run_id = %s", (parent.run_id,)
    ).fetchone()
    assert row is not None
    assert row.cost_usd == Decimal("0.5")
