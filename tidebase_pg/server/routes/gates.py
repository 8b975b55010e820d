"""Routes about gates: decisions people make."""

from __future__ import annotations

import hmac
from typing import Final
from uuid import UUID

from tidebase_pg import calls
from tidebase_pg.errors import BadToken, GateResolved, NotFound
from tidebase_pg.server import bodies, fencing
from tidebase_pg.server.gate_objects import decided, pending, tokens, watched
from tidebase_pg.server.identity import read_id
from tidebase_pg.server.objects import BegunGate, OneGate, PendingGates, WatchedGate
from tidebase_pg.server.refusals import GATE_REFUSED, Refusal
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.types import GateRow

topic = Topic("gates")

WORKING: Final = frozenset({"all", "worker"})
"""Whose polls are those of a worker that waits."""
SPEAKING: Final = frozenset({"all", "operator"})
"""Who may decide for others: the database takes their word for who the actor is."""


@topic.route("POST", "/runs/{id}/gates/begin", stops=True, errors=(404, 409))
async def begin_gate(ask: Ask, body: bodies.BeginGate) -> BegunGate:
    """Ask people for a decision; the same name and question gives the same gate."""
    run_id = ask.run_id
    opened = await fencing.open_gate(ask, run_id, body)
    gate = (await watched(ask, run_id, opened.gate_id)).gate
    return BegunGate("wait" if gate.status == "pending" else "return", gate)


@topic.route("GET", "/runs/{id}/gates/{gate}", errors=(404,))
async def get_gate(ask: Ask) -> WatchedGate:
    """A gate and the status of its run. A worker that waits asks again and again, which keeps its
    lease."""
    run_id, gate_id = ask.run_id, ask.id("gate", "gate")
    found = await watched(ask, run_id, gate_id)
    waits = found.gate.status == "pending" and found.run_status == "running"
    if waits and ask.identity.role in WORKING:
        await fencing.renew(ask, run_id)
    return found


@topic.route("POST", "/runs/{id}/gates/{gate}/resolve", errors=(409,))
async def resolve_gate(ask: Ask, body: bodies.ResolveGate) -> OneGate:
    """Decide a gate with its token, exactly once."""
    run_id, gate_id = ask.run_id, read_id("gate", ask.path["gate"])
    refused = Refusal(409, GATE_REFUSED, code="gate_refused")
    if gate_id is None:
        raise refused
    try:
        if (await ask(calls.get_gate, gate_id)).run_id != run_id:
            raise refused
        return OneGate(decided(await decide(ask, gate_id, body)))
    except (NotFound, GateResolved, BadToken):
        raise refused from None


async def decide(ask: Ask, gate_id: UUID, body: bodies.ResolveGate) -> GateRow:
    """By its token; who may do all speaks for others too, and a named key for itself."""
    asking, key = ask.carrying(payload=body.payload), ask.identity
    actor = body.actor or (key.name if key.named else ask.actor)
    if key.role in SPEAKING:
        known = (await tokens(ask, [gate_id])).get(gate_id, "")
        if hmac.compare_digest(known.encode(), body.token.encode()):
            return await asking(
                calls.decide_gate, gate_id, body.decision, actor, key_hash=key.key_hash
            )
        if key.role == "operator":
            raise BadToken
    return await asking(
        calls.resolve_gate,
        gate_id,
        body.token,
        body.decision,
        actor=actor,
        key_hash=key.key_hash,
    )


@topic.route("GET", "/gates")
async def list_pending_gates(ask: Ask) -> PendingGates:
    """All decisions people are asked for, oldest first."""
    rows = await ask(calls.pending_gates)
    return PendingGates(await pending(ask, rows))
