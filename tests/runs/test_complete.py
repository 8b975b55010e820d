"""complete: a leased run ends well, once."""

from __future__ import annotations

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock, value


def test_completed_run_keeps_its_result_and_leaves_the_active_runs(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    done = tide.complete(run_id=run.run_id, lease_id=run.lease_id, result={"pages": 3})
    assert (done.status, done.result, done.finished_at) == ("completed", {"pages": 3}, hour.now)
    assert (done.leased_until, done.lease_id, done.slot, done.ready) == (None, None, None, False)
    assert value(tide.connection, "select count(*) from tide.runs_active") == 0
    assert tide.log(run.run_id) == ["run.enqueued", "run.claimed", "run.completed"]
    assert tide.last_event(run.run_id).payload == {"attempt": 1}


def test_complete_repeated_gives_the_same_answer_and_no_event(tide: Tide) -> None:
    run = tide.started()
    first = tide.complete(run_id=run.run_id, lease_id=run.lease_id, result={"n": 1})
    again = tide.complete(run_id=run.run_id, lease_id=run.lease_id, result={"n": 2})
    assert again == first
    assert tide.log(run.run_id).count("run.completed") == 1


def test_completed_run_is_finished_for_any_other_lease(tide: Tide) -> None:
    run = tide.finished()
    with refused("TD003", run.run_id):
        tide.complete(run_id=run.run_id, lease_id=NOBODY)


def test_completed_run_cannot_be_failed_or_released_by_its_own_lease(tide: Tide) -> None:
    run = tide.started()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD003", run.run_id):
        tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD003", run.run_id):
        tide.release(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.get_run(run_id=run.run_id).status == "completed"


def test_overdue_run_cannot_be_completed(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE)
    hour.advance(MINUTE)
    with refused("TD001", run.run_id, "deadline"):
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.reconcile()["overdue"] == 1
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.status, ended.cancel_reason) == ("cancelled", "deadline")


def test_complete_clears_the_error_of_an_earlier_attempt(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"message": "no"}, retry_after="0")
    (run,) = tide.claim()
    done = tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert (done.status, done.error, done.attempt) == ("completed", None, 2)


def test_result_may_be_any_json(tide: Tide) -> None:
    for text in ("null", "3", '"text"', "[1, [2]]", "false"):
        run = tide.started()
        tide.complete(run_id=run.run_id, lease_id=run.lease_id, result=text)
        stored = value(tide.connection, "select result::text from tide.get_run(%s)", run.run_id)
        assert stored == text


def test_unknown_run_cannot_be_completed(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.complete(run_id=NOBODY, lease_id=NOBODY)
