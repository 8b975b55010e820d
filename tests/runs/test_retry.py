"""retry: an operator lets a failed or cancelled run go on from its checkpoints."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock


def failed(tide: Tide, **arguments: Any) -> Any:
    run = tide.started(**arguments)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"n": 1}, retryable=False)
    return run


def test_failed_run_is_queued_again(tide: Tide, hour: Clock) -> None:
    run = failed(tide, dedupe_key="k", priority=3, metadata={"team": 1})
    again = tide.retry(run_id=run.run_id, actor="ops")
    assert (again.status, again.attempt, again.ready, again.run_at) == ("queued", 0, True, hour.now)
    assert (again.dedupe_key, again.priority, again.metadata) == ("k", 3, {"team": 1})
    assert (again.finished_at, again.failure_class, again.lease_id) == (None, None, None)
    assert tide.log(run.run_id)[-1] == "run.retried"
    payload = tide.last_event(run.run_id).payload
    assert (payload["actor"], payload["from"]) == ("ops", "failed")
    assert [claimed.run_id for claimed in tide.claim()] == [run.run_id]


def test_cancelled_plain_run_is_pending_again(tide: Tide) -> None:
    run = tide.create_run(workflow="report")
    tide.cancel(run_id=run.run_id, reason="slip")
    again = tide.retry(run_id=run.run_id)
    assert (again.status, again.cancel_reason, again.ended_by) == ("pending", None, None)
    assert tide.begin_run(run_id=run.run_id).attempt == 1


def test_checkpoints_are_kept(tide: Tide) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    tide.complete_step(**own, name="plan", output={"parts": 3})
    tide.fail(**own)
    tide.retry(run_id=run.run_id)
    (run,) = tide.claim()
    step = tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="plan")
    assert (step.action, step.output) == ("replay", {"parts": 3})


def test_old_lease_of_a_retried_run_can_write_nothing(tide: Tide) -> None:
    run = failed(tide)
    tide.retry(run_id=run.run_id)
    with refused("TD002", run.run_id):
        tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD002", run.run_id):
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)


def test_attempts_may_be_kept_and_one_more_is_allowed(tide: Tide) -> None:
    run = failed(tide)
    again = tide.retry(run_id=run.run_id, reset_attempts=False)
    assert (again.attempt, again.max_attempts) == (1, 2)
    (run,) = tide.claim()
    assert run.attempt == 2


def test_retry_at_a_later_time_waits(tide: Tide, hour: Clock) -> None:
    run = failed(tide)
    tide.retry(run_id=run.run_id, run_at=hour.now + MINUTE)
    assert tide.claim() == []
    hour.advance(MINUTE)
    assert len(tide.claim()) == 1


def test_retry_of_an_active_run_changes_nothing(tide: Tide) -> None:
    run = failed(tide)
    first = tide.retry(run_id=run.run_id)
    assert tide.retry(run_id=run.run_id) == first
    assert tide.log(run.run_id).count("run.retried") == 1
    (claimed,) = tide.claim()
    assert tide.retry(run_id=run.run_id).status == "running"
    assert tide.complete(run_id=run.run_id, lease_id=claimed.lease_id).status == "completed"


def test_completed_run_cannot_be_retried(tide: Tide) -> None:
    run = tide.finished()
    with refused("TD030", run.run_id):
        tide.retry(run_id=run.run_id)
    assert tide.get_run(run_id=run.run_id) == run


def test_retry_is_refused_while_its_dedupe_key_is_taken(tide: Tide) -> None:
    run = failed(tide, dedupe_key="k")
    other = tide.enqueue(workflow="report", dedupe_key="k").run_id
    with refused("TD023", run.run_id, "'k'"):
        tide.retry(run_id=run.run_id)
    assert tide.get_run(run_id=run.run_id).status == "failed"
    assert tide.log(run.run_id)[-1] == "run.failed"
    tide.cancel(run_id=other)
    assert tide.retry(run_id=run.run_id).status == "queued"


def test_overdue_run_gets_the_time_it_had_at_first(tide: Tide, hour: Clock) -> None:
    run = tide.create_run(workflow="report", deadline="1 hour")
    for _ in range(3):
        hour.advance(timedelta(hours=2))
        tide.cancel(run_id=run.run_id)
        again = tide.retry(run_id=run.run_id)
        assert again.deadline_at == hour.now + timedelta(hours=1)


def test_unknown_run_cannot_be_retried(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.retry(run_id=NOBODY)
