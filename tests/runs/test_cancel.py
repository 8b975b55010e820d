"""cancel: at once, one-way, first reason kept."""

from __future__ import annotations

import pytest

from tests.runs.acts import NOBODY, Tide, refused
from tests.support import Clock, value


@pytest.mark.parametrize("state", ["pending", "begun", "queued", "delayed", "running", "requeued"])
def test_any_active_run_is_cancelled_at_once(tide: Tide, hour: Clock, state: str) -> None:
    if state == "pending":
        run = tide.create_run(workflow="report")
    elif state == "begun":
        run = tide.begun()
    elif state in ("queued", "delayed"):
        run = tide.enqueue(workflow="report", delay="1 hour" if state == "delayed" else None)
    else:
        run = tide.started(max_attempts=2)
        if state == "requeued":
            tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    ended = tide.cancel(run_id=run.run_id, reason="asked", actor="support")
    assert (ended.status, ended.finished_at, ended.lease_id) == ("cancelled", hour.now, None)
    assert (ended.cancel_reason, ended.cancel_actor) == ("asked", "support")
    assert tide.log(run.run_id)[-1] == "run.cancelled"
    assert tide.last_event(run.run_id).payload == {"reason": "asked", "actor": "support"}
    assert tide.claim() == []


def test_parked_run_is_cancelled(tide: Tide) -> None:
    run = tide.started()
    tide.begin_step(
        run_id=run.run_id, lease_id=run.lease_id, name="send", contract={"replay": "manual"}
    )
    tide.fail_step(run_id=run.run_id, lease_id=run.lease_id, name="send")
    assert tide.cancel(run_id=run.run_id).status == "cancelled"


def test_second_cancel_changes_nothing(tide: Tide) -> None:
    run = tide.create_run(workflow="report")
    first = tide.cancel(run_id=run.run_id, reason="first", actor="a")
    again = tide.cancel(run_id=run.run_id, reason="second", actor="b")
    assert again == first
    assert again.cancel_reason == "first"
    assert tide.log(run.run_id) == ["run.created", "run.cancelled"]


def test_completed_run_stays_completed(tide: Tide) -> None:
    run = tide.finished()
    with refused("TD003", run.run_id, "completed"):
        tide.cancel(run_id=run.run_id)
    assert tide.get_run(run_id=run.run_id) == run


def test_failed_run_stays_failed(tide: Tide) -> None:
    run = tide.started()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD003", run.run_id, "failed"):
        tide.cancel(run_id=run.run_id)


def test_worker_of_a_cancelled_run_can_write_nothing(tide: Tide) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    tide.cancel(run_id=run.run_id, reason="asked")
    before = tide.describe_run(run_id=run.run_id)
    for function, arguments in (
        ("complete", {}),
        ("fail", {}),
        ("release", {}),
        ("begin_step", {"name": "plan"}),
        ("begin_step", {"name": "next"}),
        ("complete_step", {"name": "plan"}),
        ("fail_step", {"name": "plan"}),
    ):
        with refused("TD001", run.run_id):
            tide.call(function, **own, **arguments)
    assert tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id])[0].state == "cancelled"
    assert tide.settle(outcomes=[own])[0].reason == "cancelled"
    assert tide.describe_run(run_id=run.run_id) == before


def test_fail_repeated_after_a_cancel_hears_of_the_cancel(tide: Tide) -> None:
    run = tide.started(max_attempts=2)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    tide.cancel(run_id=run.run_id)
    with refused("TD001", run.run_id):
        tide.fail(run_id=run.run_id, lease_id=run.lease_id)


def test_cancel_frees_the_slot(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    run = tide.started()
    tide.enqueue(workflow="report")
    assert tide.claim() == []
    tide.cancel(run_id=run.run_id)
    assert len(tide.claim()) == 1


def test_cancelled_row_is_in_runs_finished_only(tide: Tide) -> None:
    run = tide.create_run(workflow="report")
    tide.cancel(run_id=run.run_id)
    assert value(tide.connection, "select count(*) from tide.runs_active") == 0
    assert value(tide.connection, "select count(*) from tide.runs_finished") == 1


def test_unknown_run_cannot_be_cancelled(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.cancel(run_id=NOBODY)


def test_children_are_spared_without_the_cascade(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    child = tide.spawn(
        run_id=run.run_id, lease_id=run.lease_id, edge="part", workflow="part", queue="parts"
    )
    assert tide.cancel(run_id=run.run_id, cascade=False).status == "cancelled"
    assert tide.cancel_children(run_id=run.run_id) == 0
    tide.reconcile()
    assert tide.get_run(run_id=child.child_id).status == "queued"


def test_a_second_cancel_does_not_spare_the_children(tide: Tide) -> None:
    run = tide.started()
    child = tide.spawn(
        run_id=run.run_id, lease_id=run.lease_id, edge="part", workflow="part", queue="parts"
    )
    tide.cancel(run_id=run.run_id)
    tide.cancel(run_id=run.run_id, cascade=False)
    assert tide.cancel_children(run_id=run.run_id) == 1
    assert tide.get_run(run_id=child.child_id).status == "cancelled"
