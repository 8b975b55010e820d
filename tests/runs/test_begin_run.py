"""begin_run: one worker at a time leases a plain run by its id."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock, at_once


def test_begun_run_is_leased_and_logged(tide: Tide, hour: Clock) -> None:
    made = tide.create_run(workflow="report")
    run = tide.begin_run(run_id=made.run_id, worker="w1", lease="90 seconds")
    assert (run.status, run.attempt, run.worker) == ("running", 1, "w1")
    assert run.started_at == hour.now
    assert run.leased_until == hour.now + timedelta(seconds=90)
    assert run.lease_id is not None
    assert tide.log(run.run_id) == ["run.created", "run.started"]
    assert tide.last_event(run.run_id).payload == {"attempt": 1, "worker": "w1"}


def test_leased_run_is_refused_naming_its_holder(tide: Tide) -> None:
    run = tide.create_run(workflow="report")
    tide.begin_run(run_id=run.run_id, worker="w1")
    with refused("TD004", run.run_id, "w1"):
        tide.begin_run(run_id=run.run_id, worker="w2")


def test_expired_plain_run_goes_to_the_next_who_begins_it(tide: Tide, hour: Clock) -> None:
    first = tide.begun(max_attempts=2)
    hour.advance(MINUTE)
    second = tide.begin_run(run_id=first.run_id, worker="w2")
    assert (second.attempt, second.worker) == (2, "w2")
    assert second.lease_id != first.lease_id
    with refused("TD002", first.run_id):
        tide.complete(run_id=first.run_id, lease_id=first.lease_id)


def test_attempts_of_a_plain_run_whose_worker_dies_are_bounded(tide: Tide, hour: Clock) -> None:
    run = tide.begun(max_attempts=2)
    hour.advance(MINUTE)
    assert tide.begin_run(run_id=run.run_id).attempt == 2
    hour.advance(MINUTE)
    ended = tide.begin_run(run_id=run.run_id)
    assert (ended.status, ended.failure_class, ended.attempt) == ("failed", "max_retries", 2)
    assert tide.log(run.run_id)[-1] == "run.failed"
    with refused("TD003", run.run_id):
        tide.begin_run(run_id=run.run_id)


def test_completed_run_is_returned_without_a_lease(tide: Tide) -> None:
    run = tide.begun()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id, result=[1, 2])
    before = tide.log(run.run_id)
    again = tide.begin_run(run_id=run.run_id)
    assert (again.status, again.result, again.lease_id) == ("completed", [1, 2], None)
    assert tide.log(run.run_id) == before


def test_cancelled_run_cannot_be_begun(tide: Tide) -> None:
    run = tide.create_run(workflow="report")
    tide.cancel(run_id=run.run_id)
    with refused("TD001", run.run_id):
        tide.begin_run(run_id=run.run_id)


def test_failed_run_cannot_be_begun(tide: Tide) -> None:
    run = tide.begun()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD003", run.run_id):
        tide.begin_run(run_id=run.run_id)


def test_queued_run_is_left_to_its_queue(tide: Tide) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    with refused("TD030", run_id):
        tide.begin_run(run_id=run_id)


def test_expired_run_of_a_queue_is_left_to_its_queue(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    hour.advance(2 * MINUTE)
    with refused("TD004", run.run_id):
        tide.begin_run(run_id=run.run_id)


def test_overdue_run_is_cancelled_there_and_then(tide: Tide, hour: Clock) -> None:
    run = tide.create_run(workflow="report", deadline=MINUTE)
    hour.advance(MINUTE)
    late = tide.begin_run(run_id=run.run_id)
    assert (late.status, late.cancel_reason, late.lease_id) == ("cancelled", "deadline", None)
    assert tide.log(run.run_id) == ["run.created", "run.cancelled"]


def test_unknown_run_cannot_be_begun(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.begin_run(run_id=NOBODY)


def test_a_failed_plain_run_is_resumed_where_it_is_asked_for(tide: Tide) -> None:
    run = tide.begun()
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**held, name="write")
    tide.complete_step(**held, name="write", output=1)
    tide.fail(**held, error={"message": "no"})
    again = tide.begin_run(run_id=run.run_id, worker="w2", resume=True)
    assert (again.status, again.attempt, again.worker) == ("running", 2, "w2")
    assert again.lease_id not in (None, run.lease_id)
    replayed = tide.begin_step(run_id=run.run_id, lease_id=again.lease_id, name="write")
    assert (replayed.action, replayed.output) == ("replay", 1)
    assert tide.log(run.run_id)[-2:] == ["run.retried", "run.started"]
    (retried,) = [e for e in tide.list_events(run_id=run.run_id) if e.type == "run.retried"]
    assert (retried.payload["from"], retried.payload["actor"]) == ("failed", "w2")


def test_a_resumed_run_has_the_attempts_it_had(tide: Tide) -> None:
    """A loop of failures and resumes is counted, and bounded by what a run may have."""
    run = tide.begun(max_attempts=1)
    for attempt in (2, 3):
        tide.fail(run_id=run.run_id, lease_id=run.lease_id, retryable=False)
        run = tide.begin_run(run_id=run.run_id, resume=True)
        assert run.attempt == attempt


@pytest.mark.parametrize("ended", ["completed", "cancelled", "queue"])
def test_nothing_else_that_ended_is_resumed(tide: Tide, ended: str) -> None:
    if ended == "queue":
        run = tide.started()
        tide.fail(run_id=run.run_id, lease_id=run.lease_id, retryable=False)
        with refused("TD003"):
            tide.begin_run(run_id=run.run_id, resume=True)
        return
    run = tide.begun()
    if ended == "completed":
        tide.complete(run_id=run.run_id, lease_id=run.lease_id, result=1)
        assert tide.begin_run(run_id=run.run_id, resume=True).lease_id is None
    else:
        tide.cancel(run_id=run.run_id)
        with refused("TD001"):
            tide.begin_run(run_id=run.run_id, resume=True)


def test_of_two_that_resume_a_run_one_has_it(tide: Tide, connect: Callable[[], Any]) -> None:
    run = tide.begun()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    callers = [partial(Tide(connect()).begin_run, run_id=run.run_id, resume=True) for _ in "abcd"]
    outcomes = at_once(callers)
    assert sum(outcome.error is None for outcome in outcomes) == 1
    assert {getattr(o.error, "sqlstate", None) for o in outcomes if o.error} == {"TD004"}
    assert tide.log(run.run_id).count("run.retried") == 1
