"""The tick that claims carry: a system with workers needs no other upkeep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, at_once, results, value

SECOND = timedelta(seconds=1)


def test_expired_run_is_found_by_the_next_claim(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    hour.advance(MINUTE + SECOND)
    (again,) = tide.claim()
    assert (again.run_id, again.attempt) == (run.run_id, 2)


def test_expired_last_attempt_is_failed_by_the_next_claim(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    hour.advance(MINUTE + SECOND)
    assert tide.claim() == []
    assert tide.get_run(run_id=run.run_id).failure_class == "max_retries"


def test_claim_of_any_queue_carries_the_tick(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    plain = tide.create_run(workflow="report", deadline=MINUTE)
    hour.advance(MINUTE + SECOND)
    tide.claim(queues=["other"])
    assert tide.get_run(run_id=run.run_id).status == "queued"
    assert tide.get_run(run_id=plain.run_id).status == "cancelled"


def test_settle_and_claim_carries_the_tick(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    hour.advance(MINUTE + SECOND)
    (row,) = tide.settle_and_claim(outcomes=[])
    assert row.run_id == run.run_id


def test_tick_comes_once_in_a_while_whoever_claims(tide: Tide, hour: Clock) -> None:
    def next_at() -> object:
        return value(tide.connection, "select next_at from tide.ticks")

    tide.claim()
    first = next_at()
    tide.claim()
    assert next_at() == first
    hour.advance(SECOND)
    tide.claim()
    assert next_at() != first


def test_tick_that_another_carries_is_not_waited_for(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    other = connect(autocommit=False)
    other.execute("select from tide.ticks for update")
    tide.enqueue(workflow="report")
    assert len(tide.claim()) == 1


def test_tick_fires_pushes_and_recovers(tide: Tide, hour: Clock) -> None:
    tide.set_schedule(name="minutely", cron="* * * * *", workflow="scheduled")
    tide.set_queue(queue="pushed", settings={"push_url": "http://example.com/push"})
    pushed = tide.enqueue(workflow="report", queue="pushed")
    plain = tide.begun(recovery_url="http://example.com/run")
    hour.advance(MINUTE + SECOND)
    (run,) = tide.claim()
    assert run.workflow == "scheduled"
    assert tide.log(pushed.run_id)[-1] == "run.dispatched"
    assert tide.log(plain.run_id)[-1] == "recovery.started"


def test_claim_of_deliveries_carries_the_tick(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    hour.advance(MINUTE + SECOND)
    assert tide.claim_deliveries() == []
    assert tide.get_run(run_id=run.run_id).status == "queued"


@pytest.mark.parametrize("call", ["claim", "settle_and_claim", "claim_deliveries"])
def test_tick_is_carried_once_by_many_at_once(
    tide: Tide, hour: Clock, connect: Callable[..., Connection], call: str
) -> None:
    tide.set_schedule(name="minutely", cron="* * * * *", workflow="scheduled")
    runs = [tide.started(max_attempts=9, queue="other") for _ in range(5)]
    hour.advance(MINUTE + SECOND)
    arguments = {"outcomes": []} if call == "settle_and_claim" else {}
    callers = [Tide(connect()) for _ in range(6)]
    results(at_once([lambda c=c: c.call(call, **arguments) for c in callers]))
    for run in runs:
        assert tide.log(run.run_id) == ["run.enqueued", "run.claimed", "run.requeued"]
    assert [fire.outcome for fire in tide.list_fires(name="minutely")] == ["enqueued"]
    assert tide.sweep_failures() == []


def test_tick_of_a_caller_that_is_killed_is_made_up_for(
    tide: Tide, hour: Clock, connect: Callable[..., Connection], direct_dsn: str
) -> None:
    tide.set_schedule(name="minutely", cron="* * * * *", workflow="scheduled")
    run = tide.started(max_attempts=2, queue="other")
    hour.advance(MINUTE + SECOND)
    killed = Tide(connect(direct_dsn, autocommit=False))
    assert len(killed.claim()) == 1
    tide.connection.execute(
        "select pg_terminate_backend(%s, 10000)", (killed.connection.info.backend_pid,)
    )
    with pytest.raises(psycopg.OperationalError):
        killed.claim()
    (scheduled,) = tide.claim()
    assert scheduled.workflow == "scheduled"
    assert tide.log(run.run_id)[-1] == "run.requeued"
    assert [fire.outcome for fire in tide.list_fires(name="minutely")] == ["enqueued"]
