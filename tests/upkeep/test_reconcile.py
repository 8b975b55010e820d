"""reconcile: all upkeep, in batches of its own, safe at any rate and from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import (
    Clock,
    Connection,
    at_once,
    one,
    results,
    value,
    wait_until_blocked,
)

SWEEPS = {
    "identity",
    "expired_leases",
    "overdue",
    "schedules",
    "due",
    "gate_timeouts",
    "due_waits",
    "ended_children",
    "dependents",
    "cascades",
    "dispatches",
    "push",
    "stalled_runs",
    "deliveries",
    "lanes",
    "leaked_slots",
    "leaked_lanes",
    "budgets",
    "stranded_amounts",
    "settled_clock",
    "claim_floors",
    "finished_counts",
    "retention",
    "stale_rows",
}


NEEDED = ("reconcile", "_sweep", "_sweeps", "_valid_integer", "_valid_interval")
"""What a role that calls reconcile has to be granted: it runs with the rights of its caller."""


def test_report_names_every_sweep(tide: Tide) -> None:
    assert set(tide.reconcile()) == SWEEPS


def test_expired_run_is_queued_again_at_its_place(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report", max_attempts=2)
    (run,) = tide.claim(worker="w1")
    hour.advance(MINUTE + timedelta(seconds=1))
    assert tide.reconcile()["expired_leases"] == 1
    again = tide.get_run(run_id=run.run_id)
    assert (again.status, again.ready, again.attempt) == ("queued", True, 1)
    assert (again.run_at, again.leased_until) == (run.run_at, None)
    event = tide.last_event(run.run_id)
    assert (event.type, event.payload["reason"]) == ("run.requeued", "lease_expired")
    assert event.payload["worker"] == "w1"


def test_lease_is_not_expired_before_its_end(tide: Tide, hour: Clock) -> None:
    tide.started(max_attempts=2)
    hour.advance(MINUTE)
    assert tide.reconcile()["expired_leases"] == 0
    hour.advance(timedelta(microseconds=1))
    assert tide.reconcile()["expired_leases"] == 1


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_expired_last_attempt_fails_with_max_retries(
    tide: Tide, hour: Clock, max_attempts: int
) -> None:
    run = tide.started(max_attempts=max_attempts)
    for _ in range(max_attempts):
        hour.advance(2 * MINUTE)
        tide.reconcile()
        tide.claim()
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.status, ended.failure_class) == ("failed", "max_retries")
    assert "lease expired" in ended.error["message"]
    assert tide.log(run.run_id)[-1] == "run.failed"


def test_expired_plain_run_is_left_to_whoever_begins_it(tide: Tide, hour: Clock) -> None:
    run = tide.begun()
    hour.advance(timedelta(hours=1))
    assert tide.reconcile()["expired_leases"] == 0
    assert tide.complete(run_id=run.run_id, lease_id=run.lease_id).status == "completed"


@pytest.mark.parametrize("state", ["pending", "begun", "queued", "delayed", "running"])
def test_overdue_run_in_any_state_is_cancelled(tide: Tide, hour: Clock, state: str) -> None:
    arguments: dict[str, Any] = {"workflow": "report", "deadline": MINUTE}
    if state in ("pending", "begun"):
        run = tide.create_run(**arguments) if state == "pending" else tide.begun(**arguments)
    elif state == "running":
        run = tide.started(**arguments)
    else:
        run = tide.enqueue(**arguments, delay="59 seconds" if state == "delayed" else None)
    hour.advance(MINUTE)
    assert tide.reconcile()["overdue"] == 1
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.status, ended.cancel_reason) == ("cancelled", "deadline")
    assert tide.log(run.run_id)[-1] == "run.cancelled"


def test_due_runs_become_ready(tide: Tide, hour: Clock) -> None:
    tide.enqueue(workflow="report", delay=MINUTE)
    tide.enqueue(workflow="report", delay="1 hour")
    hour.advance(MINUTE)
    assert tide.reconcile()["due"] == 1
    assert [run.ready for run in tide.list_runs()] == [False, True]


def test_second_round_finds_nothing_to_do(tide: Tide, hour: Clock) -> None:
    tide.started(max_attempts=2)
    tide.enqueue(workflow="report", deadline=MINUTE)
    hour.advance(2 * MINUTE)
    tide.reconcile()
    report = tide.reconcile()
    assert [report[sweep] for sweep in ("expired_leases", "overdue", "due", "leaked_slots")] == [
        0
    ] * 4


def test_batches_handle_more_runs_than_one_holds(tide: Tide, hour: Clock) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "max_attempts": 2}] * 25)
    tide.claim(max_runs=25)
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "deadline": "1 minute"}] * 25)
    hour.advance(2 * MINUTE)
    report = tide.reconcile(batch=10)
    assert (report["expired_leases"], report["overdue"]) == (25, 25)


def test_reconcile_is_refused_inside_a_transaction(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    before = contents(tide.connection)
    other = connect(autocommit=False)
    with refused("2D000"):
        other.execute("call tide.reconcile()")
    other.rollback()
    assert contents(tide.connection) == before


def test_reconcile_beside_another_is_busy_and_does_nothing(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    other = connect(autocommit=False)
    other.execute("select from tide.turns where turn = 'reconcile' for update")
    assert tide.reconcile()["busy"] is True
    other.rollback()
    report = tide.reconcile()
    assert "busy" not in report
    assert report["expired_leases"] == 1


def test_reconcilers_at_once_handle_each_run_once(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "max_attempts": 2}] * 30)
    runs = tide.claim(max_runs=30)
    hour.advance(2 * MINUTE)
    reconcilers = [Tide(connect()) for _ in range(4)]
    results(at_once([lambda r=r: r.reconcile(batch=5) for r in reconcilers]))
    tide.reconcile()
    for run in runs:
        assert tide.log(run.run_id) == ["run.enqueued", "run.claimed", "run.requeued"]


def test_runs_somebody_has_locked_are_not_waited_for(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    locked, free = tide.started(max_attempts=2), tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    other = Tide(connect(autocommit=False))
    other.complete(run_id=locked.run_id, lease_id=locked.lease_id)
    assert tide.reconcile()["expired_leases"] == 1
    other.connection.commit()
    assert tide.get_run(run_id=locked.run_id).status == "completed"
    assert tide.get_run(run_id=free.run_id).status == "queued"


@pytest.mark.parametrize("act", ["enqueue", "claim", "set_queue", "cancel"])
def test_open_transactions_are_not_waited_for(
    tide: Tide, hour: Clock, connect: Callable[..., Connection], act: str
) -> None:
    """Queues with floors, a cap and a rate; somebody's transaction has touched all of it."""
    tide.set_queue(queue="default", settings={"concurrency": 2, "rate_limit": 9})
    tide.enqueue(workflow="report", dedupe_key="k")
    for _ in range(4):
        hour.advance(MINUTE)
        tide.reconcile()
    other = Tide(connect(autocommit=False))
    if act == "enqueue":
        other.enqueue(workflow="report", run_at=hour.now - timedelta(days=1))
    elif act == "claim":
        other.claim(worker="w1")
    elif act == "set_queue":
        other.set_queue(queue="default", settings={"concurrency": 1, "rate_limit": 1})
    else:
        other.cancel_many(workflow="report")
    for _ in range(2):
        hour.advance(MINUTE)
        assert "busy" not in tide.reconcile()
        tide.claim(queues=["other"], worker="w1")
    other.connection.commit()
    assert tide.sweep_failures() == []


