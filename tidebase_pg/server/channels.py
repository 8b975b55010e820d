"""Webhooks of a run: where its events go, and what was sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw

from tidebase_pg import calls
from tidebase_pg.server import bodies
from tidebase_pg.server.described import Delivery
from tidebase_pg.server.identity import wire_id
from tidebase_pg.server.objects import (
    NULL,
    ChannelDelivery,
    DeliveryStatus,
    RecoveryAttempt,
    known_time,
    time,
)
from tidebase_pg.server.routing import Ask

ASKING: Final = frozenset({"run.resume", "run.invoke"})
STATUS: Final[Mapping[str, DeliveryStatus]] = {
    "pending": "pending",
    "delivered": "delivered",
    "dead": "failed",
    "dropped": "failed",
}
SHOWN: Final = 100
EVENTS: Final = frozenset({
    "run.created", "run.enqueued", "run.claimed", "run.started", "run.requeued", "run.retried",
    "run.parked", "run.resumed", "run.completed", "run.failed", "run.cancelled",
    "run.child.created", "run.dispatched", "step.started", "step.completed", "step.failed",
    "step.review", "state.updated", "state.saved", "snapshot.created", "usage.recorded",
    "gate.created", "gate.resolved", "recovery.started", "delivery.failed",
})  # fmt: skip
"""Types a channel may ask for; others that a client names are passed over."""


async def channels(ask: Ask, given: Sequence[bodies.Channel] | None) -> list[dict[str, Any]] | None:
    """As the schema takes them; a secret is stored, and only its name goes with the run."""
    if not given:
        return None
    made: list[dict[str, Any]] = []
    for channel in given:
        wanted = [name for name in channel.events or () if name in EVENTS]
        if channel.events and not wanted:
            continue  # it asks for nothing that there is
        entry: dict[str, Any] = {"type": channel.type, "url": channel.url, "events": wanted}
        if channel.secret is not None:
            entry["secret_name"] = await store_secret(ask, channel.secret)
        made.append(entry)
    return made


def attempts(run_id: UUID, rows: Sequence[Delivery]) -> list[RecoveryAttempt]:
    """Webhooks that ask an application to begin or resume the run, newest first."""
    return [
        RecoveryAttempt(
            id=wire_id("rec", row.delivery_id),
            run_id=wire_id("run", run_id),
            reason=_body(row).get("reason"),
            webhook_url=row.url,
            status=STATUS[row.status],
            http_status=row.http_status,
            response_body=row.response,
            error_text=row.error,
            created_at=known_time(row.created_at),
            completed_at=time(row.finished_at),
        )
        for row in reversed(rows)
        if row.type in ASKING
    ]


def deliveries(run_id: UUID, rows: Sequence[Delivery]) -> list[ChannelDelivery]:
    """Webhooks with events, newest first, a hundred at most."""
    shown = [row for row in reversed(rows) if row.type not in ASKING][:SHOWN]
    return [
        ChannelDelivery(
            id=wire_id("del", row.delivery_id),
            run_id=wire_id("run", run_id),
            gate_id=None if row.gate_id is None else wire_id("gate", row.gate_id),
            event_type=row.type,
            payload=_payload(row),
            status=STATUS[row.status],
            http_status=row.http_status,
            response_body=row.response,
            error_text=row.error,
            created_at=known_time(row.created_at),
            completed_at=time(row.finished_at),
        )
        for row in shown
    ]


def _body(row: Delivery) -> dict[str, Any]:
    return msgspec.json.decode(row.body, type=dict[str, Any])


def _payload(row: Delivery) -> Raw:
    found = msgspec.json.decode(row.body, type=dict[str, Raw])
    return found.get("payload", NULL)


async def store_secret(ask: Ask, secret: str) -> str:
    """Keep a secret that came with a channel; its name, the same for the same secret."""
    name = "http-" + hashlib.sha256(secret.encode()).hexdigest()[:32]
    await ask(calls.set_webhook_secret, name, secret)
    return name
