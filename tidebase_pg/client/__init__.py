"""Connections, and calls executed on them."""

from tidebase_pg.client.execute import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
