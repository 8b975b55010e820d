"""Upkeep beside upkeep and beside open transactions; floors never hide a run for good."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.races.scenes import history, leased, queued
from tests.races.stepper import Stepper
from tests.support import Clock, Connection, need_floors, value

RECONCILE = "call tide.reconcile()"
CLAIM = "select c.run_id from tide.claim() as c"
LATE = timedelta(minutes=1)


def test_a_second_reconcile_leaves_at_once(stepper: Stepper, connection: Connection) -> None:
    stepper.session("a", work="select turn from tide.turns where turn = 'reconcile' for update")
    stepper.session("b", reconcile=RECONCILE)
    stepper.play(
        """
        a.begin
        a.work        reconcile
        b.reconcile   busy=True
        a.rollback
        b.reconcile   idle
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
    need_floors(connection)
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
    clock.advance(timedelta(seconds=1))
    connection.execute("insert into tide.claim_floors values ('default', 0, tide._now())")
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


def test_a_claim_left_open_stops_no_upkeep_and_hides_no_run(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["old"], _ = leased(connection, lease="4 s", max_attempts=5)
    for _ in range(6):
        clock.advance(timedelta(milliseconds=250))
        queued(connection)
        connection.execute(RECONCILE)
    connection.execute("select tide.claim(max_runs => 9)")
    stepper.session("open", claim="select count(*) from tide.claim('{elsewhere}')")
    stepper.session("worker", claim=CLAIM)
    stepper.session("operator", pause="select tide.pause()::text", resume="select tide.resume()")
    clock.advance(timedelta(milliseconds=600))
    stepper.play(
        """
        open.begin
        open.claim       0
        """
    )
    clock.advance(timedelta(seconds=3))
    stepper.play(
        """
        worker.claim     old
        operator.pause   nothing
        worker.claim     nothing
        """
    )
    assert value(connection, "select paused_at is not null from tide.health")
    queued(connection)
    connection.execute("select tide.resume()")
    assert value(connection, "select paused_at is null from tide.health")
    assert value(connection, "select count(*) from tide.claim()") == 1
    stepper.play("open.rollback")


def test_a_floor_that_a_stranger_holds_hides_no_run(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["old"], _ = leased(connection, lease="2 s", max_attempts=5)
    clock.advance(timedelta(seconds=1))
    connection.execute(
        "insert into tide.claim_floors values ('default', 0, tide._now()) "
        "on conflict on constraint claim_floors_pkey do update set run_at = excluded.run_at"
    )
    stepper.session(
        "shop",
        enqueue="select (tide.enqueue('work', run_at => tide._now() - interval '1 ms')).status",
    )
    stepper.session("upkeep", reconcile=RECONCILE)
    stepper.session("worker", claim=CLAIM)
    stepper.play(
        """
        shop.begin
        shop.enqueue      queued
        """
    )
    clock.advance(timedelta(seconds=3))
    stepper.play(
        """
        upkeep.reconcile  expired_leases=1
        worker.claim      old
        shop.commit
        """
    )
    connection.execute(RECONCILE)
    assert value(connection, "select count(*) from tide.lowered_floors") == 0
    assert value(connection, "select count(*) from tide.claim()") == 1


@pytest.mark.parametrize(
    "number",
    ["1953064037, 1", "1953064038, hashtext('default')", "1953064041, 7", "1953064042, 0"],
)
def test_no_login_stops_anything_by_an_advisory_lock(
    stepper: Stepper, connection: Connection, number: str
) -> None:
    stepper.session("stranger", lock=f"select pg_advisory_lock({number})::text")
    stepper.session(
        "owner",
        set_queue="select (tide.set_queue('default', '{\"concurrency\": 2}')).concurrency",
        secret="select tide.set_webhook_secret('default', 'a secret of sixteen')::text",
        enqueue="select count(*) from tide.enqueue_many('default', '[{\"workflow\": \"work\"}]')",
        claim="select count(*) from tide.claim()",
        reconcile=RECONCILE,
    )
    stepper.play(
        """
        stranger.lock     nothing
        owner.set_queue   2
        owner.secret      nothing
        owner.enqueue     1
        owner.claim       1
        owner.reconcile   idle
        """
    )
