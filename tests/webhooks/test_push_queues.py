"""Push queues: runs are dispatched to their application under the cap and rate, and begun by id."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, value
from tests.webhooks.outbox import (
    APP,
    SECOND,
    later,
    outbox,
    pushed,
    pushing,
    report,
    send,
)

HORIZON = timedelta(seconds=60)


def dispatched(tide: Tide) -> set[UUID]:
    rows = tide.connection.execute(
        "select r.run_id from tide.runs as r where r.waiting_on = 'push'"
    ).fetchall()
    return {row.run_id for row in rows}


def slots(tide: Tide) -> dict[int, UUID | None]:
    rows = tide.connection.execute("select s.slot, s.run_id from tide.slots as s order by s.slot")
    return {row.slot: row.run_id for row in rows}


def reasons(tide: Tide, run_id: UUID) -> dict[str, Any]:
    return {reason["reason"]: reason for reason in tide.explain_wait(run_id=run_id)["reasons"]}


def test_workers_do_not_claim_what_is_pushed(tide: Tide) -> None:
    pushing(tide)
    tide.enqueue(workflow="report", queue="pushed")
    assert tide.claim(queues=["pushed"]) == []
    pulled = tide.enqueue(workflow="report", queue="pulled").run_id
    assert [r.run_id for r in tide.claim(queues=["pushed", "pulled"], max_runs=9)] == [pulled]


def test_a_dispatch_asks_the_application(tide: Tide, hour: Clock) -> None:
    pushing(tide, push_secret="apps")
    (run_id,) = pushed(tide)
    run = tide.get_run(run_id=run_id)
    assert (run.status, run.waiting_on, run.ready, run.attempt) == ("queued", "push", False, 0)
    assert (run.run_at, run.dispatched_until, run.dispatches) == (None, hour.now + HORIZON, 1)
    (delivery,) = outbox(tide.connection)
    assert run.waiting_for == str(delivery.delivery_id)
    assert json.loads(delivery.body) == {
        "type": "run.invoke",
        "run_id": str(run_id),
        "runId": f"run_{run_id.hex}",
        "workflow": "report",
        "workflowName": "report",
        "reason": "queue_dispatch",
        "attempt": 1,
        "delivery_id": str(delivery.delivery_id),
        "seq": tide.last_event(run_id).seq,
        "created_at": delivery.created_at.isoformat(),
    }
    assert (delivery.url, delivery.secret_name) == (APP, "apps")
    assert tide.log(run_id) == ["run.enqueued", "run.dispatched"]
    assert tide.last_event(run_id).payload["delivery_id"] == str(delivery.delivery_id)


def test_begin_takes_the_run_over_with_its_slot(tide: Tide, hour: Clock) -> None:
    pushing(tide, concurrency=2)
    run_id = pushed(tide)[0]
    hour.advance(SECOND)
    run = tide.begin_run(run_id=run_id, worker="app")
    assert (run.status, run.attempt, run.waiting_on, run.worker) == ("running", 1, None, "app")
    assert (run.slot, run.dispatched_until, run.dispatches) == (1, None, 0)
    assert run.run_at == hour.now
    assert slots(tide) == {1: run_id, 2: None}
    with refused("TD004", run_id):
        tide.begin_run(run_id=run_id)
    tide.complete(run_id=run_id, lease_id=run.lease_id)
    assert slots(tide) == {1: None, 2: None}
    assert tide.log(run_id) == ["run.enqueued", "run.dispatched", "run.started", "run.completed"]


def test_cap_counts_what_is_dispatched(tide: Tide) -> None:
    pushing(tide, concurrency=3)
    run_ids = pushed(tide, 7)
    assert dispatched(tide) == set(run_ids[:3])
    assert set(slots(tide).values()) == set(run_ids[:3])
    begun = tide.begin_run(run_id=run_ids[0])
    tide.reconcile()
    assert dispatched(tide) == set(run_ids[1:3])
    tide.complete(run_id=begun.run_id, lease_id=begun.lease_id)
    tide.reconcile()
    assert dispatched(tide) == set(run_ids[1:4])


def test_rate_counts_dispatches_and_not_begins(tide: Tide, hour: Clock) -> None:
    pushing(tide, rate_limit=2, rate_period="1 minute")
    run_ids = pushed(tide, 5)
    assert dispatched(tide) == set(run_ids[:2])
    for run_id in run_ids[:2]:
        tide.begin_run(run_id=run_id)
    later(tide, hour, 59 * SECOND)
    assert dispatched(tide) == set()
    later(tide, hour, SECOND)
    assert dispatched(tide) == set(run_ids[2:4])


def test_runs_are_dispatched_in_the_order_of_claims(tide: Tide) -> None:
    pushing(tide, concurrency=2)
    low = [tide.enqueue(workflow="r", queue="pushed").run_id for _ in range(3)]
    high = tide.enqueue(workflow="r", queue="pushed", priority=5).run_id
    tide.enqueue(workflow="r", queue="pushed", priority=9, delay=MINUTE)
    tide.reconcile()
    assert dispatched(tide) == {high, low[0]}


def test_at_most_a_hundred_wait_to_be_begun(tide: Tide) -> None:
    pushing(tide)
    run_ids = pushed(tide, 103)
    assert dispatched(tide) == set(run_ids[:100])
    tide.reconcile()
    assert len(dispatched(tide)) == 100
    for run_id in run_ids[:2]:
        tide.begin_run(run_id=run_id)
    tide.reconcile()
    assert dispatched(tide) == set(run_ids[2:102])


def test_claims_and_dispatchers_push_too(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    run_id = tide.enqueue(workflow="report", queue="pushed").run_id
    (delivery,) = tide.claim_deliveries()
    assert (delivery.run_id, delivery.type) == (run_id, "run.invoke")
    second = tide.enqueue(workflow="report", queue="pushed").run_id
    hour.advance(SECOND)
    tide.claim(queues=["nothing"])
    assert second in dispatched(tide)


def test_what_is_not_begun_in_time_is_pushed_again_later(tide: Tide, hour: Clock) -> None:
    pushing(tide, concurrency=1)
    (run_id,) = pushed(tide)
    later(tide, hour, HORIZON - SECOND)
    assert dispatched(tide) == {run_id}
    later(tide, hour, SECOND)
    run = tide.get_run(run_id=run_id)
    assert (run.status, run.waiting_on, run.dispatched_until) == ("queued", None, None)
    assert (run.run_at, run.dispatches, run.attempt) == (hour.now + 5 * SECOND, 1, 0)
    assert slots(tide) == {1: None}
    event = tide.last_event(run_id)
    assert (event.type, event.payload["reason"]) == ("run.requeued", "not_begun")
    later(tide, hour, 5 * SECOND)
    assert dispatched(tide) == {run_id}
    assert tide.get_run(run_id=run_id).dispatches == 2


def test_pauses_between_dispatches_grow_and_the_twentieth_is_the_last(
    tide: Tide, hour: Clock
) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    pauses = []
    while (run := tide.get_run(run_id=run_id)).status == "queued":
        if run.waiting_on == "push":
            assert later(tide, hour, HORIZON)["dispatches"] == 1
        else:
            pauses.append(run.run_at - hour.now)
            hour.set(run.run_at)
            tide.reconcile()
    assert pauses == [min(300, 5 * 2**number) * SECOND for number in range(19)]
    assert (run.status, run.failure_class, run.attempt) == ("failed", "not_begun", 0)
    assert tide.log(run_id).count("run.dispatched") == 20
    assert tide.log(run_id)[-1] == "run.failed"


def test_begin_sets_the_count_of_dispatches_back(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    later(tide, hour, HORIZON)
    later(tide, hour, 5 * SECOND)
    run = tide.begin_run(run_id=run_id)
    tide.release(run_id=run_id, lease_id=run.lease_id)
    tide.reconcile()
    assert tide.get_run(run_id=run_id).dispatches == 1


def test_begin_after_the_horizon_waits_for_the_next_dispatch(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    later(tide, hour, HORIZON)
    with refused("TD030", run_id):
        tide.begin_run(run_id=run_id)
    later(tide, hour, 5 * SECOND)
    assert tide.begin_run(run_id=run_id).status == "running"


def test_begin_after_the_horizon_nobody_noticed_is_taken(tide: Tide, hour: Clock) -> None:
    pushing(tide, concurrency=1)
    (run_id,) = pushed(tide)
    hour.advance(2 * HORIZON)
    run = tide.begin_run(run_id=run_id)
    tide.reconcile()
    (beat,) = tide.heartbeat(run_ids=[run_id], lease_ids=[run.lease_id])
    assert beat.state == "held"
    assert slots(tide) == {1: run_id}


def test_webhook_of_an_earlier_dispatch_is_dropped(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    later(tide, hour, HORIZON)
    later(tide, hour, 5 * SECOND)
    claimed = tide.claim_deliveries(max_deliveries=10)
    assert [str(d.delivery_id) for d in claimed] == [tide.get_run(run_id=run_id).waiting_for]
    assert [d.status for d in outbox(tide.connection)] == ["dropped", "pending"]


def test_begun_before_it_was_sent_needs_no_webhook(tide: Tide) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    tide.begin_run(run_id=run_id)
    assert tide.claim_deliveries() == []
    assert [d.status for d in outbox(tide.connection)] == ["dropped"]


def test_cancel_of_a_dispatched_run_frees_its_slot(tide: Tide) -> None:
    pushing(tide, concurrency=1)
    first, second = pushed(tide, 2)
    assert tide.cancel(run_id=first).status == "cancelled"
    assert slots(tide) == {1: None}
    with refused("TD001"):
        tide.begin_run(run_id=first)
    tide.reconcile()
    assert dispatched(tide) == {second}
    assert [delivery.run_id for delivery in tide.claim_deliveries()] == [second]
    assert tide.list_deliveries(run_id=first)[0].status == "dropped"


def test_overdue_dispatched_run_is_cancelled(tide: Tide, hour: Clock) -> None:
    pushing(tide, concurrency=1)
    (run_id,) = pushed(tide, deadline="30 seconds")
    hour.advance(30 * SECOND)
    assert tide.begin_run(run_id=run_id).status == "cancelled"
    assert slots(tide) == {1: None}
    (other,) = pushed(tide, deadline="30 seconds")
    later(tide, hour, 30 * SECOND)
    assert tide.get_run(run_id=other).cancel_reason == "deadline"
    assert slots(tide) == {1: None}


def test_nothing_is_pushed_while_the_queue_is_paused(tide: Tide) -> None:
    pushing(tide, paused=True)
    (run_id,) = pushed(tide)
    assert dispatched(tide) == set()
    assert list(reasons(tide, run_id)) == ["paused"]
    pushing(tide, paused=False)
    tide.reconcile()
    assert dispatched(tide) == {run_id}


def test_nothing_is_pushed_while_the_installation_is_paused(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    tide.pause()
    (run_id,) = pushed(tide)
    assert tide.claim_deliveries() == []
    assert dispatched(tide) == set()
    assert list(reasons(tide, run_id)) == ["installation_paused"]
    tide.resume()
    tide.reconcile()
    assert dispatched(tide) == {run_id}


def test_nothing_is_pushed_while_the_breaker_is_open(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    tide.connection.execute(
        "insert into tide.endpoints (endpoint, failures, open_until, claimed_at) "
        "values ('https://app.example.com', 5, %s, %s)",
        (hour.now + 10 * SECOND, hour.now),
    )
    run_ids = pushed(tide, 3)
    assert dispatched(tide) == set()
    assert reasons(tide, run_ids[0])["endpoint"]["endpoint"] == "https://app.example.com"
    later(tide, hour, 9 * SECOND)
    assert dispatched(tide) == set()
    later(tide, hour, SECOND)
    assert dispatched(tide) == {run_ids[0]}
    assert len(send(tide)) == 1
    tide.reconcile()
    assert dispatched(tide) == set(run_ids)


def test_an_application_that_is_away_uses_up_one_run_at_a_time(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    run_ids = pushed(tide, 20)
    until = hour.now + timedelta(hours=3)
    while hour.now < until:
        send(tide, 503)
        later(tide, hour, 20 * SECOND)
    runs = [tide.get_run(run_id=run_id) for run_id in run_ids]
    assert {run.status for run in runs} == {"queued"}
    assert max(run.dispatches for run in runs) < 15


def test_explain_says_where_a_dispatched_run_is(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    (claimed,) = tide.claim_deliveries()
    report(tide, claimed, 502, error="bad gateway")
    reason = reasons(tide, run_id)["push"]
    assert reason["delivery_id"] == str(claimed.delivery_id)
    assert (reason["endpoint"], reason["http_status"]) == ("https://app.example.com", 502)
    assert (reason["status"], reason["error"]) == ("pending", "bad gateway")
    assert "until" in reason


def test_explain_does_not_ask_for_workers_of_a_push_queue(tide: Tide) -> None:
    pushing(tide, concurrency=1)
    first, second = pushed(tide, 2)
    assert set(reasons(tide, second)) == {"cap"}
    assert "no_worker" not in reasons(tide, first)


def test_queue_that_stops_pushing_gives_its_runs_to_workers(tide: Tide, hour: Clock) -> None:
    pushing(tide, concurrency=1)
    (run_id,) = pushed(tide)
    tide.set_queue(queue="pushed", settings={"push_url": None})
    assert tide.claim(queues=["pushed"]) == []
    later(tide, hour, HORIZON)
    later(tide, hour, 5 * SECOND)
    (run,) = tide.claim(queues=["pushed"])
    assert (run.run_id, run.slot, run.waiting_on) == (run_id, 1, None)


def test_run_dispatched_before_its_queue_stopped_pushing_is_begun(tide: Tide) -> None:
    pushing(tide, concurrency=1)
    (run_id,) = pushed(tide)
    tide.set_queue(queue="pushed", settings={"push_url": None, "concurrency": None})
    run = tide.begin_run(run_id=run_id)
    tide.complete(run_id=run_id, lease_id=run.lease_id)
    assert not any(slots(tide).values())


def test_new_address_is_used_by_the_next_dispatch(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    pushing(tide, url="https://new.example.com")
    later(tide, hour, HORIZON)
    later(tide, hour, 5 * SECOND)
    assert [d.url for d in outbox(tide.connection, run_id)] == [APP, "https://new.example.com"]


def test_cap_set_later_counts_what_is_dispatched(tide: Tide) -> None:
    pushing(tide)
    run_ids = pushed(tide, 3)
    begun = tide.begin_run(run_id=run_ids[0])
    pushing(tide, concurrency=2)
    assert set(slots(tide).values()) == {None}
    more = pushed(tide, 1)
    assert dispatched(tide) == set(run_ids[1:])
    tide.complete(run_id=begun.run_id, lease_id=begun.lease_id)
    tide.reconcile()
    assert dispatched(tide) == set(run_ids[1:])
    tide.cancel(run_id=run_ids[1])
    tide.reconcile()
    assert dispatched(tide) == {run_ids[2], *more}


def test_lowered_cap_drains_what_is_dispatched(tide: Tide) -> None:
    pushing(tide, concurrency=3)
    run_ids = pushed(tide, 4)
    pushing(tide, concurrency=1)
    for run_id in run_ids[:2]:
        run = tide.begin_run(run_id=run_id)
        tide.complete(run_id=run_id, lease_id=run.lease_id)
        tide.reconcile()
        assert run_ids[3] not in dispatched(tide)
    tide.cancel(run_id=run_ids[2])
    tide.reconcile()
    assert dispatched(tide) == {run_ids[3]}
    assert slots(tide) == {1: run_ids[3]}


def test_slot_of_a_dispatched_run_is_no_leaked_one(tide: Tide) -> None:
    pushing(tide, concurrency=1)
    (run_id,) = pushed(tide)
    assert tide.reconcile()["leaked_slots"] == 0
    assert slots(tide) == {1: run_id}


def test_failed_attempts_are_pushed_again_and_bounded(tide: Tide, hour: Clock) -> None:
    pushing(tide, max_attempts=3, concurrency=1)
    (run_id,) = pushed(tide)
    for attempt in (1, 2, 3):
        assert dispatched(tide) == {run_id}
        bodies = [json.loads(d.body) for d in outbox(tide.connection)]
        assert bodies[-1]["attempt"] == attempt
        run = tide.begin_run(run_id=run_id)
        assert run.attempt == attempt
        answer = tide.fail(run_id=run_id, lease_id=run.lease_id, error={}, retry_after=MINUTE)
        tide.reconcile()
        assert dispatched(tide) == set()
        later(tide, hour)
    assert (answer.status, answer.failure_class) == ("failed", "max_retries")
    assert len(outbox(tide.connection)) == 3


def test_begun_run_that_goes_silent_is_pushed_again(tide: Tide, hour: Clock) -> None:
    pushing(tide, max_attempts=2, concurrency=1)
    (run_id,) = pushed(tide)
    for attempt in (1, 2):
        assert tide.begin_run(run_id=run_id).attempt == attempt
        later(tide, hour, MINUTE + SECOND)
    assert tide.get_run(run_id=run_id).failure_class == "max_retries"
    assert slots(tide) == {1: None}


def test_parked_run_of_a_push_queue_is_pushed_when_it_wakes(tide: Tide) -> None:
    pushing(tide, concurrency=1)
    (run_id,) = pushed(tide)
    run = tide.begin_run(run_id=run_id)
    gate = tide.open_gate(run_id=run_id, lease_id=run.lease_id, name="ask", prompt="?")
    tide.await_gate(run_id=run_id, lease_id=run.lease_id, gate_id=gate.gate_id)
    tide.reconcile()
    assert (dispatched(tide), slots(tide)) == (set(), {1: None})
    tide.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    tide.reconcile()
    assert dispatched(tide) == {run_id}
    again = tide.begin_run(run_id=run_id)
    assert (again.attempt, again.slot) == (1, 1)


def test_budget_of_the_queue_applies_to_what_is_begun(tide: Tide) -> None:
    pushing(tide, budget={"max_steps": 1})
    (run_id,) = pushed(tide)
    assert tide.begin_run(run_id=run_id).budget == {"max_steps": 1}


def test_dispatched_run_cannot_be_moved_or_replaced(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    (run_id,) = pushed(tide, dedupe_key="key", input={"a": 1})
    with refused("TD030", run_id):
        tide.reschedule(run_id=run_id, run_at=hour.now)
    again = tide.enqueue(
        workflow="report",
        queue="pushed",
        dedupe_key="key",
        input={"a": 2},
        on_conflict="replace",
    )
    assert (again.run_id, again.deduplicated) == (run_id, True)
    assert tide.get_run(run_id=run_id).input == {"a": 1}


def test_pushed_run_is_not_begun_before_its_dispatch(tide: Tide) -> None:
    pushing(tide)
    run_id = tide.enqueue(workflow="report", queue="pushed").run_id
    with refused("TD030", run_id):
        tide.begin_run(run_id=run_id)


def test_late_report_of_an_earlier_attempt_does_not_touch_a_dispatched_run(tide: Tide) -> None:
    pushing(tide, max_attempts=2)
    (run_id,) = pushed(tide)
    run = tide.begin_run(run_id=run_id)
    tide.fail(run_id=run_id, lease_id=run.lease_id, error={}, retry_after="0")
    tide.reconcile()
    assert dispatched(tide) == {run_id}
    with refused("TD002", run_id):
        tide.complete(run_id=run_id, lease_id=run.lease_id)
    assert dispatched(tide) == {run_id}


@pytest.mark.parametrize("function", ["retry", "cancel_many"])
def test_operators_reach_dispatched_runs(tide: Tide, function: str) -> None:
    pushing(tide, concurrency=1)
    (run_id,) = pushed(tide)
    if function == "cancel_many":
        assert tide.cancel_many(queue="pushed") == 1
    else:
        tide.cancel(run_id=run_id)
        assert tide.retry(run_id=run_id).status == "queued"
        tide.reconcile()
        assert dispatched(tide) == {run_id}
        tide.cancel(run_id=run_id)
    assert slots(tide) == {1: None}


def test_run_somebody_holds_is_not_waited_for(tide: Tide, hour: Clock, connect: Any) -> None:
    pushing(tide)
    held, free = pushed(tide, 2)
    other = connect(autocommit=False)
    other.execute("select from tide.begin_run(%s)", (held,))
    later(tide, hour, HORIZON)
    assert dispatched(tide) == {held}
    assert tide.get_run(run_id=free).waiting_on is None
    other.commit()
    tide.reconcile()
    assert tide.get_run(run_id=held).status == "running"
    assert value(tide.connection, "select count(*) from tide.runs_active where ready") == 0


# --- applications that answer when their work is done ---------------------------------------


def answered(tide: Tide, run_id: UUID, http_status: int | None) -> Any:
    """The application begins the run, and answers long after, or with what became of its work."""
    (sent,) = tide.claim_deliveries()
    assert sent.run_id == run_id
    tide.begin_run(run_id=run_id)
    return report(tide, sent, http_status, error=None if http_status else "timed out")


@pytest.mark.parametrize("http_status", [None, 500, 409, 410])
def test_a_push_whose_run_has_been_begun_counts_as_delivered(
    tide: Tide, hour: Clock, http_status: int | None
) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    assert answered(tide, run_id, http_status).status == "delivered"
    (row,) = tide.list_deliveries()
    assert (row.status, row.http_status) == ("delivered", http_status)


def test_applications_that_answer_late_do_not_open_the_breaker(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    for _ in range(7):
        (run_id,) = pushed(tide)
        answered(tide, run_id, None)
    failures = value(tide.connection, "select e.failures from tide.endpoints as e")
    assert failures == 0


def test_a_run_begun_before_the_push_proves_nothing(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    (run_id,) = pushed(tide, max_attempts=3)
    send(tide)
    run = tide.begin_run(run_id=run_id)
    tide.fail(run_id=run_id, lease_id=run.lease_id, retry_after="1 second")
    later(tide, hour)
    (sent,) = tide.claim_deliveries()
    assert report(tide, sent, None).status == "pending"


def test_a_late_answer_counts_also_when_the_run_has_ended(tide: Tide, hour: Clock) -> None:
    pushing(tide)
    (run_id,) = pushed(tide)
    (sent,) = tide.claim_deliveries()
    run = tide.begin_run(run_id=run_id)
    tide.complete(run_id=run_id, lease_id=run.lease_id)
    assert report(tide, sent, None).status == "delivered"
