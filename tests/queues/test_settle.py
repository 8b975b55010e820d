"""settle: outcomes of many runs, each judged alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock, open_connection


def outcome(run: Any, **report: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id, **report}


def claimed(tide: Tide, runs: int, **arguments: Any) -> list[Any]:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", **arguments}] * runs)
    found: list[Any] = tide.claim(max_runs=runs)
    return found


def test_result_error_and_release_are_told_apart(tide: Tide, hour: Clock) -> None:
    done, empty, failed, again, back = claimed(tide, 5, max_attempts=2)
    verdicts = tide.settle(
        outcomes=[
            outcome(done, result={"n": 1}),
            outcome(empty),
            outcome(failed, error={"m": 1}, retryable=False, failure_class="bad_input"),
            outcome(again, error={"m": 2}, retry_after="7 seconds"),
            outcome(back, release=True, delay="9 seconds"),
        ]
    )
    assert [(verdict.accepted, verdict.reason) for verdict in verdicts] == [(True, None)] * 5
    run = tide.get_run(run_id=done.run_id)
    assert (run.status, run.result) == ("completed", {"n": 1})
    assert tide.get_run(run_id=empty.run_id).status == "completed"
    run = tide.get_run(run_id=failed.run_id)
    assert (run.status, run.failure_class, run.error) == ("failed", "bad_input", {"m": 1})
    run = tide.get_run(run_id=again.run_id)
    assert (run.status, run.attempt, (run.run_at - hour.now).seconds) == ("queued", 1, 7)
    run = tide.get_run(run_id=back.run_id)
    assert (run.status, run.attempt, (run.run_at - hour.now).seconds) == ("queued", 0, 9)
    for run in (done, empty, failed, again, back):
        assert len(tide.log(run.run_id)) == 3


def test_verdicts_come_in_the_order_of_the_outcomes(tide: Tide) -> None:
    runs = claimed(tide, 5)[::-1]
    verdicts = tide.settle(outcomes=[outcome(run) for run in runs])
    assert [verdict.run_id for verdict in verdicts] == [run.run_id for run in runs]


def test_one_bad_outcome_does_not_spoil_the_rest(tide: Tide, hour: Clock) -> None:
    good, lost, cancelled, finished, large, deep = claimed(tide, 6, max_attempts=2)
    overdue = tide.started(deadline=MINUTE)
    hour.advance(MINUTE)
    tide.cancel(run_id=cancelled.run_id)
    tide.complete(run_id=finished.run_id, lease_id=finished.lease_id)
    nested: Any = 1
    for _ in range(101):
        nested = [nested]
    verdicts = tide.settle(
        outcomes=[
            outcome(large, result="x" * 1048576),
            outcome(deep, error=nested),
            outcome(lost._replace(lease_id=NOBODY)),
            outcome(cancelled),
            outcome(finished, error={}),
            outcome(good._replace(run_id=NOBODY)),
            outcome(overdue),
            outcome(good),
        ]
    )
    assert [(verdict.accepted, verdict.reason) for verdict in verdicts] == [
        (False, "payload_too_large"),
        (False, "bad_payload"),
        (False, "lost"),
        (False, "cancelled"),
        (False, "finished"),
        (False, "missing"),
        (False, "cancelled"),
        (True, None),
    ]
    assert tide.get_run(run_id=good.run_id).status == "completed"
    assert tide.get_run(run_id=large.run_id).status == "running"
    assert tide.get_run(run_id=overdue.run_id).cancel_reason == "deadline"


def test_a_completion_of_another_lease_does_not_spoil_the_rest(tide: Tide) -> None:
    lost, good = claimed(tide, 2)
    verdicts = tide.settle(outcomes=[outcome(lost._replace(lease_id=NOBODY)), outcome(good)])
    assert [(verdict.accepted, verdict.reason) for verdict in verdicts] == [
        (False, "lost"),
        (True, None),
    ]
    assert tide.get_run(run_id=lost.run_id).status == "running"
    assert tide.get_run(run_id=good.run_id).status == "completed"


def test_a_completion_counts_for_no_other_run_of_the_same_call(tide: Tide) -> None:
    one, two = claimed(tide, 2)
    swapped = [one._replace(lease_id=two.lease_id), two._replace(lease_id=one.lease_id)]
    verdicts = tide.settle(outcomes=[outcome(run) for run in swapped])
    assert [(verdict.accepted, verdict.reason) for verdict in verdicts] == [(False, "lost")] * 2
    assert {tide.get_run(run_id=run.run_id).status for run in swapped} == {"running"}


def test_a_completion_of_another_lease_locks_nothing(tide: Tide, dsn: str) -> None:
    run = claimed(tide, 1)[0]
    with tide.connection.transaction(), open_connection(dsn) as other:
        tide.settle(outcomes=[outcome(run._replace(lease_id=NOBODY))])
        row = other.execute("select from tide.runs_active for update skip locked").fetchone()
    assert row is not None


def test_a_completion_past_its_deadline_does_not_spoil_the_rest(tide: Tide, hour: Clock) -> None:
    overdue, good = tide.started(deadline=MINUTE), tide.started()
    hour.advance(MINUTE)
    verdicts = tide.settle(outcomes=[outcome(overdue), outcome(good)])
    assert [(verdict.accepted, verdict.reason) for verdict in verdicts] == [
        (False, "cancelled"),
        (True, None),
    ]
    assert tide.get_run(run_id=overdue.run_id).cancel_reason == "deadline"
    assert tide.get_run(run_id=good.run_id).status == "completed"


@pytest.mark.parametrize("report", [{"result": 1}, {"error": {}}, {"release": True}])
def test_settle_repeated_is_accepted_and_writes_nothing(tide: Tide, report: dict[str, Any]) -> None:
    runs = claimed(tide, 3, max_attempts=2)
    outcomes = [outcome(run, **report) for run in runs]
    tide.settle(outcomes=outcomes)
    before = contents(tide.connection)
    again = tide.settle(outcomes=outcomes)
    assert [(verdict.accepted, verdict.reason) for verdict in again] == [(True, "repeated")] * 3
    assert contents(tide.connection) == before


def test_another_report_than_the_first_is_no_repetition(tide: Tide) -> None:
    (run,) = claimed(tide, 1)
    tide.settle(outcomes=[outcome(run)])
    (verdict,) = tide.settle(outcomes=[outcome(run, error={})])
    assert (verdict.accepted, verdict.reason) == (False, "finished")


def test_settle_frees_slots(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 3})
    for report in ({}, {"error": {}}, {"release": True, "delay": "1 hour"}):
        runs = claimed(tide, 3, max_attempts=2)
        assert len(runs) == 3
        tide.settle(outcomes=[outcome(run, **report) for run in runs])


def test_plain_runs_can_be_settled(tide: Tide) -> None:
    run = tide.begun()
    (verdict,) = tide.settle(outcomes=[outcome(run, result=1)])
    assert (verdict.accepted, tide.get_run(run_id=run.run_id).result) == (True, 1)


def test_nothing_to_settle_is_no_error(tide: Tide) -> None:
    assert tide.settle(outcomes=[]) == []


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        ({"run_id": None}, "run_id"),
        ({"lease_id": None}, "lease_id"),
        ({"run_id": "seven"}, "run_id"),
        ({"lease_id": 7}, "lease_id"),
        ({"retryable": "yes", "error": {}}, "retryable"),
        ({"retryable": 1, "error": {}}, "retryable"),
        ({"failure_class": 5, "error": {}}, "failure_class"),
        ({"retry_after": 5, "error": {}}, "retry_after"),
        ({"release": "true"}, "release"),
        ({"release": True, "delay": "soon"}, "delay"),
        ({"results": 1}, "results"),
        ({"result": 1, "error": {}}, "result"),
        ({"result": 1, "release": True}, "result"),
        ({"release": True, "error": {}}, "release"),
        ({"delay": "5 seconds", "error": {}}, "delay"),
        ({"retry_after": "5 seconds"}, "retry_after"),
    ],
    ids=str,
)
def test_bad_outcome_is_refused_and_nothing_is_written(
    tide: Tide, wrong: dict[str, Any], argument: str
) -> None:
    run, other = claimed(tide, 2, max_attempts=3)
    before = contents(tide.connection)
    with refused("22023", argument):
        tide.settle(outcomes=[outcome(other), outcome(run) | wrong])
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    "report",
    [
        {"error": {}, "failure_class": "no good"},
        {"error": {}, "failure_class": ""},
        {"error": {}, "failure_class": "x" * 129},
        {"error": {}, "retry_after": "-1 second"},
        {"error": {}, "retry_after": "366 days"},
        {"release": True, "delay": "-1 second"},
        {"release": True, "delay": "366 days"},
    ],
    ids=str,
)
def test_outcome_that_cannot_be_stored_is_refused_alone(tide: Tide, report: dict[str, Any]) -> None:
    run, other = claimed(tide, 2, max_attempts=3)
    verdicts = tide.settle(outcomes=[outcome(run, **report), outcome(other)])
    assert [(verdict.accepted, verdict.reason) for verdict in verdicts] == [
        (False, "bad_outcome"),
        (True, None),
    ]
    assert tide.get_run(run_id=run.run_id).status == "running"


def test_run_named_twice_is_refused(tide: Tide) -> None:
    (run,) = claimed(tide, 1)
    with refused("22023", "outcomes", "twice"):
        tide.settle(outcomes=[outcome(run), outcome(run, error={})])
