"""open_gate: a question to people, asked once per name, whose token is shown once."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock, value


@pytest.fixture
def own(tide: Tide) -> dict[str, Any]:
    """Run and lease of a claimed run, as arguments."""
    run = tide.started()
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def test_opened_gate_is_pending_and_logged(tide: Tide, own: dict[str, Any], hour: Clock) -> None:
    gate = tide.open_gate(
        **own,
        name="approve",
        prompt="Send it?",
        data={"pages": 3},
        timeout="1 day",
        capability="email.send",
    )
    assert (gate.status, gate.payload, gate.actor) == ("pending", None, None)
    stored = tide.get_gate(gate_id=gate.gate_id)
    assert (stored.run_id, stored.name, stored.prompt) == (own["run_id"], "approve", "Send it?")
    assert (stored.data, stored.run_status) == ({"pages": 3}, "running")
    assert stored.expires_at == hour.now + timedelta(days=1)
    event = tide.last_event(own["run_id"])
    assert event.type == "gate.created"
    assert event.payload["gate_id"] == str(gate.gate_id)
    assert event.payload["capability"] == "email.send"
    assert tide.get_run(run_id=own["run_id"]).open_gates == 1


def test_same_name_again_is_the_same_gate_without_its_token(
    tide: Tide, own: dict[str, Any]
) -> None:
    first = tide.open_gate(**own, name="approve", prompt="Send it?")
    before = contents(tide.connection)
    again = tide.open_gate(**own, name="approve", prompt="Send it?", data={})
    assert again == first._replace(token=None)
    assert len(first.token) >= 32
    assert contents(tide.connection) == before


def test_decided_gate_opened_again_is_the_decision(tide: Tide, own: dict[str, Any]) -> None:
    gate = tide.open_gate(**own, name="approve", prompt="Send it?")
    tide.resolve_gate(
        gate_id=gate.gate_id, token=gate.token, decision="approved", actor="ann", payload={"n": 1}
    )
    again = tide.open_gate(**own, name="approve", prompt="Send it?")
    assert (again.gate_id, again.token) == (gate.gate_id, None)
    assert (again.status, again.payload, again.actor) == ("approved", {"n": 1}, "ann")


def test_next_attempt_finds_the_gate_of_the_one_before(tide: Tide) -> None:
    run = tide.started(max_attempts=2)
    gate = tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="a", prompt="?")
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    (run,) = tide.claim()
    again = tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="a", prompt="?")
    assert (again.gate_id, again.status, again.token) == (gate.gate_id, "pending", None)


def test_names_of_gates_belong_to_their_run(tide: Tide, own: dict[str, Any]) -> None:
    other = tide.started()
    first = tide.open_gate(**own, name="approve", prompt="?")
    second = tide.open_gate(
        run_id=other.run_id, lease_id=other.lease_id, name="approve", prompt="?"
    )
    assert first.gate_id != second.gate_id
    assert first.token != second.token


def test_token_is_stored_nowhere(tide: Tide, own: dict[str, Any]) -> None:
    gate = tide.open_gate(**own, name="approve", prompt="?")
    told = json.dumps(
        [
            tide.describe_run(run_id=own["run_id"]),
            [event.payload for event in tide.list_events(run_id=own["run_id"])],
        ]
    )
    assert gate.token not in told
    assert "token" not in told
    assert (
        value(
            tide.connection,
            "select count(*) from tide.gates as g where g::text like '%%' || %s || '%%'",
            gate.token,
        )
        == 0
    )
    decided = tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    assert decided.token_hash is None


def test_gate_may_be_opened_without_parking(tide: Tide, own: dict[str, Any]) -> None:
    tide.open_gate(**own, name="approve", prompt="?")
    assert tide.complete(**own).status == "completed"


@pytest.mark.parametrize(
    ("word", "arguments"),
    [
        ("name", {"name": None}),
        ("name", {"name": ""}),
        ("name", {"name": "a\nb"}),
        ("name", {"name": "x" * 257}),
        ("prompt", {"prompt": None}),
        ("prompt", {"prompt": ""}),
        ("prompt", {"prompt": "x" * 65537}),
        ("timeout", {"timeout": "-1 second"}),
        ("timeout", {"timeout": "5000 days"}),
        ("on_timeout", {"on_timeout": "cancelled"}),
        ("on_timeout", {"on_timeout": None}),
        ("capability", {"capability": ""}),
        ("capability", {"capability": "x" * 4097}),
        ("data", {"data": "[" * 200 + "]" * 200}),
    ],
)
def test_bad_argument_is_named_and_nothing_changes(
    tide: Tide, own: dict[str, Any], word: str, arguments: dict[str, Any]
) -> None:
    before = contents(tide.connection)
    with refused("22023", word):
        tide.open_gate(**own, **{"name": "approve", "prompt": "?"} | arguments)
    assert contents(tide.connection) == before


def test_oversized_data_is_refused(tide: Tide, own: dict[str, Any]) -> None:
    before = contents(tide.connection)
    with refused("TD040", "data"):
        tide.open_gate(**own, name="approve", prompt="?", data=["x" * 2**20])
    assert contents(tide.connection) == before


def test_overdue_run_cannot_open_a_gate(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE)
    hour.advance(MINUTE)
    with refused("TD001", "deadline"):
        tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="a", prompt="?")


def test_gate_of_no_run_is_not_found(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.open_gate(run_id=NOBODY, lease_id=NOBODY, name="a", prompt="?")
    with refused("TD010", NOBODY):
        tide.get_gate(gate_id=NOBODY)
    with refused("TD010", "null"):
        tide.get_gate(gate_id=None)
