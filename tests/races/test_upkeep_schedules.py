"""Upkeep beside upkeep and beside open transactions; floors never hide a run for good."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from tests.races.scenes import history, leased, queued
from tests.races.stepper import Stepper
from tests.support import Clock, Connection, value

RECONCILE = "call tide.reconcile()"
CLAIM = "select c.run_id from tide.claim() as c"
LATE = timedelta(minutes=1)


def test_a_second_reconcile_leaves_at_once(stepper: Stepper, connection: Connection) -> None:
    stepper.session("a", work="select pg_advisory_xact_lock(1953064037, 1)::text")
    stepper.session("b", reconcile=RECONCILE)
    stepper.play(
        """
        a.begin
        a.work        nothing
        b.reconcile   busy=True
        a.rollback
        b.reconcile   idle
        """
    )


def test_a_reconcile_that_loses_its_turn_reports_what_it_has_done(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    for _ in range(2):
        leased(connection, lease="1 s", max_attempts=2)
    clock.advance(LATE)
    stepper.gate("gate", "_expire_leases")
    stepper.session("a", reconcile="call tide.reconcile(batch => 1)")
    stepper.session("b", turn="select pg_advisory_xact_lock(1953064037, 1)::text")
    stepper.play(
        """
        gate.begin
        gate.shut     nothing
        a.reconcile   waiting
        b.begin
        b.turn        waiting
        gate.commit
        a.reconcile   busy=True+expired_leases=1
        b.turn        nothing
        b.commit
        """
    )


def test_reconcile_beside_a_claim_requeues_each_run_once(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["run"], _ = leased(connection, lease="1 s", max_attempts=2)
    clock.advance(LATE)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", reconcile=RECONCILE)
    stepper.play(
        """
        a.begin
        a.claim       run
        b.reconcile   idle
        a.commit
        b.reconcile   idle
        """
    )
    assert history(connection, stepper.facts["run"])[2:] == ["run.requeued", "run.claimed"]


def test_a_run_that_falls_due_below_the_floor_is_claimed_at_once(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["delayed"] = queued(connection, delay="10 s")
    clock.advance(timedelta(seconds=30))
    stepper.facts["later"] = queued(connection)
    for _ in range(3):
        clock.advance(timedelta(seconds=10))
        connection.execute("select tide._sweep('settled_clock', 1)")
    connection.execute("select tide._sweep('claim_floors', 10)")
    assert value(connection, "select count(*) from tide.claim_floors") == 1
    connection.execute("update tide.ticks set next_at = tide._now() + interval '1 s'")
    stepper.session("a", claim=CLAIM)
    stepper.play(
        """
        a.claim   delayed
        a.claim   later
        """
    )


def test_a_run_rescheduled_into_the_past_is_claimed_at_once(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["later"] = queued(connection)
    stepper.facts["moved"] = queued(connection, delay="1 h")
    for _ in range(3):
        clock.advance(timedelta(seconds=10))
        connection.execute(RECONCILE)
    stepper.session(
        "a",
        move="select r.ready from tide.reschedule(%(moved)s, tide._now() - interval '1 d') as r",
        claim=CLAIM,
    )
    stepper.play(
        """
        a.move    yes
        a.claim   moved
        a.claim   later
        """
    )


def test_a_commit_below_the_floor_is_found_by_the_next_tick(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.session("late", enqueue="select (tide.enqueue('work')).deduplicated")
    stepper.session("a", claim="select count(*) from tide.claim()")
    stepper.play(
        """
        late.begin
        late.enqueue   no
        """
    )
    connection.execute("insert into tide.claim_floors values ('default', 0, now() + '10 years')")
    connection.execute("update tide.ticks set next_at = tide._now() + interval '1 s'")
    stepper.play(
        """
        late.commit
        a.claim   0
        """
    )
    clock.advance(timedelta(seconds=2))
    stepper.play("a.claim 1")


def test_no_floor_rises_above_a_transaction_that_is_still_open(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["late"] = uuid4()
    stepper.session(
        "late", enqueue="select e.run_id from tide.enqueue('work', run_id => %(late)s) as e"
    )
    stepper.session("a", claim=CLAIM, floors="select count(*) from tide.claim_floors")
    connection.execute(RECONCILE)
    stepper.play(
        """
        late.begin
        late.enqueue   late
        """
    )
    opened = clock.now
    for _ in range(5):
        clock.advance(timedelta(minutes=1))
        queued(connection)
        connection.execute(RECONCILE)
    floor = value(connection, "select max(f.run_at) from tide.claim_floors as f")
    assert floor is None or floor <= opened
    stepper.play(
        """
        late.commit
        a.claim   late
        """
    )


def test_a_long_transaction_does_not_stop_upkeep(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.session(
        "long",
        claim="select count(*) from tide.claim(worker => 'w')",
        enqueue="select (tide.enqueue('work', queue => 'other')).deduplicated",
    )
    stepper.session("b", reconcile=RECONCILE)
    queued(connection)
    queued(connection, delay="1 s")
    stepper.play(
        """
        long.begin
        long.enqueue   no
        long.claim     1
        """
    )
    leased(connection, queue="third", lease="1 s", max_attempts=2)
    clock.advance(LATE)
    stepper.play("b.reconcile due=1+expired_leases=1")
