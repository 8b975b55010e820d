"""Cancelling a run reaches its children, in transactions of their own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, value


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def spawned(tide: Tide, parent: Any, *edges: str, **options: Any) -> list[UUID]:
    rows = tide.spawn_many(
        **own(parent),
        children=[
            {"edge": edge, "workflow": "part", "queue": "parts", **options} for edge in edges
        ],
    )
    return [row.child_id for row in rows]


def statuses(tide: Tide, run_ids: list[UUID]) -> set[str]:
    return {tide.get_run(run_id=run_id).status for run_id in run_ids}


def test_children_follow_with_the_next_upkeep(tide: Tide) -> None:
    parent = tide.started()
    children = spawned(tide, parent, "a", "b", "c")
    (running,) = tide.claim(queues=["parts"])
    tide.cancel(run_id=parent.run_id, reason="customer asked", actor="support")
    assert statuses(tide, children) == {"queued", "running"}
    assert tide.reconcile()["cascades"] > 0
    for child_id in children:
        child = tide.get_run(run_id=child_id)
        assert (child.status, child.cancel_reason, child.cancel_actor) == (
            "cancelled",
            "customer asked",
            "support",
        )
    with refused("TD001", running.run_id):
        tide.complete(**own(running))
    assert tide.reconcile()["cascades"] == 0
    assert value(tide.connection, "select count(*) from tide.cascades") == 0


def test_canceller_need_not_wait_for_upkeep(tide: Tide) -> None:
    parent = tide.started()
    children = spawned(tide, parent, "a", "b", "c")
    tide.cancel(run_id=parent.run_id)
    counts = [tide.cancel_children(run_id=parent.run_id, max_runs=2) for _ in range(3)]
    assert counts == [2, 1, 0]
    assert statuses(tide, children) == {"cancelled"}
    assert tide.get_run(run_id=children[0]).cancel_reason == "parent cancelled"


def test_tick_of_a_claim_carries_the_cascade(tide: Tide, hour: Clock) -> None:
    parent = tide.started()
    children = spawned(tide, parent, "a", "b")
    tide.cancel(run_id=parent.run_id)
    hour.advance(MINUTE / 10)
    assert tide.claim(queues=["parts"]) == []
    assert statuses(tide, children) == {"cancelled"}


def test_detached_and_ended_children_stay(tide: Tide) -> None:
    parent = tide.started()
    (detached,) = spawned(tide, parent, "detached", detached=True)
    (done,) = spawned(tide, parent, "done")
    tide.complete(
        **own(next(run for run in tide.claim(queues=["parts"], max_runs=2) if run.run_id == done))
    )
    tide.cancel(run_id=parent.run_id)
    tide.reconcile()
    assert tide.get_run(run_id=detached).status == "running"
    assert tide.get_run(run_id=done).status == "completed"
    assert value(tide.connection, "select count(*) from tide.cascades") == 0


def test_cascade_reaches_grandchildren_and_parked_ones(tide: Tide) -> None:
    parent = tide.started()
    (child_id,) = spawned(tide, parent, "a")
    (child,) = tide.claim(queues=["parts"])
    (grandchild_id,) = spawned(tide, child, "a")
    tide.await_children(**own(child))
    tide.await_children(**own(parent))
    tide.cancel(run_id=parent.run_id, reason="enough")
    tide.reconcile()
    assert statuses(tide, [parent.run_id, child_id, grandchild_id]) == {"cancelled"}
    assert tide.get_run(run_id=grandchild_id).cancel_reason == "enough"


def test_one_upkeep_follows_any_number_of_cancelled_parents(tide: Tide) -> None:
    children = []
    for _ in range(35):
        parent = tide.started()
        children += spawned(tide, parent, "a")
        child = next(iter(tide.claim(queues=["parts"])))
        children += spawned(tide, child, "a")
        tide.claim(queues=["parts"])
        tide.cancel(run_id=parent.run_id)
    tide.reconcile()
    assert statuses(tide, children) == {"cancelled"}
    assert value(tide.connection, "select count(*) from tide.cascades") == 0


def test_cascades_whose_children_ended_by_themselves_do_not_hold_up_others(tide: Tide) -> None:
    for _ in range(15):
        parent = tide.started()
        spawned(tide, parent, "a")
        (child,) = tide.claim(queues=["parts"])
        tide.cancel(run_id=parent.run_id)
        tide.complete(**own(child))
    parent = tide.started()
    children = spawned(tide, parent, "a")
    tide.cancel(run_id=parent.run_id)
    tide.reconcile()
    assert statuses(tide, children) == {"cancelled"}


def test_a_completed_parent_leaves_its_children(tide: Tide) -> None:
    parent = tide.started()
    children = spawned(tide, parent, "a")
    tide.complete(**own(parent))
    tide.reconcile()
    assert statuses(tide, children) == {"queued"}


def test_children_of_a_failed_parent_that_have_not_begun_are_cancelled(tide: Tide) -> None:
    parent = tide.started()
    begun, waits, free, plain = (
        *spawned(tide, parent, "a", priority=1),
        *spawned(tide, parent, "b"),
        *spawned(tide, parent, "c", detached=True),
        *spawned(tide, parent, "d", queue=None),
    )
    (running,) = tide.claim(queues=["parts"])
    assert running.run_id == begun
    tide.fail(**own(parent))
    assert tide.reconcile()["cascades"] > 0
    assert tide.get_run(run_id=waits).status == tide.get_run(run_id=plain).status == "cancelled"
    assert tide.get_run(run_id=waits).cancel_reason == "parent failed"
    assert tide.get_run(run_id=free).status == "queued"
    assert value(tide.connection, "select count(*) from tide.cascades") == 0
    assert tide.complete(**own(running)).status == "completed"


def test_a_child_that_was_begun_and_is_tried_again_outlives_its_failed_parent(tide: Tide) -> None:
    parent = tide.started()
    (child_id,) = spawned(tide, parent, "a", max_attempts=2)
    tide.fail(**own(next(iter(tide.claim(queues=["parts"])))))
    tide.fail(**own(parent))
    tide.reconcile()
    assert tide.get_run(run_id=child_id).status == "queued"
    assert value(tide.connection, "select count(*) from tide.cascades") == 0


def test_a_parent_that_is_tried_again_keeps_its_children(tide: Tide) -> None:
    parent = tide.started(max_attempts=2)
    children = spawned(tide, parent, "a")
    tide.fail(**own(parent))
    assert value(tide.connection, "select count(*) from tide.cascades") == 0
    assert statuses(tide, children) == {"queued"}


def test_active_run_has_no_cascade_to_follow(tide: Tide) -> None:
    parent = tide.started()
    children = spawned(tide, parent, "a")
    before = contents(tide.connection)
    assert tide.cancel_children(run_id=parent.run_id) == 0
    assert contents(tide.connection) == before
    assert statuses(tide, children) == {"queued"}


def test_retry_of_the_parent_stops_the_cascade(tide: Tide) -> None:
    parent = tide.started()
    children = spawned(tide, parent, "a", "b", "c")
    tide.cancel(run_id=parent.run_id)
    assert tide.cancel_children(run_id=parent.run_id, max_runs=1) == 1
    tide.retry(run_id=parent.run_id)
    tide.reconcile()
    assert sorted(tide.get_run(run_id=child).status for child in children) == [
        "cancelled",
        "queued",
        "queued",
    ]


def test_cancelled_child_does_not_touch_its_parent(tide: Tide) -> None:
    parent = tide.started()
    (child,) = spawned(tide, parent, "a")
    tide.cancel(run_id=child)
    tide.reconcile()
    assert tide.get_run(run_id=parent.run_id).status == "running"


@pytest.mark.parametrize("max_runs", [None, 0, -1, 10001])
def test_bad_bound_is_refused(tide: Tide, max_runs: int | None) -> None:
    parent = tide.started()
    with refused("22023", "max_runs"):
        tide.cancel_children(run_id=parent.run_id, max_runs=max_runs)
