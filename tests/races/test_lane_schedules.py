"""Claims in lanes beside other claims, ends, and limits that change."""

from __future__ import annotations

import json
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.lanes.census import in_step
from tests.races.scenes import leased, queued
from tests.races.stepper import Stepper
from tests.support import Connection, value

CLAIM = "select c.run_id from tide.claim() as c"
CLAIM_FIVE = "select count(*) from tide.claim(max_runs => 5)"
WAITING = "select count(*) from tide.lane_waits"
TICK = "update tide.ticks set next_at = '-infinity' returning 'due'"
COMPLETE = "select r.status from tide.complete(%(run)s, %(lease)s) as r"


def setting(name: str, to: str) -> str:
    """Sets one limit of the lane and answers what it is then."""
    return f"select l.{name} from tide.set_lane('shared', '{{\"{name}\": {to}}}') as l"


def lane(connection: Connection, settings: str) -> None:
    connection.execute("select tide.set_lane('shared', %s::jsonb)", (settings,))


def laned(connection: Connection, runs: int, key: str | None = "acme") -> None:
    for _ in range(runs):
        queued(connection, lane="shared", lane_key=key)


def test_a_claim_beside_one_under_way_takes_no_place_and_parks_nobody(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, '{"total": 1, "per_key": 1}')
    stepper.facts["first"] = queued(connection, lane="shared", lane_key="acme")
    stepper.facts["second"] = queued(connection, lane="shared", lane_key="acme")
    stepper.facts["plain"] = queued(connection)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM, waiting=WAITING)
    stepper.play(
        """
        a.begin
        a.claim     first
        b.claim     plain
        b.waiting   0
        a.rollback
        b.claim     first
        a.claim     nothing
        b.waiting   1
        """
    )
    assert in_step(connection)


def test_a_lowered_limit_waits_for_no_claim_and_counts_what_it_starts(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, '{"total": 4, "per_key": 4}')
    laned(connection, 9)
    stepper.session("a", claim=CLAIM_FIVE)
    stepper.session("b", total=setting("total", "1"))
    stepper.session("c", claim=CLAIM_FIVE)
    stepper.play(
        """
        a.begin
        a.claim     4
        b.total     1
        c.claim     0
        a.commit
        c.claim     0
        """
    )
    assert in_step(connection)


def test_a_first_limit_waits_for_no_claim_and_counts_what_runs_without_a_place(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, "{}")
    laned(connection, 9)
    stepper.session("a", claim=CLAIM_FIVE)
    stepper.session("b", total=setting("total", "6"), key=setting("per_key", "7"))
    stepper.session("c", claim=CLAIM_FIVE)
    stepper.play(
        """
        a.begin
        a.claim     5
        b.total     6
        b.key       7
        a.commit
        c.claim     1
        c.claim     0
        """
    )
    assert in_step(connection)


def test_a_limit_not_yet_committed_binds_nobody(stepper: Stepper, connection: Connection) -> None:
    lane(connection, '{"total": 1}')
    laned(connection, 9)
    stepper.session("a", total=setting("total", "3"))
    stepper.session("b", claim=CLAIM_FIVE, tick=TICK)
    stepper.play(
        """
        a.begin
        a.total     3
        b.claim     1
        a.commit
        b.tick      due
        b.claim     2
        b.claim     0
        """
    )
    assert in_step(connection)


def test_a_run_parked_beside_the_end_that_frees_its_place_is_woken_by_the_next_tick(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, '{"total": 1, "per_key": 1}')
    first = leased(connection, lane="shared", lane_key="acme")
    stepper.facts["run"], stepper.facts["lease"] = first
    stepper.facts["second"] = queued(connection, lane="shared", lane_key="acme")
    stepper.session("a", complete=COMPLETE)
    stepper.session(
        "b",
        claim=CLAIM,
        waiting=WAITING,
        tick=TICK,
    )
    stepper.play(
        """
        a.begin
        a.complete  completed
        b.claim     nothing
        b.waiting   1
        a.commit
        b.waiting   1
        b.tick      due
        b.claim     second
        b.waiting   0
        """
    )
    assert in_step(connection)


def test_ends_at_once_wake_different_runs(stepper: Stepper, connection: Connection) -> None:
    lane(connection, '{"total": 2}')
    runs = [leased(connection, lane="shared") for _ in range(2)]
    laned(connection, 4, None)
    assert value(connection, CLAIM_FIVE) == 0
    for name, run in zip("ab", runs, strict=True):
        stepper.facts[f"run_{name}"], stepper.facts[f"lease_{name}"] = run
        stepper.session(
            name,
            complete=f"select r.status from tide.complete(%(run_{name})s, %(lease_{name})s) as r",
        )
    stepper.session("c", claim=CLAIM_FIVE, waiting=WAITING)
    stepper.play(
        """
        a.begin
        b.begin
        a.complete  completed
        b.complete  completed
        a.commit
        b.commit
        c.waiting   2
        c.claim     2
        """
    )
    assert in_step(connection)


