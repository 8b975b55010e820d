"""Schedules: declared, fired by upkeep, passed over, paused, dropped; each time at most once."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection, value
from tidebase_pg.values import told_as

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def declared(tide: Tide, cron: str = "0 * * * *", name: str = "report", **options: Any) -> Any:
    return tide.set_schedule(name=name, cron=cron, workflow="report", **options)


def schedule(tide: Tide, name: str = "report") -> Any:
    (found,) = [s for s in tide.list_schedules() if s.schedule == name]
    return found


def ledger(tide: Tide, name: str = "report") -> list[tuple[Any, ...]]:
    """The fires of a schedule, oldest first: time, outcome, how many, until when."""
    return [
        (fire.fire_at, fire.outcome, fire.fires, fire.last_at)
        for fire in reversed(tide.list_fires(name=name, max_fires=10_000))
    ]


def fired(tide: Tide, name: str = "report") -> list[datetime]:
    return [at for at, outcome, _, _ in ledger(tide, name) if outcome == "enqueued"]


def runs(tide: Tide, name: str = "report") -> list[Any]:
    """The runs of a schedule, oldest fire first."""
    found: list[Any] = tide.connection.execute(
        """
        select r.*
        from tide.runs as r
        where r.metadata ->> 'schedule' = %s
        order by r.metadata ->> 'fire_at'
        """,
        (name,),
    ).fetchall()
    return found


def told(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_new_schedule_fires_next_and_not_before(tide: Tide, hour: Clock) -> None:
    made = declared(
        tide,
        "30 9 * * 1-5",
        input={"a": 1},
        queue="reports",
        time_zone="europe/berlin",
        misfire="all",
        overlap="skip",
        max_attempts=3,
        priority=7,
        deadline="1 hour",
        metadata={"customer": 42},
    )
    assert made == schedule(tide)
    assert (made.cron, made.time_zone, made.workflow) == ("30 9 * * 1-5", "Europe/Berlin", "report")
    assert (made.input, made.queue, made.misfire, made.overlap) == (
        {"a": 1},
        "reports",
        "all",
        "skip",
    )
    assert (made.max_attempts, made.priority, made.deadline) == (3, 7, HOUR)
    assert (made.metadata, made.enabled, made.paused) == ({"customer": 42}, True, False)
    assert (made.last_fire_at, made.last_run_id) == (None, None)
    assert made.created_at == made.updated_at == hour.now
    assert made.next_fire_at == tide.next_fire(cron="30 9 * * 1-5", time_zone="Europe/Berlin")
    assert tide.reconcile()["schedules"] == 0
    hour.set(made.next_fire_at - MICROSECOND)
    assert tide.reconcile()["schedules"] == 0
    hour.set(made.next_fire_at)
    assert tide.reconcile()["schedules"] == 1
    assert len(runs(tide)) == 1


def test_fire_is_a_run_like_any_other(tide: Tide, hour: Clock) -> None:
    made = declared(
        tide,
        input={"a": 1},
        queue="reports",
        max_attempts=3,
        priority=7,
        deadline="1 hour",
        metadata={"customer": 42, "schedule": "overridden"},
    )
    hour.set(made.next_fire_at + 20 * SECOND)
    tide.reconcile()
    (run,) = runs(tide)
    fire_at = told(made.next_fire_at)
    assert run.metadata == {"customer": 42, "schedule": "report", "fire_at": fire_at}
    assert run.dedupe_key == f"sched:report:{fire_at}"
    assert (run.workflow, run.queue, run.status, run.input) == (
        "report",
        "reports",
        "queued",
        {"a": 1},
    )
    assert (run.max_attempts, run.priority) == (3, 7)
    assert (run.run_at, run.deadline_at) == (hour.now, hour.now + HOUR)
    assert tide.log(run.run_id) == ["run.enqueued"]
    (fire,) = tide.list_fires(name="report")
    assert (fire.fire_at, fire.outcome, fire.fires) == (made.next_fire_at, "enqueued", 1)
    assert (fire.run_id, fire.created_at) == (run.run_id, hour.now)
    after = schedule(tide)
    assert (after.last_fire_at, after.last_run_id) == (made.next_fire_at, run.run_id)
    assert after.next_fire_at == made.next_fire_at + HOUR
    (claimed,) = tide.claim(queues=["reports"])
    assert tide.complete(run_id=claimed.run_id, lease_id=claimed.lease_id).status == "completed"


def test_runs_of_a_schedule_are_in_its_lane(tide: Tide, hour: Clock) -> None:
    before = contents(tide.connection)
    with refused("TD010", "lane 'openai' does not exist"):
        declared(tide, lane="openai")
    with refused("22023", "lane_key", "acme"):
        declared(tide, lane_key="acme")
    assert contents(tide.connection) == before
    tide.set_lane(lane="openai", settings={"per_key": 1})
    declared(tide, lane="openai", lane_key="acme")
    for _ in range(2):
        hour.advance(HOUR)
        tide.reconcile()
    (run,) = tide.claim(max_runs=9)
    assert (run.lane, run.lane_key) == ("openai", "acme")
    (stats,) = tide.connection.execute("select * from tide.lane_stats").fetchall()
    assert (stats.lane, stats.per_key, stats.running, stats.waiting) == ("openai", 1, 1, 1)
    waiting = "select value from tide.metrics where lane = 'openai' and metric = %s"
    assert value(tide.connection, waiting, "tide_lane_waiting_runs") == 1
    changed = tide.list_setting_changes(kind="schedule")[0]
    assert (changed.after["lane"], changed.after["lane_key"]) == ("openai", "acme")
    declared(tide)
    assert (schedule(tide).lane, schedule(tide).lane_key) == (None, None)


def test_attempts_come_from_the_queue_when_the_schedule_says_nothing(
    tide: Tide, hour: Clock
) -> None:
    tide.set_queue(queue="reports", settings={"max_attempts": 5})
    declared(tide, queue="reports")
    declared(tide, name="other")
    hour.advance(HOUR)
    tide.reconcile()
    assert [runs(tide, name)[0].max_attempts for name in ("report", "other")] == [5, 1]


def test_claim_of_any_queue_carries_the_fire(tide: Tide, hour: Clock) -> None:
    declared(tide, queue="reports")
    hour.advance(HOUR)
    tide.claim(queues=["other"])
    assert [run.status for run in runs(tide)] == ["queued"]


def test_fire_time_is_utc_whatever_the_session_says(tide: Tide, hour: Clock) -> None:
    made = declared(tide, time_zone="Asia/Kathmandu")
    tide.connection.execute("set timezone = 'Pacific/Apia'")
    tide.connection.execute("set datestyle = 'German'")
    hour.set(made.next_fire_at)
    tide.reconcile()
    tide.connection.execute("reset datestyle")
    (run,) = runs(tide)
    assert run.metadata["fire_at"] == told(made.next_fire_at)
    assert run.dedupe_key == f"sched:report:{told(made.next_fire_at)}"


def test_time_fires_once_even_after_its_run_has_ended(tide: Tide, hour: Clock) -> None:
    made = declared(tide)
    hour.set(made.next_fire_at)
    (run,) = tide.claim()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    for _ in range(2):
        tide.connection.execute("update tide.schedules set next_fire_at = %s", (made.next_fire_at,))
        assert tide.reconcile()["schedules"] == 1
    assert [(r.run_id, r.status) for r in runs(tide)] == [(run.run_id, "completed")]
    assert fired(tide) == [made.next_fire_at]
    assert schedule(tide).next_fire_at == made.next_fire_at + HOUR
    assert schedule(tide).last_run_id == run.run_id


# Declarations


@pytest.mark.parametrize("again", ["0 * * * *", "00 */1 * * *", "@hourly", " 0\t*  * * * "])
def test_same_declaration_again_keeps_a_due_fire(tide: Tide, hour: Clock, again: str) -> None:
    made = declared(tide)
    hour.advance(HOUR)
    due = declared(tide, again)
    assert due.next_fire_at == made.next_fire_at
    assert due.created_at == made.created_at
    tide.reconcile()
    assert fired(tide) == [made.next_fire_at]
    assert declared(tide, again).last_run_id == runs(tide)[0].run_id


@pytest.mark.parametrize(
    "changed",
    [
        {"input": {"b": 2}},
        {"queue": "other"},
        {"misfire": "skip"},
        {"overlap": "skip"},
        {"max_attempts": 9},
        {"priority": -3},
        {"deadline": "1 minute"},
        {"metadata": {"b": 2}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_change_of_anything_but_the_times_keeps_a_due_fire(
    tide: Tide, hour: Clock, changed: dict[str, Any]
) -> None:
    made = declared(tide)
    hour.advance(HOUR)
    after = declared(tide, **changed)
    assert after.next_fire_at == made.next_fire_at
    (name,) = changed
    assert getattr(after, name) != getattr(made, name)
    tide.reconcile()
    assert fired(tide) == [made.next_fire_at]
    if name in ("input", "queue", "max_attempts", "priority"):
        assert getattr(runs(tide)[0], name) == changed[name]


@pytest.mark.parametrize(
    "changed",
    [{"cron": "30 * * * *"}, {"time_zone": "Asia/Kathmandu"}, {"enabled": False}],
    ids=lambda changed: next(iter(changed)),
)
@pytest.mark.parametrize(("late", "missed"), [(HOUR, 1), (HOUR + SECOND, 1), (3 * HOUR, 3)])
def test_change_of_the_times_writes_due_fires_off(
    tide: Tide, hour: Clock, changed: dict[str, Any], late: timedelta, missed: int
) -> None:
    made = declared(tide)
    hour.advance(late)
    after = declared(tide, **changed)
    assert after.next_fire_at > hour.now
    last = made.next_fire_at + (missed - 1) * HOUR
    assert ledger(tide) == [(made.next_fire_at, "missed", missed, last)]
    assert tide.reconcile()["schedules"] == 0
    assert runs(tide) == []


def test_change_of_the_times_before_they_are_due_misses_nothing(tide: Tide, hour: Clock) -> None:
    declared(tide)
    after = declared(tide, "30 * * * *")
    assert after.next_fire_at == hour.now + 30 * MINUTE
    assert ledger(tide) == []


def test_disabled_schedule_fires_nothing_and_makes_up_for_nothing(tide: Tide, hour: Clock) -> None:
    declared(tide, enabled=False)
    hour.advance(5 * HOUR)
    assert tide.reconcile()["schedules"] == 0
    enabled = declared(tide)
    assert enabled.next_fire_at == hour.now + HOUR
    assert ledger(tide) == []
    hour.advance(HOUR)
    tide.reconcile()
    assert fired(tide) == [hour.now]


def test_schedule_dropped_and_declared_again_never_repeats_a_time(tide: Tide, hour: Clock) -> None:
    made = declared(tide)
    hour.set(made.next_fire_at)
    tide.reconcile()
    before = ledger(tide)
    assert tide.drop_schedule(name="report") is True
    assert tide.drop_schedule(name="report") is False
    assert tide.list_schedules() == []
    assert ledger(tide) == before
    assert [run.status for run in runs(tide)] == ["queued"]
    declared(tide)
    tide.connection.execute("update tide.schedules set next_fire_at = %s", (made.next_fire_at,))
    tide.reconcile()
    assert ledger(tide) == before
    assert len(runs(tide)) == 1


def test_schedules_are_listed_by_name(tide: Tide, hour: Clock) -> None:
    for name in ("b", "a.2", "a/1", "c"):
        declared(tide, name=name)
    listed = [s.schedule for s in tide.list_schedules()]
    assert sorted(listed) == ["a.2", "a/1", "b", "c"]
    assert listed[-2:] == ["b", "c"]


# Pauses


def test_paused_schedule_fires_nothing_until_resumed(tide: Tide, hour: Clock) -> None:
    declared(tide)
    assert tide.pause_schedule(name="report").paused is True
    hour.advance(3 * HOUR)
    assert tide.reconcile()["schedules"] == 0
    resumed = tide.resume_schedule(name="report")
    assert (resumed.paused, resumed.next_fire_at) == (False, hour.now + HOUR)
    assert ledger(tide) == []
    hour.advance(HOUR)
    tide.reconcile()
    assert fired(tide) == [hour.now]


@pytest.mark.parametrize("options", [{}, {"cron": "30 * * * *"}, {"input": {"b": 2}}])
def test_declaration_does_not_undo_a_pause(
    tide: Tide, hour: Clock, options: dict[str, Any]
) -> None:
    declared(tide)
    tide.pause_schedule(name="report")
    assert declared(tide, **options).paused is True
    hour.advance(2 * HOUR)
    assert declared(tide, **options).paused is True
    assert tide.reconcile()["schedules"] == 0
    assert tide.resume_schedule(name="report").next_fire_at > hour.now
    assert ledger(tide) == []


def test_pause_writes_due_fires_off_and_a_second_one_changes_nothing(
    tide: Tide, hour: Clock
) -> None:
    made = declared(tide)
    hour.advance(2 * HOUR)
    tide.pause_schedule(name="report")
    assert ledger(tide) == [
        (made.next_fire_at, "missed", 2, made.next_fire_at + HOUR),
    ]
    before = contents(tide.connection)
    hour.advance(HOUR)
    tide.pause_schedule(name="report")
    assert contents(tide.connection) == before
    tide.resume_schedule(name="report")
    before = contents(tide.connection)
    tide.resume_schedule(name="report")
    assert contents(tide.connection) == before


def test_paused_installation_fires_nothing_and_catches_up_by_policy(
    tide: Tide, hour: Clock
) -> None:
    made = declared(tide)
    tide.pause()
    hour.advance(3 * HOUR)
    assert tide.claim() == []
    assert tide.reconcile()["schedules"] == 0
    assert (runs(tide), ledger(tide)) == ([], [])
    tide.resume()
    tide.reconcile()
    assert ledger(tide) == [
        (made.next_fire_at, "missed", 2, made.next_fire_at + HOUR),
        (made.next_fire_at + 2 * HOUR, "enqueued", 1, None),
    ]


# By hand


def test_fire_by_hand_leaves_the_next_time_alone(tide: Tide, hour: Clock) -> None:
    made = declared(tide, input={"a": 1})
    hour.advance(10 * MINUTE + MICROSECOND)
    fire = tide.fire_schedule(name="report")
    (run,) = runs(tide)
    assert (fire.outcome, fire.run_id, fire.fire_at) == ("by_hand", run.run_id, hour.now)
    assert (run.status, run.input) == ("queued", {"a": 1})
    assert run.dedupe_key == f"sched:report:{hour.now:%Y-%m-%dT%H:%M:%S.%f}Z"
    after = schedule(tide)
    assert (after.next_fire_at, after.last_run_id) == (made.next_fire_at, run.run_id)
    assert after.last_fire_at is None
    hour.set(made.next_fire_at)
    tide.reconcile()
    assert fired(tide) == [made.next_fire_at]


def test_fire_by_hand_is_a_run_each_time_whatever_holds_the_schedule_back(
    tide: Tide, hour: Clock
) -> None:
    declared(tide, overlap="skip")
    tide.pause_schedule(name="report")
    fires = [tide.fire_schedule(name="report") for _ in range(3)]
    assert len({fire.run_id for fire in fires}) == 3
    assert [run.status for run in runs(tide)] == ["queued"] * 3
    declared(tide, overlap="skip", enabled=False)
    assert tide.fire_schedule(name="report").outcome == "by_hand"


def test_fire_by_hand_takes_no_time_of_the_schedule(tide: Tide, hour: Clock) -> None:
    made = declared(tide)
    hour.set(made.next_fire_at)
    tide.fire_schedule(name="report")
    tide.reconcile()
    assert fired(tide) == [made.next_fire_at]
    assert len(runs(tide)) == 2


@pytest.mark.parametrize("act", ["fire_schedule", "pause_schedule", "resume_schedule"])
def test_unknown_schedule_is_not_found(tide: Tide, act: str) -> None:
    for name, words in ((None, "null"), ("", "''"), ("nobody's", "nobody"), ("x" * 9999, "xxx")):
        with refused("TD010", "schedule", words, "does not exist"):
            tide.call(act, name=name)


def test_fires_are_listed_newest_first_in_pages(tide: Tide, hour: Clock) -> None:
    declared(tide, "* * * * *")
    declared(tide, "* * * * *", name="other")
    times = []
    for _ in range(5):
        hour.advance(MINUTE)
        times.append(hour.now)
        tide.reconcile()
    page = tide.list_fires(name="report", max_fires=2)
    assert [fire.fire_at for fire in page] == [times[4], times[3]]
    rest = tide.list_fires(name="report", before=page[-1].fire_at)
    assert [fire.fire_at for fire in rest] == [times[2], times[1], times[0]]
    assert tide.list_fires(name="nobody") == []


# Times that nobody was there for


def test_late_fires_become_one_the_latest(tide: Tide, hour: Clock) -> None:
    made = declared(tide)
    hour.advance(5 * HOUR + 10 * MINUTE)
    assert tide.reconcile()["schedules"] == 1
    first = made.next_fire_at
    assert ledger(tide) == [
        (first, "missed", 4, first + 3 * HOUR),
        (first + 4 * HOUR, "enqueued", 1, None),
    ]
    assert runs(tide)[0].metadata["fire_at"] == told(first + 4 * HOUR)
    assert schedule(tide).next_fire_at == first + 5 * HOUR


def test_late_fires_are_skipped_but_not_one_that_is_due_this_minute(
    tide: Tide, hour: Clock
) -> None:
    made = declared(tide, misfire="skip")
    first = made.next_fire_at
    hour.set(first + 59 * SECOND)
    tide.reconcile()
    assert fired(tide) == [first]
    hour.set(first + HOUR + MINUTE)
    tide.reconcile()
    assert fired(tide) == [first]
    hour.set(first + 4 * HOUR + SECOND)
    tide.reconcile()
    assert ledger(tide) == [
        (first, "enqueued", 1, None),
        (first + HOUR, "missed", 1, first + HOUR),
        (first + 2 * HOUR, "missed", 2, first + 3 * HOUR),
        (first + 4 * HOUR, "enqueued", 1, None),
    ]


@pytest.mark.parametrize("due", [1, 2, 99, 100])
def test_all_late_fires_are_made_up_for(tide: Tide, hour: Clock, due: int) -> None:
    made = declared(tide, misfire="all")
    hour.advance(due * HOUR)
    assert tide.reconcile()["schedules"] == due
    times = [made.next_fire_at + n * HOUR for n in range(due)]
    assert ledger(tide) == [(at, "enqueued", 1, None) for at in times]
    assert [run.metadata["fire_at"] for run in runs(tide)] == [told(at) for at in times]


@pytest.mark.parametrize("due", [101, 150])
def test_at_most_a_hundred_late_fires_are_made_up_for_the_newest(
    tide: Tide, hour: Clock, due: int
) -> None:
    made = declared(tide, misfire="all")
    hour.advance(due * HOUR)
    tide.reconcile()
    first = made.next_fire_at
    times = [first + n * HOUR for n in range(due - 100, due)]
    assert ledger(tide) == [
        (first, "missed", due - 100, times[0] - HOUR),
        *((at, "enqueued", 1, None) for at in times),
    ]


@pytest.mark.parametrize("misfire", ["one", "skip", "all"])
def test_year_without_anybody_is_caught_up_with_at_once(
    tide: Tide, hour: Clock, misfire: str
) -> None:
    made = declared(tide, "* * * * *", misfire=misfire)
    hour.advance(365 * DAY)
    begun = time.monotonic()
    tide.reconcile()
    assert time.monotonic() - begun < 10
    (first, *rest) = ledger(tide)
    enqueued = {"one": 1, "skip": 1, "all": 100}[misfire]
    times = [hour.now - n * MINUTE for n in reversed(range(enqueued))]
    assert first == (made.next_fire_at, "missed", 1000, times[0] - MINUTE)
    assert rest == [(at, "enqueued", 1, None) for at in times]
    assert schedule(tide).next_fire_at == hour.now + MINUTE


def test_hour_without_worker_or_upkeep_ends_with_one_tick(tide: Tide, hour: Clock) -> None:
    for misfire in ("one", "skip", "all"):
        declared(tide, "*/20 * * * *", name=misfire, misfire=misfire)
    first = schedule(tide, "one").next_fire_at
    hour.advance(HOUR + 5 * MINUTE)
    tide.claim(queues=["other"])
    tide.reconcile()
    times = [first, first + 20 * MINUTE, first + 40 * MINUTE]
    assert fired(tide, "one") == times[2:]
    assert fired(tide, "skip") == []
    assert fired(tide, "all") == times
    accounted = Counter(
        {
            name: sum(fires for _, _, fires, _ in ledger(tide, name))
            for name in ("one", "skip", "all")
        }
    )
    assert accounted == {"one": 3, "skip": 3, "all": 3}
    before = [ledger(tide, name) for name in ("one", "skip", "all")]
    hour.advance(SECOND)
    tide.claim(queues=["other"])
    assert tide.reconcile()["schedules"] == 0
    assert [ledger(tide, name) for name in ("one", "skip", "all")] == before


@pytest.mark.parametrize("seed", range(4))
def test_each_time_is_accounted_for_exactly_once(tide: Tide, hour: Clock, seed: int) -> None:
    """However upkeep comes and goes: every time is enqueued, or in one row of missed ones."""
    draw = random.Random(seed)
    first = {
        misfire: declared(tide, "*/10 * * * *", name=misfire, misfire=misfire).next_fire_at
        for misfire in ("one", "skip", "all")
    }
    for _ in range(30):
        hour.advance(timedelta(seconds=draw.choice([30, 300, 600, 5000, 9000])))
        tide.reconcile()
    for misfire, at in first.items():
        for fire_at, outcome, fires, last_at in ledger(tide, misfire):
            assert fire_at == at
            at += fires * 10 * MINUTE
            assert last_at == (at - 10 * MINUTE if outcome == "missed" else None)
        assert at == schedule(tide, misfire).next_fire_at > hour.now
        assert len(runs(tide, misfire)) == len(fired(tide, misfire))


# Overlap


def test_fire_beside_an_active_run_is_passed_over_when_asked(tide: Tide, hour: Clock) -> None:
    declared(tide, overlap="skip")
    declared(tide, name="both")
    for _ in range(3):
        hour.advance(HOUR)
        tide.reconcile()
    assert [outcome for _, outcome, _, _ in ledger(tide)] == ["enqueued", "overlap", "overlap"]
    assert [fire.run_id is None for fire in tide.list_fires(name="report")] == [True, True, False]
    assert len(runs(tide, "both")) == 3
    (run,) = runs(tide)
    assert schedule(tide).last_run_id == run.run_id
    tide.cancel(run_id=run.run_id)
    hour.advance(HOUR)
    tide.reconcile()
    assert len(fired(tide)) == 2


def test_run_that_outlasts_hundreds_of_fires_still_holds_them_back(tide: Tide, hour: Clock) -> None:
    declared(tide, "* * * * *", overlap="skip", misfire="all")
    hour.advance(MINUTE)
    tide.reconcile()
    for _ in range(3):
        hour.advance(60 * MINUTE)
        tide.reconcile()
    outcomes = Counter(outcome for _, outcome, _, _ in ledger(tide))
    assert outcomes == {"enqueued": 1, "overlap": 180}


def test_run_by_hand_holds_fires_back_as_well(tide: Tide, hour: Clock) -> None:
    declared(tide, overlap="skip")
    tide.fire_schedule(name="report")
    hour.advance(HOUR)
    tide.reconcile()
    assert [outcome for _, outcome, _, _ in ledger(tide)] == ["by_hand", "overlap"]


def test_runs_of_others_hold_nothing_back(tide: Tide, hour: Clock) -> None:
    declared(tide, overlap="skip")
    declared(tide, name="other", overlap="skip")
    tide.enqueue(workflow="report", metadata={"schedule": "report"})
    hour.advance(HOUR)
    tide.reconcile()
    assert len(fired(tide)) == len(fired(tide, "other")) == 1


# Schedules that cannot fire


def test_broken_schedule_is_set_aside_and_stops_no_other(
    tide: Tide, hour: Clock, connection: Connection
) -> None:
    broken = declared(tide, name="broken", input={"text": "x" * 5000})
    for n in range(12):
        declared(tide, name=f"well{n}")
    connection.execute("update tide.settings set max_payload_bytes = 4096")
    hour.advance(HOUR)
    value(connection, "call tide.reconcile()")
    assert [(f.sweep, f.key, f.sqlstate) for f in tide.sweep_failures()] == [
        ("schedules", "broken", "TD040")
    ]
    assert all(len(fired(tide, f"well{n}")) == 1 for n in range(12))
    assert (ledger(tide, "broken"), runs(tide, "broken")) == ([], [])
    assert schedule(tide, "broken") == broken
    connection.execute("update tide.settings set max_payload_bytes = 1048576")
    hour.advance(2 * MINUTE)
    value(connection, "call tide.reconcile()")
    assert fired(tide, "broken") == [broken.next_fire_at]


def test_ledger_outlives_the_runs_and_is_kept_for_400_days(tide: Tide, hour: Clock) -> None:
    made = declared(tide, "0 0 1 1 *")
    hour.set(made.next_fire_at)
    tide.reconcile()
    (run,) = runs(tide)
    tide.cancel(run_id=run.run_id)
    tide.connection.execute("delete from tide.runs_finished")
    tide.drop_schedule(name="report")
    hour.advance(400 * DAY)
    tide.reconcile()
    assert fired(tide) == [made.next_fire_at]
    hour.advance(DAY)
    tide.reconcile()
    assert ledger(tide) == []


def test_next_wakeup_is_the_next_fire_of_any_schedule_that_may_fire(
    tide: Tide, hour: Clock
) -> None:
    declared(tide, "30 * * * *")
    declared(tide, "10 * * * *", name="paused")
    declared(tide, "5 * * * *", name="disabled", enabled=False)
    tide.pause_schedule(name="paused")
    assert tide.next_wakeup() == 30 * MINUTE
    tide.resume_schedule(name="paused")
    assert tide.next_wakeup() == 10 * MINUTE


@pytest.mark.parametrize("act", ["declared", "changed", "resumed"])
def test_idle_worker_hears_of_a_nearer_time(tide: Tide, hour: Clock, act: str) -> None:
    if act != "declared":
        declared(tide, "0 0 1 1 *" if act == "changed" else "* * * * *")
    if act == "resumed":
        tide.pause_schedule(name="report")
    tide.await_work(worker="idle", duration="1 hour")
    tide.connection.execute("listen tide_work")
    if act == "resumed":
        tide.resume_schedule(name="report")
    else:
        declared(tide, "* * * * *")
    told_to = [note.payload for note in tide.connection.notifies(timeout=5, stop_after=1)]
    assert told_to == [str(told_as("idle"))]


# The way back


@pytest.mark.parametrize(
    ("cron", "zone", "start"),
    [
        ("*/7 * * * *", "UTC", "2026-02-27 12:00+00"),
        ("0 3 * * *", "Europe/Berlin", "2026-03-20 12:00+00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-20 12:00+00"),
        ("*/30 1-3 * * *", "America/New_York", "2026-10-28 12:00+00"),
        ("15,45 * * * *", "Australia/Lord_Howe", "2026-04-03 12:00+00"),
        ("0 */6 * * *", "Pacific/Apia", "2011-12-27 12:00+00"),
        ("0 0 29 2 *", "UTC", "1890-01-01 00:00+00"),
        ("0 0 13 * 5", "Asia/Kathmandu", "2026-01-01 00:00+00"),
    ],
)
def test_previous_fire_is_the_last_one_of_a_walk_forward(
    connection: Connection, cron: str, zone: str, start: str
) -> None:
    differences = connection.execute(
        """
        with recursive walk as (
          select
            1 as place,
            tide.next_fire(%(cron)s, %(start)s, %(zone)s) as at
          union all
          select
            w.place + 1,
            tide._next_fire(tide._parse_cron(%(cron)s), w.at, %(zone)s)
          from walk as w
          where w.place < 250
        ), made as (
          select (
            null, null, %(zone)s, tide._parse_cron(%(cron)s), null, null, null, null, null, null,
            null, null, null, null, null, null, null, null, null, null, null, null, null, null,
            null
          )::tide.schedules as schedule
        ), asked as (
          select
            f.at as first,
            u.at as expected,
            u.at + (u.next - u.at - interval '1 microsecond') * s.share as until
          from (
            select
              w.place,
              w.at,
              lead(w.at) over (order by w.place) as next
            from walk as w
          ) as u
          join walk as f on f.place <= u.place and f.place in (1, 2, 60, u.place, u.place - 1)
          cross join unnest(array[0, 0.3, 1]) as s(share)
          where u.next is not null
        )
        select a.*
        from asked as a
        cross join made as m
        where tide._previous_fire(m.schedule, a.first, a.until) is distinct from a.expected
        """,
        {"cron": cron, "zone": zone, "start": start},
    ).fetchall()
    assert differences == []
