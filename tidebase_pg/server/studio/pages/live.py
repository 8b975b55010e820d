"""What is live: streams that say when a page has something new to load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final
from uuid import UUID

from starlette.responses import Response, StreamingResponse

from tidebase_pg import calls
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages import written
from tidebase_pg.server.studio.pages.streaming import ends_within, together

BEAT: Final = 4.0
"""Seconds between two looks of a page at the whole installation; all pages share each look."""
LONGEST: Final = 600.0
"""Seconds after which a stream ends; browsers come back by themselves."""
HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def pages(visit: Visit) -> Response:
    """A word whenever the installation looks different."""
    decisions = visit.role == "approver" or (visit.query("of") == "gates" and visit.sees_payloads)
    look = _gates if decisions else _installation
    await look(visit)
    return _stream(visit, _looks(visit, look))


async def _gates(visit: Visit) -> str:
    """What who decides looks at."""
    found = await visit.look(("gates", ""), calls.list_gates(max_gates=20))
    return str([(gate.gate_id, gate.votes_text) for gate in found])


async def _installation(visit: Visit) -> str:
    """What everybody else looks at."""
    seen = await visit.look("overview", calls.overview())
    queues = await visit.look("queues", calls.list_queues())
    return f"{_still(seen)}{_quiet(queues)}"


async def _looks(visit: Visit, look: Callable[[Visit], Awaitable[str]]) -> AsyncGenerator[str]:
    last = ""
    for _ in range(int(LONGEST / BEAT)):
        news = hashlib.sha256((await look(visit)).encode()).hexdigest()
        yield f"event: look\ndata: {news[:16]}\n\n" if news != last else ": still\n\n"
        last = news
        if await ends_within(visit, BEAT):
            return


def _still(seen: dict[str, Any]) -> str:
    """What was seen, without what moves with the clock alone."""
    health = {name: age for name, age in seen["health"].items() if not name.endswith("_age")}
    kept = {name: part for name, part in seen.items() if name not in ("now", "health")}
    return json.dumps([kept, health], sort_keys=True, default=str)


def _quiet(queues: list[Any]) -> str:
    return str(
        [(q.queue, q.paused, q.ready, q.running, q.delayed, q.parked, q.slots_busy) for q in queues]
    )


async def run(visit: Visit) -> Response:
    """A word for each event of a run as it happens, and what it writes to its streams."""
    run_id = UUID(visit.path("run_id"))
    given = visit.request.headers.get("last-event-id") or visit.query("after")
    after = int(given) if given.isdecimal() else 0
    if visit.sees_payloads:
        await visit.ask(calls.get_run(run_id))
        lines = together(_followed(visit, run_id, after), written.follow(visit, run_id))
        return _stream(visit, lines)
    await visit.look(("log", run_id), calls.outline_run(run_id, max_steps=1))
    return _stream(visit, _polled(visit, run_id, after))


async def _followed(visit: Visit, run_id: UUID, after: int) -> AsyncGenerator[str]:
    following = visit.studio.gateway.subscribe(visit.identity, run_id, after)
    try:
        async for page in following:
            if page:
                yield f"id: {page[-1].seq}\nevent: look\ndata: {page[-1].type}\n\n"
            else:
                yield ": still\n\n"
    finally:
        await following.aclose()


async def _polled(visit: Visit, run_id: UUID, after: int) -> AsyncGenerator[str]:
    """For those who may not follow the log: its length, looked at by all of them together."""
    for _ in range(int(LONGEST / BEAT)):
        outline = calls.outline_run(run_id, max_steps=1)
        seen = await visit.look(("log", run_id), outline)
        last = seen["run"]["last_seq"]
        yield f"id: {last}\nevent: look\ndata: {last}\n\n" if last > after else ": still\n\n"
        after = max(after, last)
        if await ends_within(visit, BEAT):
            return


def _stream(visit: Visit, lines: AsyncGenerator[str]) -> Response:
    gateway = visit.studio.gateway
    gateway.check_streams(visit.identity)

    async def counted() -> AsyncGenerator[str]:
        with gateway.stream_of(visit.identity):
            async for line in lines:
                yield line

    return StreamingResponse(counted(), media_type="text/event-stream", headers=HEADERS)
