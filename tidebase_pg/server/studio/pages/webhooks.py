"""Webhooks: the hosts they go to, what was sent, and what was given up."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.server.studio.application import Visit, ours

STATES: Final = ("pending", "delivered", "dead", "dropped")
PAGE: Final = 50


async def webhooks(visit: Visit) -> Response:
    """Hosts, and deliveries newest first."""
    status = visit.query("status")
    before = visit.query("before")
    endpoints = await visit.look("endpoints", calls.list_endpoints())
    call = calls.find_deliveries(
        only_status=status or None, before=before or None, max_deliveries=PAGE
    )
    found = await visit.look(("deliveries", status, before), call)
    return visit.page(
        "webhooks.html",
        endpoints=endpoints,
        deliveries=found,
        status=status,
        states=STATES,
        page_size=PAGE,
    )


async def redeliver(visit: Visit) -> Response:
    """Send deliveries that were given up once more: one, or all of a page."""
    ids = [UUID(text) for text in visit.form.get("deliveries", "").split()[:PAGE]]
    made = [await visit.ask(calls.redeliver(delivery_id)) for delivery_id in ids]
    where = ours(visit.form.get("back"), "/webhooks")
    if len(made) == 1:
        return visit.done(where, f"It is sent again to {made[0].endpoint}.")
    return visit.done(where, f"{len(made)} are sent again.")
