"""Studio as an ASGI application: who asks, which page, and what every answer carries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote

import psycopg
from psycopg.errors import InsufficientPrivilege
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidebase_pg.call import Call
from tidebase_pg.errors import InvalidArgument, NotFound, SchemaError, TideError
from tidebase_pg.server.gateway import Gateway
from tidebase_pg.server.identity import Identity
from tidebase_pg.server.refusals import Refusal
from tidebase_pg.server.studio.rendering import Pages
from tidebase_pg.server.studio.sessions import COOKIE, NOTE, THEME, Session, Sessions

logger: Final = logging.getLogger("tidebase_pg.server.studio")
T = TypeVar("T")

HERE: Final = Path(__file__).parent
MOST_FORMS: Final = 10_000
"""So many forms that were sent are remembered."""
MOST: Final = 4 * 1024 * 1024
"""Bytes of a form."""
POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]", "testserver"})


@dataclass(frozen=True, slots=True)
class Options:
    """How a Studio is set up."""

    read_only: bool = False
    """No page offers an action, and none is done."""
    user_header: str | None = None
    """A header in which a proxy, the only way here, says who it let in: X-Forwarded-User."""
    user_role: str = "all"
    """What they may do whom the proxy let in."""
    refresh: float = 3.0
    """Seconds for which all pages share one look at the whole installation."""


class Leave(Exception):
    """Ends a request with an answer."""

    def __init__(self, answer: Response) -> None:
        self.answer = answer


@dataclass(slots=True)
class Looks:
    """What several pages look at at once is asked for once, and kept for a moment."""

    seconds: float
    _kept: dict[object, tuple[float, asyncio.Future[Any]]] = field(default_factory=dict[Any, Any])

    async def take(self, key: object, ask: Callable[[], Awaitable[T]]) -> T:
        now = time.monotonic()
        # One that is not answered yet is waited for, however long ago it began.
        for old, (at, answer) in list(self._kept.items()):
            if answer.done() and now - at > self.seconds:
                del self._kept[old]
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = (now, asyncio.ensure_future(_awaited(ask)))
        try:
            found: T = await asyncio.shield(kept[1])
        except Exception:
            if self._kept.get(key) is kept:
                del self._kept[key]
            raise
        return found

    def forget(self) -> None:
        """Something was changed: the next page looks again."""
        self._kept.clear()


async def _awaited(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()


@dataclass(slots=True)
class Studio:
    """What every page stands on."""

    gateway: Gateway
    options: Options
    sessions: Sessions
    pages: Pages
    looks: Looks
    used: dict[str, None] = field(default_factory=dict[str, None])
    """Forms that were sent and whose act the database cannot tell from a second one."""

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key."""
        settings = self.gateway.settings
        return settings.api_key is None and not settings.named_keys


@dataclass(slots=True)
class Visit:
    """One request of somebody who may look."""

    studio: Studio
    request: Request
    session: Session
    identity: Identity
    form: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def base(self) -> str:
        return str(self.request.scope.get("root_path", "")).rstrip("/")

    @property
    def actor(self) -> str:
        """Who did it, for the event log."""
        return (self.session.name or self.identity.name)[:200]

    @property
    def role(self) -> str:
        return self.identity.role

    @property
    def told(self) -> str:
        """What the stream told last, for which this page is loaded again: an older look at the
        same is not new enough."""
        return self.request.headers.get("x-studio-part", "")[:80]

    @property
    def sees_payloads(self) -> bool:
        """Whether it is worth asking: the database decides."""
        return self.role in ("all", "operator")

    @property
    def decides(self) -> bool:
        return self.role in ("all", "operator", "approver") and not self.studio.options.read_only

    @property
    def acts(self) -> bool:
        return self.role in ("all", "operator") and not self.studio.options.read_only

    async def ask(self, call: Call[T]) -> T:
        """The answer of the database, through a login of the visitor's role alone."""
        return await self.studio.gateway.hub.apart(
            self.studio.gateway.client_for(self.identity).execute(call)
        )

    async def look(self, key: object, call: Call[T]) -> T:
        """The same, shared for a moment with whoever has the same role and looks at the same."""
        return await self.studio.looks.take((self.role, key), lambda: self.ask(call))

    def is_first(self) -> bool:
        """Whether this form was not sent before to this process; it counts as sent from now on."""
        once = f"{self.session.session_id} {self.form.get('once', '')}"
        used = self.studio.used
        if once in used:
            return False
        used[once] = None
        while len(used) > MOST_FORMS:
            used.pop(next(iter(used)))
        return True

    def page(self, template: str, code: int = 200, /, **facts: Any) -> Response:
        """A whole page, or of a page that is open only the parts that live."""
        return self.studio.pages.answer(self, template, code, facts)

    def path(self, name: str) -> str:
        found = self.request.path_params[name]
        return str(found)

    def query(self, name: str) -> str:
        return self.request.query_params.get(name, "").strip()

    def done(self, where: str, text: str, kind: str = "done") -> Response:
        """Go to a page that says what was done."""
        self.studio.looks.forget()
        answer = RedirectResponse(self.base + where, HTTPStatus.SEE_OTHER)
        note = self.studio.sessions.seal_note(kind, text)
        answer.set_cookie(
            NOTE, note, max_age=60, path=self.base or "/", httponly=True, samesite="strict"
        )
        return answer


