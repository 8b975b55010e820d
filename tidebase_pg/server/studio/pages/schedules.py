"""Schedules: what fires when, in words and in their zone, and what became of it."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import JSONResponse, Response

from tidebase_pg import calls
from tidebase_pg.errors import InvalidArgument, NotFound
from tidebase_pg.server.studio import words
from tidebase_pg.server.studio.answers import read_json
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages.changes import changes


async def schedules(visit: Visit) -> Response:
    """Every schedule."""
    found = await visit.look("schedules", calls.outline_schedules())
    return visit.page("schedules.html", schedules=found, zone=ZoneInfo)


async def schedule(visit: Visit) -> Response:
    """One schedule with its next ten fires, and the form that changes it."""
    name = visit.path("name")
    outlines = await visit.look("schedules", calls.outline_schedules())
    outline = next((one for one in outlines if one.schedule == name), None)
    if outline is None:
        raise NotFound(f"there is no schedule {name[:200]!r}")
    whole: Any = None
    if visit.sees_payloads:
        listed = await visit.ask(calls.list_schedules())
        whole = next((one for one in listed if one.schedule == name), None)
    call = calls.next_fires(outline.cron, time_zone=outline.time_zone, max_fires=10)
    return visit.page(
        "schedule.html",
        schedule=outline,
        whole=whole,
        fires=await visit.ask(call),
        zone=ZoneInfo(outline.time_zone),
        changes=await changes(visit, "schedule", name),
    )


async def preview(visit: Visit) -> Response:
    """What an expression would do, for the form while it is typed."""
    cron, zone = visit.query("cron"), visit.query("zone") or "UTC"
    try:
        fires = await visit.ask(calls.next_fires(cron, time_zone=zone, max_fires=10))
    except InvalidArgument as error:
        return JSONResponse({"wrong": str(error)})
    local = [fire.astimezone(ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M") for fire in fires]
    return JSONResponse({"words": words.cron(cron), "fires": local})


async def change(visit: Visit) -> Response:
    """Pause, resume, fire now, or change what the form says, if it is as the form showed it."""
    name = visit.path("name")
    where = f"/schedules/{name}"
    listed = await visit.ask(calls.list_schedules())
    now = next((one for one in listed if one.schedule == name), None)
    if now is None:
        raise NotFound(f"there is no schedule {name[:200]!r}")
    act = visit.form.get("act", "")
    if act == "pause":
        await visit.ask(calls.pause_schedule(name, actor=visit.actor))
        return visit.done(where, f"{name} is paused.")
    if act == "resume":
        await visit.ask(calls.resume_schedule(name, actor=visit.actor))
        return visit.done(where, f"{name} fires again.")
    if visit.form.get("seen") != f"{now.updated_at.isoformat()} {now.last_run_id or ''}":
        text = "The schedule has changed since the page was loaded. Nothing was done; look again."
        return visit.done(where, text, "refused")
    if act == "fire":
        fire = await visit.ask(calls.fire_schedule(name, key_hash=visit.identity.key_hash))
        return visit.done(where, f"Fired: run {fire.run_id}.")
    changed = calls.set_schedule(
        name,
        visit.form.get("cron", now.cron).strip(),
        visit.form.get("workflow", now.workflow).strip(),
        input=read_json(visit.form.get("input", "").strip() or "{}", "input"),
        queue=visit.form.get("queue", now.queue).strip(),
        time_zone=visit.form.get("time_zone", now.time_zone).strip(),
        misfire=visit.form.get("misfire", now.misfire),
        overlap=visit.form.get("overlap", now.overlap),
        max_attempts=now.max_attempts,
        priority=now.priority,
        deadline=now.deadline,
        metadata=now.metadata,
        enabled=now.enabled,
        key_hash=visit.identity.key_hash,
        actor=visit.actor,
    )
    await visit.ask(changed)
    return visit.done(where, "Changed.")
