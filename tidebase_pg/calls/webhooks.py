"""Calls about webhooks: the outbox as dispatchers and operators see it, and secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from tidebase_pg.call import Call, call
from tidebase_pg.types import (
    ClaimedDelivery,
    DeliveryOutline,
    DeliveryRow,
    DeliveryStatus,
    ListedEndpoint,
    Row,
    SecretGrant,
)
from tidebase_pg.values import Duration, RunId


def claim_deliveries(
    *, max_deliveries: int | None = None, lease: Duration | None = None
) -> Call[list[ClaimedDelivery]]:
    """Lease due deliveries to a dispatcher: what to send where, with which headers. headers has the
    signatures where the secret is stored in the database, and the trace of the attempt that made
    it, or of the run. Each goes out until finish_delivery says how it went; without a word it goes
    out again after the lease.
    """
    return call(
        "claim_deliveries",
        ClaimedDelivery.columns(),
        ClaimedDelivery.many,
        max_deliveries=max_deliveries,
        lease=lease,
    )


def finish_delivery(
    delivery_id: RunId,
    lease_id: RunId,
    *,
    http_status: int | None = None,
    response: str | None = None,
    error: str | None = None,
    retry_after: Duration | None = None,
) -> Call[DeliveryStatus]:
    """Report how sending a delivery went: delivered for a status from 200 to 299, or when the run
    it asks for has been begun; else it is sent again after a growing pause, at the earliest after
    retry_after, or dead after its last attempt or 410. A lost lease: TD002.
    """
    return call(
        "finish_delivery",
        DeliveryStatus.columns(),
        DeliveryStatus.one,
        delivery_id=delivery_id,
        lease_id=lease_id,
        http_status=http_status,
        response=response,
        error=error,
        retry_after=retry_after,
    )


def grant_secret(
    name: str, *, queues: Sequence[str] | None = None, roles: Sequence[str] | None = None
) -> Call[SecretGrant]:
    """Say whose a secret of webhooks is, instead of what was said before: it signs what runs of the
    queues send, and what logins that are members of the roles send. Operators use any secret.
    """
    return call(
        "grant_secret",
        SecretGrant.columns(),
        SecretGrant.one,
        name=name,
        queues=None if queues is None else list(queues),
        roles=None if roles is None else list(roles),
    )


def list_deliveries(
    *,
    status: str | None = None,
    run_id: RunId | None = None,
    before: RunId | None = None,
    max_deliveries: int | None = None,
) -> Call[list[DeliveryRow]]:
    """Webhooks of the outbox, newest first; before continues after a page. Tokens and leases are
    not shown.
    """
    return call(
        "list_deliveries",
        DeliveryRow.columns(),
        DeliveryRow.many,
        status=status,
        run_id=run_id,
        before=before,
        max_deliveries=max_deliveries,
    )


def redeliver(delivery_id: RunId) -> Call[DeliveryRow]:
    """Send a dead, dropped or delivered webhook again, with the same id; a pending one is returned
    as it is. Unknown: TD010.
    """
    return call("redeliver", DeliveryRow.columns(), DeliveryRow.one, delivery_id=delivery_id)


def set_webhook_secret(
    name: str, secret: str | None, *, keep: Duration | None = None
) -> Call[None]:
    """Set the secret that signs webhooks under a name; null removes it. The secret before it signs
    beside it for the time of keep, so that receivers can change over.
    """
    made = call("set_webhook_secret", "true", _nothing, name=name, secret=secret, keep=keep)
    # An argument left as None is omitted elsewhere; here null is what removes.
    return replace(made, arguments={**made.arguments, "secret": secret})


def store_channel_secret(secret: str) -> Call[str]:
    """Keep a secret that came with a channel and return the secret_name to give for it. It goes
    with the last run whose channels name it.
    """
    return call("store_channel_secret", "store_channel_secret", _text, secret=secret)


def sign(secret: str, body: str) -> Call[str]:
    """The header x-tidebase-signature for a body: sha256= and the HMAC-SHA256 in hexadecimal."""
    return call("sign", "sign", _text, secret=secret, body=body)


def _nothing(rows: Sequence[Row]) -> None:
    return None


def _text(rows: Sequence[Row]) -> str:
    return cast(str, rows[0][0])


def list_endpoints() -> Call[list[ListedEndpoint]]:
    """Each host that webhooks go to: failures in a row, until when nothing is sent, and deliveries
    that are due, counted to 10001.
    """
    return call("list_endpoints", ListedEndpoint.columns(), ListedEndpoint.many)


def find_deliveries(
    *,
    only_status: str | None = None,
    before: RunId | None = None,
    max_deliveries: int | None = None,
) -> Call[list[DeliveryOutline]]:
    """Webhooks of the outbox without body, response, error and path, newest first; of those that
    are not dead a look at 5000. before continues after a page.
    """
    return call(
        "find_deliveries",
        DeliveryOutline.columns(),
        DeliveryOutline.many,
        only_status=only_status,
        before=before,
        max_deliveries=max_deliveries,
    )
