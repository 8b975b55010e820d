"""Routes: each is declared once, and validation, documents and translation follow from that."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, ParamSpec, TypeVar, get_type_hints
from urllib.parse import unquote_to_bytes
from uuid import UUID, uuid5

import msgspec

from tidebase_pg.call import Call
from tidebase_pg.client import AsyncClient
from tidebase_pg.errors import Stop
from tidebase_pg.server import refusals
from tidebase_pg.server.gateway import Gateway
from tidebase_pg.server.identity import Identity, read_id, step_name
from tidebase_pg.server.refusals import BadBody, Refusal, missing
from tidebase_pg.server.whole import whole

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., Awaitable[Any]])

ABSENT: Final = (b"", b"null")
BROKER: Final = frozenset({"agents", "resources", "audit"})
"""Beginnings of paths that belong to the credential broker of Tidebase 0.7."""
NAMESPACE: Final = UUID("6f1b1f5e-7d3c-5a64-9d0f-2f6c1d0f7a11")


@dataclass(frozen=True, slots=True)
class Route:
    """One route: what it takes and answers follows from the signature of its handler."""

    method: str
    path: str
    topic: str
    handler: Callable[..., Awaitable[Any]]
    body: type[Any] | None
    query: type[Any] | None
    answer: Any
    optional_body: bool
    open: bool
    stops: bool
    errors: Sequence[int]
    media: str

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def summary(self) -> str:
        return inspect.getdoc(self.handler) or ""

    @property
    def segments(self) -> list[str]:
        return self.path.strip("/").split("/")


class Topic:
    """Collects the routes of one topic."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.routes: list[Route] = []

    def route(
        self,
        method: str,
        path: str,
        *,
        optional_body: bool = False,
        open: bool = False,
        stops: bool = False,
        errors: Sequence[int] = (),
        media: str = "application/json",
    ) -> Callable[[H], H]:
        """Declare a route. The handler's arguments `body` and `query` say what is taken.

        `stops`: called inside workflows, so a refusal to the worker is the word that stops it.
        """

        def declare(handler: H) -> H:
            hints = get_type_hints(handler, include_extras=True)
            self.routes.append(
                Route(
                    method=method,
                    path=path,
                    topic=self.name,
                    handler=handler,
                    body=hints.get("body"),
                    query=hints.get("query"),
                    answer=hints["return"],
                    optional_body=optional_body,
                    open=open,
                    stops=stops,
                    errors=tuple(errors),
                    media=media,
                )
            )
            return handler

        return declare


def run_ids(given: Sequence[str] | None) -> list[UUID] | None:
    """Runs that a body names. Raises 404 when one is no id."""
    if given is None:
        return None
    found = [named for text in given if (named := read_id("run", text)) is not None]
    if len(found) < len(given):
        raise missing("run")
    return found


