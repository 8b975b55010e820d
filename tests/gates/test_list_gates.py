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
