"""OpenAI Agents in runs: answers and calls are made once, approvals park the run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("agents.testing", reason="run: make test-agents")

from agents import Agent, ModelResponse, Runner, function_tool, set_tracing_disabled
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from agents.usage import Usage

from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.openai_agents import durable_tool, run_agent

set_tracing_disabled(True)


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


def clerk(paid: list[Any], asked: list[Any]) -> Agent[Any]:
    @function_tool
    def find(number: int) -> str:
        paid.append(("find", number))
        return f"order {number}"

    @function_tool(needs_approval=True)
    def refund(cents: int) -> str:
        paid.append(("refund", cents))
        return "refunded"

    def answer(call: ModelCall) -> Any:
        """By what the model is shown, so that a later attempt goes on in the middle."""
        asked.append(call.input)
        done = sum(
            isinstance(i, dict) and i.get("type") == "function_call_output" for i in call.input
        )
        turns = [
            function_call("find", {"number": 7}, call_id="c1"),
            function_call("refund", {"cents": 500}, call_id="c2"),
            assistant_message("All done."),
        ]
        return ModelResponse(
            output=[turns[done]],
            usage=Usage(requests=1, input_tokens=10, output_tokens=2, total_tokens=12),
            response_id=None,
        )

    model = ScriptedModel([ModelStep.respond(answer)] * 4)
    tools = [durable_tool(find), durable_tool(refund, side_effects=["card"])]
    return Agent(name="clerk", model=model, tools=tools)


def register(tide: AsyncTidebase, paid: list[Any], asked: list[Any]) -> None:
    @tide.workflow("ask", max_attempts=3)
    async def ask(run: AsyncRun, input: Any) -> Any:
        output = (await run_agent(run, clerk(paid, asked), input)).final_output
        if run.attempt == 1:
            raise OSError("once more")
        return output


@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_an_approval_parks_the_run_and_nothing_is_done_twice(
    atide: AsyncTidebase, decision: Any
) -> None:
    paid: list[Any] = []
    asked: list[Any] = []
    register(atide, paid, asked)
    backoff = {"base": 0, "jitter": 0}
    run_id = (await atide.enqueue("ask", input="Refund order 7.", backoff=backoff)).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).waiting_on == "gate"
    (gate,) = await atide.gates.pending()
    assert gate.data == {"tool": "refund", "arguments": {"cents": 500}}
    await atide.gates.decide(gate.gate_id, decision, "ann")
    await atide.work(drain=True)
    row = await atide.runs.get(run_id)
    assert (row.status, row.result, row.attempt) == ("completed", "All done.", 2)
    refunds = [("refund", 500)] if decision == "approved" else []
    assert paid == [("find", 7), *refunds]
    assert len(asked) == 3
    used = await atide.runs.usage(run_id)
    assert [(u.step, u.input_tokens) for u in used] == [
        ("model", 10),
        ("model#2", 10),
        ("model#3", 10),
    ]


async def test_outside_of_a_run_the_agent_is_a_plain_agent() -> None:
    paid: list[Any] = []
    result = await Runner.run(clerk(paid, []), "Refund order 7.")
    assert len(result.interruptions) == 1
    assert paid == [("find", 7)]


async def test_another_question_never_gets_the_answer_of_the_first(atide: AsyncTidebase) -> None:
    @atide.workflow("ask", max_attempts=2)
    async def ask(run: AsyncRun, input: Any) -> Any:
        answer = f"answer {run.attempt}"
        agent = Agent[Any](name="a", model=ScriptedModel([[assistant_message(answer)]]))
        result = await run_agent(run, agent, f"question {run.attempt}")
        if run.attempt == 1:
            raise OSError("once more")
        return result.final_output

    run_id = (await atide.enqueue("ask", backoff={"base": 0, "jitter": 0})).run_id
    await atide.work(drain=True)
    row = await atide.runs.get(run_id)
    assert (row.status, row.result) == ("completed", "answer 2")
