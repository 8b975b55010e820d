"""A server that is silent and not gone: stopped by SIGSTOP, it takes connections, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.driver.conftest import Background
from tests.driver.test_processes import application, read_until
from tests.servers import OwnServer, scratch
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase, admin, calls
from tidebase_pg.client import async_statements, statements

PATIENCE = 60
LEASE = 1.5
CONNECTING = 1
LIMIT = 0.5
SLACK = 5.0
"""Seconds for a busy machine."""
CANCELLING = 5
"""Seconds that psycopg gives the server to cancel the query of a cancelled task."""


class Quiet:
    """A server of its own whose processes are stopped and continued together."""

    def __init__(self, folder: Path) -> None:
        self._own = OwnServer(folder, os.environ.get("TIDE_TEST_POSTGRES", "18"))
        port = self._own.start().port
        self.dsn = f"postgresql://postgres@127.0.0.1:{port}/postgres?connect_timeout={CONNECTING}"
        admin.install(self.dsn)
        self._stopped: list[int] = []

    def end(self) -> None:
        self._own.stop()

    @contextlib.contextmanager
    def silent(self) -> Generator[None]:
        """Nothing is answered within the block."""
        self._stop()
        try:
            yield
        finally:
            self._go_on()

    def _stop(self) -> None:
        """First the one that makes others."""
        pidfile = self._own.server.data / "postmaster.pid"
        postmaster = int(pidfile.read_text().split()[0])
        self._stopped = [postmaster]
        os.kill(postmaster, signal.SIGSTOP)
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGSTOP)
                self._stopped.append(int(child))

    def _go_on(self) -> None:
        for process in reversed(self._stopped):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


@pytest.fixture(scope="module")
def quiet() -> Iterator[Quiet]:
    folder = Path(tempfile.mkdtemp(prefix="tide-quiet-", dir=scratch()))
    try:
        made = Quiet(folder)
        yield made
        made.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def within(seconds: float) -> Generator[None]:
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds + SLACK, f"it took {took:.1f} s"


def test_a_call_ends_within_its_limit(quiet: Quiet) -> None:
    with Tidebase(quiet.dsn, patience=0, call_limit=LIMIT) as tide:
        tide.execute(calls.version())
        with (
            quiet.silent(),
            within(LIMIT + CONNECTING),
            pytest.raises(psycopg.OperationalError),
        ):
            tide.execute(calls.version())
        assert tide.execute(calls.version()) is not None


async def test_a_call_of_asyncio_ends_within_its_limit(quiet: Quiet) -> None:
    async with AsyncTidebase(quiet.dsn, patience=0, call_limit=LIMIT) as tide:
        await tide.execute(calls.version())
        with (
            quiet.silent(),
            within(LIMIT + CONNECTING),
            pytest.raises(psycopg.OperationalError),
        ):
            await tide.execute(calls.version())
        assert await tide.execute(calls.version()) is not None


def test_listening_ends_within_its_limit(quiet: Quiet) -> None:
    with psycopg.connect(quiet.dsn, autocommit=True) as connection, quiet.silent():
        for function in (statements.listen, statements.unlisten):
            with within(LIMIT), pytest.raises(psycopg.OperationalError):
                function(connection, "tide_work", limit=LIMIT)


async def test_listening_in_asyncio_ends_within_its_limit(quiet: Quiet) -> None:
    connection = await psycopg.AsyncConnection.connect(quiet.dsn, autocommit=True)
    async with connection:
        with quiet.silent():
            for function in (async_statements.listen, async_statements.unlisten):
                with within(LIMIT), pytest.raises(psycopg.OperationalError):
                    await function(connection, "tide_work", limit=LIMIT)


def test_a_worker_fences_itself_within_its_lease_and_goes_on(
    quiet: Quiet, background: Background
) -> None:
    with Tidebase(quiet.dsn) as tide:
        started, fenced = threading.Event(), threading.Event()

        @tide.workflow("alone", queue="alone", max_attempts=3)
        def alone(run: Run, input: Any) -> Any:
            if run.attempt == 1:
                started.set()
                assert run.cancelled.wait(PATIENCE)
                fenced.set()
            return run.step("go on", lambda: run.attempt)

        backoff = {"base": 0, "jitter": 0}
        run_id = tide.enqueue(alone, backoff=backoff).run_id
        background.start(tide, lease=LEASE, reconcile=0.1)
        assert started.wait(PATIENCE)
        with quiet.silent(), within(LEASE):
            assert fenced.wait(PATIENCE)
        assert tide.runs.wait(run_id, timeout=PATIENCE).result == 2


async def test_an_asyncio_worker_fences_itself_within_its_lease_and_goes_on(quiet: Quiet) -> None:
    async with AsyncTidebase(quiet.dsn) as tide:
        started, fenced = asyncio.Event(), asyncio.Event()

        @tide.workflow("alone", queue="aalone", max_attempts=3)
        async def alone(run: AsyncRun, input: Any) -> Any:
            if run.attempt == 1:
                started.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    fenced.set()
                    raise
            return await run.step("go on", lambda: run.attempt)

        run_id = (await tide.enqueue(alone, backoff={"base": 0, "jitter": 0})).run_id
        worker = tide.worker(lease=LEASE, reconcile=0.1, poll=0.05)
        working = asyncio.create_task(worker.run())
        await asyncio.wait_for(started.wait(), PATIENCE)
        with quiet.silent(), within(LEASE):
            await asyncio.wait_for(fenced.wait(), PATIENCE)
        assert (await tide.runs.wait(run_id, timeout=PATIENCE)).result == 2
        worker.stop()
        await working


def test_a_transaction_of_a_run_ends_within_the_lease(quiet: Quiet, background: Background) -> None:
    with Tidebase(quiet.dsn) as tide:
        inside, go_on, ended = threading.Event(), threading.Event(), threading.Event()
        raised: list[BaseException] = []

        @tide.workflow("writes", queue="writes", max_attempts=3)
        def writes(run: Run, input: Any) -> Any:
            try:
                with run.transaction("write") as transaction:
                    if run.attempt == 1:
                        inside.set()
                        assert go_on.wait(PATIENCE)
                    transaction.connection.execute("select 1")
                    transaction.complete(run.attempt)
            except BaseException as error:
                raised.append(error)
                ended.set()
                raise
            return transaction.output

        run_id = tide.enqueue(writes, backoff={"base": 0, "jitter": 0}).run_id
        background.start(tide, lease=LEASE, reconcile=0.1)
        assert inside.wait(PATIENCE)
        with quiet.silent(), within(LEASE):
            go_on.set()
            assert ended.wait(PATIENCE)
        assert isinstance(raised[0], psycopg.OperationalError)
        assert tide.runs.wait(run_id, timeout=PATIENCE).result == 2


async def test_a_transaction_of_an_asyncio_run_ends_within_the_lease(quiet: Quiet) -> None:
    async with AsyncTidebase(quiet.dsn) as tide:
        inside, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        @tide.workflow("writes", queue="awrites", max_attempts=3)
        async def writes(run: AsyncRun, input: Any) -> Any:
            try:
                async with run.transaction("write") as transaction:
                    if run.attempt == 1:
                        inside.set()
                        await go_on.wait()
                    await transaction.connection.execute("select 1")
                    await transaction.complete(run.attempt)
            except BaseException:
                ended.set()
                raise
            return transaction.output

        run_id = (await tide.enqueue(writes, backoff={"base": 0, "jitter": 0})).run_id
        worker = tide.worker(lease=LEASE, reconcile=0.1, poll=0.05)
        working = asyncio.create_task(worker.run())
        await asyncio.wait_for(inside.wait(), PATIENCE)
        with quiet.silent(), within(LEASE + CANCELLING):
            go_on.set()
            await asyncio.wait_for(ended.wait(), PATIENCE)
        assert (await tide.runs.wait(run_id, timeout=PATIENCE)).result == 2
        worker.stop()
        await working


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_worker_ends_on_its_second_signal(quiet: Quiet, tmp_path: Path, mode: str) -> None:
    with application(quiet.dsn) as start, Tidebase(quiet.dsn) as tide:
        tide.enqueue("killed", input={"log": str(tmp_path / "log")})
        worker = start(mode)
        read_until(worker.stdout, "in the middle")
        with quiet.silent():
            worker.send_signal(signal.SIGTERM)
            read_until(worker.stderr, "stops; running: 1")
            worker.send_signal(signal.SIGTERM)
            if mode == "async":
                assert worker.stdin is not None
                worker.stdin.close()  # asyncio.to_thread, used by the workflow, delays the exit
                worker.stdin = open(os.devnull, "w")  # noqa: PTH123, SIM115
            with within(10):
                assert worker.wait(PATIENCE) == 0
