"""resolve_step: an operator decides what became of a step in review."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import NOBODY, Tide, contents, refused
from tests.support import Clock


@pytest.fixture
def parked(tide: Tide) -> Any:
    """A run parked for review of its step send."""
    return park(tide, tide.started())


def park(tide: Tide, run: Any) -> Any:
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="send", input={"n": 1}, contract={"replay": "manual"})
    tide.fail_step(**own, name="send", error={"n": 1})
    return run


def claimed(tide: Tide) -> dict[str, Any]:
    (run,) = tide.claim()
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def test_retry_executes_the_step_again(tide: Tide, hour: Clock, parked: Any) -> None:
    step = tide.resolve_step(run_id=parked.run_id, name="send", decision="retry", actor="ops")
    assert (step.status, step.decided_by, step.lease_id) == ("failed_retryable", "ops", None)
    run = tide.get_run(run_id=parked.run_id)
    assert (run.status, run.waiting_on, run.attempt, run.ready) == ("queued", None, 0, True)
    assert run.run_at == hour.now
    assert tide.log(run.run_id)[-1] == "run.resumed"
    assert tide.last_event(run.run_id).payload == {
        "waited_on": "review",
        "step": "send",
        "decision": "retry",
        "actor": "ops",
    }
    own = claimed(tide)
    again = tide.begin_step(**own, name="send", input={"n": 1})
    assert (again.action, again.attempt) == ("execute", 2)


def test_use_output_replays_the_given_output(tide: Tide, parked: Any) -> None:
    step = tide.resolve_step(
        run_id=parked.run_id, name="send", decision="use_output", output={"id": 7}
    )
    assert (step.status, step.output) == ("completed", {"id": 7})
    again = tide.begin_step(**claimed(tide), name="send", input={"n": 1})
    assert (again.action, again.output) == ("replay", {"id": 7})


def test_fail_ends_the_run(tide: Tide, parked: Any) -> None:
    step = tide.resolve_step(run_id=parked.run_id, name="send", decision="fail", actor="ops")
    assert step.status == "failed"
    run = tide.get_run(run_id=parked.run_id)
    assert (run.status, run.failure_class) == ("failed", "review_rejected")
    assert (run.error["step"], run.error["error"]) == ("send", {"n": 1})
    assert tide.log(run.run_id)[-1] == "run.failed"


def test_report_of_the_attempt_before_the_review_is_no_repetition_of_its_end(
    tide: Tide, parked: Any
) -> None:
    tide.resolve_step(run_id=parked.run_id, name="send", decision="fail")
    own = {"run_id": parked.run_id, "lease_id": parked.lease_id}
    with refused("TD003", parked.run_id):
        tide.fail(**own)
    (verdict,) = tide.settle(outcomes=[own | {"error": {}, "retryable": False}])
    assert (verdict.accepted, verdict.reason) == (False, "finished")


def test_no_attempt_is_burnt_by_any_number_of_reviews(tide: Tide) -> None:
    park(tide, tide.started(max_attempts=1))
    for _ in range(3):
        (run,) = tide.list_runs()
        tide.resolve_step(run_id=run.run_id, name="send", decision="retry")
        (run,) = tide.claim()
        assert run.attempt == 1
        park(tide, run)
    assert tide.list_runs()[0].status == "queued"


def test_plain_run_is_pending_again(tide: Tide) -> None:
    run = park(tide, tide.begun())
    tide.resolve_step(run_id=run.run_id, name="send", decision="retry")
    again = tide.get_run(run_id=run.run_id)
    assert (again.status, again.waiting_on) == ("pending", None)
    own = tide.begin_run(run_id=run.run_id)
    step = tide.begin_step(run_id=own.run_id, lease_id=own.lease_id, name="send", input={"n": 1})
    assert step.action == "execute"


@pytest.mark.parametrize("decision", ["retry", "use_output"])
def test_second_decision_is_refused(tide: Tide, parked: Any, decision: str) -> None:
    tide.resolve_step(run_id=parked.run_id, name="send", decision=decision, output=1)
    before = contents(tide.connection)
    for second in ("retry", "use_output", "fail"):
        with refused("TD030", parked.run_id, "'send'"):
            tide.resolve_step(run_id=parked.run_id, name="send", decision=second)
    assert contents(tide.connection) == before


def test_step_that_is_not_in_review_is_refused(tide: Tide) -> None:
    run = tide.started()
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="plan")
    with refused("TD030", run.run_id, "'plan'", "running"):
        tide.resolve_step(run_id=run.run_id, name="plan", decision="retry")


def test_finished_runs_are_refused(tide: Tide, parked: Any) -> None:
    tide.cancel(run_id=parked.run_id)
    with refused("TD001", parked.run_id):
        tide.resolve_step(run_id=parked.run_id, name="send", decision="retry")
    done = tide.finished()
    with refused("TD003", done.run_id):
        tide.resolve_step(run_id=done.run_id, name="send", decision="retry")


def test_unknown_run_and_step_are_not_found(tide: Tide, parked: Any) -> None:
    with refused("TD010", NOBODY):
        tide.resolve_step(run_id=NOBODY, name="send", decision="retry")
    with refused("TD010", "'other'"):
        tide.resolve_step(run_id=parked.run_id, name="other", decision="retry")


@pytest.mark.parametrize("decision", [None, "", "maybe", "RETRY", "use output"])
def test_unknown_decision_is_refused(tide: Tide, parked: Any, decision: str | None) -> None:
    with refused("22023", "decision"):
        tide.resolve_step(run_id=parked.run_id, name="send", decision=decision)
