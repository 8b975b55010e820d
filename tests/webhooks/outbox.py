"""Acts of a dispatcher and of those who look into the outbox."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.runs.acts import Tide
from tests.support import Clock, Connection

HOOK = "https://hooks.example.com/tide"
APP = "https://app.example.com/tide"
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def channel(url: str = HOOK, **options: Any) -> dict[str, Any]:
    return {"type": "webhook", "url": url, **options}


def outbox(connection: Connection, run_id: UUID | None = None) -> list[Any]:
    """The rows of the outbox, oldest first: what no caller may see included."""
    return connection.execute(
        """
        select d.*
        from tide.deliveries as d
        where d.run_id = %(run_id)s or %(run_id)s::uuid is null
        order by d.created_at, d.delivery_id
        """,
        {"run_id": run_id},
    ).fetchall()


def types(connection: Connection, run_id: UUID | None = None) -> list[str]:
    return [delivery.type for delivery in outbox(connection, run_id)]


def post(tide: Tide, count: int = 1, url: str = HOOK) -> list[UUID]:
    """Deliveries to an endpoint, one for each of as many new runs."""
    return [
        outbox(tide.connection, tide.create_run(workflow="w", channels=[channel(url)]).run_id)[
            0
        ].delivery_id
        for _ in range(count)
    ]


def send(tide: Tide, http_status: int | None = 200, **answer: Any) -> list[Any]:
    """Claim what is due and report the same answer for each."""
    claimed = tide.claim_deliveries(max_deliveries=1000)
    for delivery in claimed:
        report(tide, delivery, http_status, **answer)
    return claimed


def report(tide: Tide, delivery: Any, http_status: int | None = 200, **answer: Any) -> Any:
    return tide.finish_delivery(
        delivery_id=delivery.delivery_id,
        lease_id=delivery.lease_id,
        http_status=http_status,
        **answer,
    )


def proven(tide: Tide, url: str = HOOK) -> None:
    """Let an endpoint answer well once, and the outbox be empty."""
    post(tide, url=url)
    assert len(send(tide)) == 1


def pushing(tide: Tide, queue: str = "pushed", url: str = APP, **settings: Any) -> str:
    """A push queue."""
    tide.set_queue(queue=queue, settings={"push_url": url, **settings})
    return queue


def pushed(tide: Tide, count: int = 1, queue: str = "pushed", **options: Any) -> list[UUID]:
    """Runs of a push queue, after upkeep has looked at them."""
    run_ids = [tide.enqueue(workflow="report", queue=queue, **options).run_id for _ in range(count)]
    tide.reconcile()
    return run_ids


def body(delivery: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(delivery.body)
    return read


def later(tide: Tide, clock: Clock, step: timedelta = timedelta(minutes=1)) -> dict[str, Any]:
    """Upkeep, some time later."""
    clock.advance(step)
    return tide.reconcile()
