"""enqueue_many: a batch in one statement, all or nothing."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, value


def test_answers_come_in_order_and_each_run_is_logged(tide: Tide) -> None:
    rows = tide.enqueue_many(
        queue="q", runs=[{"workflow": "report", "input": {"n": n}} for n in range(50)]
    )
    assert [row.ordinal for row in rows] == list(range(1, 51))
    for row in rows:
        run = tide.get_run(run_id=row.run_id)
        assert (run.input, run.queue, row.deduplicated) == ({"n": row.ordinal - 1}, "q", False)
        assert tide.log(row.run_id) == ["run.enqueued"]
    claimed = tide.claim(queues=["q"], max_runs=50)
    assert [run.input["n"] for run in claimed] == list(range(50))


def test_every_argument_of_enqueue_is_known(tide: Tide, hour: Clock) -> None:
    run_id = uuid4()
    tide.enqueue_many(
        queue="q",
        runs=[
            {
                "workflow": "report",
                "input": [1],
                "dedupe_key": "k",
                "priority": -3,
                "delay": "1 day",
                "run_at": hour.now + MINUTE,
                "max_attempts": 4,
                "deadline": "1 hour",
                "metadata": {"m": 1},
                "on_conflict": "raise",
                "run_id": run_id,
                "backoff": {"base": "1 second"},
            }
        ],
    )
    run = tide.get_run(run_id=run_id)
    assert (run.input, run.dedupe_key, run.priority) == ([1], "k", -3)
    assert (run.run_at, run.ready, run.max_attempts) == (hour.now + MINUTE, False, 4)
    assert (run.metadata, run.backoff) == ({"m": 1}, {"base": "1 second"})
    assert run.deadline_at == hour.now + 60 * MINUTE


def test_nulls_are_defaults(tide: Tide) -> None:
    tide.set_queue(queue="q", settings={"max_attempts": 5})
    keys = "input dedupe_key priority delay run_at max_attempts deadline metadata on_conflict"
    nulls: dict[str, Any] = dict.fromkeys([*keys.split(), "run_id", "backoff"])
    (row,) = tide.enqueue_many(queue="q", runs=[{"workflow": "report"} | nulls])
    run = tide.get_run(run_id=row.run_id)
    assert (run.input, run.metadata, run.priority, run.max_attempts) == ({}, {}, 0, 5)
    assert (run.dedupe_key, run.deadline_at, run.backoff, run.ready) == (None, None, None, True)


def test_empty_batch_does_nothing(tide: Tide) -> None:
    before = contents(tide.connection)
    assert tide.enqueue_many(queue="q", runs=[]) == []
    assert contents(tide.connection) == before


def test_conflict_with_an_active_run_returns_it(tide: Tide) -> None:
    active = tide.enqueue(workflow="report", dedupe_key="k").run_id
    rows = tide.enqueue_many(
        queue="default",
        runs=[{"workflow": "report", "dedupe_key": key} for key in ("a", "k", "b")],
    )
    assert [row.deduplicated for row in rows] == [False, True, False]
    assert rows[1].run_id == active
    assert len(tide.list_runs()) == 3


def test_batch_of_conflicts_only_returns_the_active_runs(tide: Tide) -> None:
    active = tide.enqueue(workflow="report", dedupe_key="k").run_id
    (row,) = tide.enqueue_many(queue="default", runs=[{"workflow": "report", "dedupe_key": "k"}])
    assert (row.run_id, row.deduplicated) == (active, True)


def test_conflict_inside_the_batch_gives_one_run(tide: Tide) -> None:
    rows = tide.enqueue_many(
        queue="default",
        runs=[{"workflow": "report", "dedupe_key": "k", "input": {"n": n}} for n in range(3)],
    )
    assert [row.deduplicated for row in rows] == [False, True, True]
    assert len({row.run_id for row in rows}) == 1
    assert tide.get_run(run_id=rows[0].run_id).input == {"n": 0}
    assert tide.log(rows[0].run_id) == ["run.enqueued"]


def test_replace_takes_the_new_values(tide: Tide) -> None:
    active = tide.enqueue(workflow="report", dedupe_key="k", input={"n": 1}).run_id
    tide.enqueue_many(
        queue="default",
        runs=[
            {"workflow": "report", "dedupe_key": "k", "input": {"n": 2}, "on_conflict": "replace"}
        ],
    )
    assert tide.get_run(run_id=active).input == {"n": 2}


def test_raise_undoes_the_whole_batch(tide: Tide) -> None:
    tide.enqueue(workflow="report", dedupe_key="k")
    before = contents(tide.connection)
    with refused("TD023", "'k'"):
        tide.enqueue_many(
            queue="default",
            runs=[
                {"workflow": "report"},
                {"workflow": "report", "dedupe_key": "k", "on_conflict": "raise"},
            ],
        )
    assert contents(tide.connection) == before


def test_batch_repeated_with_run_ids_makes_nothing_twice(tide: Tide) -> None:
    runs = [
        {"workflow": "report", "run_id": uuid4(), "input": {"n": n}, "dedupe_key": key}
        for n, key in enumerate([None, "k", None, "l"])
    ]
    first = tide.enqueue_many(queue="default", runs=runs)
    (claimed,) = tide.claim()
    tide.complete(run_id=claimed.run_id, lease_id=claimed.lease_id)
    before = contents(tide.connection)
    assert tide.enqueue_many(queue="default", runs=runs) == first
    assert contents(tide.connection) == before


@pytest.mark.parametrize("finished", [False, True])
def test_run_id_of_another_run_is_refused(tide: Tide, finished: bool) -> None:
    taken = tide.finished() if finished else tide.enqueue(workflow="report")
    with refused("TD020", taken.run_id):
        tide.enqueue_many(queue="default", runs=[{"workflow": "other", "run_id": taken.run_id}])


def test_one_run_id_twice_in_a_batch_is_refused_unless_it_is_one_run(tide: Tide) -> None:
    run_id = uuid4()
    same = {"workflow": "report", "run_id": run_id}
    rows = tide.enqueue_many(queue="default", runs=[same, same])
    assert [row.run_id for row in rows] == [run_id, run_id]
    twice = {"workflow": "report", "run_id": uuid4()}
    with refused("TD020", twice["run_id"]):
        tide.enqueue_many(
            queue="default", runs=[twice | {"input": {"n": 1}}, twice | {"input": {"n": 2}}]
        )


@pytest.mark.parametrize(
    ("element", "argument"),
    [
        ({"workflow": "bad name"}, "runs[1].workflow"),
        ({}, "runs[1].workflow"),
        ({"workflow": 5}, "runs[1].workflow"),
        ({"workflow": ["report"]}, "runs[1].workflow"),
        ({"workflow": "r", "dedupe_key": 5}, "runs[1].dedupe_key"),
        ({"workflow": "r", "dedupe_key": {"a": 1}}, "runs[1].dedupe_key"),
        ({"workflow": "r", "dedupe_key": ""}, "runs[1].dedupe_key"),
        ({"workflow": "r", "priority": "high"}, "runs[1].priority"),
        ({"workflow": "r", "priority": 1.5}, "runs[1].priority"),
        ({"workflow": "r", "priority": 32768}, "runs[1].priority"),
        ({"workflow": "r", "delay": 5}, "runs[1].delay"),
        ({"workflow": "r", "delay": "soon"}, "runs[1].delay"),
        ({"workflow": "r", "delay": "-1 second"}, "runs[1].delay"),
        ({"workflow": "r", "run_at": "soon"}, "runs[1].run_at"),
        ({"workflow": "r", "run_at": 5}, "runs[1].run_at"),
        ({"workflow": "r", "run_at": "infinity"}, "runs[1].run_at"),
        ({"workflow": "r", "max_attempts": 0}, "runs[1].max_attempts"),
        ({"workflow": "r", "max_attempts": "3"}, "runs[1].max_attempts"),
        ({"workflow": "r", "deadline": "-1 second"}, "runs[1].deadline"),
        ({"workflow": "r", "deadline": {}}, "runs[1].deadline"),
        ({"workflow": "r", "on_conflict": "ignore"}, "runs[1].on_conflict"),
        ({"workflow": "r", "run_id": "7"}, "runs[1].run_id"),
        ({"workflow": "r", "run_id": 7}, "runs[1].run_id"),
        ({"workflow": "r", "backoff": []}, "runs[1].backoff"),
        ({"workflow": "r", "backoff": {"base": 5}}, "runs[1].backoff.base"),
        ({"workflow": "r", "backoff": {"jitter": 2}}, "runs[1].backoff.jitter"),
        ({"workflow": "r", "backoff": {"bass": "1 s"}}, "runs[1].backoff"),
        ({"workflow": "r", "queue": "other"}, "runs[1]"),
        ({"workflow": "r", "prioriti": 1}, "runs[1]"),
        ("report", "runs[1]"),
        ([], "runs[1]"),
        (None, "runs[1]"),
    ],
    ids=str,
)
def test_bad_element_is_named_and_nothing_is_written(
    tide: Tide, element: Any, argument: str
) -> None:
    with refused("22023", argument + " "):
        tide.enqueue_many(queue="default", runs=[{"workflow": "report"}, element])
    assert value(tide.connection, "select count(*) from tide.runs") == 0


@pytest.mark.parametrize("argument", ["input", "metadata"])
def test_large_payload_is_named(tide: Tide, argument: str) -> None:
    with refused("TD040", f"runs[1].{argument} "):
        tide.enqueue_many(
            queue="default",
            runs=[{"workflow": "report"}, {"workflow": "report", argument: {"x": "x" * 1048576}}],
        )
    assert value(tide.connection, "select count(*) from tide.runs") == 0