def test_a_cancel_beside_the_end_that_wakes_the_run_lets_the_next_go_on(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, '{"total": 1}')
    stepper.facts["run"], stepper.facts["lease"] = leased(connection, lane="shared")
    stepper.facts["second"] = queued(connection, lane="shared")
    stepper.facts["third"] = queued(connection, lane="shared")
    assert connection.execute(CLAIM_FIVE).fetchone() == (0,)
    stepper.session("a", complete=COMPLETE)
    stepper.session("b", cancel="select r.status from tide.cancel(%(second)s) as r")
    stepper.session("c", claim=CLAIM)
    stepper.play(
        """
        a.begin
        b.begin
        b.cancel    cancelled
        a.complete  completed
        a.commit
        b.commit
        c.claim     third
        """
    )
    assert in_step(connection)


def test_claims_beside_each_other_charge_different_purses_and_leave_free_what_is_owed(
    stepper: Stepper, connection: Connection
) -> None:
    """Beside 80 of 160 are 30: what one run used beyond its cost, 20, is left free by both."""
    lane(connection, '{"units": 160, "unit": "tokens"}')
    stepper.facts["run"], stepper.facts["lease"] = leased(connection, lane="shared", cost=10)
    connection.execute(
        "select tide.record_usage(%(run)s, total_tokens => 30)", {"run": stepper.facts["run"]}
    )
    stepper.facts["first"] = queued(connection, lane="shared", cost=80)
    stepper.facts["second"] = queued(connection, lane="shared", cost=40)
    stepper.facts["third"] = queued(connection, lane="shared", cost=10)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM, waiting=WAITING)
    stepper.play(
        """
        a.begin
        a.claim     first
        b.claim     third
        a.rollback
        b.claim     first
        b.waiting   0
        a.claim     second
        b.claim     nothing
        """
    )
    assert value(connection, "select tide._units_used('shared', '')") == 160
    assert in_step(connection)


def test_lowered_units_wait_for_no_claim_and_count_what_it_charges(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, '{"units": 32}')
    for _ in range(9):
        queued(connection, lane="shared", cost=8)
    stepper.session("a", claim=CLAIM_FIVE)
    stepper.session("b", units=setting("units", "16"))
    stepper.session("c", claim=CLAIM_FIVE)
    stepper.play(
        """
        a.begin
        a.claim     4
        b.units     16
        c.claim     0
        a.commit
        c.claim     0
        """
    )
    assert value(connection, "select tide._units_used('shared', '')") == 32


def test_reports_that_settle_and_throttle_two_lanes_in_opposite_order_end(
    stepper: Stepper, connection: Connection
) -> None:
    reports: dict[str, list[dict[str, object]]] = {"a": [], "b": []}
    for name in ("east", "west"):
        connection.execute(
            'select tide.set_lane(%s, \'{"units": 100, "unit": "tokens"}\')', (name,)
        )
        for reporter in reports:
            run_id, lease_id = leased(connection, lane=name, cost=5)
            connection.execute("select tide.record_usage(%s, total_tokens => 9)", (run_id,))
            stepper.facts[f"{name}_{reporter}"] = run_id
            reports[reporter].append(
                {"run_id": str(run_id), "lease_id": str(lease_id), "release": True}
                | {"delay": "1 min", "throttle": "429"}
            )
    reports["b"].reverse()
    for name, outcomes in reports.items():
        first, last = ("east", "west") if name == "a" else ("west", "east")
        stepper.facts[f"reports_{name}"] = json.dumps(outcomes)
        use = "select total_tokens from tide.record_usage(%({})s, total_tokens => 50)"
        stepper.session(
            name,
            use_first=use.format(f"{first}_{name}"),
            use_last=use.format(f"{last}_{name}"),
            settle=f"select count(*) from tide.settle(%(reports_{name})s::jsonb)",
        )
    stepper.play(
        """
        a.begin
        b.begin
        a.use_first 50
        b.use_first 50
        a.use_last  50
        b.use_last  50
        a.settle    2
        b.settle    waiting
        a.commit
        b.settle    2
        b.commit
        """
    )
    for name in ("east", "west"):
        assert value(connection, f"select tide._units_used('{name}', '')") == 2 * 59
    assert in_step(connection)


def test_a_report_waits_for_no_open_claim_that_holds_the_purses_it_charged(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, '{"units": 160, "unit": "tokens"}')
    stepper.facts["run"], stepper.facts["lease"] = leased(connection, lane="shared", cost=5)
    stepper.facts["first"] = queued(connection, lane="shared", cost=155)
    use = "select total_tokens from tide.record_usage(%(run)s, total_tokens => 9)"
    stepper.session("a", claim=CLAIM)
    stepper.session("b", use=use, complete=COMPLETE)
    stepper.play(
        """
        a.begin
        a.claim     first
        b.use       9
        b.complete  completed
        a.commit
        """
    )
    assert value(connection, "select tide._units_used('shared', '')") == 164


