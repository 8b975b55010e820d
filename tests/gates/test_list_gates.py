"""Decisions page by page."""

from __future__ import annotations

from uuid import UUID

from tests.runs.acts import Tide


def asked(tide: Tide, name: str) -> UUID:
    run = tide.begun()
    gate = tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name=name, prompt=f"{name}?")
    return UUID(str(gate.gate_id))


def test_pending_gates_come_in_pages_oldest_first(tide: Tide) -> None:
    made = [asked(tide, name) for name in ("a", "b", "c")]
    tide.decide_gate(gate_id=made[1], decision="approved", actor="mira")
    first = tide.list_gates(max_gates=1)
    assert [gate.gate_id for gate in first] == [made[0]]
    rest = tide.list_gates(after_gate=made[0])
    assert [(gate.gate_id, gate.prompt) for gate in rest] == [(made[2], "c?")]
    assert tide.list_gates(after_gate=made[2]) == []


def test_gates_of_one_run_come_with_their_rules_and_votes(tide: Tide) -> None:
    asked(tide, "elsewhere")
    run = tide.begun()
    rules = {
        "quorum": 2,
        "assignees": ["ann", "bob"],
        "escalate_after": "1 hour",
        "escalate_to": ["eve"],
        "answer": {"type": "object"},
    }
    for name, given in (("first", rules), ("second", {})):
        tide.open_gate(
            run_id=run.run_id, lease_id=run.lease_id, name=name, prompt=f"{name}?", rules=given
        )
    first, second = tide.list_gates(only_run=run.run_id)
    assert (first.name, first.quorum, first.assignees, first.escalate_to, first.answer_schema) == (
        "first", 2, ["ann", "bob"], ["eve"], {"type": "object"},
    )  # fmt: skip
    assert first.votes == []
    assert (second.name, second.quorum, second.assignees, second.answer_schema) == (
        "second", 1, [], None,
    )  # fmt: skip
    tide.decide_gate(gate_id=first.gate_id, decision="approved", actor="ann", comment="as agreed")
    (vote,) = tide.list_gates(only_run=run.run_id)[0].votes
    assert (vote["actor"], vote["decision"], vote["comment"]) == ("ann", "approved", "as agreed")
    assert vote.keys() == {"actor", "decision", "payload", "comment", "created_at"}
