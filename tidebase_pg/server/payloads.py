"""Events as users of the wire read them: more than is stored, added when reading."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw

from tidebase_pg import calls
from tidebase_pg.errors import NotFound
from tidebase_pg.server import described, objects
from tidebase_pg.server.described import Described, describe, describe_gate
from tidebase_pg.server.identity import read_id, step_id, wire_id
from tidebase_pg.server.objects import Event, ResumeContract, Run, document
from tidebase_pg.server.routing import Ask
from tidebase_pg.types import EventRow, RunRow, VersionRow

_OF_RUN: Final = frozenset(
    {"run.created", "run.enqueued", "run.claimed", "run.completed", "run.failed"}
)
_OF_STEP: Final = frozenset({"step.started", "step.completed", "step.failed", "step.review"})
_OF_GATE: Final = frozenset({"gate.created", "gate.resolved"})
_AGAIN: Final = frozenset({"auto_retry", "safe_replay"})
"""Decisions about a failed step after which it is executed again."""
SINGLY: Final = 4
"""So many steps of a page are read one by one; of more the whole run is."""
_OF_STATE: Final = frozenset({"state.updated", "state.saved", "snapshot.created"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What the events of a page tell of."""

    run: RunRow | None
    versions: Mapping[tuple[str, int], VersionRow]
    children: Mapping[UUID, RunRow]
    contracts: Mapping[str, ResumeContract]
    gates: Mapping[UUID, described.Gate]


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
        whole: Described | None = None,
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
        families = [*children, *await self._children(rows, children)]
        steps = {str(_said(row).get("name")) for row in rows if row.type in _OF_STEP}
        if whole is None and len(steps) > SINGLY:
            whole = await self._ask.execute(describe(self._run_id))
        facts = Facts(
            run=run,
            versions={(row.stream, row.version): row for row in versions or ()},
            children={row.run_id: row for row in families},
            contracts=await self._contracts(steps, whole),
            gates=await self._gates(rows, whole),
        )
        return [self._event(row, facts) for row in rows]

    async def _contracts(
        self, names: set[str], whole: Described | None
    ) -> dict[str, ResumeContract]:
        if whole is not None:
            return {step.name: ResumeContract.of(step) for step in whole.steps}
        found: dict[str, ResumeContract] = {}
        for name in sorted(names):
            # Retention may remove the run meanwhile; what was read of it still goes out.
            with suppress(NotFound):
                step = await self._ask(calls.get_step, self._run_id, name)
                found[name] = ResumeContract.of(step)
        return found

    async def _gates(
        self, rows: Sequence[EventRow], whole: Described | None
    ) -> dict[UUID, described.Gate]:
        if whole is not None:
            return {gate.gate_id: gate for gate in whole.gates}
        found: dict[UUID, described.Gate] = {}
        for row in rows:
            gate_id = _gate_id(_said(row)) if row.type in _OF_GATE else None
            if gate_id is not None and gate_id not in found:
                with suppress(NotFound):
                    gate = await self._ask.execute(describe_gate(gate_id))
                    found[gate_id] = gate
        return found

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

    def _event(self, row: EventRow, facts: Facts) -> Event:
        try:
            payload: dict[str, Any] = msgspec.json.decode(row.payload_text, type=dict[str, Raw])
        except msgspec.ValidationError:
            payload = {"value": document(row.payload_text)}
        added = self._added(row, payload, facts)
        return Event(
            id=row.seq,
            run_id=wire_id("run", row.run_id),
            seq=row.seq,
            type=row.type,
            payload=Raw(objects.encode({**payload, **added})),
            created_at=objects.known_time(row.created_at),
        )

    def _added(self, row: EventRow, payload: dict[str, Any], facts: Facts) -> dict[str, Any]:
        said = {name: _plain(raw) for name, raw in payload.items()}
        run = facts.run
        match row.type:
            case "run.created" | "run.enqueued" if run is not None:
                return {
                    "workflowName": run.workflow,
                    "input": document(run.input_text, objects.EMPTY),
                    "queue": run.queue,
                    "runAt": _time(said.get("run_at")),
                }
            case "run.claimed" if run is not None:
                return {"leaseOwner": said.get("worker"), "queue": run.queue}
            case "run.started":
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
                return self._child(said, facts.children)
            case "step.started" | "step.completed" | "step.failed" | "step.review":
                return _step(row.type, said, facts.contracts)
            case "state.updated" | "state.saved" | "snapshot.created":
                place = str(said.get("stream")), said.get("version") or 0
                version = facts.versions.get(place)
                if version is None:
                    return {}
                return {
                    "value": document(version.value_text),
                    "stateVersion": objects.StateVersion.of(version),
                }
            case "usage.recorded":
                return {"usage": _usage(self._run_id, payload, said)}
            case "gate.created" | "gate.resolved":
                return _gate(self._run_id, said, facts.gates)
            case _:
                return {}

    def _child(self, said: dict[str, Any], children: Mapping[UUID, RunRow]) -> dict[str, Any]:
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


def _said(row: EventRow) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(row.payload_text)
    return said


def _step(
    kind: str, said: dict[str, Any], contracts: Mapping[str, ResumeContract]
) -> dict[str, Any]:
    name, decision = str(said.get("name")), said.get("decision")
    contract = contracts.get(name)
    told: dict[str, Any] = {"stepId": step_id(name)}
    if kind == "step.completed":
        told["checkpointInvariant"] = contract and contract.checkpoint_invariant
        told["verifiedBy"] = contract and contract.verified_by
        return told
    told["resumeContract"] = contract
    if kind != "step.started":
        told["resumeDecision"] = decision
        told["retryable"] = decision in _AGAIN
    return told


def _gate_id(said: dict[str, Any]) -> UUID | None:
    return read_id("gate", str(said.get("gate_id")))


def _gate(
    run_id: UUID, said: dict[str, Any], gates: Mapping[UUID, described.Gate]
) -> dict[str, Any]:
    """The gate as it was then; what was asked never changes."""
    gate_id = _gate_id(said)
    stored = None if gate_id is None else gates.get(gate_id)
    shown = None if gate_id is None else wire_id("gate", gate_id)
    run = wire_id("run", run_id)
    url = f"/runs/{run}/gates/{shown}/resolve"
    decision = said.get("decision")
    gate = {
        "id": shown,
        "runId": run,
        "name": said.get("name"),
        "prompt": said.get("prompt") if stored is None else stored.prompt,
        "data": None if stored is None else stored.data,
        "status": decision or "pending",
        "decision": decision,
        "actor": said.get("actor"),
        "capability": None if stored is None else objects.capability(stored.capability),
        "resolveUrl": url,
    }
    return {"gate": gate, "resolveUrl": url}


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
        "createdAt": _time(said.get("created_at")),
        **{
            name: payload.get(name)
            for name in ("kind", "provider", "model", "label", "quantity", "unit", "metadata")
        },
        **{name: payload.get(ours) for name, ours in camel.items()},
    }
