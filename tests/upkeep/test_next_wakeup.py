"""next_wakeup: how long an idle worker may sleep without missing what becomes due by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection

SECOND = timedelta(seconds=1)
NOTHING = timedelta(0)
URL = "http://example.com/hook"
LATER = 5 * MINUTE


def delayed(tide: Tide) -> None:
    tide.enqueue(workflow="report", delay=LATER)


def overdue(tide: Tide) -> None:
    tide.create_run(workflow="report", deadline=LATER)


def leased(tide: Tide) -> None:
    tide.started(lease=LATER)


def retried(tide: Tide) -> None:
    run = tide.started(max_attempts=2)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after=LATER)


def asking(tide: Tide) -> None:
    run = tide.begun()
    tide.open_gate(
        run_id=run.run_id, lease_id=run.lease_id, name="approve", prompt="Send it?", timeout=LATER
    )


def sleeping(tide: Tide) -> None:
    run = tide.begun()
    tide.sleep(run_id=run.run_id, lease_id=run.lease_id, name="nap", duration=LATER)


def listening(tide: Tide) -> None:
    run = tide.begun()
    tide.await_event(run_id=run.run_id, lease_id=run.lease_id, name="paid", timeout=LATER)


def scheduled(tide: Tide) -> None:
    tide.set_schedule(name="daily", cron="5 * * * *", workflow="report")


def recoverable(tide: Tide) -> None:
    run = tide.create_run(workflow="report", recovery_url=URL)
    tide.begin_run(run_id=run.run_id, lease=LATER)


SOURCES: dict[str, Callable[[Tide], None]] = {
    function.__name__: function
    for function in (
        delayed,
        overdue,
        leased,
        retried,
        asking,
        sleeping,
        listening,
        scheduled,
        recoverable,
    )
}


def test_nothing_will_happen_in_an_empty_installation(tide: Tide) -> None:
    assert tide.next_wakeup() is None


@pytest.mark.parametrize("source", SOURCES)
def test_wakeup_is_foreseen(tide: Tide, hour: Clock, source: str) -> None:
    SOURCES[source](tide)
    assert tide.next_wakeup() == LATER
    hour.advance(LATER - SECOND)
    assert tide.next_wakeup() == SECOND
    hour.advance(2 * SECOND)
    assert tide.next_wakeup() == NOTHING
    tide.claim()
    tide.reconcile()
    assert tide.next_wakeup() != NOTHING


@pytest.mark.parametrize("source", ["delayed", "overdue"])
def test_soonest_of_all_counts(tide: Tide, hour: Clock, source: str) -> None:
    for make in SOURCES.values():
        make(tide)
    tide.enqueue(workflow="report", **{{"delayed": "delay", "overdue": "deadline"}[source]: MINUTE})
    if source == "overdue":
        tide.claim(lease="1 hour")
    assert tide.next_wakeup() == MINUTE


def test_pushed_run_is_looked_at_when_its_time_to_begin_is_over(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="pushed", settings={"push_url": URL})
    tide.enqueue(workflow="report", queue="pushed")
    tide.reconcile()
    assert tide.next_wakeup() == MINUTE
    hour.advance(30 * SECOND)
    assert tide.next_wakeup(queues=["pushed"]) == 30 * SECOND


@pytest.mark.parametrize("waits_on", ["gate", "children"])
def test_run_that_waits_for_people_or_runs_is_not_foreseen(tide: Tide, waits_on: str) -> None:
    run = tide.begun()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    if waits_on == "gate":
        gate = tide.open_gate(**own, name="approve", prompt="Send it?")
        tide.await_gate(**own, gate_id=gate.gate_id)
    else:
        tide.spawn(**own, edge="part", workflow="part")
        tide.await_children(**own)
    assert tide.next_wakeup() is None


def test_ready_run_that_could_not_be_claimed_is_tried_every_second(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    tide.started(lease="1 hour")
    tide.enqueue(workflow="report")
    assert timedelta(seconds=0.9) < tide.next_wakeup() <= SECOND
    assert tide.next_wakeup(queues=["other"]) > 59 * MINUTE


def test_queue_without_a_permit_is_looked_at_when_it_has_one(tide: Tide, hour: Clock) -> None:
    settings = {"rate_limit": 1, "rate_period": "10 seconds"}
    tide.set_queue(queue="default", settings=settings)
    run = tide.started()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    tide.enqueue(workflow="report")
    assert tide.claim() == []
    assert tide.next_wakeup() == 10 * SECOND
    hour.advance(10 * SECOND)
    assert tide.next_wakeup() == timedelta(0)
    assert len(tide.claim()) == 1


@pytest.mark.parametrize("setting", [{"paused": True}, {"push_url": URL}])
def test_queue_that_nobody_claims_from_wakes_nobody(tide: Tide, setting: dict[str, Any]) -> None:
    tide.set_queue(queue="default", settings=setting)
    tide.enqueue(workflow="report")
    assert tide.next_wakeup() is None


def test_paused_or_disabled_schedule_wakes_nobody(tide: Tide) -> None:
    scheduled(tide)
    tide.pause_schedule(name="daily")
    assert tide.next_wakeup() is None
    tide.set_schedule(name="other", cron="* * * * *", workflow="report", enabled=False)
    assert tide.next_wakeup() is None


@pytest.mark.parametrize("source", SOURCES)
def test_paused_installation_wakes_nobody_whatever_is_due(
    tide: Tide, hour: Clock, source: str
) -> None:
    SOURCES[source](tide)
    tide.pause()
    hour.advance(LATER + SECOND)
    assert tide.next_wakeup() is None
    assert tide.await_work(worker="w1") == 10 * SECOND
    tide.resume()
    assert tide.next_wakeup() == NOTHING


@pytest.mark.parametrize("source", ["overdue", "leased"])
def test_what_a_tick_left_alone_is_not_asked_for_again_at_once(
    tide: Tide, hour: Clock, connect: Callable[..., Connection], source: str
) -> None:
    """Somebody else's open transaction has the run: an idle worker must not spin meanwhile."""
    SOURCES[source](tide)
    hour.advance(LATER + SECOND)
    other = connect(autocommit=False)
    other.execute("select from tide.runs_active for update")
    assert tide.claim() == []
    assert tide.next_wakeup() == timedelta(milliseconds=500)


