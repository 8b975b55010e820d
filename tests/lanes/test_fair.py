"""Fair lanes: keys are served in turn, by their weights, whatever stands behind each of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.lanes.census import in_step
from tests.runs.acts import Tide, contents, refused
from tests.support import Clock, Connection, size, value

QUEUE = "chats"


def fair(tide: Tide, **settings: Any) -> None:
    tide.set_lane(lane="openai", settings={"fair": True, **settings})


def fill(tide: Tide, runs: dict[str, int], queue: str = QUEUE) -> None:
    """So many runs of each key, one key after the other."""
    tide.enqueue_many(
        queue=queue,
        runs=[
            {"workflow": "chat", "lane": "openai", "lane_key": key}
            for key, number in runs.items()
            for _ in range(number)
        ],
    )


def queue_up(tide: Tide, key: str | None, **arguments: Any) -> UUID:
    run_id: UUID = tide.enqueue(
        workflow="chat", queue=QUEUE, lane="openai", lane_key=key, **arguments
    ).run_id
    return run_id


def in_status(tide: Tide, status: str) -> list[Any]:
    query = "select r.* from tide.runs as r where r.status = %s"
    return tide.connection.execute(query, [status]).fetchall()


def served(tide: Tide, runs: int, at_once: int = 1) -> list[str]:
    """The keys of the next runs, in the order of their claims."""
    keys: list[str] = []
    while len(keys) < runs:
        claimed = tide.claim(queues=[QUEUE], max_runs=min(at_once, runs - len(keys)))
        if not claimed:
            break
        keys += [run.lane_key for run in claimed]
    return keys


def jain(served: Sequence[float]) -> float:
    """Jain's index of fairness: 1 = all got the same, 1/n = one of n got all."""
    return sum(served) ** 2 / (len(served) * sum(number**2 for number in served))


def test_a_key_with_thousands_of_runs_goes_before_no_other(tide: Tide) -> None:
    fair(tide)
    fill(tide, {"acme": 2000, "bolt": 1, "core": 3})
    assert served(tide, 8) == ["acme", "bolt", "core", "acme", "core", "acme", "core", "acme"]
    assert value(tide.connection, "select count(*) from tide.runs_active where ready") < 20


def test_keys_of_very_different_backlog_are_served_alike(tide: Tide) -> None:
    fair(tide)
    fill(tide, {f"key {number}": 5 + number % 50 * 3 for number in range(60)})
    counts = Counter(served(tide, 240, at_once=7))
    assert jain([counts[f"key {number}"] for number in range(60)]) >= 0.95


def test_one_key_alone_is_served_without_a_pause(tide: Tide) -> None:
    fair(tide)
    fill(tide, {"acme": 100})
    assert served(tide, 100) == ["acme"] * 100
    assert tide.claim(queues=[QUEUE]) == []


def test_a_late_key_is_served_at_once(tide: Tide) -> None:
    fair(tide)
    fill(tide, {"acme": 200, "bolt": 200})
    served(tide, 100)
    queue_up(tide, "late")
    assert "late" in served(tide, 3)


def test_a_key_that_idles_gains_no_credit(tide: Tide) -> None:
    fair(tide)
    fill(tide, {"idle": 1, "acme": 200})
    served(tide, 100)
    fill(tide, {"idle": 50})
    assert abs(Counter(served(tide, 20))["idle"] - 10) <= 1


def test_the_runs_of_a_key_come_by_priority_and_no_key_gains_by_it(tide: Tide) -> None:
    fair(tide)
    fill(tide, {"acme": 40})
    low = [queue_up(tide, "bolt", priority=-5) for _ in range(30)]
    high = [queue_up(tide, "bolt", priority=9) for _ in range(5)]
    claimed = [tide.claim(queues=[QUEUE])[0] for _ in range(60)]
    assert Counter(run.lane_key for run in claimed[:20])["bolt"] in (9, 10, 11)
    order = [run.run_id for run in claimed if run.lane_key == "bolt"]
    assert set(order[:21]) >= set(high)
    assert [run_id for run_id in order if run_id in low] == low[: len(order) - 5]


def test_a_key_of_weight_three_is_served_three_times(tide: Tide) -> None:
    fair(tide, weights={"acme": 3})
    fill(tide, {"acme": 200, "bolt": 200, "core": 200})
    counts = Counter(served(tide, 100, at_once=3))
    assert counts["acme"] in (59, 60, 61)
    assert abs(counts["bolt"] - counts["core"]) <= 1
    fair(tide, weights=None)
    counts = Counter(served(tide, 90, at_once=3)[30:])
    assert abs(counts["acme"] - 20) <= 1


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        ({"acme": 0}, "weights['acme'] is out of range: 0"),
        ({"acme": -3}, "weights['acme'] is out of range: -3"),
        ({"acme": 101}, "weights['acme'] is out of range: 101"),
        ({"acme": 1.5}, "weights['acme']"),
        ({"acme": "NaN"}, "weights['acme']"),
        ({"acme": 10**400}, "weights['acme']"),
        ({"": 1}, "weights key"),
        ([3], "weights is no object"),
        ({str(number): 1 for number in range(1001)}, "weights has more than 1000 keys"),
    ],
)
def test_a_weight_that_makes_no_sense_is_refused_and_nothing_written(
    tide: Tide, weights: Any, word: str
) -> None:
    fair(tide)
    before = contents(tide.connection)
    with refused("22023", word):
        fair(tide, weights=weights)
    assert contents(tide.connection) == before


def test_explain_wait_says_weight_and_how_many_of_its_key_come_first(tide: Tide) -> None:
    fair(tide, weights={"acme": 3})
    first = queue_up(tide, "acme")
    second = queue_up(tide, "acme")
    fill(tide, {"acme": 30})
    last = queue_up(tide, "acme", priority=-1)

    def turn(run_id: UUID) -> list[dict[str, Any]]:
        found = tide.explain_wait(run_id=run_id)["reasons"]
        return [reason for reason in found if reason["reason"] == "turn"]

    assert turn(first) == []
    (reason,) = turn(second)
    assert (reason["lane_key"], reason["weight"], reason["ahead"]) == ("acme", 3, 1)
    (reason,) = turn(last)
    assert reason["ahead"] == 32


@pytest.mark.parametrize("settings", [{}, {"total": 2}, {"per_key": 1}, {"total": 3, "per_key": 2}])
def test_no_run_is_lost_whatever_becomes_of_it(
    tide: Tide, hour: Clock, settings: dict[str, int]
) -> None:
    fair(tide, **settings)
    fill(tide, {"acme": 40, "bolt": 5, "core": 1})
    queue_up(tide, None)
    delayed = queue_up(tide, "acme", delay="20 min", priority=-7)
    moved = queue_up(tide, "bolt", max_attempts=3)
    tide.reschedule(run_id=moved, run_at=hour.now + timedelta(minutes=5))
    acme = value(
        tide.connection,
        "select run_id from tide.runs_active where lane_key = 'acme' and not ready limit 1",
    )
    tide.cancel(run_id=acme)
    head = value(
        tide.connection, "select run_id from tide.runs_active where turn_at is not null limit 1"
    )
    tide.cancel(run_id=head)
    done: list[UUID] = []
    for number in range(200):
        hour.advance(timedelta(minutes=1))
        tide.reconcile()
        for run in tide.claim(queues=[QUEUE], max_runs=3):
            own = {"run_id": run.run_id, "lease_id": run.lease_id}
            if number == 3:
                tide.release(**own)
            elif run.run_id == moved and run.attempt == 1:
                tide.fail(**own)
            else:
                tide.complete(**own)
                done.append(run.run_id)
        assert in_step(tide.connection)
        if len(done) == 47:
            break
    assert len(set(done)) == len(done) == 47
    assert {delayed, moved} <= set(done)
    assert value(tide.connection, "select count(*) from tide.lane_heads") == 0


def test_a_lane_is_made_fair_and_unfair_with_runs_in_it(tide: Tide) -> None:
    tide.set_lane(lane="openai", settings={"per_key": 30})
    fill(tide, {"acme": 60, "bolt": 60})
    assert set(served(tide, 40, at_once=40)) == {"acme", "bolt"}
    fair(tide, per_key=None)
    assert abs(Counter(served(tide, 20, at_once=5))["bolt"] - 10) <= 2
    tide.set_lane(lane="openai", settings={"fair": False})
    assert len(served(tide, 100, at_once=20)) == 60
    assert value(tide.connection, "select count(*) from tide.lane_heads") == 0
    assert in_step(tide.connection)


