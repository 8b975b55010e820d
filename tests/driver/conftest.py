"""Fixtures of the driver's tests: Tidebase of both colours on this test's database."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.support import Connection, value
from tidebase_pg import AsyncTidebase, Tidebase, Worker, WorkReport

PATIENCE = 60


def wait_for(connection: Connection, question: str, *arguments: Any) -> None:
    """Until the query answers true."""
    until = time.monotonic() + PATIENCE
    while not value(connection, question, *arguments):
        assert time.monotonic() < until, question


@pytest.fixture
def tide(dsn: str) -> Iterator[Tidebase]:
    with Tidebase(dsn) as tide:
        yield tide


@pytest.fixture
async def atide(dsn: str) -> AsyncIterator[AsyncTidebase]:
    async with AsyncTidebase(dsn) as tide:
        yield tide


class Background:
    """Workers in threads of their own."""

    def __init__(self) -> None:
        self._running: list[tuple[Worker, threading.Thread]] = []

    def start(self, tide: Tidebase, **options: Any) -> Callable[[], WorkReport]:
        """Starts a worker; returns a function that stops it and gives its report."""
        worker = tide.worker(poll=0.05, **options)
        reports: list[WorkReport] = []
        thread = threading.Thread(target=lambda: reports.append(worker.run()), daemon=True)
        thread.start()
        self._running.append((worker, thread))

        def stop() -> WorkReport:
            worker.stop()
            thread.join(60)
            return reports[0]

        return stop

    def end(self) -> None:
        for worker, thread in self._running:
            worker.stop()
            worker.stop()
            thread.join(60)


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.end()
