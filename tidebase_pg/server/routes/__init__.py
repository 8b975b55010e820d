"""All routes, topic by topic."""

from __future__ import annotations

from typing import Final

from tidebase_pg.server.routes import (
    children,
    events,
    gates,
    lanes,
    queues,
    runs,
    schedules,
    state,
    steps,
    streams,
    upkeep,
    usage,
    webhooks,
)
from tidebase_pg.server.routing import Table

TOPICS: Final = (
    runs.topic,
    children.topic,
    steps.topic,
    gates.topic,
    state.topic,
    streams.topic,
    usage.topic,
    events.topic,
    queues.topic,
    lanes.topic,
    schedules.topic,
    webhooks.topic,
    upkeep.topic,
)


def table() -> Table:
    """Every route of the gateway."""
    return Table(route for topic in TOPICS for route in topic.routes)
