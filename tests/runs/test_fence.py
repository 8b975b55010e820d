"""The fence: who lost the lease can write nothing, and lease ids are told to nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock

WRITES: list[tuple[str, dict[str, Any]]] = [
    ("complete", {"result": {"n": 1}}),
    ("fail", {"error": {"n": 1}}),
    ("release", {}),
    ("begin_step", {"name": "plan"}),
    ("begin_step", {"name": "next"}),
    ("complete_step", {"name": "plan", "output": {"n": 1}}),
    ("fail_step", {"name": "plan"}),
]


def overslept(tide: Tide, clock: Clock) -> Any:
    """A run whose worker began a step, slept through its lease, and lost it."""
    run = tide.started(max_attempts=5)
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="plan")
    clock.advance(2 * MINUTE)
    assert tide.reconcile()["expired_leases"] == 1
    return run


def stands(tide: Tide, run: Any) -> None:
    """No write under the run's lease changes a row."""
    before = contents(tide.connection)
    for function, arguments in WRITES:
        with refused("TD002", run.run_id):
            tide.call(function, run_id=run.run_id, lease_id=run.lease_id, **arguments)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    for outcome in ({"result": 1}, {"error": {}}, {"release": True}):
        (verdict,) = tide.settle(outcomes=[own | outcome])
        assert (verdict.accepted, verdict.reason) == (False, "lost")
        (verdict,) = tide.settle_and_claim(outcomes=[own | outcome], max_runs=0)
        assert (verdict.accepted, verdict.reason, verdict.claimed) == (False, "lost", None)
    (row,) = tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id])
    assert row.state == "lost"
    assert contents(tide.connection) == before


def test_expired_lease_that_was_swept_can_write_nothing(tide: Tide, hour: Clock) -> None:
    stands(tide, overslept(tide, hour))


def test_expired_lease_that_was_claimed_by_another_can_write_nothing(
    tide: Tide, hour: Clock
) -> None:
    run = overslept(tide, hour)
    (second,) = tide.claim()
    stands(tide, run)
    assert tide.complete(run_id=run.run_id, lease_id=second.lease_id).status == "completed"


def test_foreign_lease_can_write_nothing(tide: Tide) -> None:
    run, other = tide.started(), tide.started()
    stands(tide, run._replace(lease_id=other.lease_id))
    stands(tide, run._replace(lease_id=NOBODY))


def test_null_lease_can_write_nothing(tide: Tide) -> None:
    for run in (tide.started(), tide.enqueue(workflow="report")):
        for function, arguments in WRITES:
            with refused("TD002", run.run_id):
                tide.call(function, run_id=run.run_id, lease_id=None, **arguments)


def test_expired_last_attempt_cannot_be_reported_as_failed(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    hour.advance(2 * MINUTE)
    tide.reconcile()
    for function in ("complete", "fail", "release"):
        with refused("TD003", run.run_id):
            tide.call(function, run_id=run.run_id, lease_id=run.lease_id)
    (verdict,) = tide.settle(
        outcomes=[{"run_id": run.run_id, "lease_id": run.lease_id, "error": {}}]
    )
    assert (verdict.accepted, verdict.reason) == (False, "finished")


def test_each_attempt_has_a_lease_id_of_its_own(tide: Tide) -> None:
    run = tide.started(max_attempts=10)
    seen = {run.lease_id}
    for _ in range(5):
        tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
        (run,) = tide.claim()
        seen.add(run.lease_id)
    assert len(seen) == 6


def test_lease_ids_are_told_by_claim_begin_run_and_settle_and_claim(tide: Tide) -> None:
    assert tide.started().lease_id is not None
    assert tide.begun().lease_id is not None
    tide.enqueue(workflow="report")
    (row,) = tide.settle_and_claim(outcomes=[])
    assert row.lease_id is not None


def test_lease_ids_are_told_by_nothing_else(tide: Tide) -> None:
    run = tide.started(max_attempts=9)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    answers = [
        tide.complete_step(**own, name="plan"),
        tide.get_run(run_id=run.run_id),
        *tide.list_runs(),
        tide.retry(run_id=run.run_id),
        tide.fail(**own, retry_after="0"),
        tide.get_run(run_id=run.run_id),
        tide.reschedule(run_id=run.run_id, run_at="2026-12-01"),
        tide.revoke_lease(run_id=run.run_id),
        tide.cancel(run_id=run.run_id),
        tide.retry(run_id=run.run_id),
    ]
    assert [answer.lease_id for answer in answers] == [None] * len(answers)
    (run,) = tide.claim()
    tide.begin_step(
        run_id=run.run_id, lease_id=run.lease_id, name="send", contract={"replay": "manual"}
    )
    tide.fail_step(run_id=run.run_id, lease_id=run.lease_id, name="send")
    assert tide.resolve_step(run_id=run.run_id, name="send", decision="retry").lease_id is None
    (run,) = tide.claim()
    assert tide.release(run_id=run.run_id, lease_id=run.lease_id).lease_id is None
    (run,) = tide.claim()
    assert tide.complete(run_id=run.run_id, lease_id=run.lease_id).lease_id is None


@pytest.mark.parametrize("end", ["complete", "fail", "release", "cancel"])
def test_description_events_and_reasons_hold_no_lease_id(tide: Tide, end: str) -> None:
    run = tide.started(max_attempts=2)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    tide.call(end, **({"run_id": run.run_id} if end == "cancel" else own))
    told = json.dumps(
        [
            tide.describe_run(run_id=run.run_id),
            tide.explain_wait(run_id=run.run_id),
            [event.payload for event in tide.list_events(run_id=run.run_id)],
        ]
    )
    assert str(run.lease_id) not in told
    assert "lease_id" not in told
