"""Logging in with a key, logging out, and the choice of light or dark."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tidebase_pg.server.studio.application import Leave, Studio, ours, put_session, read_form
from tidebase_pg.server.studio.sessions import COOKIE, THEME, Session


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


async def login(studio: Studio, request: Request) -> Response:
    """Ask for a key; the right one opens the page that was asked for."""
    base = _base(request)
    after = ours(request.query_params.get("next"))
    if studio.is_open:
        return RedirectResponse(base + after, HTTPStatus.SEE_OTHER)
    if request.method == "GET":
        return studio.pages.bare("login.html", 200, base, after=after, wrong=False)
    form = await read_form(request)
    after = ours(form.get("next"))
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return studio.pages.bare("login.html", 403, base, after=after, wrong=True)
    key = form.get("key", "").strip()
    identity = await studio.gateway.authenticate(key) if key else None
    if identity is None:
        return studio.pages.bare("login.html", 401, base, after=after, wrong=True)
    name = form.get("name", "").strip()[:100] or None
    answer = RedirectResponse(base + after, HTTPStatus.SEE_OTHER)
    session = Session.begin(key, None if identity.named else name)
    put_session(answer, studio, session, request)
    return answer


async def logout(studio: Studio, request: Request) -> Response:
    """Forget the key."""
    base = _base(request)
    await _checked(studio, request)
    answer = RedirectResponse(f"{base}/login", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, path=base or "/")
    return answer


async def theme(studio: Studio, request: Request) -> Response:
    """Choose light, dark, or what the system says."""
    base = _base(request)
    form = await _checked(studio, request)
    chosen = form.get("theme", "")
    answer = RedirectResponse(base + ours(form.get("back")), HTTPStatus.SEE_OTHER)
    if chosen in ("light", "dark"):
        answer.set_cookie(
            THEME, chosen, max_age=31_536_000, path=base or "/", httponly=True, samesite="strict"
        )
    else:
        answer.delete_cookie(THEME, path=base or "/")
    return answer


async def _checked(studio: Studio, request: Request) -> dict[str, str]:
    session = studio.sessions.read(request.cookies.get(COOKIE))
    form = dict(await read_form(request))
    if session is None or not studio.sessions.is_form_token(session, form.get("csrf", "")):
        raise Leave(RedirectResponse(_base(request) + "/", HTTPStatus.SEE_OTHER))
    return form
