"""A disk that is full: what was answered is kept, the rest is refused, and work goes on after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.chaos.disk import SmallDisk
from tests.servers import Absent, OwnServer
from tests.support import open_connection, value
from tidebase_pg import admin
from tidebase_pg.admin.embedded import EmbeddedError

PATIENCE = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "server"
    folder.mkdir()
    try:
        made = SmallDisk(folder, 400)
    except Absent as absent:
        pytest.skip(str(absent))
    yield made
    made.unmount()


def test_a_full_disk_loses_nothing_that_was_answered(disk: SmallDisk) -> None:
    own = OwnServer(disk.folder, "18")
    try:
        dsn = own.start().dsn()
        admin.install(dsn)
        kept = []
        large = f'{{"text": "{"x" * 100_000}"}}'
        with open_connection(dsn) as connection:
            kept.append(value(connection, "select run_id from tide.enqueue('w')"))
            disk.fill()
            with pytest.raises(psycopg.OperationalError):
                for _ in range(10_000):
                    kept.append(
                        value(connection, "select run_id from tide.enqueue('w', %s)", large)
                    )
        disk.empty()
        until = time.monotonic() + PATIENCE
        while True:
            try:
                own.start()
                with open_connection(dsn) as connection:
                    there = value(connection, "select array_agg(run_id) from tide.runs")
                    assert set(there) >= set(kept)
                    claimed = value(connection, "select count(*) from tide.claim(max_runs => 1000)")
                    assert claimed == min(len(there), 1000)
                return
            except (psycopg.OperationalError, EmbeddedError):
                assert time.monotonic() < until
                time.sleep(0.1)
    finally:
        own.stop()
