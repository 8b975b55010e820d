"""One run: what it did and when, what it waits for, and what can be done about it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from starlette.responses import Response

from tidebase_pg import calls, display
from tidebase_pg.display import moment
from tidebase_pg.errors import NotFound
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages import written
from tidebase_pg.timeline import timeline
from tidebase_pg.types import ListedGate, RunRow

STEPS: Final = 200
EVENTS: Final = 100
GATES: Final = 20
PARTS: Final = ("input", "metadata", "result", "error")
SMALL: Final = 200_000
"""Letters of a document that a page still lays out."""


async def run(visit: Visit) -> Response:
    """The page of a run."""
    run_id = UUID(visit.path("run_id"))
    after = int(visit.query("steps")) if visit.query("steps").isdecimal() else 0
    outline = calls.outline_run(run_id, after_step=after, max_steps=STEPS, max_events=60)
    seen = await visit.look(("run", run_id, after, visit.told), outline)
    carried: RunRow | None = None
    reasons: list[dict[str, Any]] = []
    asked: list[ListedGate] = []
    if visit.sees_payloads:
        carried = await visit.look(("carried", run_id, visit.told), calls.get_run(run_id))
        if seen["run"]["status"] in ("pending", "queued", "running"):
            explain = calls.explain_wait(run_id)
            reasons = (await visit.look(("why", run_id, visit.told), explain))["reasons"]
        if any(gate["status"] == "pending" for gate in seen["gates"]):
            listed = calls.list_gates(only_run=run_id, max_gates=GATES)
            asked = await visit.look(("asked", run_id, visit.told), listed)
    return visit.page(
        "run.html",
        now=moment(seen["now"]),
        seen=seen,
        run=seen["run"],
        timeline=timeline(seen, visit.base),
        reasons=reasons,
        asked=asked,
        written=await written.ends(visit, seen) if visit.sees_payloads else [],
        documents=documents(carried),
        budget=spending(seen),
        after=after,
        page_size=STEPS,
        seen_mark=mark(seen["run"]),
    )


def mark(run: Mapping[str, Any]) -> str:
    """What a form saw of the run; another one now means that the page is out of date."""
    return f"{run['status']}.{run['attempt']}.{run['waiting_on'] or ''}"


def documents(carried: RunRow | None) -> list[tuple[str, str | None]]:
    """The documents a run carries, as JSON text, by name."""
    if carried is None:
        return []
    texts = (
        ("error", carried.error_text),
        ("result", carried.result_text),
        ("input", carried.input_text),
        ("metadata", carried.metadata_text if carried.metadata_text != "{}" else None),
    )
    return [(name, text) for name, text in texts if text is not None]


def spending(seen: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """What was spent beside each limit of the run's own budget."""
    limits: dict[str, Any] = seen["run"]["budget"] or {}
    spent: dict[str, Any] = seen["spent"] or {}
    names = (("max_cost_usd", "cost_usd"), ("max_tokens", "tokens"), ("max_steps", "steps"))
    return [
        (used, float(spent.get(used) or 0), float(limits[limit]))
        for limit, used in names
        if limits.get(limit) is not None
    ]


async def events(visit: Visit) -> Response:
    """The event log, oldest first, page by page; the last page follows live."""
    run_id = UUID(visit.path("run_id"))
    outline = calls.outline_run(run_id, max_steps=1)
    seen = await visit.look(("log", run_id, visit.told), outline)
    last = seen["run"]["last_seq"]
    given = visit.query("after")
    after = int(given) if given.isdecimal() else max(0, last - EVENTS)
    rows: list[dict[str, Any]] = []
    if visit.sees_payloads:
        found = await visit.ask(calls.list_events(run_id, after=after, max_events=EVENTS))
        rows = [
            {"seq": e.seq, "type": e.type, "created_at": e.created_at, "payload": e.payload_text}
            for e in found
        ]
    else:
        rows = [{**event, "payload": None} for event in seen["events"] if event["seq"] > after]
    return visit.page(
        "events.html",
        now=moment(seen["now"]),
        run=seen["run"],
        rows=rows,
        after=after,
        last=last,
        page_size=EVENTS,
    )


