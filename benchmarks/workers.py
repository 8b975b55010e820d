"""Whole workers and whoever gives them work; each function runs in a process of the crew.

Moments are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final, LiteralString, TypedDict

import psycopg

from benchmarks.stage import connect
from benchmarks.steps import QUEUE, RAW_CLAIM, RAW_FINISH
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase

POLL: Final = 0.05
"""Seconds between two looks of the hand-written worker that does not listen."""


class Seen(TypedDict):
    """When each job was handed to its handler, and when the worker had reported all of them."""

    handled: list[tuple[int, float]]
    ended: float


def tide_sync(dsn: str, runs: int, concurrency: int, steps: int = 0, listen: bool = True) -> Seen:
    handled: list[tuple[int, float]] = []
    tide = Tidebase(dsn)

    @tide.workflow("noop", queue=QUEUE)
    def noop(run: Run, given: dict[str, Any]) -> None:
        handled.append((given["i"], time.monotonic()))
        for number in range(steps):
            run.step(f"step {number}", lambda: 1)

    tide.work(queues=[QUEUE], concurrency=concurrency, max_runs=runs, listen=listen)
    return {"handled": handled, "ended": time.monotonic()}


def tide_async(dsn: str, runs: int, concurrency: int, steps: int = 0, listen: bool = True) -> Seen:
    handled: list[tuple[int, float]] = []

    async def one() -> int:
        return 1

    async def work() -> None:
        tide = AsyncTidebase(dsn)

        @tide.workflow("noop", queue=QUEUE)
        async def noop(run: AsyncRun, given: dict[str, Any]) -> None:
            handled.append((given["i"], time.monotonic()))
            for number in range(steps):
                await run.step(f"step {number}", one)

        await tide.work(queues=[QUEUE], concurrency=concurrency, max_runs=runs, listen=listen)

    asyncio.run(work())
    return {"handled": handled, "ended": time.monotonic()}


def raw_worker(dsn: str, runs: int, concurrency: int, listen: bool = False) -> Seen:
    """Claim so many, call the handler, delete them; when there is nothing, listen or poll."""
    handled: list[tuple[int, float]] = []
    connection = connect(dsn)
    if listen:
        connection.execute("listen bench")
    while len(handled) < runs:
        rows = connection.execute(RAW_CLAIM, (concurrency,)).fetchall()
        for _, payload in rows:
            handled.append((payload["i"], time.monotonic()))
        if rows:
            connection.execute(RAW_FINISH["delete"].encode(), ([row[0] for row in rows],))
        elif listen:
            for _ in connection.notifies(timeout=1.0, stop_after=1):
                pass
        else:
            time.sleep(POLL)
    return {"handled": handled, "ended": time.monotonic()}


ENQUEUE: Final[dict[str, LiteralString]] = {
    "raw": "insert into q (payload) select * from jsonb_array_elements(%s)",
    "raw notify": """
        with added as (
          insert into q (payload) select * from jsonb_array_elements(%s) returning id
        )
        select pg_notify('bench', '') from (select from added limit 1) as one
    """,
    "tide": """
        select (
          select e.run_id
          from tide.enqueue('noop', input => i.input, queue => 'bench') as e
        )
        from jsonb_array_elements(%s) as i(input)
    """,
    "tide many": """
        select e.run_id
        from tide.enqueue_many(
          'bench',
          (
            select jsonb_agg(jsonb_build_object('workflow', 'noop', 'input', i.input))
            from jsonb_array_elements(%s) as i(input)
          )
        ) as e
    """,
}


def pace(
    dsn: str, kind: str, jobs: int, many: int, interval: float, delay: float = 0.0
) -> list[tuple[int, float]]:
    """Enqueue so many at each tick of a clock that does not wait for them; when each was in."""
    sent: list[tuple[int, float]] = []
    connection = connect(dsn)
    tick = time.monotonic() + delay
    for first in range(0, jobs, many):
        time.sleep(max(0.0, tick - time.monotonic()))
        numbers = range(first, min(first + many, jobs))
        connection.execute(ENQUEUE[kind], (json.dumps([{"i": number} for number in numbers]),))
        moment = time.monotonic()
        sent += [(number, moment) for number in numbers]
        tick += interval
    return sent


def hold_snapshot(dsn: str) -> psycopg.Connection[Any]:
    """A transaction that sees the database as it is now, until it is closed."""
    connection = connect(dsn, autocommit=False)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.execute("select count(*) from pg_class").fetchall()
    return connection
