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

NUMBERS: Final = ("concurrency", "rate_limit", "max_attempts")
TEXTS: Final = ("push_url",)
LENGTHS: Final = ("rate_period", "retention")
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
    page = await visit.look(
        ("queue runs", name), calls.find_runs(filters={"queue": name}, max_runs=15)
    )
    return visit.page(
        "queue.html",
        now=now,
        queue=found,
        name=name,
        hour=series(hour, now, HOUR, MINUTE),
        day=series(day, now, DAY, QUARTER),
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
    wanted: dict[str, Any] = {}
    if visit.form.get("act") in ("pause", "resume"):
        paused = visit.form["act"] == "pause"
        if bool(now.get("paused")) == paused:
            said = "paused" if paused else "open"
            return visit.done(where, f"{name} is {said} already.")
        wanted["paused"] = paused
    else:
        for field in (*NUMBERS, *TEXTS, *LENGTHS):
            if field not in visit.form:
                continue
            given, old = visit.form[field].strip(), visit.form.get(f"old_{field}", "")
            if given == old:
                continue
            current = as_field(now.get(field))
            if current != old:
                text = (
                    f"{field} is {current or 'not set'} by now, not {old or 'unset'} as the page "
                    "showed. Nothing was changed; look, and decide again."
                )
                return visit.done(where, text, "refused")
            wanted[field] = _read(field, given)
    if not wanted:
        return visit.done(where, "Nothing to change.")
    await visit.ask(calls.set_queue(name, wanted, actor=visit.actor))
    said = ", ".join(f"{field} = {as_field(value) or 'not set'}" for field, value in wanted.items())
    return visit.done(where, f"{name}: {said}.")


def as_field(value: Any) -> str:
    """A setting as its field in the form holds it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _read(field: str, given: str) -> Any:
    if not given:
        return None
    if field in NUMBERS:
        if not given.lstrip("-").isdecimal():
            raise ValueError(f"{field} = {given[:40]!r} is no whole number")
        return int(given)
    return given
