"""A graph of LangGraph that asks a model, asks whether to refund, and pays.

pip install 'tidebase-pg[langgraph]'
tidebase-pg work clerk_langgraph:tide --lease 5s
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from world import demonstrate, note, pay

from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.langgraph import AsyncTideSaver, run_graph, step_node


class Refund(TypedDict, total=False):
    order: int
    key: str
    cents: int
    approved: bool
    answer: str


def price(state: Refund) -> Refund:
    """What a model would find out."""
    note("asked 1")
    return {"cents": 500}


def approve(state: Refund) -> Refund:
    return {"approved": interrupt({"order": state["order"], "cents": state["cents"]})}


async def refund(state: Refund) -> Refund:
    if not state["approved"]:
        return {"answer": "We are sorry."}
    await pay(state["cents"], state["key"])
    return {"answer": "You get 5.00 back."}


def graph_of(key: str) -> StateGraph[Any]:
    """The graph of one run: its refund is a step with a key, the same in every attempt."""
    builder = StateGraph(Refund)
    builder.add_node("price", step_node(price))
    builder.add_node("approve", approve)
    builder.add_node("refund", step_node(refund, side_effects=["bank"], idempotency_key=key))
    builder.add_edge(START, "price")
    builder.add_edge("price", "approve")
    builder.add_edge("approve", "refund")
    builder.add_edge("refund", END)
    return builder


tide = AsyncTidebase()


@tide.workflow("clerk", max_attempts=3)
async def clerk(run: AsyncRun, input: dict[str, Any]) -> str:
    key = f"refund:{run.id}"
    async with AsyncTideSaver.from_conn_string(os.environ["TIDEBASE_DSN"]) as saver:
        await saver.setup()
        graph = graph_of(key).compile(checkpointer=saver)
        values = await run_graph(run, graph, {"order": input["order"], "key": key})
    return str(values["answer"])


if __name__ == "__main__":
    asyncio.run(demonstrate(tide, clerk))
