"""reconcile: all upkeep, in batches of its own, safe at any rate and from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection, at_once, results, value

SWEEPS = {
    "expired_leases",
    "overdue",
    "due",
    "gate_timeouts",
    "due_waits",
    "ended_children",
    "cascades",
    "leaked_slots",
    "settled_clock",
    "claim_floors",
    "finished_counts",
    "stale_rows",
}


def test_report_names_every_sweep(tide: Tide) -> None:
    assert set(tide.reconcile()) == SWEEPS


def test_expired_run_is_queued_again_at_its_place(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report", max_attempts=2)
    (run,) = tide.claim(worker="w1")
    hour.advance(MINUTE + timedelta(seconds=1))
    assert tide.reconcile()["expired_leases"] == 1
    again = tide.get_run(run_id=run.run_id)
    assert (again.status, again.ready, again.attempt) == ("queued", True, 1)
    assert (again.run_at, again.leased_until) == (run.run_at, None)
    event = tide.last_event(run.run_id)
    assert (event.type, event.payload["reason"]) == ("run.requeued", "lease_expired")
    assert event.payload["worker"] == "w1"


def test_lease_is_not_expired_before_its_end(tide: Tide, hour: Clock) -> None:
    tide.started(max_attempts=2)
    hour.advance(MINUTE)
    assert tide.reconcile()["expired_leases"] == 0
    hour.advance(timedelta(microseconds=1))
    assert tide.reconcile()["expired_leases"] == 1


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_expired_last_attempt_fails_with_max_retries(
    tide: Tide, hour: Clock, max_attempts: int
) -> None:
    run = tide.started(max_attempts=max_attempts)
    for _ in range(max_attempts):
        hour.advance(2 * MINUTE)
        tide.reconcile()
        tide.claim()
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.status, ended.failure_class) == ("failed", "max_retries")
    assert "lease expired" in ended.error["message"]
    assert tide.log(run.run_id)[-1] == "run.failed"


def test_expired_plain_run_is_left_to_whoever_begins_it(tide: Tide, hour: Clock) -> None:
    run = tide.begun()
    hour.advance(timedelta(hours=1))
    assert tide.reconcile()["expired_leases"] == 0
    assert tide.complete(run_id=run.run_id, lease_id=run.lease_id).status == "completed"


@pytest.mark.parametrize("state", ["pending", "begun", "queued", "delayed", "running"])
def test_overdue_run_in_any_state_is_cancelled(tide: Tide, hour: Clock, state: str) -> None:
    arguments: dict[str, Any] = {"workflow": "report", "deadline": MINUTE}
    if state in ("pending", "begun"):
        run = tide.create_run(**arguments) if state == "pending" else tide.begun(**arguments)
    elif state == "running":
        run = tide.started(**arguments)
    else:
        run = tide.enqueue(**arguments, delay="1 hour" if state == "delayed" else None)
    hour.advance(MINUTE)
    assert tide.reconcile()["overdue"] == 1
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.status, ended.cancel_reason) == ("cancelled", "deadline")
    assert tide.log(run.run_id)[-1] == "run.cancelled"


def test_due_runs_become_ready(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report", delay=MINUTE)
    tide.enqueue(workflow="report", delay="1 hour")
    hour.advance(MINUTE)
    assert tide.reconcile()["due"] == 1
    assert [run.ready for run in tide.list_runs()] == [False, True]


def test_second_round_finds_nothing_to_do(tide: Tide, hour: Clock) -> None:
    tide.started(max_attempts=2)
    tide.enqueue(workflow="report", deadline=MINUTE)
    hour.advance(2 * MINUTE)
    tide.reconcile()
    report = tide.reconcile()
    assert [report[sweep] for sweep in ("expired_leases", "overdue", "due", "leaked_slots")] == [
        0
    ] * 4


def test_batches_handle_more_runs_than_one_holds(tide: Tide, hour: Clock) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "max_attempts": 2}] * 25)
    tide.claim(max_runs=25)
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "deadline": "1 minute"}] * 25)
    hour.advance(2 * MINUTE)
    report = tide.reconcile(batch=10)
    assert (report["expired_leases"], report["overdue"]) == (25, 25)


def test_reconcile_is_refused_inside_a_transaction(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    before = contents(tide.connection)
    other = connect(autocommit=False)
    with refused("2D000"):
        other.execute("call tide.reconcile()")
    other.rollback()
    assert contents(tide.connection) == before


def test_reconcile_beside_another_is_busy_and_does_nothing(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    other = connect(autocommit=False)
    other.execute("select pg_advisory_xact_lock(1953064037, 1)")
    assert tide.reconcile()["busy"] is True
    other.rollback()
    report = tide.reconcile()
    assert "busy" not in report
    assert report["expired_leases"] == 1


def test_reconcilers_at_once_handle_each_run_once(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "max_attempts": 2}] * 30)
    runs = tide.claim(max_runs=30)
    hour.advance(2 * MINUTE)
    reconcilers = [Tide(connect()) for _ in range(4)]
    results(at_once([lambda r=r: r.reconcile(batch=5) for r in reconcilers]))
    tide.reconcile()
    for run in runs:
        assert tide.log(run.run_id) == ["run.enqueued", "run.claimed", "run.requeued"]


def test_runs_somebody_has_locked_are_not_waited_for(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    locked, free = tide.started(max_attempts=2), tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    other = Tide(connect(autocommit=False))
    other.complete(run_id=locked.run_id, lease_id=locked.lease_id)
    assert tide.reconcile()["expired_leases"] == 1
    other.connection.commit()
    assert tide.get_run(run_id=locked.run_id).status == "completed"
    assert tide.get_run(run_id=free.run_id).status == "queued"


@pytest.mark.parametrize("act", ["enqueue", "claim", "set_queue", "cancel"])
def test_open_transactions_are_not_waited_for(
    tide: Tide, hour: Clock, connect: Callable[..., Connection], act: str
) -> None:
    """Queues with floors, a cap and a rate; somebody's transaction has touched all of it."""
    tide.set_queue(queue="default", settings={"concurrency": 2, "rate_limit": 9})
    tide.enqueue(workflow="report", dedupe_key="k")
    for _ in range(4):
        hour.advance(MINUTE)
        tide.reconcile()
    other = Tide(connect(autocommit=False))
    if act == "enqueue":
        other.enqueue(workflow="report", run_at=hour.now - timedelta(days=1))
    elif act == "claim":
        other.claim(worker="w1")
    elif act == "set_queue":
        other.set_queue(queue="default", settings={"concurrency": 1, "rate_limit": 1})
    else:
        other.cancel_many(workflow="report")
    for _ in range(2):
        hour.advance(MINUTE)
        assert "busy" not in tide.reconcile()
        tide.claim(queues=["other"], worker="w1")
    other.connection.commit()
    assert tide.sweep_failures() == []


