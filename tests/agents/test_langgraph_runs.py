"""Graphs inside runs: parked at an interrupt, resumed by a decision, and no node paid for twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph.graph", reason="run: make test-agents")

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from tests.agents.kills import ANSWERED, STARTED, Log, killed
from tests.support import Clock
from tidebase_pg import AsyncRun, AsyncTidebase, Tidebase
from tidebase_pg.agents.langgraph import AsyncTideSaver, TideSaver, run_graph, step_node


class Order(TypedDict, total=False):
    item: str
    approved: Any
    message: Any


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


def ordering(log: Log, saver: Any) -> Any:
    def price(state: Order) -> Order:
        log.note("price")
        return {"message": AIMessage("5.00")}

    async def approve(state: Order) -> Order:
        return {"approved": interrupt({"item": state["item"], "price": state["message"].content})}

    async def charge(state: Order) -> Order:
        log.note("charge")
        return {"message": AIMessage(f"charged: {state['approved']}")}

    builder = StateGraph(Order)
    builder.add_node("price", step_node(price))
    builder.add_node("approve", approve)
    builder.add_node("charge", step_node(charge, side_effects=["card"], idempotency_key="k"))
    builder.add_edge(START, "price")
    builder.add_edge("price", "approve")
    builder.add_edge("approve", "charge")
    builder.add_edge("charge", END)
    return builder.compile(checkpointer=saver)


def register(tide: AsyncTidebase, saver: Any, log: Log, **config: Any) -> None:
    @tide.workflow("order", max_attempts=5)
    async def order(run: AsyncRun, input: Any) -> Any:
        values = await run_graph(run, ordering(log, saver), {"item": input}, **config)
        if run.attempt == 1 and input == "twice":
            raise OSError("once more")
        return [values["approved"], values["message"].content]


@pytest.mark.parametrize(
    ("decision", "payload", "resumed"),
    [
        ("approved", None, True),
        ("rejected", None, False),
        ("approved", {"answer": "cheaper"}, "cheaper"),
        ("approved", {"discount": 1}, {"discount": 1}),
    ],
)
async def test_an_interrupt_parks_the_run_and_the_decision_resumes_the_graph(
    atide: AsyncTidebase, dsn: str, tmp_path: Path, decision: Any, payload: Any, resumed: Any
) -> None:
    log = Log(tmp_path / "log")
    async with AsyncTideSaver.from_conn_string(dsn) as saver:
        await saver.setup()
        register(atide, saver, log)
        run_id = (await atide.enqueue("order", input="kite")).run_id
        await atide.work(drain=True)
        assert (await atide.runs.get(run_id)).waiting_on == "gate"
        (gate,) = await atide.gates.pending()
        assert gate.data == {"item": "kite", "price": "5.00"}
        await atide.gates.decide(gate.gate_id, decision, "ann", payload=payload)
        await atide.work(drain=True)
        row = await atide.runs.get(run_id)
    assert row.result == [resumed, f"charged: {resumed}"]
    assert log.lines() == ["price", "charge"]


async def test_a_conversation_of_many_runs_is_one_thread(
    atide: AsyncTidebase, dsn: str, tmp_path: Path
) -> None:
    log = Log(tmp_path / "log")
    async with AsyncTideSaver.from_conn_string(dsn) as saver:
        await saver.setup()
        register(atide, saver, log, config={"configurable": {"thread_id": "ann"}})
        for item in ("kite", "twice"):
            backoff = {"base": 0, "jitter": 0}
            run_id = (await atide.enqueue("order", input=item, backoff=backoff)).run_id
            await atide.work(drain=True)
            (gate,) = await atide.gates.pending()
            assert gate.data["item"] == item
            await atide.gates.decide(gate.gate_id, "approved", "ann")
            await atide.work(drain=True)
            assert (await atide.runs.get(run_id)).status == "completed"
        history = [found async for found in saver.alist({"configurable": {"thread_id": "ann"}})]
    assert log.lines() == ["price", "charge"] * 2
    assert {found.metadata["tide_run"] for found in history} > {str(run_id)}  # type: ignore[typeddict-item]


async def test_outside_of_a_run_the_graph_is_a_plain_graph(dsn: str, tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    async with AsyncTideSaver.from_conn_string(dsn) as saver:
        await saver.setup()
        graph = ordering(log, saver)
        config: Any = {"configurable": {"thread_id": "t"}}
        assert "__interrupt__" in await graph.ainvoke({"item": "kite"}, config)
    assert log.lines() == ["price"]


@pytest.mark.parametrize("moment", [STARTED, ANSWERED])
def test_killed_at_any_statement_no_completed_node_is_executed_again(
    direct_dsn: str, hour: Clock, moment: str, tmp_path: Path
) -> None:
    with TideSaver.from_conn_string(direct_dsn) as plain:
        plain.setup()

    async def work(dsn: str, log: Log) -> None:
        async with AsyncTidebase(dsn) as tide, AsyncTideSaver.from_conn_string(dsn) as saver:
            register(tide, saver, log)
            await tide.work(drain=True, lease=60)

    with Tidebase(direct_dsn) as tide:
        for number in range(2, 200, 3):
            log = Log(tmp_path / f"{number}")
            run_id = tide.enqueue("order", input="kite", max_attempts=5).run_id
            died = killed(direct_dsn, (number, moment), lambda dsn, log=log: work(dsn, log))
            committed = {
                step["name"].partition(":")[0]
                for step in tide.runs.describe(run_id)["steps"]
                if step["status"] == "completed"
            }
            before = Counter(log.lines())
            for _ in range(2):
                hour.advance(timedelta(minutes=2))
                tide.reconcile()
                hour.advance(timedelta(minutes=10))
                asyncio.run(work(direct_dsn, log))
                for gate in tide.gates.pending():
                    tide.gates.decide(gate.gate_id, "approved", "ann")
                asyncio.run(work(direct_dsn, log))
            after = Counter(log.lines())
            row = tide.runs.get(run_id)
            assert row.result == [True, "charged: True"], (number, row.error)
            assert all(after[node] == before[node] == 1 for node in committed), (number, after)
            assert sum(after.values()) <= 3, (number, after)
            if not died:
                break
    assert not died


async def test_nodes_of_two_threads_in_one_run_are_steps_of_their_own(
    atide: AsyncTidebase, dsn: str, tmp_path: Path
) -> None:
    log = Log(tmp_path / "log")

    async def count(state: Order) -> Order:
        log.note(state["item"])
        return {"item": state["item"] + "!"}

    async with AsyncTideSaver.from_conn_string(dsn) as saver:
        await saver.setup()
        builder = StateGraph(Order)
        builder.add_node("count", step_node(count))
        builder.add_edge(START, "count")
        builder.add_edge("count", END)
        graph = builder.compile(checkpointer=saver)

        @atide.workflow("two")
        async def two(run: AsyncRun, input: Any) -> Any:
            found = [
                await run_graph(
                    run, graph, {"item": item}, config={"configurable": {"thread_id": item}}
                )
                for item in ("a", "b")
            ]
            return [values["item"] for values in found]

        run_id = (await atide.enqueue(two)).run_id
        await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == ["a!", "b!"]
    assert log.lines() == ["a", "b"]
