"""A long history, made fast, and what calls read beside it: buffers, which no neighbour changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from benchmarks import fills
from benchmarks.stage import Connection, connect, execute

INDEXES: Final = """
select
  format('drop index tide.%I', i.relname),
  pg_get_indexdef(x.indexrelid)
from pg_index as x
join pg_class as i on i.oid = x.indexrelid
where x.indrelid = 'tide.{table}'::regclass
  and not exists (select from pg_constraint as c where c.conindid = x.indexrelid)
union all
select
  format('alter table tide.{table} drop constraint %I', c.conname),
  format('alter table tide.{table} add constraint %I %s', c.conname, pg_get_constraintdef(c.oid))
from pg_constraint as c
where c.conrelid = 'tide.{table}'::regclass
  and c.contype = 'p'
"""
"""How each index of a table is dropped, and how it is made again."""

LIVE: Final = """
select
  (select e.run_id from tide.enqueue('noop', queue => 'held') as e),
  count(e.*)
from tide.enqueue_many(
  'bench',
  (
    select jsonb_agg(jsonb_build_object('workflow', 'noop'))
    from generate_series(1, 1000)
  )
) as e
"""

CALLS: Final = {
    "enqueue": "select * from tide.enqueue('noop', queue => 'bench')",
    "claim": "select * from tide.claim('{{bench}}')",
    "claim of 100": "select * from tide.claim('{{bench}}', max_runs => 100)",
    "settle": 'select * from tide.settle(\'[{{"run_id": "{run_id}", "lease_id": "{lease_id}"}}]\')',
    "tick": "select tide._sweep(t.sweep, 10) from unnest(tide._sweeps(true)) as t (sweep)",
    "reconcile": "select tide._sweep(t.sweep, 100) from unnest(tide._sweeps(false)) as t (sweep)",
    "prune of 100": "select tide.prune(interval '1 day', max_runs => 100)",
    "queue_stats": "select * from tide.queue_stats",
    "list_runs": "select * from tide.list_runs()",
    "list_runs of a queue": "select * from tide.list_runs(queue => 'bench', status => 'failed')",
}
"""What is called beside histories of different lengths; the tick and reconcile as their sweeps."""

PIECE: Final = 2_000_000
"""Finished runs between two checkpoints, which bound the log on disk."""

WARM: Final = 5
"""Calls until the session has its plans, the generic ones too, and its part of the catalogue. The
least of those after it counts: a plan made anew, when something was analyzed, reads more."""


def lengthen(dsn: str, before: int, until: int) -> None:
    """From so many finished runs with their events to so many; a table on each connection."""
    with ThreadPoolExecutor() as pool:
        for done in [
            pool.submit(_lengthen, dsn, table, fill, before, until)
            for table, fill in fills.HISTORY.items()
        ]:
            done.result()
    execute(dsn, "checkpoint")


def _lengthen(dsn: str, table: str, fill: str, before: int, until: int) -> None:
    indexes = execute(dsn, INDEXES.format(table=table))
    pieces = [
        statement
        for first in range(before, until, PIECE)
        for statement in (
            fill.format(first=first + 1, last=min(first + PIECE, until)),
            "checkpoint",
        )
    ]
    execute(
        dsn,
        "set maintenance_work_mem = '512MB'",
        *(drop for drop, _ in indexes),
        *pieces,
        *(make for _, make in indexes),
        f"vacuum (analyze) tide.{table}",
    )


def touched(dsn: str) -> dict[str, float]:
    """Buffers that each call touches, those of the functions it calls included."""
    # The same live work beside every length, known to the planner, without what was undone.
    execute(dsn, "truncate tide.runs_active", LIVE, "vacuum", "analyze tide.runs_active")
    with connect(dsn, autocommit=False) as connection, _undone(connection):
        # The tick comes when it is due, in whichever claim that is.
        connection.execute("update tide.ticks set next_at = 'infinity'")
        ((run_id, lease_id),) = connection.execute(
            "select c.run_id, c.lease_id from tide.claim('{held}') as c"
        )
        return {
            name: min(
                [
                    _buffers(connection, query.format(run_id=run_id, lease_id=lease_id))
                    for _ in range(WARM + 3)
                ][WARM:]
            )
            for name, query in CALLS.items()
        }


def _buffers(connection: Connection, query: str) -> float:
    with _undone(connection):
        statement = f"explain (analyze, buffers, format json) {query}"
        rows: list[Any] = connection.execute(statement.encode()).fetchall()
    plan = rows[0][0][0]["Plan"]
    return float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@contextmanager
def _undone(connection: Connection) -> Iterator[None]:
    with connection.transaction(force_rollback=True):
        yield
