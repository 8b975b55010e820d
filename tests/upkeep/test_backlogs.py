"""A batch of upkeep does a bounded number of things, whatever has piled up, and comes to all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, value

FINISHED = """
insert into tide.runs_finished (
  run_id, workflow, queue, status, priority, attempt, max_attempts, last_seq, run_at, created_at,
  finished_at, input, metadata
)
select
  gen_random_uuid(), 'w', 'q' || to_char(n, 'FM00000'), 'completed', 0, 1, 1, 1, tide._now(),
  tide._now(), tide._now(), '{}', '{}'
from generate_series(1, 2500) as n
"""


def test_minutes_of_many_queues_are_counted_a_thousand_queues_a_batch(
    tide: Tide, hour: Clock
) -> None:
    tide.reconcile()
    tide.connection.execute(FINISHED.encode())
    hour.advance(10 * MINUTE)
    tide.connection.execute("select tide._sweep('settled_clock', 1) from generate_series(1, 3)")
    counted: list[int] = []
    while value(tide.connection, "select tide._sweep('finished_counts', 1)"):
        counted.append(value(tide.connection, "select count(*) from tide.queue_minutes"))
    found = [now - before for before, now in pairwise([0, *counted]) if now > before]
    assert found == [1000, 1000, 500]
    assert value(tide.connection, "select sum(completed) from tide.queue_minutes") == 2500


def test_retention_of_many_queues_goes_round(tide: Tide, hour: Clock) -> None:
    tide.connection.execute(FINISHED.encode())
    tide.set_retention(retention="1 hour")
    hour.advance(100 * MINUTE)
    removed = [value(tide.connection, "select tide._sweep('retention', 5000)") for _ in range(4)]
    assert removed == [1000, 1000, 500, 0]


def test_waits_of_runs_that_a_stranger_holds_keep_no_other_from_its_turn(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    runs = [tide.started() for _ in range(12)]
    for run in runs:
        tide.sleep(run_id=run.run_id, lease_id=run.lease_id, name="nap", duration="1 minute")
        hour.advance(MINUTE / 60)
    stranger = connect(autocommit=False)
    for run in runs[:-1]:
        Tide(stranger).send_event(run_id=run.run_id, name="paid")
    hour.advance(2 * MINUTE)
    assert value(tide.connection, "select tide._sweep('due_waits', 10)") == 1
    assert tide.get_run(run_id=runs[-1].run_id).ready
    stranger.rollback()
    assert value(tide.connection, "select tide._sweep('due_waits', 10)") == 10


def test_marks_of_a_parent_that_a_stranger_holds_hide_no_other_parent(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    first, second = (tide.started(workflow=name) for name in ("first", "second"))
    for run in (first, second):
        own = {"run_id": run.run_id, "lease_id": run.lease_id}
        tide.spawn_many(
            **own,
            children=[{"edge": f"e{n}", "workflow": "part", "queue": "parts"} for n in (1, 2)],
        )
        tide.await_children(**own)
    stranger = connect(autocommit=False)
    for run in (first, second):
        Tide(stranger).send_event(run_id=run.run_id, name="paid")
    for child in tide.claim(queues=["parts"], max_runs=9):
        tide.complete(run_id=child.run_id, lease_id=child.lease_id)
    stranger.rollback()
    Tide(stranger).send_event(run_id=min(first.run_id, second.run_id), name="paid")
    assert value(tide.connection, "select tide._sweep('ended_children', 1)") == 1
    assert tide.get_run(run_id=max(first.run_id, second.run_id)).ready
