"""What must not be is impossible: hand-written updates and impossible rows are refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import Tide, contents, refused
from tests.support import one, value

LEASED = "leased_until = now(), lease_id = gen_random_uuid()"


def sample(tide: Tide, status: str) -> Any:
    if status == "pending":
        return tide.create_run(workflow="report")
    if status == "queued":
        return tide.enqueue(workflow="report")
    run = tide.started()
    if status == "completed":
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    elif status == "failed":
        tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    elif status == "cancelled":
        tide.cancel(run_id=run.run_id)
    return run


@pytest.mark.parametrize(
    ("status", "update"),
    [
        ("pending", "status = 'queued', queue = 'default'"),
        ("queued", "status = 'completed', ready = false, finished_at = now()"),
        ("running", "status = 'completed', finished_at = now(), leased_until = null"),
        ("running", "status = 'failed', finished_at = now(), leased_until = null"),
        ("running", "status = 'cancelled', finished_at = now(), leased_until = null"),
        ("completed", f"status = 'running', finished_at = null, {LEASED}"),
        ("completed", "status = 'cancelled'"),
        ("failed", "status = 'completed'"),
        ("failed", "status = 'queued', finished_at = null"),
        ("cancelled", "status = 'completed'"),
        ("queued", "run_id = gen_random_uuid()"),
        ("completed", "run_id = gen_random_uuid()"),
        ("queued", "queue = 'elsewhere'"),
        ("queued", "queue = null"),
        ("completed", "queue = 'elsewhere'"),
    ],
)
def test_illegal_move_by_hand_is_refused(tide: Tide, status: str, update: str) -> None:
    run = sample(tide, status)
    before = contents(tide.connection)
    with refused("TD030", run.run_id):
        tide.connection.execute(f"update tide.runs set {update}".encode())
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    ("status", "update"),
    [
        ("queued", "status = 'pending', ready = false"),
        ("queued", "status = 'running', ready = false"),
        ("running", "leased_until = null"),
        ("running", "lease_id = null"),
        ("running", "status = 'queued'"),
        ("queued", "leased_until = now()"),
        ("running", "ready = true"),
        ("queued", "attempt = -1"),
        ("queued", "max_attempts = 0"),
        ("queued", "slot = 7"),
        ("queued", "finished_at = now()"),
        ("queued", "result = '1'"),
        ("queued", "ready = false, waiting_on = 'nonsense', run_at = null"),
        ("queued", "waiting_on = 'gate', run_at = null"),
        ("queued", "ready = false, waiting_on = 'gate'"),
        ("running", "waiting_on = 'gate'"),
        ("running", "run_at = null"),
        ("running", "lease = null"),
        ("running", "result = '1'"),
        ("running", "max_attempts = 101"),
        ("queued", "run_at = null"),
        ("queued", "ready = false, waiting_on = 'gate', run_at = '-infinity'"),
        ("pending", "slot = 1"),
        ("pending", "run_at = null"),
        ("pending", "ready = true"),
        ("completed", "finished_at = null"),
        ("completed", "ready = true"),
        ("failed", "slot = 1"),
        ("cancelled", "waiting_on = 'gate'"),
    ],
)
def test_impossible_row_is_refused(tide: Tide, status: str, update: str) -> None:
    run = sample(tide, status)
    before = contents(tide.connection)
    with refused("23514", run.run_id):
        tide.connection.execute(f"update tide.runs set {update}".encode())
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    "columns",
    [
        "status = 'running'",
        "queue = null",
        "attempt = -1",
        "ready = true, waiting_on = 'review'",
        "leased_until = now()",
    ],
)
def test_an_impossible_row_cannot_be_inserted(tide: Tide, columns: str) -> None:
    run = sample(tide, "queued")
    changes = dict(part.split(" = ") for part in columns.split(", "))
    listed = {"run_id": "gen_random_uuid()", **changes}
    row = one(tide.connection, "select r.* from tide.runs as r where r.run_id = %s", run.run_id)
    names = [name for name in row._fields if name not in listed]
    with refused("23514"):
        tide.connection.execute(
            f"""
            insert into tide.runs ({", ".join([*names, *listed])})
            select {", ".join([*(f"r.{name}" for name in names), *listed.values()])}
            from tide.runs as r
            """.encode()
        )


def test_unknown_status_has_no_partition(tide: Tide) -> None:
    with refused("23514", "partition"):
        tide.connection.execute(
            """
            insert into tide.runs (run_id, workflow, status, run_at, created_at)
            values (gen_random_uuid(), 'report', 'sleeping', now(), now())
            """
        )


def test_terminal_row_cannot_sit_among_the_active(tide: Tide) -> None:
    with refused("23514", "partition"):
        tide.connection.execute(
            """
            insert into tide.runs_active (run_id, workflow, status, run_at, created_at, finished_at)
            values (gen_random_uuid(), 'report', 'failed', now(), now(), now())
            """
        )


def test_two_runs_cannot_hold_one_slot(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    first = tide.started()
    tide.set_queue(queue="default", settings={"concurrency": 2})
    tide.started()
    with refused("23505", "runs_slot_uidx"):
        tide.connection.execute("update tide.runs set slot = 1 where run_id <> %s", (first.run_id,))


def test_two_active_runs_cannot_have_one_dedupe_key(tide: Tide) -> None:
    tide.enqueue(workflow="report", dedupe_key="k")
    tide.enqueue(workflow="report", dedupe_key="l")
    with refused("23505", "runs_dedupe_key_active_uidx"):
        tide.connection.execute("update tide.runs set dedupe_key = 'k'")


@pytest.mark.parametrize(
    ("insert", "code"),
    [
        ("insert into tide.settings (only_row) values (false)", "23514"),
        ("update tide.settings set max_payload_bytes = 1", "23514"),
        ("insert into tide.ticks (only_row) values (false)", "23514"),
        ("insert into tide.queues (queue, concurrency) values ('q', 0)", "23514"),
        ("insert into tide.queues (queue, rate_limit) values ('q', 0)", "23514"),
        ("insert into tide.queues (queue, rate_period) values ('q', '0')", "23514"),
        ("insert into tide.queues (queue, max_attempts) values ('q', 101)", "23514"),
        ("insert into tide.queues (queue, backoff_jitter) values ('q', 1.1)", "23514"),
        ("insert into tide.queues (queue, backoff_base) values ('q', '-1 s')", "23514"),
    ],
)
def test_impossible_settings_are_refused(tide: Tide, insert: str, code: str) -> None:
    with refused(code):
        tide.connection.execute(insert.encode())


@pytest.mark.parametrize("table", ["settings", "ticks", "identity"])
def test_a_table_of_one_row_keeps_one_row_which_a_restore_replaces(tide: Tide, table: str) -> None:
    tide.connection.execute(f"insert into tide.{table} default values".encode())
    assert value(tide.connection, f"select count(*) from tide.{table}") == 1
