"""Models of OpenAI Agents whose answers are steps, streamed or not."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias, cast

from agents import (
    Agent,
    AgentOutputSchemaBase,
    Handoff,
    Model,
    ModelBehaviorError,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    MultiProvider,
    RawResponsesStreamEvent,
    StreamEvent,
    Tool,
    TResponseInputItem,
    Usage,
)
from agents.items import TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputItemDoneEvent,
    ResponseTextDeltaEvent,
    ResponseUsage,
)
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from tidebase_pg import AsyncRun
from tidebase_pg.errors import BadPayload

OnEvent: TypeAlias = Callable[[StreamEvent], Awaitable[None]]
FAILURES: Final = frozenset({"response.incomplete", "response.failed", "response.error", "error"})
_RESPONSE: Final = TypeAdapter(ModelResponse)
_USAGE: Final = TypeAdapter(Usage)


class Scope:
    """One call of `run_agent`: the run, names of its steps, and where its answers are streamed."""

    def __init__(self, run: AsyncRun, stream: str | None, on_event: OnEvent | None) -> None:
        self.run = run
        self.stream = stream
        self.on_event = on_event
        self._names = Counter[str]()

    @property
    def streams(self) -> bool:
        return self.stream is not None or self.on_event is not None

    def name(self, name: str) -> str:
        self._names[name] += 1
        number = self._names[name]
        return name if number == 1 else f"{name}#{number}"


class DurableModel(Model):
    """Asks another model, each time in a step."""

    def __init__(self, scope: Scope, inner: Model) -> None:
        self._scope = scope
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
        async def ask() -> ModelResponse:
            return await self._inner.get_response(
                system_instructions,
                input,
                model_settings,
                tools,
                output_schema,
                handoffs,
                tracing,
                **options,
            )

        return await self._step(ask, system_instructions, input, tools)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        **options: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """The whole answer as one event, what comes before it goes out while the step runs: so it
        belongs to the step, and a later attempt does not say it again."""

        async def ask() -> ModelResponse:
            return await self._listen(
                self._inner.stream_response(
                    system_instructions,
                    input,
                    model_settings,
                    tools,
                    output_schema,
                    handoffs,
                    tracing,
                    **options,
                )
            )

        yield _completed(await self._step(ask, system_instructions, input, tools), self._model)

    async def _step(
        self,
        ask: Callable[[], Awaitable[ModelResponse]],
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        tools: list[Tool],
    ) -> ModelResponse:
        name = self._scope.name("model")

        async def once() -> Any:
            response = await ask()
            self._scope.run.usage.add(
                kind="llm",
                model=self._model,
                input_tokens=response.usage.input_tokens,
                output_tokens=response.usage.output_tokens,
            )
            return _RESPONSE.dump_python(response, mode="json")

        asked = [system_instructions, input, [tool.name for tool in tools]]
        kept = await self._scope.run.step(name, once, input=_fingerprint(asked, name))
        return _RESPONSE.validate_python(kept)

    async def _listen(self, events: AsyncIterator[TResponseStreamEvent]) -> ModelResponse:
        out = None if self._scope.stream is None else self._scope.run.stream(self._scope.stream)
        done: list[Any] = []
        async for event in events:
            if event.type in FAILURES:
                raise ModelBehaviorError(f"the answer of the model ended with {event.type}")
            if isinstance(event, ResponseCompletedEvent):
                return _answer(event.response, done)
            if isinstance(event, ResponseOutputItemDoneEvent):
                done.append(event.item)
            if out is not None and isinstance(event, ResponseTextDeltaEvent):
                await out.write(event.delta)
            if self._scope.on_event is not None:
                await self._scope.on_event(RawResponsesStreamEvent(data=event))
        raise ModelBehaviorError("the answer of the model ended before it was complete")

    @property
    def _model(self) -> str:
        return str(getattr(self._inner, "model", type(self._inner).__name__))


def _answer(response: Response, done: list[Any]) -> ModelResponse:
    """What a streamed answer is, as one that was not streamed."""
    used = response.usage
    return ModelResponse(
        output=list(response.output or done),
        usage=Usage()
        if used is None
        else _USAGE.validate_python({"requests": 1, **used.model_dump(mode="json")}),
        response_id=cast("str | None", response.id),
        request_id=getattr(response, "_request_id", None),  # set by real clients only
    )


def _completed(response: ModelResponse, model: str) -> ResponseCompletedEvent:
    """What is kept of an answer, as the last event of a stream."""
    used = response.usage
    whole = Response.model_construct(
        id=response.response_id,
        created_at=0,
        model=model,
        object="response",
        output=response.output,
        parallel_tool_calls=False,
        status="completed",
        tool_choice="auto",
        tools=[],
        usage=ResponseUsage.model_validate(_USAGE.dump_python(used, mode="json")),
    )
    if response.request_id is not None:
        whole._request_id = response.request_id
    return ResponseCompletedEvent.model_construct(
        type="response.completed", response=whole, sequence_number=0
    )


class DurableProvider(ModelProvider):
    """The models of another provider, each asked in steps."""

    def __init__(self, scope: Scope, inner: ModelProvider | None) -> None:
        self._scope = scope
        self._inner = inner or MultiProvider()

    def get_model(self, model_name: str | None) -> Model:
        return DurableModel(self._scope, self._inner.get_model(model_name))


def with_durable_model(
    scope: Scope, agent: Agent[Any], seen: dict[int, Agent[Any]] | None = None
) -> Agent[Any]:
    """The agent, and those it hands over to, with models that ask once."""
    seen = {} if seen is None else seen
    if id(agent) in seen:
        return seen[id(agent)]
    model = agent.model
    durable = agent.clone(model=DurableModel(scope, model) if isinstance(model, Model) else model)
    seen[id(agent)] = durable
    durable.handoffs = [
        with_durable_model(scope, other, seen) if isinstance(other, Agent) else other
        for other in agent.handoffs
    ]
    return durable


def _fingerprint(asked: Any, name: str) -> dict[str, str]:
    try:
        text = json.dumps(to_jsonable_python(asked, exclude_none=True), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise BadPayload(f"what step {name!r} asks cannot be written as JSON: {error}") from error
    return {"sha256": hashlib.sha256(text.encode()).hexdigest()}
