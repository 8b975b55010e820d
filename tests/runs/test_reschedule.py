"""reschedule: a queued run moves in time and priority."""

from __future__ import annotations

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock


def test_queued_run_moves_to_a_later_time(tide: Tide, hour: Clock) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    moved = tide.reschedule(run_id=run_id, run_at=hour.now + MINUTE)
    assert (moved.run_at, moved.ready, moved.priority) == (hour.now + MINUTE, False, 0)
    assert tide.claim() == []
    hour.advance(MINUTE)
    assert len(tide.claim()) == 1


def test_delayed_run_moved_to_now_is_claimed_at_once(tide: Tide, hour: Clock) -> None:
    run_id = tide.enqueue(workflow="report", delay="1 day").run_id
    tide.reschedule(run_id=run_id, run_at=hour.now)
    assert [run.run_id for run in tide.claim()] == [run_id]


def test_priority_changes_the_order(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report")
    last = tide.enqueue(workflow="report").run_id
    tide.reschedule(run_id=last, run_at=hour.now, priority=1)
    assert [run.run_id for run in tide.claim()] == [last]


def test_reschedule_repeated_gives_the_same_answer(tide: Tide, hour: Clock) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    first = tide.reschedule(run_id=run_id, run_at=hour.now + MINUTE, priority=2)
    assert tide.reschedule(run_id=run_id, run_at=hour.now + MINUTE, priority=2) == first


def test_only_queued_runs_can_be_rescheduled(tide: Tide, hour: Clock) -> None:
    pending = tide.create_run(workflow="report")
    running = tide.started()
    done = tide.finished()
    for run in (pending, running, done):
        with refused("TD030", run.run_id):
            tide.reschedule(run_id=run.run_id, run_at=hour.now)


def test_parked_run_cannot_be_rescheduled(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="send", contract={"replay": "manual"})
    tide.fail_step(**own, name="send")
    with refused("TD030", run.run_id, "parked"):
        tide.reschedule(run_id=run.run_id, run_at=hour.now)


def test_unknown_run_cannot_be_rescheduled(tide: Tide, hour: Clock) -> None:
    with refused("TD010", NOBODY):
        tide.reschedule(run_id=NOBODY, run_at=hour.now)
