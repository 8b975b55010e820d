"""list_child_runs: the runs of a run's children, a page at a time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.children.test_spawn import own
from tests.runs.acts import NOBODY, Tide, refused


def family(tide: Tide, count: int) -> tuple[Any, list[Any]]:
    parent = tide.started()
    made = [
        tide.spawn(**own(parent), edge=f"part {n}", workflow="part", queue="parts").child_id
        for n in range(count)
    ]
    return parent, sorted(made, reverse=True)


def test_children_come_newest_first_a_page_at_a_time(tide: Tide) -> None:
    parent, made = family(tide, 5)
    first = tide.list_child_runs(run_id=parent.run_id, max_runs=3)
    assert [run.run_id for run in first] == made[:3]
    rest = tide.list_child_runs(run_id=parent.run_id, before=first[-1].run_id)
    assert [run.run_id for run in rest] == made[3:]


def test_only_the_edges_asked_for_are_given(tide: Tide) -> None:
    parent, _ = family(tide, 3)
    found = tide.list_child_runs(run_id=parent.run_id, edges=["part 1", "no such part"])
    edges = {row.child_id: row.edge for row in tide.list_children(run_id=parent.run_id)}
    assert [edges[run.run_id] for run in found] == ["part 1"]


def test_leases_of_children_are_not_shown(tide: Tide) -> None:
    parent, _ = family(tide, 1)
    (child,) = tide.claim(queues=["parts"])
    assert child.lease_id is not None
    (shown,) = tide.list_child_runs(run_id=parent.run_id)
    assert (shown.status, shown.lease_id, shown.session_id) == ("running", None, None)


def test_children_of_an_unknown_run_are_refused(tide: Tide) -> None:
    with refused("TD010"):
        tide.list_child_runs(run_id=NOBODY)


@pytest.mark.parametrize("max_runs", [0, 1001])
def test_a_page_has_one_to_a_thousand_runs(tide: Tide, max_runs: int) -> None:
    parent, _ = family(tide, 1)
    with refused("22023"):
        tide.list_child_runs(run_id=parent.run_id, max_runs=max_runs)
