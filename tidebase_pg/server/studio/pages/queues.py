"""Queues: how full they are, and their settings, changed with the old value beside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.display import moment
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.charts import series
from tidebase_pg.server.studio.pages.changes import changes
from tidebase_pg.server.studio.pages.overview import DAY, HOUR, MINUTE, QUARTER, pressure
from tidebase_pg.server.studio.pages.settings import OutOfDate, said, wanted

NUMBERS: Final = ("concurrency", "rate_limit", "max_attempts")
TEXTS: Final = ("push_url", "rate_period", "retention")
SHOWN: Final = 100


async def queues(visit: Visit) -> Response:
    """Every queue, the tight ones first."""
    found = await visit.look("queues", calls.list_queues())
    found = sorted(found, key=pressure, reverse=True)
    names = tuple(queue.queue for queue in found[:SHOWN])
    seen = await visit.look("overview", calls.overview())
    now = moment(seen["now"])
    assert now is not None
    rows = []
    if names:
        call = calls.throughput(duration=DAY, bucket=timedelta(minutes=30), queues=names)
        rows = await visit.look(("lines", names), call)
    lines = {
        name: series([row for row in rows if row.queue == name], now, DAY, timedelta(minutes=30))
        for name in names
    }
    return visit.page("queues.html", now=now, queues=found[:SHOWN], lines=lines, all=len(found))


async def queue(visit: Visit) -> Response:
    """One queue."""
    name = visit.path("queue")
    listed = await visit.look(("queue", name), calls.list_queues(queues=[name]))
    found = listed[0] if listed else None
    seen = await visit.look("overview", calls.overview())
    now = moment(seen["now"])
    assert now is not None
    hour = await visit.look(
        ("hour", name), calls.throughput(duration=HOUR, bucket=MINUTE, queues=[name])
    )
    day = await visit.look(
        ("day", name), calls.throughput(duration=DAY, bucket=QUARTER, queues=[name])
    )
    times = [
        (span, await visit.look(("times", name, span), call))
        for span, call in (
            ("Last hours", calls.run_times(duration=HOUR, names=[name])),
            ("Last day", calls.run_times(duration=DAY, names=[name])),
        )
    ]
    page = await visit.look(
        ("queue runs", name), calls.find_runs(filters={"queue": name}, max_runs=15)
    )
    return visit.page(
        "queue.html",
        now=now,
        queue=found,
        name=name,
        workers=seen["served"].get(name, 0),
        hour=series(hour, now, HOUR, MINUTE),
        day=series(day, now, DAY, QUARTER),
        times=[(span, rows[0]) for span, rows in times if rows],
        page=page,
        settings=(found.settings if found else None) or {},
        changes=await changes(visit, "queue", name),
    )


async def change(visit: Visit) -> Response:
    """Change settings, if the queue is as the form showed it."""
    name = visit.path("queue")
    where = f"/queues/{name}"
    listed = await visit.ask(calls.list_queues(queues=[name]))
    found = listed[0] if listed else None
    now: Mapping[str, Any] = (found.settings if found else None) or {}
    settings: dict[str, Any] = {}
    if visit.form.get("act") in ("pause", "resume"):
        paused = visit.form["act"] == "pause"
        if bool(now.get("paused")) == paused:
            state = "paused" if paused else "open"
            return visit.done(where, f"{name} is {state} already.")
        settings["paused"] = paused
    else:
        try:
            settings = wanted(visit.form, now, numbers=NUMBERS, texts=TEXTS)
        except OutOfDate as stale:
            return visit.done(where, str(stale), "refused")
    if not settings:
        return visit.done(where, "Nothing to change.")
    await visit.ask(calls.set_queue(name, settings, actor=visit.actor))
    return visit.done(where, f"{name}: {said(settings)}.")
