"""OpenAI Agents inside runs: model answers and tool calls are steps, approvals are gates."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from agents import (
    Agent,
    AgentOutputSchemaBase,
    FunctionTool,
    Handoff,
    Model,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    MultiProvider,
    RunConfig,
    Runner,
    RunResult,
    Tool,
    TResponseInputItem,
)
from agents.items import TResponseStreamEvent
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from tidebase_pg import AsyncRun
from tidebase_pg.errors import BadPayload

__all__ = ["durable_tool", "run_agent"]

PROMPT: Final = "May the agent call this tool?"
_RESPONSE: Final = TypeAdapter(ModelResponse)


async def run_agent(
    run: AsyncRun,
    agent: Agent[Any],
    input: str | list[TResponseInputItem],
    *,
    run_config: RunConfig | None = None,
    prompt: str = PROMPT,
    gate: Mapping[str, Any] | None = None,
    **options: Any,
) -> RunResult:
    """Run an agent as part of a run, and return its result.

    Each answer of a model is a step, and so is each call of a tool that `durable_tool` made. A
    tool that needs approval parks the run on a gate that shows tool and arguments. A later attempt
    gets all that from the steps. `options` go to `Runner.run`, `gate` to `run.gate`.

    >>> result = await run_agent(run, agent, input["question"])
    """
    names = Counter[str]()
    config = dataclasses.replace(
        run_config or RunConfig(),
        model_provider=_Provider(run, names, (run_config or RunConfig()).model_provider),
    )
    if isinstance(config.model, Model):
        config = dataclasses.replace(config, model=_DurableModel(run, names, config.model))
    durable = _with_durable_model(run, names, agent, {})
    for_tools = _Context(run, options.pop("context", None))
    result = await Runner.run(durable, input, run_config=config, context=for_tools, **options)
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
        result = await Runner.run(durable, state, run_config=config, **options)
    return result


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
        return await given.run.step(name, once, input=_parsed(arguments), **options)

    return dataclasses.replace(tool, on_invoke_tool=durably)


class _Context:
    """What tools are given: the attributes of the application's own context, and the run."""

    def __init__(self, run: AsyncRun, own: Any) -> None:
        self.run = run
        self.own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["own"], name)


class _DurableModel(Model):
    def __init__(self, run: AsyncRun, names: Counter[str], inner: Model) -> None:
        self._run = run
        self._names = names
        self._inner = inner

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        **options: Any,
    ) -> ModelResponse:
        self._names["model"] += 1
        number = self._names["model"]
        name = "model" if number == 1 else f"model#{number}"

        async def ask() -> Any:
            response = await self._inner.get_response(
                system_instructions,
                input,
                model_settings,
                tools,
                output_schema,
                handoffs,
                tracing,
                **options,
            )
            usage = response.usage
            model = str(getattr(self._inner, "model", type(self._inner).__name__))
            self._run.usage.add(
                kind="llm",
                model=model,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
            )
            return _RESPONSE.dump_python(response, mode="json")

        asked = [system_instructions, input, [tool.name for tool in tools]]
        kept = await self._run.step(name, ask, input=_fingerprint(asked, name))
        return _RESPONSE.validate_python(kept)

    def stream_response(self, *args: Any, **options: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise NotImplementedError(
            "run_agent does not stream: write to run.stream from a tool or after an answer"
        )


class _Provider(ModelProvider):
    def __init__(self, run: AsyncRun, names: Counter[str], inner: ModelProvider | None) -> None:
        self._run = run
        self._names = names
        self._inner = inner or MultiProvider()

    def get_model(self, model_name: str | None) -> Model:
        return _DurableModel(self._run, self._names, self._inner.get_model(model_name))


def _with_durable_model(
    run: AsyncRun, names: Counter[str], agent: Agent[Any], seen: dict[int, Agent[Any]]
) -> Agent[Any]:
    """The agent, and those it hands over to, with models that ask once."""
    if id(agent) in seen:
        return seen[id(agent)]
    model = agent.model
    durable = agent.clone(
        model=_DurableModel(run, names, model) if isinstance(model, Model) else model
    )
    seen[id(agent)] = durable
    durable.handoffs = [
        _with_durable_model(run, names, other, seen) if isinstance(other, Agent) else other
        for other in agent.handoffs
    ]
    return durable


def _parsed(arguments: str | None) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _fingerprint(asked: Any, name: str) -> dict[str, str]:
    try:
        text = json.dumps(to_jsonable_python(asked, exclude_none=True), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise BadPayload(f"what step {name!r} asks cannot be written as JSON: {error}") from error
    return {"sha256": hashlib.sha256(text.encode()).hexdigest()}