def test_a_million_waiting_runs_of_a_key_change_nothing_for_others(tide: Tide) -> None:
    fair(tide)

    def touched() -> int:
        fill(tide, {"bolt": 2})
        queue_up(tide, "core")
        tide.connection.execute("update tide.ticks set next_at = 'infinity'")
        for _ in range(4):
            (plan,) = value(
                tide.connection,
                "explain (analyze, buffers, format json) "
                f"select * from tide.claim('{{{QUEUE}}}') as c",
            )
        node = plan["Plan"]
        return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])

    fill(tide, {"acme": 30})
    for _ in range(3):
        few = touched()
    for _ in range(size(4, 200)):
        fill(tide, {"acme": 5000})
    give_up_at = time.monotonic() + 60.0
    while True:
        # The snapshot of an autovacuum beside it may keep what is gone.
        tide.connection.execute("vacuum tide.runs_active, tide.lane_waits, tide.lane_heads")
        many = touched()
        if many < few + 25 or time.monotonic() > give_up_at:
            break
    assert many < few + 25


def test_no_advisory_lock_of_a_stranger_keeps_a_key_from_its_turns(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    """The number of such a lock any login could take."""
    fair(tide)
    fill(tide, {"acme": 60})
    stranger = connect()
    locks = "select pg_advisory_lock(hashtextextended('tide.lane_heads openai acme', 0))"
    stranger.execute(locks)
    assert len(served(tide, 60, at_once=4)) == 60


def test_a_claim_beside_another_that_brings_up_a_key_waits_for_nothing(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    fair(tide)
    fill(tide, {"acme": 60, "bolt": 60})
    beside = Tide(connect(autocommit=False))
    assert len(beside.claim(queues=[QUEUE], max_runs=20)) == 20
    tide.connection.execute("set lock_timeout = '1 ms'")
    assert len(tide.claim(queues=[QUEUE], max_runs=12)) == 12
    beside.connection.commit()
    assert len(served(tide, 100, at_once=10)) == 88
    assert in_step(tide.connection)


def test_keys_in_whose_lines_nothing_waits_are_forgotten(tide: Tide, hour: Clock) -> None:
    fair(tide)
    fill(tide, {"acme": 40, "bolt": 100})
    assert len(served(tide, 60, at_once=5)) == 60
    keys = "select array_agg(k.lane_key order by k.lane_key) from tide.lane_keys as k"
    assert value(tide.connection, keys) == ["acme", "bolt"]
    hour.advance(timedelta(minutes=11))
    tide.reconcile()
    assert value(tide.connection, keys) == ["bolt"]


def test_a_paused_queue_keeps_no_place_of_a_key_from_another(tide: Tide) -> None:
    fair(tide, per_key=1)
    fill(tide, {"acme": 30}, queue="archive")
    tide.claim(queues=["archive"])
    fill(tide, {"acme": 30})
    assert tide.claim(queues=[QUEUE, "archive"], max_runs=40) == []
    tide.set_queue(queue="archive", settings={"paused": True})
    (held,) = in_status(tide, "running")
    tide.complete(run_id=held.run_id, lease_id=held.lease_id)
    (run,) = tide.claim(queues=["archive", QUEUE], max_runs=40)
    assert run.queue == QUEUE
    tide.set_queue(queue="archive", settings={"paused": False})
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert len(tide.claim(queues=["archive", QUEUE], max_runs=40)) == 1
    assert in_step(tide.connection)


def test_a_claim_from_a_fair_lane_reads_little_more_than_one_without_a_lane(tide: Tide) -> None:
    def touched(queue: str) -> int:
        tide.connection.execute("update tide.ticks set next_at = 'infinity'")
        plans = [
            value(
                tide.connection,
                "explain (analyze, buffers, format json) "
                f"select * from tide.claim('{{{queue}}}') as c",
            )[0]["Plan"]
            for _ in range(12)
        ]
        return min(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans[8:])

    fair(tide)
    fill(tide, {"acme": 30, "bolt": 30})
    tide.enqueue_many(queue="plain", runs=[{"workflow": "report"}] * 60)
    tide.connection.execute("vacuum analyze")
    assert touched(QUEUE) <= touched("plain") + 20
