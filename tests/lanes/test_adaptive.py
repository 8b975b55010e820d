"""An adaptive lane: refusals halve how many may run at once, completed runs raise it again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.lanes.census import in_step
from tests.lanes.test_lanes import fill, queue_up, waiting
from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection, value

SECOND = timedelta(seconds=1)


def adaptive(tide: Tide, total: int | None = 8, **settings: Any) -> None:
    tide.set_lane(lane="openai", settings={"total": total, "adaptive": True, **settings})


def limit(tide: Tide) -> int | None:
    (row,) = tide.list_lanes()
    most: int | None = row.adaptive_limit
    return most


def refuse(tide: Tide, run: Any, delay: timedelta = timedelta(0)) -> None:
    tide.release(run_id=run.run_id, lease_id=run.lease_id, delay=delay, throttle="429")


def complete(tide: Tide, *runs: Any) -> None:
    for run in runs:
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)


def halved(tide: Tide, hour: Clock, total: int = 8, **settings: Any) -> None:
    """A lane at half of its total, with forty runs that are ready."""
    adaptive(tide, total, **settings)
    fill(tide, 40)
    (run,) = tide.claim()
    refuse(tide, run)
    hour.advance(SECOND)
    assert limit(tide) == total // 2


@pytest.mark.parametrize("report", ["release", "settle"])
def test_runs_refused_together_halve_the_limit_once(tide: Tide, hour: Clock, report: str) -> None:
    adaptive(tide)
    fill(tide, 20)
    runs = tide.claim(max_runs=20)
    assert (len(runs), limit(tide)) == (8, 8)
    hour.advance(SECOND)
    if report == "release":
        for run in runs:
            refuse(tide, run, MINUTE)
    else:
        tide.settle(
            outcomes=[
                {
                    "run_id": str(run.run_id),
                    "lease_id": str(run.lease_id),
                    "release": True,
                    "delay": "1 min",
                    "throttle": "429",
                }
                for run in runs
            ]
        )
    assert limit(tide) == 4
    assert tide.claim(max_runs=20) == []
    hour.advance(MINUTE)
    tide.reconcile()
    assert len(tide.claim(max_runs=20)) == 4
    assert in_step(tide.connection)


def test_a_run_claimed_before_the_limit_was_halved_does_not_halve_it_again(
    tide: Tide, hour: Clock
) -> None:
    adaptive(tide)
    fill(tide, 20)
    early = tide.claim(max_runs=8)
    hour.advance(SECOND)
    refuse(tide, early[0], SECOND)
    hour.advance(2 * SECOND)
    complete(tide, *early[2:])
    (late, *_) = tide.claim()
    hour.advance(SECOND)
    # The throttle of the first is over, and this one went out with it.
    refuse(tide, early[1], SECOND)
    assert limit(tide) == 5
    refuse(tide, late, SECOND)
    assert limit(tide) == 2


def test_the_limit_is_never_halved_below_its_least(tide: Tide, hour: Clock) -> None:
    adaptive(tide, adaptive_min=3)
    fill(tide, 20)
    for expected in (4, 3, 3):
        (run,) = tide.claim()
        hour.advance(SECOND)
        refuse(tide, run)
        hour.advance(SECOND)
        assert limit(tide) == expected
    adaptive(tide, adaptive_min=None)
    for expected in (1, 1):
        (run,) = tide.claim()
        hour.advance(SECOND)
        refuse(tide, run)
        hour.advance(SECOND)
        assert limit(tide) == expected


def test_as_many_completed_as_the_limit_is_raise_it_by_one_up_to_total(
    tide: Tide, hour: Clock
) -> None:
    halved(tide, hour)
    runs = tide.claim(max_runs=20)
    for most in (4, 5, 6, 7):
        assert len(runs) == most == limit(tide)
        complete(tide, *runs[1:])
        assert len(tide.claim(max_runs=20)) == most - 1, "one is missing from the round"
        complete(tide, runs[0])
        for run in tide.claim(max_runs=20):
            tide.release(run_id=run.run_id, lease_id=run.lease_id)
        tide.connection.execute(
            "select tide.release(r.run_id, r.lease_id) from tide.runs_active as r "
            "where r.status = 'running'"
        )
        runs = tide.claim(max_runs=20)
        assert in_step(tide.connection)
    assert (len(runs), limit(tide)) == (8, 8)
    assert value(tide.connection, "select adaptive_limit from tide.lanes") is None


@pytest.mark.parametrize("end", ["fail", "cancel", "release"])
def test_a_run_that_does_not_complete_raises_nothing(tide: Tide, hour: Clock, end: str) -> None:
    halved(tide, hour)
    for _ in range(2):
        for run in tide.claim(max_runs=4):
            lease = {"run_id": run.run_id, "lease_id": run.lease_id}
            if end == "fail":
                tide.fail(**lease, error={"type": "Broken"}, retryable=False)
            elif end == "cancel":
                tide.cancel(run_id=run.run_id)
            else:
                tide.release(**lease)
    assert (len(tide.claim(max_runs=9)), limit(tide)) == (4, 4)


def test_a_refusal_begins_the_round_again(tide: Tide, hour: Clock) -> None:
    halved(tide, hour)
    *done, last = tide.claim(max_runs=4)
    complete(tide, *done)
    hour.advance(SECOND)
    refuse(tide, last)
    assert limit(tide) == 2
    (first, _) = tide.claim(max_runs=9)
    complete(tide, first)
    assert (len(tide.claim(max_runs=9)), limit(tide)) == (1, 2)


def test_runs_beyond_the_limit_go_on_and_count_until_they_end(tide: Tide, hour: Clock) -> None:
    adaptive(tide)
    fill(tide, 20)
    refusing, *runs = tide.claim(max_runs=8)
    refuse(tide, refusing)
    assert limit(tide) == 4
    for run in runs[:3]:
        assert tide.claim(max_runs=9) == []
        tide.cancel(run_id=run.run_id)
    assert tide.claim(max_runs=9) == []
    tide.cancel(run_id=runs[3].run_id)
    assert len(tide.claim(max_runs=9)) == 1
    assert in_step(tide.connection)


def test_a_throttle_by_hand_and_its_lift_change_no_limit(tide: Tide, hour: Clock) -> None:
    halved(tide, hour)
    tide.throttle(lane="openai", until=hour.now + MINUTE, reason="maintenance")
    assert (limit(tide), tide.claim(max_runs=9)) == (4, [])
    tide.throttle(lane="openai")
    assert (limit(tide), len(tide.claim(max_runs=9))) == (4, 4)


def test_a_refusal_that_halves_the_limit_shortens_no_throttle(tide: Tide, hour: Clock) -> None:
    adaptive(tide)
    fill(tide, 8)
    (run,) = tide.claim()
    until = hour.now + 60 * MINUTE
    tide.throttle(lane="openai", until=until, reason="maintenance")
    refuse(tide, run, MINUTE)
    (row,) = tide.list_lanes()
    throttle = (row.throttled_until, row.throttle_reason)
    assert (row.adaptive_limit, throttle) == (4, (until, "maintenance"))


def test_total_binds_the_limit_at_any_time(tide: Tide, hour: Clock) -> None:
    halved(tide, hour)
    adaptive(tide, 3)
    assert (limit(tide), len(tide.claim(max_runs=9))) == (3, 3)
    adaptive(tide, 6)
    assert (limit(tide), len(tide.claim(max_runs=9))) == (6, 3)


def test_a_raised_total_is_reached_step_by_step_and_a_raised_least_at_once(
    tide: Tide, hour: Clock
) -> None:
    halved(tide, hour)
    adaptive(tide, 20)
    assert limit(tide) == 4
    complete(tide, *tide.claim(max_runs=9))
    assert (len(tide.claim(max_runs=9)), limit(tide)) == (4, 5)
    assert len(tide.claim(max_runs=9)) == 1, "the raise has woken it"
    adaptive(tide, 20, adaptive_min=7)
    assert (limit(tide), len(tide.claim(max_runs=9))) == (7, 2)
    adaptive(tide, 20, adaptive_min=20)
    assert (limit(tide), len(tide.claim(max_runs=20))) == (20, 13)


def test_a_lane_is_adaptive_or_not_at_any_time(tide: Tide, hour: Clock) -> None:
    halved(tide, hour)
    assert len(tide.claim(max_runs=9)) == 4
    tide.set_lane(lane="openai", settings={"adaptive": None})
    assert (limit(tide), len(tide.claim(max_runs=9))) == (None, 4)
    refuse(tide, tide.claim(max_runs=9)[0] if waiting(tide) == 0 else running(tide))
    assert limit(tide) is None
    hour.advance(SECOND)
    tide.set_lane(lane="openai", settings={"adaptive": True})
    assert limit(tide) == 8
    refuse(tide, running(tide))
    assert (limit(tide), tide.claim(max_runs=9)) == (4, [])
    assert in_step(tide.connection)


def running(tide: Tide) -> Any:
    return tide.connection.execute(
        "select r.* from tide.runs_active as r where r.status = 'running' limit 1"
    ).fetchone()


def test_a_lane_made_again_begins_at_total(tide: Tide, hour: Clock) -> None:
    halved(tide, hour)
    complete(tide, *tide.claim(max_runs=3))
    tide.drop_lane(lane="openai")
    adaptive(tide)
    assert limit(tide) == 8
    (run,) = tide.claim()
    refuse(tide, run)
    (run,) = tide.claim()
    complete(tide, run)
    tide.claim()
    assert limit(tide) == 4, "completed runs of the former lane count for nothing"


def test_a_claim_that_rolls_back_raises_nothing(tide: Tide, hour: Clock, connect: Any) -> None:
    halved(tide, hour)
    complete(tide, *tide.claim(max_runs=4))
    other = connect()
    other.execute("begin")
    assert len(other.execute("select tide.claim('{default}', 9)").fetchall()) == 5
    other.execute("rollback")
    assert limit(tide) == 4
    assert (len(tide.claim(max_runs=9)), limit(tide)) == (5, 5)


def test_neither_claims_nor_ends_wait_for_the_row_of_the_lane(
    tide: Tide, hour: Clock, connect: Any
) -> None:
    halved(tide, hour)
    runs = tide.claim(max_runs=4)
    other = connect()
    other.execute("begin")
    other.execute("select from tide.lanes for update")
    tide.connection.execute("set lock_timeout = '1 s'")
    complete(tide, *runs)
    assert len(tide.claim(max_runs=9)) == 4, "the step is left to the next"
    other.execute("rollback")
    tide.reconcile()
    assert (len(tide.claim(max_runs=9)), limit(tide)) == (1, 5)


def test_a_limit_holds_beside_keys_and_turns(tide: Tide, hour: Clock) -> None:
    adaptive(tide, 6, per_key=2, fair=True)
    for key in ("acme", "bolt", "core"):
        fill(tide, 6, key)
    runs = tide.claim(max_runs=9)
    assert len(runs) == 6
    refuse(tide, runs[0])
    complete(tide, *runs[1:])
    hour.advance(SECOND)
    claimed = [run.lane_key for run in tide.claim(max_runs=9)]
    assert len(claimed) == limit(tide) == 4
    assert max(claimed.count(key) for key in claimed) <= 2
    assert in_step(tide.connection)


def test_explain_wait_lists_and_metrics_tell_the_limit(tide: Tide, hour: Clock) -> None:
    halved(tide, hour)
    last = queue_up(tide, priority=-1)
    assert len(tide.claim(max_runs=9)) == 4
    while tide.claim(max_runs=9):
        pass
    (reason,) = [
        reason for reason in tide.explain_wait(run_id=last)["reasons"] if reason["reason"] == "lane"
    ]
    assert (reason["most"], reason["total"], reason["running"]) == (4, 8, 4)
    assert "lowered" in reason["detail"]
    (row,) = tide.list_lanes()
    assert (row.adaptive, row.adaptive_min, row.adaptive_limit, row.total) == (True, None, 4, 8)
    assert value(tide.connection, "select adaptive_limit from tide.lane_stats") == 4
    assert (
        value(
            tide.connection,
            "select m.value from tide.metrics as m where m.metric = 'tide_lane_adaptive_limit'",
        )
        == 4
    )


def test_changes_of_settings_are_remembered_and_steps_of_the_limit_are_not(
    tide: Tide, hour: Clock
) -> None:
    halved(tide, hour)
    complete(tide, *tide.claim(max_runs=4))
    tide.claim(max_runs=9)
    assert limit(tide) == 5
    (made,) = [change for change in tide.list_setting_changes() if change.kind == "lane"]
    assert made.after.keys() >= {"adaptive", "total"}
    assert not made.after.keys() & {"adaptive_limit", "adaptive_round", "cut_at"}


def test_a_lane_that_is_not_lowered_reads_and_writes_what_any_lane_does(
    tide: Tide, hour: Clock
) -> None:
    touched = """
        select
          array_agg(
            array[
              pg_stat_get_xact_numscans(c.oid), pg_stat_get_xact_tuples_inserted(c.oid),
              pg_stat_get_xact_tuples_updated(c.oid), pg_stat_get_xact_tuples_deleted(c.oid)
            ]
            order by c.relname
          )
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and c.relname like any ('{lanes%,lane\\_%}')
        """

    def touches(**settings: Any) -> Any:
        tide.set_lane(lane="openai", settings=settings)
        tide.connection.execute("update tide.ticks set next_at = 'infinity'")
        with tide.connection.transaction():
            before = value(tide.connection, touched)
            done, refusing, *others = tide.claim(max_runs=5)
            complete(tide, done)
            after = value(tide.connection, touched)
            for run in (refusing, *others):
                tide.release(run_id=run.run_id, lease_id=run.lease_id)
        return [
            [b - a for a, b in zip(one, two, strict=True)]
            for one, two in zip(before, after, strict=True)
        ]

    tide.set_lane(lane="openai", settings={"total": 5})
    fill(tide, 40)
    touches(total=5)
    assert touches(total=5) == touches(total=5, adaptive=True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"adaptive": True}, ["adaptive", "total"]),
        ({"adaptive": True, "total": None}, ["adaptive", "total"]),
        ({"adaptive": True, "total": 5, "adaptive_min": 6}, ["adaptive_min", "6 > 5"]),
        ({"total": 5, "adaptive_min": 0}, ["adaptive_min", "0"]),
        ({"total": 5, "adaptive_min": -1}, ["adaptive_min", "-1"]),
        ({"total": 5, "adaptive_min": 1.5}, ["adaptive_min", "1.5"]),
        ({"total": 5, "adaptive_min": "two"}, ["adaptive_min", "two"]),
        ({"total": 5, "adaptive_min": 2001}, ["adaptive_min", "2001"]),
        ({"total": 5, "adaptive_min": "NaN"}, ["adaptive_min", "NaN"]),
        ('{"total": 5, "adaptive_min": 1e400}', ["adaptive_min"]),
        ({"total": 5, "adaptive": "yes"}, ["adaptive", "yes"]),
        ({"total": 5, "adaptive": 1}, ["adaptive", "1"]),
    ],
)
def test_an_adaptive_limit_that_makes_no_sense_is_refused_and_nothing_written(
    tide: Tide, given: Any, words: list[str]
) -> None:
    before = contents(tide.connection)
    with refused("22023", *words):
        tide.set_lane(lane="openai", settings=given)
    assert contents(tide.connection) == before


@pytest.mark.parametrize("given", [{"total": 1}, {"total": None}, {"adaptive_min": 9}])
def test_a_change_that_no_longer_fits_is_refused_and_nothing_written(
    tide: Tide, connection: Connection, given: dict[str, Any]
) -> None:
    adaptive(tide, adaptive_min=2)
    before = contents(connection)
    with refused("22023", "adaptive"):
        tide.set_lane(lane="openai", settings=given)
    assert contents(connection) == before
