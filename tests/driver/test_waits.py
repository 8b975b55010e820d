"""Sleeps and events: durable, at no cost, replayed."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from tests.support import Clock, Connection
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    Event,
    InvalidArgument,
    Run,
    RunCancelled,
    RunFinished,
    Tidebase,
)

PATIENCE = 60


def test_a_sleep_parks_the_run_until_its_time(tide: Tidebase, clock: Clock) -> None:
    called: list[str] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("before", lambda: called.append("before"))
        run.sleep("nap", timedelta(hours=6))
        return "awake"

    clock.set(clock.now)
    run_id = tide.enqueue(w).run_id
    tide.work(drain=True, reconcile=False)
    row = tide.runs.get(run_id)
    assert (row.waiting_on, row.waiting_for, row.attempt) == ("timer", "nap", 0)
    clock.advance(timedelta(hours=5))
    assert tide.reconcile()["due_waits"] == 0
    clock.advance(timedelta(hours=1))
    assert tide.reconcile()["due_waits"] == 1
    tide.work(drain=True, reconcile=False)
    assert (tide.runs.get(run_id).result, called) == ("awake", ["before"])


async def test_an_async_sleep_parks_the_run_until_its_time(
    atide: AsyncTidebase, clock: Clock
) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        await run.sleep("nap", 3600)
        return "awake"

    clock.set(clock.now)
    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True, reconcile=False)
    clock.advance(timedelta(hours=1))
    await atide.reconcile()
    await atide.work(drain=True, reconcile=False)
    assert (await atide.runs.get(run_id)).result == "awake"


def test_a_sleep_inline_is_slept_here_and_the_run_goes_on_under_a_new_lease(
    tide: Tidebase,
) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("before", lambda: None)
        run.sleep("nap", 0.1)
        run.state.set("awake")
        run.step("after", lambda: None)
        return run.attempt

    run_id = tide.runs.create("w").run_id
    assert tide.run(w, run_id=run_id, lease=3) == 1
    types = [event.type for event in tide.runs.events(run_id)]
    assert types.count("run.started") == 2
    assert types[-1] == "run.completed"


async def test_an_async_sleep_inline_is_slept_here(atide: AsyncTidebase) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        await run.sleep("nap", 0.1)
        return await run.step("after", lambda: "awake")

    assert await atide.run(w) == "awake"


def test_a_run_cancelled_in_its_sleep_never_wakes(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.sleep("nap", 3600)

    run_id = tide.runs.create("w").run_id
    errors: list[BaseException] = []

    def work() -> None:
        try:
            tide.run(w, run_id=run_id)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while tide.runs.get(run_id).waiting_on is None:
        pass
    tide.runs.cancel(run_id)
    thread.join(PATIENCE)
    assert [type(error) for error in errors] == [RunCancelled]


@pytest.mark.parametrize("payload", [None, {"amount": 7}])
def test_an_event_wakes_the_run_that_waits_for_it(tide: Tidebase, payload: Any) -> None:
    seen: list[Any] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        seen.append(run.wait_event("paid"))
        return "paid"

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).waiting_on == "event"
    assert tide.send_event(run_id, "other") is True
    assert tide.work(drain=True).claimed == 0
    assert tide.send_event(run_id, "paid", payload) is True
    assert tide.send_event(run_id, "paid", "late") is True
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == "paid"
    assert seen == [Event("paid", payload)]


async def test_an_async_event_wakes_the_run_that_waits_for_it(atide: AsyncTidebase) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        event = await run.wait_event("paid")
        return event and event.payload

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    await atide.send_event(run_id, "paid", [7])
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == [7]


def test_an_event_that_came_early_is_kept_and_replayed(tide: Tidebase) -> None:
    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        event = run.wait_event("paid")
        assert event is not None
        if run.attempt == 1:
            raise OSError("again")
        return event.payload

    run_id = tide.enqueue(w, backoff={"base": 0, "jitter": 0}).run_id
    tide.send_event(run_id, "paid", 7)
    report = tide.work(drain=True)
    assert (report.dropped, tide.runs.get(run_id).result) == (0, 7)


def test_a_time_out_is_told_from_an_event_without_payload(tide: Tidebase, clock: Clock) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.wait_event("paid", timeout=60) is None

    clock.set(clock.now)
    timed_out, paid = (tide.enqueue(w).run_id for _ in range(2))
    tide.work(drain=True, reconcile=False)
    tide.send_event(paid, "paid")
    clock.advance(timedelta(minutes=1))
    tide.reconcile()
    tide.work(drain=True, reconcile=False)
    assert [tide.runs.get(run_id).result for run_id in (timed_out, paid)] == [True, False]


def test_an_event_is_waited_for_inline(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        assert run.wait_event("never", timeout=0.05) is None
        event = run.wait_event("paid")
        return event and event.payload

    run_id = tide.runs.create("w").run_id
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(tide.run(w, run_id=run_id)))
    thread.start()
    while tide.runs.get(run_id).waiting_for != "paid":
        pass
    tide.send_event(run_id, "paid", 7)
    thread.join(PATIENCE)
    assert results == [7]


async def test_an_async_event_is_waited_for_inline(atide: AsyncTidebase) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        event = await run.wait_event("paid")
        return event and event.payload

    run_id = (await atide.runs.create("w")).run_id
    task = asyncio.create_task(atide.run(w, run_id=run_id))
    while (await atide.runs.get(run_id)).waiting_for != "paid":  # noqa: ASYNC110
        await asyncio.sleep(0)
    await atide.send_event(run_id, "paid", 7)
    assert await task == 7


def test_an_event_is_sent_with_the_transaction_of_the_caller(tide: Tidebase, connect: Any) -> None:
    run_id = tide.enqueue("w").run_id
    connection: Connection = connect(autocommit=False)
    assert tide.send_event(run_id, "paid", connection=connection) is True
    connection.rollback()
    assert tide.send_event(run_id, "paid") is True


def test_wrong_waits_are_refused(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        with pytest.raises(InvalidArgument, match="duration"):
            run.sleep("nap", -1)
        with pytest.raises(TypeError, match="duration must be"):
            run.sleep("nap", "long")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="name"):
            run.wait_event("")
        with pytest.raises(ValueError, match="timeout"):
            run.wait_event("paid", timeout=-1)
        run.complete()
    with pytest.raises(RunFinished):
        tide.send_event(run.id, "paid")
