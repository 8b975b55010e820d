"""Many dispatchers at once, some of which crash: all is delivered, no endpoint gets too much."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any
from uuid import UUID

from tests.races.storm import Actor, storm, until_met
from tests.support import open_connection, value

DISPATCHERS = 8
ENDPOINTS = [f"https://e{number}.example.com" for number in range(6)]
EACH = 25
ROOM = 4
SENT = "select not exists (select from tide.deliveries as d where d.status = 'pending')"


class Receivers:
    """What arrived, and how much was on its way to an endpoint at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.arrived: Counter[UUID] = Counter()
        self.bodies: dict[UUID, set[str]] = {}

    def take(self, delivery: Any) -> None:
        with self.lock:
            self.arrived[delivery.delivery_id] += 1
            self.bodies.setdefault(delivery.delivery_id, set()).add(delivery.body)


def fill(dsn: str) -> None:
    runs = [
        {"workflow": "w", "channels": [{"type": "webhook", "url": url}]}
        for _ in range(EACH)
        for url in ENDPOINTS
    ]
    with open_connection(dsn) as connection:
        connection.execute("select tide.enqueue_many('q', %s::jsonb)", (json.dumps(runs),))


def watch(actor: Actor) -> None:
    """See from outside, in one snapshot, how much is on its way to each endpoint."""
    for _ in actor.until_over():
        for row in actor.rows(
            """
            select
              d.endpoint,
              count(*) as sending
            from tide.deliveries as d
            where d.status = 'pending'
              and d.lease_id is not null
              and d.due_at > clock_timestamp()
            group by d.endpoint
            """
        ):
            assert row.sending <= ROOM, f"{row.sending} on their way to {row.endpoint}"
            actor.hits["full"] += row.sending == ROOM


def hurry(actor: Actor) -> None:
    """Let pauses and open breakers end at once; leases end by themselves."""
    for _ in actor.until_over():
        actor.rows(
            """
            update tide.deliveries as d
            set due_at = clock_timestamp()
            where d.delivery_id = any (
              array(
                select s.delivery_id
                from tide.deliveries as s
                where s.status = 'pending'
                  and s.lease_id is null
                  and s.due_at > clock_timestamp()
                for no key update skip locked
              )
            )
            returning true
            """
        )
        actor.rows(
            """
            update tide.endpoints as e
            set open_until = null
            where e.endpoint = any (
              array(
                select s.endpoint
                from tide.endpoints as s
                where s.open_until is not null
                for no key update skip locked
              )
            )
            returning true
            """
        )


def test_dispatchers_that_crash_lose_nothing_and_crowd_nobody(dsn: str) -> None:
    receivers = Receivers()

    def dispatch(actor: Actor) -> None:
        for _ in actor.until(SENT):
            claimed = actor.rows(
                "select c.* from tide.claim_deliveries(%s, '250 milliseconds') as c",
                actor.random.randint(1, 10),
            )
            for delivery in claimed:
                chance = actor.random.random()
                if chance < 0.03:
                    # Before anything was sent, or after it, without a report.
                    actor.die()
                    break
                if chance < 0.1:
                    actor.hits["failed"] += 1
                    finish(actor, delivery, 500)
                    continue
                receivers.take(delivery)
                if chance > 0.96:
                    actor.die()
                    break
                finish(actor, delivery, 200)

    def finish(actor: Actor, delivery: Any, status: int) -> None:
        actor.rows(
            "select tide.finish_delivery(%s, %s, %s)",
            delivery.delivery_id,
            delivery.lease_id,
            status,
            refused=["TD002"],
        )

    def upkeep(actor: Actor) -> None:
        for _ in actor.until_over():
            actor.rows("call tide.reconcile()")

    def play() -> Counter[str]:
        fill(dsn)
        return storm(dsn, [dispatch] * DISPATCHERS, beside=[watch, hurry, upkeep])

    met = until_met(play, died=3, failed=5, full=1)
    with open_connection(dsn) as connection:
        statuses = connection.execute(
            "select d.delivery_id, d.status from tide.deliveries as d"
        ).fetchall()
        assert value(connection, "select count(*) from tide.sweep_failures") == 0
    assert len(statuses) == EACH * len(ENDPOINTS) * met["plays"]
    assert {row.status for row in statuses} == {"delivered"}
    assert {row.delivery_id for row in statuses} == set(receivers.arrived)
    assert {len(bodies) for bodies in receivers.bodies.values()} == {1}
