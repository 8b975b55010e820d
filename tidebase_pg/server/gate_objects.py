"""Gates as the wire shows them, with the token for those who may decide."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw

from tidebase_pg import types
from tidebase_pg.server.described import Gate as StoredGate
from tidebase_pg.server.described import describe_gate
from tidebase_pg.server.identity import wire_id
from tidebase_pg.server.objects import (
    EMPTY,
    NULL,
    Gate,
    PendingGate,
    WatchedGate,
    document,
    known_time,
    time,
)
from tidebase_pg.server.refusals import missing
from tidebase_pg.server.routing import Ask

DECIDING: Final = frozenset({"all", "approver", "operator"})
"""Roles that see the token of a gate."""


async def watched(ask: Ask, run_id: UUID, gate_id: UUID) -> WatchedGate:
    """A gate of a run. Raises 404, also for a gate of another run."""
    row = await ask.execute(describe_gate(gate_id))
    if row.run_id != run_id:
        raise missing("gate")
    return WatchedGate(described(ask, run_id, row), row.run_status)


def described(ask: Ask, run_id: UUID, row: StoredGate) -> Gate:
    return _gate(ask, run_id, row, row.data, row.payload, row.capability)


def decided(row: types.GateRow) -> Gate:
    capability = NULL if row.capability is None else Raw(msgspec.json.encode(row.capability))
    return _gate(
        None, row.run_id, row, document(row.data_text), document(row.payload_text), capability
    )


def pending(ask: Ask, row: types.PendingGate) -> PendingGate:
    gate = Gate(
        id=wire_id("gate", row.gate_id),
        run_id=wire_id("run", row.run_id),
        name=row.name,
        prompt=row.prompt,
        data=document(row.data_text, EMPTY),
        status="pending",
        decision=None,
        actor=None,
        decision_payload=NULL,
        capability=_capability(Raw(msgspec.json.encode(row.capability))),
        resolve_token=token(ask, row.gate_id, "pending"),
        created_at=known_time(row.created_at),
        updated_at=known_time(row.created_at),
        resolved_at=None,
    )
    return PendingGate(gate, row.workflow, row.queue)


def token(ask: Ask | None, gate_id: UUID, status: str) -> str | None:
    """The derived token, for who may decide a gate that is open."""
    if ask is None or status != "pending" or ask.identity.role not in DECIDING:
        return None
    return ask.gateway.gate_token(gate_id)


def _gate(
    ask: Ask | None, run_id: UUID, row: Any, data: Raw, payload: Raw, capability: Raw
) -> Gate:
    ended = time(row.resolved_at)
    return Gate(
        id=wire_id("gate", row.gate_id),
        run_id=wire_id("run", run_id),
        name=row.name,
        prompt=row.prompt,
        data=data,
        status=row.status,
        decision=None if row.status == "pending" else row.status,
        actor=row.actor,
        decision_payload=payload,
        capability=_capability(capability),
        resolve_token=token(ask, row.gate_id, row.status),
        created_at=known_time(row.created_at),
        updated_at=ended or known_time(row.created_at),
        resolved_at=ended,
    )


def _capability(stored: Raw) -> Raw:
    """Text that holds an object or an array is one; other text stays text."""
    if not bytes(stored).startswith(b'"'):
        return stored
    text: str = msgspec.json.decode(stored, type=str)
    if text[:1] in ("{", "["):
        try:
            msgspec.json.decode(text)
            return Raw(text.encode())
        except (msgspec.DecodeError, RecursionError):
            return stored
    return stored