def test_delays_of_other_queues_are_foreseen_too(tide: Tide, hour: Clock) -> None:
    """Whoever claims makes the runs of all queues ready, also where no worker of theirs is up."""
    tide.enqueue(workflow="report", queue="other", delay=LATER)
    assert tide.next_wakeup() == LATER


@pytest.mark.parametrize("queues", [None, [], [None], [["a"], ["b"]], ["q"] * 1001])
def test_queues_that_are_no_names_are_refused(tide: Tide, queues: Any) -> None:
    for function in ("next_wakeup", "await_work"):
        more = {"worker": "w1"} if function == "await_work" else {}
        with refused("22023", "queues"):
            tide.call(function, **more, queues=queues)


def test_it_is_now_when_a_claim_would_find_a_run(tide: Tide) -> None:
    assert tide.next_wakeup() != timedelta(0)
    tide.enqueue(workflow="report")
    assert tide.next_wakeup() == timedelta(0)
    assert tide.next_wakeup(queues=["other", "default"]) == timedelta(0)
    assert tide.next_wakeup(queues=["other"]) != timedelta(0)
    tide.claim()
    assert tide.next_wakeup() != timedelta(0)


def test_it_is_not_now_where_nobody_may_claim(tide: Tide) -> None:
    tide.enqueue(workflow="report")
    tide.set_queue(queue="default", settings={"paused": True})
    assert tide.next_wakeup() != timedelta(0)
    tide.set_queue(queue="default", settings={"paused": False})
    tide.pause()
    assert tide.next_wakeup() is None
