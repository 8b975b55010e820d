"""What a run costs, from its enqueue to its end: processor time of server and client, and WAL."""

from __future__ import annotations

import random
import string
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import steps
from benchmarks.crew import Step
from benchmarks.stage import Connection, connect

SIZES: Final = (0, 2, 8, 32)
"""Kilobytes of input, which do not compress."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one run."""

    server: float
    """Microseconds."""
    client: float
    """Microseconds."""
    wal: float
    """Bytes."""


def payload(kilobytes: int) -> str:
    """A document of this size, the same in each process."""
    if not kilobytes:
        return "{}"
    letters = random.Random(kilobytes).choices(string.ascii_letters, k=1024 * kilobytes)
    return f'{{"text": "{"".join(letters)}"}}'


def both(put: Step, take: Step) -> Step:
    def step() -> int:
        put()
        return take()

    return step


def raw(dsn: str, many: int, kilobytes: int) -> Step:
    """Insert, claim, delete."""
    given = payload(kilobytes)
    put = steps.raw_insert(dsn, given) if many == 1 else steps.raw_insert_many(dsn, many, given)
    return both(put, steps.raw_drain(dsn, many))


def tide(dsn: str, many: int, kilobytes: int) -> Step:
    """Enqueue, and claim with the report of the runs before."""
    given = payload(kilobytes)
    put = partial(steps.tide_enqueue_many, many=many) if many > 1 else steps.tide_enqueue
    return both(put(dsn, payload=given), steps.tide_fused(dsn, many))


def processor_time(process: int) -> int:
    """Nanoseconds that a process has run."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
    except OSError as error:
        raise RuntimeError(f"error: the system does not tell processor time: {error}") from None


def meter(watching: Connection, backends: list[int]) -> tuple[int, int, int]:
    (position,) = watching.execute(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
    ).fetchone() or (0,)
    server = sum(processor_time(backend) for backend in backends)
    return server, time.process_time_ns(), position


def spend(kind: str, dsn: str, many: int, kilobytes: int, runs: int, warm: int) -> Spent:
    """The mean of so many runs; in a process of the crew, alone in its database."""
    step = {"raw": raw, "tide": tide}[kind](dsn, many, kilobytes)
    for _ in range(warm):
        step()
    with connect(dsn) as watching:
        rows = watching.execute(
            "select a.pid from pg_stat_activity as a where a.datname = current_database() "
            "and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()"
        ).fetchall()
        backends = [pid for (pid,) in rows]
        before = meter(watching, backends)
        done = 0
        while done < runs:
            done += step()
        after = meter(watching, backends)
    server, client, wal = (late - early for early, late in zip(before, after, strict=True))
    return Spent(server / 1000 / done, client / 1000 / done, wal / done)
