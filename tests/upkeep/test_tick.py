"""The tick that claims carry: a system with workers needs no other upkeep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, value

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
