"""Leases of runs whose rows another transaction holds: renewed all the same, and not taken away."""

from __future__ import annotations

import pytest

from tests.races.scenes import leased
from tests.races.stepper import Stepper
from tests.support import Connection, value

EXPIRE = "update tide.runs_active set leased_until = tide._now() - interval '1 s'"
BEAT = "select h.state from tide.heartbeat(array[%(run)s], array[%(lease)s]) as h"


@pytest.fixture(autouse=True)
def held(stepper: Stepper, connection: Connection) -> None:
    """A run whose lease has just run out, though its worker lives."""
    stepper.facts["run"], stepper.facts["lease"] = leased(connection, max_attempts=3)
    connection.execute(EXPIRE.encode())
    stepper.session("worker", beat=BEAT)
    stepper.session("upkeep", reconcile="call tide.reconcile()", claim="select tide.claim()")


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize(
    "touch",
    [
        "select tide.send_event(%(run)s, 'paid')",
        "select (tide.set_state(%(run)s, '1')).version = 1",
        "select (tide.record_usage(%(run)s, cost_usd => 1)).cost_usd = 1",
    ],
)
def test_a_stranger_costs_a_worker_no_lease(
    stepper: Stepper, connection: Connection, touch: str, end: str
) -> None:
    stepper.session("stranger", touch=touch)
    stepper.play(
        f"""
        stranger.begin
        stranger.touch    yes
        worker.beat       busy
        stranger.{end}
        upkeep.reconcile  idle
        upkeep.claim      nothing
        worker.beat       held
        """
    )
    assert value(connection, "select r.attempt from tide.runs as r") == 1


def test_a_renewal_beside_the_row_is_that_of_one_lease(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("stranger", touch="select tide.send_event(%(run)s, 'paid')")
    stepper.session(
        "operator",
        expire=EXPIRE,
        forget="update tide.lease_renewals set leased_until = tide._now() - interval '1 s'",
    )
    stepper.play(
        """
        stranger.begin
        stranger.touch     yes
        worker.beat        busy
        stranger.commit
        operator.forget    nothing
        upkeep.reconcile   expired_leases=1
        worker.beat        lost
        """
    )
    connection.execute("select tide.claim(lease => '2 h')")
    stepper.play(
        """
        worker.beat        lost
        operator.expire    nothing
        upkeep.reconcile   expired_leases=1
        """
    )


def test_begin_run_leaves_a_plain_run_to_the_worker_that_renews_it(
    stepper: Stepper, connection: Connection
) -> None:
    run_id = value(connection, "select run_id from tide.create_run('plain', max_attempts => 3)")
    stepper.facts["run"] = run_id
    stepper.facts["lease"] = value(connection, "select lease_id from tide.begin_run(%s)", run_id)
    connection.execute(EXPIRE.encode())
    stepper.session("stranger", touch="select tide.send_event(%(run)s, 'paid')")
    stepper.session("other", begin_run="select (tide.begin_run(%(run)s)).attempt")
    stepper.play(
        """
        stranger.begin
        stranger.touch    yes
        worker.beat       busy
        stranger.commit
        other.begin_run   TD004
        """
    )


def test_an_abandoned_run_is_taken_however_often_it_was_renewed_before(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.play(
        """
        worker.beat        held
        """
    )
    connection.execute(EXPIRE.encode())
    stepper.play("upkeep.reconcile expired_leases=1")
