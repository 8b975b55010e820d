"""Two ends of one run at once: exactly one is recorded, the other is told so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.races.scenes import busy_slots, history, leased, queued
from tests.races.stepper import Stepper
from tests.support import Clock, Connection, value

COMPLETE = "select r.status from tide.complete(%(run)s, %(lease)s) as r"
FAIL = "select r.status from tide.fail(%(run)s, %(lease)s, retryable => false) as r"
CANCEL = "select r.status, r.cancel_reason from tide.cancel(%(run)s, '{}') as r"
EXPIRE = "select tide._sweep('expired_leases', 10)"
OVERDUE = "select tide._sweep('overdue', 10)"
RETRY = "select r.status, r.last_seq from tide.retry(%(run)s) as r"


@pytest.fixture(autouse=True)
def run(stepper: Stepper, connection: Connection) -> None:
    """A run in a queue with a cap, held by a worker; facts run and lease."""
    connection.execute("select tide.set_queue('default', '{\"concurrency\": 1}')")
    stepper.facts["run"], stepper.facts["lease"] = leased(connection, lease="10 s", deadline="1 h")


def ended(stepper: Stepper, connection: Connection) -> list[str]:
    """What happened to the run after it was claimed; once ended, its slot is free."""
    status = value(
        connection, "select r.status from tide.runs as r where r.run_id = %s", stepper.facts["run"]
    )
    assert busy_slots(connection) == (1 if status == "running" else 0)
    return history(connection, stepper.facts["run"])[2:]


def test_a_complete_after_a_cancel_that_commits_first_is_refused(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", cancel=CANCEL.format("enough"))
    stepper.session("b", complete=COMPLETE)
    stepper.play(
        """
        a.begin
        a.cancel     cancelled, enough
        b.complete   waiting
        a.commit
        b.complete   TD001
        """
    )
    assert ended(stepper, connection) == ["run.cancelled"]


def test_a_complete_goes_on_when_the_cancel_before_it_rolls_back(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", cancel=CANCEL.format("enough"))
    stepper.session("b", complete=COMPLETE)
    stepper.play(
        """
        a.begin
        a.cancel     cancelled, enough
        b.complete   waiting
        a.rollback
        b.complete   completed
        """
    )
    assert ended(stepper, connection) == ["run.completed"]


@pytest.mark.parametrize("end", [COMPLETE, FAIL], ids=["complete", "fail"])
def test_a_cancel_after_an_end_that_commits_first_is_refused(
    stepper: Stepper, connection: Connection, end: str
) -> None:
    stepper.session("a", end=end)
    stepper.session("b", cancel=CANCEL.format("enough"))
    status = "completed" if end is COMPLETE else "failed"
    stepper.play(
        f"""
        a.begin
        a.end        {status}
        b.cancel     waiting
        a.commit
        b.cancel     TD003
        """
    )
    assert ended(stepper, connection) == [f"run.{status}"]


def test_two_cancels_are_one_and_the_first_reason_stays(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", cancel=CANCEL.format("first"))
    stepper.session("b", cancel=CANCEL.format("second"))
    stepper.play(
        """
        a.begin
        a.cancel    cancelled, first
        b.cancel    waiting
        a.commit
        b.cancel    cancelled, first
        """
    )
    assert ended(stepper, connection) == ["run.cancelled"]


def test_the_same_complete_twice_at_once_is_one(stepper: Stepper, connection: Connection) -> None:
    stepper.session("a", complete=COMPLETE)
    stepper.session("b", complete=COMPLETE)
    stepper.play(
        """
        a.begin
        a.complete   completed
        b.complete   waiting
        a.commit
        b.complete   completed
        """
    )
    assert ended(stepper, connection) == ["run.completed"]


def test_the_same_fail_twice_at_once_uses_one_attempt(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("update tide.runs_active set max_attempts = 3")
    fail = "select r.status, r.attempt from tide.fail(%(run)s, %(lease)s) as r"
    stepper.session("a", fail=fail)
    stepper.session("b", fail=fail)
    stepper.play(
        """
        a.begin
        a.fail     queued, 1
        b.fail     waiting
        a.commit
        b.fail     queued, 1
        """
    )
    assert ended(stepper, connection) == ["run.requeued"]


def test_a_complete_and_a_fail_of_one_attempt_leave_the_first(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", fail=FAIL)
    stepper.session("b", complete=COMPLETE)
    stepper.play(
        """
        a.begin
        a.fail       failed
        b.complete   waiting
        a.commit
        b.complete   TD003
        """
    )
    assert ended(stepper, connection) == ["run.failed"]


def test_a_complete_beside_the_expiry_of_its_lease_is_refused_once_that_commits(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    connection.execute("update tide.runs_active set max_attempts = 3")
    clock.advance(timedelta(minutes=1))
    stepper.session("a", expire=EXPIRE)
    stepper.session("b", complete=COMPLETE)
    stepper.play(
        """
        a.begin
        a.expire     1
        b.complete   waiting
        a.commit
        b.complete   TD002
        """
    )
    assert ended(stepper, connection) == ["run.requeued"]


def test_a_complete_beside_the_failure_by_expiry_is_refused_once_that_commits(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=1))
    stepper.session("a", expire=EXPIRE)
    stepper.session("b", complete=COMPLETE)
    stepper.play(
        """
        a.begin
        a.expire     1
        b.complete   waiting
        a.commit
        b.complete   TD003
        """
    )
    assert ended(stepper, connection) == ["run.failed"]


def test_expiry_passes_over_a_run_that_is_being_completed(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=1))
    stepper.session("a", complete=COMPLETE)
    stepper.session("b", expire=EXPIRE)
    stepper.play(
        """
        a.begin
        a.complete   completed
        b.expire     0
        a.commit
        b.expire     0
        """
    )
    assert ended(stepper, connection) == ["run.completed"]


def test_a_late_complete_before_any_sweep_counts(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=1))
    stepper.session("a", complete=COMPLETE)
    stepper.session("b", expire=EXPIRE)
    stepper.play(
        """
        a.complete   completed
        b.expire     0
        """
    )


def test_a_complete_beside_the_deadline_sweep_is_refused(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(hours=2))
    stepper.session("a", overdue=OVERDUE)
    stepper.session("b", complete=COMPLETE)
    stepper.play(
        """
        b.complete   TD001
        a.begin
        a.overdue    1
        b.complete   waiting
        a.commit
        b.complete   TD001
        """
    )
    assert ended(stepper, connection) == ["run.cancelled"]


def test_the_deadline_sweep_passes_over_a_run_that_is_being_ended(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    stepper.session("a", complete=COMPLETE)
    stepper.session("b", overdue=OVERDUE)
    connection.execute("select tide.cancel_many('none')")
    clock.advance(timedelta(minutes=59))
    stepper.play("a.begin\na.complete completed")
    clock.advance(timedelta(hours=2))
    stepper.play(
        """
        b.overdue    0
        a.commit
        b.overdue    0
        """
    )
    assert ended(stepper, connection) == ["run.completed"]


def test_two_retries_are_one(stepper: Stepper, connection: Connection) -> None:
    connection.execute("select tide.cancel(%s)", (stepper.facts["run"],))
    stepper.session("a", retry=RETRY)
    stepper.session("b", retry=RETRY)
    stepper.play(
        """
        a.begin
        a.retry    queued, 4
        b.retry    waiting
        a.commit
        b.retry    queued, 4
        """
    )
    assert ended(stepper, connection) == ["run.cancelled", "run.retried"]


def test_a_retry_goes_on_when_the_retry_before_it_rolls_back(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("select tide.cancel(%s)", (stepper.facts["run"],))
    stepper.session("a", retry=RETRY)
    stepper.session("b", retry=RETRY)
    stepper.play(
        """
        a.begin
        a.retry      queued, 4
        b.retry      waiting
        a.rollback
        b.retry      queued, 4
        """
    )
    assert ended(stepper, connection) == ["run.cancelled", "run.retried"]


def test_a_cancel_beside_an_open_retry_cancels_the_retried_run_or_nothing(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("select tide.cancel(%s, 'first')", (stepper.facts["run"],))
    stepper.session("a", retry=RETRY)
    stepper.session("b", cancel=CANCEL.format("second"))
    stepper.play(
        """
        a.begin
        a.retry     queued, 4
        b.cancel    cancelled, first
        a.commit
        b.cancel    cancelled, second
        """
    )
    assert ended(stepper, connection) == ["run.cancelled", "run.retried", "run.cancelled"]


def test_a_cancel_that_a_retry_overtakes_cancels_the_retried_run(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("select tide.cancel(%s, 'first')", (stepper.facts["run"],))
    stepper.gate("gate", "_find_run")
    stepper.session("a", retry=RETRY)
    stepper.session("b", cancel=CANCEL.format("second"))
    stepper.play(
        """
        gate.begin
        gate.shut    nothing
        b.cancel     waiting
        a.retry      queued, 4
        gate.commit
        b.cancel     cancelled, second
        """
    )
    assert ended(stepper, connection) == ["run.cancelled", "run.retried", "run.cancelled"]


def test_a_begin_that_a_retry_overtakes_begins_the_retried_run(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["plain"] = value(connection, "select (tide.create_run('work')).run_id")
    connection.execute("select tide.cancel(%s)", (stepper.facts["plain"],))
    stepper.gate("gate", "_find_run")
    stepper.session("a", retry="select r.status from tide.retry(%(plain)s) as r")
    stepper.session("b", start="select r.status from tide.begin_run(%(plain)s) as r")
    stepper.play(
        """
        gate.begin
        gate.shut    nothing
        b.start      waiting
        a.retry      pending
        gate.commit
        b.start      running
        """
    )


@pytest.mark.parametrize("claimed", [False, True], ids=["queued", "claimed again"])
def test_a_reschedule_that_a_retry_overtakes_sees_the_retried_run(
    stepper: Stepper, connection: Connection, claimed: bool
) -> None:
    connection.execute("select tide.cancel(%s)", (stepper.facts["run"],))
    stepper.gate("gate", "_find_run")
    stepper.session("a", retry=RETRY, claim="select c.run_id from tide.claim() as c")
    stepper.session("b", move="select r.status from tide.reschedule(%(run)s, now()) as r")
    claim = "a.claim run" if claimed else ""
    stepper.play(
        f"""
        gate.begin
        gate.shut    nothing
        b.move       waiting
        a.retry      queued, 4
        {claim}
        gate.commit
        b.move       {"TD030" if claimed else "queued"}
        """
    )


def test_a_reschedule_never_moves_a_run_that_was_claimed_meanwhile(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("select tide.cancel(%s)", (stepper.facts["run"],))
    stepper.gate("before", "_find_run")
    stepper.gate("after", "_valid_priority")
    stepper.session("a", retry=RETRY, claim="select c.run_id from tide.claim() as c")
    stepper.session("b", move="select r.status from tide.reschedule(%(run)s, now(), 5) as r")
    stepper.play(
        """
        before.begin
        after.begin
        before.shut     nothing
        after.shut      nothing
        b.move          waiting
        a.retry         queued, 4
        before.commit
        a.claim         nothing
        after.commit
        b.move          queued
        a.claim         run
        """
    )


def test_two_begins_of_a_plain_run_give_one_lease(stepper: Stepper, connection: Connection) -> None:
    stepper.facts["plain"] = value(connection, "select (tide.create_run('work')).run_id")
    begin = "select r.status from tide.begin_run(%(plain)s, worker => '{}') as r"
    stepper.session("a", start=begin.format("a"))
    stepper.session("b", start=begin.format("b"))
    stepper.play(
        """
        a.begin
        a.start    running
        b.start    waiting
        a.commit
        b.start    TD004
        """
    )


def test_an_operator_cannot_wake_a_run_that_is_being_cancelled(
    stepper: Stepper, connection: Connection
) -> None:
    run, lease = stepper.facts["run"], stepper.facts["lease"]
    connection.execute(
        "select tide.begin_step(%s, %s, 'pay', contract => '{\"replay\": \"manual\"}')",
        (run, lease),
    )
    connection.execute("select tide.fail_step(%s, %s, 'pay')", (run, lease))
    resolve = "select s.status from tide.resolve_step(%(run)s, 'pay', 'retry') as s"
    stepper.session("a", cancel=CANCEL.format("enough"))
    stepper.session("b", resolve=resolve)
    stepper.session("c", resolve=resolve)
    stepper.play(
        """
        c.begin
        c.resolve    failed_retryable
        b.resolve    waiting
        c.rollback
        b.resolve    failed_retryable
        b.resolve    TD030
        a.cancel     cancelled, enough
        b.resolve    TD001
        """
    )


def test_everything_in_a_transaction_vanishes_with_its_rollback(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session(
        "a",
        enqueue="select (tide.enqueue('work', queue => 'other')).deduplicated",
        many="""
            select count(*)
            from tide.enqueue_many('other', '[{"workflow": "work"}, {"workflow": "work"}]')
            """,
        set="select q.queue from tide.set_queue('other', '{\"concurrency\": 2}') as q",
        step="select s.action from tide.begin_step(%(run)s, %(lease)s, 'step') as s",
        settle="""
            select s.accepted
            from tide.settle(
              jsonb_build_array(jsonb_build_object('run_id', %(run)s, 'lease_id', %(lease)s))
            ) as s
            """,
        claim="select count(*) from tide.claim('{other}', max_runs => 9)",
    )
    before = everything(connection)
    stepper.play(
        """
        a.begin
        a.enqueue    no
        a.many       2
        a.set        other
        a.step       execute
        a.settle     yes
        a.claim      2
        a.rollback
        """
    )
    assert everything(connection) == before


def everything(connection: Connection) -> dict[str, list[str]]:
    """The rows of every table of the schema."""
    tables = [
        row.table
        for row in connection.execute(
            """
            select c.oid::regclass::text as table
            from pg_class as c
            where c.relnamespace = 'tide'::regnamespace
              and c.relkind = 'r'
            order by 1
            """
        )
    ]
    return {
        table: [
            row.row
            for row in connection.execute(f"select t::text as row from {table} as t order by 1")
        ]
        for table in tables
    }


def test_settles_of_the_same_runs_in_opposite_order_do_not_deadlock(
    stepper: Stepper, connection: Connection
) -> None:
    held = [leased(connection, queue=queue) for queue in ("z", "y", "x")]
    (stepper.facts["first"], _), _, (stepper.facts["last"], _) = held
    settle = "select s.accepted, s.reason from tide.settle('{}') as s"
    lock = "select r.run_id from tide.runs_active as r where r.run_id = %({})s for update"
    stepper.session("gate", hold=lock.format("first"))
    stepper.session("a", settle=settle.format(outcomes(held)))
    stepper.session("b", settle=settle.format(outcomes(held[::-1])))
    yes = "yes, null"
    again = "yes, repeated"
    stepper.play(
        f"""
        gate.begin
        gate.hold    first
        a.begin
        a.settle     no, busy; {yes}; {yes}
        b.begin
        b.settle     no, busy; no, busy; no, busy
        gate.commit
        b.settle     no, busy; no, busy; {yes}
        a.settle     no, busy; {again}; {again}
        a.commit
        b.settle     {again}; {again}; {again}
        """
    )


def outcomes(held: list) -> str:  # type: ignore[type-arg]
    return (
        "["
        + ", ".join(
            f'{{"run_id": "{run_id}", "lease_id": "{lease_id}"}}' for run_id, lease_id in held
        )
        + "]"
    )


def test_upkeep_leaves_a_run_to_the_open_transaction_of_its_worker(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=1))
    stepper.session(
        "a", step="select s.action from tide.begin_step(%(run)s, %(lease)s, 'one') as s"
    )
    stepper.session(
        "b",
        reconcile="call tide.reconcile()",
        claim="select count(*) from tide.claim()",
        expire=EXPIRE,
    )
    stepper.play(
        """
        a.begin
        a.step        execute
        b.reconcile   idle
        b.claim       0
        a.commit
        b.expire      0
        """
    )
    assert ended(stepper, connection) == ["step.started"]


def test_a_heartbeat_beside_the_workers_own_open_transaction_says_busy(
    stepper: Stepper, connection: Connection
) -> None:
    beat = "select h.state from tide.heartbeat(array[%(run)s], array[%(lease)s]) as h"
    stepper.session(
        "a", step="select s.action from tide.begin_step(%(run)s, %(lease)s, 'one') as s"
    )
    stepper.session("b", beat=beat)
    stepper.play(
        """
        a.begin
        a.step    execute
        b.beat    busy
        a.commit
        b.beat    held
        """
    )


def test_a_heartbeat_after_a_cancel_says_so_without_waiting(
    stepper: Stepper, connection: Connection
) -> None:
    beat = "select h.state from tide.heartbeat(array[%(run)s], array[%(lease)s]) as h"
    stepper.session("a", cancel=CANCEL.format("enough"))
    stepper.session("b", beat=beat)
    stepper.play(
        """
        a.begin
        a.cancel  cancelled, enough
        b.beat    busy
        a.commit
        b.beat    cancelled
        """
    )


def test_a_reschedule_waits_for_an_open_claim_and_is_refused_once_that_commits(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["run"] = queued(connection, queue="other")
    stepper.session("a", claim="select c.run_id from tide.claim('{other}') as c")
    stepper.session("b", move="select r.status from tide.reschedule(%(run)s, now()) as r")
    stepper.play(
        """
        a.begin
        a.claim   run
        b.move    waiting
        a.commit
        b.move    TD030
        """
    )
