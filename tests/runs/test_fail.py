"""fail: another attempt after its backoff while any is left, else the run has failed."""

from __future__ import annotations

from datetime import timedelta

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock

SECOND = timedelta(seconds=1)


def test_failed_attempt_waits_its_backoff_and_is_claimed_again(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"backoff_jitter": 0})
    run = tide.started(max_attempts=2)
    again = tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"message": "no"})
    assert (again.status, again.attempt, again.ready) == ("queued", 1, False)
    assert (again.error, again.finished_at, again.leased_until) == ({"message": "no"}, None, None)
    assert again.run_at == hour.now + 5 * SECOND
    assert tide.claim() == []
    hour.advance(5 * SECOND)
    (second,) = tide.claim()
    assert (second.run_id, second.attempt) == (run.run_id, 2)


def test_requeue_is_logged_with_reason_and_time(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"n": 1}, retry_after="7 seconds")
    assert tide.log(run.run_id) == ["run.enqueued", "run.claimed", "run.requeued"]
    payload = tide.last_event(run.run_id).payload
    assert (payload["reason"], payload["attempt"], payload["max_attempts"]) == ("failed", 1, 3)
    assert payload["error"] == {"n": 1}


def test_retry_after_beats_the_backoff(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    again = tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="1 hour")
    assert again.run_at == hour.now + timedelta(hours=1)


def test_retry_after_zero_is_claimable_at_once(tide: Tide) -> None:
    run = tide.started(max_attempts=2)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    assert [again.run_id for again in tide.claim()] == [run.run_id]


def test_last_attempt_fails_with_max_retries(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    (run,) = tide.claim()
    ended = tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"message": "again"})
    assert (ended.status, ended.failure_class) == ("failed", "max_retries")
    assert (ended.error, ended.finished_at) == ({"message": "again"}, hour.now)
    payload = tide.last_event(run.run_id).payload
    assert tide.last_event(run.run_id).type == "run.failed"
    assert payload == {
        "attempt": 2,
        "failure_class": "max_retries",
        "error": {"message": "again"},
    }


def test_only_attempt_fails_with_error(tide: Tide) -> None:
    run = tide.started()
    ended = tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    assert (ended.status, ended.failure_class, ended.error) == ("failed", "error", {})


def test_error_that_is_not_retryable_ends_the_run_with_attempts_left(tide: Tide) -> None:
    run = tide.started(max_attempts=5)
    ended = tide.fail(run_id=run.run_id, lease_id=run.lease_id, retryable=False)
    assert (ended.status, ended.failure_class, ended.attempt) == ("failed", "error", 1)


def test_given_failure_class_wins(tide: Tide) -> None:
    run = tide.started(max_attempts=5)
    ended = tide.fail(
        run_id=run.run_id, lease_id=run.lease_id, retryable=False, failure_class="bad_input"
    )
    assert ended.failure_class == "bad_input"


def test_plain_run_goes_back_to_pending(tide: Tide) -> None:
    run = tide.begun(max_attempts=2)
    again = tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    assert (again.status, again.queue, again.ready) == ("pending", None, False)
    assert tide.begin_run(run_id=run.run_id).attempt == 2


def test_fail_repeated_while_requeued_gives_the_same_answer(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    first = tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(SECOND)
    assert tide.fail(run_id=run.run_id, lease_id=run.lease_id) == first
    assert tide.log(run.run_id).count("run.requeued") == 1


def test_fail_repeated_after_the_end_gives_the_same_answer(tide: Tide) -> None:
    run = tide.started()
    first = tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.fail(run_id=run.run_id, lease_id=run.lease_id) == first
    assert tide.log(run.run_id).count("run.failed") == 1


def test_fail_repeated_after_the_next_claim_is_lost(tide: Tide) -> None:
    run = tide.started(max_attempts=3)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    (second,) = tide.claim()
    with refused("TD002", run.run_id):
        tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    assert tide.get_run(run_id=run.run_id).attempt == 2
    assert tide.heartbeat(run_ids=[run.run_id], lease_ids=[second.lease_id])[0].state == "held"


def test_failed_run_is_finished_for_any_other_lease(tide: Tide) -> None:
    run = tide.started()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD003", run.run_id):
        tide.fail(run_id=run.run_id, lease_id=NOBODY)
    with refused("TD003", run.run_id):
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)


def test_attempts_that_expired_and_failed_are_counted_together(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    (run,) = tide.claim()
    ended = tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    assert (ended.status, ended.failure_class) == ("failed", "max_retries")
