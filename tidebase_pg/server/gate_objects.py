"""Gates as the wire shows them, with the token for those who may decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw, structs

from tidebase_pg import calls, types
from tidebase_pg.server.channels import shown
from tidebase_pg.server.described import Channel, describe_gate
from tidebase_pg.server.described import Gate as StoredGate
from tidebase_pg.server.identity import wire_id
from tidebase_pg.server.objects import (
    EMPTY,
    NULL,
    Gate,
    PendingGate,
    WatchedGate,
    capability,
    document,
    known_time,
    time,
)
from tidebase_pg.server.refusals import missing
from tidebase_pg.server.routing import Ask

DECIDING: Final = frozenset({"all", "approver", "operator"})
"""Roles that see the token of a gate."""
MOST: Final = 1000
"""Gates asked for at a time."""


async def watched(ask: Ask, run_id: UUID, gate_id: UUID) -> WatchedGate:
    """A gate of a run. Raises 404, also for a gate of another run."""
    row = await ask.execute(describe_gate(gate_id))
    if row.run_id != run_id:
        raise missing("gate")
    return WatchedGate((await described(ask, run_id, [row]))[0], row.run_status)


async def described(
    ask: Ask, run_id: UUID, rows: Sequence[StoredGate], channels: Sequence[Channel] = ()
) -> list[Gate]:
    """Gates of a run, each with those of these channels that are its own."""
    known = await tokens(ask, [row.gate_id for row in rows if row.status == "pending"])
    own: dict[UUID, list[Channel]] = {row.gate_id: [] for row in rows}
    for channel in channels:
        if channel.gate_id is not None and channel.gate_id in own:
            own[channel.gate_id].append(channel)
    return [
        structs.replace(
            _gate(run_id, row, row.data, row.payload, row.capability, known.get(row.gate_id)),
            channels=shown(run_id, own[row.gate_id], row.created_at),
        )
        for row in rows
    ]


def decided(row: types.GateRow) -> Gate:
    """A gate that was just decided."""
    stored = NULL if row.capability is None else Raw(msgspec.json.encode(row.capability))
    data, payload = document(row.data_text, EMPTY), document(row.payload_text)
    return _gate(row.run_id, row, data, payload, stored, None)


async def pending(ask: Ask, rows: Sequence[types.PendingGate]) -> list[PendingGate]:
    """Gates of all runs."""
    known = await tokens(ask, [row.gate_id for row in rows])
    return [_pending(row, known.get(row.gate_id)) for row in rows]


async def tokens(ask: Ask, gate_ids: Sequence[UUID]) -> dict[UUID, str]:
    """What decides these gates, for those who may; none for others."""
    if not gate_ids or ask.identity.role not in DECIDING:
        return {}
    found: dict[UUID, str] = {}
    for start in range(0, len(gate_ids), MOST):
        rows = await ask(calls.gate_tokens, gate_ids[start : start + MOST])
        found |= {row.gate_id: row.token for row in rows}
    return found


def _pending(row: types.PendingGate, token: str | None) -> PendingGate:
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
        capability=capability(Raw(msgspec.json.encode(row.capability))),
        resolve_token=token,
        created_at=known_time(row.created_at),
        updated_at=known_time(row.created_at),
        resolved_at=None,
    )
    return PendingGate(gate, row.workflow, row.queue)


def _gate(run_id: UUID, row: Any, data: Raw, payload: Raw, stored: Raw, token: str | None) -> Gate:
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
        capability=capability(stored),
        resolve_token=token,
        created_at=known_time(row.created_at),
        updated_at=ended or known_time(row.created_at),
        resolved_at=ended,
    )
