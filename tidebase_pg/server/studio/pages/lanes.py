"""Lanes: who has their places, who waits, until when they are throttled; limits and throttles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages.changes import changes
from tidebase_pg.server.studio.pages.settings import OutOfDate, said, wanted
from tidebase_pg.types import ListedLane

NUMBERS: Final = ("total", "per_key")
SHOWN: Final = 100


async def lanes(visit: Visit) -> Response:
    """Every lane: the throttled ones first, then those in which most runs wait."""
    found = await visit.look("lanes", calls.list_lanes())
    found = sorted(found, key=lambda lane: (lane.throttled_until is None, -lane.waiting, lane.lane))
    return visit.page("lanes.html", lanes=found[:SHOWN], all=len(found))


async def lane(visit: Visit) -> Response:
    """One lane."""
    name = visit.path("lane")
    listed = await visit.look(("lane", name), calls.list_lanes(lanes=[name]))
    found = listed[0] if listed else None
    return visit.page(
        "lane.html",
        200 if found else 404,
        lane=found,
        name=name,
        until=until_field(found.throttled_until) if found else "",
        changes=await changes(visit, "lane", name),
    )


async def change(visit: Visit) -> Response:
    """Change its limits, throttle it or lift that, if it is as the form showed it."""
    name = visit.path("lane")
    where = f"/lanes/{name}"
    listed = await visit.ask(calls.list_lanes(lanes=[name]))
    if not listed:
        return visit.done(where, f"{name} was dropped. Nothing was changed.", "refused")
    found = listed[0]
    act = visit.form.get("act")
    if act in ("throttle", "lift"):
        return await _throttle(visit, found, lift=act == "lift")
    current = {"total": found.total, "per_key": found.per_key}
    try:
        settings = wanted(visit.form, current, numbers=NUMBERS)
    except OutOfDate as stale:
        return visit.done(where, str(stale), "refused")
    if not settings:
        return visit.done(where, "Nothing to change.")
    await visit.ask(calls.set_lane(name, settings=settings, actor=visit.actor))
    return visit.done(where, f"{name}: {said(settings)}.")


async def _throttle(visit: Visit, lane: ListedLane, *, lift: bool) -> Response:
    where = f"/lanes/{lane.lane}"
    now, old = until_field(lane.throttled_until), visit.form.get("old_until", "")
    if lift and not now:
        return visit.done(where, f"{lane.lane} is not throttled any more.")
    if now != old:
        text = (
            f"It is {f'throttled until {now}' if now else 'not throttled'} by now, not as the page "
            "showed. Nothing was changed; look, and decide again."
        )
        return visit.done(where, text, "refused")
    if lift:
        await visit.ask(calls.throttle(lane.lane, actor=visit.actor))
        return visit.done(where, f"{lane.lane} goes on.")
    until = datetime.now(UTC) + _minutes(visit.form.get("minutes", ""))
    reason = visit.form.get("reason", "").strip() or None
    call = calls.throttle(lane.lane, until=until, reason=reason, actor=visit.actor)
    row = await visit.ask(call)
    return visit.done(where, f"{lane.lane} is throttled until {until_field(row.throttled_until)}.")


def until_field(value: datetime | None) -> str:
    """The end of a throttle as the form holds it."""
    return "" if value is None else value.astimezone(UTC).isoformat(timespec="seconds")


def _minutes(given: str) -> timedelta:
    try:
        length = timedelta(minutes=float(given))
    except (ValueError, OverflowError):
        raise ValueError(f"minutes = {given[:40]!r} is no number of minutes") from None
    if not timedelta(0) < length <= timedelta(days=365):
        raise ValueError(f"minutes = {given[:40]!r} is out of range: give up to 525600")
    return length
