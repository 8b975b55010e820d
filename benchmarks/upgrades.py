"""An upgrade of a filled database from each release, while somebody enqueues."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.stage import connect, execute
from tidebase_pg import admin

RELEASES: Final = Path(__file__).resolve().parent.parent / "tests" / "install" / "releases"
RELEASE: Final = "0.1.0"

FINISHED: Final = """
insert into tide.runs (
  run_id, workflow, queue, status, attempt, last_seq, worker, input, run_at, created_at,
  started_at, finished_at
)
select
  gen_random_uuid(), 'noop', 'bench', (array['completed', 'failed', 'cancelled'])[n % 3 + 1], 1, 3,
  'bench', jsonb_build_object('text', repeat(md5(n::text), 16)), t.at, t.at, t.at, t.at
from generate_series(1, {finished}) as n,
  lateral (select now() - interval '400 days' + n * interval '1 second') as t (at)
"""
ACTIVE: Final = """
insert into tide.runs (
  run_id, workflow, queue, status, last_seq, ready, run_at, created_at, input, waiting_on
)
select
  gen_random_uuid(), 'noop', 'bench', 'queued', 1, n % 4 = 0,
  case n % 4 when 0 then now() when 1 then 'infinity' else now() + n * interval '1 s' end,
  now(), jsonb_build_object('text', repeat(md5(n::text), 16)), case n % 4 when 1 then 'review' end
from generate_series(1, {active}) as n
"""
STEPS: Final = """
insert into tide.steps (
  run_id, name, status, replay, input_hash, started_at, finished_at, output
)
select r.run_id, 'step ' || k, 'completed', 'auto', '\\x00', now(), now(), '{{"answer": 42}}'
from tide.runs_active as r, generate_series(1, 2) as k
"""
SIZE: Final = "select pg_database_size(current_database())"
WRITTEN: Final = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Upgraded:
    seconds: float
    foretold_seconds: float
    """What the dry run said of the indexes, which is most of it."""
    longest_wait: float
    """Milliseconds that one call of an enqueuer took beside it."""
    growth: int
    """Bytes on disk."""
    foretold_growth: int
    wal: int
    enqueued: int


def install_release(dsn: str, released: Path) -> None:
    """Run the frozen text of a release, without the commands for psql in it."""
    lines = released.read_text().splitlines()
    execute(dsn, "\n".join(line for line in lines if not line.startswith("\\")))


def fill(dsn: str, finished: int, active: int) -> None:
    """The release before, with what a year may leave in it."""
    install_release(dsn, RELEASES / f"{RELEASE}.sql")
    steps = (FINISHED, ACTIVE, STEPS)
    execute(dsn, *(step.format(finished=finished, active=active) for step in steps))
    execute(dsn, "vacuum analyze", "checkpoint")


def upgrade(dsn: str) -> Upgraded:
    """Rehearse, then upgrade with an enqueuer beside that repeats a call it was told to repeat."""
    ahead = [row.forecast for row in admin.rehearse(dsn, upgrade=True) if row.forecast]
    waits: list[float] = []
    ended = threading.Event()
    enqueuer = threading.Thread(target=_enqueue, args=(dsn, waits, ended))
    ((size,),), ((written,),) = execute(dsn, SIZE), execute(dsn, WRITTEN)
    enqueuer.start()
    try:
        began = time.monotonic()
        admin.install(dsn, upgrade=True)
        seconds = time.monotonic() - began
    finally:
        ended.set()
        enqueuer.join()
    ((grown,),), ((logged,),) = execute(dsn, SIZE), execute(dsn, WRITTEN)
    return Upgraded(
        seconds,
        sum(each.seconds for each in ahead),
        1000 * max(waits),
        grown - size,
        sum(each.room for each in ahead),
        logged - written,
        len(waits),
    )


def _enqueue(dsn: str, waits: list[float], ended: threading.Event) -> None:
    with connect(dsn, prepare=False) as connection:
        while not ended.is_set():
            began = time.monotonic()
            while True:
                try:
                    connection.execute("select tide.enqueue('noop', queue => 'beside')")
                except connection.DatabaseError as error:
                    # A call under way while a table changes does nothing, and is sent again.
                    if getattr(error, "sqlstate", None) != "42804":
                        raise
                else:
                    break
            waits.append(time.monotonic() - began)
            ended.wait(0.005)