def two_lanes(connection: Connection, settings: str = '{"total": 1}') -> None:
    for name in ("one", "two"):
        connection.execute("select tide.set_lane(%s, %s::jsonb)", (name, settings))


def of(name: str, statement: str) -> str:
    """A statement on the run of a session."""
    return statement.replace("(run)", f"(run {name})").replace("(lease)", f"(lease {name})")


def in_both(connection: Connection, first: str, second: str) -> UUID:
    return queued(connection, lane=first, also_lanes=Jsonb([{"lane": second}]))


def test_claims_of_two_lanes_in_opposite_order_wait_for_nobody(
    stepper: Stepper, connection: Connection
) -> None:
    two_lanes(connection)
    stepper.facts["first"] = in_both(connection, "one", "two")
    stepper.facts["second"] = in_both(connection, "two", "one")
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM, waiting=WAITING)
    stepper.play(
        """
        a.begin
        a.claim     first
        b.claim     nothing
        b.waiting   0
        a.rollback
        b.begin
        b.claim     first
        a.claim     nothing
        b.commit
        a.claim     nothing
        b.waiting   1
        """
    )
    assert in_step(connection)


def test_ends_of_runs_of_two_lanes_in_opposite_order_wait_for_nobody(
    stepper: Stepper, connection: Connection
) -> None:
    two_lanes(connection, '{"total": 2, "per_key": 2, "units": 9}')
    runs = [in_both(connection, *lanes) for lanes in (("one", "two"), ("two", "one"))]
    waiting = in_both(connection, "one", "two")
    claimed = connection.execute("select c.run_id, c.lease_id from tide.claim(max_runs => 3) as c")
    (first, second) = claimed.fetchall()
    assert [first.run_id, second.run_id] == runs
    for name, run in (("a", first), ("b", second)):
        stepper.facts[f"run {name}"], stepper.facts[f"lease {name}"] = run
        stepper.session(name, complete=of(name, COMPLETE), claim=CLAIM)
    stepper.facts["waiting"] = waiting
    stepper.play(
        """
        a.begin
        a.complete  completed
        b.begin
        b.complete  completed
        a.commit
        b.commit
        b.claim     waiting
        """
    )
    assert in_step(connection)


FAIL = """
    select count(*) from tide.fail(%(run)s, %(lease)s, '{"type": "Down"}')
    """


def test_failures_of_two_lanes_in_opposite_order_lock_the_lanes_by_name(
    stepper: Stepper, connection: Connection
) -> None:
    two_lanes(connection, '{"breaker_failures": 9, "breaker_classes": ["Down"]}')
    for name, lanes in (("a", ("one", "two")), ("b", ("two", "one"))):
        in_both(connection, *lanes)
        (run,) = connection.execute("select c.run_id, c.lease_id from tide.claim() as c").fetchall()
        stepper.facts[f"run {name}"], stepper.facts[f"lease {name}"] = run
        stepper.session(name, fail=of(name, FAIL))
    stepper.session("c", one="select l.lane from tide.set_lane('one') as l")
    stepper.session("d", two="select l.lane from tide.set_lane('two') as l")
    stepper.play(
        """
        c.begin
        c.one       one
        b.fail      waiting
        d.two       two
        c.commit
        b.fail      1
        a.fail      1
        """
    )
    assert value(connection, "select count(*) from tide.lane_failures") == 4


def test_a_step_that_begins_beside_a_claim_of_its_lane_waits_for_nobody(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, '{"total": 1}')
    stepper.facts["run"], stepper.facts["lease"] = leased(connection)
    stepper.facts["laned"] = queued(connection, lane="shared")
    begin = "select b.action from tide.begin_step(%(run)s, %(lease)s, 's', lane => 'shared') as b"
    stepper.session("a", claim=CLAIM)
    stepper.session("b", begin=begin, claim=CLAIM, waiting=WAITING, tick=TICK)
    stepper.play(
        """
        a.begin
        a.claim     laned
        b.begin     lane
        b.waiting   1
        a.rollback
        b.tick      due
        b.claim     run
        a.claim     nothing
        b.waiting   1
        """
    )
    assert in_step(connection)


def test_a_step_does_not_pass_one_that_was_parked_beside_the_end_that_frees_its_place(
    stepper: Stepper, connection: Connection
) -> None:
    lane(connection, '{"total": 1}')
    begin = "select b.action from tide.begin_step(%(run)s, %(lease)s, 's', lane => 'shared') as b"
    complete = "select s.status from tide.complete_step(%(run)s, %(lease)s, 's') as s"
    for name in "abc":
        stepper.facts[f"run {name}"], stepper.facts[f"lease {name}"] = leased(connection)
        stepper.session(name, step=of(name, begin), complete=of(name, complete), claim=CLAIM)
    stepper.session("d", tick=TICK)
    stepper.play(
        """
        a.step      execute
        a.begin
        a.complete  completed
        b.step      lane
        a.commit
        c.step      lane
        d.tick      due
        d.tick      due
        a.claim     run b
        """
    )
    assert in_step(connection)
