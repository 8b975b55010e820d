"""The asyncio colour: the same guarantees, awaited."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from tests.support import Connection
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    BadPayload,
    InputMismatch,
    NotFound,
    RateLimited,
    Retry,
    RunCancelled,
    RunParked,
    StepInProgress,
    StepTimeout,
    Stop,
    calls,
)

PATIENCE = 60


async def test_steps_replay_retry_and_end_with_the_run(atide: AsyncTidebase) -> None:
    called: list[str] = []

    async def flaky() -> str:
        called.append("flaky")
        if len(called) == 1:
            raise OSError("not yet")
        return "done"

    @atide.workflow("w", max_attempts=2)
    async def w(run: AsyncRun, input: Any) -> Any:
        first = await run.step("flaky", flaky, retries=1, retry_delay=0)
        plain = await run.step("plain", lambda: called.append("plain") or 1)
        async with run.begin_step("turn") as step:
            if not step.done:
                called.append("turn")
                await step.complete(input["n"])
        if run.attempt == 1:
            raise Retry(after=0)
        return [first, plain, step.output]

    run_id = (await atide.enqueue(w, input={"n": 3})).run_id
    report = await atide.work(drain=True)
    assert (report.claimed, report.completed, report.failed) == (2, 1, 1)
    assert (await atide.runs.get(run_id)).result == ["done", 1, 3]
    assert called == ["flaky", "flaky", "plain", "turn"]


async def test_the_task_of_a_run_is_called_by_its_id(atide: AsyncTidebase) -> None:
    names: list[str] = []

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert names == [f"tidebase slot of run {run_id}"]


async def test_many_runs_at_once(atide: AsyncTidebase) -> None:
    together = asyncio.Barrier(16)

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        async with together:
            return input["n"]

    made = await atide.enqueue_many([{"workflow": w, "input": {"n": n}} for n in range(16)])
    assert (await atide.work(concurrency=16, drain=True)).completed == 16
    assert [(await atide.runs.get(one.run_id)).result for one in made] == list(range(16))


async def test_a_plain_function_runs_in_a_thread(atide: AsyncTidebase) -> None:
    threads: list[threading.Thread] = []

    @atide.workflow("w")
    def w(run: AsyncRun, input: Any) -> Any:
        threads.append(threading.current_thread())
        return run.attempt

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == 1
    assert threads[0] is not threading.current_thread()


async def test_a_step_over_its_timeout_is_cancelled(atide: AsyncTidebase) -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        await run.step("slow", slow, timeout=0.05)

    with pytest.raises(StepTimeout, match="'slow'"):
        await atide.run(w)
    assert ended == ["cancelled"]


async def test_a_timeout_the_step_raised_itself_is_its_own(atide: AsyncTidebase) -> None:
    async def own() -> None:
        raise TimeoutError("of the model")

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        await run.step("own", own, timeout=30)

    with pytest.raises(TimeoutError, match="of the model"):
        await atide.run(w)


async def test_the_task_of_a_cancelled_run_is_cancelled(atide: AsyncTidebase) -> None:
    started, unwound = asyncio.Event(), asyncio.Event()

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        async def long() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                unwound.set()

        await run.step("long", long)

    run_id = (await atide.enqueue(w)).run_id
    worker = atide.worker(lease=3.0)
    working = asyncio.create_task(worker.run())
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        await atide.runs.cancel(run_id)
        await unwound.wait()
        worker.stop()
        assert (await working).dropped == 1
    assert (await atide.runs.get(run_id)).status == "cancelled"


async def test_leases_are_renewed_while_the_loop_is_held_up(atide: AsyncTidebase) -> None:
    lease = 2.0

    @atide.workflow("w", max_attempts=3)
    async def w(run: AsyncRun, input: Any) -> Any:
        held_up_until = time.monotonic() + 2 * lease
        while time.monotonic() < held_up_until:
            pass
        return run.attempt

    run_id = (await atide.enqueue(w)).run_id
    assert (await atide.work(lease=lease, drain=True)).completed == 1
    assert (await atide.runs.get(run_id)).result == 1


async def test_a_lost_lease_stops_the_task_and_nothing_is_recorded(
    atide: AsyncTidebase, connection: Connection
) -> None:
    started = asyncio.Event()
    stopped: list[str] = []

    @atide.workflow("w", max_attempts=3)
    async def w(run: AsyncRun, input: Any) -> Any:
        if run.attempt > 1:
            return "second"
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append("first")
            raise

    run_id = (await atide.enqueue(w, backoff={"base": 0, "jitter": 0})).run_id
    worker = atide.worker(lease=1.5, concurrency=2, poll=0.05)
    working = asyncio.create_task(worker.run())
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        # As another worker's claim would: a new lease for a new attempt.
        connection.execute(
            "update tide.runs_active set lease_id = gen_random_uuid(), leased_until = now() "
            "where run_id = %s",
            (run_id,),
        )
        assert (await atide.runs.wait(run_id)).result == "second"
        worker.stop()
        await working
    assert stopped == ["first"]


async def test_a_snooze_costs_no_attempt_in_asyncio(atide: AsyncTidebase) -> None:
    tries: list[int] = []

    @atide.workflow("w", max_attempts=1)
    async def w(run: AsyncRun, input: Any) -> Any:
        tries.append(run.attempt)
        if len(tries) < 3:
            run.snooze(0)
        return "there"

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert ((await atide.runs.get(run_id)).result, tries) == ("there", [1, 1, 1])


async def test_a_rate_limit_throttles_the_lane_of_the_run_in_asyncio(
    atide: AsyncTidebase,
) -> None:
    tries: list[tuple[str, int]] = []
    await atide.lanes.set("openai")

    @atide.workflow("w", max_attempts=1)
    async def w(run: AsyncRun, input: Any) -> Any:
        tries.append((input, run.attempt))
        if len(tries) == 1:
            raise RateLimited("429", after=600)
        return input

    run_ids = [(await atide.enqueue(w, input=name, lane="openai")).run_id for name in ("a", "b")]
    await atide.work(drain=True, concurrency=1)
    assert tries == [("a", 1)]
    await atide.lanes.lift("openai")
    await atide.work(drain=True, concurrency=1)
    assert tries == [("a", 1), ("a", 1), ("b", 1)]
    assert [(await atide.runs.get(run_id)).result for run_id in run_ids] == ["a", "b"]


async def test_a_step_gives_what_a_replay_will_give_in_asyncio(atide: AsyncTidebase) -> None:
    seen: list[Any] = []

    @atide.workflow("w", max_attempts=2)
    async def w(run: AsyncRun, input: Any) -> Any:
        seen.append(await run.step("s", lambda: {1: (2, 3)}))
        if run.attempt == 1:
            raise Retry("once more", after=0)

    await atide.enqueue(w)
    await atide.work(drain=True)
    assert seen == [{"1": [2, 3]}, {"1": [2, 3]}]


async def test_an_id_used_again_with_another_input_is_refused_in_asyncio(
    atide: AsyncTidebase,
) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        return input

    run_id = uuid4()
    assert await atide.run(w, run_id=run_id, input={"a": 1}) == {"a": 1}
    with pytest.raises(InputMismatch):
        await atide.run(w, run_id=run_id, input={"a": 2})


async def test_a_cancelled_inline_run_raises_and_unwinds(atide: AsyncTidebase) -> None:
    started = asyncio.Event()

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(atide.run(w, lease=3.0))
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        (run,) = await atide.runs.list(workflow="w")
        await atide.runs.cancel(run.run_id)
        with pytest.raises(RunCancelled):
            await running


async def test_a_cancelled_worker_hands_its_runs_back(atide: AsyncTidebase) -> None:
    started = asyncio.Event()

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        await run.step("s", lambda: 1)
        started.set()
        await asyncio.Event().wait()

    run_id = (await atide.enqueue(w)).run_id
    working = asyncio.create_task(atide.work())
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    run = await atide.runs.get(run_id)
    assert (run.status, run.attempt) == ("queued", 0)


async def test_work_goes_on_after_every_connection_was_cut(
    atide: AsyncTidebase, connect: Any, direct_dsn: str
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        before = await run.step("before", lambda: 1)
        started.set()
        await go_on.wait()
        return [before, await run.step("after", lambda: 2)]

    run_id = (await atide.enqueue(w)).run_id
    worker = atide.worker()
    working = asyncio.create_task(worker.run())
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        connect(direct_dsn).execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        go_on.set()
        run = await atide.runs.wait(run_id)
        assert (run.result, run.attempt) == ([1, 2], 1)
        worker.stop()
        await working


async def test_poison_in_and_out_fails_its_run_and_no_other(
    atide: AsyncTidebase, connect: Any
) -> None:
    @atide.workflow("w", max_attempts=3)
    async def w(run: AsyncRun, input: Any) -> Any:
        return object() if input["n"] == 1 else input

    runs = [(await atide.enqueue(w, input={"n": n})).run_id for n in range(3)]
    connect().execute(
        "update tide.runs_active set input = '[1e100000]' where run_id = %s", (runs[0],)
    )
    report = await atide.work(concurrency=3, drain=True)
    assert (report.completed, report.failed) == (1, 2)
    classes = [(await atide.runs.get(run_id)).failure_class for run_id in runs]
    assert classes == ["bad_input", "bad_output", None]


async def test_an_unkeyed_effect_parks_and_a_name_in_progress_is_refused(
    atide: AsyncTidebase,
) -> None:
    @atide.workflow("parks")
    async def parks(run: AsyncRun, input: Any) -> Any:
        await run.step("send", lambda: 1 / 0, side_effects=["mail"])

    @atide.workflow("twice")
    async def twice(run: AsyncRun, input: Any) -> Any:
        await asyncio.gather(run.step("s", lambda: asyncio.sleep(0)), run.step("s", lambda: 1))

    with pytest.raises(RunParked):
        await atide.run(parks)
    with pytest.raises(StepInProgress):
        await atide.run(twice)


async def test_sessions_complete_fail_and_hand_back(atide: AsyncTidebase) -> None:
    lost: list[Stop] = []
    async with await atide.runs.attach("w", input={"n": 1}, on_lease_lost=lost.append) as session:
        await session.heartbeat()
        await session.complete(session.input)
    assert (await atide.runs.get(session.id)).result == {"n": 1}

    with pytest.raises(OSError, match="gone"):
        async with await atide.runs.attach("w") as session:
            raise OSError("gone")
    assert (await atide.runs.get(session.id)).error["message"] == "gone"

    async with await atide.runs.attach("w") as session:
        pass
    assert (await atide.runs.get(session.id)).status == "pending"
    assert lost == []


async def test_enqueue_takes_part_in_the_caller_s_transaction(
    atide: AsyncTidebase, dsn: str
) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, prepare_threshold=None) as mine:
        gone = (await atide.enqueue("w", connection=mine)).run_id
        await mine.rollback()
        kept = (await atide.enqueue("w", connection=mine)).run_id
        await mine.commit()
    assert (await atide.runs.get(kept)).status == "queued"
    with pytest.raises(NotFound):
        await atide.runs.get(gone)


async def test_a_worker_takes_its_connections_from_a_pool(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=0, max_size=3, open=False) as pool:
        tide = AsyncTidebase(pool)
        tide.workflow("w")(lambda run, given: 1)
        run_id = (await tide.enqueue("w")).run_id
        await tide.work(drain=True)
        assert (await tide.runs.get(run_id)).result == 1


def test_one_object_serves_one_event_loop_after_another(dsn: str) -> None:
    tide = AsyncTidebase(dsn)

    async def once() -> None:
        await tide.enqueue("w")

    for _ in range(2):
        asyncio.run(once())

    async def last() -> None:
        assert len(await tide.runs.list()) == 2
        await tide.close()

    asyncio.run(last())


async def test_wrong_arguments_are_named(atide: AsyncTidebase) -> None:
    with pytest.raises(TypeError, match="queue must be text"):
        await atide.enqueue("w", queue=5)  # type: ignore[arg-type]
    with pytest.raises(BadPayload, match="input"):
        await atide.enqueue("w", input=object())
    with pytest.raises(TypeError, match="source must be"):
        AsyncTidebase(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is not a UUID"):
        await atide.runs.get("x")
    assert await atide.execute(calls.version()) is not None
