"""await_children: what became of the children, or the parent is parked until they ended."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, value


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def family(tide: Tide, *edges: str, **options: Any) -> tuple[Any, dict[str, UUID]]:
    """A claimed parent, and its children by edge, in queue parts."""
    parent = tide.started(**options)
    rows = tide.spawn_many(
        **own(parent),
        children=[{"edge": edge, "workflow": "part", "queue": "parts"} for edge in edges],
    )
    return parent, {row.edge: row.child_id for row in rows}


def end(tide: Tide, child_id: UUID, status: str = "completed") -> None:
    """A child of queue parts ends."""
    if status == "cancelled":
        tide.cancel(run_id=child_id)
        return
    child = None
    while child is None or child.run_id != child_id:
        (child,) = tide.claim(queues=["parts"])
    if status == "completed":
        tide.complete(**own(child), result={"of": str(child_id)})
    else:
        tide.fail(**own(child), error={"of": str(child_id)})


def waits(tide: Tide, parent: Any, **arguments: Any) -> bool:
    rows = tide.await_children(**own(parent), **arguments)
    return len(rows) == 1 and bool(rows[0].parked)


def woken(tide: Tide) -> Any:
    """The parent, claimed again."""
    (parent,) = tide.claim()
    return parent


def test_parent_parks_without_lease_slot_and_attempt_and_the_last_child_wakes_it(
    tide: Tide,
) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    parent, children = family(tide, "a", "b")
    assert tide.await_children(**own(parent)) == [(True, None, None, None, None, None)]
    waiting = tide.get_run(run_id=parent.run_id)
    assert (waiting.status, waiting.waiting_on, waiting.waiting_for) == (
        "queued",
        "children",
        "all",
    )
    assert (waiting.attempt, waiting.slot, waiting.run_at) == (0, None, None)
    end(tide, children["a"])
    assert tide.get_run(run_id=parent.run_id).waiting_on == "children"
    end(tide, children["b"])
    assert tide.log(parent.run_id)[-2:] == ["run.parked", "run.resumed"]
    again = woken(tide)
    assert again.attempt == 1
    rows = tide.await_children(**own(again))
    assert [(row.parked, row.edge, row.child_id, row.status) for row in rows] == [
        (False, edge, children[edge], "completed") for edge in ("a", "b")
    ]
    assert [row.result for row in rows] == [{"of": str(children[edge])} for edge in "ab"]


def test_children_that_ended_before_need_no_parking(tide: Tide) -> None:
    parent, children = family(tide, "a", "b")
    end(tide, children["a"])
    end(tide, children["b"], "failed")
    rows = tide.await_children(**own(parent))
    assert [(row.edge, row.status) for row in rows] == [("a", "completed"), ("b", "failed")]
    assert (rows[1].result, rows[1].error) == (None, {"of": str(children["b"])})
    assert tide.get_run(run_id=parent.run_id).status == "running"
    assert tide.await_children(**own(parent)) == rows


def test_failed_and_cancelled_children_count_as_ended(tide: Tide) -> None:
    parent, children = family(tide, "a", "b")
    assert waits(tide, parent)
    end(tide, children["a"], "failed")
    end(tide, children["b"], "cancelled")
    rows = tide.await_children(**own(woken(tide)))
    assert [row.status for row in rows] == ["failed", "cancelled"]


def test_child_with_attempts_left_has_not_ended(tide: Tide, hour: Clock) -> None:
    parent = tide.started()
    tide.spawn(**own(parent), edge="a", workflow="part", queue="parts", options={"max_attempts": 2})
    assert waits(tide, parent)
    (child,) = tide.claim(queues=["parts"])
    tide.fail(**own(child), retry_after="0")
    assert tide.claim() == []
    (child,) = tide.claim(queues=["parts"])
    tide.fail(**own(child))
    assert woken(tide).run_id == parent.run_id


def test_child_whose_worker_died_wakes_its_parent(tide: Tide, hour: Clock) -> None:
    parent, _ = family(tide, "a")
    assert waits(tide, parent)
    tide.claim(queues=["parts"])
    hour.advance(2 * MINUTE)
    assert tide.reconcile()["expired_leases"] == 1
    (row,) = tide.await_children(**own(woken(tide)))
    assert row.status == "failed"


def test_any_wakes_with_the_first(tide: Tide) -> None:
    parent, children = family(tide, "a", "b", "c")
    assert waits(tide, parent, mode="any")
    end(tide, children["b"], "cancelled")
    rows = tide.await_children(**own(woken(tide)), mode="any")
    assert [(row.edge, row.status) for row in rows] == [
        ("a", "queued"),
        ("b", "cancelled"),
        ("c", "queued"),
    ]
    assert not any(row.parked for row in rows)


def test_fail_fast_wakes_with_the_first_failure(tide: Tide) -> None:
    parent, children = family(tide, "a", "b", "c")
    assert waits(tide, parent, mode="fail_fast")
    end(tide, children["a"])
    assert tide.claim() == []
    end(tide, children["b"], "failed")
    rows = tide.await_children(**own(woken(tide)), mode="fail_fast")
    assert [row.status for row in rows] == ["completed", "failed", "queued"]


def test_fail_fast_without_a_failure_waits_for_all(tide: Tide) -> None:
    parent, children = family(tide, "a", "b")
    assert waits(tide, parent, mode="fail_fast")
    end(tide, children["a"])
    end(tide, children["b"])
    rows = tide.await_children(**own(woken(tide)), mode="fail_fast")
    assert [row.status for row in rows] == ["completed", "completed"]


def test_only_named_edges_are_awaited(tide: Tide) -> None:
    parent, children = family(tide, "a", "b", "c")
    end(tide, children["a"])
    (row,) = tide.await_children(**own(parent), edges=["a"])
    assert (row.edge, row.status) == ("a", "completed")
    assert waits(tide, parent, edges=["c"])
    end(tide, children["b"])
    assert tide.claim() == []
    end(tide, children["c"])
    parent = woken(tide)
    (row,) = tide.await_children(**own(parent), edges=["c", "c"])
    assert row.edge == "c"
    assert len(tide.await_children(**own(parent))) == 3


def test_parent_may_wait_for_one_after_the_other(tide: Tide) -> None:
    parent, children = family(tide, "a", "b", "c")
    for edge in "abc":
        assert waits(tide, parent, edges=[edge])
        end(tide, children[edge])
        parent = woken(tide)
    assert tide.complete(**own(parent)).attempt == 1
    assert tide.log(parent.run_id).count("run.resumed") == 3


def test_child_that_ended_unawaited_is_seen_by_a_later_wait(tide: Tide) -> None:
    parent, children = family(tide, "a", "b")
    assert waits(tide, parent, edges=["a"])
    end(tide, children["a"])
    parent = woken(tide)
    end(tide, children["b"])
    (row,) = tide.await_children(**own(parent), edges=["b"])
    assert row.status == "completed"


def test_nothing_to_wait_for_is_no_rows(tide: Tide) -> None:
    parent = tide.started()
    assert tide.await_children(**own(parent)) == []
    parent, _ = family(tide, "a")
    assert tide.await_children(**own(parent), edges="{}") == []
    assert tide.get_run(run_id=parent.run_id).status == "running"


def test_unknown_edge_is_refused_and_nothing_changes(tide: Tide) -> None:
    parent, _ = family(tide, "a")
    before = contents(tide.connection)
    with refused("TD010", parent.run_id, "b"):
        tide.await_children(**own(parent), edges=["a", "b"])
    with refused("TD010", parent.run_id):
        tide.await_children(**own(parent), edges=["a", None])
    assert contents(tide.connection) == before


@pytest.mark.parametrize("mode", [None, "", "ALL", "first"])
def test_unknown_mode_is_refused_and_nothing_changes(tide: Tide, mode: str | None) -> None:
    parent, _ = family(tide, "a")
    before = contents(tide.connection)
    with refused("22023", "mode"):
        tide.await_children(**own(parent), mode=mode)
    assert contents(tide.connection) == before


def test_upkeep_wakes_whom_the_last_child_could_not(tide: Tide) -> None:
    parent, _ = family(tide, "a")
    assert waits(tide, parent)
    tide.connection.execute(
        "update tide.run_edges set child_status = 'completed', noticed = false where edge = 'a'"
    )
    assert tide.claim(queues=["none"]) == []
    report = tide.reconcile()
    assert woken(tide).run_id == parent.run_id
    assert tide.log(parent.run_id).count("run.resumed") == 1
    assert "ended_children" in report
    assert tide.reconcile()["ended_children"] == 0


def test_upkeep_finds_nothing_once_it_has_looked(tide: Tide) -> None:
    parent, children = family(tide, "a", "b")
    assert waits(tide, parent)
    end(tide, children["a"])
    tide.reconcile()
    assert tide.reconcile()["ended_children"] == 0
    assert tide.get_run(run_id=parent.run_id).waiting_on == "children"
    end(tide, children["b"])
    tide.reconcile()
    assert tide.log(parent.run_id).count("run.resumed") == 1
    assert (
        value(tide.connection, "select count(*) from tide.run_edges as e where not e.noticed") == 0
    )


def test_children_of_a_finished_parent_end_in_peace(tide: Tide) -> None:
    parent, children = family(tide, "a", "b")
    assert waits(tide, parent, mode="any")
    end(tide, children["a"])
    tide.complete(**own(woken(tide)))
    end(tide, children["b"])
    tide.reconcile()
    assert tide.reconcile()["ended_children"] == 0
    assert tide.get_run(run_id=parent.run_id).status == "completed"


def test_retried_child_is_waited_for_again(tide: Tide) -> None:
    parent, children = family(tide, "a", "b")
    assert waits(tide, parent)
    end(tide, children["a"], "failed")
    tide.retry(run_id=children["a"])
    end(tide, children["b"])
    tide.reconcile()
    assert tide.get_run(run_id=parent.run_id).waiting_on == "children"
    end(tide, children["a"])
    assert [row.status for row in tide.await_children(**own(woken(tide)))] == ["completed"] * 2


def test_deadline_holds_while_parked_and_the_children_follow(tide: Tide, hour: Clock) -> None:
    parent, children = family(tide, "a", deadline=10 * MINUTE)
    assert waits(tide, parent)
    hour.advance(10 * MINUTE)
    report = tide.reconcile()
    assert report["overdue"] == 1
    ended = tide.get_run(run_id=children["a"])
    assert (ended.status, ended.cancel_reason) == ("cancelled", "deadline")


def test_overdue_parent_does_not_park(tide: Tide, hour: Clock) -> None:
    parent, _ = family(tide, "a", deadline=MINUTE)
    hour.advance(MINUTE)
    with refused("TD001", "deadline"):
        tide.await_children(**own(parent))


def test_explain_wait_names_the_open_children(tide: Tide) -> None:
    parent, children = family(tide, "a", "b", "c")
    assert waits(tide, parent, edges=["a", "b"])
    end(tide, children["a"])
    (reason,) = tide.explain_wait(run_id=parent.run_id)["reasons"]
    assert (reason["reason"], reason["mode"], reason["open"]) == ("children", "all", 1)
    assert reason["children"] == [str(children["b"])]


def test_describe_run_tells_the_children(tide: Tide) -> None:
    parent, children = family(tide, "a", "b")
    end(tide, children["a"])
    told = tide.describe_run(run_id=parent.run_id)["children"]
    assert [(child["edge"], child["child_status"]) for child in told] == [
        ("a", "completed"),
        ("b", None),
    ]
