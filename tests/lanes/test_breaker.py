"""The breaker of a lane: while its provider is away nothing of it is claimed but a probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.lanes.census import in_step
from tests.lanes.test_lanes import queue_up, waiting
from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import LONG, Clock, Connection, value

AWAY = {"type": "ProviderDown", "message": "503"}
OTHER = {"type": "ValueError", "message": "no such model"}
DELAY = timedelta(seconds=30)
SETTINGS = {"breaker_failures": 3, "breaker_classes": ["ProviderDown", "TimeoutError"]}
STATUSES = "select array_agg(distinct r.status || ' ' || r.attempt) from tide.runs as r"


def lane(tide: Tide, **settings: Any) -> None:
    tide.set_lane(lane="openai", settings={**SETTINGS, **settings})


def fill(tide: Tide, runs: int) -> None:
    run = {"workflow": "report", "lane": "openai", "max_attempts": 3}
    tide.enqueue_many(queue="default", runs=[run] * runs)


def fail(tide: Tide, run: Any, error: Any = AWAY, **arguments: Any) -> Any:
    return tide.fail(run_id=run.run_id, lease_id=run.lease_id, error=error, **arguments)


def complete(tide: Tide, run: Any) -> None:
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)


def seen(tide: Tide) -> Any:
    (row,) = tide.list_lanes()
    return row


def opened(tide: Tide, clock: Clock, runs: int = 8, **settings: Any) -> list[Any]:
    """An open lane in which so many runs wait, and those that opened it, first in order."""
    lane(tide, **settings)
    fill(tide, runs)
    claimed = list(tide.claim(max_runs=3))
    for run in claimed:
        fail(tide, run, retry_after="0 s")
    assert seen(tide).opened_at == clock.now
    assert tide.claim(max_runs=99) == []
    return claimed


def probe(tide: Tide, clock: Clock) -> Any:
    """The run that probes when it is time."""
    clock.set(seen(tide).probe_at)
    tide.reconcile()
    (run,) = tide.claim(max_runs=99)
    return run


def test_after_failures_in_a_row_nothing_is_claimed_before_a_probe_and_then_all_in_order(
    tide: Tide, hour: Clock
) -> None:
    lane(tide)
    run_ids = [queue_up(tide, f"k{place % 2}", max_attempts=3) for place in range(9)]
    runs = tide.claim(max_runs=5)
    for run in runs[:2]:
        assert fail(tide, run, retry_after="1 s").waiting_on is None
    assert (seen(tide).failures, seen(tide).opened_at) == (2, None)
    # The third opens it and is given back, as is what was under way.
    for run in runs[2:]:
        given = fail(tide, run, {"type": "TimeoutError"})
        assert (given.status, given.waiting_on, given.attempt) == ("queued", "provider", 0)
    assert (seen(tide).failures, seen(tide).opened_at) == (3, hour.now)
    hour.advance(DELAY - timedelta(seconds=1))
    tide.reconcile()
    assert tide.claim(max_runs=9) == []
    parked = "select count(*) from tide.runs_active as r where r.waiting_on = 'provider'"
    assert value(tide.connection, parked) == waiting(tide) == 9
    assert in_step(tide.connection)
    run = probe(tide, hour)
    tide.reconcile()
    assert tide.claim(max_runs=9) == []
    complete(tide, run)
    tide.reconcile()
    rest = tide.claim(max_runs=9)
    expected = [run_id for run_id in (*run_ids[2:], *run_ids[:2]) if run_id != run.run_id]
    assert [run.run_id for run in rest] == expected
    assert [run.attempt for run in rest] == [1] * 6 + [2] * 2
    assert (seen(tide).failures, seen(tide).opened_at, seen(tide).probe_at) == (0, None, None)
    assert in_step(tide.connection)


def test_each_failed_probe_doubles_the_delay_up_to_the_longest_and_costs_no_attempt(
    tide: Tide, hour: Clock
) -> None:
    opened(tide, hour, breaker_max_delay="200 s")
    delays = []
    for _ in range(5):
        delays.append((seen(tide).probe_at - hour.now).total_seconds())
        fail(tide, probe(tide, hour))
        assert tide.claim(max_runs=99) == []
    for delay, least in zip(delays, (30, 60, 120, 200, 200), strict=True):
        assert least <= delay <= min(least * 1.1, 200)
    assert seen(tide).failures == 8
    assert value(tide.connection, "select sum(r.attempt) from tide.runs as r") == 2
    assert in_step(tide.connection)


def test_a_success_between_failures_begins_the_count_again(tide: Tide, hour: Clock) -> None:
    lane(tide)
    fill(tide, 9)
    runs = tide.claim(max_runs=9)
    for place, run in enumerate(runs):
        if place % 3 == 2:
            complete(tide, run)
            assert seen(tide).failures == 0
        else:
            fail(tide, run)
    assert seen(tide).opened_at is None


def test_failures_of_other_classes_neither_count_nor_begin_the_count_again(
    tide: Tide, hour: Clock
) -> None:
    lane(tide)
    fill(tide, 6)
    runs = tide.claim(max_runs=6)
    for run in runs[:4]:
        fail(tide, run, OTHER if run is runs[1] else AWAY)
    assert seen(tide).opened_at == hour.now
    assert fail(tide, runs[4], OTHER).attempt == 1
    assert fail(tide, runs[5], retryable=False).status == "failed"


def test_a_failure_class_counts_as_the_type_of_an_error_does(tide: Tide, hour: Clock) -> None:
    lane(tide, breaker_failures=1, breaker_classes=["provider"])
    fill(tide, 1)
    (run,) = tide.claim()
    fail(tide, run, OTHER, failure_class="provider")
    assert (seen(tide).failure, seen(tide).opened_at) == ("provider: no such model", hour.now)


def test_an_error_within_a_group_counts(tide: Tide, hour: Clock) -> None:
    lane(tide, breaker_failures=1)
    fill(tide, 1)
    (run,) = tide.claim()
    fail(tide, run, {"type": "ExceptionGroup", "message": "branches", "errors": [OTHER, AWAY]})
    assert seen(tide).failure == "ProviderDown: branches"


def settle(tide: Tide, runs: Sequence[Any], **outcome: Any) -> None:
    own = [{"run_id": str(run.run_id), "lease_id": str(run.lease_id)} for run in runs]
    verdicts = tide.settle(outcomes=[{**one, **outcome} for one in own])
    assert all(verdict.accepted for verdict in verdicts)


def outage(tide: Tide, clock: Clock, runs: int, hours: float) -> int:
    """All runs of a lane, its provider away for so long: how often it was called meanwhile."""
    fill(tide, runs)
    back_at = clock.now + timedelta(hours=hours)
    calls = 0
    while clock.now < back_at:
        tide.reconcile()
        while claimed := tide.claim(max_runs=100):
            calls += len(claimed)
            settle(tide, claimed, error=AWAY)
        wakeup = value(tide.connection, "select tide.next_wakeup()")
        if wakeup is None:
            break
        clock.advance(max(wakeup, timedelta(seconds=1)))
    return calls


RUNS = 10_000 if LONG else 500


def test_an_outage_of_hours_fails_nothing_and_costs_only_its_probes(
    tide: Tide, hour: Clock
) -> None:
    lane(tide, total=16)
    calls = outage(tide, hour, RUNS, 2.75)
    # Those under way when it opened, then one at a time.
    assert 16 <= calls <= 16 + 25
    assert value(tide.connection, STATUSES) in (["queued 0", "queued 1"], ["queued 0"])
    used = value(tide.connection, "select sum(r.attempt) from tide.runs as r")
    assert used == 2
    probing = probe(tide, hour)
    complete(tide, probing)
    left = RUNS - 1
    while left:
        tide.reconcile()
        claimed = tide.claim(max_runs=100)
        assert 0 < len(claimed) <= 16
        settle(tide, claimed)
        left -= len(claimed)
    assert value(tide.connection, STATUSES) == ["completed 1", "completed 2"]
    assert value(tide.connection, "select sum(r.attempt) from tide.runs as r") == RUNS + used


def test_without_a_breaker_the_same_outage_loses_every_run(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="openai", settings={"total": 16})
    assert outage(tide, hour, 500, 2.75) == 3 * 500
    assert value(tide.connection, STATUSES) == ["failed 3"]


def dies(tide: Tide, clock: Clock, run: Any) -> None:
    clock.advance(MINUTE + timedelta(seconds=1))
    tide.reconcile()


def waits_for_a_gate(tide: Tide, clock: Clock, run: Any) -> None:
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    assert tide.await_gate(
        **own, gate_id=tide.open_gate(**own, name="ok", prompt="?").gate_id
    ).parked


UNDECIDED: dict[str, Callable[[Tide, Clock, Any], object]] = {
    "its worker dies": dies,
    "it is cancelled": lambda tide, clock, run: tide.cancel(run_id=run.run_id),
    "it is released": lambda tide, clock, run: tide.release(
        run_id=run.run_id, lease_id=run.lease_id
    ),
    "it fails otherwise": lambda tide, clock, run: fail(tide, run, OTHER),
    "it waits for a gate": waits_for_a_gate,
}


@pytest.mark.parametrize("end", UNDECIDED)
def test_where_a_probe_decides_nothing_another_one_probes_at_once(
    tide: Tide, hour: Clock, end: str
) -> None:
    opened(tide, hour)
    first = probe(tide, hour)
    UNDECIDED[end](tide, hour, first)
    tide.reconcile()
    (second,) = tide.claim(max_runs=99)
    assert seen(tide).failures == 3
    complete(tide, second)
    tide.reconcile()
    assert seen(tide).opened_at is None
    assert len(tide.claim(max_runs=99)) >= 5
    assert in_step(tide.connection)


def test_a_run_that_fails_by_itself_keeps_no_lane_open(tide: Tide, hour: Clock) -> None:
    opened(tide, hour)
    probed = []
    for _ in range(8):
        run = probe(tide, hour)
        probed.append(run.run_id)
        fail(tide, run)
    assert len(set(probed)) == 8
    assert probe(tide, hour).run_id == probed[0]


def test_only_the_success_of_the_probe_closes_a_lane(tide: Tide, hour: Clock) -> None:
    lane(tide)
    fill(tide, 9)
    runs = tide.claim(max_runs=5)
    for run in runs[:3]:
        fail(tide, run)
    complete(tide, runs[3])
    tide.reconcile()
    assert seen(tide).opened_at == hour.now
    run = probe(tide, hour)
    complete(tide, runs[4])
    tide.reconcile()
    assert seen(tide).opened_at is not None
    complete(tide, run)
    tide.reconcile()
    assert seen(tide).opened_at is None


def test_runs_that_are_pushed_probe_one_at_a_time_too(tide: Tide, hour: Clock) -> None:
    tide.set_queue(queue="default", settings={"push_url": "https://app.example.com/push"})
    lane(tide, breaker_failures=1)
    fill(tide, 3)
    pushed = "select array_agg(r.run_id) from tide.runs_active as r where dispatched_until > %s"

    def dispatched() -> list[UUID]:
        tide.reconcile()
        return value(tide.connection, pushed, hour.now) or []

    for run_id in dispatched():
        assert fail(tide, tide.begin_run(run_id=run_id)).waiting_on == "provider"
    assert dispatched() == []
    hour.set(seen(tide).probe_at)
    (first,) = dispatched()
    assert dispatched() == [first]
    hour.advance(MINUTE)
    (second,) = dispatched()
    assert second != first
    complete(tide, tide.begin_run(run_id=second))
    hour.advance(timedelta(seconds=10))
    assert len(dispatched()) == 2
    assert (seen(tide).opened_at, in_step(tide.connection)) == (None, True)


def test_a_report_repeated_after_a_lost_answer_counts_once(tide: Tide, hour: Clock) -> None:
    lane(tide)
    fill(tide, 4)
    runs = tide.claim(max_runs=4)
    for run in runs[:2]:
        assert fail(tide, run) == fail(tide, run)
    assert seen(tide).failures == 2
    assert fail(tide, runs[2]) == fail(tide, runs[2])
    assert (seen(tide).failures, waiting(tide)) == (3, 1)


def test_a_lane_is_closed_by_hand_and_by_taking_its_breaker_away(tide: Tide, hour: Clock) -> None:
    opened(tide, hour)
    tide.throttle(lane="openai", actor="ann")
    assert (seen(tide).opened_at, seen(tide).failures) == (None, 0)
    runs = tide.claim(max_runs=3)
    for run in runs:
        fail(tide, run)
    assert seen(tide).opened_at is not None
    tide.set_lane(lane="openai", settings={"breaker_failures": None}, actor="bea")
    assert seen(tide).opened_at is None
    assert len(tide.claim(max_runs=99)) == 6
    changes = tide.list_setting_changes(kind="lane", name="openai")
    opening = {"opened_at": hour.now.isoformat()}
    assert [(change.actor, change.before, change.after) for change in changes[:5]] == [
        ("bea", opening, {}),
        ("bea", {"breaker_failures": 3}, {}),
        ("tide", {}, opening),
        ("ann", opening, {}),
        ("tide", {}, opening),
    ]


def test_a_breaker_taken_away_forgets_the_failures_it_counted(tide: Tide, hour: Clock) -> None:
    lane(tide)
    fill(tide, 3)
    runs = tide.claim(max_runs=3)
    for run in runs[:2]:
        fail(tide, run)
    tide.set_lane(lane="openai", settings={"breaker_failures": None})
    fail(tide, runs[2])
    lane(tide)
    assert (seen(tide).failures, seen(tide).opened_at) == (0, None)


def test_a_run_that_waits_for_its_provider_is_moved_replaced_and_cancelled(
    tide: Tide, hour: Clock
) -> None:
    opened(tide, hour)
    fresh = [queue_up(tide, dedupe_key=key) for key in ("moved", "replaced", "cancelled")]
    assert tide.claim(max_runs=99) == []
    assert {tide.get_run(run_id=run_id).waiting_on for run_id in fresh} == {"provider"}
    tide.reschedule(run_id=fresh[0], run_at=hour.now + MINUTE)
    again = {"workflow": "report", "dedupe_key": "replaced", "on_conflict": "replace"}
    assert tide.enqueue(**again).run_id == fresh[1]
    tide.cancel(run_id=fresh[2])
    assert in_step(tide.connection)
    assert [run.run_id for run in tide.claim(max_runs=99)] == [fresh[1]]
    hour.advance(MINUTE)
    tide.reconcile()
    probes = tide.claim(max_runs=99)
    assert len(probes) == 1
    assert in_step(tide.connection)


def test_keys_of_a_fair_lane_take_turns_again_when_their_provider_is_back(
    tide: Tide, hour: Clock
) -> None:
    lane(tide, fair=True)
    for key in ("acme", "bolt", "core"):
        run = {"workflow": "report", "lane": "openai", "lane_key": key, "max_attempts": 3}
        tide.enqueue_many(queue="default", runs=[run] * 30)
    for run in tide.claim(max_runs=5):
        fail(tide, run, retry_after="0 s")
    assert tide.claim(max_runs=99) == []
    for _ in range(4):
        fail(tide, probe(tide, hour))
    complete(tide, probe(tide, hour))
    keys: list[str] = []
    while len(keys) < 89:
        tide.reconcile()
        runs = tide.claim(max_runs=10)
        assert runs
        settle(tide, runs)
        keys += [run.lane_key for run in runs]
    for first in range(0, 60, 6):
        assert len(set(keys[first : first + 6])) == 3
    assert in_step(tide.connection)


def test_a_dropped_lane_forgets_its_breaker(tide: Tide, hour: Clock) -> None:
    opened(tide, hour)
    tide.drop_lane(lane="openai")
    assert len(tide.claim(max_runs=99)) == 8
    assert value(tide.connection, "select count(*) from tide.lane_failures") == 0


def test_explain_wait_says_since_when_and_when_a_run_probes(tide: Tide, hour: Clock) -> None:
    opened(tide, hour)
    waits = "select r.run_id from tide.runs as r where r.waiting_on = 'provider' limit 1"
    (reason,) = tide.explain_wait(run_id=value(tide.connection, waits))["reasons"]
    assert reason["reason"] == "provider"
    assert "provider is away" in reason["detail"]
    assert datetime.fromisoformat(reason["since"]) == hour.now
    assert datetime.fromisoformat(reason["next_probe_at"]) == seen(tide).probe_at
    assert (reason["failures"], reason["failure"]) == (3, "ProviderDown: 503")
    (stats,) = tide.connection.execute("select * from tide.lane_stats").fetchall()
    assert (stats.opened_at, stats.probe_at) == (hour.now, seen(tide).probe_at)
    metric = "select m.value from tide.metrics as m where m.metric = 'tide_lane_open'"
    assert value(tide.connection, metric) == 1


def written(connection: Connection) -> Any:
    return value(
        connection,
        "select array_agg(l.xmin::text || l.ctid::text) || array_agg(f.failure_id::text) "
        "from tide.lanes as l left join tide.lane_failures as f on f.lane = l.lane",
    )


def test_a_success_in_a_lane_without_failures_writes_nothing_of_it(tide: Tide, hour: Clock) -> None:
    lane(tide)
    fill(tide, 3)
    before = written(tide.connection)
    for run in tide.claim(max_runs=3):
        complete(tide, run)
    assert written(tide.connection) == before


def test_a_lane_without_a_breaker_touches_no_failures(tide: Tide, hour: Clock) -> None:
    tide.set_lane(lane="openai", settings={"total": 3})
    fill(tide, 3)
    touched = """
        select
          pg_stat_get_xact_numscans('tide.lane_failures'::regclass)
          + pg_stat_get_xact_numscans('tide.lane_failures_pkey'::regclass)
        """
    with tide.connection.transaction():
        done, failed, released = tide.claim(max_runs=3)
        complete(tide, done)
        fail(tide, failed)
        tide.release(run_id=released.run_id, lease_id=released.lease_id)
        assert value(tide.connection, touched) == 0
        tide.set_lane(lane="openai", settings=SETTINGS)
        fail(tide, tide.claim()[0])
        assert value(tide.connection, touched) > 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"breaker_failures": 0}, ["breaker_failures", "0"]),
        ({"breaker_failures": 1.5}, ["breaker_failures", "1.5"]),
        ({"breaker_failures": 10**40}, ["breaker_failures"]),
        ({"breaker_failures": 3, "breaker_classes": None}, ["breaker_classes", "3"]),
        ({"breaker_classes": []}, ["breaker_classes", "[]"]),
        ({"breaker_classes": "TimeoutError"}, ["breaker_classes", "TimeoutError"]),
        ({"breaker_classes": ["a", None]}, ["breaker_classes", "null"]),
        ({"breaker_classes": ["a", 5]}, ["breaker_classes", "5"]),
        ({"breaker_classes": ["x" * 201]}, ["breaker_classes", "201"]),
        ({"breaker_delay": "0 s"}, ["breaker_delay", "00:00:00"]),
        ({"breaker_delay": "11 min"}, ["breaker_delay", "00:11:00 > 00:10:00"]),
        ({"breaker_max_delay": "8 days"}, ["breaker_max_delay", "192:00:00"]),
    ],
)
def test_a_breaker_that_makes_no_sense_is_refused_and_nothing_written(
    tide: Tide, given: dict[str, Any], words: list[str]
) -> None:
    before = contents(tide.connection)
    with refused("22023", *words):
        tide.set_lane(lane="openai", settings=given)
    assert contents(tide.connection) == before
