"""An agent of pydantic-ai-harness that finds an order, notes it down, pays, and remembers.

pip install 'tidebase-pg[harness]'
python clerk_harness.py
"""

from __future__ import annotations

import asyncio
import os

from pydantic_ai import Agent, ModelMessage, ModelResponse, RunContext, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_harness import Memory
from pydantic_ai_harness.step_persistence import RunRecord, StepPersistence
from world import note, pay

from tidebase_pg.agents.harness import TideMemoryStore, TideStepStore

REPEATABLE = {"find_order", "refund"}
"""Tools that may be called again when what they returned is not kept: one reads, and the bank pays
once for each key."""


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """What a model would answer: three calls of tools, one after the other, then a text. What it
    is asked later it answers from its memory."""
    turn = sum(isinstance(message, ModelResponse) for message in messages)
    note(f"asked {turn + 1}")
    if "What broke?" in repr(messages):
        remembers = "The kite of order 7 broke." in repr(messages)
        return ModelResponse(parts=[TextPart("A kite." if remembers else "I do not know.")])
    calls: list[tuple[str, dict[str, object]]] = [
        ("find_order", {"number": 7}),
        ("write_memory", {"file": "MEMORY.md", "content": "The kite of order 7 broke."}),
        ("refund", {"cents": 500}),
    ]
    if turn < len(calls):
        tool, arguments = calls[turn]
        return ModelResponse(parts=[ToolCallPart(tool, arguments, tool_call_id=f"call-{turn}")])
    return ModelResponse(parts=[TextPart("You get 5.00 back.")])


# With a model of a provider it would be Agent("openai:gpt-5", …); nothing else changes.
agent = Agent(FunctionModel(scripted), name="clerk")


@agent.tool_plain
def find_order(number: int) -> str:
    note(f"found {number}")
    return f"order {number}: one kite, 5.00"


@agent.tool
async def refund(context: RunContext, cents: int) -> str:
    return await pay(cents, f"{context.conversation_id}:{context.tool_call_id}")


async def history(steps: TideStepStore, conversation: str) -> list[ModelMessage]:
    """How far a conversation has come, in whatever process."""
    runs = await steps.list_runs(conversation_id=conversation)
    so_far: list[ModelMessage] = []
    for run in reversed(runs):
        newest = await steps.latest_snapshot(run_id=run.run_id, include_interrupted=True)
        if newest is not None:
            so_far = newest.messages
            break
    if so_far and isinstance(so_far[-1], ModelResponse):
        for call in so_far[-1].tool_calls:
            if call.tool_name not in REPEATABLE:
                await refuse_if_begun(steps, runs, call)
    return so_far


async def refuse_if_begun(steps: TideStepStore, runs: list[RunRecord], call: ToolCallPart) -> None:
    for run in runs:
        given = {"run_id": run.run_id, "tool_call_id": call.tool_call_id}
        if await steps.get_tool_effect(**given) is not None:
            raise SystemExit(f"a person has to look: {call.tool_name} was begun in {run.run_id}")


async def answer(
    steps: TideStepStore, memories: TideMemoryStore, conversation: str, question: str
) -> str:
    """Ask the agent, or go on where a process that was killed has left the conversation."""
    so_far = await history(steps, conversation)
    match so_far:
        case [*_, ModelResponse(parts=[TextPart(content)])]:
            return content
    # With its frontiers, also the answer of the model whose tool was not done is kept.
    capabilities = [StepPersistence(store=steps, capture_frontier=True), Memory(memories)]
    given = {"message_history": so_far} if so_far else {"user_prompt": question}
    result = await agent.run(**given, conversation_id=conversation, capabilities=capabilities)
    return result.output


async def main() -> None:
    dsn = os.environ["TIDEBASE_DSN"]
    async with (
        TideStepStore.from_conn_string(dsn) as steps,
        TideMemoryStore.from_conn_string(dsn) as memories,
    ):
        await steps.setup()
        print(await answer(steps, memories, "order-7", "The kite of order 7 came in two."))
        print(await answer(steps, memories, "later", "What broke?"))


if __name__ == "__main__":
    asyncio.run(main())