def test_reconcile_leaves_no_lock_and_no_setting_behind(tide: Tide) -> None:
    before = value(tide.connection, "select current_setting('search_path')")
    tide.reconcile()
    assert value(tide.connection, "select current_setting('search_path')") == before
    assert value(tide.connection, "select count(*) from pg_locks where locktype = 'advisory'") == 0


def test_reconcile_works_under_a_serializable_default(tide: Tide, hour: Clock) -> None:
    tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    tide.connection.execute("set default_transaction_isolation = 'serializable'")
    assert tide.reconcile()["expired_leases"] == 1


@pytest.mark.parametrize(
    ("batch", "budget", "argument"),
    [
        (0, "1 s", "batch"),
        (-1, "1 s", "batch"),
        (10001, "1 s", "batch"),
        (None, "1 s", "batch"),
        (10, "0", "budget"),
        (10, "-1 s", "budget"),
        (10, "2 hours", "budget"),
        (10, None, "budget"),
    ],
)
def test_bad_arguments_are_refused(
    tide: Tide, batch: int | None, budget: str | None, argument: str
) -> None:
    with refused("22023", argument):
        tide.connection.execute("call tide.reconcile(%s::int, %s::interval)", (batch, budget))


def test_year_without_upkeep_is_caught_up(tide: Tide) -> None:
    tide.finished()
    tide.connection.execute(
        "update tide.ticks set counted_until = counted_until - interval '1 year'"
    )
    for _ in range(3):
        tide.connection.execute("call tide.reconcile(budget => '1 hour')")
    age = value(tide.connection, "select clock_timestamp() - counted_until from tide.ticks")
    assert age < 2 * MINUTE
