"""Lanes of steps: a place while the step runs, and a parked run while there is none."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.lanes.census import in_step
from tests.runs.acts import Tide, contents, refused
from tests.support import Clock, Connection, value

MINUTE = timedelta(minutes=1)


class Working:
    """A leased run and its steps."""

    def __init__(self, tide: Tide, row: Any) -> None:
        self.tide = tide
        self.run_id: UUID = row.run_id
        self.own = {"run_id": row.run_id, "lease_id": row.lease_id}

    def begin(self, name: str = "ask", lane: str | None = "model", **more: Any) -> Any:
        return self.tide.begin_step(**self.own, name=name, lane=lane, **more).action

    def complete(self, name: str = "ask", **more: Any) -> None:
        self.tide.complete_step(**self.own, name=name, **more)

    def end(self, verb: str = "complete", **more: Any) -> Any:
        return getattr(self.tide, verb)(**self.own, **more)


def enqueue(tide: Tide, runs: int = 1, **arguments: Any) -> list[UUID]:
    return [tide.enqueue(workflow="report", **arguments).run_id for _ in range(runs)]


def claim(tide: Tide, **arguments: Any) -> list[Working]:
    return [Working(tide, row) for row in tide.claim(max_runs=9, **arguments)]


def started(tide: Tide, runs: int, **arguments: Any) -> list[Working]:
    enqueue(tide, runs, **arguments)
    working = claim(tide)
    assert len(working) == runs
    return working


def held(tide: Tide, key: str = "") -> int:
    return int(value(tide.connection, "select tide._count_held('model', %s)", key))


def used(tide: Tide, key: str = "") -> int:
    return int(value(tide.connection, "select tide._units_used('model', %s)", key))


def waits(tide: Tide, working: Working) -> Any:
    return tide.connection.execute(
        "select waiting_on, waiting_for from tide.runs where run_id = %s", (working.run_id,)
    ).fetchone()


def test_a_step_holds_a_place_in_its_lane_until_it_completes(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 1, "per_key": 1})
    one, two = started(tide, 2)
    assert one.begin(lane_key="acme") == "execute"
    assert (held(tide), held(tide, "acme")) == (1, 1)
    assert in_step(tide.connection)
    assert two.begin() == "lane"
    assert waits(tide, two) == ("lane", "model")
    one.complete()
    assert (held(tide), held(tide, "acme")) == (0, 0)
    (again,) = claim(tide)
    assert again.run_id == two.run_id
    assert held(tide) == 1
    assert again.begin() == "execute"
    assert held(tide) == 1
    again.complete()
    assert again.begin() == "replay"
    assert held(tide) == 0
    one.end()
    again.end()
    assert in_step(tide.connection)
    rows = "select count(*) from tide.run_lanes"
    assert value(tide.connection, rows) == 0
    lanes = "select count(*) from tide.runs where lane is not null"
    assert value(tide.connection, lanes) == 0


def test_a_step_that_is_begun_again_under_its_lease_holds_one_place(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    (one,) = started(tide, 1)
    assert [one.begin(), one.begin()] == ["execute", "execute"]
    assert held(tide) == 1


def test_a_run_parked_for_a_step_keeps_its_attempt_and_is_claimed_with_the_place(
    tide: Tide,
) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    one, two, three = started(tide, 3)
    assert [one.begin(), two.begin(), three.begin()] == ["execute", "lane", "lane"]
    assert claim(tide) == []
    one.complete()
    enqueue(tide)
    (again, four) = claim(tide)
    assert again.run_id == two.run_id
    assert held(tide) == 1
    assert four.begin() == "lane"
    assert waits(tide, three) == ("lane", "model")
    attempt = "select attempt from tide.runs where run_id = %s"
    assert value(tide.connection, attempt, three.run_id) == 0
    assert in_step(tide.connection)


@pytest.mark.parametrize(
    "how",
    ["fail_step", "complete", "fail", "release", "cancel", "settle", "sleep", "expiry",
     "last expiry"],
)  # fmt: skip
def test_whatever_ends_a_step_or_its_attempt_gives_the_place_back(
    tide: Tide, hour: Clock, how: str
) -> None:
    tide.set_lane(lane="model", settings={"total": 1, "per_key": 1, "units": 100})
    (one,) = started(tide, 1, max_attempts=1 if how == "last expiry" else 3)
    (two,) = started(tide, 1, max_attempts=3)
    assert one.begin(lane_key="acme", cost=10) == "execute"
    assert two.begin(lane_key="acme") == "lane"
    match how:
        case "fail_step":
            assert one.end("fail_step", name="ask", retryable=True).decision == "auto_retry"
        case "cancel":
            tide.cancel(run_id=one.run_id)
        case "settle":
            tide.settle(outcomes=[{name: str(given) for name, given in one.own.items()}])
        case "sleep":
            one.end("sleep", name="nap", duration="1 min")
        case "expiry" | "last expiry":
            hour.advance(timedelta(seconds=90))
            tide.reconcile()
        case _:
            one.end(how)
    assert two.run_id in [working.run_id for working in claim(tide)]
    assert (held(tide), held(tide, "acme")) == (1, 1)
    assert in_step(tide.connection)


def test_a_begin_that_rolls_back_holds_nothing(tide: Tide, connect: Any) -> None:
    tide.set_lane(lane="model", settings={"total": 1, "units": 9})
    (one,) = started(tide, 1)
    with pytest.raises(ZeroDivisionError), connect().transaction() as attempt:
        one.tide = Tide(attempt.connection)
        assert one.begin(cost=9) == "execute"
        raise ZeroDivisionError
    assert (held(tide), used(tide)) == (0, 0)
    assert in_step(tide.connection)


def test_units_of_a_step_are_settled_by_what_it_used(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"units": 1000, "units_per_key": 900, "unit": "tokens"})
    (one,) = started(tide, 1)
    assert one.begin("plan", lane_key="acme", cost=600) == "execute"
    assert one.begin("read", lane_key="acme", cost=200) == "execute"
    assert (used(tide), used(tide, "acme")) == (800, 800)
    one.complete("plan", used={"total_tokens": 50})
    assert used(tide) == 250
    one.complete("read", used={"total_tokens": 300})
    assert (used(tide), used(tide, "acme")) == (350, 350)
    assert one.begin("blind", cost=100) == "execute"
    one.complete("blind")
    assert used(tide) == 450
    one.end()
    assert value(tide.connection, "select count(*) from tide.lane_charges where open") == 0


def test_a_step_that_lacks_units_waits_for_them(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="model", settings={"units": 10})
    one, two = started(tide, 2)
    assert [one.begin(cost=6), two.begin(cost=5)] == ["execute", "lane"]
    (reason,) = tide.explain_wait(run_id=two.run_id)["reasons"]
    assert (reason["lane"], reason["cost"], reason["used"]) == ("model", 5, 6)
    hour.advance(timedelta(seconds=59))
    tide.reconcile()
    assert claim(tide) == []
    hour.advance(timedelta(seconds=1))
    tide.reconcile()
    (again,) = [working for working in claim(tide) if working.run_id == two.run_id]
    assert again.begin(cost=5) == "execute"
    assert used(tide) == 5


def test_a_step_does_not_pass_those_who_wait_in_its_lane(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"units": 10})
    one, two, three = started(tide, 3)
    assert [one.begin(cost=6), two.begin(cost=9), three.begin(cost=1)] == [
        "execute", "lane", "lane",
    ]  # fmt: skip


def test_a_step_beside_others_of_its_run_waits_and_parks_nothing(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    (one,) = started(tide, 1)
    assert one.begin("left") == "execute"
    before = contents(tide.connection)
    assert one.begin("right") == "wait"
    changed = {table for table, rows in contents(tide.connection).items() if rows != before[table]}
    assert changed <= {"runs_active", "lease_renewals"}
    one.complete("left")
    assert one.begin("right") == "execute"
    assert held(tide) == 1


def test_a_step_needs_no_second_place_in_a_lane_of_its_run(tide: Tide) -> None:
    for name in ("model", "search"):
        tide.set_lane(lane=name, settings={"total": 1, "units": 10})
    also = [{"lane": "search", "lane_key": "acme"}]
    (one,) = started(tide, 1, lane="model", lane_key="acme", cost=4, also_lanes=also)
    assert one.begin("plan", cost=9) == "execute"
    assert one.begin("read", lane="search", lane_key="acme") == "execute"
    assert (held(tide), used(tide)) == (1, 4)
    with refused("22023", "is in lane 'model' with another lane_key"):
        one.begin("third", lane_key="bolt")
    one.complete("plan")
    assert held(tide) == 1
    one.end()
    assert in_step(tide.connection)


def test_a_run_in_a_lane_is_claimed_with_the_places_of_its_step_or_not_at_all(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    tide.set_lane(lane="search", settings={"total": 1})
    (other,) = started(tide, 1)
    (one,) = started(tide, 1, lane="search")
    assert [other.begin(), one.begin()] == ["execute", "lane"]
    (late,) = started(tide, 1, lane="search")
    other.complete()
    assert claim(tide) == []
    assert waits(tide, one) == ("lane", "search")
    late.end()
    (again,) = claim(tide)
    assert (again.run_id, again.begin()) == (one.run_id, "execute")
    assert in_step(tide.connection)


def test_a_throttled_lane_parks_the_run_until_it_goes_on(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="model", settings={})
    (one,) = started(tide, 1)
    tide.throttle(lane="model", until=hour.now + MINUTE, reason="429")
    assert one.begin() == "lane"
    hour.advance(MINUTE)
    tide.reconcile()
    (again,) = claim(tide)
    assert again.begin() == "execute"


def test_a_refused_step_throttles_its_lane_and_not_that_of_its_run(tide: Tide) -> None:
    for name in ("customers", "model"):
        tide.set_lane(lane=name, settings={})
    for how in ("release", "settle"):
        tide.throttle(lane="model")
        (one,) = started(tide, 1, lane="customers")
        assert one.begin() == "execute"
        if how == "release":
            one.end("release", delay="1 min", throttle="429")
        else:
            outcome = {name: str(given) for name, given in one.own.items()}
            tide.settle(
                outcomes=[{**outcome, "release": True, "throttle": "429", "delay": "1 min"}]
            )
        shut = {row.lane: row.throttled_until is not None for row in tide.list_lanes()}
        assert shut == {"customers": False, "model": True}
        tide.cancel(run_id=one.run_id)


def test_failed_steps_open_the_breaker_of_their_lane_and_one_closes_it(
    tide: Tide, hour: Clock
) -> None:
    tide.set_lane(
        lane="model",
        settings={"breaker_failures": 2, "breaker_classes": ["Down"], "breaker_delay": "30 s"},
    )
    one, two = started(tide, 2)
    for _ in range(2):
        assert one.begin() == "execute"
        one.end("fail_step", name="ask", error={"type": "Down"}, retryable=True)
    assert [one.begin(), two.begin()] == ["lane", "lane"]
    assert [waits(tide, one), waits(tide, two)] == [("provider", "model")] * 2
    hour.advance(MINUTE)
    tide.reconcile()
    (probe,) = claim(tide)
    assert probe.begin() == "execute"
    probe.complete()
    tide.reconcile()
    assert len(claim(tide)) == 1
    assert tide.list_lanes()[0].opened_at is None


def test_a_step_that_is_reported_with_others_gives_its_place_back(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 1, "units": 100, "unit": "tokens"})
    (one,) = started(tide, 1)
    assert one.begin(cost=50) == "execute"
    report = {name: str(given) for name, given in one.own.items()}
    tide.report_steps(
        reports=[{**report, "name": "ask", "complete": True, "used": {"total_tokens": 7}}]
    )
    assert (held(tide), used(tide)) == (0, 7)
    one.end()
    assert in_step(tide.connection)


def test_a_lane_dropped_with_a_step_in_it_lets_who_waits_go_on(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    one, two = started(tide, 2)
    assert [one.begin(), two.begin()] == ["execute", "lane"]
    tide.drop_lane(lane="model")
    (again,) = claim(tide)
    again.tide.set_lane(lane="model", settings={"total": 1})
    one.complete()
    assert again.begin() == "execute"
    again.complete()
    assert in_step(tide.connection)


def test_a_pushed_run_holds_the_place_of_its_step_from_its_dispatch(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    (other,) = started(tide, 1)
    tide.set_queue(queue="pushed", settings={"push_url": "https://app.example/push"})
    (run_id,) = enqueue(tide, queue="pushed")
    tide.reconcile()
    pushed = Working(tide, tide.begin_run(run_id=run_id))
    assert [other.begin(), pushed.begin()] == ["execute", "lane"]
    other.complete()
    tide.reconcile()
    assert waits(tide, pushed)[0] == "push"
    assert held(tide) == 1
    again = Working(tide, tide.begin_run(run_id=run_id))
    assert again.begin() == "execute"
    again.end()
    assert in_step(tide.connection)


@pytest.mark.parametrize(
    ("code", "says", "given"),
    [
        ("TD010", "lane 'nowhere' does not exist", {"lane": "nowhere"}),
        ("22023", "cost 11 is more than lane 'model' ever allows", {"cost": 11}),
        ("22023", "cost is no number of units: 0.5", {"cost": Decimal("0.5")}),
        ("22023", "lane_key is given without a lane", {"lane": None, "lane_key": "acme"}),
        ("22023", "cost is given without a lane", {"lane": None, "cost": 2}),
        ("22023", "lane_key", {"lane_key": ""}),
    ],
)
def test_a_lane_of_a_step_that_makes_no_sense_is_refused_and_nothing_written(
    tide: Tide, code: str, says: str, given: dict[str, Any]
) -> None:
    tide.set_lane(lane="model", settings={"units": 10})
    (one,) = started(tide, 1)
    before = contents(tide.connection)
    with refused(code, says):
        one.begin(**given)
    assert contents(tide.connection) == before


def test_a_step_of_a_run_without_a_queue_has_no_lane(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={})
    run = tide.create_run(workflow="report")
    plain = Working(tide, tide.begin_run(run_id=run.run_id))
    with refused("22023", "lane is given for a run without a queue"):
        plain.begin()


def test_a_budget_that_parks_the_run_gives_the_place_of_its_step_back(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    (one,) = started(tide, 1, budget={"max_cost_usd": 1})
    assert one.begin(estimate=Jsonb({"usd": 2})) == "budget"
    assert held(tide) == 0
    assert in_step(tide.connection)


def test_a_step_without_a_lane_touches_no_table_and_no_index_of_lanes(
    tide: Tide, connection: Connection
) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    (one,) = started(tide, 1)
    touched = """
        select sum(
          pg_stat_get_xact_numscans(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid)
            + pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)
        )
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and c.relname like any ('{lanes%,lane\\_%,run\\_lanes%}')
        """
    one.tide = Tide(connection)
    with connection.transaction():
        before = value(connection, touched)
        assert one.begin("plain", lane=None) == "execute"
        one.complete("plain")
        assert one.begin("failed", lane=None) == "execute"
        one.end("fail_step", name="failed", retryable=True)
        assert value(connection, touched) == before
        assert one.begin("asked") == "execute"
        assert value(connection, touched) > before


def test_an_outline_shows_the_lanes_of_a_run_and_of_its_steps(tide: Tide) -> None:
    for lane in ("model", "search"):
        tide.set_lane(lane=lane, settings={"total": 1})
    tide.enqueue(
        workflow="report",
        lane="model",
        lane_key="acme",
        cost=3,
        also_lanes=[{"lane": "search"}],
    )
    (waiting,) = enqueue(tide, queue="others")
    held = [
        {"step": None, "lane": "model", "lane_key": "acme", "cost": 3, "held": True},
        {"step": None, "lane": "search", "lane_key": None, "cost": None, "held": True},
    ]
    (run,) = tide.claim(queues=["default"])
    assert tide.outline_run(run_id=run.run_id)["lanes"] == held
    other = Working(tide, *tide.claim(queues=["others"]))
    assert tide.outline_run(run_id=waiting)["lanes"] == []
    assert other.begin(lane_key="bolt") == "lane"
    assert tide.outline_run(run_id=waiting)["lanes"] == [
        {"step": "ask", "lane": "model", "lane_key": "bolt", "cost": None, "held": False}
    ]
