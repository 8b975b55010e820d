"""concurrency: never more than N runs of a queue at once, and always N when N are ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, at_once, results, value


def cap(tide: Tide, concurrency: int | None) -> None:
    tide.set_queue(queue="default", settings={"concurrency": concurrency})


def fill(tide: Tide, runs: int, **arguments: Any) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", **arguments}] * runs)


def running(tide: Tide) -> int:
    return int(
        value(tide.connection, "select count(*) from tide.runs_active where status = 'running'")
    )


def in_step(tide: Tide) -> bool:
    """Whether slots and running runs say the same."""
    return bool(
        value(
            tide.connection,
            """
            select not exists (
              (
                select s.queue, s.slot, s.run_id from tide.slots as s where s.run_id is not null
                except
                select r.queue, r.slot, r.run_id from tide.runs_active as r
              )
              union all (
                select r.queue, r.slot, r.run_id from tide.runs_active as r where r.slot is not null
                except
                select s.queue, s.slot, s.run_id from tide.slots as s
              )
            )
            """,
        )
    )


def test_batch_stops_at_the_cap(tide: Tide) -> None:
    cap(tide, 3)
    fill(tide, 5)
    claimed = tide.claim(max_runs=5)
    assert sorted(run.slot for run in claimed) == [1, 2, 3]
    assert tide.claim(max_runs=5) == []
    assert in_step(tide)


@pytest.mark.parametrize(
    "end", ["complete", "fail", "retry later", "release", "cancel", "cancel_many", "settle", "park"]
)
def test_every_end_of_an_attempt_frees_its_slot(tide: Tide, end: str) -> None:
    cap(tide, 1)
    run = tide.started(max_attempts=1 if end == "fail" else 3)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    waiting = tide.enqueue(workflow="report", priority=1).run_id
    assert tide.claim() == []
    if end == "retry later":
        tide.fail(**own)
    elif end == "cancel":
        tide.cancel(run_id=run.run_id)
    elif end == "cancel_many":
        tide.connection.execute("update tide.runs set metadata = '{\"a\": 1}' where priority = 0")
        assert tide.cancel_many(metadata={"a": 1}) == 1
    elif end == "settle":
        tide.settle(outcomes=[own])
    elif end == "park":
        tide.begin_step(**own, name="send", contract={"replay": "manual"})
        tide.fail_step(**own, name="send")
    else:
        tide.call(end, **own)
    assert [claimed.run_id for claimed in tide.claim()] == [waiting]
    assert in_step(tide)


def test_expired_run_frees_its_slot_when_swept(tide: Tide, hour: Clock) -> None:
    cap(tide, 1)
    run = tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    (again,) = tide.claim()
    assert (again.run_id, again.attempt) == (run.run_id, 2)
    assert (running(tide), in_step(tide)) == (1, True)


def test_overdue_run_frees_its_slot_when_swept(tide: Tide, hour: Clock) -> None:
    cap(tide, 1)
    tide.started(deadline=MINUTE)
    hour.advance(MINUTE)
    fill(tide, 1)
    assert len(tide.claim()) == 1
    assert (running(tide), in_step(tide)) == (1, True)


def test_retried_run_counts_again(tide: Tide) -> None:
    cap(tide, 1)
    run = tide.started()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    tide.retry(run_id=run.run_id)
    fill(tide, 1)
    assert len(tide.claim(max_runs=2)) == 1


def test_raised_cap_lets_more_run_at_once(tide: Tide) -> None:
    cap(tide, 1)
    fill(tide, 5)
    assert len(tide.claim(max_runs=5)) == 1
    cap(tide, 3)
    assert len(tide.claim(max_runs=5)) == 2
    assert (running(tide), in_step(tide)) == (3, True)


def test_cap_set_while_runs_run_counts_them(tide: Tide) -> None:
    fill(tide, 5)
    first = tide.claim(max_runs=2)
    cap(tide, 3)
    assert len(tide.claim(max_runs=5)) == 1
    assert in_step(tide)
    for run in first:
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert len(tide.claim(max_runs=5)) == 2
    assert running(tide) == 3


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("capped_before", [True, False])
def test_lowered_cap_starts_nothing_until_enough_have_ended(
    tide: Tide, order: str, capped_before: bool
) -> None:
    if capped_before:
        cap(tide, 4)
    fill(tide, 9)
    held = tide.claim(max_runs=4)
    assert len(held) == 4
    cap(tide, 2)
    for left in (3, 2):
        run = held.pop(0 if order == "oldest" else -1)
        assert tide.claim() == []
        (waiting, *_) = tide.list_runs(status="queued")
        told = tide.explain_wait(run_id=waiting.run_id)["reasons"]
        assert "cap" in [reason["reason"] for reason in told]
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
        assert running(tide) == left
    assert tide.claim() == []
    run = held.pop()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert len(tide.claim(max_runs=5)) == 1
    assert running(tide) == 2


def test_claimers_at_once_never_pass_a_lowered_cap(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    cap(tide, 6)
    fill(tide, 40)
    held = tide.claim(max_runs=6)
    cap(tide, 3)
    claimers = [Tide(connect()) for _ in range(6)]
    for run in held:
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
        left = running(tide)
        results(at_once([lambda c=claimer: c.claim(max_runs=3) for claimer in claimers]))
        assert running(tide) <= max(left, 3)


def test_a_claim_beside_another_takes_no_slot_above_a_lowered_cap(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    cap(tide, 6)
    fill(tide, 8)
    held = {run.slot: run for run in tide.claim(max_runs=6)}
    cap(tide, 3)
    for slot in (1, 2, 5, 6):
        tide.complete(run_id=held[slot].run_id, lease_id=held[slot].lease_id)
    other = Tide(connect(autocommit=False))
    assert [run.slot for run in other.claim(max_runs=2)] == [1]
    assert tide.claim(max_runs=2) == []
    other.connection.commit()
    assert running(tide) == 3


def test_drained_queue_is_claimed_side_by_side_again(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    cap(tide, 3)
    fill(tide, 9)
    held = tide.claim(max_runs=3)
    cap(tide, 2)
    tide.settle(outcomes=[{"run_id": run.run_id, "lease_id": run.lease_id} for run in held])
    other = Tide(connect(autocommit=False))
    assert len(other.claim()) == 1
    assert len(tide.claim()) == 1
    other.connection.commit()
    assert running(tide) == 2


def test_cleared_cap_lets_everything_run(tide: Tide) -> None:
    cap(tide, 1)
    fill(tide, 5)
    (run,) = tide.claim(max_runs=5)
    cap(tide, None)
    assert len(tide.claim(max_runs=5)) == 4
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert value(tide.connection, "select count(run_id) from tide.slots") == 0


def test_cap_cleared_and_set_again_still_counts_what_runs(tide: Tide) -> None:
    cap(tide, 2)
    fill(tide, 6)
    tide.claim(max_runs=2)
    cap(tide, None)
    tide.claim(max_runs=1)
    cap(tide, 4)
    assert len(tide.claim(max_runs=6)) == 1
    assert (running(tide), in_step(tide)) == (4, True)


def test_claimers_at_once_never_pass_the_cap(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    cap(tide, 5)
    fill(tide, 40)
    claimers = [Tide(connect()) for _ in range(8)]
    for _ in range(3):
        taken = results(at_once([lambda c=claimer: c.claim(max_runs=3) for claimer in claimers]))
        assert running(tide) <= 5
        for runs in taken:
            tide.settle(outcomes=[{"run_id": r.run_id, "lease_id": r.lease_id} for r in runs])
        assert in_step(tide)


def test_rolled_back_claim_leaves_the_slot_to_others(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    cap(tide, 1)
    fill(tide, 2)
    other = Tide(connect(autocommit=False))
    assert len(other.claim()) == 1
    assert tide.claim() == []
    other.connection.rollback()
    assert len(tide.claim()) == 1


def test_leaked_slot_is_healed(tide: Tide) -> None:
    cap(tide, 2)
    held = tide.started()
    tide.connection.execute("update tide.slots set run_id = gen_random_uuid() where slot = 2")
    fill(tide, 1)
    assert tide.claim() == []
    assert tide.reconcile()["leaked_slots"] == 1
    assert len(tide.claim()) == 1
    assert tide.get_run(run_id=held.run_id).slot == 1
    assert in_step(tide)


def test_caps_of_queues_are_their_own(tide: Tide) -> None:
    cap(tide, 1)
    fill(tide, 2)
    tide.enqueue_many(queue="other", runs=[{"workflow": "report"}] * 3)
    claimed = tide.claim(queues=["default", "other"], max_runs=9)
    assert [run.queue for run in claimed] == ["default", "other", "other", "other"]
