"""release: a run is handed back as if its attempt had not been."""

from __future__ import annotations

from datetime import timedelta

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock


def test_released_attempt_is_not_counted(tide: Tide) -> None:
    run = tide.started(max_attempts=1)
    again = tide.release(run_id=run.run_id, lease_id=run.lease_id)
    assert (again.status, again.attempt, again.ready, again.leased_until) == (
        "queued",
        0,
        True,
        None,
    )
    assert [claimed.attempt for claimed in tide.claim()] == [1]


def test_released_run_keeps_its_place(tide: Tide, hour: Clock) -> None:
    first = tide.started()
    hour.advance(MINUTE / 2)
    tide.enqueue(workflow="report")
    tide.release(run_id=first.run_id, lease_id=first.lease_id)
    assert [run.run_id for run in tide.claim()] == [first.run_id]


def test_released_run_waits_for_its_delay(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    again = tide.release(run_id=run.run_id, lease_id=run.lease_id, delay="5 seconds")
    assert (again.run_at, again.ready) == (hour.now + timedelta(seconds=5), False)
    assert tide.claim() == []
    hour.advance(timedelta(seconds=5))
    assert len(tide.claim()) == 1


def test_released_plain_run_is_pending(tide: Tide) -> None:
    run = tide.begun()
    again = tide.release(run_id=run.run_id, lease_id=run.lease_id)
    assert (again.status, again.attempt) == ("pending", 0)


def test_release_is_logged_as_a_requeue(tide: Tide) -> None:
    run = tide.started()
    tide.release(run_id=run.run_id, lease_id=run.lease_id)
    event = tide.last_event(run.run_id)
    assert (event.type, event.payload["reason"]) == ("run.requeued", "released")


def test_release_repeated_gives_the_same_answer_and_no_event(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    first = tide.release(run_id=run.run_id, lease_id=run.lease_id, delay=MINUTE)
    hour.advance(MINUTE / 2)
    again = tide.release(run_id=run.run_id, lease_id=run.lease_id, delay=MINUTE)
    assert again == first
    assert tide.log(run.run_id).count("run.requeued") == 1


def test_released_run_cannot_be_completed_or_failed_by_its_old_lease(tide: Tide) -> None:
    run = tide.started()
    tide.release(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD002", run.run_id):
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD002", run.run_id):
        tide.fail(run_id=run.run_id, lease_id=run.lease_id)
