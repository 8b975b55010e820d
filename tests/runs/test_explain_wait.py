"""explain_wait: why a run is not running, each reason by its name."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, value

WAITS = ("review", "gate", "children", "timer", "event", "budget", "push", "lane", "after")
"""What a parked run may wait for."""


def reasons(tide: Tide, run_id: UUID) -> dict[str, Any]:
    told = tide.explain_wait(run_id=run_id)
    assert told["run_id"] == str(run_id)
    return {reason["reason"]: reason for reason in told["reasons"]}


def worker(tide: Tide, queue: str = "default", workflows: list[str] | None = None) -> None:
    """A worker that claims and finds nothing."""
    assert tide.claim(queues=[queue], worker="w1", workflows=workflows) == []


def test_run_that_may_be_claimed_now_has_no_reason(tide: Tide) -> None:
    worker(tide)
    assert reasons(tide, tide.enqueue(workflow="report").run_id) == {}


def test_running_and_finished_runs_have_no_reason(tide: Tide) -> None:
    run = tide.started()
    assert reasons(tide, run.run_id) == {}
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert reasons(tide, run.run_id) == {}


def test_pending_run_waits_to_be_begun(tide: Tide) -> None:
    assert set(reasons(tide, tide.create_run(workflow="report").run_id)) == {"begin_run"}


def test_delayed_run_is_not_due(tide: Tide) -> None:
    worker(tide)
    found = reasons(tide, tide.enqueue(workflow="report", delay="1 hour").run_id)
    assert set(found) == {"not_due"}
    assert "run_at" in found["not_due"]


def test_run_behind_others_says_how_many(tide: Tide) -> None:
    worker(tide)
    first = tide.enqueue(workflow="report").run_id
    tide.enqueue(workflow="report", priority=5)
    last = tide.enqueue(workflow="report").run_id
    tide.enqueue(workflow="report", priority=-1)
    tide.enqueue(workflow="report", queue="other")
    assert reasons(tide, last)["behind"]["runs"] == 2
    assert reasons(tide, first)["behind"]["runs"] == 1


def test_paused_queue_is_named(tide: Tide) -> None:
    worker(tide)
    tide.set_queue(queue="default", settings={"paused": True})
    assert set(reasons(tide, tide.enqueue(workflow="report").run_id)) == {"paused"}


def test_full_cap_names_the_runs_that_hold_it(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    worker(tide)
    holder = tide.started()
    found = reasons(tide, tide.enqueue(workflow="report").run_id)
    assert set(found) == {"cap"}
    assert found["cap"]["running"] == [str(holder.run_id)]
    tide.complete(run_id=holder.run_id, lease_id=holder.lease_id)
    assert reasons(tide, tide.list_runs(status="queued")[0].run_id) == {}


def test_used_up_rate_says_until_when(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"rate_limit": 1})
    worker(tide)
    tide.started()
    hour.advance(MINUTE / 2)
    waiting = tide.enqueue(workflow="report").run_id
    found = reasons(tide, waiting)
    assert set(found) == {"rate"}
    until = found["rate"]["until"].replace("+00:00", "")
    assert until.startswith((hour.now + MINUTE / 2).strftime("%Y-%m-%dT%H:%M:%S"))
    hour.advance(MINUTE / 2)
    assert "rate" not in reasons(tide, waiting)


def test_no_worker_for_the_queue_or_workflow(tide: Tide, hour: Clock) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    assert set(reasons(tide, run_id)) == {"no_worker"}
    worker(tide, queue="other")
    assert set(reasons(tide, run_id)) == {"no_worker"}
    worker(tide, workflows=["invoice"])
    assert set(reasons(tide, run_id)) == {"no_worker"}
    tide.claim(queues=["empty", "default"], worker="w2", max_runs=1)
    waiting = tide.enqueue(workflow="report").run_id
    assert set(reasons(tide, waiting)) == set()
    hour.advance(MINUTE)
    assert set(reasons(tide, waiting)) == {"no_worker"}


def test_a_version_that_nobody_serves_is_named_beside_those_served(tide: Tide) -> None:
    old, plain, other = (
        tide.enqueue(workflow=name).run_id for name in ("report@1", "report", "invoice")
    )
    worker(tide, workflows=["report@3", "report@2", "reports@1", "report@2"])
    assert tide.claim(queues=["elsewhere"], worker="w2", workflows=["report@1"]) == []
    for run_id in (old, plain):
        assert "no_worker" not in reasons(tide, run_id)
        assert reasons(tide, run_id)["other_version"]["served"] == ["report@2", "report@3"]
    assert "other_version" not in reasons(tide, other)
    assert "no_worker" in reasons(tide, other)


def test_parked_run_names_the_step_in_review(tide: Tide) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="send", contract={"replay": "manual"})
    tide.fail_step(**own, name="send")
    found = reasons(tide, run.run_id)
    assert set(found) == {"review"}
    assert found["review"]["steps"] == ["send"]


def test_expired_lease_names_the_silent_worker(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report")
    (run,) = tide.claim(worker="w1")
    hour.advance(2 * MINUTE)
    assert reasons(tide, run.run_id)["lease_expired"]["worker"] == "w1"


def test_several_reasons_are_told_together(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"paused": True})
    found = reasons(tide, tide.enqueue(workflow="report", delay="1 hour").run_id)
    assert set(found) == {"not_due", "paused", "no_worker"}


def test_each_parking_is_explained_when_the_row_it_waits_for_is_gone(
    tide: Tide, connection: Connection
) -> None:
    for waits in WAITS:
        run_id = value(
            connection,
            """
            insert into tide.runs_active (
              run_id, workflow, queue, status, last_seq, created_at, waiting_on, waiting_for
            )
            values (tide._uuid7(), 'report', 'default', 'queued', 1, now(), %s, gen_random_uuid())
            returning run_id
            """,
            waits,
        )
        for reason in tide.explain_wait(run_id=run_id)["reasons"]:
            assert (reason["reason"], bool(reason["detail"])) == (waits, True)


def test_the_runs_before_one_are_counted_to_ten_thousand(tide: Tide) -> None:
    worker(tide)
    urgent = tide.enqueue(workflow="report", priority=1).run_id
    first = tide.enqueue(workflow="report").run_id
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 10_000)
    last = tide.enqueue(workflow="report").run_id
    assert reasons(tide, urgent) == {}
    for run_id, runs, at_least in ((first, 1, False), (last, 10_000, True)):
        behind = reasons(tide, run_id)["behind"]
        assert (behind["runs"], behind["at_least"]) == (runs, at_least)
