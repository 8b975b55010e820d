"""A primary that was replaced by its standby and came back: nothing is done there any more."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.driver.conftest import PATIENCE, Background
from tests.servers import SETTINGS, OwnServer, binaries_of, free_port, scratch
from tests.support import open_connection, value
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase, admin
from tidebase_pg.admin.embedded import Server

MAJOR = os.environ.get("TIDE_TEST_POSTGRES", "18")


@dataclass(frozen=True)
class Pair:
    """A primary, and what its applications met first: the standby that was promoted."""

    former: Server
    present: Server

    @property
    def dsn(self) -> str:
        """Both, the present one first; the other one is found where that one is down."""
        return (
            f"postgresql://postgres@127.0.0.1:{self.present.port},127.0.0.1:{self.former.port}"
            "/postgres"
        )


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="tide-pair-", dir=scratch()))
    folder.chmod(0o711)  # for the user as whom a server runs
    own = OwnServer(folder / "former", MAJOR)
    former = own.server
    present = Server(
        folder / "present", binaries_folder=binaries_of(MAJOR), settings=SETTINGS, port=free_port()
    )
    try:
        admin.install(former.start())
        former.stop()
        shutil.copytree(former.data, present.data)
        if (owner := former.data.stat().st_uid) != os.geteuid():
            for path in (present.folder, present.data, *present.data.rglob("*")):
                os.chown(path, owner, former.data.stat().st_gid)
        (present.data / "standby.signal").touch()
        present.start()
        with open_connection(present.dsn()) as connection:
            assert value(connection, "select pg_promote()")
        former.start()
        yield Pair(former, present)
    finally:
        for server in (former, present):
            if server.running:
                server.stop(mode="immediate")
        shutil.rmtree(folder, ignore_errors=True)


def attempts_at(server: Server) -> Any:
    """Of all runs this server knows."""
    with open_connection(server.dsn()) as connection:
        return value(connection, "select coalesce(array_agg(r.attempt), '{}') from tide.runs as r")


def until_refused(caplog: pytest.LogCaptureFixture) -> None:
    until = time.monotonic() + PATIENCE
    while "former primary" not in caplog.text:
        assert time.monotonic() < until, caplog.text


def test_a_primary_of_an_older_timeline_than_already_met_is_refused(pair: Pair) -> None:
    with Tidebase(pair.dsn, patience=0.5) as tide:
        tide.enqueue("w")
        before = attempts_at(pair.former)
        pair.present.stop(mode="immediate")
        for _ in range(3):  # also after it was refused once
            with pytest.raises(psycopg.OperationalError, match="it is a former primary"):
                tide.enqueue("w")
        assert attempts_at(pair.former) == before
        pair.present.start()
        assert tide.enqueue("w").status == "queued"


async def test_a_primary_of_an_older_timeline_is_refused_in_asyncio(pair: Pair) -> None:
    async with AsyncTidebase(pair.dsn, patience=0.5) as tide:
        await tide.enqueue("w")
        before = attempts_at(pair.former)
        pair.present.stop(mode="immediate")
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError, match="it is a former primary"):
                await tide.enqueue("w")
        assert attempts_at(pair.former) == before
        pair.present.start()
        assert (await tide.enqueue("w")).status == "queued"


def test_a_worker_does_nothing_at_a_former_primary(
    pair: Pair, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    Tidebase(pair.former.dsn()).enqueue("w", queue="working")
    with Tidebase(pair.dsn) as tide:
        started, go_on = threading.Event(), threading.Event()

        @tide.workflow("w", queue="working")
        def w(run: Run, input: Any) -> Any:
            started.set()
            assert go_on.wait(PATIENCE)
            return run.step("s", lambda: run.attempt)

        run_id = tide.enqueue(w).run_id
        background.start(tide, concurrency=2, listen=False)
        assert started.wait(PATIENCE)
        pair.present.stop(mode="immediate")
        until_refused(caplog)
        pair.present.start()
        go_on.set()
        assert tide.runs.wait(run_id, timeout=PATIENCE).result == 1
    assert set(attempts_at(pair.former)) == {0}


async def test_an_asyncio_worker_does_nothing_at_a_former_primary(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    Tidebase(pair.former.dsn()).enqueue("w", queue="working")
    async with AsyncTidebase(pair.dsn) as tide:
        started, go_on = asyncio.Event(), asyncio.Event()

        @tide.workflow("w", queue="working")
        async def w(run: AsyncRun, input: Any) -> Any:
            started.set()
            await go_on.wait()
            return await run.step("s", lambda: run.attempt)

        run_id = (await tide.enqueue(w)).run_id
        worker = tide.worker(concurrency=2, listen=False, poll=0.05)
        working = asyncio.create_task(worker.run())
        await asyncio.wait_for(started.wait(), PATIENCE)
        pair.present.stop(mode="immediate")
        await asyncio.to_thread(until_refused, caplog)
        pair.present.start()
        go_on.set()
        assert (await tide.runs.wait(run_id, timeout=PATIENCE)).result == 1
        worker.stop()
        await working
    assert set(attempts_at(pair.former)) == {0}
