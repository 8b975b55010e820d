"""The HTTP door: an ASGI application that Tidebase's SDKs take for Tidebase."""

from __future__ import annotations

from tidebase_pg.server.application import app
from tidebase_pg.server.gateway import Gateway
from tidebase_pg.server.identity import Identity
from tidebase_pg.server.settings import Settings

__all__ = ["Gateway", "Identity", "Settings", "app"]
