"""heartbeat: one call renews every lease of a worker and tells what became of its runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from tests.runs.acts import MINUTE, NOBODY, Tide
from tests.support import Clock, Connection


def beat(tide: Tide, *runs: Any, **arguments: Any) -> list[str]:
    rows = tide.heartbeat(
        run_ids=[run.run_id for run in runs],
        lease_ids=[run.lease_id for run in runs],
        **arguments,
    )
    assert [row.run_id for row in rows] == [run.run_id for run in runs]
    return [row.state for row in rows]


def test_live_runs_are_held_and_renewed_without_event_or_attempt(tide: Tide, hour: Clock) -> None:
    runs = [tide.started(), tide.begun()]
    hour.advance(MINUTE / 2)
    assert beat(tide, *runs, lease="2 minutes") == ["held", "held"]
    for run in runs:
        now = tide.get_run(run_id=run.run_id)
        assert (now.leased_until, now.attempt) == (hour.now + 2 * MINUTE, 1)
        assert now.last_seq == run.last_seq


def test_heartbeats_keep_a_run_for_many_leases(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    for _ in range(10):
        hour.advance(timedelta(seconds=50))
        assert tide.reconcile()["expired_leases"] == 0
        assert beat(tide, run) == ["held"]
    assert tide.log(run.run_id) == ["run.enqueued", "run.claimed"]


def test_expired_lease_nobody_took_is_renewed(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    hour.advance(2 * MINUTE)
    assert beat(tide, run) == ["held"]
    assert tide.reconcile()["expired_leases"] == 0


def test_lost_lease_is_never_revived(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    hour.advance(2 * MINUTE)
    tide.reconcile()
    assert beat(tide, run) == ["lost"]
    assert tide.get_run(run_id=run.run_id).status == "queued"
    (second,) = tide.claim()
    until = tide.get_run(run_id=run.run_id).leased_until
    hour.advance(MINUTE / 2)
    assert beat(tide, run) == ["lost"]
    assert tide.get_run(run_id=run.run_id).leased_until == until
    assert beat(tide, run, second) == ["lost", "held"]


def test_cancelled_finished_unknown_and_foreign_runs_are_told_apart(tide: Tide) -> None:
    cancelled = tide.started()
    tide.cancel(run_id=cancelled.run_id)
    completed = tide.started()
    tide.complete(run_id=completed.run_id, lease_id=completed.lease_id)
    failed = tide.started()
    tide.fail(run_id=failed.run_id, lease_id=failed.lease_id)
    foreign = tide.started()._replace(lease_id=NOBODY)
    unknown = foreign._replace(run_id=uuid4())
    queued = foreign._replace(run_id=tide.enqueue(workflow="report").run_id)
    assert beat(tide, cancelled, completed, failed, foreign, unknown, queued) == [
        "cancelled",
        "finished",
        "finished",
        "lost",
        "lost",
        "lost",
    ]


def test_run_locked_by_its_own_transaction_is_busy_and_not_waited_for(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    run, other = tide.started(), tide.started()
    business = Tide(connect(autocommit=False))
    business.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="pay")
    assert beat(tide, run, other) == ["busy", "held"]
    business.connection.commit()
    assert beat(tide, run, other) == ["held", "held"]


def test_overdue_run_is_cancelled_and_the_worker_told(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE / 2)
    hour.advance(MINUTE / 2)
    assert beat(tide, run) == ["cancelled"]
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.status, ended.cancel_reason) == ("cancelled", "deadline")
    assert tide.log(run.run_id)[-1] == "run.cancelled"


def test_no_runs_no_answer(tide: Tide) -> None:
    assert tide.heartbeat(run_ids="{}", lease_ids="{}") == []


def test_heartbeat_shortens_a_lease_too(tide: Tide, hour: Clock) -> None:
    run = tide.started(lease="1 hour")
    beat(tide, run, lease="1 second")
    assert tide.get_run(run_id=run.run_id).leased_until == hour.now + timedelta(seconds=1)
