"""What every request stands on: logins, keys, and the events of runs."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import AsyncGenerator
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from tidebase_pg.client import AsyncClient
from tidebase_pg.server.hub import Hub
from tidebase_pg.server.identity import Identity
from tidebase_pg.server.refusals import Refusal
from tidebase_pg.server.settings import ROLES, Settings
from tidebase_pg.types import EventRow

logger: Final = logging.getLogger("tidebase_pg.server")

AsyncConnection = psycopg.AsyncConnection[Any]

_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "tidebase-pg-serve",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def parameters(dsn: str) -> dict[str, Any]:
    """What to connect with: the DSN, and where it is silent, a quick end for dead connections."""
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The text of the error may hold the DSN, and that a password.
        raise ValueError("the DSN cannot be read: give a URL or key=value pairs") from None
    return {**_DEFAULTS, **given, "autocommit": True}


class Login:
    """The connections of one login, for `AsyncClient`."""

    def __init__(self, dsn: str, settings: Settings) -> None:
        self._pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
            kwargs=parameters(dsn),
            min_size=0,
            max_size=settings.pool_size,
            max_waiting=settings.pool_size * 100,
            timeout=settings.pool_timeout,
            open=False,
        )

    async def open(self) -> None:
        await self._pool.open()

    async def acquire(self) -> AsyncConnection:
        return await self._pool.getconn()

    async def release(self, connection: AsyncConnection) -> None:
        await self._pool.putconn(connection)

    async def close(self) -> None:
        await self._pool.close()


class Gateway:
    """Pools of logins by role, keys, and one listener for all event streams of the process.

    >>> gateway = Gateway(Settings(dsn="postgresql:///app"))
    >>> await gateway.open()
    >>> identity = await gateway.authenticate(token)
    >>> run = await gateway.client_for(identity).execute(calls.get_run(run_id))
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        for role in settings.role_dsns:
            if role not in ROLES:
                raise ValueError(f"role {role!r} is not known: give {', '.join(ROLES)}")
        dsns = {"all": settings.dsn, **settings.role_dsns}
        self._logins = {role: Login(dsn, settings) for role, dsn in dsns.items()}
        self._clients = {
            role: AsyncClient(login, patience=settings.patience)
            for role, login in self._logins.items()
        }
        self.hub = Hub(settings.dsn, parameters)
        self._opened = False
        self.draining = False

    async def open(self) -> None:
        """Make ready; connections are made when needed. Again: nothing."""
        if not self._opened:
            self._opened = True
            for login in self._logins.values():
                await login.open()

    async def close(self) -> None:
        """End streams and connections."""
        self.draining = True
        await self.hub.close()
        for login in self._logins.values():
            await login.close()

    @property
    def is_open(self) -> bool:
        """Whether requests need no key."""
        return self.settings.api_key is None

    async def authenticate(self, token: str | None) -> Identity | None:
        """Whose key this is; None = nobody's. Compared in constant time."""
        if self.is_open:
            return Identity("open", "all")
        if token is None:
            return None
        shared = self.settings.api_key
        if shared is not None and hmac.compare_digest(token.encode(), shared.encode()):
            return Identity("key", "all")
        return None

    @property
    def upkeep(self) -> AsyncClient:
        """For the background work: the gateway's own login."""
        return self._clients["all"]

    def client_for(self, identity: Identity) -> AsyncClient:
        """The calls of an identity go through a login of its role alone: the database decides.

        Raises Refusal (503) when this gateway has no login for the role.
        """
        client = self._clients.get(identity.role)
        if client is None:
            raise Refusal(
                503,
                f"this gateway has no login for keys of role {identity.role}",
                headers={"retry-after": "60"},
                code="no_login",
            )
        return client

    def subscribe(
        self, identity: Identity, run_id: UUID, after: int = 0
    ) -> AsyncGenerator[list[EventRow]]:
        """Events of a run with seq > after, then live, without gap, nothing twice, in pages.

        An empty page comes after some seconds of silence. Raises NotFound for an unknown run.
        """
        return self.hub.subscribe(
            self.client_for(identity), run_id, after, silence=self.settings.keep_alive
        )

    def gate_token(self, gate_id: UUID) -> str | None:
        """The token that decides a gate through this door; None where no key makes one."""
        key = self.settings.gate_key or self.settings.api_key
        if key is None:
            key = "open"
        return hmac.new(key.encode(), gate_id.bytes, hashlib.sha256).hexdigest()[:32]
