"""Everything about a run in one answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import psycopg

from tidebase_pg import calls
from tidebase_pg.client import AsyncClient
from tidebase_pg.server import channels, gate_objects, objects
from tidebase_pg.server.described import describe
from tidebase_pg.server.identity import read_id, wire_id
from tidebase_pg.server.objects import Run, RunDetail, encode, time
from tidebase_pg.server.payloads import Reader
from tidebase_pg.server.routing import Ask
from tidebase_pg.server.streams import Answer
from tidebase_pg.types import RunRow

CHILDREN: Final = 200
"""The newest children of a run that are shown whole; the route of children has all."""
_TAG: Final = re.compile(r'(?:W/)?"([^"]*)"')


async def detail(ask: Ask, run_id: UUID) -> RunDetail | Answer:
    """See the route; 304 when the client has it already."""
    known = _TAG.findall(ask.headers.get("if-none-match", ""))
    async with snapshot(ask) as read:
        row = await read(calls.get_run, run_id)
        plain = f"{row.last_seq}-{row.attempt}"
        if plain in known:
            return Answer(304, b"", {"etag": f'W/"{plain}"'})
        found = await _read(read, row)
    body = encode(found)
    lonely = not found.child_runs and not found.channel_deliveries and not found.recovery_attempts
    # Children and webhooks change without an event of this run.
    tag = plain if lonely else hashlib.sha256(body).hexdigest()[:32]
    if tag in known:
        return Answer(304, b"", {"etag": f'W/"{tag}"'})
    return Answer(200, body, {"content-type": "application/json", "etag": f'W/"{tag}"'})


async def _read(ask: Ask, row: Any) -> RunDetail:
    run_id: UUID = row.run_id
    described = await ask.execute(describe(run_id))
    versions = await ask(calls.state_versions, run_id)
    usage = await ask(calls.list_usage, run_id)
    run = Run.of(row)
    logged = await ask(calls.list_events, run_id, after=max(0, row.last_seq - 1000))
    children: list[RunRow] = []
    if described.children:
        children = await ask(calls.list_child_runs, run_id, max_runs=CHILDREN)
    events = await Reader(ask, run_id).events(logged, versions, children, described)
    streams = [
        objects.StateStream(
            id=objects.stream_id(run_id, name),
            run_id=run.id,
            name=name,
            target_type=name.partition(":")[0] if ":" in name else "run",
            target_id=_target(run_id, name),
            current_version=stream.version,
            current_value=stream.value,
            created_at=None,
            updated_at=time(stream.updated_at),
        )
        for name, stream in sorted(described.state.items())
    ]
    own = described.state.get("run")
    return RunDetail(
        run=run,
        steps=[objects.Step.described(run, run_id, step) for step in described.steps],
        state=None
        if own is None
        else objects.State(
            run_id=run.id,
            value=own.value,
            version=own.version,
            updated_at=objects.known_time(own.updated_at),
        ),
        state_streams=streams,
        state_versions=[objects.StateVersion.of(version) for version in versions],
        run_edges=[objects.RunEdge.of(run_id, edge) for edge in described.children],
        child_runs=[Run.of(child) for child in reversed(children)],
        recovery_attempts=channels.attempts(run_id, described.deliveries),
        channels=channels.shown(
            run_id,
            [one for one in described.channels if one.gate_id is None],
            row.created_at,
        ),
        channel_deliveries=channels.deliveries(run_id, described.deliveries),
        gates=await gate_objects.described(ask, run_id, described.gates, described.channels),
        usage=[objects.Usage.of(one) for one in usage],
        events=events,
    )


def _target(run_id: UUID, stream: str) -> str:
    """What a stream is about; the run has one id, however the schema writes it."""
    target = stream.partition(":")[2]
    if not target or (stream.startswith("run:") and read_id("run", target) == run_id):
        return wire_id("run", run_id)
    return target


@asynccontextmanager
async def snapshot(ask: Ask) -> AsyncGenerator[Ask]:
    """The same request, whose calls all see the database as it is now."""
    async with ask.client.connection() as connection:
        await connection.set_autocommit(False)
        await connection.set_read_only(True)
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        try:
            async with connection.transaction():
                yield ask.on(AsyncClient(connection))
        finally:
            if not connection.closed:
                await connection.set_isolation_level(None)
                await connection.set_read_only(None)
                await connection.set_autocommit(True)
