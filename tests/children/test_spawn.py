"""spawn and spawn_many: children of a leased run, one for each edge name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock, need_floors, value


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def test_child_of_a_queue_is_queued_and_both_logs_say_so(tide: Tide) -> None:
    parent = tide.started()
    child = tide.spawn(
        **own(parent),
        edge="part 1",
        workflow="part",
        input={"n": 1},
        queue="parts",
        options={"priority": 7, "max_attempts": 3, "metadata": {"team": "sea"}},
    )
    assert (child.created, child.status) == (True, "queued")
    run = tide.get_run(run_id=child.child_id)
    assert (run.parent_id, run.workflow, run.queue) == (parent.run_id, "part", "parts")
    assert (run.input, run.metadata, run.priority) == ({"n": 1}, {"team": "sea"}, 7)
    assert (run.max_attempts, run.attempt) == (3, 0)
    (event,) = tide.list_events(run_id=child.child_id)
    assert event.type == "run.enqueued"
    assert event.payload["parent_id"] == str(parent.run_id)
    assert event.payload["edge"] == "part 1"
    told = tide.last_event(parent.run_id)
    assert told.type == "run.child.created"
    assert told.payload == {
        "edge": "part 1",
        "child_id": str(child.child_id),
        "workflow": "part",
        "queue": "parts",
    }
    assert [run.run_id for run in tide.claim(queues=["parts"])] == [child.child_id]


def test_child_without_a_queue_is_begun_by_its_parent(tide: Tide) -> None:
    parent = tide.started()
    child = tide.spawn(**own(parent), edge="inline", workflow="part")
    assert child.status == "pending"
    assert tide.claim() == []
    begun = tide.begin_run(run_id=child.child_id)
    assert tide.complete(**own(begun)).status == "completed"


def test_same_edge_again_is_the_same_child(tide: Tide) -> None:
    parent = tide.started()
    given = {"edge": "part", "workflow": "part", "input": {"n": 1}, "queue": "parts"}
    first = tide.spawn(**own(parent), **given)
    before = contents(tide.connection)
    assert tide.spawn(**own(parent), **given) == first._replace(created=False)
    assert tide.spawn(**own(parent), **given | {"input": {"n": 1.0}}).child_id == first.child_id
    (row,) = tide.spawn_many(**own(parent), children=[given])
    assert (row.child_id, row.created, row.status) == (first.child_id, False, "queued")
    assert contents(tide.connection) == before


def test_same_edge_tells_how_the_child_ended(tide: Tide) -> None:
    parent = tide.started()
    given = {"edge": "part", "workflow": "part"}
    child = tide.spawn(**own(parent), **given)
    tide.complete(**own(tide.begin_run(run_id=child.child_id)))
    again = tide.spawn(**own(parent), **given)
    assert again == (child.child_id, False, "completed")


def test_next_attempt_finds_the_children_of_the_one_before(tide: Tide) -> None:
    parent = tide.started(max_attempts=2)
    child = tide.spawn(**own(parent), edge="part", workflow="part", queue="parts")
    tide.fail(**own(parent), retry_after="0")
    (parent,) = tide.claim()
    again = tide.spawn(**own(parent), edge="part", workflow="part", queue="parts")
    assert (again.child_id, again.created) == (child.child_id, False)


@pytest.mark.parametrize(
    "other",
    [{"workflow": "other"}, {"input": {"n": 2}}, {"input": None}, {"input": []}],
)
def test_edge_with_another_workflow_or_input_is_refused(tide: Tide, other: dict[str, Any]) -> None:
    parent = tide.started()
    given = {"edge": "part", "workflow": "part", "input": {"n": 1}}
    tide.spawn(**own(parent), **given)
    before = contents(tide.connection)
    with refused("TD020", "part", parent.run_id):
        tide.spawn(**own(parent), **given | other)
    with refused("TD020", "part", parent.run_id):
        tide.spawn_many(
            **own(parent), children=[{"edge": "new", "workflow": "part"}, given | other]
        )
    assert contents(tide.connection) == before


def test_edges_belong_to_their_parent(tide: Tide) -> None:
    first, second = tide.started(), tide.started()
    one = tide.spawn(**own(first), edge="part", workflow="part")
    two = tide.spawn(**own(second), edge="part", workflow="other")
    assert one.child_id != two.child_id


def test_many_children_in_one_call(tide: Tide) -> None:
    parent = tide.started()
    rows = tide.spawn_many(
        **own(parent),
        children=[
            {"edge": f"part {n}", "workflow": "part", "input": {"n": n}, "queue": "parts"}
            for n in range(500)
        ],
    )
    assert [row.edge for row in rows] == [f"part {n}" for n in range(500)]
    assert {(row.created, row.status) for row in rows} == {(True, "queued")}
    assert len({row.child_id for row in rows}) == 500
    assert tide.log(parent.run_id).count("run.child.created") == 500
    assert len(tide.list_children(run_id=parent.run_id)) == 500
    assert len(tide.claim(queues=["parts"], max_runs=1000)) == 500


def test_edge_named_twice_in_one_call_is_one_child(tide: Tide) -> None:
    parent = tide.started()
    rows = tide.spawn_many(**own(parent), children=[{"edge": "a", "workflow": "part"}] * 2)
    assert rows[0].child_id == rows[1].child_id
    assert [row.created for row in rows] == [True, False]


def test_no_children_in_one_call_is_fine(tide: Tide) -> None:
    parent = tide.started()
    before = contents(tide.connection)
    assert tide.spawn_many(**own(parent), children=[]) == []
    assert contents(tide.connection)["run_edges"] == before["run_edges"]


def test_child_takes_attempts_of_its_queue_and_options_of_its_own(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="parts", settings={"max_attempts": 4})
    parent = tide.started()
    child = tide.spawn(
        **own(parent),
        edge="a",
        workflow="part",
        queue="parts",
        options={
            "delay": "10 minutes",
            "deadline": "1 hour",
            "budget": {"max_steps": 3},
            "backoff": {"base": "1 second"},
            "edge_type": "fanout",
            "edge_metadata": {"x": 1},
            "detached": True,
        },
    )
    run = tide.get_run(run_id=child.child_id)
    assert (run.max_attempts, run.budget) == (4, {"max_steps": 3})
    assert run.deadline_at == hour.now + timedelta(hours=1)
    assert run.run_at == hour.now + 10 * MINUTE
    assert tide.claim(queues=["parts"]) == []
    (row,) = tide.list_children(run_id=parent.run_id)
    assert (row.edge_type, row.detached, row.workflow) == ("fanout", True, "part")
    hour.advance(10 * MINUTE)
    assert len(tide.claim(queues=["parts"])) == 1


def test_child_that_should_have_started_earlier_is_found_at_once(tide: Tide, hour: Clock) -> None:
    need_floors(tide.connection)
    parent = tide.started(lease="1 hour")
    tide.enqueue(workflow="part", queue="parts")
    for _ in range(3):
        hour.advance(MINUTE)
        tide.reconcile()
    assert value(tide.connection, "select count(*) from tide.claim_floors") == 1
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    early = tide.spawn(
        **own(parent),
        edge="a",
        workflow="part",
        queue="parts",
        options={"run_at": (hour.now - 60 * MINUTE).isoformat()},
    )
    assert [run.run_id for run in tide.claim(queues=["parts"])] == [early.child_id]


def test_children_of_children_know_their_own_parent(tide: Tide) -> None:
    parent = tide.started()
    child = tide.spawn(**own(parent), edge="a", workflow="part")
    begun = tide.begin_run(run_id=child.child_id)
    grandchild = tide.spawn(**own(begun), edge="a", workflow="part")
    assert tide.get_run(run_id=grandchild.child_id).parent_id == child.child_id
    assert [row.child_id for row in tide.list_children(run_id=parent.run_id)] == [child.child_id]


def test_rolled_back_spawn_was_never_there(tide: Tide) -> None:
    parent = tide.started()
    before = contents(tide.connection)
    tide.connection.execute("begin")
    tide.spawn(**own(parent), edge="a", workflow="part", queue="parts")
    tide.connection.execute("rollback")
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    ("sqlstate", "word", "arguments"),
    [
        ("22023", "edge", {"edge": None}),
        ("22023", "edge", {"edge": ""}),
        ("22023", "edge", {"edge": "a\nb"}),
        ("22023", "edge", {"edge": "x" * 257}),
        ("22023", "workflow", {"workflow": None}),
        ("22023", "workflow", {"workflow": "no spaces"}),
        ("22023", "queue", {"queue": ""}),
        ("22023", "queue", {"queue": "no spaces"}),
        ("22023", "queue", {"queue": "x" * 129}),
        ("22023", "input", {"input": "[" * 200 + "]" * 200}),
        ("TD040", "input", {"input": ["x" * 2**20]}),
        ("22023", "dedupe_key", {"options": {"dedupe_key": "k"}}),
        ("22023", "retries", {"options": {"retries": 1}}),
        ("22023", "options", {"options": [1]}),
        ("22023", "priority", {"options": {"priority": 40000}}),
        ("22023", "priority", {"options": {"priority": "high"}}),
        ("22023", "max_attempts", {"options": {"max_attempts": 0}}),
        ("22023", "delay", {"options": {"delay": "soon"}}),
        ("22023", "run_at", {"options": {"run_at": "infinity"}}),
        ("22023", "deadline", {"options": {"deadline": "-1 second"}}),
        ("22023", "detached", {"options": {"detached": "yes"}}),
        ("22023", "edge_type", {"options": {"edge_type": 3}}),
        ("22023", "budget", {"options": {"budget": {"max_stps": 1}}}),
        ("TD040", "metadata", {"options": {"metadata": {"x": "x" * 2**20}}}),
        ("TD040", "edge_metadata", {"options": {"edge_metadata": ["x" * 2**20]}}),
    ],
)
def test_bad_argument_is_named_and_nothing_changes(
    tide: Tide, sqlstate: str, word: str, arguments: dict[str, Any]
) -> None:
    parent = tide.started()
    given = {"edge": "part", "workflow": "part"} | arguments
    before = contents(tide.connection)
    with refused(sqlstate, word):
        tide.spawn(**own(parent), **given)
    flat = {name: given[name] for name in given if name != "options"}
    options = given.get("options", {})
    if isinstance(options, dict) and not isinstance(given.get("input"), str):
        with refused(sqlstate, word):
            tide.spawn_many(
                **own(parent),
                children=[{"edge": "fine", "workflow": "part"}, {**flat, **options}],
            )
    assert contents(tide.connection) == before


@pytest.mark.parametrize("children", [None, "null", "{}", "3", "[1]", "[null]", "[[]]"])
def test_children_that_are_no_list_of_objects_are_refused(tide: Tide, children: str) -> None:
    parent = tide.started()
    before = contents(tide.connection)
    with refused("22023", "children"):
        tide.spawn_many(**own(parent), children=children)
    assert contents(tide.connection) == before


def test_more_than_ten_thousand_children_at_once_are_refused(tide: Tide) -> None:
    parent = tide.started()
    with refused("22023", "children", 10000, 10001):
        tide.spawn_many(**own(parent), children=[{"edge": "a"}] * 10001)


def test_finished_run_cannot_spawn(tide: Tide) -> None:
    done, cancelled, failed = tide.started(), tide.started(), tide.started()
    tide.complete(**own(done))
    tide.cancel(run_id=cancelled.run_id)
    tide.fail(**own(failed))
    before = contents(tide.connection)
    for sqlstate, run in (("TD003", done), ("TD001", cancelled), ("TD003", failed)):
        with refused(sqlstate, run.run_id):
            tide.spawn(**own(run), edge="part", workflow="part")
        with refused(sqlstate, run.run_id):
            tide.spawn_many(**own(run), children=[{"edge": "part", "workflow": "part"}])
    assert contents(tide.connection) == before


def test_overdue_run_cannot_spawn(tide: Tide, hour: Clock) -> None:
    parent = tide.started(deadline=MINUTE)
    hour.advance(MINUTE)
    with refused("TD001", "deadline"):
        tide.spawn(**own(parent), edge="part", workflow="part")
    with refused("TD001", "deadline"):
        tide.spawn_many(**own(parent), children=[])


def test_unknown_run_has_no_children(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.spawn(run_id=NOBODY, lease_id=NOBODY, edge="part", workflow="part")
    with refused("TD010", NOBODY):
        tide.list_children(run_id=NOBODY)
    with refused("TD010", NOBODY):
        tide.cancel_children(run_id=NOBODY)


def test_a_child_has_a_recovery_url_and_channels_of_its_own(tide: Tide) -> None:
    parent = tide.started()
    options = {
        "recovery_url": "https://app.example.com/recover",
        "channels": [{"url": "https://hooks.example.com/", "events": ["run.completed"]}],
    }
    child = tide.spawn(**own(parent), edge="one", workflow="part", options=options).child_id
    (other,) = tide.spawn_many(
        **own(parent), children=[{"edge": "two", "workflow": "part", **options}]
    )
    for run_id in (child, other.child_id):
        run = tide.begin_run(run_id=run_id)
        assert run.recovery_url == "https://app.example.com/recover"
        assert run.recover_at == run.leased_until
        tide.complete(run_id=run_id, lease_id=run.lease_id)
        (sent,) = tide.list_deliveries(run_id=run_id)
        assert (sent.type, sent.url) == ("run.completed", "https://hooks.example.com/")
    with refused("22023", "recovery_url"):
        tide.spawn(**own(parent), edge="3", workflow="part", options={"recovery_url": "ftp://x"})
