"""cancel_many: in bulk, by filters, and never everything by a slip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.runs.acts import Tide, refused
from tests.support import Connection, value


def test_only_runs_that_match_every_filter_are_cancelled(tide: Tide) -> None:
    wanted = tide.enqueue(workflow="a", queue="q", metadata={"team": 1, "x": 2}).run_id
    for workflow, queue, metadata in (
        ("b", "q", {"team": 1}),
        ("a", "r", {"team": 1}),
        ("a", "q", {"team": 2}),
    ):
        tide.enqueue(workflow=workflow, queue=queue, metadata=metadata)
    assert tide.cancel_many(workflow="a", queue="q", metadata={"team": 1}, reason="stop") == 1
    ended = tide.get_run(run_id=wanted)
    assert (ended.status, ended.cancel_reason) == ("cancelled", "stop")
    assert len(tide.list_runs(status="queued")) == 3


def test_every_kind_of_active_run_is_cancelled_and_slots_are_freed(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    running = tide.started()
    tide.enqueue(workflow="report", delay="1 hour")
    tide.create_run(workflow="report")
    done = tide.create_run(workflow="report")
    tide.cancel(run_id=done.run_id, reason="before")
    assert tide.cancel_many(workflow="report", reason="stop") == 3
    assert tide.log(running.run_id)[-1] == "run.cancelled"
    assert tide.get_run(run_id=done.run_id).cancel_reason == "before"
    assert value(tide.connection, "select count(run_id) from tide.slots") == 0


def test_oldest_runs_go_first_up_to_max_runs(tide: Tide) -> None:
    made = [tide.enqueue(workflow="report").run_id for _ in range(5)]
    assert tide.cancel_many(workflow="report", max_runs=2) == 2
    assert {run.run_id for run in tide.list_runs(status="cancelled")} == set(made[:2])
    assert tide.cancel_many(workflow="report") == 3
    assert tide.cancel_many(workflow="report") == 0


@pytest.mark.parametrize("arguments", [{}, {"reason": "stop"}, {"metadata": {}}])
def test_no_filter_cancels_nothing(tide: Tide, arguments: dict[str, Any]) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    with refused("22023", "metadata"):
        tide.cancel_many(**arguments)
    assert tide.get_run(run_id=run_id).status == "queued"


def test_locked_runs_are_passed_over(tide: Tide, connect: Callable[..., Connection]) -> None:
    held = tide.started()
    tide.enqueue(workflow="report")
    other = Tide(connect(autocommit=False))
    other.complete(run_id=held.run_id, lease_id=held.lease_id)
    assert tide.cancel_many(workflow="report") == 1
    other.connection.commit()
    assert tide.get_run(run_id=held.run_id).status == "completed"
