"""A throttled lane: nothing of it is claimed before its time, and no attempt is used."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.lanes.census import in_step
from tests.lanes.test_lanes import fill, lane, queue_up, waiting
from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, value


def throttled(tide: Tide) -> tuple[datetime | None, str | None]:
    (row,) = tide.list_lanes()
    return row.throttled_until, row.throttle_reason


def test_a_throttled_lane_gives_nothing_before_its_time_and_then_all_in_order(
    tide: Tide, hour: Clock
) -> None:
    lane(tide)
    first = queue_up(tide, "acme", queue="a")
    second = queue_up(tide, "bolt", queue="b", priority=1)
    plain = tide.enqueue(workflow="report", queue="a").run_id
    tide.throttle(lane="openai", until=hour.now + MINUTE, reason="429")
    assert [run.run_id for run in tide.claim(queues=["a", "b"], max_runs=9)] == [plain]
    assert waiting(tide) == 2
    hour.advance(MINUTE - timedelta(seconds=1))
    tide.reconcile()
    assert tide.claim(queues=["a", "b"], max_runs=9) == []
    assert in_step(tide.connection)
    hour.advance(timedelta(seconds=1))
    tide.reconcile()
    claimed = tide.claim(queues=["b", "a"], max_runs=9)
    assert [(run.run_id, run.attempt) for run in claimed] == [(second, 1), (first, 1)]
    assert throttled(tide) == (None, None)
    assert in_step(tide.connection)


@pytest.mark.parametrize("until", [None, -MINUTE])
def test_a_throttle_is_lifted_at_once(tide: Tide, hour: Clock, until: timedelta | None) -> None:
    lane(tide, total=2)
    fill(tide, 3)
    tide.throttle(lane="openai", until=hour.now + MINUTE)
    assert tide.claim(max_runs=9) == []
    assert waiting(tide) == 3
    tide.throttle(lane="openai", until=None if until is None else hour.now + until)
    assert len(tide.claim(max_runs=9)) == 2
    assert in_step(tide.connection)


def test_runs_that_end_or_change_their_limits_wake_nobody_of_a_throttled_lane(
    tide: Tide, hour: Clock
) -> None:
    lane(tide, total=2, per_key=1)
    fill(tide, 4, "acme")
    fill(tide, 4, "bolt")
    runs = tide.claim(max_runs=9)
    assert len(runs) == 2
    tide.throttle(lane="openai", until=hour.now + MINUTE)
    before = waiting(tide)
    for run in runs:
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    lane(tide, total=4)
    tide.reconcile()
    assert waiting(tide) == before
    assert tide.claim(max_runs=9) == []
    assert tide.drop_lane(lane="openai") is True
    assert len(tide.claim(max_runs=9)) == 6
    assert in_step(tide.connection)


@pytest.mark.parametrize("report", ["release", "settle"])
def test_a_rate_limited_run_throttles_its_lane_and_keeps_its_attempt_and_place(
    tide: Tide, hour: Clock, report: str
) -> None:
    lane(tide)
    limited = queue_up(tide, "acme")
    queue_up(tide, "bolt")
    (run,) = tide.claim()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    if report == "release":
        tide.release(**own, delay="1 minute", throttle="429")
    else:
        own = {name: str(value) for name, value in own.items()}
        tide.settle(outcomes=[{**own, "release": True, "delay": "1 minute", "throttle": "429"}])
    assert throttled(tide) == (hour.now + MINUTE, "429")
    assert tide.claim(max_runs=9) == []
    hour.advance(MINUTE)
    tide.reconcile()
    claimed = tide.claim(max_runs=9)
    assert [run.attempt for run in claimed] == [1, 1]
    assert claimed[0].run_id == limited
    assert in_step(tide.connection)


def test_a_rate_limited_run_without_a_lane_waits_alone(tide: Tide, hour: Clock) -> None:
    lane(tide)
    tide.enqueue(workflow="report")
    (run,) = tide.claim()
    tide.release(run_id=run.run_id, lease_id=run.lease_id, delay="1 minute", throttle="429")
    queue_up(tide)
    assert [found.lane for found in tide.claim(max_runs=9)] == ["openai"]
    assert throttled(tide) == (None, None)
    hour.advance(MINUTE)
    assert [found.attempt for found in tide.claim(max_runs=9)] == [1]


def test_of_several_throttles_of_runs_the_longest_holds(tide: Tide, hour: Clock) -> None:
    lane(tide)
    fill(tide, 3)
    runs = tide.claim(max_runs=3)
    for run, delay in zip(runs, ("1 minute", "2 minutes", "1 second"), strict=True):
        tide.release(run_id=run.run_id, lease_id=run.lease_id, delay=delay, throttle=delay)
    assert throttled(tide) == (hour.now + 2 * MINUTE, "2 minutes")


def test_a_throttled_lane_is_not_looked_at_before_its_time(tide: Tide, hour: Clock) -> None:
    lane(tide, per_key=1)
    fill(tide, 2, "acme")
    tide.throttle(lane="openai", until=hour.now + MINUTE)
    tide.claim(max_runs=9)
    wakeup = "select tide.next_wakeup()"
    tide.connection.execute("update tide.ticks set next_at = '-infinity'")
    assert value(tide.connection, wakeup) == MINUTE
    tide.set_lane(lane="other", settings={"total": 1})
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "lane": "other"}] * 2)
    tide.claim(max_runs=9)
    tide.connection.execute("update tide.ticks set next_at = '-infinity'")
    assert value(tide.connection, wakeup) == timedelta(seconds=1)


def test_explain_wait_says_until_when_and_why(tide: Tide, hour: Clock) -> None:
    lane(tide, total=5)
    run_id = queue_up(tide, "acme")
    tide.throttle(lane="openai", until=hour.now + MINUTE, reason="429")
    for _ in range(2):
        reasons = tide.explain_wait(run_id=run_id)["reasons"]
        (reason,) = [one for one in reasons if one["reason"] not in ("no_worker", "behind")]
        assert (reason["reason"], reason["lane"], reason["why"]) == ("throttled", "openai", "429")
        assert datetime.fromisoformat(reason["until"]) == hour.now + MINUTE
        # Before a claim has found and parked it, and after.
        tide.claim()
    assert waiting(tide) == 1


def test_who_set_throttled_and_dropped_a_lane_is_remembered(tide: Tide, hour: Clock) -> None:
    until = hour.now + MINUTE
    tide.set_lane(lane="l", settings={"total": 2}, actor="ann")
    tide.set_lane(lane="l", settings={"total": 3}, actor="bea")
    tide.set_lane(lane="l", settings={"total": 3}, actor="bea")
    tide.throttle(lane="l", until=until, reason="429", actor="cay")
    tide.throttle(lane="l", actor="dan")
    tide.drop_lane(lane="l", actor="eve")
    changes = tide.list_setting_changes(kind="lane", name="l")
    assert [(change.actor, change.before, change.after) for change in reversed(changes)] == [
        ("ann", {}, {"lane": "l", "total": 2, "period": "00:01:00"}),
        ("bea", {"total": 2}, {"total": 3}),
        ("cay", {}, {"throttled_until": until.isoformat(), "throttle_reason": "429"}),
        ("dan", {"throttled_until": until.isoformat(), "throttle_reason": "429"}, {}),
        ("eve", {"lane": "l", "total": 3, "period": "00:01:00"}, {}),
    ]


@pytest.mark.parametrize(
    ("given", "sqlstate", "words"),
    [
        ({"lane": "opena1"}, "TD010", ["lane 'opena1' does not exist"]),
        ({"until": "infinity"}, "22023", ["until", "infinity"]),
        ({"until": "2999-01-01Z"}, "22023", ["until", "2999"]),
        ({"until": "2030-01-01Z", "reason": "x" * 4097}, "22023", ["reason", "4097"]),
    ],
)
def test_a_throttle_that_makes_no_sense_is_refused_and_nothing_written(
    tide: Tide, given: dict[str, Any], sqlstate: str, words: list[str]
) -> None:
    lane(tide)
    before = contents(tide.connection)
    with refused(sqlstate, *words):
        tide.throttle(**{"lane": "openai", **given})
    assert contents(tide.connection) == before


def test_a_throttle_in_a_report_that_makes_no_sense_is_refused(tide: Tide) -> None:
    lane(tide)
    queue_up(tide)
    (run,) = tide.claim()
    own = {"run_id": str(run.run_id), "lease_id": str(run.lease_id)}
    before = contents(tide.connection)
    for outcome in ({"throttle": "429"}, {"error": {}, "throttle": "429"}):
        with refused("22023", "two things"):
            tide.settle(outcomes=[{**own, **outcome}])
    with refused("22023", "outcomes.throttle"):
        tide.settle(outcomes=[{**own, "release": True, "throttle": 1}])
    (verdict,) = tide.settle(outcomes=[{**own, "release": True, "throttle": "x" * 4097}])
    assert verdict.reason == "bad_outcome"
    assert contents(tide.connection) == before
