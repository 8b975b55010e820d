"""An application at work: enqueuers and workers that keep calling while something else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.errors import DatatypeMismatch

Cursor = psycopg.RawCursor[Any]
Act = Callable[[Cursor], None]
NAME = "load"


def ask(cursor: Cursor, query: str, *arguments: object) -> list[Any]:
    """A call that is sent once more, as drivers do, when its rows got columns under way."""
    try:
        return cursor.execute(query.encode(), arguments).fetchall()
    except DatatypeMismatch:
        return cursor.execute(query.encode(), arguments).fetchall()


def enqueue(cursor: Cursor) -> None:
    ask(
        cursor,
        "select run_id from tide.enqueue(workflow => $1, queue => $2, dedupe_key => $3)",
        *("load", "load", str(uuid4())),
    )


def work(cursor: Cursor) -> None:
    claimed = ask(
        cursor,
        "select run_id, lease_id from tide.claim(queues => $1, max_runs => 3, worker => $2)",
        *(["load"], f"worker-{cursor.connection.info.backend_pid}"),
    )
    beats = ask(
        cursor,
        "select state from tide.heartbeat(run_ids => $1, lease_ids => $2)",
        *([run_id for run_id, _ in claimed], [lease_id for _, lease_id in claimed]),
    )
    assert {state for (state,) in beats} <= {"held", "busy"}  # upkeep may look at a row just then
    for run_id, lease_id in claimed:
        done = "select status from tide.complete(run_id => $1, lease_id => $2, result => $3)"
        assert ask(cursor, done, run_id, lease_id, '{"done": true}') == [("completed",)]


def run_by_id(cursor: Cursor) -> None:
    ((run_id,),) = ask(cursor, "select run_id from tide.create_run(workflow => $1)", "load")
    begin = "select lease_id from tide.begin_run(run_id => $1)"
    ((lease_id,),) = ask(cursor, begin, run_id)
    ask(
        cursor,
        "select gate_id from tide.open_gate("
        "run_id => $1, lease_id => $2, name => 'ok', prompt => 'All right?')",
        *(run_id, lease_id),
    )
    fail = "select status from tide.fail(run_id => $1, lease_id => $2)"
    assert ask(cursor, fail, run_id, lease_id) == [("failed",)]


def report(cursor: Cursor) -> None:
    """Somebody who reads for a while in one transaction: DDL has to wait for it."""
    with cursor.connection.transaction():
        cursor.execute("select count(*) from tide.runs")
        cursor.execute("select pg_sleep(0.2)")


ACTS: tuple[Act, ...] = (enqueue, enqueue, work, work, work, run_by_id, report)


class Load:
    """How far each thread is, and what went wrong."""

    def __init__(self, dsn: str, acts: tuple[Act, ...]) -> None:
        self.dsn = dsn
        self.acts = acts
        self.rounds = [0] * len(acts)
        self.moved = threading.Condition()
        self.over = threading.Event()

    def act(self, place: int) -> None:
        with psycopg.connect(
            self.dsn, autocommit=True, application_name=NAME, prepare_threshold=3
        ) as connection:
            while not self.over.is_set():
                with psycopg.RawCursor(connection) as cursor:
                    self.acts[place](cursor)
                with self.moved:
                    self.rounds[place] += 1
                    self.moved.notify_all()

    def advance(self, rounds: int, threads: list[Future[None]]) -> None:
        """Return once every thread has done so many rounds more; raises what one of them met."""
        goal = [done + rounds for done in self.rounds]

        def arrived() -> bool:
            for thread in threads:
                if thread.done():
                    thread.result()
            return all(done >= wanted for done, wanted in zip(self.rounds, goal, strict=True))

        with self.moved:
            while not self.moved.wait_for(arrived, timeout=1):
                pass


@contextmanager
def load(dsn: str, acts: tuple[Act, ...] = ACTS) -> Generator[Callable[[int], None]]:
    """`with load(dsn) as advance`: runs until the end of the block, then raises errors."""
    made = Load(dsn, acts)
    with ThreadPoolExecutor(len(acts)) as pool:
        try:
            threads = [pool.submit(made.act, place) for place in range(len(acts))]
            yield lambda rounds: made.advance(rounds, threads)
        finally:
            made.over.set()
        for thread in threads:
            thread.result()
