"""Decisions: all that wait, and a page of its own for each, which can be sent to a person."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from psycopg.errors import InsufficientPrivilege
from starlette.requests import Request
from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.errors import GateResolved, NotFound, TideError
from tidebase_pg.server.identity import Identity
from tidebase_pg.server.studio.answers import (
    PLACE,
    Field,
    beside,
    fields,
    initial,
    read,
    read_json,
)
from tidebase_pg.server.studio.application import (
    Front,
    Leave,
    Studio,
    Visit,
    put_session,
    read_form,
)
from tidebase_pg.server.studio.sessions import COOKIE, Session
from tidebase_pg.types import GateRow, ListedGate

PAGE: Final = 20
UNSENT: Final = "Not decided yet: something in the form is not right. What you typed is kept."


async def gates(visit: Visit) -> Response:
    """Pending decisions, oldest first."""
    after = visit.query("after")
    found: list[Any] = []
    hidden = 0
    try:
        call = calls.list_gates(after_gate=after or None, max_gates=PAGE)
        found = await visit.look(("gates", after), call)
    except InsufficientPrivilege:
        seen = await visit.look("overview", calls.overview())
        hidden = seen["gates"]["pending"]
    return visit.page("gates.html", gates=found, hidden=hidden, after=after, page_size=PAGE)


async def gate(studio: Studio, request: Request) -> Response:
    """One decision, for whoever has its token or may decide."""
    gate_id = UUID(str(request.path_params["gate_id"]))
    form = dict(await read_form(request)) if request.method == "POST" else {}
    token = form.get("token") or request.query_params.get("token", "")
    front = Front(studio)
    visit = await _enter(front, studio, request, gate_id, token)
    visit.form = form
    if request.method == "POST":
        front.check_form(request, visit.session, form)
        return await _decide(visit, gate_id, token)
    return await _page(visit, gate_id, token)


async def _page(
    visit: Visit,
    gate_id: UUID,
    token: str,
    note: tuple[str, str] | None = None,
    *,
    code: int = 200,
    wrong: Mapping[str, str] | None = None,
) -> Response:
    """The page of a decision; what was typed and not taken stands in its form again, with what is
    wrong beside each field."""
    try:
        shown = await visit.ask(calls.get_gate(gate_id))
        more = await visit.ask(calls.describe_gate(gate_id))
    except NotFound:
        raise Leave(
            visit.studio.pages.bare(
                "missing.html", 404, visit.base, text="There is no such decision."
            )
        ) from None
    form = fields(more["answer_schema"])
    others: list[ListedGate] = []
    if not _by_link(visit):
        listed = await visit.ask(calls.list_gates(only_run=shown.run_id, max_gates=PAGE))
        others = [other for other in listed if other.gate_id != gate_id]
    typed = dict(visit.form) if wrong is not None else initial(form or ())
    return visit.page(
        "gate.html",
        code,
        gate=shown,
        gate_id=gate_id,
        token=token,
        by_link=_by_link(visit),
        more=more,
        note=note,
        form=form,
        others=others,
        typed=typed,
        wrong=wrong or {},
    )


def _by_link(visit: Visit) -> bool:
    return visit.identity.name == "link"


async def _enter(
    front: Front, studio: Studio, request: Request, gate_id: UUID, token: str
) -> Visit:
    """By the token of this gate alone, or as whoever is logged in."""
    right = await studio.gateway.gate_token(gate_id)
    if token and right and hmac.compare_digest(token.encode(), right.encode()):
        session = studio.sessions.read(request.cookies.get(COOKIE)) or Session.begin(None)
        request.state.session = session
        role = "approver" if "approver" in studio.gateway.settings.role_dsns else "all"
        return Visit(studio, request, session, Identity("link", role))
    return await front.visit(request)


async def _decide(visit: Visit, gate_id: UUID, token: str) -> Response:
    where = f"/gates/{gate_id}" + (f"?token={quote(token, safe='')}" if token else "")
    if not visit.decides:
        text = f"A key of role {visit.role} may not decide."
        raise Leave(visit.page("refused.html", 403, text=text))
    decision = visit.form.get("decision", "")
    note = visit.form.get("note", "").strip()

    async def again(said: str, wrong: Mapping[str, str], code: int = 400) -> Response:
        return await _page(visit, gate_id, token, ("refused", said), code=code, wrong=wrong)

    actor = visit.actor
    if _by_link(visit):
        actor = visit.form.get("actor", "").strip()[:200]
        if not actor:
            said = "Say who you are: the log names who decided."
            return await again(said, {"actor": "Your name is missing"})
    shown = await visit.ask(calls.describe_gate(gate_id))
    form = fields(shown["answer_schema"])
    payload, wrong = _payload(visit, form, decision)
    if wrong:
        return await again(UNSENT, wrong)
    try:
        made = await visit.ask(_call(visit, gate_id, token, decision, actor, payload, note or None))
    except GateResolved as error:
        said = f"It was decided already. {error.detail or ''} Yours was not."
        return await _decided(visit, gate_id, token, where, said, "refused")
    except InsufficientPrivilege as error:
        said = error.diag.message_primary or "the database refuses it"
        return await again(f"The database says: {said}.", {}, 403)
    except (TideError, ValueError) as error:
        said = error.message if isinstance(error, TideError) else str(error)
        if form is None and said.startswith(PLACE):
            return await again(UNSENT, {"payload": said})
        wrong = beside(form or (), said)
        return await again(UNSENT if wrong else str(error), wrong)
    if made.status == "pending":
        return _noted(visit, where, f"Your vote counts: {decision}. Others have to decide as well.")
    said = f"{decision.capitalize()}. The run goes on."
    return await _decided(visit, gate_id, token, where, said)


def _payload(
    visit: Visit, form: Sequence[Field] | None, decision: str
) -> tuple[Any, dict[str, str]]:
    """What goes with the decision, and what is wrong with which field; a rejection takes none of
    a form, which asks what an approval carries."""
    if form is not None:
        return read(form, visit.form) if decision == "approved" else ({}, {})
    try:
        return read_json(visit.form.get("payload", "").strip() or "{}", "payload"), {}
    except ValueError as error:
        return None, {"payload": str(error)}


def _call(
    visit: Visit,
    gate_id: UUID,
    token: str,
    decision: str,
    actor: str,
    payload: Any,
    comment: str | None,
) -> Call[GateRow]:
    """Who comes by a link has its token and no name that anybody knows."""
    if _by_link(visit):
        return calls.resolve_gate(
            gate_id, token, decision, actor=actor, payload=payload, comment=comment
        )
    key_hash = visit.identity.key_hash
    return calls.decide_gate(
        gate_id, decision, actor, payload=payload, comment=comment, key_hash=key_hash
    )


async def _decided(
    visit: Visit, gate_id: UUID, token: str, where: str, text: str, kind: str = "done"
) -> Response:
    """The token of a decided gate opens it no more, so its holder is shown it in the answer."""
    if not _by_link(visit):
        return _noted(visit, where, text, kind)
    visit.studio.looks.forget()
    return await _page(visit, gate_id, token, (kind, text))


def _noted(visit: Visit, where: str, text: str, kind: str = "done") -> Response:
    answer = visit.done(where, text, kind)
    if COOKIE not in visit.request.cookies:
        put_session(answer, visit.studio, visit.session, visit.request)
    return answer
