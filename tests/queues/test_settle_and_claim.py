"""settle_and_claim: outcomes in, new work out, in one transaction."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.runs.acts import NOBODY, Tide, contents, refused


def outcome(run: Any, **report: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id, **report}


def test_accepted_outcomes_give_no_row_and_new_runs_do(tide: Tide) -> None:
    done = tide.started()
    waiting = tide.enqueue(workflow="report", input={"n": 2}).run_id
    (row,) = tide.settle_and_claim(outcomes=[outcome(done, result=1)], worker="w1")
    assert (row.run_id, row.accepted, row.reason) == (waiting, None, None)
    assert (row.input, row.worker) == ({"n": 2}, "w1")
    assert tide.get_run(run_id=done.run_id).result == 1
    assert tide.heartbeat(run_ids=[waiting], lease_ids=[row.lease_id]) == [(waiting, "held")]


def test_refused_and_repeated_outcomes_are_told(tide: Tide) -> None:
    done, lost = tide.started(), tide.started()
    tide.complete(run_id=done.run_id, lease_id=done.lease_id)
    waiting = tide.enqueue(workflow="report").run_id
    rows = tide.settle_and_claim(
        outcomes=[outcome(done), outcome(lost._replace(lease_id=NOBODY), error={})]
    )
    assert {row.run_id: (row.accepted, row.reason) for row in rows} == {
        done.run_id: (True, "repeated"),
        lost.run_id: (False, "lost"),
        waiting: (None, None),
    }


def test_slot_just_freed_is_used_at_once(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    run = tide.started()
    tide.enqueue(workflow="report")
    (row,) = tide.settle_and_claim(outcomes=[outcome(run)], max_runs=5)
    assert row.slot == 1


def test_released_run_may_come_back_in_the_same_call(tide: Tide) -> None:
    run = tide.started()
    (row,) = tide.settle_and_claim(outcomes=[outcome(run, release=True)])
    assert row.run_id == run.run_id
    assert row.lease_id != run.lease_id


def test_max_runs_zero_settles_only(tide: Tide) -> None:
    run = tide.started()
    tide.enqueue(workflow="report")
    assert tide.settle_and_claim(outcomes=[outcome(run)], max_runs=0) == []
    assert tide.get_run(run_id=run.run_id).status == "completed"


def test_no_outcomes_claims_only(tide: Tide) -> None:
    tide.enqueue_many(queue="q", runs=[{"workflow": name} for name in ("a", "b", "c")])
    rows = tide.settle_and_claim(
        outcomes=[], queues=["q"], max_runs=9, workflows=["a", "c"], lease="1 hour"
    )
    assert [row.workflow for row in rows] == ["a", "c"]


def test_bad_claim_arguments_undo_the_outcomes(tide: Tide) -> None:
    run = tide.started()
    before = contents(tide.connection)
    for wrong in (
        {"lease": "25 hours"},
        {"max_runs": 1001},
        {"ahead": -1},
        {"queues": "{}"},
        {"worker": ""},
    ):
        with refused("22023", *wrong):
            tide.settle_and_claim(outcomes=[outcome(run)], **wrong)
        assert contents(tide.connection) == before


LIMITS = [{}, {"concurrency": 100}, {"rate_limit": 100}, {"lane": {"total": 100}}, {"lane": {}}]


@pytest.mark.parametrize("limits", LIMITS, ids=["plain", "capped", "rated", "lane", "plain lane"])
def test_only_where_nothing_limits_runs_more_are_claimed_than_there_are_slots(
    tide: Tide, limits: dict[str, Any]
) -> None:
    settings = dict(limits)
    lane = settings.pop("lane", None)
    run: dict[str, Any] = {"workflow": "report"}
    if lane is not None:
        tide.set_lane(lane="openai", settings=lane)
        run["lane"] = "openai"
    tide.set_queue(queue="default", settings=settings)
    tide.enqueue_many(queue="default", runs=[run] * 20)
    ask = partial(tide.settle_and_claim, outcomes=[])
    assert [len(ask(max_runs=4, ahead=3)), len(ask(max_runs=0, ahead=2))] == (
        [4, 0] if limits else [7, 2]
    )
    # Those behind were not touched.
    assert len(ask(max_runs=100)) == (16 if limits else 11)


def test_limits_of_one_queue_leave_what_is_claimed_ahead_to_the_others(tide: Tide) -> None:
    tide.set_queue(queue="capped", settings={"concurrency": 9})
    for queue in ("a", "capped", "z"):
        tide.enqueue_many(queue=queue, runs=[{"workflow": "report"}] * 3)

    def claimed(max_runs: int, ahead: int) -> list[str]:
        rows = tide.settle_and_claim(
            outcomes=[], queues=["a", "capped", "z"], max_runs=max_runs, ahead=ahead
        )
        return [row.queue for row in rows]

    assert claimed(1, 1) == ["a", "a"]
    assert claimed(2, 1) == ["a", "capped", "z"]
    assert claimed(0, 1) == ["z"]
    assert claimed(1, 5) == ["capped", "z"]
    assert claimed(5, 5) == ["capped"]
