"""What programs of agents do to a run: loops, branches, handlers of all errors, types, logs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import Connection, value
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    Fail,
    InputMismatch,
    LeaseLost,
    RateLimited,
    Retry,
    Run,
    RunLogFilter,
    Snooze,
    StepInProgress,
    Stop,
    Tidebase,
    current_run,
)

AT_ONCE = {"base": 0, "max": 0, "jitter": 0}


@dataclass
class Plan:
    topic: str
    pages: int


def test_a_handler_of_all_errors_lets_a_parked_run_go(tide: Tidebase) -> None:
    handled: list[Exception] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        for _ in range(3):
            try:
                return run.gate("refund", "Refund?").approved
            except Exception as error:
                handled.append(error)
        return None

    run_id = tide.enqueue(w).run_id
    assert tide.work(drain=True).dropped == 1
    assert (handled, tide.runs.get(run_id).waiting_on) == ([], "gate")


async def test_a_handler_of_all_errors_lets_a_parked_async_run_go(atide: AsyncTidebase) -> None:
    handled: list[Exception] = []

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        try:
            return (await run.gate("refund", "Refund?")).approved
        except Exception as error:
            handled.append(error)
            return None

    run_id = (await atide.enqueue(w)).run_id
    assert (await atide.work(drain=True)).dropped == 1
    assert (handled, (await atide.runs.get(run_id)).waiting_on) == ([], "gate")


def test_code_that_swallows_its_end_is_given_up(tide: Tidebase) -> None:
    over = threading.Event()  # what is abandoned here would go on beside the other tests

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        while not over.is_set():
            try:
                run.gate("never", "?")
            except BaseException:
                continue

    run_id = tide.enqueue(w).run_id
    try:
        assert tide.work(drain=True).dropped == 1
    finally:
        over.set()
    assert tide.runs.get(run_id).waiting_on == "gate"


async def test_async_code_that_swallows_its_end_is_given_up(atide: AsyncTidebase) -> None:
    over = threading.Event()

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        while not over.is_set():
            try:
                await run.gate("never", "?")
            except BaseException:
                continue

    await atide.enqueue(w)
    try:
        async with asyncio.timeout(60):
            assert (await atide.work(drain=True)).dropped == 1
    finally:
        over.set()


async def test_branches_that_race_for_a_name_are_refused_unless_told_apart(
    atide: AsyncTidebase,
) -> None:
    async def answer(what: Any) -> Any:
        return what

    @atide.workflow("race")
    async def race(run: AsyncRun, input: Any) -> Any:
        await asyncio.gather(*(run.step("llm", lambda n=n: answer(n)) for n in range(2)))

    @atide.workflow("apart", max_attempts=2)
    async def apart(run: AsyncRun, input: Any) -> Any:
        order = range(3) if run.attempt == 1 else reversed(range(3))
        by_key = await asyncio.gather(
            *(run.step("page", lambda n=n: answer([run.attempt, n]), key=str(n)) for n in order)
        )
        order = range(3) if run.attempt == 1 else reversed(range(3))
        by_input = await asyncio.gather(
            *(run.step("fetch", lambda n=n: answer([run.attempt, n]), input=n) for n in order)
        )
        if run.attempt == 1:
            raise Retry(after=0)
        return [sorted(by_key), sorted(by_input)]

    raced = (await atide.enqueue(race)).run_id
    told = (await atide.enqueue(apart)).run_id
    await atide.work(drain=True, concurrency=2)
    assert (await atide.runs.get(raced)).error["type"] == StepInProgress.__name__
    first = [[1, 0], [1, 1], [1, 2]]
    assert (await atide.runs.get(told)).result == [first, first]


def test_threads_that_race_for_a_name_are_refused(tide: Tidebase) -> None:
    refused: list[BaseException] = []

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        run.step("llm", lambda: 1)

        def branch() -> None:
            try:
                run.step("llm", lambda: 2)
            except StepInProgress as error:
                refused.append(error)

        thread = threading.Thread(target=branch)
        thread.start()
        thread.join()

    tide.enqueue(w)
    tide.work(drain=True)
    assert len(refused) == 1


async def test_a_step_under_way_ends_before_its_run_parks(atide: AsyncTidebase) -> None:
    paid: list[str] = []
    begun, parks = asyncio.Event(), asyncio.Event()

    @atide.workflow("w", max_attempts=2)
    async def w(run: AsyncRun, input: Any) -> Any:
        async def mail() -> str:
            paid.append("sent")
            begun.set()
            await parks.wait()
            await asyncio.sleep(0.05)
            return "sent"

        async def ask() -> bool:
            await begun.wait()
            parks.set()
            return (await run.gate("go", "Go?")).approved

        return await asyncio.gather(run.step("mail", mail, side_effects=["email.send"]), ask())

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).waiting_on == "gate"
    (gate,) = await atide.gates.pending()
    await atide.gates.decide(gate.gate_id, "approved", "ann")
    await atide.work(drain=True)
    assert ((await atide.runs.get(run_id)).result, paid) == (["sent", True], ["sent"])


def test_a_step_gives_what_a_replay_will_give(tide: Tidebase) -> None:
    seen: list[Any] = []

    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Plan) -> Any:
        assert input == Plan("tides", 3)
        seen.append(
            [
                run.step("tuple", lambda: (1, (2,))),
                run.step("keys", lambda: {1: 0.5}),
                run.step("typed", lambda: Plan("moon", 2), returns=Plan),
                run.step("untyped", lambda: Plan("moon", 2)),
            ]
        )
        if run.attempt == 1:
            raise Retry(after=0)

    run_id = tide.enqueue(w, input={"topic": "tides", "pages": 3}).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).status == "completed"
    assert seen[0] == seen[1]
    assert seen[0] == [[1, [2]], {"1": 0.5}, Plan("moon", 2), {"topic": "moon", "pages": 2}]


@pytest.mark.parametrize("output", [{1, 2}, b"bytes"])
def test_a_step_whose_output_cannot_be_kept_is_paid_for_once(tide: Tidebase, output: Any) -> None:
    paid: list[int] = []

    @tide.workflow("w", max_attempts=3)
    def w(run: Run, input: Any) -> Any:
        run.step("call", lambda: paid.append(1) or output)

    run_id = tide.enqueue(w, backoff=AT_ONCE).run_id
    tide.work(drain=True)
    row = tide.runs.get(run_id)
    assert (row.status, row.failure_class, paid) == ("failed", "bad_output", [1])


def test_keys_that_become_one_are_refused(tide: Tidebase) -> None:
    with pytest.raises(ValueError, match=r"the keys 1 and '1' become one"):
        tide.enqueue("w", input={"a": {1: "x", "1": "y"}})


async def test_a_verdict_counts_within_a_group_and_the_group_is_recorded(
    atide: AsyncTidebase,
) -> None:
    @atide.workflow("w", max_attempts=3)
    async def w(run: AsyncRun, input: Any) -> Any:
        async def broken() -> None:
            try:
                raise ValueError("no such customer")
            except ValueError as error:
                error.add_note("while looking them up")
                raise Fail("bad order", failure_class="bad_order") from error

        async with asyncio.TaskGroup() as group:
            group.create_task(broken())

    run_id = (await atide.enqueue(w)).run_id
    await atide.work(drain=True)
    row = await atide.runs.get(run_id)
    assert (row.status, row.attempt, row.failure_class) == ("failed", 1, "bad_order")
    (member,) = row.error["errors"]
    assert member["cause"]["message"] == "no such customer"
    assert member["cause"]["notes"] == ["while looking them up"]


def test_a_verdict_counts_within_a_group(tide: Tidebase) -> None:
    @tide.workflow("w", max_attempts=3)
    def w(run: Run, input: Any) -> Any:
        raise ExceptionGroup(
            "two branches", [ValueError("one"), Fail("bad order", failure_class="bad_order")]
        )

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    row = tide.runs.get(run_id)
    assert (row.status, row.attempt, row.failure_class) == ("failed", 1, "bad_order")
    assert [member["message"] for member in row.error["errors"]] == ["one", "bad order"]


def test_threads_that_an_ended_attempt_left_behind_begin_nothing(tide: Tidebase) -> None:
    called: list[int] = []
    refused: list[BaseException] = []
    left: list[threading.Thread] = []
    ended = threading.Event()

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        def branch() -> None:
            ended.wait()
            try:
                run.step("late", lambda: called.append(1))
            except Stop as error:
                refused.append(error)

        left.append(threading.Thread(target=branch))
        left[0].start()
        raise ValueError("boom")

    tide.enqueue(w)
    tide.work(drain=True)
    ended.set()
    left[0].join()
    assert (called, len(refused)) == ([], 1)


def test_a_snooze_costs_no_attempt(tide: Tidebase, connection: Connection) -> None:
    tries: list[int] = []

    @tide.workflow("w", max_attempts=1)
    def w(run: Run, input: Any) -> Any:
        tries.append(run.attempt)
        if len(tries) < 3:
            run.snooze(0)
        return "there"

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert (tide.runs.get(run_id).result, tries) == ("there", [1, 1, 1])
    with pytest.raises(ValueError, match="out of range"):
        Snooze(after=-1)


def test_a_rate_limit_throttles_the_lane_of_the_run_and_costs_no_attempt(tide: Tidebase) -> None:
    tries: list[tuple[str, int]] = []
    tide.lanes.set("openai")

    def ask(name: str) -> str:
        if not tries:
            tries.append((name, 1))
            raise RateLimited("429", after=600)
        return name

    @tide.workflow("w", max_attempts=1)
    def w(run: Run, input: Any) -> Any:
        answer = run.step("ask", lambda: ask(input))
        tries.append((answer, run.attempt))
        return answer

    run_ids = [tide.enqueue(w, input=name, lane="openai").run_id for name in ("a", "b")]
    outside = tide.enqueue(w, input="c").run_id
    tide.work(drain=True, concurrency=1)
    assert tries == [("a", 1), ("c", 1)]
    (listed,) = tide.lanes.list()
    assert listed.throttle_reason == "429"
    assert listed.throttled_until is not None
    assert timedelta(0) < listed.throttled_until - datetime.now(UTC) <= timedelta(seconds=600)
    tide.lanes.lift("openai")
    tide.work(drain=True, concurrency=1)
    assert [tide.runs.get(run_id).result for run_id in [*run_ids, outside]] == ["a", "b", "c"]
    assert tries[2:] == [("a", 1), ("b", 1)]


def test_a_rate_limit_halves_an_adaptive_limit_and_completed_runs_raise_it(tide: Tidebase) -> None:
    refused: list[str] = []
    tide.lanes.set("openai", total=8, adaptive=True)

    @tide.workflow("w", max_attempts=1)
    def w(run: Run, input: Any) -> Any:
        if not refused:
            refused.append(input)
            raise RateLimited("429", after=0)
        return input

    run_ids = [tide.enqueue(w, input=str(number), lane="openai").run_id for number in range(12)]
    tide.work(drain=True, concurrency=1)
    assert [tide.runs.get(run_id).result for run_id in run_ids] == [str(n) for n in range(12)]
    (listed,) = tide.lanes.list()
    # Four completed, then five; of the round of six three.
    assert (listed.total, listed.adaptive, listed.adaptive_limit) == (8, True, 6)


def test_of_branches_that_are_rate_limited_together_the_longest_wait_counts(
    tide: Tidebase,
) -> None:
    tide.lanes.set("openai")

    @tide.workflow("w")
    def w(run: Run, input: Any) -> None:
        errors = [Snooze(after=9), *(RateLimited(name, after=len(name)) for name in ("a", "bc"))]
        raise ExceptionGroup("branches", errors)

    run_id = tide.enqueue(w, lane="openai").run_id
    tide.work(drain=True)
    assert tide.lanes.list()[0].throttle_reason == "bc"
    tide.lanes.throttle("openai", timedelta(hours=1), reason="by hand")
    assert tide.lanes.list()[0].throttle_reason == "by hand"
    assert tide.runs.get(run_id).attempt == 0


def test_a_rate_limit_ends_after_a_length_or_at_a_time() -> None:
    assert RateLimited(after=2.5).after == timedelta(seconds=2.5)
    assert RateLimited(after=timedelta(minutes=2)).after == timedelta(minutes=2)
    minute = RateLimited(after=datetime.now(UTC) + timedelta(minutes=1)).after
    assert timedelta(seconds=30) < minute <= timedelta(minutes=1)
    assert RateLimited(after=datetime(2000, 1, 1, tzinfo=UTC)).after == timedelta(0)
    for wrong in (-1, float("nan"), 10**400, timedelta(days=366), datetime.max.replace(tzinfo=UTC)):
        with pytest.raises(ValueError, match="after"):
            RateLimited(after=wrong)
    with pytest.raises(ValueError, match="after"):
        RateLimited(after=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="after"):
        RateLimited(after="soon")  # type: ignore[arg-type]


async def test_branches_of_an_ended_attempt_begin_nothing(atide: AsyncTidebase) -> None:
    called: list[int] = []
    refused: list[BaseException] = []
    ended = asyncio.Event()

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        async def branch() -> None:
            await ended.wait()
            try:
                await run.step("late", lambda: called.append(1))
            except Stop as error:
                refused.append(error)

        run.tasks = [asyncio.create_task(branch())]  # type: ignore[attr-defined]
        left.extend(run.tasks)  # type: ignore[attr-defined]
        raise ValueError("boom")

    left: list[asyncio.Task[None]] = []
    await atide.enqueue(w)
    await atide.work(drain=True)
    ended.set()
    await asyncio.gather(*left)
    assert (called, len(refused)) == ([], 1)


@pytest.mark.parametrize("colour", ["async def", "def"])
async def test_a_forgotten_await_fails_the_run_and_says_so(
    atide: AsyncTidebase, colour: str
) -> None:
    async def forgetful(run: AsyncRun, input: Any) -> Any:
        run.step("charge", lambda: 1)

    def plain(run: AsyncRun, input: Any) -> Any:
        run.step("charge", lambda: 1)

    function: Callable[..., Any] = forgetful if colour == "async def" else plain
    atide.workflow("w")(function)
    run_id = (await atide.enqueue("w")).run_id
    await atide.work(drain=True)
    row = await atide.runs.get(run_id)
    assert row.status == "failed"
    assert "never awaited" in row.error["message"]


def test_an_awaitable_from_a_function_that_is_not_async_is_refused(tide: Tidebase) -> None:
    async def model() -> str:
        return "answer"

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("call", model)

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    assert "AsyncTidebase" in tide.runs.get(run_id).error["message"]


def test_helpers_and_logs_know_the_run(tide: Tidebase, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("shop")
    caplog.handler.addFilter(RunLogFilter())
    order: list[str] = []

    @tide.around_run
    def around_run(run: Run, proceed: Callable[[], Any]) -> Any:
        order.append("run begins")
        try:
            return proceed()
        finally:
            order.append("run ends")

    @tide.around_step
    def around_step(run: Run, name: str, proceed: Callable[[], Any]) -> Any:
        order.append(f"step {name}")
        return proceed()

    def helper() -> str:
        log.warning("charging")
        return str(current_run().id)

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("charge", helper)

    run_id = tide.enqueue(w).run_id
    tide.work(drain=True)
    (record,) = [record for record in caplog.records if record.name == "shop"]
    assert tide.runs.get(run_id).result == str(run_id)
    assert (record.run_id, record.step) == (str(run_id), "charge")  # type: ignore[attr-defined]
    assert order == ["run begins", "step charge", "run ends"]
    assert current_run() is None


def test_a_step_that_middleware_holds_up_beyond_the_lease_is_not_executed(tide: Tidebase) -> None:
    executed: list[str] = []
    raised: list[Stop] = []

    @tide.around_step
    def around_step(run: Run, name: str, proceed: Callable[[], Any]) -> Any:
        run._run.renewed_at -= 61.0
        try:
            return proceed()
        except Stop as stop:
            raised.append(stop)
            raise

    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("charge", lambda: executed.append("charge"))

    tide.enqueue(w)
    assert tide.work(drain=True, lease=60).dropped == 1
    assert (executed, [type(stop) for stop in raised]) == ([], [LeaseLost])


async def test_a_step_that_middleware_holds_up_is_not_executed_for_asyncio(
    atide: AsyncTidebase,
) -> None:
    executed: list[str] = []
    raised: list[Stop] = []

    @atide.around_step
    async def around_step(run: AsyncRun, name: str, proceed: Callable[[], Any]) -> Any:
        run._run.renewed_at -= 61.0
        try:
            return await proceed()
        except Stop as stop:
            raised.append(stop)
            raise

    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        async def charge() -> None:
            executed.append("charge")

        return await run.step("charge", charge)

    await atide.enqueue(w)
    assert (await atide.work(drain=True, lease=60)).dropped == 1
    assert (executed, [type(stop) for stop in raised]) == ([], [LeaseLost])


def test_an_id_used_again_with_another_input_is_refused(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return input

    run_id = tide.runs.create("w", input={"n": 1}).run_id
    with pytest.raises(InputMismatch):
        tide.run(w, run_id=run_id, input={"n": 2})
    with pytest.raises(InputMismatch):
        tide.runs.attach("w", run_id, input={"n": 2})
    assert tide.run(w, run_id=run_id) == {"n": 1}


def test_a_queue_that_refuses_a_worker_stops_no_other(
    tide: Tidebase, connection: Connection, direct_dsn: str
) -> None:
    connection.execute("create role picky login in role tide_worker")
    connection.execute("create role owner_of_a")
    try:
        with Tidebase(f"{direct_dsn}&user=picky") as worker:

            @worker.workflow("w")
            def w(run: Run, input: Any) -> Any:
                return "done"

            closed = tide.enqueue("w", queue="a").run_id
            opened = tide.enqueue("w", queue="b").run_id
            tide.queues.grant("a", "owner_of_a", verbs=["claim"])
            report = worker.work(queues=["a", "b"], max_runs=1)
            assert report.completed == 1
            assert (tide.runs.get(opened).status, tide.runs.get(closed).status) == (
                "completed",
                "queued",
            )
    finally:
        connection.execute("drop owned by picky, owner_of_a; drop role picky, owner_of_a")
    assert value(connection, "select count(*) from pg_roles where rolname = 'picky'") == 0


@dataclass
class Query:
    """What a workflow asks for."""

    text: str
    tags: list[str]


def test_what_is_handed_over_may_be_of_the_types_that_come_back(tide: Tidebase) -> None:
    @tide.workflow("part", queue="q")
    def part(run: Run, input: Query) -> Query:
        return Query(input.text.upper(), input.tags)

    @tide.workflow("whole", queue="q")
    def whole(run: Run, input: Query) -> Any:
        same = run.step("same", lambda: input, input=input, returns=Query)
        with run.begin_step("begun", input=input, returns=Query) as step:
            step.complete(Query("begun", []))
        made = run.child(part, input=same)
        return [made["text"], step.output.text, same == input]

    query = Query("tides", ["a"])
    (many,) = tide.enqueue_many([{"workflow": whole, "input": query}])
    one = tide.enqueue(whole, input=query)
    tide.work(drain=True, queues=["q"])
    for run_id in (one.run_id, many.run_id):
        assert tide.runs.get(run_id).result == ["TIDES", "begun", True]
    assert tide.run(whole, input=query) == ["TIDES", "begun", True]


async def test_what_is_handed_over_may_be_of_the_types_that_come_back_to_asyncio(
    atide: AsyncTidebase,
) -> None:
    @atide.workflow("w", queue="q")
    async def w(run: AsyncRun, input: Query) -> Any:
        same = await run.step("same", lambda: input, input=input, returns=Query)
        return [same == input, input.tags]

    run_id = (await atide.enqueue(w, input=Query("tides", ["a"]))).run_id
    await atide.work(drain=True, queues=["q"])
    assert (await atide.runs.get(run_id)).result == [True, ["a"]]
    assert await atide.run(w, input=Query("moon", [])) == [True, []]


def test_a_codec_of_the_application_is_asked_for_everything(dsn: str) -> None:
    class Reversed:
        def dump(self, value: Any, what: str) -> Any:
            return {"text": value[::-1]} if isinstance(value, str) else value

        def load(self, value: Any, kind: Any, what: str) -> Any:
            return value["text"][::-1] if isinstance(value, dict) else value

    with Tidebase(dsn, codec=Reversed()) as tide:

        @tide.workflow("w", queue="q")
        def w(run: Run, input: str) -> str:
            return run.step("s", lambda: input + "!")

        run_id = tide.enqueue(w, input="abc").run_id
        tide.work(drain=True)
        run = tide.runs.get(run_id)
        assert (run.input, run.result) == ({"text": "cba"}, {"text": "!cba"})
