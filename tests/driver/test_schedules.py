"""Schedules from Python: declared, listed, fired, paused, in both colours."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import Clock
from tidebase_pg import AsyncTidebase, InvalidArgument, NotFound, Run, Tidebase
from tidebase_pg.async_tidebase import AsyncGates, AsyncQueues, AsyncRuns, AsyncSchedules
from tidebase_pg.tidebase import Gates, Queues, Runs, Schedules

FRIDAY = datetime(2026, 6, 12, 10, 30, 30, tzinfo=UTC)


def test_a_schedule_enqueues_at_its_time_and_a_worker_runs_it(tide: Tidebase, clock: Clock) -> None:
    @tide.workflow("report", queue="reports", max_attempts=3, deadline=600)
    def report(run: Run, input: Any) -> Any:
        return [input["page"], run.metadata["schedule"], run.metadata["fire_at"]]

    clock.set(FRIDAY)
    made = tide.schedules.set(
        "daily",
        cron="0 9 * * *",
        workflow_name=report,
        input={"page": 7},
        time_zone="Europe/Berlin",
        overlap="skip",
        priority=5,
        metadata={"team": "a"},
    )
    due = datetime(2026, 6, 13, 7, tzinfo=UTC)
    assert (made.next_fire_at, made.last_fire_at, made.last_run_id) == (due, None, None)
    assert (made.queue, made.max_attempts, made.deadline) == ("reports", 3, timedelta(minutes=10))
    assert (made.misfire, made.overlap, made.enabled, made.paused) == ("one", "skip", True, False)
    assert (made.input, made.priority) == ({"page": 7}, 5)

    tide.reconcile()
    assert tide.schedules.fires("daily") == []
    clock.set(due)
    assert tide.reconcile()["schedules"] == 1
    (fire,) = tide.schedules.fires("daily")
    assert (fire.fire_at, fire.outcome, fire.fires) == (due, "enqueued", 1)
    assert fire.run_id is not None
    tide.work(drain=True, reconcile=False)
    run = tide.runs.get(fire.run_id)
    assert run.result == [7, "daily", "2026-06-13T07:00:00Z"]
    assert run.metadata["team"] == "a"
    (schedule,) = tide.schedules.list()
    assert (schedule.last_fire_at, schedule.last_run_id) == (due, fire.run_id)
    assert schedule.next_fire_at == due + timedelta(days=1)


def test_the_same_declaration_again_loses_no_due_fire(tide: Tidebase, clock: Clock) -> None:
    clock.set(FRIDAY)
    first = tide.schedules.set("s", cron="* * * * *", workflow_name="w")
    clock.advance(timedelta(minutes=2))
    again = tide.schedules.set("s", cron="* * * * *", workflow_name="w")
    assert again.next_fire_at == first.next_fire_at
    tide.reconcile()
    assert [fire.outcome for fire in tide.schedules.fires("s")] == ["enqueued", "missed"]


def test_fires_are_paged_newest_first(tide: Tidebase, clock: Clock) -> None:
    clock.set(FRIDAY)
    tide.schedules.set("s", cron="* * * * *", workflow_name="w", misfire="all")
    clock.advance(timedelta(minutes=3))
    tide.reconcile()
    newest, middle = tide.schedules.fires("s", max_fires=2)
    (oldest,) = tide.schedules.fires("s", before=middle.fire_at)
    times = [fire.fire_at for fire in (newest, middle, oldest)]
    assert times == [datetime(2026, 6, 12, 10, minute, tzinfo=UTC) for minute in (33, 32, 31)]


def test_a_paused_schedule_fires_by_hand_only(tide: Tidebase, clock: Clock) -> None:
    clock.set(FRIDAY)
    tide.schedules.set("s", cron="* * * * *", workflow_name="w")
    assert tide.schedules.pause("s").paused
    declared = tide.schedules.set("s", cron="* * * * *", workflow_name="w")
    assert declared.paused
    clock.advance(timedelta(minutes=5))
    assert tide.reconcile()["schedules"] == 0
    fired = tide.schedules.fire("s")
    assert (fired.outcome, fired.run_id is None) == ("by_hand", False)
    resumed = tide.schedules.resume("s")
    assert (resumed.paused, resumed.next_fire_at) == (
        False,
        datetime(2026, 6, 12, 10, 36, tzinfo=UTC),
    )


def test_a_deleted_schedule_leaves_its_runs(tide: Tidebase) -> None:
    tide.schedules.set("s", cron="@daily", workflow_name="w", enabled=False)
    fire = tide.schedules.fire("s")
    assert tide.schedules.delete("s") is True
    assert tide.schedules.delete("s") is False
    assert tide.schedules.list() == []
    assert tide.schedules.fires("s") == [fire]
    assert fire.run_id is not None
    assert tide.runs.get(fire.run_id).status == "queued"


def test_the_next_time_of_an_expression_is_the_database_s(tide: Tidebase) -> None:
    following = tide.schedules.next_fire
    assert following("0 0 29 2 *", after=FRIDAY) == datetime(2028, 2, 29, tzinfo=UTC)
    berlin = following("0 9 * * *", after=FRIDAY, time_zone="Europe/Berlin")
    assert berlin == datetime(2026, 6, 13, 7, tzinfo=UTC)
    assert following("* * * * *") > datetime.now(UTC) - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"cron": "61 * * * *"}, InvalidArgument, "61"),
        ({"cron": 7}, TypeError, "cron must be text"),
        ({"workflow_name": None}, TypeError, "workflow_name must be text"),
        ({"workflow_name": print}, ValueError, "is not a registered workflow"),
        ({"time_zone": "Nowhere/At_All"}, InvalidArgument, "time_zone"),
        ({"misfire": "never"}, InvalidArgument, "misfire"),
        ({"enabled": "no"}, TypeError, "enabled must be True or False"),
        ({"deadline": "soon"}, TypeError, "deadline must be a timedelta"),
        ({"retries": 3}, TypeError, "retries"),
    ],
)
def test_a_wrong_declaration_is_named_and_stores_nothing(
    tide: Tidebase, wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    options: Any = {"cron": "@daily", "workflow_name": "w", **wrong}
    with pytest.raises(error, match=words):
        tide.schedules.set("s", **options)
    assert tide.schedules.list() == []


def test_what_is_not_there_or_not_a_time_is_refused(tide: Tidebase) -> None:
    for act in (tide.schedules.fire, tide.schedules.pause, tide.schedules.resume):
        with pytest.raises(NotFound, match="nobody"):
            act("nobody")
    with pytest.raises(ValueError, match=r"after = .* has no time zone"):
        tide.schedules.next_fire("@daily", after=datetime(2026, 1, 1))  # noqa: DTZ001
    wrong: Any = "x"
    with pytest.raises(ValueError, match="before = 'x' is not a UUID"):
        tide.schedules.fires("s", before=wrong)


async def test_a_schedule_from_asyncio(atide: AsyncTidebase, clock: Clock) -> None:
    @atide.workflow("report", queue="reports")
    async def report(run: Any, input: Any) -> Any:
        return input

    clock.set(FRIDAY)
    made = await atide.schedules.set("s", cron="@hourly", workflow_name=report, input=[1])
    assert (made.queue, made.next_fire_at) == ("reports", datetime(2026, 6, 12, 11, tzinfo=UTC))
    clock.advance(timedelta(hours=1))
    await atide.reconcile()
    fired = await atide.schedules.fire("s")
    first, second = await atide.schedules.fires("s")
    assert (first.run_id, second.outcome) == (fired.run_id, "enqueued")
    assert (await atide.schedules.pause("s")).paused
    assert not (await atide.schedules.resume("s")).paused
    (listed,) = await atide.schedules.list()
    assert listed.last_run_id == fired.run_id
    assert (await atide.schedules.next_fire("@yearly", after=FRIDAY)).year == 2027
    assert await atide.schedules.delete("s") is True


@pytest.mark.parametrize(
    ("plain", "awaited"),
    [
        (Tidebase, AsyncTidebase),
        (Runs, AsyncRuns),
        (Queues, AsyncQueues),
        (Schedules, AsyncSchedules),
        (Gates, AsyncGates),
    ],
)
def test_both_colours_have_the_same_methods_with_the_same_arguments(
    plain: type, awaited: type
) -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(plain) == methods(awaited)
