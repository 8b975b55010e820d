"""Plain runs in great number: who sends them in batches and who ends them in batches, in SQL and
with the driver of either colour.

`python -m tests.chaos.masses sync|async FOLDER` is a worker of the driver for them, on the database
TIDEBASE_DSN names. What each of them was told stands in files of the folder, a line for a batch.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID, uuid4

import psycopg

from tests.chaos.application import BACKOFF, work_until_told
from tests.chaos.history import Log
from tests.support import Connection
from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase

QUEUES = ("metered", "masses")
RATE, PERIOD = 60, 2.0
"""Starts in so many seconds that the first queue allows."""
LEASE = 2.0
MOST_WAITING = 4000
"""Runs that wait before nobody sends more, so that all end soon after the campaign."""
HANGING_UP = 0.05
"""The share of calls whose sender does not wait for the answer: they commit, and nobody is told."""
FAILING = 0.02
LATE = 0.05
"""The share of batches that take longer than their lease."""
WORK = 0.1
"""Seconds that the others take at most: what is killed or cancelled meanwhile was under way."""


@dataclass
class Batch:
    """Runs that are sent together, under the same ids until that is answered."""

    kind: str
    queue: str
    batch_id: UUID = field(default_factory=uuid4)
    run_ids: list[UUID] = field(default_factory=list[UUID])
    asked: int = 0

    @property
    def runs(self) -> str:
        return json.dumps(
            [
                {
                    "run_id": str(run_id), "workflow": "mass", "input": {"place": place},
                    "max_attempts": 90, "backoff": BACKOFF,
                }
                for place, run_id in enumerate(self.run_ids)
            ]
        )  # fmt: skip


@dataclass
class Held:
    """Runs that were claimed together, and what will be reported of them until that is answered."""

    outcomes: list[dict[str, Any]]
    completed: set[str]
    with_rows: bool
    mark: UUID
    asked: int = 0


class Masses:
    """`connected` and `ended` are those of the campaign, `pace` is runs a second at most."""

    def __init__(
        self,
        folder: Path,
        ended: threading.Event,
        connected: Callable[[Log, str], AbstractContextManager[Connection]],
        pace: float,
    ) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        self.folder = folder
        self.accepted = 0
        """Runs whose enqueue was acknowledged."""
        self._ended = ended
        self._connected = connected
        self._pace = pace
        self._due = time.monotonic()
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    @staticmethod
    def prepare(connection: Connection) -> None:
        connection.execute(
            "select tide.set_queue('metered', jsonb_build_object("
            "'rate_limit', %s::int, 'rate_period', make_interval(secs => %s)))",
            [RATE, PERIOD],
        )

    def _log(self, name: str) -> Log:
        return Log(self.folder, f"{name}-{next(self._numbers)}")

    # Who sends

    def produce(self, log: Log, chance: random.Random) -> None:
        told = self._log("sent")
        batch: Batch | None = None
        while not self._ended.is_set():
            with self._connected(log, "enqueue many") as connection:
                while not self._ended.is_set():
                    if batch is None:
                        batch = self._new_batch(connection, told, chance)
                    elif batch.asked:
                        self._look(connection, told, batch)
                    self._send(connection, log, batch, chance)
                    told.write("answered", batch=batch.batch_id)
                    if batch.kind != "rolled back":
                        with self._lock:
                            self.accepted += len(batch.run_ids)
                    batch = None

    def _new_batch(self, connection: Connection, told: Log, chance: random.Random) -> Batch:
        """What is sent next, once it is due and there is room."""
        queue = "metered" if chance.random() < 0.15 else "masses"
        kind = chance.choice(["plain", "plain", "plain", "with rows", "with rows", "rolled back"])
        size = chance.randint(10, 30) if queue == "metered" else chance.choice([50, 100, 200])
        with self._lock:
            # What could not be sent while there was no server is caught up with for some seconds.
            self._due = max(self._due, time.monotonic() - 10) + size / self._pace
            due = self._due
        self._ended.wait(max(0.0, due - time.monotonic()))
        while not self._ended.is_set() and _waiting(connection, queue) >= MOST_WAITING:
            self._ended.wait(0.2)
        batch = Batch(kind, queue, run_ids=[uuid4() for _ in range(size)])
        told.write(
            "sent",
            batch=batch.batch_id,
            how=kind,
            queue=queue,
            runs=[str(i) for i in batch.run_ids],
        )
        return batch

    @staticmethod
    def _look(connection: Connection, told: Log, batch: Batch) -> None:
        """Whether what was not answered was done; what was rolled back never is."""
        row = connection.execute(
            "select exists (select from tide.runs as r where r.run_id = %s) as there",
            [batch.run_ids[0]],
        ).fetchone()
        told.write("asked again", batch=batch.batch_id, how=batch.kind, there=row.there)

    def _send(self, connection: Connection, log: Log, batch: Batch, chance: random.Random) -> None:
        call = "select run_id, deduplicated from tide.enqueue_many(%s, %s) order by ordinal"
        batch.asked += 1
        if batch.kind == "plain":
            if chance.random() < HANGING_UP:
                hang_up(connection, call, [batch.queue, batch.runs], chance)
            rows = connection.execute(call.encode(), [batch.queue, batch.runs]).fetchall()
        else:
            with connection.transaction(force_rollback=batch.kind == "rolled back"):
                connection.execute(
                    "insert into outbox select unnest(%s::uuid[]) on conflict do nothing",
                    [batch.run_ids],
                )
                rows = connection.execute(call.encode(), [batch.queue, batch.runs]).fetchall()
        if rows != [(run_id, False) for run_id in batch.run_ids]:
            log.write("error", doing="enqueue many", sqlstate=None, message="answers other runs")

    # Who works in SQL

    def work(self, log: Log, chance: random.Random) -> None:
        told = self._log("worked")
        held: Held | None = None
        while not self._ended.is_set():
            with self._connected(log, "settle many") as connection:
                while not self._ended.is_set():
                    if held is None:
                        rows = connection.execute(
                            "select run_id, lease_id, attempt "
                            "from tide.claim(%s, max_runs => 100, lease => %s, worker => 'masses')",
                            [list(QUEUES), f"{LEASE} s"],
                        ).fetchall()
                        held = self._hold(rows, told, chance)
                    if held is None:
                        self._ended.wait(0.1)
                        continue
                    held = self._report(connection, held, told, chance)

    def _hold(self, rows: Sequence[Any], told: Log, chance: random.Random) -> Held | None:
        """What was claimed, and done; now and then for longer than the lease."""
        if not rows:
            return None
        mark, with_rows = uuid4(), chance.random() < 0.3
        held = Held([], set(), with_rows, mark)
        result = {"mark": str(mark), "with_rows": with_rows}
        for row in rows:
            outcome: dict[str, Any] = {"run_id": str(row.run_id), "lease_id": str(row.lease_id)}
            if row.attempt == 1 and chance.random() < FAILING:
                outcome |= {"error": {"message": "chaos"}, "retry_after": "0.2 s"}
            else:
                outcome["result"] = result
                held.completed.add(outcome["run_id"])
            held.outcomes.append(outcome)
        told.write("did", mark=mark, runs=sorted(held.completed))
        self._ended.wait(LEASE * 1.5 if chance.random() < LATE else chance.random() * WORK)
        return held

    def _report(
        self, connection: Connection, held: Held, told: Log, chance: random.Random
    ) -> Held | None:
        """Reports, sent again until they are answered; what is held next."""
        held.asked += 1
        outcomes = json.dumps(held.outcomes)
        claimed: list[Any] = []
        if not held.with_rows and chance.random() < HANGING_UP:
            hang_up(connection, "select tide.settle(%s)", [outcomes], chance)
        if held.with_rows:
            with connection.transaction():
                verdicts = connection.execute(
                    "select run_id, accepted, reason from tide.settle(%s)", [outcomes]
                ).fetchall()
                connection.execute(
                    "insert into ledger select unnest(%s::uuid[])",
                    [
                        [
                            v.run_id for v in verdicts
                            if v.accepted and v.reason is None and str(v.run_id) in held.completed
                        ]
                    ],
                )  # fmt: skip
        elif chance.random() < 0.5:
            verdicts = connection.execute(
                "select run_id, accepted, reason from tide.settle(%s)", [outcomes]
            ).fetchall()
        else:
            rows = connection.execute(
                "select run_id, accepted, reason, lease_id, attempt from tide.settle_and_claim("
                "%s, %s, max_runs => 100, lease => %s, worker => 'masses')",
                [outcomes, list(QUEUES), f"{LEASE} s"],
            ).fetchall()
            verdicts = [row for row in rows if row.accepted is not None]
            claimed = [row for row in rows if row.accepted is None]
        refused = {str(v.run_id): v.reason for v in verdicts if not v.accepted}
        accepted = sorted(held.completed - refused.keys())
        if accepted:
            told.write("completed", mark=held.mark, runs=accepted)
        if again := sum(v.accepted and v.reason == "repeated" for v in verdicts):
            told.write("repeated", mark=held.mark, number=again)
        if gone := {run_id: reason for run_id, reason in refused.items() if reason != "busy"}:
            told.write("refused", mark=held.mark, runs=gone)
        busy = [o for o in held.outcomes if refused.get(o["run_id"]) == "busy"]
        if busy:
            told.write("busy", number=len(busy))
            self._ended.wait(0.2)
            left = {o["run_id"] for o in busy} & held.completed
            return Held(busy, left, held.with_rows, held.mark, held.asked)
        return self._hold(claimed, told, chance)

    def cancel(self, log: Log, chance: random.Random) -> None:
        """Cancels what somebody is about to complete."""
        told = self._log("cancels")
        while not self._ended.wait(0.5):
            with self._connected(log, "cancel") as connection:
                rows = connection.execute(
                    "select r.run_id from tide.runs as r "
                    "where r.queue = 'masses' and r.status = 'running' limit 300"
                ).fetchall()
                for row in chance.sample(rows, min(3, len(rows))):
                    told.write("cancels", run_id=row.run_id)
                    try:
                        connection.execute("select tide.cancel(%s)", [row.run_id])
                    except psycopg.DatabaseError as error:
                        if error.sqlstate != "TD003":
                            raise
                        told.write("cancelled too late", run_id=row.run_id)
                    else:
                        told.write("cancelled", run_id=row.run_id)


def _waiting(connection: Connection, queue: str) -> int:
    row = connection.execute(
        "select count(*) as waiting from (select from tide.runs_active as r "
        "where r.queue = %s and r.ready limit %s) as w",
        [queue, MOST_WAITING],
    ).fetchone()
    found: int = row.waiting
    return found


def hang_up(
    connection: Connection, query: str, values: Sequence[object], chance: random.Random
) -> NoReturn:
    """Send a call, and be gone before the answer: the server commits it all the same."""
    for place in range(1, len(values) + 1):
        query = query.replace("%s", f"${place}", 1)
    connection.pgconn.send_query_params(
        query.encode(), [None if value is None else str(value).encode() for value in values]
    )
    while connection.pgconn.flush():
        pass
    time.sleep(chance.random() * 0.03)
    connection.close()
    raise psycopg.OperationalError("hung up before the answer")


def answers(runs: Sequence[Run | AsyncRun], log: Log) -> list[Any]:
    """What a workflow that takes batches gives: done is what is written down."""
    mark = str(uuid4())
    log.write("did", mark=mark, runs=[str(run.id) for run in runs])
    return [
        RuntimeError("an error of the application")
        if run.attempt == 1 and random.random() < FAILING
        else {"mark": mark, "with_rows": False}
        for run in runs
    ]


def main(colour: str, folder: Path) -> None:
    logging.disable(logging.WARNING)
    log = Log(folder, f"worker-{colour}")
    options: Any = {
        "queues": list(QUEUES), "concurrency": 50, "lease": LEASE, "reconcile": 1, "poll": 0.5,
    }  # fmt: skip
    if colour == "sync":
        tide = Tidebase()

        @tide.workflow("mass", queue="masses", batch=50)
        def mass(runs: list[Run], inputs: list[Any]) -> list[Any]:
            time.sleep(random.random() * WORK)
            return answers(runs, log)

        work_until_told(log, lambda: tide.work(**options))
    else:
        async_tide = AsyncTidebase()

        @async_tide.workflow("mass", queue="masses", batch=50)
        async def async_mass(runs: list[AsyncRun], inputs: list[Any]) -> list[Any]:
            await asyncio.sleep(random.random() * WORK)
            return answers(runs, log)

        work_until_told(log, lambda: asyncio.run(async_tide.work(**options)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
