"""Backoff: min(max, base * 2^(attempt - 1)) and a random share on top."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import Tide
from tests.support import Clock, value

HUGE = 2_000_000_000


def delay(tide: Tide, clock: Clock, attempt: int = 1, **arguments: Any) -> float:
    """Seconds until the next attempt after this one failed."""
    run = tide.started(max_attempts=100, **arguments)
    tide.connection.execute(
        "update tide.runs set attempt = %s, max_attempts = 100 where run_id = %s",
        (min(attempt, 99), run.run_id),
    )
    again = tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    tide.cancel(run_id=run.run_id)
    return float((again.run_at - clock.now).total_seconds())


def test_defaults_double_from_five_seconds_to_five_minutes(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"backoff_jitter": 0})
    delays = [delay(tide, hour, attempt) for attempt in (1, 2, 3, 6, 7, 8, 99)]
    assert delays == [5, 10, 20, 160, 300, 300, 300]


def test_jitter_adds_up_to_a_tenth_by_default(tide: Tide, hour: Clock) -> None:
    delays = [delay(tide, hour) for _ in range(30)]
    assert min(delays) >= 5
    assert max(delays) <= 5.5
    assert len(set(delays)) > 1


def test_queue_sets_the_backoff(tide: Tide, hour: Clock) -> None:
    tide.set_queue(
        queue="default",
        settings={"backoff_base": "2 seconds", "backoff_max": "3 seconds", "backoff_jitter": 0},
    )
    assert [delay(tide, hour, attempt) for attempt in (1, 2, 3)] == [2, 3, 3]


def test_run_beats_its_queue(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"backoff_base": "1 hour", "backoff_jitter": 0})
    backoff = {"base": "1 second", "max": "90 seconds", "jitter": 0}
    assert delay(tide, hour, 3, backoff=backoff) == 4
    assert delay(tide, hour, 50, backoff=backoff) == 90


def test_what_the_run_leaves_open_the_queue_decides(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"backoff_base": "3 seconds", "backoff_jitter": 0})
    assert delay(tide, hour, 2, backoff={"max": "1 hour"}) == 6


def test_jitter_one_at_most_doubles(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"backoff_jitter": 1})
    delays = [delay(tide, hour) for _ in range(20)]
    assert all(5 <= seconds <= 10 for seconds in delays)


def test_zero_base_retries_at_once(tide: Tide, hour: Clock) -> None:
    assert delay(tide, hour, 5, backoff={"base": "0"}) == 0


@pytest.mark.parametrize("attempt", [1024, 1025, HUGE])
def test_huge_attempt_numbers_do_not_overflow(tide: Tide, attempt: int) -> None:
    run = tide.started()
    seconds = value(
        tide.connection,
        """
        select extract(epoch from tide._backoff(r))
        from (
          select (jsonb_populate_record(a, jsonb_build_object(
            'attempt', %s::int, 'backoff', '{"base": "365 days", "max": "365 days"}'::jsonb
          ))).*
          from tide.runs_active as a
          where a.run_id = %s
        ) as r
        """.replace("_backoff(r)", "_backoff(r::tide.runs)"),
        attempt,
        run.run_id,
    )
    year = timedelta(days=365).total_seconds()
    assert year <= seconds <= 1.1 * year
