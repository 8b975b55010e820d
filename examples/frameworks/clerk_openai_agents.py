"""An agent of the OpenAI Agents SDK that finds an order, asks whether to refund it, and pays.

pip install 'tidebase-pg[openai-agents]'
tidebase-pg work clerk_openai_agents:tide --lease 5s
"""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, function_tool, set_tracing_disabled
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from world import demonstrate, note, pay

from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.openai_agents import durable_tool, run_agent

set_tracing_disabled(True)  # it would send traces to OpenAI


def scripted(call: ModelCall) -> list[Any]:
    """What a model would answer: two calls of tools, one after the other, then a text."""
    answers = [item for item in call.input if isinstance(item, dict) and "output" in item]
    note(f"asked {len(answers) + 1}")
    turns = [
        function_call("find_order", {"number": 7}, call_id="call-0"),
        function_call("refund", {"cents": 500}, call_id="call-1"),
        assistant_message("You get 5.00 back."),
    ]
    return [turns[len(answers)]]


@function_tool
def find_order(number: int) -> str:
    note(f"found {number}")
    return f"order {number}: one kite, 5.00"


def made_for(run: AsyncRun) -> Agent[Any]:
    """The agent of one run: its refund has a key that is the same in every attempt."""
    key = f"refund:{run.id}"

    @function_tool(needs_approval=True)
    async def refund(cents: int) -> str:
        return await pay(cents, key)

    # With a model of OpenAI it would be model="gpt-5"; nothing else changes.
    model = ScriptedModel([ModelStep.respond(scripted)] * 3)
    tools = [
        durable_tool(find_order),
        durable_tool(refund, side_effects=["bank"], idempotency_key=key),
    ]
    return Agent(name="clerk", model=model, tools=tools)


tide = AsyncTidebase()


@tide.workflow("clerk", max_attempts=3)
async def clerk(run: AsyncRun, input: dict[str, Any]) -> str:
    question = f"The kite of order {input['order']} broke."
    return str((await run_agent(run, made_for(run), question)).final_output)


if __name__ == "__main__":
    asyncio.run(demonstrate(tide, clerk))
