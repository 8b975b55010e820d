"""Agents of OpenAI's SDK as parts of runs: calls of tools are steps, approvals are gates."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from agents import (
    Agent,
    FunctionTool,
    Model,
    RunConfig,
    Runner,
    RunResult,
    RunResultStreaming,
    RunState,
    TResponseInputItem,
)

from tidebase_pg import AsyncRun
from tidebase_pg.agents.openai_agents.models import (
    DurableModel,
    DurableProvider,
    OnEvent,
    Scope,
    with_durable_model,
)
from tidebase_pg.agents.openai_agents.sessions import DurableSession, TideSession
from tidebase_pg.errors import BadPayload, CollidingKeys, Fail, PayloadTooLarge

PROMPT: Final = "May the agent call this tool?"


async def run_agent(
    run: AsyncRun,
    agent: Agent[Any],
    input: str | list[TResponseInputItem],
    *,
    run_config: RunConfig | None = None,
    session: TideSession | None = None,
    stream: str | None = None,
    on_event: OnEvent | None = None,
    prompt: str = PROMPT,
    gate: Mapping[str, Any] | None = None,
    **options: Any,
) -> RunResult | RunResultStreaming:
    """Run an agent as part of a run, and return its result.

    Each answer of a model is a step, and so is each call of a tool that `durable_tool` made. A
    tool that needs approval parks the run on a gate that shows tool and arguments. A later attempt
    gets all that from the steps. `options` go to `Runner.run`, `gate` to `run.gate`.

    With `session` the agent knows what was said before, and what this run adds is added once.
    With `stream` the text of answers goes to that stream of the run while it comes. `on_event` is
    awaited with each event of `Runner.run_streamed`; of an answer that a later attempt has from
    its step it gets the whole only.

    >>> result = await run_agent(run, agent, input["question"], stream="out")
    """
    scope = Scope(run, stream, on_event)
    config = dataclasses.replace(
        run_config or RunConfig(),
        model_provider=DurableProvider(scope, (run_config or RunConfig()).model_provider),
    )
    if isinstance(config.model, Model):
        config = dataclasses.replace(config, model=DurableModel(scope, config.model))
    durable = with_durable_model(scope, agent)
    options |= {"run_config": config}
    if session is not None:
        if not isinstance(session, TideSession):
            raise TypeError(
                f"run_agent takes a TideSession and no {type(session).__name__}: a later attempt "
                "must find what was said before this one"
            )
        options["session"] = await DurableSession.begin(run, session)
    context = _Context(run, options.pop("context", None))
    result = await _turns(scope, durable, input, context=context, **options)
    while result.interruptions:
        state = result.to_state()
        for item in result.interruptions:
            raw: Any = item.raw_item
            call_id = raw.get("call_id") if isinstance(raw, dict) else raw.call_id
            arguments = raw.get("arguments") if isinstance(raw, dict) else raw.arguments
            decision = await run.gate(
                f"approve {item.name} {call_id}",
                prompt,
                data={"tool": item.name, "arguments": _parsed(arguments)},
                **dict(gate or {}),
            )
            if decision.approved:
                state.approve(item)
            else:
                reason = decision.payload.get("reason") if decision.payload else None
                state.reject(item, rejection_message=reason)
        result = await _turns(scope, durable, state, **options)
    return result


async def _turns(
    scope: Scope,
    agent: Agent[Any],
    input: str | list[TResponseInputItem] | RunState[Any],
    **options: Any,
) -> RunResult | RunResultStreaming:
    """Up to the agent's last answer, or to calls that need approval."""
    if not scope.streams:
        return await Runner.run(agent, input, **options)
    streamed = Runner.run_streamed(agent, input, **options)
    try:
        async for event in streamed.stream_events():
            if scope.on_event is not None:
                await scope.on_event(event)
    finally:
        streamed.cancel()  # who listens has failed: nothing more is asked
    return streamed


def durable_tool(tool: FunctionTool, **options: Any) -> FunctionTool:
    """A tool whose calls are steps, with the contract of `run.step`; outside of `run_agent` it is
    the tool as it was.

    >>> tools = [durable_tool(refund, side_effects=["card"]), search]
    """
    invoke = tool.on_invoke_tool

    async def durably(context: Any, arguments: str) -> Any:
        given: Any = context.context
        if not isinstance(given, _Context):
            return await invoke(context, arguments)

        async def once() -> Any:
            return await invoke(context, arguments)

        name = f"{tool.name}[{context.tool_call_id}]"
        try:
            return await given.run.step(name, once, input=_parsed(arguments), **options)
        except CollidingKeys:
            raise  # another attempt may have other keys
        except (BadPayload, PayloadTooLarge) as error:
            # The SDK makes an error of its own of it; it will not become JSON by being done again.
            raise Fail(f"step {name!r}: {error}", failure_class="bad_output") from error

    return dataclasses.replace(tool, on_invoke_tool=durably)


class _Context:
    """What tools are given: the attributes of the application's own context, and the run."""

    def __init__(self, run: AsyncRun, own: Any) -> None:
        self.run = run
        self.own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["own"], name)


def _parsed(arguments: str | None) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments
