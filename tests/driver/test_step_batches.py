"""Steps reported together: a short step is one report, and no answer differs from one by one."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast
from uuid import uuid4

import psycopg
import pytest

from tests.driver.conftest import Background, wait_for
from tests.support import Connection, value
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    InvalidArgument,
    LeaseLost,
    Retry,
    Run,
    RunParked,
    Tidebase,
    calls,
    new_run_id,
)
from tidebase_pg.call import Call
from tidebase_pg.client import AsyncClient, Client, async_execute
from tidebase_pg.client import execute as client
from tidebase_pg.types import LeasedRun, StepAnswer, StepStart
from tidebase_pg.worker import step_batches, step_reporter
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.async_step_reporter import AsyncStepReporter
from tidebase_pg.worker.step_batches import Report
from tidebase_pg.worker.step_reporter import StepReporter

PATIENCE: Final = 60


async def async_wait_for(connection: Connection, question: str, *arguments: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not value(connection, question, *arguments):
        assert time.monotonic() < until, question
        await asyncio.sleep(0)


RUNNING: Final = "select exists (select from tide.steps where name = %s and status = 'running')"
TRANSACTIONS: Final = """
select array_agg(distinct e.xmin::text)
from tide.events as e
where e.type in ('step.started', 'step.completed')
"""


def types(connection: Connection) -> list[str]:
    return [
        row.type
        for row in connection.execute("select type from tide.event_log order by run_id, seq")
    ]


def test_a_short_step_is_one_transaction(tide: Tidebase, connection: Connection) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("one", lambda: "done", input={"a": 1})

    tide.enqueue(w)
    tide.work(drain=True)
    assert len(value(connection, TRANSACTIONS)) == 1
    assert types(connection) == [
        "run.enqueued", "run.claimed", "step.started", "step.completed", "run.completed",
    ]  # fmt: skip
    step = connection.execute("select * from tide.steps").fetchone()
    assert step is not None
    assert (step.status, step.attempt, step.output, step.position) == ("completed", 1, "done", 3)


async def test_a_short_step_is_one_transaction_for_asyncio(
    atide: AsyncTidebase, connection: Connection
) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        return await run.step("one", lambda: "done")

    await atide.enqueue(w)
    await atide.work(drain=True)
    assert len(value(connection, TRANSACTIONS)) == 1
    assert value(connection, "select status || attempt from tide.steps") == "completed1"


def test_steps_that_wait_for_the_same_answer_go_out_together(
    tide: Tidebase, connection: Connection, background: Background, connect: Any
) -> None:
    slots = 8
    together = threading.Barrier(slots)

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("one", lambda: together.wait(PATIENCE) and 2)

    blocker = connect()
    ids = [tide.enqueue(w).run_id for _ in range(slots)]
    with blocker.transaction():
        # Whichever report comes first waits, and the others for it.
        blocker.execute("lock table tide.steps in share mode")
        stop = background.start(tide, concurrency=slots)
        wait_for(connection, "select count(*) = 1 from pg_locks where not granted")
    for run_id in ids:
        tide.runs.wait(run_id, timeout=PATIENCE)
    assert stop().completed == slots
    assert len(value(connection, TRANSACTIONS)) < slots


@pytest.mark.parametrize(("limit", "least"), [("MOST_REPORTS", 2), ("MOST_TEXT", 100)])
def test_more_than_fits_into_one_call_goes_out_in_several(
    tide: Tidebase, monkeypatch: pytest.MonkeyPatch, limit: str, least: int
) -> None:
    slots = 12
    together = threading.Barrier(slots)
    monkeypatch.setattr(step_batches, limit, least)

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return [run.step(name, lambda: together.wait(PATIENCE) and None) for name in "abc"]

    for _ in range(slots):
        tide.enqueue(w)
    assert tide.work(drain=True, concurrency=slots).completed == slots


def test_a_long_step_is_seen_to_run(tide: Tidebase, connection: Connection) -> None:
    seen: list[Any] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        def long() -> str:
            wait_for(connection, RUNNING, "long")
            seen.append(value(connection, "select last_seq from tide.runs where run_id=%s", run.id))
            return "done"

        return run.step("long", long)

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == "done"
    assert seen == [3]
    assert len(value(connection, TRANSACTIONS)) == 2


async def test_a_long_step_is_seen_to_run_for_asyncio(
    atide: AsyncTidebase, connection: Connection
) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        async def long() -> str:
            await async_wait_for(connection, RUNNING, "long")
            return "done"

        return await run.step("long", long)

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == "done"
    assert len(value(connection, TRANSACTIONS)) == 2


def test_a_step_says_when_it_really_began(tide: Tidebase, connection: Connection) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        began = value(connection, "select clock_timestamp()::text")

        def work() -> str:
            while value(connection, "select clock_timestamp() - %s < '100 ms'", began):
                pass
            return str(began)

        return run.step("one", work)

    tide.enqueue(w)
    tide.work(drain=True)
    took = value(connection, "select finished_at - started_at >= '50 ms' from tide.steps")
    assert took


def test_a_name_used_again_is_the_next_step_and_replays_as_such(tide: Tidebase) -> None:
    called: list[int] = []

    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        answers = [run.step("same", lambda: called.append(1) or len(called)) for _ in range(3)]
        if run.attempt == 1:
            raise Retry(after=0)
        return answers

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert (tide.runs.get(run_id).result, called) == ([1, 2, 3], [1, 1, 1])
    names = [step["name"] for step in tide.runs.describe(run_id)["steps"]]
    assert names == ["same", "same:2", "same:3"]


async def test_a_name_used_again_is_the_next_step_for_asyncio(atide: AsyncTidebase) -> None:
    called: list[int] = []

    @atide.workflow("w", max_attempts=2)
    async def w(run: AsyncRun, input: Any) -> Any:
        answers = [await run.step("same", lambda: called.append(1) or len(called)) for _ in "abc"]
        if run.attempt == 1:
            raise Retry(after=0)
        return answers

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert ((await atide.runs.get(run_id)).result, called) == ([1, 2, 3], [1, 1, 1])


def test_a_begun_step_of_that_name_counts_too(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        with run.begin_step("same") as step:
            step.complete("first")
        return run.step("same", lambda: "second")

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == "second"


def test_later_attempts_ask_before_they_execute(tide: Tidebase) -> None:
    called: list[str] = []

    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        run.step("first", lambda: called.append("first"))
        if run.attempt == 1:
            raise Retry(after=0)
        run.step("second", lambda: called.append("second"))

    tide.enqueue(w)
    tide.work(drain=True)
    assert called == ["first", "second"]


def test_a_cancelled_run_begins_no_further_step(tide: Tidebase, connection: Connection) -> None:
    called: list[str] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        tide.runs.cancel(run.id, reason="enough")
        run.step("first", lambda: called.append("first"))
        run.step("second", lambda: called.append("second"))

    run_id = tide.enqueue(w).run_id
    report = tide.work(drain=True)
    assert (report.dropped, called) == (1, ["first"])
    assert tide.runs.get(run_id).cancel_reason == "enough"
    assert value(connection, "select count(*) from tide.steps") == 0


def test_a_refused_begin_interrupts_the_step(tide: Tidebase) -> None:
    interrupted: list[bool] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        def long() -> None:
            tide.runs.cancel(run.id)
            # Long before the next heartbeat.
            interrupted.append(run.cancelled.wait(PATIENCE))

        run.step("long", long)

    tide.enqueue(w)
    assert tide.work(drain=True, lease=3600).dropped == 1
    assert interrupted == [True]


async def test_a_refused_begin_cancels_the_task(atide: AsyncTidebase) -> None:
    interrupted: list[bool] = []

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        async def long() -> None:
            await atide.runs.cancel(run.id)
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                interrupted.append(True)
                raise

        await run.step("long", long)

    await atide.enqueue(w)
    assert (await atide.work(drain=True, lease=3600)).dropped == 1
    assert interrupted == [True]


def test_a_budget_given_meanwhile_counts_from_then_on(
    tide: Tidebase, connection: Connection
) -> None:
    called: list[str] = []

    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        run.step("before", lambda: called.append("before"))
        connection.execute("select tide.set_budget(%s, '{\"max_steps\": 2}')", (run.id,))
        for name in ("first", "second"):
            run.step(name, lambda name=name: called.append(name))

    run_id = tide.enqueue(w).run_id
    assert tide.work(drain=True).dropped == 1
    assert (tide.runs.get(run_id).waiting_on, called) == ("budget", ["before", "first"])


def test_a_budget_counts_every_step_as_ever(tide: Tidebase, connection: Connection) -> None:
    called: list[int] = []

    @tide.workflow("w", budget={"max_steps": 3})
    def w(run: Run, input: Any) -> Any:
        for number in range(9):
            run.step(f"step {number}", lambda number=number: called.append(number))

    run_id = tide.enqueue(w).run_id
    assert tide.work(drain=True).dropped == 1
    assert (tide.runs.get(run_id).waiting_on, called) == ("budget", [0, 1, 2])
    assert value(connection, "select steps from tide.spending") == 3


def test_what_a_step_does_to_its_run_comes_after_its_begin(
    tide: Tidebase, connection: Connection
) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        def work() -> int:
            run.usage.record(cost_usd=1, step="one")
            with run.transaction("inner") as tx:
                tx.complete(2)
            return 1

        return run.step("one", work)

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == 1
    steps = [
        (event.type, event.payload.get("name"))
        for event in tide.runs.events(run_id)
        if event.type.startswith(("step", "usage"))
    ]
    assert steps == [
        ("step.started", "one"),
        ("usage.recorded", None),
        ("step.started", "inner"),
        ("step.completed", "inner"),
        ("step.completed", "one"),
    ]


def test_a_failing_step_was_begun_before_it_failed(tide: Tidebase) -> None:
    called: list[int] = []

    def flaky() -> str:
        called.append(1)
        if len(called) == 1:
            raise OSError("not yet")
        return "done"

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("flaky", flaky, retries=1, retry_delay=0)

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert [e.type for e in tide.runs.events(run_id) if e.type.startswith("step")] == [
        "step.started", "step.failed", "step.started", "step.completed",
    ]  # fmt: skip


def test_steps_of_one_run_may_overlap(tide: Tidebase, connection: Connection) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        def one(number: int) -> int:
            return run.step(f"step {number}", lambda: number)

        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(one, range(40)))

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == list(range(40))
    numbers = [event.seq for event in tide.runs.events(run_id)]
    assert numbers == list(range(1, 2 * 40 + 4))


async def test_steps_of_one_run_may_overlap_for_asyncio(atide: AsyncTidebase) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        async def one(number: int) -> int:
            async def work() -> int:
                await asyncio.sleep(0)
                return number

            return await run.step(f"step {number}", work)

        return await asyncio.gather(*map(one, range(40)))

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == list(range(40))


def test_what_the_database_refuses_of_one_run_harms_no_other(tide: Tidebase) -> None:
    together = threading.Barrier(4)
    deep: list[Any] = []
    for _ in range(102):
        deep = [deep]
    raised: list[Exception] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        def work() -> Any:
            together.wait(PATIENCE)
            return deep if input == 1 else input

        try:
            return run.step("one", work, idempotency_key="x" * 513 if input == 2 else None)
        except Exception as error:
            raised.append(error)
            return str(type(error).__name__)

    ids = [tide.enqueue(w, input=number).run_id for number in range(4)]
    tide.work(drain=True, concurrency=4)
    results = [tide.runs.get(run_id).result for run_id in ids]
    assert results == [0, "InvalidArgument", "InvalidArgument", 3]
    assert all(isinstance(error, InvalidArgument) for error in raised)


class BusyAtFirst:
    """Answers for the database: each report is busy twice, and then done."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def execute(self, call: Call[Any]) -> list[StepAnswer]:
        answers: list[StepAnswer] = []
        for ordinal, report in enumerate(json.loads(call.arguments["reports"]), 1):
            self.asked[report["run_id"]] += 1
            if self.asked[report["run_id"]] % 3:
                answers.append(StepAnswer(ordinal, "busy", None, 0, ""))
        return answers


