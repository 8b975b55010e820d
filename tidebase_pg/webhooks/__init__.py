"""Webhooks: signing and verifying, addresses, sending."""
