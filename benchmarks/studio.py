"""Pages of Studio beside very many runs: time of the server, buffers of their calls, and what many
open pages cost the database."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import psycopg

from benchmarks import door, fills
from benchmarks.stage import connect, execute
from tidebase_pg.call import Call
from tidebase_pg.server import Settings
from tidebase_pg.server.gateway import Gateway
from tidebase_pg.server.studio.application import Options, build
from tidebase_pg.server.studio.pages import routes

SETTLED: Final = (
    "select tide.set_queue('bench', '{\"concurrency\": 10}')",
    "select tide.set_schedule('nightly', '0 3 * * *', 'noop', queue => 'bench')",
    "vacuum analyze",
)
"""What a house has beside its runs."""
PAGES: Final = {
    "overview": "/",
    "runs": "/runs",
    "runs by status": "/runs?status=failed",
    "runs by queue": "/runs?queue=bench",
    "runs by workflow and class": "/runs?workflow=noop&failure_class=bad_input",
    "runs of a day": "/runs?within=1d",
    "runs by metadata": "/runs?metadata=tenant%3Dacme",
    "runs by error": "/runs?error=502",
    "run that ended": "/runs/{ended}",
    "run that is parked": "/runs/{parked}",
    "run that is next": "/runs/{next}",
    "run that is last in line": "/runs/{last}",
    "events of a run": "/runs/{ended}/events",
    "decisions": "/gates",
    "decision": "/gates/{gate}",
    "queues": "/queues",
    "queue": "/queues/bench",
    "lanes": "/lanes",
    "lane": "/lanes/keyed",
    "lane without a limit for keys": "/lanes/shared",
    "schedules": "/schedules",
    "schedule": "/schedules/nightly",
    "workers": "/workers",
    "webhooks": "/webhooks",
    "doctor": "/doctor",
    "doctor, asked": "/doctor?examine=yes",
}
WARM: Final = 2
"""Looks at a page before those that count."""
PLANNED: Final = 6
"""Calls until a session has its plans; the least of those after it counts."""
EXAMINED: Final = "doctor, asked"
"""The page that examines the whole database, which nobody sees without asking for it."""
PAUSE: Final = 0.9
"""Seconds between two loads of an open page, as its script has them."""
WRITER: Final = "bench writer"
OPEN: Final = ("/", "/", "/", "/runs", "/runs", "/gates", "/queues", "{run}", "{run}", "{run}")
"""Of ten pages that are open."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a page took."""

    milliseconds: list[float]
    buffers: int


def fill(dsn: str, finished: int, waiting: int) -> None:
    """So many runs that ended, and so many that are queued and parked, for tests; the benchmarks
    have their own way to make a long history."""
    statements = [fills.FINISHED, fills.EVENTS]
    execute(
        dsn,
        *(statement.format(first=1, last=finished) for statement in statements),
        *(
            statement.format(count=waiting)
            for statement in (fills.QUEUED, fills.PARKED, fills.GATES, fills.LANES, fills.LANED)
        ),
        *SETTLED,
    )


def addresses(dsn: str) -> Mapping[str, str]:
    """The path of each page in a database that was filled."""
    rows = execute(
        dsn,
        "select "
        "(select r.run_id from tide.runs_finished as r order by r.run_id desc limit 1), "
        "md5('run1')::uuid, md5('gate1')::uuid, "
        "(select r.run_id from tide.runs_active as r where r.ready and r.queue = 'bench' "
        "order by r.priority desc, r.run_at, r.run_id limit 1), "
        "(select r.run_id from tide.runs_active as r where r.ready and r.queue = 'bench' "
        "order by r.priority, r.run_at desc, r.run_id desc limit 1)",
    )
    ended, parked, gate, first, last = rows[0]
    return {
        name: path.format(ended=ended, parked=parked, gate=gate, next=first, last=last)
        for name, path in PAGES.items()
    }


class _Recorder:
    """A client that keeps what it was asked."""

    def __init__(self, client: Any, asked: list[Call[Any]]) -> None:
        self._client = client
        self._asked = asked

    async def execute(self, call: Call[Any]) -> Any:
        self._asked.append(call)
        return await self._client.execute(call)


def looks(dsn: str, rounds: int, pages: Sequence[str] = tuple(PAGES)) -> dict[str, Look]:
    """What each page takes when nothing was looked at just before."""
    return asyncio.run(_looks(dsn, rounds, pages))


