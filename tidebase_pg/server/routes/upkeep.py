"""Routes about the gateway and the installation."""

from __future__ import annotations

from tidebase_pg.server import objects
from tidebase_pg.server.routing import Ask, Topic

topic = Topic("upkeep")


@topic.route("GET", "/health", open=True)
async def health(ask: Ask) -> objects.Health:
    """Whether the gateway is there; touches no database and needs no key."""
    return objects.Health()
