"""The breaker of a lane beside other reports and claims."""

from __future__ import annotations

import json

import pytest

from tests.lanes.census import in_step
from tests.races.scenes import leased, queued
from tests.races.stepper import Stepper
from tests.support import Connection, at_once, open_connection, results, value

FAIL = """
    select coalesce(r.waiting_on, 'retried')
    from tide.fail(%({0})s, %({0}_lease)s, '{{"type": "ProviderDown"}}') as r
    """
COMPLETE = "select r.status from tide.complete(%({0})s, %({0}_lease)s) as r"
CLAIM = "select c.run_id from tide.claim() as c"
PROBING = "update tide.lanes set probe_at = now() where opened_at is not null"
OPEN = "select l.opened_at is not null from tide.list_lanes() as l"
NO_TICK = "update tide.ticks set next_at = 'infinity'"


def lane(connection: Connection, failures: int, name: str = "shared") -> None:
    settings = {"breaker_failures": failures, "breaker_classes": ["ProviderDown"]}
    connection.execute("select tide.set_lane(%s, %s::jsonb)", (name, json.dumps(settings)))


def hold(stepper: Stepper, connection: Connection, *names: str, lane: str = "shared") -> None:
    """Running runs of the lane, as facts."""
    for name in names:
        run = leased(connection, lane=lane, max_attempts=3)
        stepper.facts[name], stepper.facts[f"{name}_lease"] = run


def test_of_two_failures_at_once_the_second_opens_the_lane(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, 2)
    hold(stepper, connection, "first", "second", "third")
    stepper.session("a", fail=FAIL.format("first"))
    stepper.session("b", fail=FAIL.format("second"))
    stepper.session("c", fail=FAIL.format("third"), open=OPEN)
    stepper.play(
        """
        a.begin
        a.fail      retried
        b.fail      waiting
        c.open      no
        a.commit
        b.fail      provider
        c.open      yes
        c.fail      provider
        """
    )
    assert in_step(connection)


def test_a_failure_rolled_back_counts_for_nobody(stepper: Stepper, connection: Connection) -> None:
    lane(connection, 2)
    hold(stepper, connection, "first", "second", "third")
    stepper.session("a", fail=FAIL.format("first"))
    stepper.session("b", fail=FAIL.format("second"))
    stepper.session("c", fail=FAIL.format("third"))
    stepper.play(
        """
        a.begin
        a.fail      retried
        b.fail      waiting
        a.rollback
        b.fail      retried
        c.fail      provider
        """
    )


def test_calls_that_fail_runs_of_two_lanes_wait_in_no_circle(
    stepper: Stepper, connection: Connection
) -> None:
    def settle(*names: str) -> str:
        failures = ", ".join(
            f"""jsonb_build_object(
                  'run_id', %({name})s, 'lease_id', %({name}_lease)s,
                  'error', jsonb '{{"type": "ProviderDown"}}'
                )"""
            for name in names
        )
        return f"select count(*) from tide.settle(jsonb_build_array({failures}))"

    for name in ("left", "right"):
        lane(connection, 9, name)
        hold(stepper, connection, f"{name}_1", f"{name}_2", lane=name)
    stepper.session("a", settle=settle("left_1", "right_1"))
    stepper.session("b", settle=settle("right_2", "left_2"))
    stepper.session(
        "c", hold="select from tide.lanes as l where l.lane = 'right' for no key update"
    )
    stepper.play(
        """
        c.begin
        c.hold      nothing
        b.settle    waiting
        a.settle    waiting
        c.commit
        a.settle    2
        b.settle    2
        """
    )
    assert in_step(connection)


def test_a_success_waits_for_no_failure_and_comes_before_it(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, 3)
    hold(stepper, connection, "first", "second", "third", "fourth", "good")
    stepper.session("a", fail=FAIL.format("first"), again=FAIL.format("second"))
    stepper.session("b", complete=COMPLETE.format("good"))
    stepper.session("c", fail=FAIL.format("third"), again=FAIL.format("fourth"))
    stepper.play(
        """
        a.fail      retried
        a.begin
        a.again     retried
        b.complete  completed
        a.commit
        c.fail      retried
        c.again     provider
        """
    )


def test_a_success_beside_the_failure_that_opens_the_lane_does_not_close_it(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, 2)
    hold(stepper, connection, "first", "second", "good")
    stepper.session("a", fail=FAIL.format("first"), again=FAIL.format("second"))
    stepper.session("b", complete=COMPLETE.format("good"), open=OPEN)
    # Between its look at the lane and its own deletion the lane is opened.
    stepper.gate("gate", "_note_success")
    stepper.play(
        """
        a.fail      retried
        gate.begin
        gate.shut nothing
        b.complete  waiting
        a.again     provider
        gate.rollback
        b.complete  completed
        b.open      yes
        """
    )


def test_a_claim_beside_the_one_that_probes_waits_for_nobody_and_takes_nothing(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, 1)
    hold(stepper, connection, "first")
    stepper.facts["second"] = queued(connection, lane="shared")
    stepper.facts["third"] = queued(connection, lane="shared")
    stepper.facts["plain"] = queued(connection)
    stepper.session("a", fail=FAIL.format("first"), claim=CLAIM)
    stepper.session("b", claim=CLAIM)
    stepper.play("a.fail provider")
    connection.execute(PROBING.encode())
    connection.execute(NO_TICK)
    stepper.play(
        """
        a.begin
        a.claim     second
        b.claim     plain
        b.claim     nothing
        a.rollback
        b.claim     second
        a.claim     nothing
        """
    )
    assert in_step(connection)


@pytest.mark.parametrize("rounds", [6])
def test_of_sixteen_claimers_one_gets_the_run_that_probes(
    dsn: str, connection: Connection, rounds: int
) -> None:
    lane(connection, 1)
    claimers = [open_connection(dsn) for _ in range(16)]

    def claims(claimer: Connection) -> list[tuple[object, object]]:
        claimed = "select c.run_id, c.lease_id from tide.claim(max_runs => 3) as c"
        return [(row.run_id, row.lease_id) for row in claimer.execute(claimed)]

    fail = 'select tide.fail(%s, %s, \'{"type": "ProviderDown"}\')'
    connection.execute(fail, leased(connection, lane="shared"))
    for _ in range(rounds):
        connection.execute(
            "select tide.enqueue_many('default', %s::jsonb)",
            (json.dumps([{"workflow": "work", "lane": "shared"}] * 48),),
        )
        connection.execute(PROBING.encode())
        outcomes = at_once([lambda claimer=claimer: claims(claimer) for claimer in claimers])
        claimed = [run for runs in results(outcomes) for run in runs]
        assert len(claimed) == 1
        connection.execute(fail, claimed[0])
    assert value(connection, "select max(r.attempt) from tide.runs as r") == 0
    assert in_step(connection)
    for claimer in claimers:
        claimer.close()