def test_busy_reports_of_many_threads_are_all_made_and_end_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_reporter, "LONGEST_BUSY", 0.0)
    monkeypatch.setattr(step_reporter, "pauses", lambda _: itertools.repeat(0.0))
    held = [
        ActiveRun(
            LeasedRun(new_run_id(), uuid4(), "w", 1, 1, "{}", "{}", fresh=False),
            10.0 * PATIENCE,
            time.monotonic(),
        )
        for _ in range(8)
    ]
    database = BusyAtFirst()
    reporter = StepReporter(cast(Client, database))

    def work(run: ActiveRun) -> None:
        for number in range(60):
            reporter.execute(run, calls.complete_step(run.run_id, run.lease_id, f"s{number}"))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for ended in [pool.submit(work, run) for run in held]:
                ended.result(5 * PATIENCE)
    finally:
        sys.setswitchinterval(before)
    assert set(database.asked.values()) == {180}


def lost_answer(
    monkeypatch: pytest.MonkeyPatch, perform: Callable[..., Any]
) -> Callable[[Any, Any], bool]:
    lost: list[str] = []

    def loses(connection: Any, call: Any) -> bool:
        if call.name == "report_steps" and not lost:
            lost.append(call.name)
            connection.pgconn.finish()
            return True
        return False

    return loses


