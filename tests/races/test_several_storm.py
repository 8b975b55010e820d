"""Runs of two lanes, named in either order, among many claimers: no deadlock, no place too many."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.lanes.census import in_step
from tests.races.storm import Actor, check_histories, storm, until_met
from tests.races.test_claim_storms import upkeep
from tests.races.test_lane_storm import DRAINED, KEYS, QUEUES, claim, claim_in_vain
from tests.support import open_connection, size, value

CLAIMERS = 12
RUNS = size(60, 240)
TOTAL = {"one": 4, "two": 3}
UNITS = 40
CENSUS = """
    select
      n.lane,
      count(*) as running,
      coalesce((select sum(c.units) from tide._charged(n.lane, '', now() - l.period) as c), 0)
        as used
    from (
      select r.lane
      from tide.runs_active as r
      where r.status = 'running'
      union all
      select o.lane
      from tide.run_lanes as o
      where o.held
    ) as n
    join tide.lanes as l on l.lane = n.lane
    group by n.lane, l.period
    """


def lane(connection: Any, name: str, **settings: Any) -> None:
    connection.execute("select tide.set_lane(%s, %s::jsonb)", (name, json.dumps(settings)))


def fill(dsn: str, **settings: Any) -> None:
    """Every third run is in one lane, in the other, or in both in either order."""
    ways = [("one", "two"), ("two", "one"), ("one", None), ("two", None), ("two", "one")]
    with open_connection(dsn) as connection:
        for name, total in TOTAL.items():
            lane(connection, name, total=total, per_key=2, **settings)
        for number, queue in enumerate(QUEUES):
            connection.execute(
                "select tide.set_queue(%s, %s::jsonb)",
                (queue, json.dumps({"backoff_base": "0 s", "max_attempts": 100})),
            )
            runs = [
                {
                    "workflow": "work",
                    "lane": first,
                    "lane_key": KEYS[(place + number) % 5],
                    "also_lanes": second and [{"lane": second, "lane_key": KEYS[place % 4]}],
                }
                for place in range(RUNS // len(QUEUES))
                for first, second in [ways[place % len(ways)]]
            ]
            connection.execute("select tide.enqueue_many(%s, %s::jsonb)", (queue, json.dumps(runs)))


def check(dsn: str) -> None:
    with open_connection(dsn) as connection:
        check_histories(connection)
        assert value(connection, "select count(*) from tide.runs_active") == 0
        assert value(connection, "select count(*) from tide.lane_waits") == 0
        assert value(connection, "select count(*) from tide.sweep_failures") == 0
        assert value(connection, "select count(*) from tide.run_lanes where held") == 0
        assert value(connection, "select count(*) from tide.lane_charges where open") == 0
        assert in_step(connection)
        busy = "select count(*) from tide.lane_slots where run_id is not null"
        assert value(connection, busy) == 0


def test_claimers_of_two_lanes_in_opposite_order_neither_exceed_them_nor_deadlock(
    dsn: str,
) -> None:
    def watch(actor: Actor) -> None:
        for _ in actor.until_over():
            for row in actor.rows(CENSUS):
                assert row.running <= TOTAL[row.lane], f"{row.running} runs of lane {row.lane}"
                actor.hits[f"full {row.lane}"] += row.running == TOTAL[row.lane]
                assert row.used <= UNITS, f"{row.used} units of lane {row.lane}"
            actor.hits["waiting"] += bool(actor.value("select count(*) from tide.lane_waits"))

    def play() -> Counter[str]:
        fill(dsn, units=UNITS, period="100 ms")
        return storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, watch])

    needed = {"in vain": 1, "retried": 4, "died": 2, "cancelled": 4, "full one": 3, "full two": 3}
    until_met(play, **needed, claimed=RUNS, waiting=5)
    check(dsn)


def test_lanes_of_runs_that_change_under_load_lose_and_leak_nothing(dsn: str) -> None:
    def configure(actor: Actor) -> None:
        for _ in actor.until_over():
            name = actor.random.choice(["one", "two"])
            if actor.random.random() < 0.1:
                actor.hits["dropped"] += bool(actor.value("select tide.drop_lane(%s)", name))
            settings = {
                "total": actor.random.choice([None, 1, 2, 6]),
                "per_key": actor.random.choice([None, 1, 2, 3]),
                "units": actor.random.choice([None, 20, 40]),
                "fair": actor.random.random() < 0.3,
                "period": "100 ms",
            }
            actor.value("select tide.set_lane(%s, %s::jsonb)", name, json.dumps(settings))
            actor.hits["configured"] += 1

    def play() -> Counter[str]:
        fill(dsn)
        return storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, configure])

    until_met(play, claimed=RUNS, configured=10, dropped=1)
    check(dsn)


def test_failures_in_two_lanes_with_breakers_lock_them_in_one_order(dsn: str) -> None:
    """Each report of a failure writes both lanes, one after the other, in a transaction of many."""

    def fails(actor: Actor) -> None:
        for _ in actor.until(DRAINED):
            runs = actor.rows("select * from tide.claim(%s, 3, '1 min')", QUEUES)
            actor.hits["claimed"] += len(runs)
            outcomes = [
                {
                    "run_id": str(run.run_id),
                    "lease_id": str(run.lease_id),
                    **({"error": {"type": "Down"}} if actor.random.randrange(3) == 0 else {}),
                }
                for run in runs
            ]
            actor.hits["failed"] += sum("error" in outcome for outcome in outcomes)
            if actor.random.randrange(2):
                while outcomes:
                    given = actor.rows(
                        "select run_id, reason from tide.settle(%s::jsonb)", json.dumps(outcomes)
                    )
                    busy = {str(one.run_id) for one in given if one.reason == "busy"}
                    outcomes = [one for one in outcomes if one["run_id"] in busy]
                continue
            for outcome in outcomes:
                verb = "fail" if "error" in outcome else "complete"
                actor.rows(
                    f"select tide.{verb}(%s, %s, %s::jsonb)",
                    outcome["run_id"],
                    outcome["lease_id"],
                    json.dumps(outcome.get("error", {})),
                )

    def mend(actor: Actor) -> None:
        for _ in actor.until_over():
            for name in TOTAL:
                actor.hits["closed"] += bool(actor.rows("select tide.throttle(%s)", name))
            actor.value("call tide.reconcile()")

    def play() -> Counter[str]:
        fill(dsn, breaker_failures=2, breaker_classes=["Down"], breaker_delay="1 s")
        return storm(dsn, [fails] * CLAIMERS, [mend])

    until_met(play, claimed=RUNS, failed=10, closed=5)
    check(dsn)


STEP = (
    "select b.action from tide.begin_step(%s, %s, %s, lane => %s, lane_key => %s, cost => 2) as b"
)
GONE = ("TD001", "TD002", "TD003", "TD004", "TD010", "TD030")


def test_steps_of_two_lanes_in_either_order_neither_exceed_them_nor_are_stuck(dsn: str) -> None:
    """Runs in no lane, and in one, whose two steps hold the lanes one after the other."""

    def work(actor: Actor) -> None:
        for _ in actor.until(DRAINED):
            for run in actor.rows("select * from tide.claim(%s, 2, '250 ms')", QUEUES):
                actor.hits["claimed"] += 1
                take_steps(actor, run)

    def take_steps(actor: Actor, run: Any) -> None:
        own = (run.run_id, run.lease_id)
        for name in sorted(TOTAL, reverse=run.priority == 1):
            key = None if run.lane == name else actor.random.choice(["acme", "bolt", None])
            action = actor.value(STEP, *own, name, name, key, refused=GONE)
            actor.hits[str(action)] += 1
            if action == "replay":
                continue
            if action != "execute":
                return
            match actor.random.randrange(12):
                case 0:
                    return  # Its lease runs out.
                case 1:
                    actor.rows("select tide.cancel(%s)", run.run_id, refused=GONE)
                    return
                case 2:
                    actor.rows("select tide.release(%s, %s)", *own, refused=GONE)
                    return
                case 3:
                    failing = "select tide.fail_step(%s, %s, %s, retryable => true)"
                    actor.rows(failing, *own, name, refused=GONE)
                    actor.rows("select tide.fail(%s, %s)", *own, refused=GONE)
                    return
                case _:
                    completing = "select tide.complete_step(%s, %s, %s)"
                    actor.rows(completing, *own, name, refused=GONE)
        actor.rows("select tide.complete(%s, %s)", *own, refused=GONE)

    def watch(actor: Actor) -> None:
        for _ in actor.until_over():
            for row in actor.rows(CENSUS):
                assert row.running <= TOTAL[row.lane], f"{row.running} in lane {row.lane}"
                assert row.used <= UNITS, f"{row.used} units of lane {row.lane}"
                actor.hits[f"full {row.lane}"] += row.running == TOTAL[row.lane]

    def play() -> Counter[str]:
        with open_connection(dsn) as connection:
            for name, total in TOTAL.items():
                lane(connection, name, total=total, per_key=2, units=UNITS, period="100 ms")
            for queue in QUEUES:
                settings = json.dumps({"backoff_base": "0 s", "max_attempts": 100})
                connection.execute("select tide.set_queue(%s, %s::jsonb)", (queue, settings))
                runs = [
                    {
                        "workflow": "work",
                        "priority": place % 2,
                        "lane": "one" if place % 3 == 0 else None,
                    }
                    for place in range(RUNS // len(QUEUES))
                ]
                connection.execute(
                    "select tide.enqueue_many(%s, %s::jsonb)", (queue, json.dumps(runs))
                )
        return storm(dsn, [work] * CLAIMERS, [upkeep, watch])

    until_met(play, claimed=RUNS, execute=RUNS, lane=10, **{"full one": 3, "full two": 3})
    check(dsn)
    with open_connection(dsn) as connection:
        assert value(connection, "select count(*) from tide.run_lanes") == 0
