"""resolve_gate and decide_gate: one decision, by whoever has the token, or by an operator."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import NOBODY, Tide, contents, refused
from tests.support import Clock


@pytest.fixture
def gate(tide: Tide) -> Any:
    """An open gate of a claimed run, with its token."""
    run = tide.started()
    return tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="approve", prompt="?")


def test_decision_is_stored_and_logged(tide: Tide, gate: Any, hour: Clock) -> None:
    decided = tide.resolve_gate(
        gate_id=gate.gate_id, token=gate.token, decision="approved", actor="ann", payload={"n": 1}
    )
    assert (decided.status, decided.actor, decided.payload) == ("approved", "ann", {"n": 1})
    assert (decided.resolved_at, decided.token_hash) == (hour.now, None)
    event = tide.last_event(decided.run_id)
    assert event.type == "gate.resolved"
    assert event.payload == {
        "gate_id": str(gate.gate_id),
        "name": "approve",
        "decision": "approved",
        "actor": "ann",
    }
    assert tide.get_run(run_id=decided.run_id).open_gates == 0


@pytest.mark.parametrize("token", [None, "", "wrong", "null", "%"])
def test_wrong_token_is_refused_and_nothing_changes(tide: Tide, gate: Any, token: str) -> None:
    before = contents(tide.connection)
    with refused("TD024", gate.gate_id):
        tide.resolve_gate(gate_id=gate.gate_id, token=token, decision="approved")
    assert contents(tide.connection) == before


def test_token_of_another_gate_is_refused(tide: Tide, gate: Any) -> None:
    other = tide.started()
    second = tide.open_gate(
        run_id=other.run_id, lease_id=other.lease_id, name="approve", prompt="?"
    )
    with refused("TD024", gate.gate_id):
        tide.resolve_gate(gate_id=gate.gate_id, token=second.token, decision="approved")


def test_wrong_token_learns_nothing_about_a_decided_gate(tide: Tide, gate: Any) -> None:
    tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved")
    with refused("TD024"):
        tide.resolve_gate(gate_id=gate.gate_id, token="wrong", decision="approved")


def test_second_decision_is_refused_with_the_first(tide: Tide, gate: Any) -> None:
    tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved", actor="ann")
    before = contents(tide.connection)
    for arguments in (
        {"decision": "rejected", "actor": "ann"},
        {"decision": "approved", "actor": "bob"},
        {"decision": "approved"},
        {"decision": "approved", "actor": "ann", "payload": {"n": 1}},
    ):
        with refused("TD022", gate.gate_id, "approved"):
            tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, **arguments)
    with refused("TD022", gate.gate_id, "approved"):
        tide.decide_gate(gate_id=gate.gate_id, decision="rejected", actor="ops")
    assert contents(tide.connection) == before


def test_same_decision_of_the_same_actor_is_answered_again(tide: Tide, gate: Any) -> None:
    given = {"gate_id": gate.gate_id, "decision": "rejected", "actor": "ann", "payload": {"n": 1}}
    first = tide.resolve_gate(token=gate.token, **given)
    before = contents(tide.connection)
    assert tide.resolve_gate(token=gate.token, **given) == first
    assert tide.decide_gate(**given) == first
    assert contents(tide.connection) == before


def test_operator_decides_without_the_token(tide: Tide, gate: Any) -> None:
    decided = tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ops")
    assert (decided.status, decided.actor, decided.payload) == ("approved", "ops", {})


@pytest.mark.parametrize("actor", [None, "", "a\tb", "x" * 4097])
def test_operator_gives_a_name(tide: Tide, gate: Any, actor: str | None) -> None:
    before = contents(tide.connection)
    with refused("22023", "actor"):
        tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor=actor)
    assert contents(tide.connection) == before


@pytest.mark.parametrize("decision", [None, "", "pending", "cancelled", "APPROVED", "yes"])
def test_unknown_decision_is_refused_and_nothing_changes(
    tide: Tide, gate: Any, decision: str | None
) -> None:
    before = contents(tide.connection)
    with refused("22023", "decision"):
        tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision=decision)
    with refused("22023", "decision"):
        tide.decide_gate(gate_id=gate.gate_id, decision=decision, actor="ops")
    assert contents(tide.connection) == before


def test_oversized_payload_and_actor_are_refused(tide: Tide, gate: Any) -> None:
    before = contents(tide.connection)
    given = {"gate_id": gate.gate_id, "token": gate.token, "decision": "approved"}
    with refused("TD040", "payload"):
        tide.resolve_gate(**given, payload=["x" * 2**20])
    with refused("22023", "payload"):
        tide.resolve_gate(**given, payload="[" * 200 + "]" * 200)
    with refused("22023", "actor"):
        tide.resolve_gate(**given, actor="x" * 4097)
    assert contents(tide.connection) == before


def test_unknown_gate_is_not_found(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.resolve_gate(gate_id=NOBODY, token="t", decision="approved")
    with refused("TD010", NOBODY):
        tide.decide_gate(gate_id=NOBODY, decision="approved", actor="ops")
    with refused("TD010", "null"):
        tide.decide_gate(gate_id=None, decision="approved", actor="ops")


def test_rolled_back_decision_leaves_the_gate_open(tide: Tide, gate: Any) -> None:
    tide.connection.execute("begin")
    tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ops")
    tide.connection.execute("rollback")
    assert tide.get_gate(gate_id=gate.gate_id).status == "pending"
    tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="rejected")
