"""MCP: a server for operators and agents, and workflows as tasks that outlive their server."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast
from uuid import UUID

import psycopg
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding, ToolBinding
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ElicitResult,
    RequestParams,
    TextContent,
    ToolAnnotations,
)
from pydantic import AnyHttpUrl, BaseModel, Field, ValidationError

from tidebase_pg import AsyncTidebase, calls
from tidebase_pg.errors import NotFound, Stop, TideError
from tidebase_pg.types import Record, RunRow
from tidebase_pg.values import identifier
from tidebase_pg.version import __version__

P = ParamSpec("P")
T = TypeVar("T")

TASKS: Final = "io.modelcontextprotocol/tasks"
ACTOR: Final = "mcp"
POLL_MS: Final = 1000
INLINE: Final = 60.0
"""Seconds for which a client that knows no tasks is kept waiting for a result."""
READ: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITE: Final = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
DESTROY: Final = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "list_runs": ("client", "operator"),
    "describe_run": ("client", "worker", "operator"),
    "explain_run": ("client", "operator"),
    "list_events": ("client", "worker", "operator"),
    "read_stream": ("client", "worker", "operator"),
    "list_queues": ("operator", "viewer"),
    "list_gates": ("operator", "approver"),
    "enqueue": ("client",),
    "cancel_run": ("client", "operator"),
    "retry_run": ("operator",),
    "decide_gate": ("operator", "approver"),
    "tasks/create": ("client",),
    "tasks/get": ("client", "operator"),
    "tasks/cancel": ("client", "operator"),
    "tasks/update": ("operator", "approver"),
}
"""Whose keys a tool takes: what the roles of the database may call."""
INSTRUCTIONS: Final = (
    "Durable runs in Postgres. To find out why something does not happen: list_runs, then "
    "explain_run, then describe_run. People decide gates: ask before you call decide_gate. What "
    "this login may not do is refused by the database."
)


def server(
    tide: AsyncTidebase,
    *,
    read_only: bool = False,
    actor: str = ACTOR,
    tasks: TideTasks | None = None,
    url: str | None = None,
) -> MCPServer[Any]:
    """An MCP server over a Tidebase: list and explain runs, queues and gates; enqueue, cancel,
    retry and decide, as far as its login may. `read_only` leaves out what changes something.
    With `url`, where it is served over HTTP, each request needs a key of the HTTP door, which may
    do what its role may and acts under its name.

    >>> server(AsyncTidebase()).run("stdio")
    """
    made: MCPServer[Any] = MCPServer(
        "tidebase",
        version=__version__,
        instructions=INSTRUCTIONS,
        extensions=[] if tasks is None else [tasks],
        token_verifier=None if url is None else _Keys(tide),
        auth=None
        if url is None
        else AuthSettings(issuer_url=AnyHttpUrl(url), resource_server_url=None),
    )
    for function, kind in _operations(tide, actor):
        if kind is READ or not read_only:
            made.add_tool(_told(function), annotations=kind)
    return made


class _Keys:
    """Tells the keys of the HTTP door; each request asks, so that a revoked one opens nothing."""

    def __init__(self, tide: AsyncTidebase) -> None:
        self._tide = tide

    async def verify_token(self, token: str) -> AccessToken | None:
        found = await self._tide.execute(calls.authenticate_key(_digest(token)))
        if not found:
            return None
        return AccessToken(token=token, client_id=found[0].name, scopes=[found[0].role])


def _refusal(what: str) -> str | None:
    """Why the key of this request may not do that; None = it may, or no key is asked for."""
    key = get_access_token()
    if key is None or key.scopes[0] in ROLES[what]:
        return None
    return (
        f"key {key.client_id!r} has the role {key.scopes[0]}; {what} takes a key of "
        f"{' or '.join(ROLES[what])}"
    )


def _acting(actor: str) -> str:
    key = get_access_token()
    return actor if key is None else key.client_id


def _key_hash() -> bytes | None:
    """By which the database knows the key of this request; None = no key is asked for."""
    key = get_access_token()
    return None if key is None else _digest(key.token)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _operations(
    tide: AsyncTidebase, actor: str
) -> Sequence[tuple[Callable[..., Awaitable[Any]], ToolAnnotations]]:
    async def list_runs(
        status: str | None = None,
        queue: str | None = None,
        workflow: str | None = None,
        before: str | None = None,
        limit: int = 20,
    ) -> list[dict[str, Any]]:
        """Runs, newest first. status: pending, queued, running, completed, failed or cancelled;
        before: the run_id of the last run of the page before."""
        rows = await tide.runs.list(
            status=cast(Any, status),
            queue=queue,
            workflow=workflow,
            before=None if before is None else identifier("before", before),
            max_runs=limit,
        )
        return [_brief(row) for row in rows]

    async def describe_run(run_id: str) -> dict[str, Any]:
        """Everything about a run: input, result, steps, gates, children, state, usage, events."""
        return await tide.runs.describe(identifier("run_id", run_id))

    async def explain_run(run_id: str) -> dict[str, Any]:
        """Why a run is not running: parked on what, queue paused or full, rate used up, no worker
        for its workflow, or how many runs are before it."""
        return await tide.runs.explain_wait(identifier("run_id", run_id))

    async def list_events(run_id: str, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """What happened to a run, oldest first; after: the seq of the last event seen."""
        given = identifier("run_id", run_id)
        rows = await tide.runs.events(given, after=after, max_events=limit)
        return [row.facts() for row in rows]

    async def read_stream(
        run_id: str, stream: str, after: int = 0, limit: int = 200
    ) -> list[dict[str, Any]]:
        """What a run wrote to one of its streams beyond a position, such as tokens or progress."""
        given = identifier("run_id", run_id)
        rows = await tide.execute(calls.read_stream(given, stream, after=after, max_chunks=limit))
        return [row.facts() for row in rows]

    async def list_queues() -> list[dict[str, Any]]:
        """Queues: what waits, runs and ended lately in each, caps, rates, whether it is paused."""
        return [_facts(row) for row in await tide.queues.list()]

    async def list_gates() -> list[dict[str, Any]]:
        """Decisions that people are asked for, with prompt and data."""
        return [_facts(row) for row in await tide.gates.pending()]

    async def enqueue(
        workflow: str,
        input: Any = None,
        queue: str | None = None,
        dedupe_key: str | None = None,
        delay_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Start a run of a workflow. With a dedupe_key the active run of that key is given."""
        options: dict[str, Any] = {
            "queue": queue,
            "dedupe_key": dedupe_key,
            "delay": delay_seconds,
            "key_hash": _key_hash(),
        }
        given = {name: value for name, value in options.items() if value is not None}
        done = await tide.enqueue(workflow, input=input, **given)
        return {"run_id": str(done.run_id), "deduplicated": done.deduplicated}

    async def cancel_run(run_id: str, reason: str) -> dict[str, Any]:
        """Cancel an active run and its children, at once and for good. Say why."""
        given = identifier("run_id", run_id)
        return _brief(await tide.runs.cancel(given, reason=reason, actor=_acting(actor)))

    async def retry_run(run_id: str) -> dict[str, Any]:
        """Run a failed or cancelled run again; completed steps are not repeated."""
        given = identifier("run_id", run_id)
        return _brief(await tide.runs.retry(given, actor=_acting(actor)))

    async def decide_gate(
        gate_id: str, decision: Literal["approved", "rejected"], payload: Any = None
    ) -> dict[str, Any]:
        """Decide what people are asked for. Only when a person told you to."""
        decided = await tide.gates.decide(
            identifier("gate_id", gate_id),
            decision,
            _acting(actor),
            payload=payload,
            key_hash=_key_hash(),
        )
        return _facts(decided)

    return (
        (list_runs, READ),
        (describe_run, READ),
        (explain_run, READ),
        (list_events, READ),
        (read_stream, READ),
        (list_queues, READ),
        (list_gates, READ),
        (enqueue, WRITE),
        (retry_run, WRITE),
        (cancel_run, DESTROY),
        (decide_gate, DESTROY),
    )


