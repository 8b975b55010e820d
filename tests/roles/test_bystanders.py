"""Who does not hold a run may write beside it, but keeps no dead worker's lease alive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock

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
