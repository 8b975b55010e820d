"""pydantic-ai agents as durable runs: each model request and tool call is a step of the run."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final, Literal, TypeAlias, cast
from weakref import WeakKeyDictionary

from pydantic import JsonValue, TypeAdapter
from pydantic_ai.agent import AbstractAgent, EventStreamHandler
from pydantic_ai.capabilities.abstract import AbstractCapability, WrapRunHandler
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationId,
    ExternalEventError,
    ExternalEventWaiter,
    JournalCallableOperationBackend,
    ModelRequestId,
    RoleBasedOperationConfig,
    conversation_id_from_run_id,
    external_event_scope,
)
from pydantic_ai.models import Model
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import (
    AgentDepsT,
    DeferredToolRequests,
    DeferredToolResults,
    RunContext,
    ToolDenied,
)
from pydantic_ai.toolsets import ToolsetTool
from pydantic_core import to_jsonable_python

from tidebase_pg import AsyncRun, AsyncTidebase, Run
from tidebase_pg.errors import BadPayload, Fail, Stop
from tidebase_pg.types import GateRow
from tidebase_pg.values import RunId

AnyRun: TypeAlias = AsyncRun | Run
StepOptions: TypeAlias = Mapping[str, Any]
"""Options of `run.step`: side_effects, idempotency_key, replay, retries, timeout…"""

ANSWER: Final = "answer"
REASON: Final = "reason"
VOLATILE: Final = frozenset({"timestamp", "run_id", "conversation_id"})
"""What differs from one attempt to the next and says nothing about the request."""

_RESULTS: Final = TypeAdapter(DeferredToolResults)
_run: ContextVar[AnyRun | None] = ContextVar("tidebase_agent_run", default=None)
_agent_run: ContextVar[_AgentRun | None] = ContextVar("tidebase_agent_scope", default=None)
_key: ContextVar[str | None] = ContextVar("tidebase_idempotency_key", default=None)
_agent_runs: WeakKeyDictionary[Any, Counter[str]] = WeakKeyDictionary()


@contextmanager
def running(run: AnyRun) -> Generator[None]:
    """Agents run in this block are part of the run; outside of one they run as ever.

    >>> with running(run):
    ...     result = await agent.run("When is high tide?")
    """
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


def idempotency_key() -> str | None:
    """The key of the tool call that is being executed, the same in every attempt; None where its
    step has none. Give it to the service that is called.

    >>> stripe.refunds.create(amount=500, idempotency_key=idempotency_key())
    """
    return _key.get()


@dataclass
class _AgentRun:
    """Names of the steps of one agent run: the same ones in each attempt."""

    prefix: str
    used: Counter[str] = field(default_factory=Counter[str])

    def name(self, name: str) -> str:
        self.used[name] += 1
        number = self.used[name]
        return f"{self.prefix}{name}" if number == 1 else f"{self.prefix}{name}#{number}"


class _Backend(JournalCallableOperationBackend[StepOptions]):
    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: StepOptions,
    ) -> object:
        run, scope = _run.get(), _agent_run.get()
        if run is None:
            return await body()
        call_id = next((c.tool_call_id for c in cache_key if isinstance(c, RunContext)), None)
        scope = scope or _AgentRun("")
        step = scope.name(f"{name}[{call_id}]" if call_id else name)
        options = dict(config)
        if options.get("idempotency_key") is True:
            options["idempotency_key"] = f"{run.id}:{step}"

        async def keyed() -> object:
            token = _key.set(options.get("idempotency_key"))
            try:
                try:
                    answer = await body()
                except BadPayload as error:
                    # It will not become JSON by being done once more.
                    raise Fail(f"step {step!r}: {error}", failure_class="bad_output") from error
                if isinstance(operation_id, ModelRequestId):
                    _add_usage(run, answer)
                return answer
            finally:
                _key.reset(token)

        return await _step(run, step, keyed, input=_fingerprint(cache_key, step), **options)


class TideDurability(BaseDurabilityCapability[AgentDepsT]):
    """Makes an agent durable inside the runs of tidebase-pg; elsewhere it changes nothing.

    Each model request and tool call is a step. What tools do outside is said in their metadata,
    as options of `run.step`; `idempotency_key: True` makes a key out of the run and the call.

    >>> agent = Agent("openai:gpt-5", name="clerk", capabilities=[TideDurability()])
    >>> @agent.tool_plain(metadata={"tidebase": {"side_effects": ["card"]}})
    ... def charge(cents: int) -> str: ...
    >>> @tide.workflow("answer")
    ... async def answer(run: AsyncRun, input: dict) -> str:
    ...     with running(run):
    ...         return (await agent.run(input["question"])).output
    """

    engine_spec: ClassVar[DurabilityEngineSpec] = DurabilityEngineSpec(
        engine_name="Tidebase",
        durable_unit_noun="step",
        durable_container_noun="run",
        codec=JSON_CODEC,
        serialization_failure=lambda error: BadPayload(
            f"a value of the agent cannot be stored as JSON: {error}; tools and deps may only "
            "take and return what pydantic can write as JSON"
        ),
        tool_config_key="tidebase",
        cancellation_error_types=(Stop,),
    )

    def __init__(
        self,
        *,
        models: Mapping[str, Model] | None = None,
        event_stream_handler: EventStreamHandler[AgentDepsT] | None = None,
        name: str | None = None,
        model_step: StepOptions | None = None,
        tool_step: StepOptions | None = None,
    ) -> None:
        """`model_step` and `tool_step` are options of the steps of model requests and of tools
        whose metadata says nothing; `{"retries": 2}` for example. `name` begins the names of the
        steps, which are data: an agent with another name does the work of its open runs again."""
        super().__init__(models=models, event_stream_handler=event_stream_handler, name=name)
        self._model_step: StepOptions = model_step or {}
        self._tool_step: StepOptions = tool_step or {}
        self._backend: _Backend | None = None

    def _bind_to_agent(self, agent: AbstractAgent[AgentDepsT, Any]) -> None:
        self._register_toolsets(agent)

    @property
    def in_durable_context(self) -> bool:
        return _run.get() is not None

    def get_durable_operation_backend(self) -> _Backend:
        if self._backend is None:
            resolve = self._build_resolve_tool_config(self._tool_step)

            def of_tool(
                operation_id: DurableOperationId, tool: object | None, tool_name: str
            ) -> StepOptions | Literal[False]:
                found = resolve(cast("ToolsetTool[Any] | None", tool), tool_name)
                return found if found is False else dict(found)

            self._backend = _Backend(
                agent_name=self.name,
                default_model_id=self.default_model_id,
                config=RoleBasedOperationConfig(
                    model=self._model_step,
                    event={},
                    capability={},
                    tool=self._tool_step,
                    resolve_tool=of_tool,
                ),
            )
        return self._backend

    def get_default_run_id(self) -> str | None:
        run = _run.get()
        if run is None:
            return None
        number = _agent_runs.setdefault(run, Counter())
        number[self.name] += 1
        return f"{run.id}:{self.name}:{number[self.name]}"

    def get_default_conversation_id(self, run_id: str) -> str | None:
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    async def get_run_start_time(self, run_id: str) -> datetime | None:
        run = _run.get()
        if run is None:
            return None
        moment = await _step(run, f"{run_id.partition(':')[2]}.started", _now)
        return datetime.fromisoformat(cast(str, moment))

    async def wrap_run(
        self, ctx: RunContext[AgentDepsT], *, handler: WrapRunHandler
    ) -> AgentRunResult[Any]:
        run = _run.get()
        if run is None:
            return await super().wrap_run(ctx, handler=handler)
        number = (ctx.run_id or "").rpartition(":")[2]
        scope = _AgentRun("" if number in ("", "1") else f"{number}:")
        token = _agent_run.set(scope)
        try:
            with external_event_scope(_GateWaiter(run, scope, self.name)):
                return await super().wrap_run(ctx, handler=handler)
        finally:
            _agent_run.reset(token)


@dataclass(frozen=True)
class _GateWaiter(ExternalEventWaiter):
    """A wait is a gate: the run is parked, and no worker is held meanwhile."""

    run: AnyRun
    scope: _AgentRun
    agent: str

    async def wait(
        self,
        name: str,
        *,
        ask: Callable[[str], Awaitable[JsonValue]],
        timeout: timedelta | None,  # noqa: ASYNC109
    ) -> JsonValue:
        label = self.scope.name(name)
        prompt = f"Agent {self.agent} asks: {name}"

        async def asking() -> dict[str, Any]:
            # The token is answered once only: an attempt that died before it was recorded leaves
            # its gate to close with the run, and the next one opens another.
            gate, number = label, 1
            while (opened := await _begin_gate(self.run, gate, prompt, timeout)).token is None:
                number += 1
                gate = f"{label}/{number}"
            return {"gate": gate, ANSWER: await ask(f"{opened.gate_id}.{opened.token}")}

        asked = cast("dict[str, Any]", await _step(self.run, f"{label}.ask", asking))
        if asked[ANSWER] is not None:
            return cast(JsonValue, asked[ANSWER])
        decision = await _gate(self.run, asked["gate"], prompt, timeout=timeout)
        payload: Any = decision.payload
        given = payload if isinstance(payload, dict) else {}
        if decision.approved:
            return cast(JsonValue, given.get(ANSWER, payload))
        raise ExternalEventError(
            str(given.get(REASON) or f"{decision.decision} ({decision.actor})")
        )


async def resolve(
    tide: AsyncTidebase,
    token: str,
    answer: DeferredToolResults | JsonValue,
    *,
    actor: str | None = None,
) -> GateRow:
    """Answer what an agent waits for: the token its `ask` was given, and what it is to get.

    >>> await resolve(tide, token, DeferredToolResults(approvals={call_id: True}), actor="ann")
    """
    gate_id, secret = _parse(token)
    if isinstance(answer, DeferredToolResults):
        answer = cast(JsonValue, _RESULTS.dump_python(answer, mode="json"))
    payload = {ANSWER: answer}
    return await tide.gates.resolve(gate_id, secret, "approved", actor=actor, payload=payload)


async def refuse(
    tide: AsyncTidebase, token: str, reason: str, *, actor: str | None = None
) -> GateRow:
    """Tell an agent that what it waits for will not come, and why."""
    gate_id, secret = _parse(token)
    payload = {REASON: reason}
    return await tide.gates.resolve(gate_id, secret, "rejected", actor=actor, payload=payload)


def _parse(token: str) -> tuple[RunId, str]:
    gate_id, dot, secret = token.partition(".")
    if not dot:
        raise ValueError("this is no token of an agent: it has the form <gate id>.<secret>")
    return gate_id, secret


@dataclass
class TideApprovals(AbstractCapability[AgentDepsT]):
    """Asks people about tool calls that need approval: one gate, which shows tools and arguments.

    The run is parked until somebody decides, in Studio, with `tidebase-pg gates` or through a
    channel. The gate approves or rejects all calls it shows; a payload `{"<call id>": false}`
    says otherwise for one.

    >>> Agent("openai:gpt-5", name="clerk", capabilities=[TideDurability(), TideApprovals()])
    """

    prompt: str = "May the agent call these tools?"
    timeout: timedelta | None = None
    channels: list[dict[str, Any]] | None = None

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[AgentDepsT], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        run, scope = _run.get(), _agent_run.get()
        if run is None or scope is None or not requests.approvals:
            return None
        shown = [
            {"id": call.tool_call_id, "tool": call.tool_name, "arguments": call.args_as_dict()}
            for call in requests.approvals
        ]
        decision = await _gate(
            run,
            scope.name("approve tools"),
            self.prompt,
            data=shown,
            timeout=self.timeout,
            channels=self.channels,
        )
        given: Any = decision.payload if isinstance(decision.payload, dict) else {}
        reason = str(given.get(REASON) or f"{decision.decision} by {decision.actor}")
        denied = ToolDenied(f"The call was not approved: {reason}")
        return requests.build_results(
            approvals={
                call.tool_call_id: (
                    True if given.get(call.tool_call_id, decision.approved) is True else denied
                )
                for call in requests.approvals
            }
        )


# Both colours ------------------------------------------------------------------------------


async def _step(
    run: AnyRun, name: str, body: Callable[[], Awaitable[object]], **options: Any
) -> object:
    """A step of either kind of run; a sync run is asked in a thread, while its body runs here."""
    if isinstance(run, AsyncRun):
        return await run.step(name, body, **options)
    loop = asyncio.get_running_loop()

    def inside() -> object:
        return asyncio.run_coroutine_threadsafe(_awaited(body), loop).result()

    return await asyncio.to_thread(partial(run.step, name, inside, **options))


async def _awaited(body: Callable[[], Awaitable[object]]) -> object:
    return await body()


async def _gate(run: AnyRun, name: str, prompt: str, **options: Any) -> Any:
    given = {key: value for key, value in options.items() if value is not None}
    if isinstance(run, AsyncRun):
        return await run.gate(name, prompt, **given)
    return await asyncio.to_thread(run.gate, name, prompt, **given)


async def _begin_gate(run: AnyRun, name: str, prompt: str, timeout: timedelta | None) -> Any:  # noqa: ASYNC109
    options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    if isinstance(run, AsyncRun):
        return await run.gates.begin(name, prompt, **options)
    return await asyncio.to_thread(run.gates.begin, name, prompt, **options)


def _add_usage(run: AnyRun, answer: object) -> None:
    """What the request cost, to be recorded with its step."""
    response: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
    usage = cast("Mapping[str, Any]", response.get("usage") or {})
    if not usage:
        return
    facts: dict[str, Any] = {
        "kind": "llm",
        "provider": response.get("provider_name"),
        "model": response.get("model_name"),
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
    }
    given: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
    run.usage.add(**given)


async def _now() -> str:
    return datetime.now(UTC).isoformat()


def _fingerprint(cache_key: tuple[object, ...], step: str) -> dict[str, str]:
    """What the step is about, as a hash: a replay with something else is refused, and a long
    conversation is neither sent nor kept once more. Raises BadPayload naming what is no JSON."""
    parts = [part for part in cache_key if not isinstance(part, RunContext | ToolsetTool)]
    try:
        plain = to_jsonable_python(parts, exclude_none=True, fallback=_type_name)
        text = json.dumps(stable(plain), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadPayload(
            f"what step {step!r} is called with cannot be written as JSON: {error}; give tools "
            "arguments that pydantic can write as JSON"
        ) from error
    return {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _type_name(value: Any) -> str:
    return f"<{type(value).__qualname__}>"


def stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: stable(part) for key, part in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [stable(part) for part in value]
    return value
