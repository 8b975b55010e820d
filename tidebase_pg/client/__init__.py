"""Connections, and calls executed on them."""

from tidebase_pg.client.async_execute import AsyncClient
from tidebase_pg.client.execute import Client

__all__ = ["AsyncClient", "Client"]
