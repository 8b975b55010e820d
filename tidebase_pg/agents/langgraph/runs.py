"""Graphs inside runs: interrupts are gates, and a node may be a step with a contract."""

from __future__ import annotations

import base64
import hashlib
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.config import get_config
from langgraph.types import Command, Interrupt

from tidebase_pg import AsyncRun
from tidebase_pg.errors import Fail

State = TypeVar("State")

PROMPT: Final = "The graph waits for a decision."
MARK: Final = "tide_run"
"""In the metadata of checkpoints: the run that made them."""

_run: ContextVar[AsyncRun | None] = ContextVar("tidebase_graph_run", default=None)
_serde: Final = JsonPlusSerializer()


async def run_graph(
    run: AsyncRun,
    graph: Any,
    input: Any,
    *,
    config: RunnableConfig | None = None,
    prompt: str = PROMPT,
    **gate: Any,
) -> Any:
    """Run a compiled graph as part of a run, and return its values.

    A later attempt goes on from the last checkpoint, so the graph needs a checkpointer. An
    interrupt parks the run on a gate, which shows its value; the decision resumes the graph with
    `answer` of its payload, else with the payload, else with whether it was approved. `gate` has
    options of `run.gate`. Without `thread_id` in the config the thread is the run's own.

    >>> values = await run_graph(run, graph, {"question": input["question"]}, timeout=86_400)
    """
    settings = _settings(run, config)
    token = _run.set(run)
    try:
        state = await graph.aget_state(settings)
        ours = (state.metadata or {}).get(MARK) == str(run.id)
        # Tasks that are done stand here until the next checkpoint is stored; `next` forgets them.
        if ours and not state.tasks:
            return state.values
        asked: Any = None if ours else input
        interrupts = state.interrupts if ours else ()
        while True:
            if interrupts:
                answers = {i.id: await _decided(run, i, prompt, gate) for i in interrupts}
                asked = Command(resume=answers)
            # Each checkpoint is stored before the next round: the ids of interrupts come from it.
            values = await graph.ainvoke(asked, settings, durability="sync")
            interrupts = (await graph.aget_state(settings)).interrupts
            if not interrupts:
                return values
    finally:
        _run.reset(token)


def step_node(
    function: Callable[[State], Any], *, name: str | None = None, **options: Any
) -> Callable[[State], Awaitable[Any]]:
    """A node whose work is a step of the run: done once, with the contract of `run.step`.

    Without it LangGraph repeats a node that a crash has interrupted. Outside of `run_graph` it is
    a plain node.

    >>> builder.add_node("charge", step_node(charge, side_effects=["card"]))
    """
    label = name or str(getattr(function, "__name__", "node"))

    async def node(state: State) -> Any:
        run = _run.get()
        if run is None:
            return await _called(function, state)
        task = _place(run, get_config())

        async def once() -> list[str]:
            answer = await _called(function, state)
            try:
                kind, data = _serde.dumps_typed(answer)
            except (TypeError, ValueError) as error:
                raise Fail(
                    f"what node {label!r} gives cannot be serialized: {error}; keep it out of the "
                    "state",
                    failure_class="bad_output",
                ) from error
            return [kind, base64.b64encode(data).decode()]

        kept = cast("list[str]", await run.step(f"{label}:{task}", once, **options))
        return _serde.loads_typed((kept[0], base64.b64decode(kept[1])))

    node.__name__ = label
    return node


def _place(run: AsyncRun, config: Any) -> str:
    """Which task of which round this is: the same in every attempt, another in the next round.

    LangGraph's own id of a task comes from the checkpoint, and the first one of an invocation is
    stored beside the first nodes: a crash before that gives them other ids.
    """
    metadata, thread = config["metadata"], config["configurable"]["thread_id"]
    outer = [part.partition(":")[0] for part in metadata["langgraph_checkpoint_ns"].split("|")]
    of_another = None if thread == str(run.id) else thread
    place = repr((of_another, outer, metadata["langgraph_path"])).encode()
    return f"{metadata['langgraph_step']}:{hashlib.sha256(place).hexdigest()[:8]}"


async def _called(function: Callable[[State], Any], state: State) -> Any:
    answer = function(state)
    return await answer if inspect.isawaitable(answer) else answer


async def _decided(run: AsyncRun, interrupt: Interrupt, prompt: str, gate: dict[str, Any]) -> Any:
    value: Any = interrupt.value
    shown: str = value if isinstance(value, str) else prompt
    decision = await run.gate(f"interrupt {interrupt.id}", shown, data=value, **gate)
    payload: Any = decision.payload
    if isinstance(payload, dict) and "answer" in payload:
        return payload["answer"]
    return payload or decision.approved


def _settings(run: AsyncRun, config: RunnableConfig | None) -> RunnableConfig:
    given: dict[str, Any] = dict(config or {})
    given["configurable"] = {"thread_id": str(run.id), **given.get("configurable", {})}
    given["metadata"] = {**given.get("metadata", {}), MARK: str(run.id)}
    return cast(RunnableConfig, given)
