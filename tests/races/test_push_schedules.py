"""Pushed runs between their application, upkeep and operators: one of them has each run."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from tests.races.scenes import busy_slots, history, queued
from tests.races.stepper import Stepper
from tests.support import Clock, Connection, one, value

RECONCILE = "call tide.reconcile()"
BEGIN = "select r.status from tide.begin_run(%(run)s) as r"
HORIZON = timedelta(seconds=60)
SWEEP = "select tide._sweep('dispatches', 10)"
PUSH = "select tide._sweep('push', 10)"


def push_queue(connection: Connection, concurrency: int = 1) -> None:
    connection.execute(
        "select tide.set_queue('default', jsonb_build_object("
        "'push_url', 'https://app.example.com', 'concurrency', %s::integer))",
        (concurrency,),
    )


def dispatched(connection: Connection) -> UUID:
    """A run that has been pushed."""
    push_queue(connection)
    run_id = queued(connection)
    assert value(connection, PUSH) == 1
    return run_id


def test_begin_first_keeps_the_run_from_the_sweep(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["run"] = dispatched(connection)
    clock.advance(HORIZON)
    stepper.session("app", take=BEGIN)
    stepper.session("upkeep", sweep=SWEEP)
    stepper.play(
        """
        app.begin
        app.take       running
        upkeep.sweep   0
        app.commit
        upkeep.sweep   0
        """
    )
    assert history(connection, stepper.facts["run"])[-1] == "run.started"
    assert busy_slots(connection) == 1


def test_begin_rolled_back_leaves_the_run_to_the_sweep(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["run"] = dispatched(connection)
    clock.advance(HORIZON)
    stepper.session("app", take=BEGIN)
    stepper.session("upkeep", sweep=SWEEP)
    stepper.play(
        """
        app.begin
        app.take       running
        upkeep.sweep   0
        app.rollback
        upkeep.sweep   1
        app.take       TD030
        """
    )
    assert busy_slots(connection) == 0


def test_sweep_first_refuses_the_late_begin(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["run"] = dispatched(connection)
    clock.advance(HORIZON)
    stepper.session("app", take=BEGIN)
    stepper.session("upkeep", sweep=SWEEP)
    stepper.play(
        """
        upkeep.begin
        upkeep.sweep   1
        app.take       waiting
        upkeep.commit
        app.take       TD030
        """
    )
    assert history(connection, stepper.facts["run"])[-1] == "run.requeued"
    assert busy_slots(connection) == 0


def test_cancel_first_keeps_the_run_from_the_push(stepper: Stepper, connection: Connection) -> None:
    push_queue(connection)
    stepper.facts["run"] = queued(connection)
    stepper.session("a", cancel="select r.status from tide.cancel(%(run)s) as r")
    stepper.session("upkeep", push=PUSH)
    stepper.play(
        """
        a.begin
        a.cancel      cancelled
        upkeep.push   0
        a.commit
        upkeep.push   0
        """
    )
    assert history(connection, stepper.facts["run"]) == ["run.enqueued", "run.cancelled"]


def test_push_first_is_undone_by_the_cancel_behind_it(
    stepper: Stepper, connection: Connection
) -> None:
    push_queue(connection)
    stepper.facts["run"] = queued(connection)
    stepper.session("a", cancel="select r.status from tide.cancel(%(run)s) as r")
    stepper.session("upkeep", push=PUSH)
    stepper.session("sender", claim="select count(*) from tide.claim_deliveries()")
    stepper.play(
        """
        upkeep.begin
        upkeep.push    1
        sender.claim   0
        a.cancel       waiting
        upkeep.commit
        a.cancel       cancelled
        sender.claim   0
        """
    )
    assert busy_slots(connection) == 0
    assert value(connection, "select d.status from tide.deliveries as d") == "dropped"


def test_two_applications_that_begin_one_run_have_one_winner(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["run"] = dispatched(connection)
    stepper.session("app", take=BEGIN)
    stepper.session("other", take=BEGIN)
    stepper.play(
        """
        app.begin
        app.take     running
        other.take   waiting
        app.commit
        other.take   TD004
        """
    )
    assert busy_slots(connection) == 1


def test_cap_set_while_a_pushed_run_begins_waits_for_nobody_and_counts_it(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute(
        "select tide.set_queue('default', '{\"push_url\": \"https://app.example.com\"}')"
    )
    stepper.facts["run"] = queued(connection)
    queued(connection)
    connection.execute(PUSH)
    stepper.session("app", take=BEGIN)
    stepper.session(
        "operator",
        cap="select q.concurrency from tide.set_queue('default', '{\"concurrency\": 2}') as q",
    )
    stepper.play(
        """
        app.begin
        app.take       running
        operator.cap   2
        app.commit
        """
    )
    queued(connection)
    connection.execute(PUSH)
    dispatched = "select count(*) from tide.runs as r where r.dispatched_until is not null"
    assert value(connection, dispatched) == 1
    connection.execute("select tide.cancel(%s)", (stepper.facts["run"],))
    connection.execute(PUSH)
    assert value(connection, dispatched) == 2
    assert busy_slots(connection) == 1


def test_stalled_run_that_is_begun_meanwhile_is_not_announced(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    run = one(
        connection,
        "select b.* from tide.create_run('w', recovery_url => 'https://app.example.com') as c "
        "cross join lateral tide.begin_run(c.run_id) as b",
    )
    stepper.facts["run"] = run.run_id
    clock.advance(2 * HORIZON)
    stepper.session("app", take=BEGIN)
    stepper.session("upkeep", sweep="select tide._sweep('stalled_runs', 10)", all=RECONCILE)
    stepper.play(
        """
        app.begin
        app.take       running
        upkeep.sweep   0
        app.commit
        upkeep.sweep   0
        upkeep.all     idle
        """
    )
    assert value(connection, "select count(*) from tide.deliveries") == 0
