"""What a framework hands over and no database can keep is named, with its place and a remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("agents.testing", reason="run: make test-agents")

from agents import Agent, function_tool, set_tracing_disabled
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from tidebase_pg import AsyncRun, AsyncTidebase
from tidebase_pg.agents.openai_agents import durable_tool, run_agent

set_tracing_disabled(True)


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


def agent_of(tool: Any, arguments: Any, asked: list[Any]) -> Agent[Any]:
    def answer(call: ModelCall) -> Any:
        asked.append(len(call.input))
        answered = any(isinstance(i, dict) and "output" in i for i in call.input)
        said = assistant_message("Done.")
        return [said if answered else function_call("act", arguments, call_id="c1")]

    return Agent(name="a", model=ScriptedModel([ModelStep.respond(answer)] * 3), tools=[tool])


async def failed(tide: AsyncTidebase, tool: Any, arguments: Any) -> tuple[str, int, list[Any]]:
    """The error of a run whose agent calls the tool, its attempts, and what the model was asked."""
    asked: list[Any] = []

    @tide.workflow("ask", max_attempts=3)
    async def ask(run: AsyncRun, input: Any) -> Any:
        return (await run_agent(run, agent_of(tool, arguments, asked), "Act.")).final_output

    run_id = (await tide.enqueue("ask", backoff={"base": 0, "jitter": 0})).run_id
    await tide.work(drain=True)
    row = await tide.runs.get(run_id)
    assert row.status == "failed", row
    assert row.error is not None
    return str(row.error["message"]), row.attempt, asked


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b"\x00\xff", "bytes; store it elsewhere, or as base64 text"),
        (object(), "store dicts, lists, text and numbers only"),
        ("a\0b", "holds a NUL character; remove it"),
        ("x" * 20_000_000, "max_payload_bytes"),
    ],
    ids=["bytes", "object", "nul", "20 MB"],
)
async def test_what_a_tool_returns_and_cannot_be_kept_fails_the_run_once(
    atide: AsyncTidebase, output: Any, words: str
) -> None:
    done: list[int] = []

    @function_tool
    def act(number: int) -> Any:
        done.append(number)
        return output

    message, attempts, asked = await failed(atide, durable_tool(act), {"number": 7})
    assert words in message, message
    assert "act[c1]" in message, message
    assert (attempts, done, asked) == (1, [7], [1])


@pytest.mark.parametrize("approval", [False, True])
async def test_arguments_that_cannot_be_kept_are_named_before_the_tool_is_called(
    atide: AsyncTidebase, approval: bool
) -> None:
    done: list[Any] = []

    @function_tool(needs_approval=approval)
    def act(text: str) -> str:
        done.append(text)
        return "done"

    tool = durable_tool(act, side_effects=["card"])
    message, _, _ = await failed(atide, tool, '{"text": "a\\u0000b"}')
    assert "NUL character; remove it" in message, message
    assert "$.text" in message or "$.arguments.text" in message, message
    assert "act" in message, message
    assert done == []
