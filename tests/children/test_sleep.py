"""sleep: a run waits for a time without a worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, value


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def test_sleeping_run_is_parked_until_its_time(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    run = tide.started()
    answer = tide.sleep(**own(run), name="nap", duration="10 minutes")
    due_at = hour.now + 10 * MINUTE
    assert answer == (True, due_at)
    waiting = tide.get_run(run_id=run.run_id)
    assert (waiting.status, waiting.waiting_on, waiting.waiting_for) == ("queued", "timer", "nap")
    assert (waiting.attempt, waiting.slot, waiting.run_at) == (0, None, None)
    hour.set(due_at - timedelta(microseconds=1))
    assert tide.reconcile()["due_waits"] == 0
    hour.set(due_at)
    assert tide.reconcile()["due_waits"] == 1
    (again,) = tide.claim()
    assert (again.run_id, again.attempt) == (run.run_id, 1)
    assert tide.sleep(**own(again), name="nap", duration="10 minutes") == (False, due_at)
    assert tide.log(run.run_id)[-3:] == ["run.parked", "run.resumed", "run.claimed"]


def test_tick_of_a_claim_wakes_sleepers(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    tide.sleep(**own(run), name="nap", duration="10 minutes")
    assert tide.claim() == []
    hour.advance(10 * MINUTE)
    assert [run.run_id for run in tide.claim()] == [run.run_id]


def test_time_counts_from_the_first_call(tide: Tide, hour: Clock) -> None:
    run = tide.begun()
    first = tide.sleep(**own(run), name="nap", duration="10 minutes")
    hour.advance(4 * MINUTE)
    run = tide.begin_run(run_id=run.run_id)
    assert tide.sleep(**own(run), name="nap", duration="10 minutes") == first
    hour.advance(6 * MINUTE)
    run = tide.begin_run(run_id=run.run_id)
    assert tide.sleep(**own(run), name="nap", duration="1 hour") == (False, first.due_at)


def test_sleep_that_is_over_replays_for_ever(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    assert tide.sleep(**own(run), name="nap", duration="0").parked is False
    tide.fail(**own(run), retry_after="0")
    (run,) = tide.claim()
    assert tide.sleep(**own(run), name="nap", duration="1 day").parked is False


def test_sleeps_with_other_names_are_sleeps_of_their_own(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    for number in range(3):
        assert tide.sleep(**own(run), name=f"nap {number}", duration="1 minute").parked
        hour.advance(MINUTE)
        (run,) = tide.claim()
    assert (run.attempt, run.max_attempts) == (1, 1)


def test_many_sleepers_are_woken_by_one_upkeep(tide: Tide, hour: Clock) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 30)
    for run in tide.claim(max_runs=30):
        tide.sleep(**own(run), name="nap", duration="1 minute")
    hour.advance(MINUTE)
    assert tide.reconcile(batch=10)["due_waits"] == 30
    assert len(tide.claim(max_runs=100)) == 30


def test_sleeper_can_be_cancelled_and_its_sleep_is_forgotten(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    tide.sleep(**own(run), name="nap", duration="1 minute")
    tide.cancel(run_id=run.run_id)
    hour.advance(MINUTE)
    assert tide.reconcile()["due_waits"] == 1
    assert tide.reconcile()["due_waits"] == 0
    assert tide.log(run.run_id)[-1] == "run.cancelled"


def test_retried_sleeper_sleeps_what_is_left(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    first = tide.sleep(**own(run), name="nap", duration="1 hour")
    tide.cancel(run_id=run.run_id)
    hour.advance(10 * MINUTE)
    tide.retry(run_id=run.run_id)
    (run,) = tide.claim()
    assert tide.sleep(**own(run), name="nap", duration="1 hour") == first


def test_deadline_holds_while_asleep(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=10 * MINUTE)
    tide.sleep(**own(run), name="nap", duration="1 day")
    hour.advance(10 * MINUTE)
    assert tide.reconcile()["overdue"] == 1
    assert tide.get_run(run_id=run.run_id).cancel_reason == "deadline"


def test_overdue_run_does_not_fall_asleep(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE)
    hour.advance(MINUTE)
    before = contents(tide.connection)
    with refused("TD001", "deadline"):
        tide.sleep(**own(run), name="nap", duration="1 minute")
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    ("word", "arguments"),
    [
        ("name", {"name": None}),
        ("name", {"name": ""}),
        ("name", {"name": "a\x7fb"}),
        ("name", {"name": "x" * 257}),
        ("duration", {"duration": None}),
        ("duration", {"duration": "-1 second"}),
        ("duration", {"duration": "11 years"}),
    ],
)
def test_bad_argument_is_named_and_nothing_changes(
    tide: Tide, word: str, arguments: dict[str, Any]
) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", word):
        tide.sleep(**own(run), **{"name": "nap", "duration": "1 minute"} | arguments)
    assert contents(tide.connection) == before


def test_explain_wait_names_the_time(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    tide.sleep(**own(run), name="nap", duration="1 hour")
    (reason,) = tide.explain_wait(run_id=run.run_id)["reasons"]
    assert (reason["reason"], reason["name"]) == ("timer", "nap")
    assert value(tide.connection, "select %s::timestamptz", reason["due_at"]) == (
        hour.now + timedelta(hours=1)
    )
    (told,) = tide.describe_run(run_id=run.run_id)["waits"]
    assert (told["kind"], told["name"], told["status"]) == ("timer", "nap", "pending")
