"""The installation: its workers, what doctor finds, and the pause of everything."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.admin import doctor as examination
from tidebase_pg.display import moment
from tidebase_pg.errors import SchemaError
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages.changes import changes


async def workers(visit: Visit) -> Response:
    """Who is alive, and what each holds."""
    found = await visit.look("workers", calls.list_workers())
    seen = await visit.look("overview", calls.overview())
    now = moment(seen["now"])
    assert now is not None
    alive = [w for w in found if w.seen_at is not None and now - w.seen_at < timedelta(minutes=1)]
    return visit.page("workers.html", now=now, workers=found, alive=len(alive), seen=seen)


async def doctor(visit: Visit) -> Response:
    """The pause of everything and, when asked, what doctor finds among all rows, with the script
    that mends it; shown, never run."""
    asked = visit.sees_payloads and bool(visit.query("examine"))
    seen = await visit.look("overview", calls.overview())
    findings: list[Any] = []
    wrong = None
    if asked:
        try:
            findings = await visit.studio.looks.take("doctor", lambda: _examined(visit))
        except (SchemaError, OSError) as error:
            wrong = str(error)
    return visit.page(
        "doctor.html",
        now=moment(seen["now"]) or datetime.now(UTC),
        seen=seen,
        findings=findings,
        wrong=wrong,
        may_examine=visit.sees_payloads,
        examined=asked and wrong is None,
        changes=await changes(visit, None, None),
    )


async def _examined(visit: Visit) -> list[Any]:
    dsn = visit.studio.gateway.settings.dsn
    return await asyncio.to_thread(examination.examine, dsn)


async def pause(visit: Visit) -> Response:
    """Pause the whole installation."""
    reason = visit.form.get("reason", "").strip() or None
    await visit.ask(calls.pause(reason=reason, actor=visit.actor))
    return visit.done("/doctor", "Paused: nothing is claimed, fired, swept or sent.")


async def resume(visit: Visit) -> Response:
    """Let it go on."""
    await visit.ask(calls.resume(actor=visit.actor))
    return visit.done("/doctor", "The installation goes on.")