def test_reconcile_leaves_no_lock_and_no_setting_behind(tide: Tide) -> None:
    before = value(tide.connection, "select current_setting('search_path')")
    tide.reconcile()
    assert value(tide.connection, "select current_setting('search_path')") == before
    assert value(tide.connection, "select count(*) from pg_locks where locktype = 'advisory'") == 0


def test_reconcile_works_under_a_serializable_default(tide: Tide, hour: Clock) -> None:
    tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    tide.connection.execute("set default_transaction_isolation = 'serializable'")
    assert tide.reconcile()["expired_leases"] == 1


@pytest.mark.parametrize(
    ("batch", "budget", "argument"),
    [
        (0, "1 s", "batch"),
        (-1, "1 s", "batch"),
        (10001, "1 s", "batch"),
        (None, "1 s", "batch"),
        (10, "0", "budget"),
        (10, "-1 s", "budget"),
        (10, "2 hours", "budget"),
        (10, None, "budget"),
    ],
)
def test_bad_arguments_are_refused(
    tide: Tide, batch: int | None, budget: str | None, argument: str
) -> None:
    with refused("22023", argument):
        tide.connection.execute("call tide.reconcile(%s::int, %s::interval)", (batch, budget))


def test_year_without_upkeep_is_caught_up(tide: Tide) -> None:
    tide.finished()
    tide.connection.execute(
        "update tide.ticks set counted_until = counted_until - interval '1 year'"
    )
    for _ in range(3):
        tide.connection.execute("call tide.reconcile(budget => '1 hour')")
    age = value(tide.connection, "select clock_timestamp() - counted_until from tide.ticks")
    assert age < 2 * MINUTE


