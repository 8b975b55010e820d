"""Workflows that take many runs at once and answer each, in both colours."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.driver.conftest import PATIENCE, Background, wait_for
from tests.support import Connection, value
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    Fail,
    Retry,
    Run,
    RunCancelled,
    Snooze,
    Stop,
    Tidebase,
    WorkReport,
    current_run,
)

Answer = Callable[[list[Any], list[Any]], Any]
ONCE = {"base": 0, "jitter": 0}


@dataclasses.dataclass
class Page:
    number: int


class Colour:
    """A worker of one colour, whose batches are answered by a plain function."""

    def __init__(self, dsn: str, *, asynchronous: bool) -> None:
        self.tide: Any = AsyncTidebase(dsn) if asynchronous else Tidebase(dsn)
        self.asynchronous = asynchronous
        self.seen: list[list[Any]] = []

    def answer(self, name: str, answer: Answer, **options: Any) -> None:
        def called(runs: list[Any], inputs: list[Any]) -> Any:
            self.seen.append(list(inputs))
            return answer(runs, inputs)

        async def awaited(runs: list[Any], inputs: list[Any]) -> Any:
            return called(runs, inputs)

        self.tide.workflow(name, **options)(awaited if self.asynchronous else called)

    def work(self, **options: Any) -> WorkReport:
        given = {"drain": True, "concurrency": 50, "reconcile": False, **options}
        if not self.asynchronous:
            report: WorkReport = self.tide.work(**given)
            return report
        return asyncio.run(self._work(given))

    async def _work(self, given: dict[str, Any]) -> WorkReport:
        async with self.tide:
            report: WorkReport = await self.tide.work(**given)
            return report


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest, dsn: str) -> Colour:
    return Colour(dsn, asynchronous=request.param == "async")


def enqueue(tide: Tidebase, inputs: Any, **options: Any) -> list[UUID]:
    rows = tide.enqueue_many([{"workflow": "embed", "input": one, **options} for one in inputs])
    return [row.run_id for row in rows]


def statuses(tide: Tidebase, run_ids: list[UUID]) -> list[str]:
    return [tide.runs.get(run_id).status for run_id in run_ids]


def test_runs_claimed_together_are_handed_over_in_batches_and_each_is_answered(
    colour: Colour, tide: Tidebase
) -> None:
    colour.answer("embed", lambda runs, inputs: [10 * number for number in inputs], batch=4)
    run_ids = enqueue(tide, range(10))
    report = colour.work()
    assert (report.claimed, report.completed) == (10, 10)
    assert [len(batch) for batch in colour.seen] == [4, 4, 2]
    assert sorted(number for batch in colour.seen for number in batch) == list(range(10))
    assert [tide.runs.get(run_id).result for run_id in run_ids] == [10 * n for n in range(10)]


def test_each_answer_is_that_of_its_run_alone(colour: Colour, tide: Tidebase) -> None:
    said: dict[int, Any] = {
        0: "done",
        1: ValueError("this one is bad"),
        2: Fail("no such customer", failure_class="bad_request"),
        3: Retry("busy", after=0),
        4: Snooze("later", after=3600),
        5: {1, 2},
    }

    def answer(runs: list[Any], inputs: list[Any]) -> list[Any]:
        return [said[n] if run.attempt == 1 else "again" for run, n in zip(runs, inputs)]  # noqa: B905

    colour.answer("embed", answer, batch=9)
    run_ids = enqueue(tide, range(6), max_attempts=2, backoff=ONCE)
    colour.work()
    rows = [tide.runs.get(run_id) for run_id in run_ids]
    assert [row.status for row in rows] == [
        "completed", "completed", "failed", "completed", "queued", "failed",
    ]  # fmt: skip
    assert [row.attempt for row in rows] == [1, 2, 1, 2, 0, 1]
    assert [row.failure_class for row in rows if row.failure_class] == ["bad_request", "bad_output"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1], "was given 3 runs and returned 1 answers"),
        ([1, 2, 3, 4], "was given 3 runs and returned 4 answers"),
        (None, "was given 3 runs and returned NoneType"),
        ("abc", "was given 3 runs and returned str"),
        ({"a": 1}, "was given 3 runs and returned dict"),
    ],
)
def test_another_number_of_answers_is_named_and_completes_nothing(
    colour: Colour, tide: Tidebase, given: Any, said: str
) -> None:
    colour.answer("embed", lambda runs, inputs: given, batch=9)
    run_ids = enqueue(tide, range(3))
    colour.work()
    for run_id in run_ids:
        row = tide.runs.get(run_id)
        assert (row.status, row.error["type"]) == ("failed", "WrongAnswers")
        assert said in row.error["message"]


def test_what_the_function_raises_is_the_answer_to_all_of_the_batch(
    colour: Colour, tide: Tidebase
) -> None:
    def answer(runs: list[Any], inputs: list[Any]) -> list[Any]:
        if runs[0].attempt == 1:
            raise OSError("the provider is away")
        return inputs

    colour.answer("embed", answer, batch=2)
    run_ids = enqueue(tide, range(4), max_attempts=2, backoff=ONCE)
    report = colour.work()
    assert (report.failed, report.completed) == (4, 4)
    assert statuses(tide, run_ids) == ["completed"] * 4


def test_an_input_that_does_not_fit_fails_its_run_and_the_others_are_a_batch(
    tide: Tidebase,
) -> None:
    @tide.workflow("embed", batch=9)
    def embed(runs: list[Run], pages: list[Page]) -> list[int]:
        return [page.number + 1 for page in pages]

    run_ids = enqueue(tide, [{"number": 1}, {"page": 2}, {"number": 3}])
    tide.work(drain=True, concurrency=9, reconcile=False)
    rows = [tide.runs.get(run_id) for run_id in run_ids]
    assert [row.status for row in rows] == ["completed", "failed", "completed"]
    assert (rows[1].failure_class, rows[0].result) == ("bad_input", 2)


async def test_each_handle_of_a_batch_keeps_steps_state_and_waits_of_its_own_run(
    atide: AsyncTidebase, connection: Connection
) -> None:
    called: list[int] = []

    async def one(run: AsyncRun, number: int) -> Any:
        assert current_run() is None, "the code of a batch is that of no single run"
        kept = await run.step("embed", lambda: called.append(number) or number)
        await run.state.set({"number": number})
        if number == 1:
            await run.sleep("rest", 3600)
        if number == 2 and run.attempt == 1:
            raise Retry(after=0)
        return kept

    @atide.workflow("embed", batch=9, max_attempts=2)
    async def embed(runs: list[AsyncRun], inputs: list[int]) -> list[Any]:
        return await asyncio.gather(
            *(one(run, number) for run, number in zip(runs, inputs, strict=True)),
            return_exceptions=True,
        )

    made = await atide.enqueue_many([{"workflow": embed, "input": n} for n in range(4)])
    await atide.work(drain=True, concurrency=9, reconcile=False)
    rows = [await atide.runs.get(row.run_id) for row in made]
    assert [(row.status, row.waiting_on) for row in rows] == [
        ("completed", None), ("queued", "timer"), ("completed", None), ("completed", None),
    ]  # fmt: skip
    assert [row.attempt for row in rows if row.status == "completed"] == [1, 2, 1]
    assert sorted(called) == [0, 1, 2, 3], "a step was done twice"
    assert value(connection, "select count(*) from tide.state_streams") == 4


def test_a_run_cancelled_in_a_batch_is_dropped_and_the_others_go_on(
    tide: Tidebase, background: Background, connection: Connection
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    @tide.workflow("embed", batch=3)
    def embed(runs: list[Run], inputs: list[int]) -> list[Any]:
        entered.set()
        assert go_on.wait(PATIENCE)
        assert runs[inputs.index(1)].cancelled.wait(PATIENCE)
        found: list[Any] = []
        for run, number in zip(runs, inputs, strict=True):
            try:
                found.append(run.step("keep", lambda number=number: number))
            except Stop as stop:
                assert isinstance(stop, RunCancelled)
                found.append(stop)
        return found

    run_ids = enqueue(tide, range(3))
    stop = background.start(tide, concurrency=3, lease=1)
    assert entered.wait(PATIENCE)
    tide.runs.cancel(run_ids[1])
    go_on.set()
    wait_for(connection, "select count(*) = 3 from tide.runs_finished")
    assert statuses(tide, run_ids) == ["completed", "cancelled", "completed"]
    report = stop()
    assert (report.completed, report.dropped, report.failed) == (2, 1, 0)


def test_the_end_of_one_run_that_leaves_the_function_costs_the_others_no_attempt(
    colour: Colour, tide: Tidebase
) -> None:
    def answer(runs: list[Any], inputs: list[Any]) -> list[Any]:
        if 1 in inputs:
            tide.runs.cancel(runs[inputs.index(1)].id)
            runs[inputs.index(1)]._run.interrupt(RunCancelled("cancelled"))
            raise RunCancelled("cancelled")
        return inputs

    colour.answer("embed", answer, batch=3)
    run_ids = enqueue(tide, range(3))
    report = colour.work()
    rows = [tide.runs.get(run_id) for run_id in run_ids]
    assert [row.status for row in rows] == ["completed", "cancelled", "completed"]
    assert [row.attempt for row in rows] == [1, 1, 1]
    assert (report.released, report.dropped, report.completed) == (2, 1, 2)


async def test_a_batch_whose_runs_have_all_stopped_is_cancelled(atide: AsyncTidebase) -> None:
    entered, unwound = asyncio.Event(), asyncio.Event()

    @atide.workflow("embed", batch=2)
    async def embed(runs: list[AsyncRun], inputs: list[int]) -> list[Any]:
        entered.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            unwound.set()
        return inputs

    rows = await atide.enqueue_many([{"workflow": embed, "input": n} for n in range(2)])
    worker = atide.worker(concurrency=2, lease=1, reconcile=False)
    working = asyncio.create_task(worker.run())
    await asyncio.wait_for(entered.wait(), PATIENCE)
    for row in rows:
        await atide.runs.cancel(row.run_id)
    await asyncio.wait_for(unwound.wait(), PATIENCE)
    worker.stop()
    assert (await working).dropped == 2


def test_leases_of_all_runs_of_a_batch_are_renewed(
    colour: Colour, tide: Tidebase, connection: Connection
) -> None:
    def answer(runs: list[Any], inputs: list[Any]) -> list[Any]:
        first = value(connection, "select max(leased_until) from tide.runs_active")
        wait_for(connection, "select min(leased_until) > %s from tide.runs_active", first)
        return inputs

    colour.answer("embed", answer, batch=3)
    enqueue(tide, range(3))
    assert colour.work(lease=1).completed == 3


def test_a_first_run_waits_for_more_and_no_longer_than_it_may(
    tide: Tidebase, background: Background, connection: Connection
) -> None:
    sizes: list[int] = []

    @tide.workflow("embed", batch=3, batch_wait=3600)
    def embed(runs: list[Run], inputs: list[int]) -> list[int]:
        sizes.append(len(runs))
        return inputs

    @tide.workflow("soon", batch=3, batch_wait=0.01)
    def soon(runs: list[Run], inputs: list[int]) -> list[int]:
        sizes.append(len(runs))
        return inputs

    stop = background.start(tide, concurrency=4)
    for number in range(3):
        enqueue(tide, [number])
        leased = "select count(*) = %s from tide.runs where started_at is not null"
        wait_for(connection, leased, number + 1)
    wait_for(connection, "select count(*) = 3 from tide.runs_finished")
    assert sizes == [3]
    tide.enqueue("soon")
    wait_for(connection, "select count(*) = 4 from tide.runs_finished")
    assert sizes == [3, 1]
    enqueue(tide, [4])
    wait_for(connection, "select count(*) = 5 from tide.runs where started_at is not null")
    assert stop().completed == 5, "what was gathered is begun when the worker stops"


def test_runs_of_a_dead_worker_s_batch_all_come_again(
    colour: Colour, tide: Tidebase, connection: Connection
) -> None:
    run_ids = enqueue(tide, range(3), max_attempts=2, backoff=ONCE)
    claim = "select count(*) from tide.claim(max_runs => 9, lease => '100 ms')"
    assert value(connection, claim) == 3
    wait_for(connection, "select max(leased_until) < clock_timestamp() from tide.runs_active")
    connection.execute("call tide.reconcile()")
    colour.answer("embed", lambda runs, inputs: [run.attempt for run in runs], batch=9)
    assert colour.work().completed == 3
    assert [len(batch) for batch in colour.seen] == [3]
    assert [tide.runs.get(run_id).result for run_id in run_ids] == [2, 2, 2]


def test_a_batch_workflow_run_here_is_a_batch_of_one(tide: Tidebase) -> None:
    answers: list[Any] = ["done", Fail("no")]

    @tide.workflow("embed", batch=50)
    def embed(runs: list[Run], inputs: list[Any]) -> list[Any]:
        assert (len(runs), len(inputs)) == (1, 1)
        return [answers.pop(0)]

    assert tide.run(embed) == "done"
    with pytest.raises(Fail, match="no"):
        tide.run(embed)


def test_a_worker_that_holds_fewer_runs_says_so_and_hands_over_what_it_holds(
    colour: Colour, tide: Tidebase, caplog: pytest.LogCaptureFixture
) -> None:
    colour.answer("embed", lambda runs, inputs: inputs, batch=50)
    enqueue(tide, range(4))
    assert colour.work(concurrency=2).completed == 4
    assert [len(batch) for batch in colour.seen] == [2, 2]
    assert "takes batches of 50, this worker holds 2 runs: give concurrency=50" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": 0}, "batch"),
        ({"batch": 1001}, "batch"),
        ({"batch": True}, "batch"),
        ({"batch": 2, "batch_wait": -1}, "batch_wait"),
        ({"batch_wait": 1}, "has a batch_wait and no batch"),
    ],
)
def test_sizes_and_waits_that_cannot_be_are_named(
    tide: Tidebase, options: dict[str, Any], said: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        tide.workflow("embed", **options)(lambda runs, inputs: inputs)
