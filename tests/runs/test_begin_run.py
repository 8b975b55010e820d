"""begin_run: one worker at a time leases a plain run by its id."""

from __future__ import annotations

from datetime import timedelta

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock


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
    first = tide.begun()
    hour.advance(MINUTE)
    second = tide.begin_run(run_id=first.run_id, worker="w2")
    assert (second.attempt, second.worker) == (2, "w2")
    assert second.lease_id != first.lease_id
    with refused("TD002", first.run_id):
        tide.complete(run_id=first.run_id, lease_id=first.lease_id)


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
