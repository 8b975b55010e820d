"""Webhooks: signing and verifying, addresses, sending."""

from tidebase_pg.webhooks.signing import signatures

__all__ = ["signatures"]
