"""What a worker of either colour claims beyond its slots, and how it gives it back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.driver.conftest import PATIENCE, wait_for
from tests.support import Connection, value
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase, WorkReport

RUNS = 400
QUICK = 300
"""So many runs show that runs are short; then comes one that is not."""

HANDED_BACK = "select count(*) from tide.runs_active where ended_by = 'released'"

Handler = Callable[[int], None]


class Workers:
    """Workers of one colour in threads; each of one slot."""

    def __init__(self, dsn: str, *, asynchronous: bool) -> None:
        self._dsn = dsn
        self._asynchronous = asynchronous
        self.threads: list[threading.Thread] = []
        self.reports: list[WorkReport] = []
        self.stops: list[Callable[[], None]] = []

    def start(self, handler: Handler, **options: Any) -> threading.Thread:
        options = {"concurrency": 1, "reconcile": False, "signals": False, **options}

        def live() -> None:
            self.reports.append(
                asyncio.run(self._live_async(handler, options))
                if self._asynchronous
                else self._live(handler, options)
            )

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def _live(self, handler: Handler, options: Any) -> WorkReport:
        with Tidebase(self._dsn) as tide:

            @tide.workflow("w", queue="q")
            def w(run: Run, input: Any) -> None:
                handler(input)

            worker = tide.worker(**options)
            self.stops.append(worker.stop)
            return worker.run()

    async def _live_async(self, handler: Handler, options: Any) -> WorkReport:
        async with AsyncTidebase(self._dsn) as tide:

            @tide.workflow("w", queue="q")
            async def w(run: AsyncRun, input: int) -> None:
                if input < QUICK:
                    handler(input)
                else:
                    await asyncio.to_thread(handler, input)

            worker = tide.worker(**options)
            loop = asyncio.get_running_loop()
            self.stops.append(lambda: loop.call_soon_threadsafe(worker.stop) and None)
            return await worker.run()


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def workers(request: pytest.FixtureRequest, dsn: str) -> Iterator[Workers]:
    made = Workers(dsn, asynchronous=request.param)
    yield made
    for thread in made.threads:
        thread.join(PATIENCE)


def enqueue(connection: Connection) -> None:
    connection.execute(
        """
        select from tide.enqueue_many('q', (
          select jsonb_agg(jsonb_build_object('workflow', 'w', 'input', n) order by n)
          from generate_series(0, %s) as n
        ))
        """,
        (RUNS - 1,),
    )


def test_runs_held_ahead_of_one_that_takes_long_are_handed_back_to_other_workers(
    workers: Workers, connection: Connection
) -> None:
    enqueue(connection)
    go_on, others = threading.Event(), set[int]()

    def handler(number: int) -> None:
        if number == QUICK:
            assert go_on.wait(PATIENCE)

    first = workers.start(handler, drain=True)
    wait_for(
        connection,
        "select count(*) = 1 from tide.runs_active where status = 'running' and attempt = 1 "
        f"and exists ({HANDED_BACK.replace('count(*)', '')})",
    )
    handed_back = value(connection, HANDED_BACK)
    workers.start(others.add, drain=True).join(PATIENCE)
    assert QUICK not in others
    assert others >= set(range(QUICK + 1, RUNS))
    go_on.set()
    first.join(PATIENCE)
    assert handed_back > 0
    assert sum(report.completed for report in workers.reports) == RUNS
    assert value(connection, "select max(attempt) from tide.runs where queue = 'q'") == 1


def test_a_stopped_worker_hands_back_what_it_has_not_begun_at_no_attempt(
    workers: Workers, connection: Connection
) -> None:
    enqueue(connection)
    begun: list[int] = []

    def handler(number: int) -> None:
        begun.append(number)
        if number == QUICK:
            workers.stops[0]()
            wait_for(connection, f"select ({HANDED_BACK}) > 0")

    workers.start(handler).join(PATIENCE)
    (report,) = workers.reports
    assert begun[-1] == QUICK
    assert (report.completed, report.claimed) == (len(begun), len(begun) + report.released)
    left = "select array_agg(distinct (r.status, r.attempt)::text) from tide.runs_active as r"
    assert value(connection, left) == ["(queued,0)"]
