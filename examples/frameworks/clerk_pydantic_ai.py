"""An agent of pydantic-ai that finds an order, asks whether to refund it, and pays.

pip install 'tidebase-pg[pydantic-ai]'
tidebase-pg work clerk_pydantic_ai:tide --lease 5s
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from world import demonstrate, note, pay

from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.pydantic_ai import (
    TideApprovals,
    TideDurability,
    idempotency_key,
    running,
)


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """What a model would answer: two calls of tools, one after the other, then a text."""
    turn = sum(isinstance(message, ModelResponse) for message in messages)
    note(f"asked {turn + 1}")
    calls = [("find_order", {"number": 7}), ("refund", {"cents": 500})]
    if turn < len(calls):
        tool, arguments = calls[turn]
        return ModelResponse(parts=[ToolCallPart(tool, arguments, tool_call_id=f"call-{turn}")])
    return ModelResponse(parts=[TextPart("You get 5.00 back.")])


# With a model of a provider it would be Agent("openai:gpt-5", …); nothing else changes.
agent = Agent(
    FunctionModel(scripted), name="clerk", capabilities=[TideDurability(), TideApprovals()]
)


@agent.tool_plain
def find_order(number: int) -> str:
    note(f"found {number}")
    return f"order {number}: one kite, 5.00"


KEYED = {"tidebase": {"side_effects": ["bank"], "idempotency_key": True}}


@agent.tool_plain(requires_approval=True, metadata=KEYED)
async def refund(cents: int) -> str:
    return await pay(cents, idempotency_key())


tide = AsyncTidebase()


@tide.workflow("clerk", max_attempts=3)
async def clerk(run: AsyncRun, input: dict[str, Any]) -> str:
    with running(run):
        return (await agent.run(f"The kite of order {input['order']} broke.")).output


if __name__ == "__main__":
    asyncio.run(demonstrate(tide, clerk))
