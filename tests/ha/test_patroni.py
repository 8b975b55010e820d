"""The page on high availability, tried: what a switchover and the loss of a machine cost."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.ha.patroni import PATIENCE, Cluster, started
from tests.servers import scratch
from tidebase_pg import Run, Tidebase, new_run_id, schema

PROGRAM = os.environ.get("TIDE_TEST_PATRONI")

SLOTS = 8

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="run: make test-patroni")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two servers of which one follows synchronously, with the schema."""
    assert PROGRAM is not None
    with ExitStack() as ending:
        folder = Path(tempfile.mkdtemp(prefix="tide-patroni-", dir=scratch()))
        cluster = started(ending, folder, Path(PROGRAM).absolute())
        cluster.leader()
        schema.install(cluster.dsn)
        yield cluster


class Business:
    """A producer and a worker that go on whatever happens to the database."""

    def __init__(self, dsn: str) -> None:
        self.tide = Tidebase(dsn, patience=PATIENCE)
        self.accepted: list[Any] = []
        self.executed: Counter[str] = Counter()
        self.longest = 0.0
        self._over = threading.Event()
        self._lock = threading.Lock()

        @self.tide.workflow("order", queue="orders", max_attempts=5)
        def order(run: Run, input: Any) -> Any:
            def charge() -> str:
                with self._lock:
                    self.executed[str(run.id)] += 1
                return "paid"

            return run.step("charge", charge)

        self._worker = self.tide.worker(concurrency=SLOTS, lease=10, signals=False)
        self._threads = [
            threading.Thread(target=self._worker.run),
            threading.Thread(target=self._produce),
        ]

    def __enter__(self) -> Business:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._threads[1].join(PATIENCE)
        self._worker.stop()
        self._threads[0].join(PATIENCE)
        self.tide.close()

    def _produce(self) -> None:
        while not self._over.wait(0.01):
            run_id, since = new_run_id(), time.monotonic()
            self.tide.enqueue("order", queue="orders", run_id=run_id, max_attempts=5)
            self.longest = max(self.longest, time.monotonic() - since)
            self.accepted.append(run_id)

    def goes_on(self, more: int = 50) -> None:
        """Wait until so many more runs were accepted and all until then have completed."""
        wanted, give_up_at = len(self.accepted) + more, time.monotonic() + PATIENCE
        while len(self.accepted) < wanted:
            assert time.monotonic() < give_up_at, f"{len(self.accepted)} of {wanted} accepted"
            time.sleep(0.05)
        for run_id in self.accepted[:wanted]:
            assert self.tide.runs.wait(run_id, timeout=PATIENCE).status == "completed"

    def kept_its_promises(self) -> None:
        again = 0
        for run_id in list(self.accepted):
            row = self.tide.runs.wait(run_id, timeout=PATIENCE)
            events = Counter(event.type for event in self.tide.runs.events(run_id))
            assert (row.status, row.result) == ("completed", "paid")
            assert events["run.completed"] == events["run.enqueued"] == 1
            again += max(0, self.executed[str(run_id)] - row.attempt)
        # A claim is not waited for by the standby: what the slots had in the air may begin again.
        assert again <= SLOTS


def test_a_planned_switchover_loses_nothing_and_nobody_is_stopped(cluster: Cluster) -> None:
    leader = cluster.leader()
    other = "two" if leader == "one" else "one"
    with Business(cluster.dsn) as business:
        business.goes_on()
        cluster.switch_over(leader, other)
        business.goes_on()
        assert cluster.leader() == other
        business.goes_on()
        business.kept_its_promises()
        print(f"switchover: {business.longest:.1f} s without writes")  # noqa: T201


def test_the_loss_of_the_primary_machine_loses_no_accepted_run(cluster: Cluster) -> None:
    leader = cluster.leader()
    with Business(cluster.dsn) as business:
        business.goes_on()
        cluster.kill(leader)
        business.goes_on()
        assert cluster.leader(synchronous=False) != leader
        cluster.start(leader)
        assert cluster.leader() != leader
        business.goes_on()
        business.kept_its_promises()
        print(f"failover: {business.longest:.1f} s without writes")  # noqa: T201
