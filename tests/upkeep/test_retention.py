"""Retention: finished runs go, oldest first and whole; runs that may still be needed stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, at_once, results, value, wait_until_blocked

DAY = timedelta(days=1)
KEPT = {
    "schedule_fires": "the ledger of a schedule outlives its runs",
    "schedules": "it names the last run, whether or not it is still there",
    "slots": "a finished run holds none",
    "lane_charges": "what a run used counts for a period, and upkeep forgets it then",
    "watchers": "whoever follows a run is forgotten soon by itself",
}
"""Tables that name runs and are not emptied when a run is removed, and why."""
EMPTY = {
    *("runs_active", "schedule_fires", "schedules", "slots"),
    *("gate_votes", "lease_renewals", "lost_leases", "stream_chunks"),
    *("lane_slots", "lane_waits", "lane_charges", "lane_heads"),
    *("reserved_amounts", "budget_waits", "held_keys"),
}
"""Tables in which a finished run that nobody scheduled has no row."""


def names(tide: Tide) -> list[str]:
    """The workflows of the runs that are there, oldest first."""
    return [run.workflow for run in reversed(tide.list_runs(max_runs=1000))]


def finished(tide: Tide, workflow: str = "report", **arguments: Any) -> Any:
    return tide.finished(workflow=workflow, **arguments)


def ended(tide: Tide, workflow: str, queue: str | None = None) -> UUID:
    """A run of a queue, or a plain one, that was cancelled now."""
    if queue is None:
        run_id: UUID = tide.create_run(workflow=workflow).run_id
    else:
        run_id = tide.enqueue(workflow=workflow, queue=queue).run_id
    tide.cancel(run_id=run_id)
    return run_id


def test_nothing_is_removed_unless_somebody_says_so(tide: Tide, hour: Clock) -> None:
    ended(tide, "plain")
    ended(tide, "queued", "q")
    hour.advance(3000 * DAY)
    assert tide.reconcile()["retention"] == 0
    assert tide.prune() == 0
    assert names(tide) == ["plain", "queued"]


def test_each_queue_has_its_own_retention(tide: Tide, hour: Clock) -> None:
    for queue, days in (("short", 1), ("long", 10)):
        tide.set_queue(queue=queue, settings={"retention": f"{days} days"})
    for queue in ("short", "long", "other"):
        ended(tide, queue, queue)
    ended(tide, "plain")
    hour.advance(DAY)
    assert tide.reconcile()["retention"] == 0
    hour.advance(timedelta(microseconds=1))
    assert tide.reconcile()["retention"] == 1
    assert names(tide) == ["long", "other", "plain"]
    hour.advance(9 * DAY)
    assert tide.reconcile()["retention"] == 1
    assert names(tide) == ["other", "plain"]


def test_default_is_for_plain_runs_and_queues_without_one(tide: Tide, hour: Clock) -> None:
    tide.set_retention(retention="5 days")
    tide.set_queue(queue="short", settings={"retention": "1 day"})
    tide.set_queue(queue="long", settings={"retention": "10 days"})
    tide.set_queue(queue="silent", settings={"concurrency": 1})
    for queue in ("short", "long", "silent", "unknown"):
        ended(tide, queue, queue)
    ended(tide, "plain")
    hour.advance(2 * DAY)
    assert tide.reconcile()["retention"] == 1
    assert names(tide) == ["long", "silent", "unknown", "plain"]
    hour.advance(4 * DAY)
    assert tide.reconcile()["retention"] == 3
    assert names(tide) == ["long"]
    tide.set_retention(retention=None)
    ended(tide, "plain")
    hour.advance(300 * DAY)
    assert tide.reconcile()["retention"] == 1
    assert names(tide) == ["plain"]


@pytest.mark.parametrize("retention", ["-1 second", "36501 days"])
def test_retention_out_of_range_is_refused(tide: Tide, retention: str) -> None:
    with refused("22023", "retention"):
        tide.set_retention(retention=retention)
    assert value(tide.connection, "select retention from tide.settings") is None


def test_what_has_not_ended_is_never_removed(tide: Tide, hour: Clock) -> None:
    tide.set_retention(retention="0")
    tide.set_queue(queue="default", settings={"retention": "0"})
    tide.started("running", lease="24 hours")
    tide.enqueue(workflow="queued")
    tide.create_run(workflow="pending")
    hour.advance(timedelta(hours=1))
    assert tide.reconcile()["retention"] == 0
    assert tide.prune(older_than="0") == 0
    assert names(tide) == ["running", "queued", "pending"]


def test_oldest_runs_go_first_in_bounded_numbers(tide: Tide, hour: Clock) -> None:
    for queue in (None, "a", "b"):
        for number in range(4):
            ended(tide, f"{queue or 'plain'}-{number}", queue)
            hour.advance(MINUTE)
    assert tide.prune(older_than="0", max_runs=3, queue="a") == 3
    assert [name for name in names(tide) if name.startswith("a")] == ["a-3"]
    assert tide.prune(older_than=10 * MINUTE, max_runs=100) == 2
    assert names(tide) == ["plain-2", "plain-3", "a-3", "b-0", "b-1", "b-2", "b-3"]
    assert tide.prune(older_than="0", max_runs=5) == 5
    assert names(tide) == ["b-2", "b-3"]
    assert tide.prune(older_than="0", max_runs=5) == 2
    assert names(tide) == []


def test_batches_of_upkeep_remove_all_of_it(tide: Tide, hour: Clock) -> None:
    tide.set_retention(retention="1 day")
    tide.set_queue(queue="q", settings={"retention": "2 hours"})
    for queue in ("p", "q"):
        tide.enqueue_many(queue=queue, runs=[{"workflow": "report"}] * 30)
        tide.cancel_many(queue=queue)
    hour.advance(2 * DAY)
    assert tide.reconcile(batch=7)["retention"] == 60
    assert names(tide) == []


def test_prune_by_the_retention_of_all_queues_is_bounded(tide: Tide, hour: Clock) -> None:
    for queue in ("p", "q"):
        tide.set_queue(queue=queue, settings={"retention": "1 day"})
        tide.enqueue_many(queue=queue, runs=[{"workflow": "report"}] * 6)
        tide.cancel_many(queue=queue)
    hour.advance(2 * DAY)
    assert [tide.prune(max_runs=5) for _ in range(4)] == [5, 5, 2, 0]


def test_bad_arguments_are_refused(tide: Tide) -> None:
    for arguments, word in (
        ({"max_runs": 0}, "max_runs"),
        ({"max_runs": 100001}, "max_runs"),
        ({"older_than": "-1 second"}, "older_than"),
        ({"queue": "q"}, "older_than"),
        ({"queue": "a b", "older_than": "1 day"}, "queue"),
    ):
        with refused("22023", word):
            tide.prune(**arguments)
    with refused("22023", "retention_keeps"):
        tide.set_queue(queue="q", settings={"retention_keeps": ["steps"]})


def whole_life(tide: Tide, queue: str) -> UUID:
    """A finished run that has a row in every table a run can have rows in."""
    before = tide.started("before", queue="before")
    tide.complete(run_id=before.run_id, lease_id=before.lease_id)
    for lane in ("first", "second"):
        tide.set_lane(lane=lane)
    run = tide.started(
        "whole",
        after=[before.run_id],
        lane="first",
        also_lanes=[{"lane": "second"}],
        queue=queue,
        input={"text": "tides " * 500},
        budget={"max_steps": 9},
        channels=[{"url": "http://example.com/hook"}],
    )
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    tide.complete_step(**own, name="plan")
    gate = tide.open_gate(**own, name="approve", prompt="Send it?")
    tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved")
    tide.spawn(**own, edge="part", workflow="part")
    tide.send_event(run_id=run.run_id, name="paid", payload={})
    tide.await_event(**own, name="paid")
    tide.set_state(run_id=run.run_id, value={"progress": 1})
    tide.record_usage(run_id=run.run_id, cost_usd=1)
    tide.watch_run(run_id=run.run_id)
    tide.cancel(run_id=run.run_id)
    finished_id: UUID = run.run_id
    return finished_id


def rows_of(connection: Connection, run_id: UUID) -> dict[str, int]:
    """How many rows of each table name a run, by the catalogue: a new table is not forgotten."""
    columns = connection.execute(
        """
        select
          c.relname as name,
          a.attname as column
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid
        where c.relnamespace = 'tide'::regnamespace
          and c.relkind = 'r'
          and a.atttypid = 'uuid'::regtype
          and a.attname in ('run_id', 'parent_id', 'last_run_id')
          and (c.relname not like 'runs\\_%' or a.attname = 'run_id')
        """
    ).fetchall()
    return {
        name: value(
            connection, f"select count(*) from tide.{name} as t where t.{column} = %s", run_id
        )
        for name, column in columns
    }


def test_nothing_of_a_removed_run_is_left(tide: Tide, hour: Clock) -> None:
    run_id = whole_life(tide, "q")
    other_id = whole_life(tide, "other")
    before = rows_of(tide.connection, run_id)
    # The life above has a row in every table, so none is empty afterwards only by chance.
    assert {table for table, rows in before.items() if not rows} == EMPTY
    kept = rows_of(tide.connection, other_id)
    hour.advance(MINUTE)
    assert tide.prune(older_than="1 second", queue="q") == 1
    after = rows_of(tide.connection, run_id)
    assert {table for table, rows in after.items() if rows} == {"watchers"}
    assert rows_of(tide.connection, other_id) == kept
    with refused("TD010"):
        tide.get_run(run_id=run_id)


@pytest.mark.parametrize("keeps", [[], ["gates"], ["usage"], ["usage", "gates"]])
def test_queue_says_what_stays_of_removed_runs(tide: Tide, hour: Clock, keeps: list[str]) -> None:
    tide.set_queue(queue="q", settings={"retention": "1 hour", "retention_keeps": keeps})
    run_id = whole_life(tide, "q")
    hour.advance(DAY)
    tide.reconcile()
    left = {table for table, rows in rows_of(tide.connection, run_id).items() if rows}
    assert left - set(KEPT) == set(keeps)


def test_prune_by_hand_keeps_what_the_queue_says(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="q", settings={"retention_keeps": ["gates"]})
    for queue in ("q", "other"):
        whole_life(tide, queue)
    hour.advance(MINUTE)
    tide.prune(older_than="1 second")
    assert value(tide.connection, "select count(*) from tide.gates") == 1


@pytest.mark.parametrize("end", ["active", "failed", "cancelled", "completed"])
def test_child_stays_while_its_parent_may_ask_for_its_outcome(
    tide: Tide, hour: Clock, end: str
) -> None:
    parent = tide.started("parent", queue="parents", lease="1 hour")
    own = {"run_id": parent.run_id, "lease_id": parent.lease_id}
    child = tide.spawn(**own, edge="part", workflow="child", queue="default")
    (run,) = tide.claim()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id, result={"parts": 3})
    if end == "cancelled":
        tide.cancel(run_id=parent.run_id)
    elif end != "active":
        getattr(tide, {"failed": "fail", "completed": "complete"}[end])(**own)
    hour.advance(MINUTE)
    gone = tide.prune(older_than="1 second", queue="default")
    assert gone == (1 if end == "completed" else 0)
    if end in ("failed", "cancelled"):
        tide.retry(run_id=parent.run_id)
        (again,) = tide.claim(queues=["parents"])
        own = {"run_id": again.run_id, "lease_id": again.lease_id}
        assert tide.spawn(**own, edge="part", workflow="child", queue="default").created is False
        (row,) = tide.await_children(**own)
        assert (row.child_id, row.result) == (child.child_id, {"parts": 3})


def test_children_follow_their_parent(tide: Tide, hour: Clock) -> None:
    parent = tide.begun("parent")
    own = {"run_id": parent.run_id, "lease_id": parent.lease_id}
    child = tide.spawn(**own, edge="part", workflow="child")
    tide.cancel(run_id=child.child_id)
    tide.fail(**own)
    tide.set_retention(retention="1 hour")
    hour.advance(DAY)
    assert tide.reconcile()["retention"] == 2
    assert names(tide) == []


def test_run_somebody_retries_meanwhile_is_left_alone(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    retried, other = ended(tide, "retried", "q"), ended(tide, "other", "q")
    hour.advance(MINUTE)
    session = Tide(connect(autocommit=False))
    session.retry(run_id=retried)
    assert tide.prune(older_than="1 second", queue="q") == 1
    session.connection.commit()
    assert tide.prune(older_than="1 second", queue="q") == 0
    assert tide.log(retried) == ["run.enqueued", "run.cancelled", "run.retried"]
    with refused("TD010"):
        tide.get_run(run_id=other)


def test_retry_that_comes_during_a_prune_finds_no_run(
    tide: Tide, hour: Clock, connect: Callable[..., Connection], direct_dsn: str
) -> None:
    run_id = ended(tide, "retried", "q")
    hour.advance(MINUTE)
    pruner, session = Tide(connect(autocommit=False)), Tide(connect(direct_dsn))
    assert pruner.prune(older_than="1 second", queue="q") == 1
    pid = session.connection.info.backend_pid

    def retry() -> Any:
        with refused("TD010", run_id):
            session.retry(run_id=run_id)

    def commit() -> None:
        wait_until_blocked(tide.connection, pid)
        pruner.connection.commit()

    results(at_once([retry, commit]))
    assert set(rows_of(tide.connection, run_id).values()) == {0}


def test_pruners_at_once_remove_each_run_once(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    tide.enqueue_many(queue="q", runs=[{"workflow": "report"}] * 200)
    tide.cancel_many(queue="q")
    hour.advance(MINUTE)
    pruners = [Tide(connect()) for _ in range(4)]
    removed = results(
        at_once(
            [lambda p=p: p.prune(older_than="1 second", queue="q", max_runs=60) for p in pruners]
        )
    )
    assert sum(removed) + tide.prune(older_than="1 second", queue="q") == 200
    assert value(tide.connection, "select count(*) from tide.events") == 0


def test_claim_beside_a_pruned_history_costs_what_it_costs_without_one(
    tide: Tide, hour: Clock
) -> None:
    def touched() -> int:
        tide.enqueue(workflow="report")
        with tide.connection.transaction(force_rollback=True):
            (plan,) = value(
                tide.connection, "explain (analyze, buffers, format json) select tide.claim()"
            )
        node = plan["Plan"]
        found: int = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
        return found

    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    touched(), touched()
    before = touched()
    for _ in range(10):
        tide.enqueue_many(queue="history", runs=[{"workflow": "report"}] * 1000)
        tide.cancel_many(queue="history", max_runs=1000)
    hour.advance(MINUTE)
    assert tide.prune(older_than="1 second", queue="history", max_runs=10000) == 10000
    touched()
    assert touched() <= 1.3 * before