Handler = Callable[[Visit], Awaitable[Response]]


class Front:
    """Lets in who may look, and turns every error into a page."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def open(self, handler: Callable[[Studio, Request], Awaitable[Response]]) -> Any:
        """A page for everybody."""

        async def endpoint(request: Request) -> Response:
            await self._studio.gateway.open()
            self._check_host(request)
            return await self._guard(request, handler(self._studio, request))

        return endpoint

    def page(self, handler: Handler) -> Any:
        """A page to look at."""

        async def endpoint(request: Request) -> Response:
            return await self._guard(request, self._show(request, handler))

        return endpoint

    def action(self, handler: Handler, *, decides: bool = False) -> Any:
        """Something that changes the world: a form of a page of ours, of somebody who may."""

        async def endpoint(request: Request) -> Response:
            return await self._guard(request, self._act(request, handler, decides))

        return endpoint

    async def _show(self, request: Request, handler: Handler) -> Response:
        visit = await self.visit(request)
        try:
            return await handler(visit)
        except NotFound as error:
            return visit.page("missing.html", 404, text=error.message)
        except InsufficientPrivilege as error:
            said = error.diag.message_primary or "the database refuses it"
            return visit.page("refused.html", 403, text=f"The database says: {said}.")
        except (InvalidArgument, ValueError) as error:
            return visit.page("refused.html", 400, text=str(error))

    async def _act(self, request: Request, handler: Handler, decides: bool) -> Response:
        visit = await self.visit(request)
        visit.form = await read_form(request)
        self.check_form(request, visit.session, visit.form)
        if self._studio.options.read_only:
            raise Leave(visit.page("refused.html", 403, text="This Studio is read-only."))
        if not (visit.decides if decides else visit.acts):
            text = f"A key of role {visit.role} may not do this."
            raise Leave(visit.page("refused.html", 403, text=text))
        try:
            return await handler(visit)
        except (TideError, ValueError) as error:
            detail = getattr(error, "detail", None)
            text = str(error) + (f" {detail}" if detail else "")
            return visit.done(ours(visit.form.get("back")), text, "refused")

    def check_form(self, request: Request, session: Session, form: Mapping[str, str]) -> None:
        """Forms of other sites carry no token of this session."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        given = form.get("csrf", "")
        if site not in ("same-origin", "none") or not self._studio.sessions.is_form_token(
            session, given
        ):
            base = str(request.scope.get("root_path", ""))
            page = self._studio.pages.bare(
                "refused.html",
                403,
                base,
                text="This form is not of a page you have open. Load the page again.",
            )
            raise Leave(page)

    async def visit(self, request: Request) -> Visit:
        await self._studio.gateway.open()
        self._check_host(request)
        studio = self._studio
        session = studio.sessions.read(request.cookies.get(COOKIE))
        header = studio.options.user_header
        user = request.headers.get(header) if header else None
        if studio.is_open or user:
            session = session or Session.begin(None)
            identity = Identity(user, studio.options.user_role) if user else Identity("open", "all")
        else:
            found = await studio.gateway.authenticate(session.token) if session else None
            if session is None or found is None:
                raise Leave(self._to_login(request))
            identity = found
        if identity.role in ("client", "worker", "none"):
            base = str(request.scope.get("root_path", ""))
            text = f"A key of role {identity.role} opens no page here. Log in with another."
            raise Leave(studio.pages.bare("refused.html", 403, base, text=text, leave=True))
        request.state.session = session
        return Visit(studio, request, session, identity)

    def _to_login(self, request: Request) -> Response:
        base = str(request.scope.get("root_path", ""))
        if request.headers.get("x-studio-part"):
            return Response("log in again", 401, media_type="text/plain")
        path = request.url.path.removeprefix(base)
        after = path + (f"?{request.url.query}" if request.url.query else "")
        target = f"{base}/login"
        if request.method == "GET" and path not in ("", "/"):
            target += f"?next={quote(after, safe='')}"
        return RedirectResponse(target, HTTPStatus.SEE_OTHER)

    def _check_host(self, request: Request) -> None:
        """An open door on loopback answers to names of loopback only: another name would be that
        of a page that had its own name point here."""
        if not self._studio.is_open:
            return
        client = request.client.host if request.client else ""
        host = request.headers.get("host", "").rpartition(":")
        name = (host[0] if host[1] and host[2].isdecimal() else "".join(host)).lower()
        if client in LOOPBACK and name not in LOOPBACK:
            text = f"This Studio has no key, so it answers to localhost only, not to {name[:80]}."
            base = str(request.scope.get("root_path", ""))
            raise Leave(self._studio.pages.bare("refused.html", 421, base, text=text))

    async def _guard(self, request: Request, work: Awaitable[Response]) -> Response:
        base = str(request.scope.get("root_path", ""))
        pages = self._studio.pages
        try:
            answer = await work
        except Leave as leave:
            answer = leave.answer
        except NotFound as error:
            answer = pages.bare("missing.html", 404, base, text=error.message)
        except InsufficientPrivilege as error:
            text = error.diag.message_primary or "the database refuses it"
            answer = pages.bare("refused.html", 403, base, text=f"The database says: {text}.")
        except (InvalidArgument, ValueError) as error:
            answer = pages.bare("refused.html", 400, base, text=str(error))
        except (Refusal, SchemaError) as error:
            status = error.status if isinstance(error, Refusal) else 503
            answer = pages.bare("refused.html", status, base, text=str(error))
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
            logger.warning("the database cannot be reached: %s", error)
            answer = pages.bare("gone.html", 503, base)
            answer.headers["retry-after"] = "3"
        except Exception:
            logger.exception("%s %s failed", request.method, request.url.path)
            answer = pages.bare("broken.html", 500, base)
        session = getattr(request.state, "session", None)
        if session is not None and COOKIE not in request.cookies:
            put_session(answer, self._studio, session, request)
        return answer


