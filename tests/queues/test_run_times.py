"""How long runs waited and worked: counted in bins by upkeep, beside what ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, value

SECOND = timedelta(seconds=1)


def taken(tide: Tide, clock: Clock, wait: timedelta, work: timedelta, **options: Any) -> None:
    """A run that waits and works for so long."""
    tide.enqueue(workflow="report", **options)
    clock.advance(wait)
    (run,) = tide.claim(lease="1 day", queues=[options.get("queue", "default")])
    clock.advance(work)
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)


def counted(tide: Tide, clock: Clock) -> None:
    """Upkeep until all that ended is counted."""
    for _ in range(9):
        clock.advance(MINUTE)
        tide.reconcile()


def close(found: timedelta, exact: timedelta) -> bool:
    return exact / 1.19 <= found <= exact * 1.19


def test_half_and_most_of_the_waits_and_times_are_told_within_a_bin(
    tide: Tide, hour: Clock
) -> None:
    for number in range(1, 21):
        taken(tide, hour, number * SECOND, number * SECOND / 100)
    assert tide.run_times() == [], "upkeep has not counted them yet"
    counted(tide, hour)
    (row,) = tide.run_times()
    assert (row.name, row.runs) == ("default", 20)
    for share, exact in (("p50", 10), ("p95", 19), ("p99", 20)):
        assert close(getattr(row, f"wait_{share}"), exact * SECOND), share
        assert close(getattr(row, f"run_{share}"), exact * SECOND / 100), share


def test_each_run_is_counted_once_however_often_upkeep_looks(tide: Tide, hour: Clock) -> None:
    for _ in range(3):
        taken(tide, hour, SECOND, SECOND)
        counted(tide, hour)
        counted(tide, hour)
    (row,) = tide.run_times()
    assert row.runs == 3
    assert value(tide.connection, "select sum(runs) from tide.time_bins") == 6
    assert value(tide.connection, "select sum(completed) from tide.queue_minutes") == 3


def test_the_last_attempt_counts_and_delays_are_no_wait(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2, backoff={"base": "60 s", "jitter": 0})
    hour.advance(90 * SECOND)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(64 * SECOND)
    (again,) = tide.claim()
    hour.advance(8 * SECOND)
    tide.complete(run_id=again.run_id, lease_id=again.lease_id)
    counted(tide, hour)
    (row,) = tide.run_times()
    assert (close(row.wait_p50, 4 * SECOND), close(row.run_p50, 8 * SECOND)) == (True, True)


def test_runs_that_end_in_no_attempt_are_not_counted(tide: Tide, hour: Clock) -> None:
    waiting = tide.enqueue(workflow="report", delay="1 minute")
    tide.cancel(run_id=waiting.run_id)
    failing = tide.started(max_attempts=2)
    tide.fail(run_id=failing.run_id, lease_id=failing.lease_id)
    hour.advance(SECOND)
    tide.cancel(run_id=failing.run_id)
    counted(tide, hour)
    assert tide.run_times() == []
    cancelled = tide.started()
    tide.cancel(run_id=cancelled.run_id)
    counted(tide, hour)
    (row,) = tide.run_times()
    assert (row.runs, row.run_p50) == (1, None), "a cancelled run waited, but nobody let it end"


def test_lanes_have_times_of_their_own_over_all_queues(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="openai", settings={"total": 9})
    taken(tide, hour, SECOND, SECOND)
    for queue in ("a", "b"):
        taken(tide, hour, 4 * SECOND, SECOND, queue=queue, lane="openai")
    counted(tide, hour)
    (row,) = tide.run_times(per="lane")
    assert (row.name, row.runs, close(row.wait_p50, 4 * SECOND)) == ("openai", 2, True)
    assert [row.name for row in tide.run_times()] == ["a", "b", "default"]
    assert [row.name for row in tide.run_times(names=["b"])] == ["b"]


def test_counts_for_scrapers_never_shrink_while_hours_are_forgotten(
    tide: Tide, hour: Clock
) -> None:
    taken(tide, hour, 2 * SECOND, SECOND)
    counted(tide, hour)
    hour.advance(timedelta(hours=30))
    taken(tide, hour, 2 * SECOND, SECOND)
    counted(tide, hour)

    def waits() -> list[tuple[float, int]]:
        return [(r.up_to, r.runs) for r in tide.run_time_buckets() if r.measure == "wait"]

    before = waits()
    assert (before[0], before[-1]) == ((0.001, 0), (float("inf"), 2))
    assert [runs for _, runs in before] == sorted(runs for _, runs in before)
    hour.advance(timedelta(hours=20))
    counted(tide, hour)
    by_hour = "select count(*) from tide.time_bins where hour > '-infinity'"
    assert value(tide.connection, by_hour) == 2
    assert waits() == before
    assert {row.seconds for row in tide.run_time_buckets() if row.measure == "run"} == {2.0}
    hour.advance(timedelta(hours=60))
    counted(tide, hour)
    assert waits() == [], "a queue in which nothing ends any more begins again"


def test_the_longest_and_the_shortest_times_have_bins(tide: Tide, hour: Clock) -> None:
    taken(tide, hour, timedelta(days=4000), timedelta(0))
    taken(tide, hour, timedelta(0), timedelta(0))
    counted(tide, hour)
    (row,) = tide.run_times()
    assert row.runs == 2
    assert row.run_p99 <= timedelta(milliseconds=1)


def test_a_run_writes_nothing_of_its_times(tide: Tide, connection: Connection) -> None:
    touched = """
        select sum(
          pg_stat_get_xact_numscans(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid)
            + pg_stat_get_xact_tuples_updated(c.oid)
        )
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and c.relname like 'time\\_bins%'
        """
    with connection.transaction():
        before = value(connection, touched)
        tide.finished()
        assert value(connection, touched) == before
        tide.run_times()
        assert value(connection, touched) > before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"duration": "0"}, "duration"),
        ({"duration": "3 days"}, "duration"),
        ({"per": "key"}, "per is not known: 'key'"),
        ({"per": None}, "per is not known: null"),
    ],
)
def test_what_cannot_be_asked_is_named(tide: Tide, arguments: dict[str, Any], named: str) -> None:
    with refused("22023", named):
        tide.run_times(**arguments)
