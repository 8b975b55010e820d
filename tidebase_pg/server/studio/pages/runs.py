"""The list of runs: filters that stand in the address, pages by key, and how far was looked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from starlette.responses import RedirectResponse, Response

from tidebase_pg import calls
from tidebase_pg.errors import InvalidArgument
from tidebase_pg.server.studio.application import Visit

PLAIN: Final = ("queue", "workflow", "failure_class")
SPANS: Final[Mapping[str, tuple[str, timedelta]]] = {
    "1h": ("last hour", timedelta(hours=1)),
    "1d": ("last day", timedelta(days=1)),
    "7d": ("last week", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
}
STATES: Final = ("pending", "queued", "running", "completed", "failed", "cancelled")
WAITING: Final = (
    "review",
    "gate",
    "budget",
    "children",
    "timer",
    "event",
    "push",
    "lane",
    "provider",
    "after",
)


def read_filters(given: Mapping[str, str], payload: bool) -> dict[str, Any]:
    """The filters of `find_runs` and `search_runs` out of a query. Raises ValueError."""
    filters: dict[str, Any] = {}
    for name in (*PLAIN, "status", "waiting_on", "created_after", "created_before"):
        if value := given.get(name, "").strip():
            filters[name] = value
    if within := SPANS.get(given.get("within", "")):
        filters["created_after"] = (datetime.now(UTC) - within[1]).isoformat(timespec="minutes")
    for name in ("created_after", "created_before"):
        if name in filters:
            filters[name] = _utc(filters[name])
    if payload:
        for name in ("error", "fingerprint"):
            if text := given.get(name, "").strip():
                filters[name] = text
        if metadata := given.get("metadata", "").strip():
            filters["metadata"] = read_metadata(metadata)
    return filters


def read_metadata(text: str) -> dict[str, Any]:
    """A JSON object, or `name=value` pairs."""
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ValueError(f"metadata is no JSON object: {error}") from None
        if not isinstance(found, dict):
            raise ValueError("metadata is no JSON object")
        return found  # pyright: ignore[reportUnknownVariableType]
    pairs = [part.partition("=") for part in text.replace(",", " ").split()]
    if not all(name and equals for name, equals, _ in pairs):
        raise ValueError("write metadata as name=value, or as a JSON object")
    return {name: _value(value) for name, _, value in pairs}


def _utc(text: str) -> str:
    """A time without a zone is one of UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time: write 2026-06-12T10:30") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


async def runs(visit: Visit) -> Response:
    """A page of runs."""
    given = {name: value.strip() for name, value in visit.request.query_params.items() if value}
    if target := _jump(given.get("q", "")):
        return RedirectResponse(visit.base + target, 303)
    wrong = None
    page: dict[str, Any] = {"runs": [], "next": None, "looked": 0, "looked_to": None}
    counted: dict[str, Any] | None = None
    try:
        filters = read_filters(given, visit.sees_payloads)
        before = UUID(given["before"]) if given.get("before") else None
        find = calls.search_runs if visit.sees_payloads else calls.find_runs
        key = ("runs", json.dumps(filters, sort_keys=True), before)
        page = await visit.look(key, find(filters=filters, before=before, max_runs=50))
        if visit.sees_payloads and before is None:
            count = calls.count_runs(filters=filters)
            counted = await visit.look(("count", key), count)
    except (InvalidArgument, ValueError) as error:
        wrong, filters = str(error), {}
    return visit.page(
        "runs.html",
        page=page,
        given={name: given[name] for name in given if name != "before"},
        filters=filters,
        counted=counted,
        wrong=wrong,
        states=STATES,
        waiting=WAITING,
        spans={span: name for span, (name, _) in SPANS.items()},
        first=not given.get("before"),
    )


def _jump(text: str) -> str | None:
    """Where the search box goes: to a run or gate by its id, else to runs of a workflow."""
    text = text.strip()
    if not text:
        return None
    where, bare = "/runs/", text.removeprefix("run_")
    if text.startswith("gate_"):
        where, bare = "/gates/", text.removeprefix("gate_")
    try:
        return f"{where}{UUID(bare)}"
    except ValueError:
        pass
    return f"/runs?workflow={quote(text, safe='')}"
