"""The fence around waiting: who lost the lease opens, spawns, waits and writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock

WRITES: list[tuple[str, dict[str, Any]]] = [
    ("open_gate", {"name": "approve", "prompt": "?"}),
    ("open_gate", {"name": "another", "prompt": "?"}),
    ("spawn", {"edge": "a", "workflow": "part"}),
    ("spawn", {"edge": "new", "workflow": "part"}),
    ("spawn_many", {"children": [{"edge": "new", "workflow": "part"}]}),
    ("await_children", {}),
    ("sleep", {"name": "nap", "duration": "1 hour"}),
    ("await_event", {"name": "paid"}),
    ("set_state", {"value": {"n": 1}}),
    ("patch_state", {"patch": {"n": 1}}),
    ("save_state", {"label": "v1"}),
    ("create_snapshot", {"label": "v1", "state": {}}),
]


def prepared(tide: Tide, **options: Any) -> tuple[Any, Any]:
    """A claimed run with a gate, a child and a state; and the gate."""
    run = tide.started(**options)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = tide.open_gate(**own, name="approve", prompt="?")
    tide.spawn(**own, edge="a", workflow="part")
    tide.set_state(**own, value={})
    return run, gate


def stands(tide: Tide, run: Any, gate: Any, sqlstate: str) -> None:
    before = contents(tide.connection)
    for function, arguments in [*WRITES, ("await_gate", {"gate_id": gate.gate_id})]:
        with refused(sqlstate, run.run_id):
            tide.call(function, run_id=run.run_id, lease_id=run.lease_id, **arguments)
    assert contents(tide.connection) == before


def test_expired_lease_that_was_swept_can_write_nothing(tide: Tide, hour: Clock) -> None:
    run, gate = prepared(tide, max_attempts=5)
    hour.advance(2 * MINUTE)
    tide.reconcile()
    stands(tide, run, gate, "TD002")
    tide.claim()
    stands(tide, run, gate, "TD002")


def test_foreign_lease_can_write_nothing(tide: Tide) -> None:
    run, gate = prepared(tide)
    other = tide.started()
    stands(tide, run._replace(lease_id=other.lease_id), gate, "TD002")
    stands(tide, run._replace(lease_id=NOBODY), gate, "TD002")


def test_lease_of_a_parked_run_can_write_nothing(tide: Tide) -> None:
    run, gate = prepared(tide)
    tide.sleep(run_id=run.run_id, lease_id=run.lease_id, name="long", duration="1 day")
    stands(tide, run, gate, "TD002")


@pytest.mark.parametrize(
    ("end", "sqlstate"), [("complete", "TD003"), ("fail", "TD003"), ("cancel", "TD001")]
)
def test_lease_of_a_finished_run_can_write_nothing(tide: Tide, end: str, sqlstate: str) -> None:
    run, gate = prepared(tide)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.call(end, **({"run_id": run.run_id} if end == "cancel" else own))
    stands(tide, run, gate, sqlstate)


def test_no_lease_opens_spawns_and_waits_for_nothing(tide: Tide) -> None:
    run, gate = prepared(tide)
    before = contents(tide.connection)
    unfenced = {"set_state", "patch_state", "save_state", "create_snapshot"}
    for function, arguments in [*WRITES, ("await_gate", {"gate_id": gate.gate_id})]:
        if function not in unfenced:
            with refused("TD002", run.run_id):
                tide.call(function, run_id=run.run_id, lease_id=None, **arguments)
    assert contents(tide.connection) == before


def test_every_write_under_the_lease_renews_it(tide: Tide, hour: Clock) -> None:
    run, _ = prepared(tide)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    for function, arguments in WRITES:
        if function not in ("await_children", "sleep", "await_event"):
            hour.advance(MINUTE / 2)
            tide.call(function, **own, **arguments)
    assert tide.get_run(run_id=run.run_id).leased_until == hour.now + MINUTE
