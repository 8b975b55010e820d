"""Claim floors: a hint that spares claims dead entries and hides no run beyond a tick."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, need_floors, value

SECOND = timedelta(seconds=1)


def floors(tide: Tide) -> int:
    return int(
        value(
            tide.connection,
            "select count(*) from tide.claim_floors where run_at > '-infinity'",
        )
    )


@pytest.fixture(autouse=True)
def needed(tide: Tide) -> None:
    need_floors(tide.connection)


@pytest.fixture
def raised(tide: Tide, hour: Clock) -> Tide:
    """A queue with a floor right below its only ready run."""
    tide.enqueue(workflow="report", dedupe_key="first")
    for _ in range(4):
        hour.advance(MINUTE)
        tide.reconcile()
    assert floors(tide) == 1
    return tide


def found(tide: Tide) -> set[UUID]:
    return {run.run_id for run in tide.claim(max_runs=100)}


def quiet(tide: Tide) -> None:
    """No tick: what is found now is found without upkeep."""
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")


def test_run_of_the_past_is_found_at_once(raised: Tide, hour: Clock) -> None:
    quiet(raised)
    run_at = hour.now - timedelta(days=1)
    early = raised.enqueue(workflow="report", run_at=run_at).run_id
    (many,) = raised.enqueue_many(queue="default", runs=[{"workflow": "report", "run_at": run_at}])
    assert {early, many.run_id} <= found(raised)


def test_past_run_of_a_batch_is_found_at_once(raised: Tide, hour: Clock) -> None:
    quiet(raised)
    past = {"workflow": "report", "run_at": hour.now - timedelta(days=1)}
    rows = raised.enqueue_many(queue="default", runs=[{"workflow": "report"}, past, past])
    assert {row.run_id for row in rows} <= found(raised)


def test_new_priority_is_found_at_once(raised: Tide, hour: Clock) -> None:
    quiet(raised)
    made = {
        raised.enqueue(
            workflow="report", priority=priority, run_at=hour.now - timedelta(days=1)
        ).run_id
        for priority in (-32768, -1, 1, 32767)
    }
    assert made <= found(raised)


def test_retried_released_expired_and_moved_runs_are_found_at_once(tide: Tide, hour: Clock) -> None:
    old = [tide.started(max_attempts=2, lease="1 hour") for _ in range(4)]
    tide.enqueue(workflow="report", delay=5 * MINUTE)
    for _ in range(8):
        hour.advance(MINUTE)
        tide.reconcile()
    assert floors(tide) == 1
    quiet(tide)
    failed, released, cancelled, expired = old
    tide.fail(run_id=failed.run_id, lease_id=failed.lease_id, retry_after="0")
    tide.release(run_id=released.run_id, lease_id=released.lease_id)
    tide.cancel(run_id=cancelled.run_id)
    tide.retry(run_id=cancelled.run_id, run_at=hour.now - timedelta(days=9))
    moved = tide.enqueue(workflow="report", delay="1 hour").run_id
    tide.reschedule(run_id=moved, run_at=hour.now - timedelta(days=8))
    for run in (failed, released, cancelled):
        tide.connection.execute(
            "update tide.runs set lease = '1 minute' where run_id = %s", (run.run_id,)
        )
    got = found(tide)
    assert {failed.run_id, released.run_id, cancelled.run_id, moved} <= got
    hour.advance(timedelta(hours=1))
    tide.connection.execute("update tide.ticks set next_at = '-infinity'")
    assert expired.run_id in found(tide)


def test_delayed_run_that_came_due_is_found_at_once(raised: Tide, hour: Clock) -> None:
    delayed = raised.enqueue(workflow="report", delay=SECOND).run_id
    for _ in range(3):
        hour.advance(MINUTE)
        raised.reconcile()
    quiet(raised)
    assert delayed in found(raised)


def test_resolved_step_is_found_at_once(raised: Tide, hour: Clock) -> None:
    run = raised.started(priority=1)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    raised.begin_step(**own, name="send", contract={"replay": "manual"})
    raised.fail_step(**own, name="send")
    for _ in range(3):
        hour.advance(MINUTE)
        raised.reconcile()
    quiet(raised)
    raised.resolve_step(run_id=run.run_id, name="send", decision="retry")
    assert run.run_id in found(raised)


def test_late_commit_below_the_floor_is_found_within_two_ticks(
    raised: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    slow = Tide(connect(autocommit=False))
    late = slow.enqueue(workflow="report", run_at=hour.now - timedelta(days=1)).run_id
    for _ in range(3):
        hour.advance(MINUTE)
        raised.reconcile()
    slow.connection.commit()
    got: set[UUID] = set()
    for _ in range(2):
        hour.advance(SECOND)
        got |= found(raised)
    assert late in got


def test_late_commit_of_a_plain_enqueue_is_never_below_the_floor(
    raised: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    slow = Tide(connect(autocommit=False))
    late = slow.enqueue(workflow="report").run_id
    for _ in range(4):
        hour.advance(MINUTE)
        raised.enqueue(workflow="report")
        raised.reconcile()
    slow.connection.commit()
    quiet(raised)
    assert late in found(raised)


def test_floor_rises_among_the_runs_of_a_batch(tide: Tide, hour: Clock) -> None:
    """They have one run_at: a floor of times alone would stay below all of them."""
    rows = tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 6)
    begun = tide.claim(max_runs=3)
    assert [run.run_id for run in begun] == [row.run_id for row in rows[:3]]
    for _ in range(3):
        hour.advance(SECOND)
        tide.reconcile()
    floor = "select f.first_id from tide.claim_floors as f"
    assert value(tide.connection, floor) == rows[3].run_id
    quiet(tide)
    back = begun[1]
    tide.release(run_id=back.run_id, lease_id=back.lease_id)
    assert value(tide.connection, floor) < back.run_id
    assert [run.run_id for run in tide.claim(max_runs=2)] == [back.run_id, rows[3].run_id]


def test_floor_of_an_idle_queue_goes(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report")
    for _ in range(3):
        hour.advance(MINUTE)
        tide.reconcile()
    assert floors(tide) == 1
    (run,) = tide.claim()
    for _ in range(3):
        hour.advance(SECOND)
        tide.reconcile()
    assert floors(tide) == 0
    tide.release(run_id=run.run_id, lease_id=run.lease_id)
    assert found(tide) == {run.run_id}


def test_floors_of_priorities_nobody_uses_any_more_go(tide: Tide, hour: Clock) -> None:
    """Each is one more place where a claim looks."""
    for priority in range(5):
        tide.enqueue(workflow="report", priority=priority)
    seen = []
    for claims in (None, 3, 2):
        if claims is not None:
            tide.claim(max_runs=claims)
        for _ in range(3):
            hour.advance(SECOND)
            tide.reconcile()
        seen.append(floors(tide))
    assert seen == [5, 2, 0]


def test_wrong_floor_is_corrected_by_the_next_tick(tide: Tide, hour: Clock) -> None:
    waiting = {tide.enqueue(workflow="report", priority=n).run_id for n in (0, 5)}
    tide.connection.execute(
        """
        insert into tide.claim_floors
        select 'default', n, tide._now() + interval '1 year'
        from generate_series(-1, 7) as n
        """
    )
    got: set[UUID] = set()
    for _ in range(2):
        hour.advance(SECOND)
        got |= found(tide)
    assert got == waiting


def test_order_is_kept_between_and_above_floors(tide: Tide, hour: Clock) -> None:
    for priority in (1, 5, 9):
        tide.enqueue(workflow="report", priority=priority)
    for _ in range(4):
        hour.advance(MINUTE)
        tide.reconcile()
    assert floors(tide) == 3
    for priority in (0, 1, 3, 7, 11):
        tide.enqueue(workflow="report", priority=priority)
    claimed = [run.priority for run in tide.claim(max_runs=5)]
    claimed += [run.priority for run in tide.claim(max_runs=9)]
    assert claimed == [11, 9, 7, 5, 3, 1, 1, 0]