async def step(visit: Visit) -> Response:
    """A step with its output and error."""
    run_id = UUID(visit.path("run_id"))
    name = visit.query("name")
    found = await visit.ask(calls.get_step(run_id, name))
    run = await visit.ask(calls.get_run(run_id))
    return visit.page("step.html", run=run, step=found, seen_mark=mark(_facts(run)))


async def state(visit: Visit) -> Response:
    """The versions of a state stream, two of them side by side."""
    run_id = UUID(visit.path("run_id"))
    stream = visit.query("stream") or "run"
    run = await visit.ask(calls.get_run(run_id))
    versions = await visit.ask(calls.state_versions(run_id, stream=stream))
    if not versions:
        raise NotFound(f"run {run_id} has no state in stream {stream!r}")
    numbers = [version.version for version in versions]

    def chosen(name: str, default: int) -> int:
        given = visit.query(name)
        return int(given) if given.isdecimal() and int(given) in numbers else default

    right = chosen("right", numbers[-1])
    left = chosen("left", max((n for n in numbers if n < right), default=right))
    by_number = {version.version: version for version in versions}
    return visit.page(
        "state.html",
        run=run,
        stream=stream,
        versions=versions[::-1][:200],
        left=by_number[left],
        right=by_number[right],
        rows=difference(by_number[left].value_text, by_number[right].value_text),
    )


def difference(left: str, right: str) -> list[tuple[str, str, str, str]]:
    """Lines of two documents side by side: mark, left, mark, right."""
    if len(left) > SMALL or len(right) > SMALL:
        return []
    one, other = _lines(left), _lines(right)
    rows: list[tuple[str, str, str, str]] = []
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            rows += [("", line, "", line) for line in one[a:b]]
            continue
        for at in range(max(b - a, d - c)):
            before = one[a + at] if a + at < b else None
            after = other[c + at] if c + at < d else None
            rows.append(
                (
                    "-" if before is not None else " ",
                    before or "",
                    "+" if after is not None else " ",
                    after or "",
                )
            )
    return rows


def _lines(text: str) -> list[str]:
    laid = json.dumps(json.loads(text), indent=2, ensure_ascii=False, sort_keys=True)
    return [display.visible(line) for line in laid.splitlines()]


async def fork(visit: Visit) -> Response:
    """The editor of a fork: from which step, with which input and outputs."""
    run_id = UUID(visit.path("run_id"))
    run = await visit.ask(calls.get_run(run_id))
    seen = await visit.ask(calls.outline_run(run_id, max_steps=1000, max_events=1))
    return visit.page(
        "fork.html",
        run=run,
        steps=seen["steps"],
        at_step=visit.query("step"),
        input=_laid(run.input_text),
        overrides="{}",
        wrong=None,
    )


def _laid(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


async def payload(visit: Visit) -> Response:
    """A whole document of a run, as a file."""
    run_id = UUID(visit.path("run_id"))
    part = visit.path("part")
    if part == "output":
        found = await visit.ask(calls.get_step(run_id, visit.query("name")))
        text, name = found.output_text or found.error_text, "output"
    elif part in PARTS:
        run = await visit.ask(calls.get_run(run_id))
        text, name = getattr(run, f"{part}_text"), part
    else:
        raise NotFound(f"a run carries no {part[:40]!r}")
    if text is None:
        raise NotFound(f"run {run_id} has no {name}")
    return Response(
        text,
        media_type="application/json",
        headers={
            "content-disposition": f'attachment; filename="{run_id}-{name}.json"',
            "content-security-policy": "default-src 'none'; sandbox",
        },
    )


def _facts(run: RunRow) -> dict[str, Any]:
    return {"status": run.status, "attempt": run.attempt, "waiting_on": run.waiting_on}
