"""What a worker of either colour takes: connections, leases, statements, memory."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.driver.wire import Wire
from tests.support import Connection, value
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase, WorkReport
from tidebase_pg.worker import polling
from tidebase_pg.worker.state import MOST_HELD

SLOTS = 16
PATIENCE = 60

CLAIMED_SINCE = """
    select exists (
      select
      from pg_stat_activity as a
      join tide.waiters as w on a.query_start > w.since
      where a.datname = current_database()
        and a.application_name = 'tidebase-pg'
        and a.state = 'idle'
        and a.query like '%claim%'
    )
    """
"""After its registration a worker claims once more, and then has nothing to say."""

Handler = Callable[[int], None]
Work = Callable[..., WorkReport]


def sync_work(dsn: str, handler: Handler, steps: int = 0, **options: Any) -> WorkReport:
    with Tidebase(dsn) as tide:

        @tide.workflow("w", queue="q")
        def w(run: Run, input: Any) -> None:
            for number in range(steps):
                run.step(f"step {number}", lambda: handler(input))
            handler(input)

        return tide.work(concurrency=SLOTS, **options)


def async_work(dsn: str, handler: Handler, steps: int = 0, **options: Any) -> WorkReport:
    async def work() -> WorkReport:
        async with AsyncTidebase(dsn) as tide:

            @tide.workflow("w", queue="q")
            async def w(run: AsyncRun, input: Any) -> None:
                for number in range(steps):
                    await run.step(f"step {number}", lambda: handler(input))
                handler(input)

            return await tide.work(concurrency=SLOTS, **options)

    return asyncio.run(work())


@pytest.fixture(params=[sync_work, async_work], ids=["sync", "async"])
def work(request: pytest.FixtureRequest) -> Work:
    """Works until drained, or told otherwise, with sixteen slots."""
    chosen: Work = request.param
    return chosen


def enqueue(connection: Connection, runs: int) -> None:
    """So many runs, whose inputs are numbers from 0."""
    elements = [{"workflow": "w", "input": number} for number in range(runs)]
    connection.execute("select from tide.enqueue_many('q', %s)", (json.dumps(elements),))


def test_a_worker_busy_with_steps_uses_four_connections(
    connection: Connection, direct_dsn: str, work: Work
) -> None:
    enqueue(connection, 64)
    turn, used = threading.Lock(), set[int]()

    def look(number: int) -> None:
        with turn:
            used.add(
                value(
                    connection,
                    "select count(*) from pg_stat_activity "
                    "where datname = current_database() and application_name = 'tidebase-pg'",
                )
            )

    report = work(direct_dsn, look, steps=3, drain=True, reconcile=0.01)
    assert report.completed == 64
    assert 1 < max(used) <= 4


@pytest.mark.parametrize("limits", [{}, {"concurrency": 1000}, {"rate_limit": 10_000}])
def test_one_session_claims_and_reports_and_beside_limits_no_more_than_there_are_slots(
    connection: Connection, direct_dsn: str, work: Work, limits: dict[str, int]
) -> None:
    connection.execute("select from tide.set_queue('q', %s)", (json.dumps(limits),))
    connection.execute(
        """
        create table public.seen (session integer, leased bigint);
        create function look() returns trigger language plpgsql as $$
        begin
          insert into public.seen
          select pg_backend_pid(), count(*) from tide.runs_active as r where r.status = 'running';
          return null;
        end
        $$;
        create trigger claims after update on tide.runs_active execute function look();
        create trigger ends after delete on tide.runs_active execute function look();
        """
    )
    enqueue(connection, 500)
    assert work(direct_dsn, lambda number: None, drain=True).completed == 500
    assert value(connection, "select count(distinct session) from seen") == 1
    most = value(connection, "select max(leased) from seen")
    assert most == SLOTS if limits else SLOTS < most <= MOST_HELD


def test_runs_that_have_ended_leave_nothing_in_memory(
    connection: Connection, dsn: str, work: Work
) -> None:
    many = 20_000
    enqueue(connection, many)
    blocks: list[int] = []
    seen = 0

    def look(number: int) -> None:
        nonlocal seen
        seen += 1
        if seen in (many // 4, many - SLOTS):
            blocks.append(sys.getallocatedblocks())

    # Without the collector, also what refers to itself would be seen: it would stay.
    gc.collect()
    gc.disable()
    try:
        assert work(dsn, look, max_runs=many).completed == many
    finally:
        gc.enable()
    before, after = blocks
    # Of runs claimed ahead there are now more, now fewer: hundreds, of some objects each.
    assert after - before < many // 4


def test_an_idle_worker_says_nothing(
    connection: Connection, direct_dsn: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it says in the course of minutes is counted in simulated time, in test_idling.
    monkeypatch.setattr(polling, "SHORTEST_STEP", 60.0)
    monkeypatch.setattr(polling, "LONGEST_STEP", 60.0)
    with Wire(direct_dsn) as wire:
        reports: list[WorkReport] = []

        def live() -> None:
            reports.append(work(wire.dsn, lambda number: None, max_runs=1, lease=300))

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        while not value(connection, CLAIMED_SINCE):
            pass
        last = wire.statements
        connection.execute("select pg_sleep(2)")
        assert wire.statements == last
        enqueue(connection, 1)
        thread.join(PATIENCE)
        assert reports[0].completed == 1
        assert wire.statements > last