def test_reconcilers_at_once_fire_each_time_once(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    for number in range(10):
        tide.set_schedule(
            name=f"s{number}",
            cron="* * * * *",
            workflow="report",
            misfire="all",
            queue=f"q{number}",
        )
    hour.advance(5 * MINUTE)
    callers = [Tide(connect()) for _ in range(4)]
    results(at_once([lambda c=c: c.reconcile(batch=3) for c in callers]))
    tide.reconcile()
    for number in range(10):
        fires = tide.list_fires(name=f"s{number}")
        assert [fire.outcome for fire in fires] == ["enqueued"] * 5
        assert len(tide.list_runs(queue=f"q{number}")) == 5


def test_reconcile_that_is_killed_half_way_leaves_whole_batches(
    tide: Tide, hour: Clock, connect: Callable[..., Connection], direct_dsn: str
) -> None:
    """It is stopped at the insert of an event: what it had not committed is as it was."""
    runs = [tide.started(max_attempts=2) for _ in range(5)]
    tide.enqueue(workflow="report", deadline=MINUTE)
    hour.connection.execute(
        f"""
        create or replace function tide_test.wait() returns trigger language plpgsql as $$
        begin
          perform pg_advisory_xact_lock_shared(4711);
          return new;
        end;
        $$;
        create trigger wait before insert on tide.events
        for each row when (new.run_id = '{runs[2].run_id}') execute function tide_test.wait();
        """.encode()
    )
    hour.advance(2 * MINUTE)
    gate = connect(autocommit=False)
    gate.execute("select pg_advisory_xact_lock(4711)")
    killed = Tide(connect(direct_dsn))
    pid = killed.connection.info.backend_pid

    def reconcile() -> None:
        with pytest.raises(psycopg.OperationalError):
            killed.reconcile(batch=2)

    def kill() -> None:
        wait_until_blocked(tide.connection, pid)
        tide.connection.execute("select pg_terminate_backend(%s, 10000)", (pid,))

    results(at_once([reconcile, kill]))
    queued = [run for run in runs if tide.get_run(run_id=run.run_id).status == "queued"]
    assert len(queued) == 2
    gate.rollback()
    report = tide.reconcile()
    assert (report["expired_leases"], report["overdue"]) == (3, 1)
    for run in runs:
        assert tide.log(run.run_id) == ["run.enqueued", "run.claimed", "run.requeued"]


def test_reconcile_needs_no_right_but_its_own(
    tide: Tide, hour: Clock, connect: Callable[..., Connection], direct_dsn: str
) -> None:
    """Whoever may only call it, as a cron job may, reads and changes nothing else."""
    run = tide.started(max_attempts=2)
    hour.advance(2 * MINUTE)
    role = one(tide.connection, "select 'tide_cron_' || pg_backend_pid() as name").name
    tide.connection.execute(
        f"""
        create role {role};
        grant usage on schema tide to {role};
        grant execute on routine {", ".join(f"tide.{name}" for name in NEEDED)} to {role};
        """.encode()
    )
    try:
        other = connect(direct_dsn)
        other.execute(f"set role {role}".encode())
        report = value(other, "call tide.reconcile()")
        assert report["expired_leases"] == 1
        assert tide.get_run(run_id=run.run_id).status == "queued"
        for forbidden in ("select from tide.runs", "select tide.claim()", "select tide._now()"):
            with refused("42501"):
                other.execute(forbidden.encode())
        other.close()
    finally:
        tide.connection.execute(f"drop owned by {role}; drop role {role}".encode())


def test_poisoned_schedule_is_set_aside_and_the_others_fire(tide: Tide, hour: Clock) -> None:
    for name in ("a", "bad", "c"):
        tide.set_schedule(name=name, cron="* * * * *", workflow=f"work-{name}")
    hour.connection.execute(
        """
        create or replace function tide_test.poison() returns trigger language plpgsql as $$
        begin
          raise exception 'poison';
        end;
        $$;
        create trigger poison before insert on tide.runs_active
        for each row when (new.workflow = 'work-bad') execute function tide_test.poison();
        """
    )
    hour.advance(MINUTE)
    tide.connection.execute("call tide.reconcile()")
    assert sorted(run.workflow for run in tide.list_runs()) == ["work-a", "work-c"]
    (failure,) = tide.sweep_failures()
    assert (failure.sweep, failure.key, failure.error) == ("schedules", "bad", "poison")
    hour.connection.execute("drop trigger poison on tide.runs_active")
    hour.advance(MINUTE)
    tide.connection.execute("call tide.reconcile()")
    assert [fire.outcome for fire in tide.list_fires(name="bad")] == ["enqueued", "missed"]


def test_time_box_is_honoured_and_the_next_call_goes_on(tide: Tide, hour: Clock) -> None:
    """The box is looked at between batches: each sweep does one batch and no second."""
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "delay": "1 minute"}] * 5000)
    hour.advance(2 * MINUTE)
    query = "call tide.reconcile(batch => 1, budget => '10 milliseconds')"
    first = value(tide.connection, query)["due"]
    assert 1 <= first < 5000
    assert tide.reconcile()["due"] == 5000 - first


def test_time_of_a_whole_call_is_that_of_the_statement(tide: Tide, hour: Clock) -> None:
    """A statement_timeout stops the call, keeps what was committed and breaks nothing."""
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", "delay": "1 minute"}] * 5000)
    hour.advance(2 * MINUTE)
    tide.connection.execute("set statement_timeout = '100ms'")
    with refused("57014"):
        tide.connection.execute("call tide.reconcile(batch => 1, budget => '1 hour')")
    tide.connection.execute("reset statement_timeout")
    done = value(tide.connection, "select count(*) from tide.runs_active where ready")
    assert done < 5000
    assert tide.reconcile()["due"] == 5000 - done
