"""rate_limit: at most N starts in any window of rate_period, to the microsecond."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, at_once, results

TICK = timedelta(microseconds=1)


def rate(tide: Tide, limit: int | None, period: str = "1 minute") -> None:
    tide.set_queue(queue="default", settings={"rate_limit": limit, "rate_period": period})


def fill(tide: Tide, runs: int) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * runs)


def starts(tide: Tide, wanted: int = 10) -> int:
    return len(tide.claim(max_runs=wanted, lease="1 hour"))


def test_no_more_starts_than_the_limit_until_the_period_is_over(tide: Tide, hour: Clock) -> None:
    rate(tide, 3)
    fill(tide, 9)
    assert (starts(tide), starts(tide)) == (3, 0)
    hour.advance(MINUTE - TICK)
    assert starts(tide) == 0
    hour.advance(TICK)
    assert starts(tide) == 3


def test_window_slides(tide: Tide, hour: Clock) -> None:
    rate(tide, 2)
    fill(tide, 9)
    assert starts(tide, 1) == 1
    hour.advance(MINUTE / 2)
    assert (starts(tide), starts(tide)) == (1, 0)
    hour.advance(MINUTE / 2)
    assert (starts(tide), starts(tide)) == (1, 0)
    hour.advance(MINUTE / 2)
    assert (starts(tide), starts(tide)) == (1, 0)


def test_unused_starts_are_not_saved_up(tide: Tide, hour: Clock) -> None:
    rate(tide, 2)
    hour.advance(60 * MINUTE)
    fill(tide, 9)
    assert (starts(tide), starts(tide)) == (2, 0)


def test_further_attempts_count(tide: Tide, hour: Clock) -> None:
    rate(tide, 2)
    run = tide.started(max_attempts=3)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    (run,) = tide.claim()
    tide.release(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.claim() == []
    hour.advance(MINUTE)
    assert len(tide.claim()) == 1


def test_end_of_a_run_gives_no_start_back(tide: Tide, hour: Clock) -> None:
    rate(tide, 1)
    tide.finished()
    fill(tide, 1)
    assert starts(tide) == 0


def test_rolled_back_claim_gives_its_starts_back(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    rate(tide, 2)
    fill(tide, 5)
    other = Tide(connect(autocommit=False))
    assert starts(other) == 2
    assert starts(tide) == 0
    other.connection.rollback()
    assert starts(tide) == 2


def test_full_cap_uses_up_no_rate(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"rate_limit": 2, "concurrency": 1})
    fill(tide, 3)
    (run,) = tide.claim(max_runs=3)
    assert starts(tide) == 0
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert (starts(tide), starts(tide)) == (1, 0)


def test_used_up_rate_takes_no_slot(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"rate_limit": 1, "concurrency": 3})
    fill(tide, 3)
    assert starts(tide) == 1
    busy = tide.connection.execute("select run_id from tide.slots where run_id is not null")
    assert len(busy.fetchall()) == 1


def test_raised_limit_holds_at_once(tide: Tide, hour: Clock) -> None:
    rate(tide, 1)
    fill(tide, 9)
    assert starts(tide) == 1
    rate(tide, 3)
    assert (starts(tide), starts(tide)) == (2, 0)


def test_lowered_limit_counts_what_was_started(tide: Tide, hour: Clock) -> None:
    rate(tide, 3)
    fill(tide, 9)
    assert starts(tide, 1) == 1
    hour.advance(MINUTE / 4)
    assert starts(tide, 2) == 2
    rate(tide, 2)
    hour.advance(MINUTE * 3 / 4)
    assert starts(tide) == 0
    hour.advance(MINUTE / 4)
    assert (starts(tide), starts(tide)) == (2, 0)


def test_limit_lowered_and_raised_again_lets_no_extra_start_through(
    tide: Tide, hour: Clock
) -> None:
    rate(tide, 5)
    fill(tide, 20)
    assert starts(tide) == 5
    rate(tide, 2)
    rate(tide, 5)
    assert starts(tide) <= 3
    rate(tide, 3)
    hour.advance(MINUTE)
    assert (starts(tide), starts(tide)) == (3, 0)


def test_longer_period_counts_from_the_starts(tide: Tide, hour: Clock) -> None:
    rate(tide, 1)
    fill(tide, 9)
    assert starts(tide) == 1
    hour.advance(MINUTE / 2)
    rate(tide, 1, "2 minutes")
    hour.advance(MINUTE)
    assert starts(tide) == 0
    hour.advance(MINUTE / 2)
    assert starts(tide) == 1


def test_shorter_period_counts_from_the_starts(tide: Tide, hour: Clock) -> None:
    rate(tide, 1, "1 hour")
    fill(tide, 9)
    assert starts(tide) == 1
    hour.advance(MINUTE)
    assert starts(tide) == 0
    rate(tide, 1, "1 minute")
    assert starts(tide) == 1


def test_cleared_rate_lets_everything_start(tide: Tide, hour: Clock) -> None:
    rate(tide, 1)
    fill(tide, 9)
    assert starts(tide) == 1
    rate(tide, None)
    assert starts(tide) == 8


def test_claimers_at_once_never_pass_the_rate(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    rate(tide, 7)
    fill(tide, 60)
    claimers = [Tide(connect()) for _ in range(8)]
    for _ in range(3):
        started = sum(results(at_once([lambda c=claimer: starts(c, 3) for claimer in claimers])))
        assert started <= 7
        assert started + starts(tide) == 7
        hour.advance(MINUTE)
