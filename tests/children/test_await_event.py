"""send_event and await_event: the first event of a name counts, early or late."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def test_run_is_parked_until_the_event_comes(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    run = tide.started()
    assert tide.await_event(**own(run), name="paid") == (True, False, None)
    waiting = tide.get_run(run_id=run.run_id)
    assert (waiting.status, waiting.waiting_on, waiting.waiting_for) == ("queued", "event", "paid")
    assert (waiting.attempt, waiting.slot, waiting.run_at) == (0, None, None)
    assert tide.send_event(run_id=run.run_id, name="paid", payload={"eur": 7})
    assert tide.log(run.run_id)[-2:] == ["run.parked", "run.resumed"]
    (again,) = tide.claim()
    assert (again.run_id, again.attempt) == (run.run_id, 1)
    for _ in range(2):
        assert tide.await_event(**own(again), name="paid") == (False, True, {"eur": 7})


def test_early_event_is_kept(tide: Tide) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    assert tide.send_event(run_id=run_id, name="paid", payload=[1])
    (run,) = tide.claim()
    assert tide.await_event(**own(run), name="paid") == (False, True, [1])
    assert "run.parked" not in tide.log(run_id)


def test_events_of_one_name_are_heard_once_each_and_in_order(tide: Tide) -> None:
    run = tide.started()
    for payload in (1, 2):
        assert tide.send_event(run_id=run.run_id, name="paid", payload=payload)
    assert tide.await_event(**own(run), name="paid").payload == 1
    assert tide.send_event(run_id=run.run_id, name="paid", payload=3)
    for _ in range(2):  # and each wait replays what it heard
        assert tide.await_event(**own(run), name="paid").payload == 1
        assert tide.await_event(**own(run), name="paid", wait="paid:2").payload == 2
    assert tide.await_event(**own(run), name="paid", wait="paid:3").payload == 3
    assert tide.await_event(**own(run), name="paid", wait="paid:4").parked


def test_event_after_a_time_out_is_for_the_next_wait(tide: Tide, clock: Clock) -> None:
    run = tide.started(lease="1 day")
    clock.set()
    assert tide.await_event(**own(run), name="paid", timeout="0 seconds").received is False
    assert tide.send_event(run_id=run.run_id, name="paid", payload='"late"')
    assert tide.await_event(**own(run), name="paid").received is False
    assert tide.await_event(**own(run), name="paid", wait="paid:2").payload == "late"


def test_event_wakes_the_wait_that_parked_whatever_its_name(tide: Tide) -> None:
    run = tide.started()
    tide.send_event(run_id=run.run_id, name="paid", payload=1)
    tide.await_event(**own(run), name="paid")
    assert tide.await_event(**own(run), name="paid", wait="paid:2").parked
    assert tide.get_run(run_id=run.run_id).waiting_for == "paid:2"
    assert tide.send_event(run_id=run.run_id, name="paid", payload=2)
    (run,) = tide.claim()
    assert tide.await_event(**own(run), name="paid", wait="paid:2").payload == 2


def test_event_of_another_name_leaves_the_run_parked(tide: Tide) -> None:
    run = tide.started()
    tide.await_event(**own(run), name="paid")
    assert tide.send_event(run_id=run.run_id, name="shipped")
    assert tide.get_run(run_id=run.run_id).waiting_for == "paid"
    tide.send_event(run_id=run.run_id, name="paid")
    (run,) = tide.claim()
    assert tide.await_event(**own(run), name="shipped").received


def test_sleep_of_the_same_name_is_not_woken_by_an_event(tide: Tide) -> None:
    run = tide.started()
    tide.sleep(**own(run), name="paid", duration="1 hour")
    tide.send_event(run_id=run.run_id, name="paid")
    assert tide.get_run(run_id=run.run_id).waiting_on == "timer"


@pytest.mark.parametrize("payload", [None, "null", "0", '""', "[]", "false"])
def test_empty_payload_is_no_time_out(tide: Tide, payload: str | None) -> None:
    run = tide.started()
    tide.await_event(**own(run), name="paid", timeout="1 hour")
    tide.send_event(run_id=run.run_id, name="paid", payload=payload)
    (run,) = tide.claim()
    answer = tide.await_event(**own(run), name="paid", timeout="1 hour")
    assert (answer.parked, answer.received) == (False, True)


def test_time_out_by_upkeep_is_told_and_replays(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    assert tide.await_event(**own(run), name="paid", timeout="10 minutes").parked
    assert tide.reconcile()["due_waits"] == 0
    hour.advance(10 * MINUTE)
    assert tide.reconcile()["due_waits"] == 1
    (again,) = tide.claim()
    assert tide.await_event(**own(again), name="paid") == (False, False, None)
    assert tide.send_event(run_id=run.run_id, name="paid", payload=1)
    assert tide.await_event(**own(again), name="paid") == (False, False, None)


def test_time_out_by_the_wait_itself(tide: Tide) -> None:
    run = tide.started()
    assert tide.await_event(**own(run), name="paid", timeout="0") == (False, False, None)
    assert tide.get_run(run_id=run.run_id).status == "running"


def test_event_beats_the_time_out_nobody_looked_at(tide: Tide, hour: Clock) -> None:
    run = tide.begun()
    assert tide.await_event(**own(run), name="paid", timeout="1 minute").parked
    hour.advance(2 * MINUTE)
    tide.send_event(run_id=run.run_id, name="paid", payload=1)
    run = tide.begin_run(run_id=run.run_id)
    assert tide.await_event(**own(run), name="paid") == (False, True, 1)


def test_event_that_came_in_time_does_not_time_out_later(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    assert tide.await_event(**own(run), name="paid", timeout="10 minutes").parked
    tide.cancel(run_id=run.run_id)
    tide.retry(run_id=run.run_id)
    tide.send_event(run_id=run.run_id, name="paid", payload=1)
    hour.advance(20 * MINUTE)
    tide.reconcile()
    (run,) = tide.claim()
    assert tide.await_event(**own(run), name="paid", timeout="10 minutes") == (False, True, 1)


def test_events_of_a_run_reach_no_other(tide: Tide) -> None:
    first, second = tide.started(), tide.started()
    tide.await_event(**own(first), name="paid")
    tide.await_event(**own(second), name="paid")
    tide.send_event(run_id=first.run_id, name="paid")
    assert [run.run_id for run in tide.claim(max_runs=5)] == [first.run_id]


def test_plain_run_is_woken_to_be_begun(tide: Tide) -> None:
    run = tide.begun()
    tide.await_event(**own(run), name="paid")
    tide.send_event(run_id=run.run_id, name="paid")
    woken = tide.get_run(run_id=run.run_id)
    assert (woken.status, woken.waiting_on, woken.ready) == ("pending", None, False)


def test_finished_run_receives_nothing(tide: Tide) -> None:
    done, cancelled = tide.finished(), tide.started()
    tide.cancel(run_id=cancelled.run_id)
    before = contents(tide.connection)
    with refused("TD003", done.run_id):
        tide.send_event(run_id=done.run_id, name="paid")
    with refused("TD001", cancelled.run_id):
        tide.send_event(run_id=cancelled.run_id, name="paid")
    with refused("TD010", NOBODY):
        tide.send_event(run_id=NOBODY, name="paid")
    assert contents(tide.connection) == before


def test_deadline_holds_while_waiting(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=10 * MINUTE)
    tide.await_event(**own(run), name="paid")
    hour.advance(10 * MINUTE)
    assert tide.reconcile()["overdue"] == 1


def test_overdue_run_does_not_park(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE)
    hour.advance(MINUTE)
    before = contents(tide.connection)
    with refused("TD001", "deadline"):
        tide.await_event(**own(run), name="paid")
    assert contents(tide.connection) == before


@pytest.mark.parametrize("name", [None, "", "a\nb", "x" * 257])
def test_bad_name_is_refused_and_nothing_changes(tide: Tide, name: str | None) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", "name"):
        tide.send_event(run_id=run.run_id, name=name)
    with refused("22023", "name"):
        tide.await_event(**own(run), name=name)
    assert contents(tide.connection) == before


@pytest.mark.parametrize("timeout", ["-1 second", "11 years"])
def test_bad_timeout_is_refused_and_nothing_changes(tide: Tide, timeout: str) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", "timeout"):
        tide.await_event(**own(run), name="paid", timeout=timeout)
    assert contents(tide.connection) == before


def test_oversized_payload_is_refused_and_nothing_changes(tide: Tide) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("TD040", "payload"):
        tide.send_event(run_id=run.run_id, name="paid", payload=["x" * 2**20])
    with refused("22023", "payload"):
        tide.send_event(run_id=run.run_id, name="paid", payload="[" * 200 + "]" * 200)
    assert contents(tide.connection) == before


def test_explain_wait_names_the_event(tide: Tide) -> None:
    run = tide.started()
    tide.await_event(**own(run), name="paid", timeout="1 hour")
    (reason,) = tide.explain_wait(run_id=run.run_id)["reasons"]
    assert (reason["reason"], reason["name"]) == ("event", "paid")
    assert reason["due_at"] is not None
