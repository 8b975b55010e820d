"""Lanes: never more runs at once than in total and for each key, in any number of queues."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.lanes.census import in_step
from tests.runs.acts import Tide, contents, refused
from tests.support import Clock, Connection, value


def lane(tide: Tide, **settings: int | None) -> None:
    tide.set_lane(lane="openai", settings=settings)


def fill(tide: Tide, runs: int, key: str | None = None, queue: str = "default") -> None:
    run = {"workflow": "report", "lane": "openai", "lane_key": key}
    tide.enqueue_many(queue=queue, runs=[run] * runs)


def queue_up(tide: Tide, key: str | None = None, **arguments: Any) -> UUID:
    run_id: UUID = tide.enqueue(workflow="report", lane="openai", lane_key=key, **arguments).run_id
    return run_id


def waiting(tide: Tide) -> int:
    return int(value(tide.connection, "select count(*) from tide.lane_waits"))


def test_a_lane_bounds_its_runs_in_total(tide: Tide) -> None:
    lane(tide, total=3)
    fill(tide, 5)
    assert len(tide.claim(max_runs=5)) == 3
    assert tide.claim(max_runs=5) == []
    assert waiting(tide) == 2
    assert in_step(tide.connection)


def test_a_lane_bounds_the_runs_of_each_key(tide: Tide) -> None:
    lane(tide, per_key=2)
    fill(tide, 4, "acme")
    fill(tide, 1, "bolt")
    fill(tide, 3)
    claimed = tide.claim(max_runs=9)
    assert sorted(run.lane_key or "" for run in claimed) == ["", "", "", "acme", "acme", "bolt"]
    assert in_step(tide.connection)


def test_a_lane_is_shared_by_queues(tide: Tide) -> None:
    lane(tide, total=2, per_key=1)
    first = queue_up(tide, "acme", queue="a")
    second = queue_up(tide, "acme", queue="b")
    third = queue_up(tide, "bolt", queue="c")
    fourth = queue_up(tide, "core", queue="a")
    claimed = tide.claim(queues=["a", "b", "c"], max_runs=9)
    assert {run.run_id for run in claimed} == {first, fourth}
    (run,) = [run for run in claimed if run.run_id == first]
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    claimed = tide.claim(queues=["a", "b", "c"], max_runs=9)
    assert [run.run_id for run in claimed] == [second]
    tide.complete(run_id=claimed[0].run_id, lease_id=claimed[0].lease_id)
    assert [run.run_id for run in tide.claim(queues=["a", "b", "c"], max_runs=9)] == [third]
    assert in_step(tide.connection)


def test_runs_behind_a_full_key_are_claimed_and_each_run_is_parked_once(tide: Tide) -> None:
    lane(tide, per_key=1)
    fill(tide, 5000, "acme")
    plain = [tide.enqueue(workflow="report").run_id for _ in range(3)]
    other = queue_up(tide, "bolt")
    found = [tide.claim()[0].lane_key]
    calls = 0
    while len(found) < 5:
        found += [run.run_id for run in tide.claim()]
        calls += 1
        assert calls < 12
    assert found == ["acme", *plain, other]
    assert waiting(tide) == 4999
    parked = "select min(xmin::text) || count(distinct xmin::text) from tide.lane_waits"
    before = value(tide.connection, parked)
    assert tide.claim(max_runs=10) == []
    assert value(tide.connection, parked) == before
    assert in_step(tide.connection)


@pytest.mark.parametrize(
    "end",
    [
        "complete", "fail", "retry later", "release", "cancel", "cancel_many", "settle", "park",
        "expiry", "last expiry", "deadline",
    ],
)  # fmt: skip
def test_every_end_of_an_attempt_gives_its_places_back(tide: Tide, hour: Clock, end: str) -> None:
    lane(tide, total=1, per_key=1)
    run_id = queue_up(
        tide,
        "acme",
        max_attempts=1 if end in ("fail", "last expiry") else 3,
        deadline="30 s" if end == "deadline" else None,
        metadata={"ends": end},
    )
    (run,) = tide.claim()
    assert run.run_id == run_id
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    next_id = queue_up(tide, "acme", priority=1)
    assert tide.claim() == []
    assert waiting(tide) == 1
    if end in ("fail", "retry later"):
        tide.fail(**own)
    elif end == "cancel":
        tide.cancel(run_id=run.run_id)
    elif end == "cancel_many":
        assert tide.cancel_many(metadata={"ends": end}) == 1
    elif end == "settle":
        tide.settle(outcomes=[own])
    elif end == "park":
        tide.begin_step(**own, name="send", contract={"replay": "manual"})
        tide.fail_step(**own, name="send")
    elif end in ("expiry", "last expiry", "deadline"):
        hour.advance(timedelta(minutes=2))
        tide.reconcile()
    else:
        tide.call(end, **own)
    assert waiting(tide) == 0
    assert in_step(tide.connection)
    assert [run.run_id for run in tide.claim()] == [next_id]
    assert in_step(tide.connection)


def test_the_woken_come_in_order_of_priority_then_time(tide: Tide) -> None:
    lane(tide, per_key=1)
    first = queue_up(tide, "acme")
    claimed = tide.claim()
    rest = [queue_up(tide, "acme", priority=priority) for priority in (0, 5, 0, 5)]
    assert tide.claim() == []
    order = []
    while claimed:
        order.append(claimed[0].run_id)
        tide.complete(run_id=claimed[0].run_id, lease_id=claimed[0].lease_id)
        claimed = tide.claim(max_runs=4)
    assert order == [first, rest[1], rest[3], rest[0], rest[2]]


def test_a_claim_that_rolls_back_gives_places_back(tide: Tide, connect: Any) -> None:
    lane(tide, total=1, per_key=1)
    fill(tide, 3, "acme")
    other = Tide(connect(autocommit=False))
    (taken,) = other.claim(max_runs=3)
    # The place may be free again in a moment: nobody is parked for it.
    assert tide.claim(max_runs=3) == []
    other.connection.rollback()
    assert waiting(tide) == 0
    assert [run.run_id for run in tide.claim(max_runs=3)] == [taken.run_id]
    assert waiting(tide) == 2
    assert in_step(tide.connection)


def test_a_raised_limit_lets_those_who_wait_go_on(tide: Tide) -> None:
    lane(tide, total=1, per_key=1)
    for key in ("acme", "acme", "acme", "bolt", "core"):
        queue_up(tide, key)
    assert len(tide.claim(max_runs=9)) == 1
    lane(tide, total=4)
    claimed = tide.claim(max_runs=9)
    assert [run.lane_key for run in claimed] == ["bolt", "core"]
    lane(tide, per_key=2)
    assert [run.lane_key for run in tide.claim(max_runs=9)] == ["acme"]
    lane(tide, total=None, per_key=None)
    assert [run.lane_key for run in tide.claim(max_runs=9)] == ["acme"]
    assert waiting(tide) == 0


def test_runs_beyond_a_lowered_limit_count_until_they_end(tide: Tide) -> None:
    lane(tide, total=4, per_key=3)
    fill(tide, 8, "acme")
    runs = tide.claim(max_runs=9)
    assert len(runs) == 3
    lane(tide, total=2, per_key=1)
    for run in runs[:2]:
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
        assert tide.claim(max_runs=9) == []
    tide.complete(run_id=runs[2].run_id, lease_id=runs[2].lease_id)
    assert len(tide.claim(max_runs=9)) == 1
    assert in_step(tide.connection)


def test_runs_claimed_without_a_limit_count_for_a_new_one(tide: Tide) -> None:
    lane(tide)
    fill(tide, 6, "acme")
    runs = tide.claim(max_runs=3)
    assert len(runs) == 3
    lane(tide, total=3, per_key=2)
    assert tide.claim(max_runs=9) == []
    for run in runs[:2]:
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert len(tide.claim(max_runs=9)) == 1
    assert in_step(tide.connection)


def test_a_dropped_lane_limits_nothing_and_loses_nobody(tide: Tide) -> None:
    lane(tide, total=1, per_key=1)
    fill(tide, 3, "acme")
    (run,) = tide.claim(max_runs=9)
    assert waiting(tide) == 2
    assert tide.drop_lane(lane="openai") is True
    assert tide.drop_lane(lane="openai") is False
    assert len(tide.claim(max_runs=9)) == 2
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    with refused("TD010", "lane 'openai' does not exist"):
        queue_up(tide, "acme")
    assert in_step(tide.connection)


def test_a_waiting_run_can_be_cancelled_moved_and_replaced(tide: Tide, hour: Clock) -> None:
    lane(tide, total=1)
    queue_up(tide)
    (run,) = tide.claim()
    cancelled = queue_up(tide)
    moved = queue_up(tide)
    replaced = queue_up(tide, dedupe_key="k")
    assert tide.claim(max_runs=9) == []
    assert waiting(tide) == 3
    tide.cancel(run_id=cancelled)
    tide.reschedule(run_id=moved, run_at=hour.now + timedelta(hours=1))
    answer = tide.enqueue(
        workflow="report", lane="openai", dedupe_key="k", on_conflict="replace", priority=3
    )
    assert (answer.run_id, answer.deduplicated) == (replaced, True)
    assert waiting(tide) == 0
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    (run,) = tide.claim(max_runs=9)
    assert (run.run_id, run.priority) == (replaced, 3)
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(timedelta(hours=1))
    assert [run.run_id for run in tide.claim(max_runs=9)] == [moved]
    assert in_step(tide.connection)


def test_a_woken_run_that_leaves_wakes_the_next(tide: Tide, hour: Clock) -> None:
    lane(tide, total=1)
    queue_up(tide)
    (run,) = tide.claim()
    waits = [queue_up(tide) for _ in range(4)]
    assert tide.claim() == []
    tide.claim(max_runs=9)
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    tide.cancel(run_id=waits[0])
    tide.reschedule(run_id=waits[1], run_at=hour.now + timedelta(hours=1))
    assert [run.run_id for run in tide.claim()] == [waits[2]]
    assert in_step(tide.connection)


def test_runs_of_a_paused_queue_keep_no_place_from_others(tide: Tide) -> None:
    lane(tide, total=1)
    queue_up(tide)
    (run,) = tide.claim()
    for _ in range(3):
        queue_up(tide, queue="held")
    other = queue_up(tide, queue="open")
    assert tide.claim(queues=["held", "open"], max_runs=9) == []
    tide.set_queue(queue="held", settings={"paused": True})
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert [run.run_id for run in tide.claim(queues=["held", "open"])] == [other]


def test_retried_and_forked_runs_stay_in_their_lane(tide: Tide) -> None:
    lane(tide, total=1, per_key=1)
    queue_up(tide, "acme")
    (run,) = tide.claim()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="ask")
    tide.complete_step(**own, name="ask")
    tide.fail(**own)
    tide.retry(run_id=run.run_id)
    tide.fork_run(run_id=run.run_id, at_step="ask")
    (again,) = tide.claim(max_runs=9)
    assert (again.lane, again.lane_key) == ("openai", "acme")
    assert waiting(tide) == 1


def test_children_may_be_in_lanes(tide: Tide) -> None:
    lane(tide, total=1)
    parent = tide.begun()
    own = {"run_id": parent.run_id, "lease_id": parent.lease_id}
    for edge in ("a", "b"):
        tide.spawn(**own, edge=edge, workflow="part", queue="default", options={"lane": "openai"})
    assert len(tide.claim(max_runs=9)) == 1
    with refused("22023", 'children["c"].lane', "without a queue"):
        tide.spawn(**own, edge="c", workflow="part", options={"lane": "openai"})


def test_slots_of_a_queue_and_places_of_a_lane_hold_together(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 2, "rate_limit": 3})
    lane(tide, per_key=1)
    fill(tide, 5, "acme")
    fill(tide, 5, "bolt")
    fill(tide, 5, "core")
    assert [run.lane_key for run in tide.claim(max_runs=9)] == ["acme", "bolt"]
    assert tide.claim(max_runs=9) == []
    assert in_step(tide.connection)


def test_a_pushed_run_holds_its_places_until_it_ends(tide: Tide, hour: Clock) -> None:
    tide.set_queue(
        queue="default",
        settings={"push_url": "https://app.example.com/push"},
    )
    lane(tide, total=1, per_key=1)
    fill(tide, 2, "acme")
    tide.reconcile()
    pushed = "select run_id from tide.runs_active where dispatched_until is not null"
    run_id = value(tide.connection, pushed)
    assert in_step(tide.connection)
    run = tide.begin_run(run_id=run_id)
    tide.reconcile()
    assert waiting(tide) == 1
    assert in_step(tide.connection)
    tide.complete(run_id=run_id, lease_id=run.lease_id)
    tide.reconcile()
    assert value(tide.connection, pushed) != run_id
    assert in_step(tide.connection)


def test_upkeep_wakes_who_waits_although_there_is_room(tide: Tide, hour: Clock) -> None:
    lane(tide, total=1, per_key=1)
    fill(tide, 3, "acme")
    fill(tide, 3, "bolt")
    tide.claim(max_runs=9)
    # As after an end that did not see the others being parked beside it.
    tide.connection.execute("delete from tide.runs_active where status = 'running'")
    hour.advance(timedelta(minutes=11))
    tide.reconcile()
    tide.reconcile()
    assert len(tide.claim(max_runs=9)) == 1
    assert in_step(tide.connection)


def test_upkeep_forgets_places_of_keys_nobody_uses(tide: Tide, hour: Clock) -> None:
    lane(tide, total=50, per_key=3)
    for number in range(20):
        queue_up(tide, f"key {number}")
    _, *runs = tide.claim(max_runs=50)
    for run in runs:
        tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    places = "select count(*) from tide.lane_slots where lane_key <> ''"
    assert value(tide.connection, places) == 60
    hour.advance(timedelta(minutes=11))
    tide.reconcile()
    assert value(tide.connection, places) <= 3
    fill(tide, 5, "key 1")
    assert len(tide.claim(max_runs=50)) >= 3
    assert in_step(tide.connection)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"total": 0}, ["total", "0"]),
        ({"total": -1}, ["total", "-1"]),
        ({"per_key": 0}, ["per_key"]),
        ({"per_key": 2001}, ["per_key", "2001"]),
        ({"total": 1.5}, ["total", "1.5"]),
        ({"total": "x"}, ["total"]),
        ({"most": 1}, ["most"]),
        ([], ["settings"]),
        ('{"total": 1e400}', ["total"]),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_and_nothing_written(
    tide: Tide, settings: Any, words: list[str]
) -> None:
    before = contents(tide.connection)
    with refused("22023", *words):
        tide.set_lane(lane="openai", settings=settings)
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    ("given", "sqlstate", "word"),
    [
        ({"lane": "opena1"}, "TD010", "lane 'opena1' does not exist"),
        ({"lane": ""}, "TD010", "lane '' does not exist"),
        ({"lane_key": "acme"}, "22023", "lane_key"),
        ({"lane": "openai", "lane_key": ""}, "22023", "lane_key"),
        ({"lane": "openai", "lane_key": "a" * 257}, "22023", "lane_key"),
        ({"lane": "openai", "lane_key": "a\nb"}, "22023", "lane_key"),
    ],
)
def test_a_lane_or_key_that_makes_no_sense_is_refused_and_nothing_written(
    tide: Tide, given: dict[str, str], sqlstate: str, word: str
) -> None:
    lane(tide, total=1)
    before = contents(tide.connection)
    with refused(sqlstate, word):
        tide.enqueue(workflow="report", **given)
    assert contents(tide.connection) == before


def test_a_batch_with_an_unknown_lane_is_refused_whole(tide: Tide) -> None:
    lane(tide, total=1)
    before = contents(tide.connection)
    with refused("TD010", "opena1"):
        tide.enqueue_many(
            queue="default",
            runs=[{"workflow": "report", "lane": name} for name in ("openai", "opena1")],
        )
    with refused("22023", "runs[0].lane_key"):
        tide.enqueue_many(queue="default", runs=[{"workflow": "report", "lane_key": "a"}])
    assert contents(tide.connection) == before


def test_explain_wait_names_lane_key_and_who_holds_it(tide: Tide) -> None:
    lane(tide, total=2, per_key=1)
    first = queue_up(tide, "acme")
    tide.claim()
    second = queue_up(tide, "acme")
    third = queue_up(tide, "acme")

    def reasons(run_id: UUID) -> list[dict[str, Any]]:
        found = tide.explain_wait(run_id=run_id)["reasons"]
        return [reason for reason in found if reason["reason"] == "lane"]

    expected = {
        "reason": "lane",
        "detail": "what its lane allows its key is used up",
        "lane": "openai",
        "lane_key": "acme",
        "most": 1,
        "running": 1,
        "held_by": [str(first)],
        "ahead": 0,
    }
    assert reasons(second) == [expected]
    assert tide.claim(max_runs=9) == []
    assert reasons(second) == [expected]
    assert reasons(third) == [{**expected, "ahead": 1}]
    queue_up(tide, "bolt")
    (bolt,) = tide.claim(max_runs=9)
    other = queue_up(tide, "core")
    assert tide.claim() == []
    (reason,) = reasons(other)
    assert reason["lane_key"] is None
    assert reason["held_by"] == sorted([str(first), str(bolt.run_id)])
    assert reason["detail"] == "the total of its lane is used up"


def test_list_lanes_counts_who_runs_and_who_waits(tide: Tide) -> None:
    lane(tide, total=3, per_key=1)
    tide.set_lane(lane="idle", settings={})
    fill(tide, 4, "acme")
    fill(tide, 2, "bolt")
    fill(tide, 1)
    tide.claim(max_runs=9)
    idle, openai = tide.list_lanes()
    assert (idle.lane, idle.total, idle.running, idle.waiting, idle.keys) == (
        "idle",
        None,
        0,
        0,
        [],
    )
    assert (openai.total, openai.per_key, openai.running, openai.waiting) == (3, 1, 3, 4)
    assert openai.keys == [
        {"lane_key": "acme", "running": 1, "waiting": 3},
        {"lane_key": "bolt", "running": 1, "waiting": 1},
        {"lane_key": None, "running": 1, "waiting": 0},
    ]
    assert [row.lane for row in tide.list_lanes(lanes=["openai"])] == ["openai"]


WAITING = """
    with made as (
      insert into tide.runs_active (
        run_id, workflow, queue, status, run_at, created_at, waiting_on, waiting_for, last_seq, lane
      )
      select
        md5(l.lane || '/' || n)::uuid, 'noop', 'q', 'queued', null, now(), 'lane', l.lane, 1,
        l.lane
      from tide.lanes as l,
        generate_series(1, case l.lane when 'openai' then 6000 else 101 end) as n
      returning run_id, lane
    )
    insert into tide.lane_waits (run_id, lane, lane_key, priority, run_at)
    select m.run_id, m.lane, '', 0, now()
    from made as m
    """


def test_runs_of_very_many_lanes_are_counted_to_a_million_together_and_it_is_said(
    tide: Tide,
) -> None:
    lane(tide, total=3)
    for number in range(199):
        tide.set_lane(lane=f"lane-{number}", settings={})
    tide.connection.execute(WAITING.encode())
    waiting = {row.lane: (row.waiting, row.counted_to) for row in tide.list_lanes()}
    assert waiting.pop("openai") == (5001, 5001)
    assert set(waiting.values()) == {(101, 5001)}
    (alone,) = tide.list_lanes(lanes=["openai"])
    assert (alone.waiting, alone.keys[0]["waiting"], alone.counted_to) == (6000, 6000, 10001)
    stats = "select counted_to from tide.lane_stats where lane = 'openai'"
    assert value(tide.connection, stats) == 5001


def test_a_run_without_a_lane_touches_no_table_and_no_index_of_lanes(
    tide: Tide, connection: Connection
) -> None:
    lane(tide, total=1, per_key=1)
    fill(tide, 3, "acme")
    tide.claim(max_runs=9)
    tide.connection.execute("update tide.ticks set next_at = 'infinity'")
    touched = """
        select sum(n.touched)
        from (
          select
            pg_stat_get_xact_numscans(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid)
              + pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)
              as touched
          from pg_class as c
          where c.relnamespace = 'tide'::regnamespace
            and c.relname like any ('{lanes%,lane\\_%,runs\\_lane%,runs\\_in\\_lane%,run\\_lanes%}')
        ) as n
        """
    with connection.transaction():
        before = value(connection, touched)
        for number in range(3):
            tide.enqueue(workflow="report", queue="plain", priority=number)
        done, failed, released = tide.claim(queues=["plain"], max_runs=3, worker="w")
        tide.complete(run_id=done.run_id, lease_id=done.lease_id)
        tide.fail(run_id=failed.run_id, lease_id=failed.lease_id)
        tide.release(run_id=released.run_id, lease_id=released.lease_id)
        tide.cancel(run_id=released.run_id)
        assert value(connection, touched) == before
        queue_up(tide, "acme")
        assert value(connection, touched) > before
