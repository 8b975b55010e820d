"""Lanes: who has their places, who waits, and what keeps them: limits, throttles and breakers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages.changes import changes
from tidebase_pg.server.studio.pages.settings import OutOfDate, said, wanted
from tidebase_pg.types import ListedLane

NUMBERS: Final = (
    "total",
    "adaptive_min",
    "per_key",
    "units",
    "units_per_key",
    "breaker_failures",
)
FLAGS: Final = ("adaptive", "fair")
TEXTS: Final = (*FLAGS, "period", "unit", "breaker_classes", "breaker_delay", "breaker_max_delay")
SHOWN: Final = 100


async def lanes(visit: Visit) -> Response:
    """Every lane: those that are throttled or open first, then those in which most runs wait."""
    found = await visit.look("lanes", calls.list_lanes())
    found = sorted(found, key=_urgency)
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
        opened=until_field(found.opened_at) if found else "",
        settings=_settings(found) if found else {},
        changes=await changes(visit, "lane", name),
    )


async def change(visit: Visit) -> Response:
    """Change its settings, throttle it, lift that or close it, if it is as the form showed it."""
    name = visit.path("lane")
    where = f"/lanes/{name}"
    listed = await visit.ask(calls.list_lanes(lanes=[name]))
    if not listed:
        return visit.done(where, f"{name} was dropped. Nothing was changed.", "refused")
    found = listed[0]
    act = visit.form.get("act")
    if act in ("throttle", "lift"):
        return await _throttle(visit, found, lift=act == "lift")
    if act == "close":
        return await _close(visit, found)
    try:
        settings = wanted(visit.form, _settings(found), numbers=NUMBERS, texts=TEXTS)
    except OutOfDate as stale:
        return visit.done(where, str(stale), "refused")
    if not settings:
        return visit.done(where, "Nothing to change.")
    done = f"{name}: {said(settings)}."
    for flag in FLAGS:
        if flag in settings:
            settings[flag] = _is_set(flag, settings[flag])
    if classes := settings.get("breaker_classes"):
        settings["breaker_classes"] = [one.strip() for one in classes.split(",")]
    await visit.ask(calls.set_lane(name, settings=settings, actor=visit.actor))
    return visit.done(where, done)


def _urgency(lane: ListedLane) -> tuple[bool, int, str]:
    return (lane.throttled_until is None and lane.opened_at is None, -lane.waiting, lane.lane)


def _settings(lane: ListedLane) -> dict[str, Any]:
    """What a form may change, as its fields hold it."""
    found = {name: getattr(lane, name) for name in (*NUMBERS, *TEXTS)}
    return (
        found
        | {
            "breaker_classes": ", ".join(lane.breaker_classes or ()) or None,
        }
        | {flag: "yes" if getattr(lane, flag) else None for flag in FLAGS}
    )


def _is_set(flag: str, given: str | None) -> bool | None:
    if given is None:
        return None
    if given == "yes":
        return True
    raise ValueError(f"{flag} = {given[:40]!r} is neither yes nor empty")


async def _close(visit: Visit, lane: ListedLane) -> Response:
    where = f"/lanes/{lane.lane}"
    if lane.opened_at is None:
        return visit.done(where, f"The breaker of {lane.lane} is closed already.")
    if until_field(lane.opened_at) != visit.form.get("old_opened", ""):
        text = (
            f"It has opened again at {until_field(lane.opened_at)}, which the page did not show. "
            "Nothing was changed; look, and decide again."
        )
        return visit.done(where, text, "refused")
    await visit.ask(calls.throttle(lane.lane, actor=visit.actor))
    return visit.done(where, f"{lane.lane} goes on.")


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
    """The end of a throttle, or when a breaker opened, as the form holds it."""
    return "" if value is None else value.astimezone(UTC).isoformat(timespec="seconds")


def _minutes(given: str) -> timedelta:
    try:
        length = timedelta(minutes=float(given))
    except (ValueError, OverflowError):
        raise ValueError(f"minutes = {given[:40]!r} is no number of minutes") from None
    if not timedelta(0) < length <= timedelta(days=365):
        raise ValueError(f"minutes = {given[:40]!r} is out of range: give up to 525600")
    return length
