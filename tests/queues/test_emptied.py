"""What calls cost in a queue that fills again after it was empty and vacuumed: the planner takes
it for empty still. Buffers touched, never time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import RunningServer
from tests.support import Connection, Databases, open_connection, value

MANY = 20_000
FEW = 300
"""Buffers one call may touch; some 30 are usual, a scan of the live runs takes a thousand."""


@pytest.fixture(scope="module")
def refilled(
    databases: Databases, template: str, server: RunningServer
) -> Iterator[tuple[Connection, Any]]:
    """A connection, and a run it holds, among many whose table was vacuumed while it was empty."""
    fill = "select count(*) from tide.enqueue_many('q', (select jsonb_agg('{}'::jsonb ||"
    fill += ' \'{"workflow": "work"}\') from generate_series(1, %s)))'
    with databases.database(template) as name, open_connection(server.dsn(name)) as connection:
        connection.execute("alter table tide.runs_active set (autovacuum_enabled = off)")
        connection.execute("update tide.ticks set next_at = 'infinity'")
        connection.execute(fill.encode(), [1000])
        value(connection, "select count(*) from tide.cancel_many(queue => 'q', max_runs => 1000)")
        assert value(connection, "select count(*) from tide.runs_active") == 0
        connection.execute("vacuum tide.runs_active")
        for _ in range(2):
            connection.execute(fill.encode(), [MANY // 2])
        run = connection.execute("select run_id, lease_id from tide.claim('{q}')").fetchone()
        yield connection, run


CALLS = {
    "claim": "select * from tide.claim('{{q}}')",
    "settle": "select * from tide.settle('[{outcome}]')",
    "settle_and_claim": "select * from tide.settle_and_claim('[{outcome}]', '{{q}}')",
    "heartbeat": "select * from tide.heartbeat('{{{run_id}}}', '{{{lease_id}}}')",
    "complete": "select * from tide.complete('{run_id}', '{lease_id}')",
    "fail": "select * from tide.fail('{run_id}', '{lease_id}', '{{}}')",
    "release": "select * from tide.release('{run_id}', '{lease_id}')",
    "begin_step": "select * from tide.begin_step('{run_id}', '{lease_id}', 'plan')",
    "cancel": "select * from tide.cancel('{run_id}')",
    "open_gate": "select * from tide.open_gate('{run_id}', '{lease_id}', 'approve', 'Go on?')",
    "sweeps": "select tide._sweep(t.sweep, 100) from unnest(tide._sweeps(false)) as t (sweep)",
}


@pytest.mark.parametrize("call", CALLS)
def test_no_call_reads_the_backlog_of_a_table_vacuumed_while_empty(
    refilled: tuple[Connection, Any], call: str
) -> None:
    connection, run = refilled
    outcome = json.dumps({"run_id": str(run.run_id), "lease_id": str(run.lease_id)})
    query = CALLS[call].format(run_id=run.run_id, lease_id=run.lease_id, outcome=outcome)
    touched = []
    for _ in range(8):
        with connection.transaction(force_rollback=True):
            (plan,) = value(connection, f"explain (analyze, buffers, format json) {query}")
        touched.append(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])
    assert touched[-1] <= FEW, touched
