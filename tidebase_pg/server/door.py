"""The ASGI application: reads a request, finds who sends it and the route, answers."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.types import Receive, Scope, Send

from tidebase_pg.errors import Stop
from tidebase_pg.server.gateway import Gateway
from tidebase_pg.server.identity import Identity
from tidebase_pg.server.objects import encode
from tidebase_pg.server.refusals import BadBody, Refusal, translate
from tidebase_pg.server.routing import Ask, Route, Table, split
from tidebase_pg.server.streams import Answer

logger: Final = logging.getLogger("tidebase_pg.server")

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_WHERE: Final = re.compile(r" - at `(?:key in )?\$(.*)`$")
_PART: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_METHODS: Final = "GET, HEAD, PUT, POST, DELETE, PATCH"


class Door:
    """Everything under one path prefix, `/w/<worker>/…` included."""

    def __init__(self, gateway: Gateway, table: Table) -> None:
        self._gateway = gateway
        self._table = table
        self._decoders = {
            route: msgspec.json.Decoder(route.body) for route in table.routes if route.body
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        extra = {
            "x-request-id": request_id,
            "access-control-allow-origin": self._gateway.settings.cors_origin,
        }
        try:
            answer = await self._answer(scope, receive, headers, request_id)
        except (Exception, Stop) as error:
            refusal = translate(error)
            if refusal is None:
                logger.exception("request %s: %s failed", request_id, scope["method"])
                refusal = Refusal(500, "internal server error")
            answer = _refused(refusal, headers, request_id)
        await answer(scope, receive, send, extra)

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str], request_id: str
    ) -> Answer:
        method: str = scope["method"]
        if method == "OPTIONS":
            return _preflight(headers)
        await self._gateway.open()
        wrong: Refusal | None = None
        segments: list[str] = []
        query: list[tuple[str, str]] = []
        try:
            segments = split(_raw_path(scope))
            query = _query(scope)
        except Refusal as refusal:
            wrong = refusal
            scope["query_string"] = b""
        worker = None
        if len(segments) > 2 and segments[0] == "w":
            worker, segments = segments[1], segments[2:]
        _hide_token(scope, query)
        unlocked = segments in (["health"], ["ready"])
        token = _token(method, headers, segments, query)
        identity = await self._gateway.authenticate(token)
        if identity is None and not unlocked:
            raise Refusal(401, "unauthorized", headers={"www-authenticate": "Bearer"})
        if wrong is not None:
            raise wrong
        if worker == "":
            raise Refusal(400, "the worker has no name: send requests to /w/<name>/…")
        route, path = self._table.find(method, segments)
        if identity is not None and not unlocked:
            self._gateway.check_rate(identity)
        ask = Ask(
            gateway=self._gateway,
            identity=identity or Identity("nobody", "none"),
            route=route,
            path=path,
            headers=headers,
            scope=scope,
            request_id=request_id,
            worker=worker,
            address=_address(scope, headers, self._gateway.settings.trusted_proxies),
        )
        scope["tidebase"] = ask  # what is around the door may say of which route and run it was
        arguments: dict[str, Any] = {}
        if route.body is not None:
            arguments["body"] = self._body(route, await self._read(receive, headers))
        if route.query is not None:
            arguments["query"] = _read_query(route.query, query)
        found = await route.handler(ask, **arguments)
        if isinstance(found, Answer):
            return found
        return Answer(200, encode(found), {"content-type": "application/json"})

    async def _read(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        """The whole body, within the limits of size and time."""
        most = self._gateway.settings.max_body
        too_large = Refusal(413, f"the body is larger than {most} bytes", code="body_too_large")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._gateway.settings.body_timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(408, "the request did not arrive whole")
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refusal(408, "the request did not arrive in time") from None

    def _body(self, route: Route, raw: bytes) -> Any:
        if not raw.strip():
            if not route.optional_body:
                raise BadBody([], "the body is missing: send a JSON object")
            raw = b"{}"
        try:
            raw.decode()
            return self._decoders[route].decode(raw)
        except UnicodeDecodeError as error:
            raise BadBody([], f"the body is not UTF-8: byte {error.start}") from None
        except msgspec.ValidationError as error:
            raise BadBody(*_issue(error)) from None
        except msgspec.DecodeError as error:
            raise BadBody([], f"the body is not JSON: {error}") from None
        except RecursionError:
            raise BadBody([], "the body is nested too deeply: at most 100 levels") from None


def _issue(error: msgspec.ValidationError) -> tuple[list[str | int], str]:
    """Where a value is wrong and why; no part of the value itself."""
    text = str(error)
    found = _WHERE.search(text)
    if found is None:
        missing = re.search(r"missing required field `(.+)`", text)
        return ([missing[1]] if missing else []), text
    path: list[str | int] = [
        part[1] or (int(part[2]) if part[2].isdecimal() else part[2])
        for part in _PART.finditer(found[1])
    ]
    message = text[: found.start()]
    missing = re.search(r"missing required field `(.+)`", message)
    return [*path, *([missing[1]] if missing else [])], message


def _refused(refusal: Refusal, headers: Mapping[str, str], request_id: str) -> Answer:
    if "application/problem+json" in headers.get("accept", ""):
        body, media = refusal.problem(f"urn:request:{request_id}"), "application/problem+json"
    else:
        body, media = refusal.body(), "application/json"
    return Answer(refusal.status, encode(body), {"content-type": media, **refusal.headers})


def _preflight(headers: Mapping[str, str]) -> Answer:
    return Answer(
        204,
        b"",
        {
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": headers.get("access-control-request-headers", "*"),
            "access-control-max-age": "86400",
            "vary": "access-control-request-headers",
        },
    )


def _raw_path(scope: Scope) -> bytes:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    root = scope.get("root_path", "").encode()
    return raw.removeprefix(root)


def _query(scope: Scope) -> list[tuple[str, str]]:
    text = scope.get("query_string", b"").decode("latin-1")
    if not text:
        return []
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise BadBody([], "the query is not UTF-8, or has more than 100 fields") from None


def _hide_token(scope: Scope, query: Iterable[tuple[str, str]]) -> None:
    """Servers log the query of a request when it is answered: no key may be in it then."""
    if any(name == "token" for name, _ in query):
        shown = [(name, value) for name, value in query if name != "token"]
        scope["query_string"] = urlencode(shown).encode()


def _token(
    method: str,
    headers: Mapping[str, str],
    segments: list[str],
    query: Iterable[tuple[str, str]],
) -> str | None:
    """The key a request carries; in the query of an event stream only where no header has it."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip() or None
    reads = method in ("GET", "HEAD")
    if reads and len(segments) == 3 and segments[0] == "runs" and segments[2] == "events":
        return dict(query).get("token") or None
    return None


def _read_query(kind: type[Any], query: Iterable[tuple[str, str]]) -> Any:
    try:
        return msgspec.convert(dict(query), kind, strict=False)
    except msgspec.ValidationError as error:
        path, message = _issue(error)
        raise Refusal(
            400, "invalid request query", issues=[{"path": path, "message": message}]
        ) from None


def _address(scope: Scope, headers: Mapping[str, str], trusted: frozenset[str]) -> str | None:
    """Where the client is; behind a proxy only what a trusted one says."""
    client = scope.get("client")
    here: str | None = client[0] if client else None
    if here in trusted:
        hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",")]
        while hops and hops[-1] in trusted:
            hops.pop()
        return hops[-1] if hops and hops[-1] else None
    return here
