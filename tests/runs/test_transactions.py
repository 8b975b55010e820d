"""Everything joins the caller's transaction and vanishes with its rollback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.runs.acts import Tide, contents
from tests.support import Connection


@pytest.fixture
def other(connect: Callable[..., Connection]) -> Tide:
    """A caller with an open transaction."""
    return Tide(connect(autocommit=False))


def test_rolled_back_enqueue_was_never_there(tide: Tide, other: Tide) -> None:
    before = contents(tide.connection)
    other.enqueue(workflow="report", dedupe_key="k")
    other.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 3)
    other.create_run(workflow="report")
    other.connection.rollback()
    assert contents(tide.connection) == before
    assert tide.claim() == []


def test_enqueue_is_visible_to_claimers_with_the_commit_only(tide: Tide, other: Tide) -> None:
    run_id = other.enqueue(workflow="report").run_id
    assert tide.claim() == []
    other.connection.commit()
    assert [run.run_id for run in tide.claim()] == [run_id]


def test_enqueue_commits_with_the_rows_of_the_caller(tide: Tide, other: Tide) -> None:
    tide.connection.execute("create table orders (n integer primary key)")
    other.connection.execute("insert into orders values (1)")
    other.enqueue(workflow="report", dedupe_key="order:1")
    other.connection.commit()
    assert len(tide.list_runs()) == 1
    assert tide.connection.execute("select n from orders").fetchall() == [(1,)]


def test_rolled_back_claim_gives_back_run_slot_and_permit(tide: Tide, other: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1, "rate_limit": 1})
    tide.enqueue(workflow="report")
    tide.claim(queues=["other"])
    before = contents(tide.connection)
    (run,) = other.claim()
    other.connection.rollback()
    assert contents(tide.connection) == before
    (again,) = tide.claim()
    assert (again.run_id, again.attempt) == (run.run_id, 1)


def test_rolled_back_life_of_a_run_leaves_nothing(tide: Tide, other: Tide) -> None:
    run = tide.started(max_attempts=3)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    acts: list[tuple[str, dict[str, Any]]] = [
        ("complete", own),
        ("fail", own),
        ("release", own),
        ("cancel", {"run_id": run.run_id}),
        ("begin_step", own | {"name": "plan"}),
        ("heartbeat", {"run_ids": [run.run_id], "lease_ids": [run.lease_id], "lease": "1 hour"}),
        ("settle", {"outcomes": [own]}),
        ("settle_and_claim", {"outcomes": [own]}),
        ("cancel_many", {"workflow": "report"}),
        ("set_queue", {"queue": "default", "settings": {"concurrency": 3, "rate_limit": 3}}),
    ]
    before = contents(tide.connection)
    for function, arguments in acts:
        other.call(function, **arguments)
        assert contents(other.connection) != before, function
        other.connection.rollback()
        assert contents(tide.connection) == before, function


def test_whole_life_of_a_run_fits_one_transaction(tide: Tide, other: Tide) -> None:
    run = other.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    other.begin_step(**own, name="plan")
    other.complete_step(**own, name="plan", output=[1])
    other.complete(**own)
    other.connection.commit()
    assert tide.log(run.run_id) == [
        "run.enqueued",
        "run.claimed",
        "step.started",
        "step.completed",
        "run.completed",
    ]


def test_step_output_commits_with_the_rows_of_the_caller(tide: Tide, other: Tide) -> None:
    tide.connection.execute("create table ledger (n integer)")
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="book")
    other.connection.execute("insert into ledger values (1)")
    other.complete_step(**own, name="book", output=1)
    other.connection.rollback()
    assert tide.begin_step(**own, name="book").action == "execute"
    other.connection.execute("insert into ledger values (2)")
    other.complete_step(**own, name="book", output=2)
    other.connection.commit()
    assert tide.begin_step(**own, name="book").output == 2
    assert tide.connection.execute("select n from ledger").fetchall() == [(2,)]


def test_savepoint_undoes_what_came_after_it(tide: Tide, other: Tide) -> None:
    kept = other.enqueue(workflow="report").run_id
    other.connection.execute("savepoint here")
    other.enqueue(workflow="report")
    other.connection.execute("rollback to savepoint here")
    other.connection.commit()
    assert [run.run_id for run in tide.list_runs()] == [kept]
