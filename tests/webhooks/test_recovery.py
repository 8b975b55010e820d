"""Recovery: a plain run that stalls is announced to its application, with a bound and no echo."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, value
from tests.webhooks.outbox import APP, SECOND, channel, later, outbox, post, report, send

STALLED = MINUTE + SECOND


def asked(connection: Connection, run_id: UUID) -> list[Any]:
    return [d for d in outbox(connection, run_id) if d.type == "run.resume"]


def test_stalled_run_is_announced(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP)
    later(tide, hour, STALLED)
    (delivery,) = asked(tide.connection, run.run_id)
    assert json.loads(delivery.body) == {
        "type": "run.resume",
        "run_id": str(run.run_id),
        "runId": f"run_{run.run_id.hex}",
        "workflow": "report",
        "workflowName": "report",
        "reason": "lease_expired",
        "attempt": 2,
        "delivery_id": str(delivery.delivery_id),
        "seq": tide.last_event(run.run_id).seq,
        "created_at": delivery.created_at.isoformat(),
    }
    assert (delivery.url, delivery.secret_name) == (APP, "default")
    event = tide.last_event(run.run_id)
    assert (event.type, event.payload["recoveries"]) == ("recovery.started", 1)
    assert tide.begin_run(run_id=run.run_id).attempt == 2


def test_run_without_a_recovery_url_is_left_alone(tide: Tide, hour: Clock) -> None:
    run = tide.begun()
    later(tide, hour, timedelta(days=1))
    assert outbox(tide.connection) == []
    assert tide.log(run.run_id) == ["run.created", "run.started"]


def test_run_nobody_began_is_not_announced(tide: Tide, hour: Clock) -> None:
    tide.create_run(workflow="w", recovery_url=APP)
    later(tide, hour, timedelta(days=1))
    assert outbox(tide.connection) == []


def test_healthy_runs_are_never_announced(tide: Tide, hour: Clock) -> None:
    beating, stepping, ended, cancelled, failed = (tide.begun(recovery_url=APP) for _ in range(5))
    tide.complete(run_id=ended.run_id, lease_id=ended.lease_id)
    tide.cancel(run_id=cancelled.run_id)
    tide.fail(run_id=failed.run_id, lease_id=failed.lease_id, error={})
    for number in range(10):
        later(tide, hour, 30 * SECOND)
        tide.heartbeat(run_ids=[beating.run_id], lease_ids=[beating.lease_id])
        step = {"run_id": stepping.run_id, "lease_id": stepping.lease_id, "name": str(number)}
        tide.begin_step(**step)
        tide.complete_step(**step, output=None)
    assert outbox(tide.connection) == []
    later(tide, hour, STALLED)
    assert {d.run_id for d in outbox(tide.connection)} == {beating.run_id, stepping.run_id}


def test_attempt_that_failed_with_attempts_left_is_announced_when_due(
    tide: Tide, hour: Clock
) -> None:
    run = tide.begun(recovery_url=APP, max_attempts=2)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={}, retry_after=MINUTE)
    later(tide, hour, MINUTE - SECOND)
    assert outbox(tide.connection) == []
    later(tide, hour, SECOND)
    (delivery,) = asked(tide.connection, run.run_id)
    assert json.loads(delivery.body)["reason"] == "ready"
    assert tide.begin_run(run_id=run.run_id).attempt == 2


def test_parked_run_is_announced_when_it_wakes(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP)
    tide.sleep(run_id=run.run_id, lease_id=run.lease_id, name="nap", duration="1 hour")
    later(tide, hour, timedelta(minutes=59))
    assert outbox(tide.connection) == []
    later(tide, hour, MINUTE)
    tide.reconcile()
    (delivery,) = asked(tide.connection, run.run_id)
    assert json.loads(delivery.body)["reason"] == "ready"


def test_run_that_sleeps_often_is_announced_each_time(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP)
    for number in range(25):
        tide.sleep(
            run_id=run.run_id, lease_id=run.lease_id, name=f"nap {number}", duration="1 hour"
        )
        later(tide, hour, timedelta(hours=1))
        tide.reconcile()
        assert len(asked(tide.connection, run.run_id)) == number + 1
        run = tide.begin_run(run_id=run.run_id)
    assert run.status == "running"


def test_announcements_come_at_growing_intervals_and_end(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP)
    later(tide, hour, STALLED)
    pauses = []
    while (now := tide.get_run(run_id=run.run_id)).status == "running":
        pauses.append((now.recover_at - hour.now) // MINUTE)
        later(tide, hour, now.recover_at - hour.now - SECOND)
        assert len(asked(tide.connection, run.run_id)) == len(pauses)
        later(tide, hour, SECOND)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert (now.status, now.failure_class) == ("failed", "not_recovered")
    assert len(asked(tide.connection, run.run_id)) == 10
    assert tide.log(run.run_id).count("run.failed") == 1
    later(tide, hour, timedelta(days=1))
    assert len(asked(tide.connection, run.run_id)) == 10


def test_recovery_never_tells_of_itself(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP, channels=[channel()])
    later(tide, hour, STALLED)
    send(tide, 410)
    before = len(outbox(tide.connection))
    for _ in range(5):
        later(tide, hour, SECOND)
    assert len(outbox(tide.connection)) == before
    assert len(asked(tide.connection, run.run_id)) == 1


def test_run_begun_by_another_needs_no_webhook(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP)
    later(tide, hour, STALLED)
    tide.begin_run(run_id=run.run_id)
    assert tide.claim_deliveries() == []
    (delivery,) = asked(tide.connection, run.run_id)
    assert (delivery.status, delivery.attempts) == ("dropped", 0)


def test_run_that_parked_again_needs_no_webhook(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP)
    later(tide, hour, STALLED)
    run = tide.begin_run(run_id=run.run_id)
    tide.sleep(run_id=run.run_id, lease_id=run.lease_id, name="nap", duration="1 day")
    assert tide.claim_deliveries() == []


def test_dead_recovery_urls_do_not_stop_the_recovery_of_queues(tide: Tide, hour: Clock) -> None:
    for number in range(105):
        tide.begun(recovery_url=f"https://dead{number}.example.com")
    runs = [tide.started(max_attempts=2) for _ in range(3)]
    hour.advance(STALLED)
    assert len(tide.claim(max_runs=10)) == 3
    hour.advance(STALLED)
    tide.reconcile()
    assert {tide.get_run(run_id=run.run_id).status for run in runs} == {"failed"}
    assert len({delivery.run_id for delivery in outbox(tide.connection)}) == 105
    post(tide, url="https://z.example.com")
    for _ in range(10):
        urls = {d.url for d in send(tide, None, error="no route")}
        if "https://z.example.com" in urls:
            break
        later(tide, hour, SECOND)
    assert "https://z.example.com" in urls


def test_failing_workflow_is_executed_a_bounded_number_of_times(tide: Tide, hour: Clock) -> None:
    failing = tide.begun(recovery_url=APP, max_attempts=3).run_id
    crashing = tide.begun(recovery_url="https://other.example.com").run_id
    executed = {failing: 1, crashing: 1}
    tide.fail(run_id=failing, lease_id=lease(tide, failing), error={})
    for _ in range(1000):
        later(tide, hour, MINUTE)
        for delivery in send(tide):
            again = tide.begin_run(run_id=delivery.run_id)
            executed[delivery.run_id] += 1
            if delivery.run_id == failing:
                tide.fail(run_id=failing, lease_id=again.lease_id, error={})
        run = tide.get_run(run_id=crashing)
        if run.finished_at is not None:
            break
    assert executed == {failing: 3, crashing: 11}
    assert run.failure_class == "not_recovered"
    assert tide.get_run(run_id=failing).failure_class == "max_retries"


def lease(tide: Tide, run_id: UUID) -> Any:
    return value(
        tide.connection, "select r.lease_id from tide.runs as r where r.run_id = %s", run_id
    )


def test_retried_run_is_announced_and_may_be_asked_for_again(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={})
    tide.retry(run_id=run.run_id)
    tide.reconcile()
    (delivery,) = asked(tide.connection, run.run_id)
    assert json.loads(delivery.body)["reason"] == "ready"
    assert tide.get_run(run_id=run.run_id).recoveries == 1


def test_run_somebody_holds_is_not_waited_for(tide: Tide, hour: Clock, connect: Any) -> None:
    held, stalled = (tide.begun(recovery_url=APP) for _ in range(2))
    other = connect(autocommit=False)
    other.execute("select from tide.heartbeat(%s, %s)", ([held.run_id], [held.lease_id]))
    later(tide, hour, STALLED)
    assert [d.run_id for d in outbox(tide.connection)] == [stalled.run_id]
    other.rollback()
    tide.reconcile()
    assert len(asked(tide.connection, held.run_id)) == 1


def test_webhook_that_failed_is_tried_a_few_times(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP)
    later(tide, hour, STALLED)
    for attempt in range(1, 6):
        tide.connection.execute("update tide.endpoints set open_until = null")
        (claimed,) = tide.claim_deliveries()
        answer = report(tide, claimed, 500)
        assert answer.attempts == attempt
        hour.set(answer.due_at)
    assert answer.status == "dead"
    tide.reconcile()
    assert tide.log(run.run_id).count("delivery.failed") == 1


def test_heartbeats_of_recoverable_runs_touch_no_index(tide: Tide, connection: Connection) -> None:
    run = tide.begun(recovery_url=APP)
    connection.execute("vacuum tide.runs_active")
    with connection.transaction():
        before = updates(connection)
        for _ in range(5):
            tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id])
        after = updates(connection)
    assert (after.made - before.made, after.hot - before.hot) == (5, 5)


def updates(connection: Connection) -> Any:
    return connection.execute(
        """
        select
          pg_stat_get_xact_tuples_updated('tide.runs_active'::regclass) as made,
          pg_stat_get_xact_tuples_hot_updated('tide.runs_active'::regclass) as hot
        """
    ).fetchone()
