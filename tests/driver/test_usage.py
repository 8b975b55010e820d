"""Usage and budgets: counted once, and a step beyond the budget parks the run."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    BadPayload,
    InvalidArgument,
    Run,
    RunCancelled,
    RunParked,
    Tidebase,
)
from tidebase_pg.client import execute as client


def test_usage_is_recorded_and_listed(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        row = run.usage.record(
            kind="llm", model="m", input_tokens=3, output_tokens=2**40, cost_usd=0.1, step="s"
        )
        assert (row.total_tokens, row.cost_usd) == (2**40 + 3, Decimal("0.1"))
        run.usage.record(quantity=Decimal("1.5"), unit="pages", request_key="k")
        run.usage.record(quantity=Decimal("1.5"), unit="pages", request_key="k")
        assert [one.kind for one in run.usage.list()] == ["llm", "custom"]
    assert len(tide.runs.usage(run.id)) == 2
    assert tide.runs.describe(run.id)["usage"]["cost_usd"] == 0.1


async def test_async_usage_is_recorded_and_listed(atide: AsyncTidebase) -> None:
    async with await atide.runs.attach("w") as run:
        await run.usage.record(input_tokens=3, metadata={"a": 1})
        (row,) = await run.usage.list()
        assert (row.total_tokens, row.metadata) == (3, {"a": 1})


def test_usage_whose_answer_was_lost_counts_once(
    tide: Tidebase, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    perform = client.perform

    def losing(connection: Any, call: Any, meeting: Any) -> Any:
        answer = perform(connection, call, meeting)
        if call.name == "record_usage" and not lost:
            lost.append(call.name)
            raise psycopg.OperationalError("the answer was lost")
        return answer

    monkeypatch.setattr(client, "perform", losing)
    with tide.runs.attach("w") as run:
        run.usage.record(cost_usd=1)
        assert len(run.usage.list()) == 1
    assert lost == ["record_usage"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"input_tokens": -1}, InvalidArgument, "input_tokens"),
        ({"cost_usd": -0.1}, InvalidArgument, "cost_usd"),
        ({"cost_usd": float("nan")}, ValueError, "cost_usd"),
        ({"output_tokens": 2**63}, ValueError, "output_tokens"),
        ({"output_tokens": 1.5}, TypeError, "output_tokens"),
        ({"quantity": "many"}, TypeError, "quantity"),
        ({"kind": ""}, InvalidArgument, "kind"),
    ],
)
def test_wrong_usage_is_refused(
    tide: Tidebase, options: Any, error: type[Exception], words: str
) -> None:
    with tide.runs.attach("w") as run:
        with pytest.raises(error, match=words):
            run.usage.record(**options)
        assert run.usage.list() == []


def test_a_step_beyond_the_budget_parks_the_run_until_it_is_raised(tide: Tidebase) -> None:
    called: list[str] = []

    @tide.workflow("w", budget={"max_cost_usd": 1})
    def w(run: Run, input: Any) -> Any:
        def spend(name: str) -> None:
            called.append(name)
            run.usage.record(cost_usd=0.6, request_key=name)

        for name in ("one", "two", "three"):
            run.step(name, lambda name=name: spend(name))
        return "done"

    run_id = tide.enqueue(w).run_id
    assert tide.work(drain=True).dropped == 1
    row = tide.runs.get(run_id)
    assert (row.waiting_on, row.attempt, row.budget) == ("budget", 0, {"max_cost_usd": 1})
    assert called == ["one", "two"]
    (reason,) = tide.runs.explain_wait(run_id)["reasons"]
    assert reason["reason"] == "budget"
    tide.runs.set_budget(run_id, {"max_cost_usd": 2})
    tide.work(drain=True)
    assert (tide.runs.get(run_id).result, called) == ("done", ["one", "two", "three"])


async def test_an_async_run_parks_at_the_budget_of_its_queue(atide: AsyncTidebase) -> None:
    @atide.workflow("w")
    async def w(run: AsyncRun, input: Any) -> Any:
        await run.step("one", lambda: None)
        await run.step("two", lambda: None)
        return "done"

    await atide.queues.configure("default", budget={"max_steps": 1})
    run_id = (await atide.enqueue(w)).run_id
    assert (await atide.work(drain=True)).dropped == 1
    assert (await atide.runs.get(run_id)).waiting_on == "budget"
    await atide.runs.set_budget(run_id, None)
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == "done"


def test_children_charge_the_budget_of_their_parent(tide: Tidebase) -> None:
    @tide.workflow("child")
    def child(run: Run, input: Any) -> Any:
        run.step("spend", lambda: run.usage.record(input_tokens=100).request_key)

    @tide.workflow("parent")
    def parent(run: Run, input: Any) -> Any:
        run.child("child", queue="default")
        run.step("after", lambda: None)

    run_id = tide.enqueue(parent, budget={"max_tokens": 100}).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).waiting_on == "budget"


def test_a_run_inline_is_parked_at_its_budget_and_taken_up_again(tide: Tidebase) -> None:
    @tide.workflow("w")
    def w(run: Run, input: Any) -> Any:
        return run.step("one", lambda: "done")

    run_id = tide.runs.create("w", budget={"max_steps": 0}).run_id
    with pytest.raises(RunParked, match="budget"):
        tide.run(w, run_id=run_id)
    tide.runs.set_budget(run_id, {"max_steps": 1})
    assert tide.run(w, run_id=run_id) == "done"


@pytest.mark.parametrize("budget", [{"max_steps": -1}, {"max_cost": 1}, {"max_tokens": "x"}])
def test_a_wrong_budget_is_refused(tide: Tidebase, budget: Any) -> None:
    with pytest.raises(InvalidArgument, match="max_"):
        tide.enqueue("w", budget=budget)
    with pytest.raises(InvalidArgument, match="max_"):
        tide.queues.configure("q", budget=budget)


def test_what_a_step_used_is_recorded_with_its_end_and_counts_once(tide: Tidebase) -> None:
    @tide.workflow("w", max_attempts=2)
    def work(run: Run, input: Any) -> int:
        def ask() -> int:
            run.usage.add(kind="llm", model="m", input_tokens=3, cost_usd=Decimal("0.1"))
            run.usage.add(quantity=Decimal("1.5"), unit="pages")
            return 7

        answer = run.step("ask", ask)
        with run.begin_step("open") as step:
            if not step.done:
                run.usage.add(step="open", total_tokens=1)
                step.complete(8)
        with run.transaction("tx") as tx:
            if not tx.done:
                run.usage.add(step="tx", total_tokens=2)
                tx.complete(9)
        if run.attempt == 1:
            raise OSError("once more")
        return answer

    run_id = tide.enqueue(work, backoff={"base": 0, "jitter": 0}).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == 7
    rows = tide.runs.usage(run_id)
    assert [(row.step, row.kind, row.total_tokens, row.quantity) for row in rows] == [
        ("ask", "llm", 3, None),
        ("ask", "custom", None, Decimal("1.5")),
        ("open", "custom", 1, None),
        ("tx", "custom", 2, None),
    ]
    assert rows[0].cost_usd == Decimal("0.1")


async def test_a_step_that_fails_is_repeated_or_returns_no_json_has_used_what_it_used(
    atide: AsyncTidebase,
) -> None:
    @atide.workflow("w", max_attempts=1)
    async def work(run: AsyncRun, input: Any) -> Any:
        tries: list[int] = []

        async def flaky() -> str:
            tries.append(1)
            run.usage.add(total_tokens=len(tries))
            if len(tries) == 1:
                raise OSError("once more")
            return "done"

        await run.step("flaky", flaky, retries=1, retry_delay=0)

        def unstorable() -> Any:
            run.usage.add(total_tokens=3)
            return object()

        await run.step("unstorable", unstorable)

    run_id = (await atide.enqueue(work)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).status == "failed"
    assert [row.total_tokens for row in await atide.runs.usage(run_id)] == [1, 2, 3]


@pytest.mark.parametrize("inline", [True, False])
def test_a_run_cancelled_in_mid_step_has_used_what_it_used(tide: Tidebase, inline: bool) -> None:
    @tide.workflow("w")
    def work(run: Run, input: Any) -> Any:
        def ask() -> None:
            run.usage.add(total_tokens=3)
            tide.runs.cancel(run.id)

        ids.append(run.id)
        return run.step("ask", ask)

    ids: list[Any] = []
    if inline:
        with pytest.raises(RunCancelled):
            tide.run(work)
    else:
        tide.enqueue(work)
        tide.work(drain=True)
    (run_id,) = ids
    assert tide.runs.get(run_id).status == "cancelled"
    assert [(row.step, row.total_tokens) for row in tide.runs.usage(run_id)] == [("ask", 3)]


def test_usage_of_a_step_of_a_run_with_a_budget_is_charged(tide: Tidebase) -> None:
    @tide.workflow("w", budget={"max_tokens": 5})
    def work(run: Run, input: Any) -> Any:
        for number in range(4):
            run.step(f"{number}", lambda: run.usage.add(total_tokens=3))

    run_id = tide.enqueue(work).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).waiting_on == "budget"
    assert [row.step for row in tide.runs.usage(run_id)] == ["0", "1"]


def test_bad_usage_of_a_step_is_named_and_fails_the_step(tide: Tidebase) -> None:
    @tide.workflow("w", max_attempts=1)
    def work(run: Run, input: Any) -> Any:
        with pytest.raises(BadPayload, match="what a run used cannot be stored"):
            run.usage.add(metadata={"a": object()})
        with pytest.raises(BadPayload, match="what step 's' used cannot be stored"):
            run.usage.add(step="s", metadata={"a": object()})
        with pytest.raises(BadPayload, match="what step 's' used cannot be stored"):
            run.usage.add(step="s", cost_usd=float("nan"))
        run.step("ask", lambda: run.usage.add(total_tokens=-3))

    run_id = tide.enqueue(work).run_id
    tide.work(drain=True)
    row = tide.runs.get(run_id)
    assert row.status == "failed"
    assert "total_tokens is out of range: -3" in row.error["message"]
    assert tide.runs.usage(run_id) == []


def test_a_session_left_in_mid_step_has_used_what_it_used(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        run.usage.add(step="no such step", total_tokens=1)

        def ask() -> None:
            run.usage.add(total_tokens=3)
            tide.runs.cancel(run.id)

        with pytest.raises(RunCancelled):
            run.step("ask", ask)
    rows = tide.runs.usage(run.id)
    assert sorted((row.step, row.total_tokens) for row in rows) == [("ask", 3), ("no such step", 1)]


def lane_used(tide: Tidebase) -> int | None:
    return tide.lanes.list()[0].used


@pytest.mark.parametrize("inline", [True, False])
def test_a_workflow_without_steps_settles_its_lane_with_its_end(
    tide: Tidebase, inline: bool
) -> None:
    tide.lanes.set("llm", units=1000, unit="tokens", period=3600)

    @tide.workflow("ask", lane="llm", lane_cost=100)
    def ask(run: Run, input: Any) -> str:
        run.usage.add(kind="llm", input_tokens=20, output_tokens=5)
        run.usage.add(total_tokens=5)
        if input.get("fails"):
            raise OSError("away")
        if input.get("snoozes") and run.usage.list() == []:
            run.snooze(0)
        return "hello"

    if inline:
        assert tide.run(ask, input={"x": 1}) == "hello"
        return
    done = tide.enqueue(ask, input={"x": 1}).run_id
    failed = tide.enqueue(ask, input={"fails": True}, max_attempts=1).run_id
    twice = tide.enqueue(ask, input={"snoozes": True}).run_id
    tide.work(drain=True)
    assert lane_used(tide) == 4 * 30
    assert [row.total_tokens for row in tide.runs.usage(done)] == [25, 5]
    assert [row.total_tokens for row in tide.runs.usage(failed)] == [25, 5]
    assert [row.total_tokens for row in tide.runs.usage(twice)] == [25, 5, 25, 5]
    assert {row.step for row in tide.runs.usage(done)} == {None}


async def test_an_async_workflow_without_steps_settles_its_lane_with_its_end(
    atide: AsyncTidebase,
) -> None:
    await atide.lanes.set("llm", units=1000, unit="tokens", period=3600)

    @atide.workflow("ask", lane="llm", lane_cost=100)
    async def ask(run: AsyncRun, input: Any) -> str:
        run.usage.add(total_tokens=30)
        return "hello"

    run_id = (await atide.enqueue(ask)).run_id
    await atide.work(drain=True)
    assert (await atide.lanes.list())[0].used == 30
    assert [row.total_tokens for row in await atide.runs.usage(run_id)] == [30]


def test_what_was_used_between_steps_is_recorded_before_the_run_is_parked(tide: Tidebase) -> None:
    tide.lanes.set("llm", units=1000, unit="tokens", period=3600)

    @tide.workflow("ask", lane="llm", lane_cost=100)
    def ask(run: Run, input: Any) -> None:
        run.usage.add(total_tokens=30)
        run.wait_event("go")

    run_id = tide.enqueue(ask).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).waiting_on == "event"
    assert [row.total_tokens for row in tide.runs.usage(run_id)] == [30]
    assert lane_used(tide) == 30
    tide.send_event(run_id, "go")
    tide.work(drain=True)
    assert tide.runs.get(run_id).status == "completed"
    assert [row.total_tokens for row in tide.runs.usage(run_id)] == [30, 30]


@pytest.mark.parametrize("inline", [True, False])
def test_a_run_cancelled_between_steps_has_used_what_it_used(tide: Tidebase, inline: bool) -> None:
    @tide.workflow("w")
    def work(run: Run, input: Any) -> None:
        ids.append(run.id)
        run.usage.add(total_tokens=3)
        tide.runs.cancel(run.id)
        if input.get("notices"):
            run.heartbeat()

    ids: list[Any] = []
    for notices in (True, False):
        if inline:
            with pytest.raises(RunCancelled):
                tide.run(work, input={"notices": notices})
        else:
            tide.enqueue(work, input={"notices": notices})
            tide.work(drain=True)
        assert [row.total_tokens for row in tide.runs.usage(ids[-1])] == [3]


def test_runs_with_budgets_report_what_they_used_one_by_one(tide: Tidebase) -> None:
    @tide.workflow("w", budget={"max_tokens": 50})
    def work(run: Run, input: Any) -> int:
        run.usage.add(total_tokens=3)
        return 7

    runs = [tide.enqueue(work).run_id for _ in range(20)]
    report = tide.work(drain=True, concurrency=8)
    assert report.completed == 20
    assert {tide.runs.get(run_id).result for run_id in runs} == {7}
    assert [len(tide.runs.usage(run_id)) for run_id in runs] == [1] * 20


def test_amounts_that_cannot_be_fail_the_run_and_what_can_be_is_recorded(tide: Tidebase) -> None:
    @tide.workflow("w", max_attempts=1)
    def work(run: Run, input: Any) -> int:
        run.usage.add(total_tokens=3)
        run.usage.add(total_tokens=-3)
        return 7

    run_id = tide.enqueue(work).run_id
    tide.work(drain=True)
    row = tide.runs.get(run_id)
    assert (row.status, row.failure_class) == ("failed", "bad_output")
    assert "amount used" in row.error["message"]
    assert [row.total_tokens for row in tide.runs.usage(run_id)] == [3]
    with pytest.raises(InvalidArgument, match="total_tokens"):
        tide.run(work)


def test_a_session_that_ends_without_a_word_has_used_what_it_used(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        run.usage.add(total_tokens=3)
    with tide.runs.attach("w") as other:
        other.usage.add(total_tokens=4)
        other.complete(7)
    assert [row.total_tokens for row in tide.runs.usage(run.id)] == [3]
    assert [row.total_tokens for row in tide.runs.usage(other.id)] == [4]