@dataclass(slots=True)
class Ask:
    """One request, on its way to calls."""

    gateway: Gateway
    identity: Identity
    route: Route
    path: Mapping[str, str]
    headers: Mapping[str, str]
    scope: Mapping[str, Any]
    request_id: str
    worker: str | None
    """The name in a scoped URL."""
    address: str | None
    documents: Mapping[str, str] = field(default_factory=dict[str, str])
    connection: AsyncClient | None = None

    @property
    def client(self) -> AsyncClient:
        return self.connection or self.gateway.client_for(self.identity)

    @property
    def actor(self) -> str:
        """Who acts, for the event log."""
        return f"http:{self.identity.name}"

    @property
    def strong(self) -> str | None:
        """Who sends this for certain: the name in a scoped URL, or a key of one's own."""
        return self.worker or (self.identity.name if self.identity.named else None)

    def label(self, given: str | None = None) -> str:
        """Under which name runs are leased, for people and for the fence."""
        told = self.headers.get("x-tidebase-worker") or given
        return self.strong or told or f"http@{self.address or 'unknown'}"

    @property
    def idempotency_key(self) -> str | None:
        """What makes the same request again the same, apart for every key."""
        key = self.headers.get("idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
            raise BadBody(["Idempotency-Key"], "give 1 to 255 printable characters of ASCII")
        return f"{self.identity.name}:{key}"

    @property
    def idempotent_id(self) -> UUID | None:
        """The id that the same request again makes again; of a named key what no other key can make
        or guess."""
        key = self.idempotency_key
        if key is None:
            return None
        own = self.identity.key_hash
        return uuid5(NAMESPACE, key if own is None else f"{own.hex()} {key}")

    def carrying(self, **documents: msgspec.Raw) -> Ask:
        """The same request, whose next call takes these JSON documents as they came, unread."""
        given = {
            name: bytes(raw).decode() for name, raw in documents.items() if bytes(raw) not in ABSENT
        }
        return replace(self, documents=given)

    def on(self, connection: AsyncClient) -> Ask:
        """The same request, whose calls all go over one connection."""
        return replace(self, connection=connection)

    async def __call__(
        self, function: Callable[P, Call[T]], *arguments: P.args, **options: P.kwargs
    ) -> T:
        """The answer of a call. A wrong argument is a bad request."""
        return await self.execute(self.build(function, *arguments, **options))

    def build(
        self, function: Callable[P, Call[T]], *arguments: P.args, **options: P.kwargs
    ) -> Call[T]:
        """A call. A wrong argument is a bad request."""
        try:
            return function(*arguments, **options)
        except (ValueError, TypeError) as error:
            raise refusals.wrong_argument(error) from None

    async def execute(self, call: Call[T]) -> T:
        """The answer of a call, with the documents this request carries."""
        try:
            return await self.plainly(call)
        except Stop as error:
            if self.route.stops:
                raise refusals.stopped(error) from None
            raise

    async def plainly(self, call: Call[T]) -> T:
        """The same, with the errors of the schema as they are."""
        if self.documents:
            call = replace(call, arguments={**call.arguments, **self.documents})
        return await self.client.execute(whole(call))

    @property
    def run_id(self) -> UUID:
        """The run in the path. Raises 404 when it is no id."""
        return self.id("run", "id")

    def id(self, noun: str, name: str, prefix: str | None = None) -> UUID:
        found = read_id(prefix or noun, self.path[name])
        if found is None:
            raise missing(noun)
        return found

    @property
    def step(self) -> str:
        """The step in the path. Raises 409 as the SDKs know it when it is no id."""
        found = step_name(self.path["step"])
        if found is None:
            raise Refusal(409, "step not found or lease lost", code="step_not_found")
        return found


class Table:
    """Finds the route of a request: one segment of the path is one name, `%2F` within it."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = list(routes)
        self._tree: dict[str, Any] = {}
        for route in self.routes:
            node = self._tree
            for segment in route.segments:
                node = node.setdefault("*" if segment.startswith("{") else segment, {})
            methods = node.setdefault("/", {})
            if route.method in methods:
                raise ValueError(f"{route.method} {route.path} is declared twice")
            methods[route.method] = route

    def find(self, method: str, segments: Sequence[str]) -> tuple[Route, dict[str, str]]:
        """The route and what stands in its path. Raises 404 and 405."""
        if segments[0] in BROKER or (len(segments) > 2 and segments[2] == "grants"):
            raise Refusal(
                503, "the credential broker is not part of this server", code="broker_disabled"
            )
        node = self._walk(self._tree, segments)
        if node is None:
            raise Refusal(404, "not found")
        wanted = "GET" if method == "HEAD" else method
        route: Route | None = node.get(wanted)
        if route is None:
            allowed = ", ".join(sorted(node))
            raise Refusal(405, "method not allowed", headers={"allow": allowed})
        given = {
            part[1:-1]: segment
            for part, segment in zip(route.segments, segments, strict=True)
            if part.startswith("{")
        }
        return route, given

    def _walk(self, node: dict[str, Any], segments: Sequence[str]) -> dict[str, Any] | None:
        if not segments:
            return node.get("/")
        first, rest = segments[0], segments[1:]
        found = None
        if first not in ("*", "/") and first in node:
            found = self._walk(node[first], rest)
        if found is None and "*" in node:
            found = self._walk(node["*"], rest)
        return found


def split(raw_path: bytes) -> list[str]:
    """The decoded segments of a path. Raises 404 where they are no text."""
    try:
        return [unquote_to_bytes(part).decode() for part in raw_path.strip(b"/").split(b"/")]
    except UnicodeDecodeError:
        raise Refusal(404, "not found") from None
