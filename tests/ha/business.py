"""A producer and a worker before servers of which one may go at any moment."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from tests.ha.patroni import PATIENCE
from tidebase_pg import NotFound, Run, Tidebase, new_run_id

SLOTS = 8


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

    def asks_again(self) -> int:
        """Send again, under its id, what was accepted and is not there; how many there were."""
        lost = []
        for run_id in list(self.accepted):
            try:
                self.tide.runs.get(run_id)
            except NotFound:
                lost.append(run_id)
        for run_id in lost:
            self.tide.enqueue("order", queue="orders", run_id=run_id, max_attempts=5)
        return len(lost)

    def kept_its_promises(self, *, lost: int = 0) -> None:
        """`lost`: so many runs may have been executed before they were forgotten."""
        again = 0
        for run_id in list(self.accepted):
            row = self.tide.runs.wait(run_id, timeout=PATIENCE)
            events = Counter(event.type for event in self.tide.runs.events(run_id))
            assert (row.status, row.result) == ("completed", "paid")
            assert events["run.completed"] == events["run.enqueued"] == 1
            again += max(0, self.executed[str(run_id)] - row.attempt)
        # A claim is not waited for by the standby: what the slots had in the air may begin again.
        assert again <= SLOTS + lost
