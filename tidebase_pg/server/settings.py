"""What a gateway is told when it starts; every setting has the default of the program."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

ROLES: Final = ("client", "worker", "operator", "viewer", "approver")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a gateway listens to clients and talks to the database.

    >>> Settings(dsn="postgresql:///app", api_key="a-long-secret", lease=timedelta(minutes=2))
    """

    dsn: str = ""
    """The database, with a login that may do what the shared key may; empty = as libpq says."""
    role_dsns: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """For named keys: a DSN for each role, whose login is a member of that group role alone. Where
    none is given, named keys open nothing."""
    api_key: str | None = field(default=None, repr=False)
    """The shared key; None without named keys = the door is open."""
    key_memory: float = 5.0
    """Seconds for which a key is known after it was looked up; a revoked one opens that long."""
    cors_origin: str = "*"
    lease: timedelta = timedelta(minutes=5)
    """Of begin and claim; heartbeats renew by the same."""
    pool_size: int = 10
    """Connections for each login, made when needed."""
    pool_timeout: float = 5.0
    """Seconds a request waits for a connection before it is answered with 503."""
    patience: float = 5.0
    """Seconds for which a call is sent again while the database cannot be reached."""
    max_body: int = 4 * 1024 * 1024
    """Bytes of a request."""
    body_timeout: float = 30.0
    """Seconds for a request to arrive whole."""
    keep_alive: float = 15.0
    """Seconds of silence on an event stream after which it says that it lives."""
    streams_per_key: int = 2000
    """Event streams open at once under one key."""
    rate_per_key: float | None = None
    """Requests a second under one key, with bursts of two seconds; None = unlimited."""
    trusted_proxies: frozenset[str] = frozenset()
    """Addresses whose X-Forwarded-For is believed."""

    studio_read_only: bool = False
    """The pages offer no action, and do none."""
    user_header: str | None = None
    """A header in which a proxy, the only way here, names whom it let in to the pages."""
    user_role: str = "all"
    """What they may do there whom the proxy let in: a role, or all."""
    page_secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    """What seals the cookies of pages where there is neither gate key nor shared key."""

    @property
    def named_keys(self) -> bool:
        """Whether keys of `tidebase-pg keys` are known, each served by the login of its role."""
        return bool(self.role_dsns)

    @property
    def open_to_all(self) -> bool:
        """Whether requests need no key."""
        return self.api_key is None and not self.named_keys
