"""pending_gates: what people are asked across runs, without tokens."""

from __future__ import annotations

from tests.runs.acts import Tide
from tests.support import one


def test_pending_gates_of_all_runs_are_listed_until_decided(tide: Tide) -> None:
    plain, queued = tide.begun(), tide.started("invoice")
    first = tide.open_gate(
        run_id=plain.run_id,
        lease_id=plain.lease_id,
        name="a",
        prompt="First?",
        data={"n": 1},
        capability="pay",
    )
    second = tide.open_gate(
        run_id=queued.run_id, lease_id=queued.lease_id, name="b", prompt="Second?"
    )
    rows = tide.connection.execute(
        "select g.gate_id, g.workflow, g.queue, g.name, g.prompt, g.data, g.capability "
        "from tide.pending_gates as g order by g.created_at"
    ).fetchall()
    assert rows == [
        (first.gate_id, "report", None, "a", "First?", {"n": 1}, "pay"),
        (second.gate_id, "invoice", "default", "b", "Second?", {}, None),
    ]
    tide.decide_gate(gate_id=first.gate_id, decision="approved", actor="ann")
    assert one(tide.connection, "select g.gate_id from tide.pending_gates as g") == (
        second.gate_id,
    )


def test_no_token_is_among_the_columns(tide: Tide) -> None:
    names = tide.connection.execute("select * from tide.pending_gates").description
    assert not [column.name for column in names or () if "token" in column.name]
