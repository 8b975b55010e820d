"""What a worker knows of a run it holds: when its lease was renewed, and why it has stopped."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest

from tidebase_pg.driver import Driver
from tidebase_pg.errors import LeaseLost, RunCancelled, RunFinished, Stop
from tidebase_pg.types import Beat, LeasedRun
from tidebase_pg.worker.active_run import ActiveRun, judge
from tidebase_pg.worker.renewal import RenewalSchedule

LEASE = 60.0


def leased() -> LeasedRun:
    return LeasedRun(uuid4(), uuid4(), "w", 1, 1, "{}", "{}", fresh=True)


def held(since: float, lease: float = LEASE) -> ActiveRun:
    return ActiveRun(leased(), lease, since)


@pytest.mark.parametrize("state", ["held", "busy"])
def test_a_lease_counts_from_when_its_renewal_was_sent(state: str) -> None:
    run = held(0.0)
    run.judge(state, 10.0)
    assert run.renewed_at == 10.0
    run.judge(state, 5.0)  # an answer that was overtaken
    assert run.renewed_at == 10.0


def test_a_lease_that_was_not_renewed_for_its_length_is_given_up() -> None:
    run = held(0.0)
    told: list[Stop] = []
    run.on_stop = told.append
    run.fence(LEASE)
    assert run.stop is None
    run.fence(LEASE + 0.001)
    assert isinstance(run.stop, LeaseLost)
    assert told == [run.stop]


def test_a_run_whose_lease_may_have_ended_does_nothing_more() -> None:
    held(time.monotonic()).check()
    with pytest.raises(LeaseLost, match="could not be renewed for 60 s"):
        held(time.monotonic() - LEASE - 1).check()


def test_an_answer_about_an_earlier_lease_says_nothing_of_this_one() -> None:
    run = held(0.0)
    run.suspend()
    run.resume(leased(), 20.0)
    run.judge("lost", 19.0)
    assert run.stop is None
    run.judge("lost", 20.0)
    assert isinstance(run.stop, LeaseLost)


def test_what_a_renewal_does_not_answer_for_is_lost() -> None:
    one, other = held(0.0), held(0.0)
    judge([one, other], [Beat(one.run_id, "held")], 1.0)
    assert (one.stop, one.renewed_at) == (None, 1.0)
    assert isinstance(other.stop, LeaseLost)


@pytest.mark.parametrize(
    ("state", "stop"), [("cancelled", RunCancelled), ("finished", RunFinished)]
)
def test_why_a_run_stopped_first_stays(state: str, stop: type[Stop]) -> None:
    run = held(0.0)
    told: list[Stop] = []
    run.on_stop = told.append
    run.judge(state, 1.0)
    run.judge("lost", 2.0)
    run.fence(10 * LEASE)
    assert type(run.stop) is stop
    assert told == [run.stop]


def test_what_a_function_left_behind_does_nothing_more() -> None:
    run = held(time.monotonic())
    run.end()
    with pytest.raises(RunFinished, match="has ended"):
        run.check()


def test_a_lease_is_renewed_after_a_third_of_its_length() -> None:
    now = time.monotonic()
    run = held(now)
    schedule = RenewalSchedule([run])
    assert LEASE / 3 - 5 < schedule.pause(10 * LEASE) <= LEASE / 3
    assert list(schedule.to_renew(now + LEASE / 3 - 0.1)) == []
    assert list(schedule.to_renew(now + LEASE / 3)) == [(LEASE, [run])]


def test_runs_whose_renewal_is_due_soon_go_along() -> None:
    now = time.monotonic()
    first, soon, later = held(now), held(now + LEASE / 6), held(now + LEASE / 6 + 0.1)
    ((lease, turn),) = RenewalSchedule([first, soon, later]).to_renew(now + LEASE / 3)
    assert (lease, turn) == (LEASE, [first, soon])


def test_a_renewal_that_failed_is_repeated_soon() -> None:
    run = held(time.monotonic() - LEASE / 2)
    schedule = RenewalSchedule([run])
    assert schedule.pause(LEASE) == 0.0
    schedule.trouble(OSError("away"))
    assert 0.0 < schedule.pause(LEASE) <= 1.0
    assert run.stop is None


def test_who_first_looks_at_cancelled_after_the_stop_finds_it_set() -> None:
    run = held(time.monotonic())
    early, late = driver_of(run), driver_of(run)
    event = early.cancelled
    assert not event.is_set()
    run.on_stop = lambda _: early.stopped()
    run.interrupt(RunCancelled("cancelled"))
    late.stopped()
    assert event.is_set()
    assert early.cancelled is event
    assert late.cancelled.is_set()


def driver_of(run: ActiveRun) -> Driver:
    nothing: Any = None
    return Driver(run, nothing, nothing, nothing)


def test_a_report_names_run_and_lease_as_the_database_writes_them() -> None:
    for run in [leased() for _ in range(100)]:
        assert run.key == f'{{"run_id":"{run.run_id}","lease_id":"{run.lease_id}"'