def test_a_lost_answer_is_asked_for_again_not_worked_for(
    tide: Tidebase, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    perform = client.perform
    loses = lost_answer(monkeypatch, perform)

    def losing(connection: Any, call: Any, meeting: Any) -> Any:
        answer = perform(connection, call, meeting)
        if loses(connection, call):
            raise psycopg.OperationalError("the answer was lost")
        return answer

    monkeypatch.setattr(client, "perform", losing)

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("once", lambda: called.append(1) or "done")

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert (tide.runs.get(run_id).result, called) == ("done", [1])
    found = [event.type for event in tide.runs.events(run_id)]
    assert found.count("step.completed") == found.count("step.started") == 1


async def test_a_lost_answer_is_asked_for_again_for_asyncio(
    atide: AsyncTidebase, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    perform = async_execute.perform
    loses = lost_answer(monkeypatch, perform)

    async def losing(connection: Any, call: Any, meeting: Any) -> Any:
        answer = await perform(connection, call, meeting)
        if loses(connection, call):
            raise psycopg.OperationalError("the answer was lost")
        return answer

    monkeypatch.setattr(async_execute, "perform", losing)

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        return await run.step("once", lambda: called.append(1) or "done")

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert ((await atide.runs.get(run_id)).result, called) == ("done", [1])
    found = [event.type for event in await atide.runs.events(run_id)]
    assert found.count("step.completed") == found.count("step.started") == 1


def test_a_schema_that_takes_no_reports_together_is_told_one_by_one(
    tide: Tidebase, connection: Connection
) -> None:
    connection.execute("drop function tide.report_steps")

    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        total = sum(run.step(f"step {number}", lambda: 1) for number in range(5))
        if run.attempt == 1:
            raise Retry(after=0)
        return total

    ids = [tide.enqueue(w).run_id for _ in range(4)]
    tide.work(drain=True, concurrency=4)
    assert [tide.runs.get(run_id).result for run_id in ids] == [5] * 4
    assert value(connection, "select count(*) from tide.steps where attempt = 1") == 20


async def test_a_schema_that_takes_no_reports_together_serves_asyncio(
    atide: AsyncTidebase, connection: Connection
) -> None:
    connection.execute("drop function tide.report_steps")

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        return [await run.step(f"step {number}", lambda: 1) for number in range(5)]

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == [1] * 5


class Interrupted:
    """A lock of a reporter; who made it is held up where its third section has ended."""

    def __init__(self, hold_up: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._own = threading.get_ident()
        self._hold_up = hold_up
        self._sections = 0

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if threading.get_ident() == self._own:
            self._sections += 1
            if self._sections == 3:  # handed in, taken out, answered
                self._hold_up()


def test_one_call_is_under_way_when_a_leader_goes_as_another_comes() -> None:
    others: list[threading.Thread] = []
    calls_of: list[int] = []
    under_way, go_on = threading.Event(), threading.Event()

    class Database:
        def execute(self, call: Call[Any]) -> list[StepAnswer]:
            calls_of.append(threading.get_ident())
            if threading.get_ident() != main:
                under_way.set()
                assert go_on.wait(PATIENCE)
            return []

    def report(name: str) -> None:
        held = Busy(threading.Event())
        reporter.execute(held, calls.complete_step(held.run_id, held.lease_id, name))

    def another_comes() -> None:
        others.append(threading.Thread(target=report, args=("second",), daemon=True))
        others[0].start()
        assert under_way.wait(PATIENCE)

    main = threading.get_ident()
    reporter = StepReporter(cast(Client, Database()))
    reporter._lock = cast(threading.Lock, Interrupted(another_comes))
    report("first")
    assert calls_of == [main, others[0].ident]
    go_on.set()
    others[0].join(PATIENCE)
    assert not others[0].is_alive()


class Busy(ActiveRun):
    """A run whose row another transaction holds when its step is reported first."""

    def __init__(self, again: threading.Event) -> None:
        leased = LeasedRun(uuid4(), uuid4(), "w", 1, 1, "{}", "{}", fresh=True)
        super().__init__(leased, 60.0, time.monotonic())
        self._again = again

    def check(self) -> None:
        assert self._again.wait(PATIENCE)


class Late(StepReporter):
    """Who found its run busy begins to wait for the second answer when that is there."""

    def _await(self, report: Report, leads: bool) -> None:
        until = time.monotonic() + PATIENCE
        while report.name == "first" and not leads and not report.answered:
            assert time.monotonic() < until
            time.sleep(0)
        super()._await(report, leads)


class Server:
    """Answers reports one call after the other; during the first two the others come."""

    def __init__(self) -> None:
        self.reporter = Late(cast(Client, self))
        self.again = threading.Event()
        self.calls: list[int] = []
        self.done: list[str] = []

    def report(self, held: ActiveRun, name: str) -> None:
        call = calls.complete_step(held.run_id, held.lease_id, name, output=1)
        self.reporter.execute(held, call)
        self.done.append(name)

    def comes(self, name: str) -> threading.Thread:
        """Another slot reports; returns once its report waits."""
        given: threading.Event = threading.Event()
        given.set()
        thread = threading.Thread(target=self.report, args=(Busy(given), name), daemon=True)
        thread.start()
        self.waits(name)
        return thread

    def waits(self, *names: str) -> None:
        until = time.monotonic() + PATIENCE
        while [report.name for report in self.reporter._batcher.waiting][-len(names) :] != [*names]:
            assert time.monotonic() < until
            time.sleep(0)

    def execute(self, call: Any) -> list[StepAnswer]:
        many = len(json.loads(call.arguments["reports"]))
        self.calls.append(many)
        action = "execute"
        if len(self.calls) == 1:
            action = "busy"
            self.comes("second")
        elif len(self.calls) == 2:
            self.comes("third")
            self.again.set()
            self.waits("third", "first")
        return [StepAnswer(ordinal + 1, action, None, 1, "auto") for ordinal in range(many)]


def test_what_one_slot_found_busy_another_may_have_reported_for_it() -> None:
    server = Server()
    server.report(Busy(server.again), "first")
    until = time.monotonic() + PATIENCE
    while len(server.done) < 3:
        assert time.monotonic() < until, server.done
    assert sorted(server.done) == ["first", "second", "third"]
    assert server.calls == [1, 1, 2]


class Unreachable:
    """A database that refuses the first call where told to, then cannot be reached for three."""

    def __init__(self, refuses: bool = False) -> None:
        self.asked = 0
        self.refuses = refuses

    def execute(self, call: Call[Any]) -> list[StepAnswer]:
        self.asked += 1
        if self.refuses:
            self.refuses = False
            raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
        if self.asked <= 3:
            raise psycopg.OperationalError("the connection is lost")
        return [StepAnswer(1, "execute", None, 1, "auto")]


class UnreachableForAsyncio:
    """The same for asyncio."""

    def __init__(self, refuses: bool = False) -> None:
        self.database = Unreachable(refuses)

    async def execute(self, call: Call[Any]) -> list[StepAnswer]:
        return self.database.execute(call)


def reports(held: ActiveRun) -> list[Call[Any]]:
    """One that goes out with others, and one that goes out alone."""
    step = (held.run_id, held.lease_id, "s")
    return [calls.complete_step(*step, output=1), calls.fail_step(*step, error={"message": "x"})]


def new_run(lease: float, began: float) -> ActiveRun:
    leased = LeasedRun(uuid4(), uuid4(), "w", 1, 1, "{}", "{}", fresh=True)
    return ActiveRun(leased, lease, began)


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("number", [0, 1])
def test_a_report_is_repeated_as_long_as_the_run_holds_its_lease(
    number: int, refuses: bool
) -> None:
    held = new_run(60.0, time.monotonic())
    database = Unreachable(refuses and number == 0)
    StepReporter(cast(Client, database)).execute(held, reports(held)[number])
    assert database.asked == 4


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("number", [0, 1])
async def test_a_report_is_repeated_as_long_as_the_run_holds_its_lease_for_asyncio(
    number: int, refuses: bool
) -> None:
    held = new_run(60.0, time.monotonic())
    client = UnreachableForAsyncio(refuses and number == 0)
    await AsyncStepReporter(cast(AsyncClient, client)).execute(held, reports(held)[number])
    assert client.database.asked == 4


@pytest.mark.parametrize("number", [0, 1])
def test_a_report_of_a_run_that_lost_its_lease_is_not_repeated(number: int) -> None:
    held = new_run(0.0, time.monotonic() - 1)
    database = Unreachable()
    with pytest.raises(LeaseLost):
        StepReporter(cast(Client, database)).execute(held, reports(held)[number])
    assert database.asked == 1


def begin_of(held: ActiveRun) -> Call[Any]:
    return calls.begin_step(held.run_id, held.lease_id, "s")


OVER_BUDGET: Final = RunParked("over budget")
REFUSED: Final = psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
LOST: Final = psycopg.OperationalError("the connection is lost")


class Silent:
    """A database that refuses a begin made with others; by itself it is answered late, and only
    when it was asked for the fourth time."""

    def __init__(self) -> None:
        self.asked = 0

    def answers(self, call: Call[Any]) -> Any:
        if call.name == "report_steps":
            if '"begin"' in call.arguments["reports"]:
                raise REFUSED
            return []
        if call.name != "begin_step":
            return None
        self.asked += 1
        if self.asked < 4:
            raise LOST
        return StepStart("budget", None, 0, "auto")


def judged(start: StepStart) -> RunParked | None:
    return OVER_BUDGET if start.action == "budget" else None


def test_a_begin_made_by_itself_lasts_as_long_as_the_lease_and_holds_up_no_other_run() -> None:
    silence, asked = threading.Event(), threading.Event()
    silent = Silent()

    class Database:
        def execute(self, call: Call[Any]) -> Any:
            if call.name == "begin_step":
                assert threading.current_thread() is not threading.main_thread()
                asked.set()
                assert silence.wait(PATIENCE)
            return silent.answers(call)

    reporter = StepReporter(cast(Client, Database()))
    reporter._looking = True  # what is due goes with the report of another run
    held, other = new_run(60.0, time.monotonic()), new_run(60.0, time.monotonic())
    reporter.begin(held, begin_of(held), judged)
    (early,) = reporter._batcher.early[held].values()
    assert early.began_at is not None
    early.began_at -= step_batches.MOMENT
    reporter.execute(other, reports(other)[0])
    assert asked.wait(PATIENCE)
    silence.set()
    with pytest.raises(RunParked) as stopped:
        reporter.settle(held)
    assert (stopped.value, silent.asked, other.stop) == (OVER_BUDGET, 4, None)


async def test_a_begin_made_by_itself_lasts_and_holds_up_no_other_run_for_asyncio() -> None:
    silence, asked = asyncio.Event(), asyncio.Event()
    silent = Silent()

    class Database:
        async def execute(self, call: Call[Any]) -> Any:
            if call.name == "begin_step":
                asked.set()
                await silence.wait()
            return silent.answers(call)

    reporter = AsyncStepReporter(cast(AsyncClient, Database()))
    held, other = new_run(60.0, time.monotonic()), new_run(60.0, time.monotonic())
    async with asyncio.timeout(PATIENCE):
        reporter.begin(held, begin_of(held), judged)
        await asked.wait()
        await reporter.execute(other, reports(other)[0])
        silence.set()
        with pytest.raises(RunParked) as stopped:
            await reporter.settle(held)
    reporter.close()
    assert (stopped.value, silent.asked, other.stop) == (OVER_BUDGET, 4, None)


def test_a_branch_that_waits_for_a_begin_hears_of_it_though_a_completion_took_it_along() -> None:
    """The begin was sent for that branch, and found the row of its run held by a stranger."""
    asked, go_on = threading.Event(), threading.Event()

    class Database:
        def execute(self, call: Call[Any]) -> list[StepAnswer]:
            if '"complete"' in call.arguments["reports"]:
                return []
            asked.set()
            assert go_on.wait(PATIENCE)
            return [StepAnswer(1, "busy", None, 0, "")]

    reporter = StepReporter(cast(Client, Database()))
    reporter._looking = True  # nothing but the branch sends the begin
    held = new_run(60.0, time.monotonic())
    reporter.begin(held, begin_of(held), judged)
    branch = threading.Thread(target=reporter.settle, args=(held,), daemon=True)
    branch.start()
    assert asked.wait(PATIENCE)
    (early,) = reporter._batcher.early[held].values()
    go_on.set()
    until = time.monotonic() + PATIENCE
    while early.sent:  # until the answer is taken in
        assert time.monotonic() < until
        time.sleep(0)
    reporter.execute(held, reports(held)[0])
    branch.join(PATIENCE)
    assert not branch.is_alive()


async def test_a_branch_that_waits_for_a_begin_hears_of_it_for_asyncio() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    class Database:
        async def execute(self, call: Call[Any]) -> list[StepAnswer]:
            if '"complete"' in call.arguments["reports"]:
                return []
            asked.set()
            await go_on.wait()
            return [StepAnswer(1, "busy", None, 0, "")]

    reporter = AsyncStepReporter(cast(AsyncClient, Database()))
    held = new_run(60.0, time.monotonic())
    async with asyncio.timeout(PATIENCE):
        reporter.begin(held, begin_of(held), judged)
        reporter.close()  # nothing but the branch sends the begin
        branch = asyncio.create_task(reporter.settle(held))
        await asked.wait()
        (early,) = reporter._batcher.early[held].values()
        go_on.set()
        while early.sent:  # noqa: ASYNC110 until the answer is taken in
            await asyncio.sleep(0)
        await reporter.execute(held, reports(held)[0])
        await branch
