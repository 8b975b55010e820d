"""health: one row for a monitor, each column of which shows one fault."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, Connection, one, value

URL = "http://example.com/hook"
HOUR = timedelta(hours=1)
FEW = 500
"""Buffers the view may touch beside a backlog; reading the backlog takes thousands."""


def health(tide: Tide) -> Any:
    return one(tide.connection, "select * from tide.health")


QUIET = {
    "paused_at": None,
    "pause_reason": None,
    "oldest_expired_lease_age": None,
    "oldest_ready_run_age": None,
    "oldest_due_schedule_age": None,
    "oldest_due_delivery_age": None,
    "dead_deliveries": 0,
    "open_breakers": 0,
    "poison_rows": 0,
    "leaked_slots": 0,
}


def faults(tide: Tide) -> dict[str, Any]:
    """The columns that are not as they are in an installation at peace."""
    found = health(tide)._asdict()
    return {name: found[name] for name, quiet in QUIET.items() if found[name] != quiet}


def test_installation_at_peace_shows_no_fault(tide: Tide, hour: Clock) -> None:
    tide.started()
    tide.finished(queue="other")
    tide.enqueue(workflow="report", delay=HOUR)
    tide.create_run(workflow="report")
    tide.set_schedule(name="hourly", cron="30 * * * *", workflow="report")
    tide.set_queue(queue="capped", settings={"concurrency": 3})
    tide.started(queue="capped")
    tide.reconcile()
    assert faults(tide) == {}


def test_ages_of_upkeep_grow_until_it_runs(tide: Tide, hour: Clock) -> None:
    tide.reconcile()
    tide.claim()
    first = health(tide)
    assert (first.last_tick_age, first.last_reconcile_age) == (timedelta(0), timedelta(0))
    hour.advance(HOUR)
    assert (health(tide).last_tick_age, health(tide).last_reconcile_age) == (HOUR, HOUR)
    tide.claim()
    assert (health(tide).last_tick_age, health(tide).last_reconcile_age) == (timedelta(0), HOUR)
    tide.reconcile()
    assert health(tide).last_reconcile_age == timedelta(0)


def test_pause_is_shown_with_its_reason(tide: Tide, hour: Clock) -> None:
    tide.pause(reason="the database moves")
    assert faults(tide) == {"paused_at": hour.now, "pause_reason": "the database moves"}


def test_oldest_expired_lease_is_shown(tide: Tide, hour: Clock) -> None:
    tide.started(lease="10 minutes")
    tide.started(lease="5 minutes")
    tide.begun()
    hour.advance(HOUR)
    assert faults(tide) == {"oldest_expired_lease_age": 55 * MINUTE}
    tide.reconcile()
    assert faults(tide) == {}


def test_oldest_ready_run_of_any_queue_and_priority_is_shown(tide: Tide, hour: Clock) -> None:
    for minutes, queue, priority in ((3, "a", 0), (7, "b", -5), (5, "b", 9), (1, "c", 0)):
        tide.enqueue(
            workflow="report",
            queue=queue,
            priority=priority,
            run_at=hour.now - minutes * MINUTE,
        )
    tide.enqueue(workflow="report", delay=HOUR)
    assert faults(tide) == {"oldest_ready_run_age": 7 * MINUTE}
    tide.claim(queues=["b"], max_runs=9)
    assert faults(tide) == {"oldest_ready_run_age": 3 * MINUTE}


def test_oldest_due_schedule_is_shown(tide: Tide, hour: Clock) -> None:
    for name in ("running", "paused", "disabled"):
        tide.set_schedule(
            name=name, cron="10 * * * *", workflow="report", enabled=name != "disabled"
        )
    tide.pause_schedule(name="paused")
    hour.advance(15 * MINUTE)
    assert faults(tide) == {"oldest_due_schedule_age": 5 * MINUTE}


def test_oldest_due_delivery_is_shown(tide: Tide, hour: Clock) -> None:
    tide.create_run(workflow="report", channels=[{"url": URL}])
    hour.advance(MINUTE)
    assert faults(tide) == {"oldest_due_delivery_age": MINUTE}
    tide.claim_deliveries(lease="10 minutes")
    assert faults(tide) == {}


def test_dead_deliveries_are_counted_until_sent_again(tide: Tide, hour: Clock) -> None:
    for number in range(3):
        tide.create_run(workflow="report", channels=[{"url": URL}])
        (delivery,) = tide.claim_deliveries()
        own = {"delivery_id": delivery.delivery_id, "lease_id": delivery.lease_id}
        tide.finish_delivery(**own, http_status=410)
        assert faults(tide) == {"dead_deliveries": number + 1}
    tide.redeliver(delivery_id=delivery.delivery_id)
    assert faults(tide) == {"dead_deliveries": 2}


def test_open_breakers_are_counted_while_they_are(tide: Tide, hour: Clock) -> None:
    for host in ("a", "b"):
        tide.create_run(workflow="report", channels=[{"url": f"http://{host}.example.com/hook"}])
    for _ in range(5):
        assert health(tide).open_breakers == 0
        for delivery in tide.claim_deliveries():
            own = {"delivery_id": delivery.delivery_id, "lease_id": delivery.lease_id}
            tide.finish_delivery(**own, http_status=500)
        deliveries = tide.list_deliveries()
        due = max(delivery.due_at for delivery in deliveries)
        if deliveries[0].attempts < 5:
            hour.set(due)
    assert faults(tide) == {"open_breakers": 2}
    hour.advance(HOUR)
    assert health(tide).open_breakers == 0


def test_rows_set_aside_are_counted_while_they_are(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=2)
    hour.connection.execute(
        f"""
        create or replace function tide_test.poison() returns trigger language plpgsql as $$
        begin
          raise exception 'poison';
        end;
        $$;
        create trigger poison before insert on tide.events
        for each row when (new.run_id = '{run.run_id}') execute function tide_test.poison();
        """.encode()
    )
    hour.advance(2 * MINUTE)
    tide.connection.execute("call tide.reconcile()")
    assert faults(tide) == {"oldest_expired_lease_age": MINUTE, "poison_rows": 1}
    hour.advance(MINUTE)
    assert health(tide).poison_rows == 0


def test_leaked_slots_are_counted(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 3})
    tide.started()
    tide.connection.execute(
        "update tide.slots set run_id = gen_random_uuid() where slot = 3 and run_id is null"
    )
    assert faults(tide) == {"leaked_slots": 1}
    tide.reconcile()
    assert faults(tide) == {}


def test_oldest_transaction_and_what_it_holds_back_are_shown(
    tide: Tide, clock: Clock, connect: Callable[..., Connection]
) -> None:
    """By the running clock: the server itself says when a transaction began."""
    other = connect(autocommit=False)
    other.execute("set transaction isolation level repeatable read")
    began = one(other, "select now() as at").at
    for _ in range(5):
        tide.enqueue(workflow="report")
    found = health(tide)
    assert found.vacuum_horizon_age >= 5
    assert found.oldest_transaction_age >= timedelta(0)
    assert found.oldest_transaction_age <= clock.now - began
    other.rollback()
    assert health(tide).vacuum_horizon_age in (None, *range(5))


@pytest.mark.parametrize("analyzed", [False, True])
def test_backlog_is_not_read(tide: Tide, analyzed: bool) -> None:
    tide.connection.execute(
        """
        insert into tide.runs_active (
          run_id, workflow, queue, status, priority, last_seq, ready, run_at, created_at
        )
        select
          gen_random_uuid(), 'work', 'q' || n.i % 3, 'queued', n.i % 4, 1, true, now(), now()
        from generate_series(1, 200000) as n(i)
        """
    )
    for queue in range(20):
        tide.started(queue=f"busy-{queue}")
    if analyzed:
        tide.connection.execute("analyze tide.runs_active")
    (plan,) = value(
        tide.connection, "explain (analyze, buffers, format json) select * from tide.health"
    )
    touched = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert touched < FEW
