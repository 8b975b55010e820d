"""queue_stats: the numbers of each queue, live and of the last hour and day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, one, value


def stats(tide: Tide, queue: str = "default") -> Any:
    return one(tide.connection, "select * from tide.queue_stats where queue = %s", queue)


def ended(tide: Tide) -> list[int]:
    row = stats(tide)
    return [
        getattr(row, f"{status}_{span}")
        for span in ("hour", "day")
        for status in ("completed", "failed", "cancelled")
    ]


def end_one_of_each(tide: Tide) -> None:
    tide.finished()
    run = tide.started()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    tide.cancel(run_id=tide.enqueue(workflow="report").run_id)


def catch_up(tide: Tide, clock: Clock) -> None:
    """Upkeep until the minute in which the last run ended is settled, and counted."""
    for _ in range(5):
        tide.reconcile()
        clock.advance(MINUTE)


def test_live_runs_are_counted_by_state(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="send", contract={"replay": "manual"})
    tide.fail_step(**own, name="send")
    tide.started()
    tide.enqueue(workflow="report", delay="1 hour")
    tide.enqueue(workflow="report")
    hour.advance(MINUTE)
    tide.enqueue(workflow="report")
    row = stats(tide)
    assert (row.queued, row.ready, row.delayed, row.parked, row.running) == (4, 2, 1, 1, 1)
    assert row.oldest_ready_age == MINUTE
    assert (row.paused, row.concurrency, row.rate_limit, row.rate_left) == (False, None, None, None)


def test_plain_runs_belong_to_no_queue(tide: Tide) -> None:
    tide.create_run(workflow="report")
    assert value(tide.connection, "select count(*) from tide.queue_stats") == 0


def test_queue_without_runs_is_listed_with_its_settings(tide: Tide) -> None:
    tide.set_queue(queue="q", settings={"concurrency": 2, "rate_limit": 3, "paused": True})
    row = stats(tide, "q")
    assert (row.paused, row.concurrency, row.slots_busy) == (True, 2, 0)
    assert (row.rate_limit, row.rate_left, row.rate_period) == (3, 3, MINUTE)
    assert (row.queued, row.running, row.oldest_ready_age) == (0, 0, None)


def test_busy_slots_and_rate_left_are_told(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 5, "rate_limit": 3})
    tide.started()
    run = tide.started()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    row = stats(tide)
    assert (row.slots_busy, row.rate_left) == (1, 1)
    hour.advance(MINUTE)
    assert stats(tide).rate_left == 3


def test_what_ended_is_counted_at_once(tide: Tide, hour: Clock) -> None:
    end_one_of_each(tide)
    assert ended(tide) == [1, 1, 1, 1, 1, 1]


def test_counted_minutes_give_the_same_numbers(tide: Tide, hour: Clock) -> None:
    end_one_of_each(tide)
    hour.advance(MINUTE)
    tide.finished()
    catch_up(tide, hour)
    assert value(tide.connection, "select count(*) from tide.queue_minutes") == 2
    assert ended(tide) == [2, 1, 1, 2, 1, 1]
    tide.finished()
    assert ended(tide) == [3, 1, 1, 3, 1, 1]


def test_hour_and_day_pass(tide: Tide, hour: Clock) -> None:
    end_one_of_each(tide)
    hour.advance(timedelta(minutes=61))
    assert ended(tide) == [0, 0, 0, 1, 1, 1]
    catch_up(tide, hour)
    assert ended(tide) == [0, 0, 0, 1, 1, 1]
    hour.advance(timedelta(hours=23))
    assert ended(tide) == [0, 0, 0, 0, 0, 0]


def test_counts_are_by_queue(tide: Tide, hour: Clock) -> None:
    tide.finished(queue="a")
    tide.finished(queue="b")
    tide.finished(queue="b")
    catch_up(tide, hour)
    assert (stats(tide, "a").completed_hour, stats(tide, "b").completed_hour) == (1, 2)


def test_retried_run_is_still_counted_once_it_was(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    catch_up(tide, hour)
    tide.retry(run_id=run.run_id)
    assert stats(tide).failed_hour == 1


def test_upkeep_twice_counts_nothing_twice(tide: Tide, hour: Clock) -> None:
    end_one_of_each(tide)
    for _ in range(3):
        catch_up(tide, hour)
    assert ended(tide) == [1, 1, 1, 1, 1, 1]


def test_minutes_are_forgotten_after_two_days(tide: Tide, hour: Clock) -> None:
    end_one_of_each(tide)
    catch_up(tide, hour)
    hour.advance(timedelta(days=2))
    catch_up(tide, hour)
    assert value(tide.connection, "select count(*) from tide.queue_minutes") == 0
