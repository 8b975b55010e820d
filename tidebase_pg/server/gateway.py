"""What every request stands on: logins, keys, and the events of runs."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from tidebase_pg import calls, types
from tidebase_pg.client import AsyncClient
from tidebase_pg.client.meeting import Primary
from tidebase_pg.server.hub import Hub, Read
from tidebase_pg.server.identity import Identity
from tidebase_pg.server.polls import Polls
from tidebase_pg.server.refusals import Refusal
from tidebase_pg.server.settings import ROLES, Settings

logger: Final = logging.getLogger("tidebase_pg.server")

AsyncConnection = psycopg.AsyncConnection[Any]

MOST_KEYS: Final = 10_000
MOST_SIGNS: Final = 10_000
_KEY: Final = b"tide_"
_OPEN: Final = Identity("open", "all")
_SHARED: Final = Identity("key", "all")

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


def events_for(identity: Identity) -> Read:
    """The call that reads events as a role may see them."""
    return calls.outline_events if identity.role == "viewer" else calls.list_events


def _identity(key: types.Identity, digest: bytes) -> Identity:
    return Identity(key.name, key.role, named=True, key_hash=digest, shared=key.shared)


class Login:
    """The connections of one login, for `AsyncClient`."""

    def __init__(self, dsn: str, settings: Settings) -> None:
        self.primary = Primary()
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


class Signs:
    """Which runs are plain children, and when each next speaks for its parents; bounded."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._known: OrderedDict[UUID, tuple[bool, float]] = OrderedDict()

    def due(self, run_id: UUID) -> bool:
        known = self._known.get(run_id)
        return known is None or (known[0] and known[1] <= time.monotonic())

    def is_child(self, run_id: UUID) -> bool | None:
        """None while nobody has asked; asking puts off the next sign."""
        known = self._known.get(run_id)
        if known is None:
            return None
        self.learn(run_id, known[0])
        return known[0]

    def learn(self, run_id: UUID, is_child: bool) -> None:
        self._known[run_id] = (is_child, time.monotonic() + self._pause)
        self._known.move_to_end(run_id)
        if len(self._known) > MOST_SIGNS:
            self._known.popitem(last=False)


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
        self.signs = Signs(settings.lease.total_seconds() / 10)
        self.polls = Polls()
        self.hub = Hub(settings.dsn, parameters, self.upkeep)
        self._opened = False
        self._streams: Counter[str] = Counter()
        self._keys: dict[bytes, tuple[float, Identity | None]] = {}
        self._buckets: dict[str, tuple[float, float]] = {}
        self.ending = asyncio.Event()
        self.document: Callable[[], bytes] = bytes

    async def open(self) -> None:
        """Make ready; connections are made when needed. Again: nothing."""
        if not self._opened:
            self._opened = True
            for login in self._logins.values():
                await login.open()

    async def close(self) -> None:
        """End streams and connections."""
        self.ending.set()
        await self.hub.close()
        for login in self._logins.values():
            await login.close()

    async def authenticate(self, token: str | None) -> Identity | None:
        """Whose key this is; None = nobody's. Compared in constant time.

        Without a shared key the door is open, unless named keys are asked for.
        """
        shared = self.settings.api_key
        if self.settings.open_to_all:
            return _OPEN
        if token is None:
            return None
        given = token.encode("utf-8", "surrogateescape")
        if shared is not None and hmac.compare_digest(given, shared.encode()):
            return _SHARED
        return await self._named(given) if self.settings.named_keys else None

    async def _named(self, token: bytes) -> Identity | None:
        """A key of the database; known for some seconds, by its hash."""
        if not token.startswith(_KEY):
            return None
        digest = hashlib.sha256(token).digest()
        now = time.monotonic()
        known = self._keys.get(digest)
        if known is None or known[0] < now:
            found = await self.upkeep.execute(calls.authenticate_key(digest))
            identity = _identity(found[0], digest) if found else None
            if len(self._keys) > MOST_KEYS:
                self._keys.clear()
            known = self._keys[digest] = (now + self.settings.key_memory, identity)
        return known[1]

    @property
    def draining(self) -> bool:
        """Whether this gateway takes its leave."""
        return self.ending.is_set()

    @property
    def streams(self) -> int:
        """Event streams open now."""
        return self._streams.total()

    @contextmanager
    def stream_of(self, identity: Identity) -> Generator[None]:
        """Count a stream of a key while it is open."""
        self._streams[identity.name] += 1
        try:
            yield
        finally:
            self._streams[identity.name] -= 1

    def check_streams(self, identity: Identity) -> None:
        """Raises Refusal (429) when a key has as many streams as it may."""
        if self._streams[identity.name] >= self.settings.streams_per_key:
            raise Refusal(
                429,
                f"this key has {self.settings.streams_per_key} event streams open",
                headers={"retry-after": "10"},
                code="too_many_streams",
            )

    def check_rate(self, identity: Identity) -> None:
        """Raises Refusal (429) when a key asks more often than it may."""
        rate = self.settings.rate_per_key
        if rate is None:
            return
        now = time.monotonic()
        burst = max(1.0, 2 * rate)
        left, at = self._buckets.get(identity.name, (burst, now))
        left = min(burst, left + (now - at) * rate)
        if left < 1:
            wait = max(1, round((1 - left) / rate))
            raise Refusal(
                429,
                f"this key may ask {rate:g} times a second",
                headers={"retry-after": str(wait)},
                code="too_many_requests",
            )
        self._buckets[identity.name] = (left - 1, now)

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
    ) -> AsyncGenerator[list[types.EventRow]]:
        """Events of a run with seq > after, then live, without gap, nothing twice, in pages.

        An empty page comes after some seconds of silence. A viewer's events carry nothing. Raises
        NotFound for an unknown run.
        """
        return self.hub.subscribe(
            self.client_for(identity),
            run_id,
            after,
            silence=self.settings.keep_alive,
            read=events_for(identity),
        )

    async def gate_token(self, gate_id: UUID) -> str | None:
        """The token that decides a gate; None once it is decided, or where there is none."""
        found = await self.upkeep.execute(calls.gate_tokens([gate_id]))
        return found[0].token if found else None
