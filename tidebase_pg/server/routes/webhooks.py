"""Routes about webhooks: the outbox."""

from __future__ import annotations

from tidebase_pg import calls
from tidebase_pg.server import bodies
from tidebase_pg.server.objects import Deliveries, OneDelivery, OutboxDelivery
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.server.values import page_start

topic = Topic("webhooks")


@topic.route("GET", "/deliveries")
async def list_deliveries(ask: Ask, query: bodies.ListDeliveries) -> Deliveries:
    """Webhooks of the outbox, newest first."""
    rows = await ask(
        calls.list_deliveries,
        status=query.status,
        run_id=page_start("run", query.run_id, "runId"),
        before=page_start("del", query.before),
        max_deliveries=query.limit,
    )
    found = [OutboxDelivery.of(row) for row in rows]
    return Deliveries(found, found[-1].id if len(found) == query.limit else None)


@topic.route("POST", "/deliveries/{id}/redeliver", optional_body=True, errors=(404,))
async def redeliver(ask: Ask) -> OneDelivery:
    """Send a webhook again, with the same id; one that is pending stays as it is."""
    row = await ask(calls.redeliver, ask.id("delivery", "id", "del"))
    return OneDelivery(OutboxDelivery.of(row))