def _told(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The same function, whose refusals are told to the model instead of failing the protocol."""

    @wraps(function)
    async def told(*args: P.args, **kwargs: P.kwargs) -> T:
        if (refusal := _refusal(function.__name__)) is not None:
            raise ToolError(refusal)
        try:
            return await function(*args, **kwargs)
        except (TideError, Stop) as error:
            raise ToolError(str(error)) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise ToolError(
                f"this login may not do that: {error.diag.message_primary}; it takes a login in "
                "the group role operator, or client to enqueue"
            ) from error
        except ValueError as error:
            raise ToolError(str(error)) from error

    return told


def _facts(row: Record) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.facts().items() if name != "token"}


def _brief(row: RunRow) -> dict[str, Any]:
    names = ("run_id", "workflow", "queue", "status", "attempt", "waiting_on", "created_at")
    ended = ("finished_at", "failure_class", "cancel_reason")
    found = {name: getattr(row, name) for name in (*names, *ended)}
    return {name: _plain(value) for name, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


# Tasks ------------------------------------------------------------------------------------


class TaskId(RequestParams):
    """Which task is meant."""

    task_id: str = Field(alias="taskId")


class TaskAnswers(TaskId):
    """What people answered, by the keys of inputRequests."""

    input_responses: dict[str, ElicitResult] = Field(alias="inputResponses")


@dataclass(frozen=True, slots=True)
class TaskTool:
    """A tool whose calls are runs of a workflow: its arguments are the input of the run."""

    name: str
    workflow: str
    input: type[BaseModel]
    description: str
    queue: str | None = None


class TideTasks(Extension):
    """MCP tasks kept in Postgres: a call of a tool is a run, created by one server process, polled
    from another, and carried out by any worker, whatever becomes of the server.

    A run that waits for gates asks the client for input. A client that knows no tasks gets the
    result itself, if it comes within `inline` seconds.

    >>> tasks = TideTasks(tide, [TaskTool("report", "generate-report", Topic, "Write a report")])
    >>> server(tide, tasks=tasks).run("streamable-http")
    """

    identifier = TASKS

    def __init__(
        self, tide: AsyncTidebase, tools: Sequence[TaskTool], *, inline: float = INLINE
    ) -> None:
        self._tide = tide
        self._tools = {tool.name: tool for tool in tools}
        self._inline = inline

    def tools(self) -> Sequence[ToolBinding]:
        return [
            ToolBinding(
                _signed(tool),
                kwargs={
                    "name": tool.name,
                    "description": tool.description,
                    "structured_output": False,
                },
            )
            for tool in self._tools.values()
        ]

    def methods(self) -> Sequence[MethodBinding]:
        return [
            MethodBinding("tasks/get", TaskId, self._get),
            MethodBinding("tasks/update", TaskAnswers, self._update),
            MethodBinding("tasks/cancel", TaskId, self._cancel),
        ]

    async def intercept_tool_call(
        self,
        params: CallToolRequestParams,
        ctx: ServerRequestContext[Any, Any],
        call_next: CallNext,
    ) -> HandlerResult:
        tool = self._tools.get(params.name)
        if tool is None:
            return await call_next(ctx)
        if (refusal := _refusal("tasks/create")) is not None:
            return _failed(refusal)
        try:
            given = tool.input.model_validate(params.arguments or {})
        except ValidationError as error:
            return _failed(f"the arguments of {tool.name} are not valid: {error}")
        options: dict[str, Any] = {} if tool.queue is None else {"queue": tool.queue}
        try:
            done = await self._tide.enqueue(
                tool.workflow,
                input=given.model_dump(mode="json"),
                metadata={"mcp_tool": tool.name},
                key_hash=_key_hash(),
                **options,
            )
        except (TideError, ValueError) as error:
            return _failed(str(error))
        if _knows_tasks(ctx):
            row = await self._tide.runs.get(done.run_id)
            return {"resultType": "task", "status": "working", **_identity(row)}
        try:
            row = await self._tide.runs.wait(done.run_id, timeout=self._inline)
        except TimeoutError:
            return _failed(f"run {done.run_id} goes on; this client declares no {TASKS}")
        return _result(row)

    async def _run(self, ctx: ServerRequestContext[Any, Any], task_id: str, what: str) -> RunRow:
        require_client_extension(ctx, TASKS)
        if (refusal := _refusal(what)) is not None:
            raise MCPError(code=INVALID_PARAMS, message=refusal)
        try:
            row = await self._tide.runs.get(UUID(task_id))
        except (NotFound, ValueError):
            row = None
        workflows = {tool.workflow for tool in self._tools.values()}
        if row is None or row.workflow not in workflows:
            raise MCPError(code=INVALID_PARAMS, message=f"there is no task {task_id!r} here")
        return row

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskId) -> dict[str, Any]:
        row = await self._run(ctx, params.task_id, "tasks/get")
        task: dict[str, Any] = {"resultType": "complete", "status": "working", **_identity(row)}
        if row.status == "cancelled":
            message = row.cancel_reason or "cancelled"
            return {**task, "status": "cancelled", "statusMessage": message}
        if row.finished:
            return {**task, "status": "completed", "result": _wire(_result(row))}
        if row.waiting_on == "gate" and (gates := await self._pending(row)):
            return {
                **task,
                "status": "input_required",
                "statusMessage": "; ".join(gate["prompt"] for gate in gates),
                "inputRequests": {gate["gate_id"]: _question(gate) for gate in gates},
            }
        return task

    async def _update(
        self, ctx: ServerRequestContext[Any, Any], params: TaskAnswers
    ) -> dict[str, Any]:
        row = await self._run(ctx, params.task_id, "tasks/update")
        known = {gate["gate_id"] for gate in await self._pending(row)}
        for gate_id, answer in params.input_responses.items():
            # Answered before, or never asked: both are no error of the client.
            if gate_id not in known or answer.action == "cancel":
                continue
            content = dict(answer.content or {})
            decision = content.pop("decision", "approved")
            if answer.action == "decline" or decision not in ("approved", "rejected"):
                decision = "rejected"
            await self._tide.gates.decide(
                gate_id,
                cast(Any, decision),
                _acting(ACTOR),
                payload=content or None,
                key_hash=_key_hash(),
            )
        return {"resultType": "complete"}

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskId) -> dict[str, Any]:
        row = await self._run(ctx, params.task_id, "tasks/cancel")
        if not row.finished:
            await self._tide.runs.cancel(
                row.run_id, reason="cancelled by the client", actor=_acting(ACTOR)
            )
        return {"resultType": "complete"}

    async def _pending(self, row: RunRow) -> list[dict[str, Any]]:
        described = await self._tide.runs.describe(row.run_id)
        return [gate for gate in described["gates"] if gate["status"] == "pending"]


def _knows_tasks(ctx: ServerRequestContext[Any, Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    return bool(capabilities and capabilities.extensions and TASKS in capabilities.extensions)


def _identity(row: RunRow) -> dict[str, Any]:
    moments = (row.finished_at, row.started_at, row.created_at)
    return {
        "taskId": str(row.run_id),
        "createdAt": row.created_at.isoformat(),
        "lastUpdatedAt": next(moment for moment in moments if moment is not None).isoformat(),
        "ttlMs": None,
        "pollIntervalMs": POLL_MS,
    }


def _question(gate: Mapping[str, Any]) -> dict[str, Any]:
    data = gate.get("data")
    shown = "" if data in (None, {}) else f"\n\n{json.dumps(data, ensure_ascii=False, indent=2)}"
    return {
        "method": "elicitation/create",
        "params": {
            "mode": "form",
            "message": f"{gate['prompt']}{shown}",
            "requestedSchema": {
                "type": "object",
                "properties": {
                    "decision": {"type": "string", "enum": ["approved", "rejected"]},
                    "comment": {"type": "string"},
                },
                "required": ["decision"],
            },
        },
    }


def _result(row: RunRow) -> CallToolResult:
    if row.status != "completed":
        error: Any = row.error or {}
        told = error.get("message") if isinstance(error, dict) else None
        return _failed(f"run {row.run_id} {row.status}: {told or row.cancel_reason or 'no reason'}")
    result = row.result
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    structured = result if isinstance(result, dict) else None
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=structured
    )


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _wire(result: CallToolResult) -> dict[str, Any]:
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def _signed(tool: TaskTool) -> Callable[..., Awaitable[str]]:
    """A function with the arguments of the tool, which is described to clients, never called."""

    async def call(**arguments: Any) -> str:
        raise ToolError(f"{tool.name} is a task: its calls become runs")

    fields = tool.input.model_fields.items()
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.is_required() else field.get_default(),
            annotation=field.annotation,
        )
        for name, field in fields
    ]
    call.__signature__ = inspect.Signature(parameters, return_annotation=str)  # type: ignore[attr-defined]
    call.__annotations__ = {name: field.annotation for name, field in fields} | {"return": str}
    call.__name__ = tool.name
    return call
