"""Events as users of the wire read them: more than is stored, added when reading."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw

from tidebase_pg import calls
from tidebase_pg.server import objects
from tidebase_pg.server.identity import read_id, step_id, wire_id
from tidebase_pg.server.objects import Event, Run, document
from tidebase_pg.server.routing import Ask
from tidebase_pg.types import EventRow, RunRow, VersionRow

_OF_RUN: Final = frozenset({"run.created", "run.enqueued", "run.completed", "run.failed"})
_AS_THEY_ARE: Final = ("kind", "provider", "model", "label", "quantity", "unit", "metadata")
_OF_STATE: Final = frozenset({"state.updated", "state.saved", "snapshot.created"})


class Reader:
    """Adds to the events of one run; what it reads it reads once for a page."""

    def __init__(self, ask: Ask, run_id: UUID) -> None:
        self._ask = ask
        self._run_id = run_id

    async def pages(self, pages: AsyncGenerator[list[EventRow]]) -> AsyncGenerator[list[Event]]:
        try:
            async for page in pages:
                yield await self._ask.gateway.hub.apart(self.events(page)) if page else []
        finally:
            await pages.aclose()

    async def events(
        self,
        rows: Sequence[EventRow],
        versions: Sequence[VersionRow] | None = None,
        children: Sequence[RunRow] = (),
    ) -> list[Event]:
        """The same events with what else the wire says. What was read already is not read again."""
        if self._ask.identity.role == "viewer":
            return [objects.Event.bare(row) for row in rows]
        types = {row.type for row in rows}
        run: RunRow | None = None
        if types & _OF_RUN:
            run = await self._ask(calls.get_run, self._run_id)
        if versions is None and types & _OF_STATE:
            versions = await self._versions(rows)
        known = {(row.stream, row.version): row for row in versions or ()}
        families = {row.run_id: row for row in [*children, *await self._children(rows, children)]}
        return [self._event(row, run, known, families) for row in rows]

    async def _children(
        self, rows: Sequence[EventRow], known: Sequence[RunRow]
    ) -> Sequence[RunRow]:
        """The children these events tell of, as many as one call gives."""
        told: dict[UUID, str] = {}
        for row in rows:
            if row.type == "run.child.created":
                said: dict[str, Any] = msgspec.json.decode(row.payload_text)
                child_id = read_id("run", str(said.get("child_id")))
                if child_id is not None:
                    told[child_id] = str(said.get("edge"))
        missing = told.keys() - {row.run_id for row in known}
        if not missing:
            return []
        edges = [told[child_id] for child_id in missing]
        return await self._ask(calls.list_child_runs, self._run_id, edges=edges, max_runs=1000)

    async def _versions(self, rows: Sequence[EventRow]) -> list[VersionRow]:
        """The versions these events tell of; the newest of a stream without the others."""
        wanted: dict[str, dict[int, tuple[dict[str, Any], datetime]]] = {}
        for row in rows:
            if row.type in _OF_STATE:
                said: dict[str, Any] = msgspec.json.decode(row.payload_text)
                wanted.setdefault(said["stream"], {})[said["version"]] = (said, row.created_at)
        found: list[VersionRow] = []
        for stream, versions in wanted.items():
            state = await self._ask(calls.get_state, self._run_id, stream=stream)
            if set(versions) == {state.version} and state.value_text is not None:
                said, at = versions[state.version]
                found.append(
                    VersionRow(
                        self._run_id, stream, state.version, state.value_text, said.get("label"),
                        None, said.get("importance") or "normal", "{}", None, at,
                    )
                )  # fmt: skip
                continue
            every = await self._ask(calls.state_versions, self._run_id, stream=stream)
            found += [one for one in every if one.version in versions]
        return found

    def _event(
        self,
        row: EventRow,
        run: RunRow | None,
        versions: dict[tuple[str, int], VersionRow],
        children: dict[UUID, RunRow],
    ) -> Event:
        try:
            payload: dict[str, Any] = msgspec.json.decode(row.payload_text, type=dict[str, Raw])
        except msgspec.ValidationError:
            payload = {"value": document(row.payload_text)}
        added = self._added(row, payload, run, versions, children)
        return Event(
            id=row.seq,
            run_id=wire_id("run", row.run_id),
            seq=row.seq,
            type=row.type,
            payload=Raw(objects.encode({**payload, **added})),
            created_at=objects.known_time(row.created_at),
        )

    def _added(
        self,
        row: EventRow,
        payload: dict[str, Any],
        run: RunRow | None,
        versions: dict[tuple[str, int], VersionRow],
        children: dict[UUID, RunRow],
    ) -> dict[str, Any]:
        said = {name: _plain(raw) for name, raw in payload.items()}
        match row.type:
            case "run.created" | "run.enqueued" if run is not None:
                return {
                    "workflowName": run.workflow,
                    "input": document(run.input_text, objects.EMPTY),
                    "queue": run.queue,
                    "runAt": _time(said.get("run_at")),
                }
            case "run.claimed" | "run.started":
                return {"leaseOwner": said.get("worker")}
            case "run.requeued":
                return {
                    "maxAttempts": said.get("max_attempts"),
                    "nextRunAt": _time(said.get("run_at")),
                }
            case "run.completed" if run is not None:
                return {"result": document(run.result_text)}
            case "run.failed" if run is not None:
                failure = run.failure_class
                return {
                    "error": document(run.error_text),
                    "failureClass": None if failure == "error" else failure,
                }
            case "run.child.created":
                return self._child(said, children)
            case "step.started" | "step.completed" | "step.failed" | "step.review":
                return {
                    "stepId": step_id(str(said.get("name"))),
                    "resumeDecision": said.get("decision"),
                }
            case "state.updated" | "state.saved" | "snapshot.created":
                version = versions.get((str(said.get("stream")), said.get("version") or 0))
                if version is None:
                    return {}
                return {
                    "value": document(version.value_text),
                    "stateVersion": objects.StateVersion.of(version),
                }
            case "usage.recorded":
                return {"usage": _usage(self._run_id, payload, said)}
            case "gate.created" | "gate.resolved":
                return {"gate": _gate(self._run_id, said)}
            case _:
                return {}

    def _child(self, said: dict[str, Any], children: dict[UUID, RunRow]) -> dict[str, Any]:
        child_id = read_id("run", str(said.get("child_id")))
        if child_id is None or child_id not in children:
            return {}
        return {
            "childRun": Run.of(children[child_id]),
            "edge": {
                "parentRunId": wire_id("run", self._run_id),
                "childRunId": wire_id("run", child_id),
                "name": said.get("edge"),
            },
        }


def _time(text: Any) -> str | None:
    return objects.time(datetime.fromisoformat(text)) if isinstance(text, str) else None


def _plain(raw: Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _gate(run_id: UUID, said: dict[str, Any]) -> dict[str, Any]:
    gate_id = read_id("gate", str(said.get("gate_id")))
    shown = None if gate_id is None else wire_id("gate", gate_id)
    run = wire_id("run", run_id)
    decision = said.get("decision")
    return {
        "id": shown,
        "runId": run,
        "name": said.get("name"),
        "prompt": said.get("prompt"),
        "status": decision or "pending",
        "decision": decision,
        "actor": said.get("actor"),
        "capability": said.get("capability"),
        "resolveUrl": f"/runs/{run}/gates/{shown}/resolve",
    }


def _usage(run_id: UUID, payload: dict[str, Raw], said: dict[str, Any]) -> dict[str, Any]:
    usage_id = read_id("use", str(said.get("usage_id")))
    step = said.get("step")
    camel = {
        "inputTokens": "input_tokens",
        "outputTokens": "output_tokens",
        "totalTokens": "total_tokens",
        "costUsd": "cost_usd",
    }
    return {
        "id": None if usage_id is None else wire_id("use", usage_id),
        "runId": wire_id("run", run_id),
        "stepId": step_id(step) if isinstance(step, str) else None,
        **{
            name: payload.get(name)
            for name in ("kind", "provider", "model", "label", "quantity", "unit", "metadata")
        },
        **{name: payload.get(ours) for name, ours in camel.items()},
    }
