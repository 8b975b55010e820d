"""Webhooks of a run: where its events go, and what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
import psycopg
from msgspec import Raw, structs

from tidebase_pg import calls
from tidebase_pg.errors import IllegalTransition, TideError
from tidebase_pg.server import bodies, objects
from tidebase_pg.server.described import Channel, Delivery
from tidebase_pg.server.identity import wire_id
from tidebase_pg.server.objects import (
    NULL,
    ChannelDelivery,
    DeliveryStatus,
    RecoveryAttempt,
    known_time,
    time,
)
from tidebase_pg.server.refusals import BadBody, Refusal
from tidebase_pg.server.routing import Ask

ASKING: Final = frozenset({"run.resume", "run.invoke"})
STATUS: Final[Mapping[str, DeliveryStatus]] = {
    "pending": "pending",
    "delivered": "delivered",
    "dead": "failed",
    "dropped": "failed",
}
SHOWN: Final = 100
_DELIVERED: Final = tuple(field.name for field in structs.fields(Delivery))
EVENTS: Final = frozenset({
    "run.created", "run.enqueued", "run.claimed", "run.started", "run.requeued", "run.retried",
    "run.parked", "run.resumed", "run.completed", "run.failed", "run.cancelled",
    "run.child.created", "run.dispatched", "step.started", "step.completed", "step.failed",
    "step.review", "state.updated", "state.saved", "snapshot.created", "usage.recorded",
    "gate.created", "gate.resolved", "recovery.started", "delivery.failed",
})  # fmt: skip
"""Types a channel may ask for; others that a client names are passed over."""


async def channels(ask: Ask, given: Sequence[bodies.Channel] | None) -> list[dict[str, Any]] | None:
    """As the schema takes them; a secret is stored, and only its name goes with the run. Raises 400
    for both a secret and a name."""
    if not given:
        return None
    made: list[dict[str, Any]] = []
    for place, channel in enumerate(given):
        wanted = [name for name in channel.events or () if name in EVENTS]
        if channel.events and not wanted:
            continue  # it asks for nothing that there is
        entry: dict[str, Any] = {"type": channel.type, "url": channel.url, "events": wanted}
        if channel.secret is not None and channel.secret_name is not None:
            raise BadBody(
                ["channels", place, "secret"],
                "give the secret or, as secretName, its name, not both",
            )
        if channel.secret is not None:
            entry["secret_name"] = await _stored(ask, place, channel.secret)
        elif channel.secret_name is not None:
            entry["secret_name"] = channel.secret_name
        made.append(entry)
    return made


async def _stored(ask: Ask, place: int, secret: str) -> str:
    """The name under which a secret is stored. Raises 400 where it can be none, and 403 for a key
    that may not set secrets."""
    try:
        return await ask(calls.store_channel_secret, secret)
    except psycopg.errors.InsufficientPrivilege:
        raise Refusal(
            403,
            f"a key of role {ask.identity.role} sets no secrets: name one that an operator set "
            "and granted, as secretName, leave it out, or use a key that may do all",
            code="forbidden",
        ) from None
    except TideError as error:
        if (error.sqlstate or "").startswith("22"):
            raise BadBody(["channels", place, "secret"], str(error)) from None
        raise


def attempts(run_id: UUID, rows: Sequence[Delivery]) -> list[RecoveryAttempt]:
    """Webhooks that ask an application to begin or resume the run, newest first."""
    return [_attempt(run_id, row) for row in reversed(rows) if row.type in ASKING]


def _attempt(run_id: UUID, row: Delivery) -> RecoveryAttempt:
    return RecoveryAttempt(
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


def shown(run_id: UUID, rows: Sequence[Channel], made_at: datetime) -> list[objects.Channel]:
    """Where events of a run go; never with what signs them."""
    run = wire_id("run", run_id)
    return [
        objects.Channel(
            id=wire_id("chan", uuid5(run_id, f"channel:{row.channel}")),
            run_id=run,
            config=objects.ChannelConfig(row.url),
            events=row.events,
            created_at=known_time(made_at),
        )
        for row in rows
    ]


async def recovery(ask: Ask, run_id: UUID, reason: str) -> RecoveryAttempt:
    """Ask the application of a run to resume it. Raises 422 where it named no webhook."""
    try:
        row = await ask(calls.recover, run_id, reason=reason)
    except IllegalTransition:
        raise Refusal(422, "run has no recoveryWebhook configured") from None
    return _attempt(run_id, Delivery(**{name: getattr(row, name) for name in _DELIVERED}))
