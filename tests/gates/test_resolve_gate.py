"""resolve_gate and decide_gate: one decision, by whoever has the token, or by an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.runs.acts import NOBODY, Tide, contents, refused
from tests.support import Clock, Connection


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


# --- tokens that can be shown again ---------------------------------------------------------


def derived(tide: Tide, gate: Any) -> str:
    (row,) = tide.gate_tokens(gate_ids=[gate.gate_id])
    assert row.gate_id == gate.gate_id
    token: str = row.token
    return token


def test_a_token_asked_for_later_decides_the_gate(tide: Tide, gate: Any) -> None:
    token = derived(tide, gate)
    assert token == derived(tide, gate) != gate.token
    assert len(token) == 64
    decided = tide.resolve_gate(gate_id=gate.gate_id, token=token, decision="approved", actor="ann")
    assert decided.status == "approved"


def test_it_is_of_one_gate_in_one_installation(tide: Tide, gate: Any) -> None:
    run = tide.started(queue="other")
    other = tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="other", prompt="?")
    with refused("TD024"):
        tide.resolve_gate(gate_id=gate.gate_id, token=derived(tide, other), decision="approved")
    before = derived(tide, gate)
    tide.connection.execute("update tide.settings set gate_secret = sha256('another')")
    assert derived(tide, gate) != before
    with refused("TD024"):
        tide.resolve_gate(gate_id=gate.gate_id, token=before, decision="approved")


def test_what_is_decided_has_no_token_any_more(tide: Tide, gate: Any) -> None:
    token = derived(tide, gate)
    tide.decide_gate(gate_id=gate.gate_id, decision="rejected", actor="ann")
    assert tide.gate_tokens(gate_ids=[gate.gate_id, NOBODY]) == []
    with refused("TD022"):
        tide.resolve_gate(gate_id=gate.gate_id, token=token, decision="approved")


def test_only_who_decides_sees_tokens(
    tide: Tide, gate: Any, log_in: Callable[..., Connection]
) -> None:
    for role in ("tide_approver", "tide_operator"):
        assert derived(Tide(log_in(role)), gate) == derived(tide, gate)
    for role in ("tide_client", "tide_worker", "tide_viewer"):
        with refused("42501"):
            Tide(log_in(role)).gate_tokens(gate_ids=[gate.gate_id])


def test_tokens_of_a_restricted_queue_are_for_its_members(
    tide: Tide, gate: Any, log_in: Callable[..., Connection]
) -> None:
    approver = Tide(log_in("tide_approver"))
    tide.grant_queue(queue="default", role="tide_worker")
    assert approver.gate_tokens(gate_ids=[gate.gate_id]) == []


def test_too_many_gates_at_once_are_refused(tide: Tide) -> None:
    for wrong in (None, [NOBODY] * 1001):
        with refused("22023", "gate_ids"):
            tide.gate_tokens(gate_ids=wrong)
