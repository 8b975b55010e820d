"""Children that come after others: parked until these end, by edge or by id, with no cycle."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import NOBODY, Tide, contents, refused
from tests.support import Connection, value


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def part(edge: str, *after: Any, **options: Any) -> dict[str, Any]:
    if after:
        options["after"] = list(after)
    return {"edge": edge, "workflow": "part", "queue": "parts", **options}


def made(tide: Tide, parent: Any, *children: dict[str, Any]) -> list[UUID]:
    return [row.child_id for row in tide.spawn_many(**own(parent), children=list(children))]


def end(tide: Tide, run_id: UUID, how: str = "completed") -> None:
    if how == "cancelled":
        tide.cancel(run_id=run_id)
        return
    tide.reschedule(run_id=run_id, run_at="2020-01-01Z", priority=99)
    (run,) = tide.claim(queues=["parts"])
    assert run.run_id == run_id
    if how == "completed":
        tide.complete(**own(run))
    else:
        tide.fail(**own(run), retryable=False)


def state(tide: Tide, run_id: UUID) -> str:
    run = tide.get_run(run_id=run_id)
    return "ready" if run.ready else run.waiting_on or run.status


def test_children_of_one_call_come_after_each_other_by_edge(tide: Tide) -> None:
    parent = tide.started()
    a, b, c, d = made(
        tide,
        parent,
        part("a"),
        part("b", "a"),
        part("c", "a", "b", queue="others"),
        part("d", "b", "c", after_mode="any"),
    )
    assert [state(tide, run_id) for run_id in (a, b, c, d)] == ["ready", "after", "after", "after"]
    (claimed,) = tide.claim(queues=["parts", "others"], max_runs=9)
    assert claimed.run_id == a
    tide.complete(**own(claimed))
    assert [state(tide, run_id) for run_id in (b, c, d)] == ["ready", "after", "after"]
    end(tide, b)
    assert [state(tide, run_id) for run_id in (c, d)] == ["ready", "ready"]
    assert tide.log(d) == ["run.enqueued", "run.resumed"]
    told = tide.list_events(run_id=d)[0].payload
    assert (told["parent_id"], told["edge"]) == (str(parent.run_id), "d")
    assert (set(told["after"]), told["after_mode"]) == ({str(b), str(c)}, "any")
    assert tide.log(parent.run_id).count("run.child.created") == 4


def test_a_child_comes_after_one_of_an_earlier_call_and_after_any_run(tide: Tide) -> None:
    parent, other = tide.started(), tide.enqueue(workflow="part", queue="parts").run_id
    (a,) = made(tide, parent, part("a"))
    b = tide.spawn(
        **own(parent),
        edge="b",
        workflow="part",
        queue="parts",
        options={"after": ["a", str(other)], "after_failure": "run"},
    ).child_id
    assert state(tide, b) == "after"
    end(tide, a, "failed")
    assert state(tide, b) == "after"
    end(tide, other)
    assert state(tide, b) == "ready"
    end(tide, b)
    (c,) = made(tide, parent, part("c", "b"))
    assert state(tide, c) == "ready"


def test_an_edge_named_like_the_id_of_a_run_is_that_child(tide: Tide) -> None:
    parent, other = tide.started(), tide.enqueue(workflow="part", queue="parts").run_id
    a, b = made(tide, parent, part(str(other)), part("b", str(other)))
    end(tide, other)
    assert state(tide, b) == "after"
    end(tide, a)
    assert state(tide, b) == "ready"


@pytest.mark.parametrize(
    ("failure", "becomes"), [(None, "cancelled"), ("fail", "failed"), ("run", "ready")]
)
def test_the_parent_hears_of_a_child_whose_predecessor_failed(
    tide: Tide, failure: str | None, becomes: str
) -> None:
    parent = tide.started()
    options = {} if failure is None else {"after_failure": failure}
    a, b = made(tide, parent, part("a"), part("b", "a", **options))
    assert tide.await_children(**own(parent), edges=["b"])[0].parked
    end(tide, a, "failed")
    tide.reconcile()
    assert state(tide, b) == becomes
    if becomes != "ready":
        (again,) = tide.claim()
        (ended,) = tide.await_children(**own(again), edges=["b"])
        assert (ended.parked, ended.status) == (False, becomes)


@pytest.mark.parametrize("ends", ["cancel", "fail"])
def test_the_end_of_a_parent_ends_children_that_wait(tide: Tide, ends: str) -> None:
    parent = tide.started()
    _, b, c, kept = made(
        tide,
        parent,
        part("a"),
        part("b", "a"),
        part("c", "b"),
        part("kept", "a", after_failure="run", detached=True),
    )
    if ends == "cancel":
        tide.cancel(run_id=parent.run_id)
    else:
        tide.fail(**own(parent), retryable=False)
    tide.reconcile()
    assert [state(tide, run_id) for run_id in (b, c)] == ["cancelled", "cancelled"]
    assert state(tide, kept) == "ready"
    tide.reconcile()
    assert value(tide.connection, "select count(*) from tide.predecessors where not noticed") == 0


def test_a_parent_that_crashed_finds_its_graph_as_it_left_it(
    tide: Tide, connection: Connection
) -> None:
    parent = tide.started(max_attempts=2)
    graph = [part("a"), part("b", "a"), part("c", "b", after_failure="run")]
    ids = made(tide, parent, *graph)
    end(tide, ids[0])
    tide.fail(**own(parent), retry_after="0")
    (parent,) = tide.claim()
    before = contents(connection)
    assert made(tide, parent, *graph) == ids
    again = tide.spawn(
        **own(parent), edge="b", workflow="part", queue="parts", options={"after": ["a"]}
    )
    assert (again.child_id, again.created) == (ids[1], False)
    assert contents(connection) == before
    assert [state(tide, run_id) for run_id in ids] == ["completed", "ready", "after"]
    (late,) = made(tide, parent, *graph, part("d", "c"))[3:]
    assert state(tide, late) == "after"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"after": ["c"]}, 'children["b"].after names children["c"], which stands after it'),
        ({"after": ["b"]}, 'children["b"].after names the child itself'),
        ({"after": ["x"]}, 'children["b"].after[0] names neither a child of run'),
        ({"after": ["a", ""]}, 'children["b"].after[1] names neither'),
        ({"after": [0]}, 'children["b"].after[0] names neither'),
        ({"after": [["a"]]}, 'children["b"].after[0] names neither'),
        ({"after": [None]}, 'children["b"].after'),
        ({"after": "a"}, 'children["b"].after'),
        ({"after": {"a": 1}}, 'children["b"].after'),
        ({"after": ["a"] * 1001}, 'children["b"].after'),
        ({"after": ["a"], "after_mode": "some"}, 'children["b"].after_mode'),
        ({"after": ["a"], "after_failure": "ignore"}, 'children["b"].after_failure'),
        ({"after_mode": "all"}, 'children["b"].after_mode'),
        ({"after": ["a"], "queue": None}, 'children["b"].after is given without a queue'),
    ],
)
def test_what_a_child_cannot_come_after_is_named_and_nothing_is_written(
    tide: Tide, options: dict[str, Any], named: str
) -> None:
    parent = tide.started()
    before = contents(tide.connection)
    with refused("22023", named):
        made(tide, parent, part("a"), part("b", **options), part("c"))
    assert contents(tide.connection) == before


def test_no_child_comes_after_its_parent_or_an_ancestor(tide: Tide) -> None:
    grandparent = tide.started()
    made(tide, grandparent, part("p"))
    (parent,) = tide.claim(queues=["parts"])
    before = contents(tide.connection)
    with refused("22023", f'children["b"].after names run {parent.run_id}, its parent'):
        made(tide, parent, part("a"), part("b", str(parent.run_id)))
    with refused("22023", f'children["b"].after names run {grandparent.run_id}, its ancestor'):
        tide.spawn(
            **own(parent),
            edge="b",
            workflow="part",
            queue="parts",
            options={"after": [str(grandparent.run_id)]},
        )
    assert contents(tide.connection) == before


def test_no_child_comes_after_what_may_wait_for_its_parent_or_an_ancestor(tide: Tide) -> None:
    grandparent = tide.started()
    made(tide, grandparent, part("p"))
    (parent,) = tide.claim(queues=["parts"])
    later = tide.enqueue(workflow="part", after=[grandparent.run_id]).run_id
    last = tide.enqueue(workflow="part", after=[later]).run_id
    another = tide.started()
    made(tide, another, part("q", str(grandparent.run_id)))
    before = contents(tide.connection)
    with refused("22023", f"names run {another.run_id}, which may wait for run"):
        made(tide, parent, part("b", str(another.run_id)))
    named = f'children["b"].after names run {last}, which may wait for run {grandparent.run_id}'
    with refused("22023", named):
        made(tide, parent, part("b", str(last)))
    assert contents(tide.connection) == before


def test_a_run_that_is_gone_is_refused_by_name(tide: Tide) -> None:
    parent, pruned = tide.started(), tide.enqueue(workflow="part", queue="parts").run_id
    tide.cancel(run_id=pruned)
    tide.prune(older_than="0")
    before = contents(tide.connection)
    for gone in (NOBODY, pruned):
        with refused("TD010", f'run {gone} does not exist: children["b"].after names it'):
            made(tide, parent, part("a"), part("b", "a", str(gone)))
    assert contents(tide.connection) == before


def test_children_that_come_after_nobody_touch_no_table_of_this(
    tide: Tide, connection: Connection
) -> None:
    parent = tide.started()
    touched = """
        select sum(pg_stat_get_xact_numscans(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid))
        from pg_class as c
        where c.relname like 'predecessors%'
        """
    with connection.transaction():
        before = value(connection, touched)
        made(tide, parent, part("a"), part("b"))
        assert value(connection, touched) == before
        made(tide, parent, part("c", "b"))
        assert value(connection, touched) > before


def test_a_graph_of_a_thousand_children_runs_in_its_order(tide: Tide) -> None:
    parent = tide.started()
    layers = [
        part(f"{layer}/{n}", *[f"{layer - 1}/{m}" for m in range(10) if layer])
        for layer in range(100)
        for n in range(10)
    ]
    made(tide, parent, *layers)
    for _ in range(100):
        runs = tide.claim(queues=["parts"], max_runs=1000)
        assert len(runs) == 10
        outcomes = [{k: str(v) for k, v in own(run).items()} for run in runs]
        assert all(row.accepted for row in tide.settle(outcomes=outcomes))
    ended = "select count(*) from tide.runs_finished where queue = 'parts'"
    assert value(tide.connection, ended) == 1000
