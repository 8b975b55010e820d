"""All routes, topic by topic."""

from __future__ import annotations

from typing import Final

from tidebase_pg.server.routes import runs, upkeep
from tidebase_pg.server.routing import Table

TOPICS: Final = (runs.topic, upkeep.topic)


def table() -> Table:
    """Every route of the gateway."""
    return Table(route for topic in TOPICS for route in topic.routes)
