"""Runs in several lanes: a place in each of them, all or none, whatever becomes of the run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.lanes.census import in_step
from tests.runs.acts import Tide, contents, refused
from tests.support import Clock, Connection, value

MINUTE = timedelta(minutes=1)


def queue_up(tide: Tide, lane: str, *also: Any, **arguments: Any) -> UUID:
    """A run in lanes, the others by their names or as objects."""
    others = [{"lane": other} if isinstance(other, str) else other for other in also]
    run_id: UUID = tide.enqueue(workflow="report", lane=lane, also_lanes=others, **arguments).run_id
    return run_id


def claimed(tide: Tide, **arguments: Any) -> list[UUID]:
    return [run.run_id for run in tide.claim(max_runs=9, **arguments)]


def end(tide: Tide, run_id: UUID, verb: str = "complete", **arguments: Any) -> Any:
    lease_id = value(tide.connection, "select lease_id from tide.runs where run_id = %s", run_id)
    return getattr(tide, verb)(run_id=run_id, lease_id=lease_id, **arguments)


def held(tide: Tide, lane: str) -> int:
    return int(value(tide.connection, "select tide._count_held(%s, '')", lane))


def used(tide: Tide, lane: str, key: str = "") -> int:
    return int(value(tide.connection, "select tide._units_used(%s, %s)", lane, key))


def waits(tide: Tide, run_id: UUID) -> Any:
    return tide.connection.execute(
        "select waiting_on, waiting_for from tide.runs where run_id = %s", (run_id,)
    ).fetchone()


def test_a_run_holds_a_place_in_each_of_its_lanes(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 2})
    tide.set_lane(lane="search", settings={"total": 1, "per_key": 1})
    first = queue_up(tide, "model", {"lane": "search", "lane_key": "acme"})
    second = queue_up(tide, "search")
    third = queue_up(tide, "model")
    assert claimed(tide) == [first, third]
    assert waits(tide, second) == ("lane", "search")
    assert (held(tide, "model"), held(tide, "search")) == (2, 1)
    assert value(tide.connection, "select tide._count_held('search', 'acme')") == 1
    assert in_step(tide.connection)
    end(tide, first)
    assert claimed(tide) == [second]
    assert in_step(tide.connection)


def test_a_run_that_lacks_one_place_takes_none_and_waits_for_that_one(tide: Tide) -> None:
    for name in ("model", "search", "tools"):
        tide.set_lane(lane=name, settings={"total": 1})
    busy = queue_up(tide, "search")
    both = queue_up(tide, "model", "search", "tools")
    assert claimed(tide) == [busy]
    assert waits(tide, both) == ("lane", "search")
    assert [held(tide, name) for name in ("model", "search", "tools")] == [0, 1, 0]
    other = queue_up(tide, "model")
    assert claimed(tide) == [other]
    end(tide, busy)
    assert claimed(tide) == []
    assert waits(tide, both) == ("lane", "model")
    end(tide, other)
    assert claimed(tide) == [both]
    assert in_step(tide.connection)


@pytest.mark.parametrize(
    "how",
    ["complete", "fail", "retry later", "release", "cancel", "settle", "park", "expiry",
     "last expiry", "deadline"],
)  # fmt: skip
def test_every_end_of_an_attempt_gives_all_places_back(tide: Tide, hour: Clock, how: str) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    tide.set_lane(lane="search", settings={"total": 1, "per_key": 1, "units": 100})
    run_id = queue_up(
        tide,
        "model",
        {"lane": "search", "lane_key": "acme", "cost": 40},
        max_attempts=1 if how in ("fail", "last expiry") else 3,
        deadline="30 s" if how == "deadline" else None,
    )
    assert claimed(tide) == [run_id]
    waiting = queue_up(tide, "search", lane_key="acme", priority=1)
    assert claimed(tide) == []
    if how in ("complete", "release"):
        end(tide, run_id, how)
    elif how in ("fail", "retry later"):
        end(tide, run_id, "fail")
    elif how == "cancel":
        tide.cancel(run_id=run_id)
    elif how == "settle":
        lease = value(tide.connection, "select lease_id from tide.runs where run_id = %s", run_id)
        tide.settle(outcomes=[{"run_id": run_id, "lease_id": lease}])
    elif how == "park":
        end(tide, run_id, "sleep", name="nap", duration="1 min")
    else:
        hour.advance(timedelta(seconds=90))
        tide.reconcile()
    assert (held(tide, "model"), held(tide, "search")) == (0, 0)
    assert claimed(tide)[:1] == [waiting]
    assert in_step(tide.connection)


def test_a_claim_that_rolls_back_gives_all_places_and_units_back(tide: Tide, connect: Any) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    tide.set_lane(lane="search", settings={"total": 1, "units": 10})
    run_id = queue_up(tide, "model", {"lane": "search", "cost": 10})
    with pytest.raises(ZeroDivisionError), connect().transaction() as attempt:
        assert [run.run_id for run in Tide(attempt.connection).claim()] == [run_id]
        raise ZeroDivisionError
    assert (held(tide, "model"), held(tide, "search"), used(tide, "search")) == (0, 0, 0)
    assert claimed(tide) == [run_id]
    assert in_step(tide.connection)


def test_units_of_each_lane_are_settled_by_what_it_counts(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"units": 1000, "unit": "tokens"})
    tide.set_lane(lane="search", settings={"units": 50, "units_per_key": 50, "unit": "queries"})
    run_id = queue_up(tide, "model", {"lane": "search", "lane_key": "acme", "cost": 20}, cost=600)
    assert claimed(tide) == [run_id]
    assert (used(tide, "model"), used(tide, "search"), used(tide, "search", "acme")) == (
        600,
        20,
        20,
    )
    tide.record_usage(run_id=run_id, total_tokens=100)
    tide.record_usage(run_id=run_id, quantity=25, unit="queries")
    assert (used(tide, "model"), used(tide, "search")) == (600, 25)
    end(tide, run_id)
    assert (used(tide, "model"), used(tide, "search"), used(tide, "search", "acme")) == (
        100,
        25,
        25,
    )
    assert in_step(tide.connection)


def test_a_run_without_units_in_a_further_lane_waits_there_in_order(
    tide: Tide, hour: Clock
) -> None:
    tide.set_lane(lane="model", settings={"total": 9})
    tide.set_lane(lane="search", settings={"units": 10})
    first = queue_up(tide, "search", cost=6)
    large = queue_up(tide, "model", {"lane": "search", "cost": 10})
    small = queue_up(tide, "search", cost=2)
    assert claimed(tide) == [first]
    assert (waits(tide, large), waits(tide, small)) == (("lane", "search"),) * 2
    hour.advance(MINUTE)
    tide.reconcile()
    assert claimed(tide) == [large]
    assert in_step(tide.connection)


def test_a_throttled_further_lane_keeps_a_run_waiting(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="model", settings={"total": 9})
    tide.set_lane(lane="search", settings={})
    tide.throttle(lane="search", until=hour.now + MINUTE, reason="429")
    both, alone = queue_up(tide, "model", "search"), queue_up(tide, "model")
    assert claimed(tide) == [alone]
    assert waits(tide, both) == ("lane", "search")
    hour.advance(MINUTE)
    tide.reconcile()
    assert claimed(tide) == [both]


def test_a_breaker_of_a_further_lane_counts_and_keeps_the_attempt(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="model", settings={"total": 9})
    tide.set_lane(
        lane="search",
        settings={"breaker_failures": 2, "breaker_classes": ["Down"], "breaker_delay": "30 s"},
    )
    runs = [queue_up(tide, "model", "search", max_attempts=3) for _ in range(3)]
    assert claimed(tide) == runs
    for run_id in runs[:2]:
        end(tide, run_id, "fail", error={"type": "Down"})
    assert waits(tide, runs[1]) == ("provider", "search")
    assert value(tide.connection, "select attempt from tide.runs where run_id = %s", runs[1]) == 0
    end(tide, runs[2])
    assert claimed(tide) == []
    hour.advance(MINUTE)
    tide.reconcile()
    (probe,) = claimed(tide)
    end(tide, probe)
    tide.reconcile()
    assert set(claimed(tide)) == set(runs[:2]) - {probe}
    assert in_step(tide.connection)


def test_a_refused_run_throttles_its_first_lane(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="model", settings={"total": 4, "adaptive": True})
    tide.set_lane(lane="search", settings={})
    run_id = queue_up(tide, "model", "search")
    assert claimed(tide) == [run_id]
    end(tide, run_id, "release", delay="1 min", throttle="429")
    shut = {row.lane: row.throttled_until is not None for row in tide.list_lanes()}
    assert shut == {"model": True, "search": False}


def test_an_adaptive_further_lane_rises_by_runs_that_complete(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={})
    tide.set_lane(lane="search", settings={"total": 4, "adaptive": True, "adaptive_min": 1})
    refusing = queue_up(tide, "search")
    assert claimed(tide) == [refusing]
    end(tide, refusing, "release", throttle="429")
    tide.cancel(run_id=refusing)
    assert tide.list_lanes(lanes=["search"])[0].adaptive_limit == 2
    runs = [queue_up(tide, "model", "search") for _ in range(4)]
    assert claimed(tide) == runs[:2]
    for run_id in runs[:2]:
        end(tide, run_id)
    assert claimed(tide) == runs[2:]
    assert tide.list_lanes(lanes=["search"])[0].adaptive_limit == 3


def test_a_fair_first_lane_keeps_the_turn_of_a_run_that_waits_in_another(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"fair": True})
    tide.set_lane(lane="search", settings={"total": 1})
    busy = queue_up(tide, "search")
    assert claimed(tide) == [busy]
    acme = [queue_up(tide, "model", "search", lane_key="acme") for _ in range(2)]
    bolt = queue_up(tide, "model", "search", lane_key="bolt")
    assert claimed(tide) == []
    assert in_step(tide.connection)
    order = []
    for _ in range(3):
        end(tide, busy)
        (busy,) = claimed(tide)
        order.append(busy)
    assert order == [acme[0], bolt, acme[1]]
    assert in_step(tide.connection)


def test_a_fair_further_lane_serves_who_waits_for_a_place_of_its_key(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={})
    tide.set_lane(lane="search", settings={"fair": True, "per_key": 1})
    busy = queue_up(tide, "search", lane_key="acme")
    assert claimed(tide) == [busy]
    both = queue_up(tide, "model", {"lane": "search", "lane_key": "acme"})
    assert claimed(tide) == []
    assert waits(tide, both) == ("lane", "search")
    end(tide, busy)
    assert claimed(tide) == [both]
    assert in_step(tide.connection)


def test_runs_in_opposite_lanes_go_on_one_after_the_other(tide: Tide) -> None:
    for name in ("model", "search"):
        tide.set_lane(lane=name, settings={"total": 1})
    one, two = queue_up(tide, "model", "search"), queue_up(tide, "search", "model")
    assert claimed(tide) == [one]
    end(tide, one)
    assert claimed(tide) == [two]
    end(tide, two)
    assert in_step(tide.connection)


def test_lanes_of_a_run_are_lowered_raised_and_dropped_while_it_runs(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 3})
    tide.set_lane(lane="search", settings={"total": 3})
    runs = [queue_up(tide, "model", "search") for _ in range(4)]
    assert claimed(tide) == runs[:3]
    tide.set_lane(lane="search", settings={"total": 1})
    end(tide, runs[0])
    assert claimed(tide) == []
    assert waits(tide, runs[3]) == ("lane", "search")
    tide.set_lane(lane="search", settings={"total": 3})
    assert claimed(tide) == [runs[3]]
    last = [queue_up(tide, "model", "search"), queue_up(tide, "model", "search")]
    assert claimed(tide) == []
    tide.drop_lane(lane="search")
    end(tide, runs[1])
    assert claimed(tide) == [last[0]]
    tide.drop_lane(lane="model")
    assert claimed(tide) == [last[1]]
    for run_id in (runs[2], runs[3], *last):
        end(tide, run_id)
    assert in_step(tide.connection)


def test_runs_claimed_without_a_limit_count_for_a_new_one(tide: Tide) -> None:
    for name in ("model", "search"):
        tide.set_lane(lane=name, settings={})
    runs = [queue_up(tide, "model", {"lane": "search", "lane_key": "acme"}) for _ in range(3)]
    assert claimed(tide) == runs
    tide.set_lane(lane="search", settings={"total": 4, "per_key": 3})
    more = [queue_up(tide, "model", {"lane": "search", "lane_key": "acme"}) for _ in range(2)]
    assert claimed(tide) == []
    end(tide, runs[0])
    assert claimed(tide) == more[:1]
    assert in_step(tide.connection)


def test_a_run_another_claim_leaves_no_slot_for_holds_nothing_in_any_lane(
    tide: Tide, connect: Any
) -> None:
    tide.set_lane(lane="model", settings={"total": 9})
    tide.set_lane(lane="search", settings={"total": 9, "units": 100})
    tide.set_queue(queue="default", settings={"concurrency": 2})
    runs = [queue_up(tide, "model", {"lane": "search", "cost": 10}) for _ in range(2)]
    with connect().transaction() as other:
        other.connection.execute("select from tide.slots where slot = 1 for update")
        assert claimed(tide) == runs[:1]
    assert (held(tide, "model"), held(tide, "search"), used(tide, "search")) == (1, 1, 10)
    assert in_step(tide.connection)


def test_retried_and_forked_runs_stay_in_all_their_lanes(tide: Tide) -> None:
    for name in ("model", "search"):
        tide.set_lane(lane=name, settings={"total": 2})
    run_id = queue_up(tide, "model", {"lane": "search", "lane_key": "acme", "cost": 2})
    assert claimed(tide) == [run_id]
    end(tide, run_id, "fail")
    tide.retry(run_id=run_id)
    fork = tide.fork_run(run_id=run_id).run_id
    assert claimed(tide) == [run_id, fork]
    assert (held(tide, "model"), held(tide, "search")) == (2, 2)
    assert in_step(tide.connection)


def test_batches_and_children_may_be_in_several_lanes(tide: Tide) -> None:
    for name in ("model", "search"):
        tide.set_lane(lane=name, settings={"total": 1})
    lanes = {"lane": "model", "also_lanes": [{"lane": "search"}]}
    tide.enqueue_many(queue="default", runs=[{"workflow": "report", **lanes}] * 2)
    (run,) = tide.claim(max_runs=9)
    tide.spawn(
        run_id=run.run_id, lease_id=run.lease_id, edge="part", workflow="part", queue="default",
        options=lanes,
    )  # fmt: skip
    assert claimed(tide) == []
    end(tide, run.run_id)
    assert len(claimed(tide)) == 1
    assert held(tide, "search") == 1
    assert value(tide.connection, "select count(*) from tide.run_lanes") == 3


def test_runs_of_a_schedule_may_be_in_several_lanes(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="model", settings={})
    tide.set_lane(lane="search", settings={"total": 1, "units": 9})
    declared = {"name": "s", "cron": "* * * * *", "workflow": "part", "lane": "model"}
    with refused("22023", "also_lanes[0].cost 10 is more than lane 'search' ever allows"):
        tide.set_schedule(**declared, also_lanes=[{"lane": "search", "cost": 10}])
    for _ in range(2):
        made = tide.set_schedule(**declared, also_lanes=[{"lane": "search", "cost": 5}])
        assert made.also_lanes == [{"lane": "search", "cost": 5}]
    hour.advance(MINUTE)
    tide.reconcile()
    assert len(claimed(tide)) == 1
    assert (held(tide, "search"), used(tide, "search")) == (1, 5)
    (change,) = tide.list_setting_changes(kind="schedule")
    assert change.after["also_lanes"] == made.also_lanes


def test_a_replaced_run_has_the_lanes_of_the_new_one(tide: Tide) -> None:
    for name in ("model", "search", "tools"):
        tide.set_lane(lane=name, settings={"total": 1})
    named = {"dedupe_key": "one", "on_conflict": "replace"}
    run_id = queue_up(tide, "model", "search", **named)
    assert queue_up(tide, "model", "tools", **named) == run_id
    assert claimed(tide) == [run_id]
    assert [held(tide, name) for name in ("model", "search", "tools")] == [1, 0, 1]


def test_retention_forgets_the_lanes_of_a_run(tide: Tide, hour: Clock) -> None:
    for name in ("model", "search"):
        tide.set_lane(lane=name, settings={})
    run_id = queue_up(tide, "model", "search")
    assert claimed(tide) == [run_id]
    end(tide, run_id)
    assert value(tide.connection, "select count(*) from tide.run_lanes") == 1
    hour.advance(timedelta(days=400))
    tide.prune(older_than="1 day")
    assert value(tide.connection, "select count(*) from tide.run_lanes") == 0


def test_a_pushed_run_holds_all_its_places_until_it_ends(tide: Tide, hour: Clock) -> None:
    for name in ("model", "search"):
        tide.set_lane(lane=name, settings={"total": 1})
    tide.set_queue(
        queue="default", settings={"push_url": "https://app.example/push", "backoff_base": "0 s"}
    )
    run_id = queue_up(tide, "model", "search")
    other = queue_up(tide, "search")
    tide.reconcile()
    assert held(tide, "search") == 1
    assert in_step(tide.connection)
    tide.begin_run(run_id=run_id)
    tide.reconcile()
    assert held(tide, "search") == 1
    end(tide, run_id)
    tide.reconcile()
    assert waits(tide, other)[0] == "push"
    assert in_step(tide.connection)


@pytest.mark.parametrize(
    ("lanes", "says"),
    [
        ([{"lane": "model"}], "also_lanes[0].lane is given twice: 'model'"),
        ([{"lane": "search"}, {"lane": "search"}], "also_lanes[1].lane is given twice: 'search'"),
        ([{"lane": "nowhere"}], "lane 'nowhere' does not exist"),
        ([{"lane_key": "acme"}], "also_lanes[0].lane is missing"),
        ([{"lane": "search", "cost": 11}], "also_lanes[0].cost 11 is more than lane 'search' ever"),
        ([{"lane": "search", "cost": 0}], "also_lanes[0].cost is no number of units: 0"),
        ([{"lane": "search", "lane_key": ""}], "also_lanes[0].lane_key"),
        ([{"lane": "search", "weight": 3}], "weight"),
        ({"lane": "search"}, "also_lanes"),
        ([{"lane": f"lane-{n}"} for n in range(5)], "also_lanes"),
    ],
)
def test_further_lanes_that_make_no_sense_are_refused_and_nothing_written(
    tide: Tide, lanes: Any, says: str
) -> None:
    tide.set_lane(lane="model", settings={})
    tide.set_lane(lane="search", settings={"units": 10})
    before = contents(tide.connection)
    code = "TD010" if "exist" in says else "22023"
    run = {"workflow": "report", "lane": "model", "also_lanes": lanes}
    with refused(code, says):
        tide.enqueue(**run)
    with refused(code):
        tide.enqueue_many(queue="default", runs=[run])
    assert contents(tide.connection) == before


def test_further_lanes_without_a_first_one_are_refused(tide: Tide) -> None:
    tide.set_lane(lane="search", settings={})
    with refused("22023", "also_lanes is given without a lane"):
        tide.enqueue(workflow="report", also_lanes=[{"lane": "search"}])


def test_explain_wait_and_list_lanes_count_places_of_further_lanes(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={"total": 9})
    tide.set_lane(lane="search", settings={"total": 1, "per_key": 1})
    busy = queue_up(tide, "model", {"lane": "search", "lane_key": "acme"})
    both = queue_up(tide, "model", {"lane": "search", "lane_key": "acme"})
    assert claimed(tide) == [busy]
    (search,) = tide.list_lanes(lanes=["search"])
    assert (search.running, search.waiting) == (1, 1)
    assert search.keys == [{"lane_key": "acme", "running": 1, "waiting": 1}]
    (of_lane, of_key) = tide.explain_wait(run_id=both)["reasons"]
    assert of_key["lane"] == "search"
    assert of_key["held_by"] == [str(busy)]
    assert (of_key["lane_key"], of_key["most"], of_key["ahead"]) == ("acme", 1, 0)
    assert of_lane["detail"] == "the total of its lane is used up"


def test_upkeep_leaves_places_of_further_lanes_alone(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    tide.set_lane(lane="search", settings={"total": 1, "per_key": 1})
    run_id = queue_up(tide, "model", {"lane": "search", "lane_key": "acme"})
    (run,) = tide.claim(lease="1 hour")
    assert run.run_id == run_id
    hour.advance(timedelta(minutes=30))
    tide.reconcile()
    assert in_step(tide.connection)
    assert held(tide, "search") == 1


def test_a_run_in_one_lane_writes_nothing_of_further_ones(
    tide: Tide, connection: Connection
) -> None:
    tide.set_lane(lane="model", settings={"total": 1})
    written = """
        select
          pg_stat_get_xact_tuples_inserted('tide.run_lanes'::regclass)
          + pg_stat_get_xact_tuples_updated('tide.run_lanes'::regclass)
          + pg_stat_get_xact_tuples_deleted('tide.run_lanes'::regclass)
        """
    with connection.transaction():
        tide.enqueue(workflow="report", lane="model")
        (run,) = tide.claim()
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
        assert value(connection, written) == 0


def test_describe_run_tells_what_a_run_holds_in_each_further_lane(tide: Tide) -> None:
    tide.set_lane(lane="model", settings={})
    tide.set_lane(lane="search", settings={"total": 1, "units": 9})
    run_id = queue_up(tide, "model", {"lane": "search", "cost": 4})
    assert claimed(tide) == [run_id]
    (search,) = tide.describe_run(run_id=run_id)["lanes"]
    assert (search["lane"], search["held"], search["lane_slot"]) == ("search", True, 1)
    assert (search["cost"], search["units_left"]) == (4, 4)
