"""A worker that overslept its lease writes nothing while a newer attempt runs.

Each write is tried at every moment: while the expiry is being recorded, while the newer attempt is
being claimed, while it runs, and after it has ended.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.races.scenes import history, leased
from tests.races.stepper import Stepper
from tests.support import Clock, Connection, one, value

WRITES = {
    "complete": "select r.status from tide.complete(%(run)s, %(old)s) as r",
    "fail": "select r.status from tide.fail(%(run)s, %(old)s) as r",
    "release": "select r.status from tide.release(%(run)s, %(old)s) as r",
    "begin_step": "select s.action from tide.begin_step(%(run)s, %(old)s, 'next') as s",
    "begin_same_step": "select s.action from tide.begin_step(%(run)s, %(old)s, 'step') as s",
    "complete_step": "select s.status from tide.complete_step(%(run)s, %(old)s, 'step') as s",
    "fail_step": "select s.status from tide.fail_step(%(run)s, %(old)s, 'step') as s",
}
REPORTS = {
    "settle a result": "jsonb_build_object('run_id', %(run)s, 'lease_id', %(old)s)",
    "settle an error": (
        "jsonb_build_object('run_id', %(run)s, 'lease_id', %(old)s, 'error', '{}'::jsonb)"
    ),
    "settle a release": (
        "jsonb_build_object('run_id', %(run)s, 'lease_id', %(old)s, 'release', true)"
    ),
}
BEAT = "select h.state from tide.heartbeat(array[%(run)s], array[%(old)s]) as h"
CLAIM = "select c.run_id, c.attempt from tide.claim() as c"
EXPIRE = "select tide._sweep('expired_leases', 10)"
ROW = "select r::text, s::text from tide.runs as r join tide.steps as s on s.run_id = r.run_id"


@pytest.fixture(autouse=True)
def overslept(stepper: Stepper, connection: Connection, clock: Clock) -> None:
    """A run with a step begun, whose lease has run out; facts run and old, the lease."""
    clock.set(clock.now)
    stepper.facts["run"], stepper.facts["old"] = leased(connection, lease="10 s", max_attempts=3)
    connection.execute(
        "select tide.begin_step(%s, %s, 'step')", (stepper.facts["run"], stepper.facts["old"])
    )
    clock.advance(timedelta(minutes=1))
    stepper.session("newer", expire=EXPIRE, claim=CLAIM)


def newer_attempt(stepper: Stepper, connection: Connection) -> None:
    """The expiry is recorded and another worker has begun the step again."""
    stepper.play(
        """
        newer.expire   1
        newer.claim    run, 2
        """
    )
    stepper.facts["new"] = value(connection, "select r.lease_id from tide.runs_active as r")
    connection.execute(
        "select tide.begin_step(%s, %s, 'step')", (stepper.facts["run"], stepper.facts["new"])
    )


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_beside_a_running_newer_attempt_is_refused(
    stepper: Stepper, connection: Connection, write: str
) -> None:
    newer_attempt(stepper, connection)
    before = one(connection, ROW)
    stepper.session("old", write=write)
    stepper.play("old.write TD002")
    assert one(connection, ROW) == before
    stepper.session(
        "new",
        finish="select s.status from tide.complete_step(%(run)s, %(new)s, 'step') as s",
        complete="select r.status, r.attempt from tide.complete(%(run)s, %(new)s) as r",
    )
    stepper.play(
        """
        new.finish     completed
        new.complete   completed, 2
        old.write      TD003
        """
    )
    assert history(connection, stepper.facts["run"]).count("run.completed") == 1


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("settle", ["settle", "settle_and_claim"])
def test_a_settlement_beside_a_running_newer_attempt_is_refused(
    stepper: Stepper, connection: Connection, settle: str, report: str
) -> None:
    newer_attempt(stepper, connection)
    before = one(connection, ROW)
    stepper.session(
        "old",
        settle=f"select s.accepted, s.reason from tide.{settle}(jsonb_build_array({report})) as s",
    )
    stepper.play("old.settle no, lost")
    assert one(connection, ROW) == before


def test_a_heartbeat_beside_a_running_newer_attempt_renews_nothing(
    stepper: Stepper, connection: Connection
) -> None:
    newer_attempt(stepper, connection)
    before = one(connection, ROW)
    stepper.session("old", beat=BEAT)
    stepper.play("old.beat lost")
    assert one(connection, ROW) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_beside_an_open_claim_waits_and_is_refused(stepper: Stepper, write: str) -> None:
    stepper.session("old", write=write)
    stepper.play(
        """
        newer.expire   1
        newer.begin
        newer.claim    run, 2
        old.write      waiting
        newer.commit
        old.write      TD002
        """
    )


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_beside_an_expiry_being_recorded_waits_and_is_refused(
    stepper: Stepper, write: str
) -> None:
    stepper.session("old", write=write)
    stepper.play(
        """
        newer.begin
        newer.expire   1
        old.write      waiting
        newer.commit
        old.write      TD002
        newer.claim    run, 2
        old.write      TD002
        """
    )


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_after_the_expiry_and_before_the_next_claim_is_refused(
    stepper: Stepper, write: str
) -> None:
    stepper.session("old", write=write)
    stepper.play(
        """
        newer.expire   1
        old.write      TD002
        newer.claim    run, 2
        """
    )


def test_a_heartbeat_never_waits_for_expiry_or_claim(stepper: Stepper) -> None:
    stepper.session("old", beat=BEAT)
    stepper.play(
        """
        newer.begin
        newer.expire   1
        old.beat       busy
        newer.commit
        old.beat       lost
        newer.begin
        newer.claim    run, 2
        old.beat       lost
        newer.commit
        old.beat       lost
        """
    )


def test_a_late_heartbeat_saves_a_lease_nobody_has_taken(stepper: Stepper) -> None:
    stepper.session("old", beat=BEAT, complete=WRITES["complete"])
    stepper.play(
        """
        old.beat       held
        newer.expire   0
        newer.claim    nothing
        old.complete   completed
        """
    )


def test_a_worker_that_goes_on_while_its_expiry_rolls_back_loses_nothing(
    stepper: Stepper,
) -> None:
    stepper.session("old", complete=WRITES["complete"])
    stepper.play(
        """
        newer.begin
        newer.expire     1
        old.complete     waiting
        newer.rollback
        old.complete     completed
        newer.expire     0
        """
    )


def test_the_report_of_an_attempt_that_failed_is_not_taken_for_the_next_one(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session(
        "old",
        fail="select r.status from tide.fail(%(run)s, %(old)s, retry_after => '0') as r",
        complete=WRITES["complete"],
        beat=BEAT,
    )
    stepper.play(
        """
        old.fail       queued
        old.fail       queued
        old.complete   TD002
        newer.claim    run, 2
        old.fail       TD002
        old.complete   TD002
        old.beat       lost
        """
    )
    assert history(connection, stepper.facts["run"]).count("run.requeued") == 1
