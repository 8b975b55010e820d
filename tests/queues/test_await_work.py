"""await_work: an idle worker is woken by whatever makes a run ready, and a busy system is quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, open_connection, value
from tidebase_pg.values import told_as

SENT = "sent"
NAMES = {str(told_as(name)): name for name in ("w1", "w2", "w3")}
"""Who is meant, by payload."""


@pytest.fixture
def told(direct_dsn: str) -> Iterator[Callable[[], list[str]]]:
    """Whom the channel has named since the last look. It listens from the start."""
    listener = open_connection(direct_dsn)
    listener.execute("listen tide_work")

    def told() -> list[str]:
        # A notification of one's own comes after all that were committed before it.
        listener.execute("select pg_notify('tide_work', %s)", (SENT,))
        heard: list[str] = []
        for notify in listener.notifies(timeout=10):
            if notify.payload == SENT:
                return sorted(heard)
            heard.append(NAMES.get(notify.payload, notify.payload))
        raise AssertionError("the listener's own notification did not come")

    yield told
    listener.close()


def waiters(tide: Tide) -> list[tuple[str, str]]:
    return [
        (row.queue, row.waiter)
        for row in tide.connection.execute(
            "select queue, waiter from tide.waiters order by queue, waiter"
        )
    ]


def wait(tide: Tide, *names: str, **arguments: Any) -> None:
    for name in names:
        tide.await_work(worker=name, **arguments)


def test_one_run_wakes_one_of_several(tide: Tide, told: Callable[[], list[str]]) -> None:
    wait(tide, "w1", "w2", "w3")
    tide.enqueue(workflow="report")
    (first,) = told()
    tide.enqueue(workflow="report")
    (second,) = told()
    assert {first, second} < {"w1", "w2", "w3"}
    assert len({first, second}) == 2
    assert len(waiters(tide)) == 1


@pytest.mark.parametrize("runs", [2, 3, 10])
def test_many_runs_wake_as_many_as_there_are(
    tide: Tide, told: Callable[[], list[str]], runs: int
) -> None:
    wait(tide, "w1", "w2", "w3")
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * runs)
    assert len(told()) == min(runs, 3)
    assert len(waiters(tide)) == max(3 - runs, 0)


def test_runs_that_are_not_ready_wake_nobody(tide: Tide, told: Callable[[], list[str]]) -> None:
    wait(tide, "w1")
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "delay": "1 hour"}] * 3)
    tide.enqueue(workflow="report", delay="1 hour")
    tide.create_run(workflow="report")
    assert told() == []
    assert waiters(tide) == [("default", "w1")]


def test_where_nobody_waits_nothing_is_sent(tide: Tide, told: Callable[[], list[str]]) -> None:
    wait(tide, "w1", queues=["elsewhere"])
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 3)
    for _ in range(3):
        tide.enqueue(workflow="report")
    run = tide.claim()[0]
    tide.release(run_id=run.run_id, lease_id=run.lease_id)
    tide.set_queue(queue="default", settings={"concurrency": 5})
    tide.claim(max_runs=9)
    assert told() == []
    assert waiters(tide) == [("elsewhere", "w1")]


def test_worker_of_several_queues_is_told_of_each(
    tide: Tide, told: Callable[[], list[str]]
) -> None:
    wait(tide, "w1", queues=["a", "b", "a"])
    assert waiters(tide) == [("a", "w1"), ("b", "w1")]
    tide.enqueue(workflow="report", queue="b")
    assert told() == ["w1"]
    tide.enqueue(workflow="report", queue="a")
    assert told() == ["w1"]
    assert waiters(tide) == []


def test_what_is_rolled_back_wakes_nobody_and_the_worker_still_waits(
    tide: Tide, told: Callable[[], list[str]], connect: Callable[..., Connection]
) -> None:
    wait(tide, "w1")
    other = Tide(connect(autocommit=False))
    other.enqueue(workflow="report")
    other.connection.rollback()
    assert told() == []
    assert waiters(tide) == [("default", "w1")]
    tide.enqueue(workflow="report")
    assert told() == ["w1"]


def test_worker_is_told_at_the_commit(
    tide: Tide, told: Callable[[], list[str]], connect: Callable[..., Connection]
) -> None:
    wait(tide, "w1")
    other = Tide(connect(autocommit=False))
    other.enqueue(workflow="report")
    assert told() == []
    other.connection.commit()
    assert told() == ["w1"]


def test_everybody_is_told_when_an_open_transaction_has_all_who_wait(
    tide: Tide, told: Callable[[], list[str]], connect: Callable[..., Connection]
) -> None:
    wait(tide, "w1", "w2")
    other = Tide(connect(autocommit=False))
    other.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 2)
    tide.enqueue(workflow="report")
    assert told() == ["*"]
    other.connection.rollback()
    assert told() == []
    assert len(waiters(tide)) == 2


def test_enqueues_at_once_wake_different_workers_without_waiting(
    tide: Tide, told: Callable[[], list[str]], connect: Callable[..., Connection]
) -> None:
    wait(tide, "w1", "w2")
    others = [Tide(connect(autocommit=False)) for _ in range(2)]
    for other in others:
        other.connection.execute("set lock_timeout = '1s'")
        other.enqueue(workflow="report")
    for other in others:
        other.connection.commit()
    assert told() == ["w1", "w2"]


def enqueue(tide: Tide, hour: Clock) -> Callable[[], Any]:
    return lambda: tide.enqueue(workflow="report")


def replace(tide: Tide, hour: Clock) -> Callable[[], Any]:
    arguments = {"workflow": "report", "dedupe_key": "k", "on_conflict": "replace"}
    tide.enqueue(**arguments, delay="1 hour")
    return lambda: tide.enqueue(**arguments)


def replace_many(tide: Tide, hour: Clock) -> Callable[[], Any]:
    arguments = {"workflow": "report", "dedupe_key": "k", "on_conflict": "replace"}
    tide.enqueue(**arguments, delay="1 hour")
    return lambda: tide.enqueue_many(queue="default", runs=[arguments])


def retry(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    tide.fail(run_id=run.run_id, lease_id=run.lease_id)
    return lambda: tide.retry(run_id=run.run_id)


def release(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    return lambda: tide.release(run_id=run.run_id, lease_id=run.lease_id)


def settle_a_release(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    outcome = {"run_id": run.run_id, "lease_id": run.lease_id, "release": True}
    return lambda: tide.settle(outcomes=[outcome])


def fail_at_once(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started(max_attempts=2)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    return lambda: tide.fail(**own, retry_after="0")


def lose_the_lease(tide: Tide, hour: Clock) -> Callable[[], Any]:
    tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    return lambda: tide.reconcile()


def decide(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = tide.open_gate(**own, name="approve", prompt="Send it?")
    tide.await_gate(**own, gate_id=gate.gate_id)
    return lambda: tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ops")


def time_out(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = tide.open_gate(**own, name="approve", prompt="Send it?", timeout=MINUTE)
    tide.await_gate(**own, gate_id=gate.gate_id)
    hour.advance(2 * MINUTE)
    return lambda: tide.claim(queues=["other"])


def end_the_child(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    child = tide.spawn(**own, edge="part", workflow="part")
    tide.await_children(**own)
    return lambda: tide.cancel(run_id=child.child_id)


def send_the_event(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    tide.await_event(run_id=run.run_id, lease_id=run.lease_id, name="paid")
    return lambda: tide.send_event(run_id=run.run_id, name="paid", payload={})


def wake_up(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    tide.sleep(run_id=run.run_id, lease_id=run.lease_id, name="nap", duration=MINUTE)
    hour.advance(2 * MINUTE)
    return lambda: tide.reconcile()


def raise_the_budget(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started(budget={"max_steps": 1})
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    for name in ("one", "two"):
        tide.begin_step(**own, name=name)
    assert tide.get_run(run_id=run.run_id).waiting_on == "budget"
    return lambda: tide.set_budget(run_id=run.run_id, limits={"max_steps": 9})


def resolve_the_step(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="pay", contract={"side_effects": ["pay"], "replay": "manual"})
    tide.fail_step(**own, name="pay", error={})
    assert tide.get_run(run_id=run.run_id).waiting_on == "review"
    return lambda: tide.resolve_step(run_id=run.run_id, name="pay", decision="retry")


def promote(tide: Tide, hour: Clock) -> Callable[[], Any]:
    tide.enqueue(workflow="report", delay=MINUTE)
    hour.advance(2 * MINUTE)
    return lambda: tide.claim(queues=["other"])


def spawn(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.begun()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    return lambda: tide.spawn(**own, edge="part", workflow="part", queue="default")


def fork(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    tide.complete_step(**own, name="plan")
    tide.complete(**own)
    return lambda: tide.fork_run(run_id=run.run_id, at_step="plan")


def reschedule(tide: Tide, hour: Clock) -> Callable[[], Any]:
    run_id = tide.enqueue(workflow="report", delay="1 hour").run_id
    return lambda: tide.reschedule(run_id=run_id, run_at=hour.now)


def unpause(tide: Tide, hour: Clock) -> Callable[[], Any]:
    tide.set_queue(queue="default", settings={"paused": True})
    tide.enqueue(workflow="report")
    return lambda: tide.set_queue(queue="default", settings={"paused": False})


def fire(tide: Tide, hour: Clock) -> Callable[[], Any]:
    tide.set_schedule(name="daily", cron="@daily", workflow="report")
    return lambda: tide.fire_schedule(name="daily")


def fire_in_time(tide: Tide, hour: Clock) -> Callable[[], Any]:
    tide.set_schedule(name="minutely", cron="* * * * *", workflow="report")
    hour.advance(MINUTE)
    return lambda: tide.reconcile()


WAYS: dict[str, Callable[[Tide, Clock], Callable[[], Any]]] = {
    function.__name__: function
    for function in (
        enqueue,
        replace,
        replace_many,
        retry,
        release,
        settle_a_release,
        fail_at_once,
        lose_the_lease,
        decide,
        time_out,
        end_the_child,
        send_the_event,
        wake_up,
        raise_the_budget,
        resolve_the_step,
        promote,
        spawn,
        fork,
        reschedule,
        unpause,
        fire,
        fire_in_time,
    )
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_a_run_becomes_ready_wakes_a_worker(
    tide: Tide, hour: Clock, told: Callable[[], list[str]], way: str
) -> None:
    act = WAYS[way](tide, hour)
    wait(tide, "w1")
    assert told() == []
    act()
    assert told() == ["w1"]
    assert len(tide.claim()) == 1


def test_worker_that_registers_again_waits_once(tide: Tide, hour: Clock) -> None:
    for _ in range(3):
        wait(tide, "w1", queues=["a", "b"])
        hour.advance(timedelta(seconds=1))
    assert waiters(tide) == [("a", "w1"), ("b", "w1")]


def test_worker_that_registers_again_does_not_wait_for_who_wakes_it(
    tide: Tide, told: Callable[[], list[str]], connect: Callable[..., Connection]
) -> None:
    wait(tide, "w1")
    other = Tide(connect(autocommit=False))
    other.enqueue(workflow="report")
    wait(tide, "w1")
    other.connection.commit()
    assert told() == ["w1"]
    tide.enqueue(workflow="report")
    assert told() == ["w1"]


def test_worker_that_went_is_not_told_in_place_of_another(
    tide: Tide, hour: Clock, told: Callable[[], list[str]]
) -> None:
    wait(tide, "dead", duration="10 seconds")
    hour.advance(MINUTE)
    wait(tide, "w1")
    tide.enqueue(workflow="report")
    assert told() == ["w1"]
    tide.enqueue(workflow="report")
    assert told() == []


def test_workers_that_went_are_forgotten(tide: Tide, hour: Clock) -> None:
    wait(tide, "w1", duration="10 seconds")
    wait(tide, "w2", duration="1 hour")
    hour.advance(MINUTE)
    tide.reconcile()
    assert waiters(tide) == [("default", "w2")]


def test_answer_is_how_long_to_wait_at_most(tide: Tide, hour: Clock) -> None:
    assert tide.await_work(worker="w1", duration="30 seconds") == timedelta(seconds=30)
    tide.enqueue(workflow="report", delay="5 seconds")
    assert tide.await_work(worker="w1", duration="30 seconds") == timedelta(seconds=5)


def test_run_made_ready_before_the_worker_registered_is_not_slept_over(tide: Tide) -> None:
    """Register, claim once more, then wait: whatever comes in between is met by one of the two."""
    tide.enqueue(workflow="report")
    assert tide.await_work(worker="w1", duration="1 hour") <= timedelta(seconds=1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"worker": None}, "worker"),
        ({"worker": ""}, "worker"),
        ({"worker": "x" * 257}, "worker"),
        ({"worker": "a\nb"}, "worker"),
        ({"worker": "w1", "duration": "-1 second"}, "duration"),
        ({"worker": "w1", "duration": "61 minutes"}, "duration"),
        ({"worker": "w1", "queues": ["a b"]}, "queues"),
    ],
)
def test_bad_arguments_are_refused(tide: Tide, arguments: dict[str, Any], word: str) -> None:
    with refused("22023", word):
        tide.await_work(**arguments)
    assert value(tide.connection, "select count(*) from tide.waiters") == 0