def put_session(answer: Response, studio: Studio, session: Session, request: Request) -> None:
    """Set the cookie of a session."""
    answer.set_cookie(
        COOKIE,
        studio.sessions.write(session),
        path=str(request.scope.get("root_path", "")) or "/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def ours(path: str | None, otherwise: str = "/") -> str:
    """Where to go next as the form or address says: only ever a page of ours."""
    path = path or otherwise
    good = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if good and path.isprintable() else otherwise


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form; of a name that comes twice the last."""
    if request.headers.get("content-type", "").split(";")[0] != "application/x-www-form-urlencoded":
        raise ValueError("this is no form: send application/x-www-form-urlencoded")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST:
            raise ValueError(f"the form is larger than {MOST} bytes")
    pairs = parse_qsl(
        body.decode("ascii"), keep_blank_values=True, max_num_fields=1000, errors="strict"
    )
    form: dict[str, str] = {}
    for name, value in pairs:
        form[name] = f"{form[name]}\n{value}" if name == "run" and name in form else value
    return form


class Safe:
    """Puts the headers on every answer that keep a browser from doing what nobody asked for."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[tuple[bytes, bytes]] = list(message.get("headers", []))
                names = {name.lower() for name, _ in headers}
                for name, value in HEADERS.items():
                    if name.encode() not in names:
                        headers.append((name.encode(), value.encode()))
                if b"cache-control" not in names:
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self._application(scope, receive, sending)


class Statics(StaticFiles):
    """Our own files; their names hold what they are, so browsers may keep them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer


def build(
    gateway: Gateway,
    options: Options,
    routes: Callable[[Front], Sequence[BaseRoute]],
) -> ASGIApp:
    """The application over the routes of the pages."""
    settings = gateway.settings
    secret = settings.api_key or settings.page_secret
    studio = Studio(
        gateway, options, Sessions(secret), Pages(HERE, options.read_only), Looks(options.refresh)
    )
    front = Front(studio)

    async def missing(request: Request) -> Response:
        base = str(request.scope.get("root_path", ""))
        return studio.pages.bare("missing.html", 404, base, text="There is no such page.")

    application = Starlette(
        routes=[
            Mount(f"/static/{studio.pages.stamp}", Statics(directory=HERE / "static")),
            *routes(front),
            Route("/{rest:path}", missing, methods=["GET", "POST"]),
        ]
    )
    return Safe(application)


__all__ = ["THEME", "Front", "Leave", "Options", "Studio", "Visit", "build", "put_session"]