async def _looks(dsn: str, rounds: int, pages: Sequence[str]) -> dict[str, Look]:
    gateway = Gateway(Settings(dsn=dsn))
    asked: list[Call[Any]] = []
    kept = gateway.client_for
    gateway.client_for = lambda identity: _Recorder(kept(identity), asked)  # type: ignore[assignment, method-assign, return-value]
    application = build(gateway, Options(refresh=0), routes)
    found: dict[str, Look] = {}
    paths = addresses(dsn)
    transport = httpx.ASGITransport(app=application)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for name in pages:
                took: list[float] = []
                for _ in range(WARM + rounds):
                    asked.clear()
                    began = time.perf_counter()
                    answer = await client.get(paths[name])
                    took.append(1000 * (time.perf_counter() - began))
                    if answer.status_code != 200:
                        raise RuntimeError(f"{paths[name]}: {answer.status_code}: {answer.text}")
                buffers = await asyncio.to_thread(_buffers, dsn, list(asked))
                found[name] = Look(took[WARM:], buffers)
    finally:
        await gateway.close()
    return found


def _buffers(dsn: str, asked: Sequence[Call[Any]]) -> int:
    """Buffers that these calls touch, those of the functions they call included."""
    with connect(dsn) as connection, psycopg.RawCursor(connection) as cursor:

        def once() -> int:
            touched = 0
            for call in asked:
                arguments = list(call.arguments.values())
                cursor.execute(f"explain (analyze, buffers, format json) {call.query}", arguments)
                ((plan,),) = cursor.fetchall()
                node = plan[0]["Plan"]
                touched += node["Shared Hit Blocks"] + node["Shared Read Blocks"]
            return touched

        return min([once() for _ in range(PLANNED + 3)][PLANNED:])


def watched(dsn: str, port: int, pages: int, seconds: float) -> float:
    """Cores that the server takes while so many pages are open and runs come and go, those of the
    connection that makes the runs left out."""
    return asyncio.run(_watched(dsn, port, pages, seconds))


async def _watched(dsn: str, port: int, pages: int, seconds: float) -> float:
    ended = threading.Event()
    with connect(f"{dsn}?application_name={WRITER.replace(' ', '%20')}") as connection:
        made = connection.execute("select run_id from tide.create_run('watched')").fetchone()
        assert made is not None
        lease = connection.execute("select lease_id from tide.begin_run(%s)", made).fetchone()
        assert lease is not None
        writer = threading.Thread(target=_write, args=(connection, made[0], lease[0], ended))
        writer.start()
        limits = httpx.Limits(max_connections=None)
        url = f"http://127.0.0.1:{port}/studio"
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
            followed = f"/runs/{made[0]}"
            opened = [
                asyncio.create_task(_open(client, OPEN[at % len(OPEN)].format(run=followed)))
                for at in range(pages)
            ]
            await asyncio.sleep(min(3.0, seconds))
            began, before = time.monotonic(), door.taken(dsn, WRITER)
            await asyncio.sleep(seconds)
            cores = (door.taken(dsn, WRITER) - before) / (time.monotonic() - began)
            broken = [task for task in opened if task.done()]
            for task in opened:
                task.cancel()
            await asyncio.gather(*opened, return_exceptions=True)
        ended.set()
        writer.join()
    if broken:
        raise RuntimeError(f"{len(broken)} of {pages} pages ended: {broken[0].exception()!r}")
    return cores


async def _open(client: httpx.AsyncClient, path: str) -> None:
    """Follow what a page follows, and load it when it is told to, as its script does."""
    (await client.get(path)).raise_for_status()
    follows = f"/live{path}" if path.startswith("/runs/") else "/live"
    if path == "/gates":
        follows += "?of=gates"
    last = 0.0
    loading: asyncio.Task[httpx.Response] | None = None
    try:
        async with client.stream("GET", follows, timeout=None) as answer:
            async for line in answer.aiter_lines():
                if line != "event: look" or (loading is not None and not loading.done()):
                    continue
                if time.monotonic() - last >= PAUSE:
                    last = time.monotonic()
                    loading = asyncio.create_task(client.get(path))
    finally:
        if loading is not None:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)


def _write(
    connection: psycopg.Connection[Any], run_id: object, lease_id: object, ended: threading.Event
) -> None:
    """Five runs a second, and a step of the run that is watched."""
    number = 0
    with contextlib.suppress(psycopg.OperationalError):
        while not ended.wait(0.2):
            number += 1
            connection.execute("select from tide.enqueue('noop', queue => 'watched')")
            connection.execute(
                "select tide.complete(c.run_id, c.lease_id) from tide.claim('{watched}') as c"
            )
            if number % 5 == 0:
                name = f"step {number}"
                for call in ("begin_step", "complete_step"):
                    connection.execute(
                        f"select from tide.{call}(%s, %s, %s)", (run_id, lease_id, name)
                    )
