"""What plain runs in great number have to agree with, asked of the database as sets.

The lines of who sent and ended them come into tables of the schema `chaos`, beside the tables of
the campaign's own application and the view of the event log. Nothing here knows how either came
about.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.chaos.masses import PERIOD, QUEUES, RATE
from tests.support import Connection

TABLES = """
create schema chaos;
create table chaos.sent (batch uuid, how text, queue text, run_id uuid);
create table chaos.answered (batch uuid);
create table chaos.asked_again (how text, there boolean);
create table chaos.did (mark uuid, run_id uuid);
create table chaos.completed (mark uuid, run_id uuid);
create table chaos.refused (run_id uuid, reason text);
create table chaos.repeated (number integer);
create table chaos.cancels (run_id uuid);
create table chaos.cancelled (run_id uuid, too_late boolean);
"""
COPIES = """
create table chaos.runs as
select
  r.run_id,
  r.queue,
  r.status,
  (r.result ->> 'mark')::uuid as mark,
  coalesce((r.result ->> 'with_rows')::boolean, false) as with_rows,
  r.last_seq
from tide.runs as r
where r.queue = any (%s);
create table chaos.events as
select l.run_id, l.seq, l.type, l.created_at, l.payload ->> 'reason' as reason
from tide.event_log as l
join chaos.runs as r on r.run_id = l.run_id;
create table chaos.rows as
select o.run_id, false as of_an_end
from outbox as o
union all
select l.run_id, true
from ledger as l;
"""
SHOWN = 20
"""Problems of a check that are read; more say nothing more."""


def rows_of(line: dict[str, Any]) -> tuple[str, list[tuple[Any, ...]]]:
    """The table that a line of a client goes to, and its rows."""
    match line["kind"]:
        case "sent":
            facts = (line["batch"], line["how"], line["queue"])
            return "sent", [(*facts, run_id) for run_id in line["runs"]]
        case "answered":
            return "answered", [(line["batch"],)]
        case "asked again":
            return "asked_again", [(line["how"], line["there"])]
        case "did" | "completed" as kind:
            return kind, [(line["mark"], run_id) for run_id in line["runs"]]
        case "refused":
            return "refused", list(line["runs"].items())
        case "repeated":
            return "repeated", [(line["number"],)]
        case "cancels":
            return "cancels", [(line["run_id"],)]
        case "cancelled" | "cancelled too late" as kind:
            return "cancelled", [(line["run_id"], kind != "cancelled")]
    return "", []


def load(connection: Connection, folder: Path) -> None:
    """The lines of the clients and what they are compared with, as tables. What is not said of a
    run at a time is never in memory."""
    connection.execute(TABLES)
    for path in sorted(folder.glob("*.jsonl")):
        by_table: dict[str, list[tuple[Any, ...]]] = {}
        held = 0
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                table, rows = rows_of(json.loads(line))
                if table:
                    by_table.setdefault(table, []).extend(rows)
                    held += len(rows)
                if held > 100_000:
                    _copy(connection, by_table)
                    held = 0
        _copy(connection, by_table)
    compare_with(connection)


def _copy(connection: Connection, by_table: dict[str, list[tuple[Any, ...]]]) -> None:
    for table, rows in by_table.items():
        with connection.cursor().copy(f"copy chaos.{table} from stdin".encode()) as copy:
            for row in rows:
                copy.write_row(row)
    by_table.clear()


def compare_with(connection: Connection) -> None:
    """What the database has now, for the checks."""
    connection.execute("set work_mem = '256MB'")
    for statement in COPIES.split(";\n"):
        if statement.strip():
            connection.execute(statement.encode(), [list(QUEUES)] if "%s" in statement else None)
    connection.execute("create index on chaos.runs (run_id)")
    connection.execute("analyze")


CHECKS = {
    "no_run_of_an_acknowledged_batch_is_lost": """
        select format('the batch of %s was acknowledged and there is no such run', s.run_id)
        from chaos.sent as s
        join chaos.answered as a on a.batch = s.batch
        left join chaos.runs as r on r.run_id = s.run_id
        where s.how <> 'rolled back' and r.run_id is null
    """,
    "a_batch_rolled_back_left_nothing": """
        select format('the batch of %s was rolled back and the run is there', s.run_id)
        from chaos.sent as s
        join chaos.runs as r on r.run_id = s.run_id
        where s.how = 'rolled back'
    """,
    "a_batch_is_there_or_not": """
        select format('of batch %s there are %s of %s runs', s.batch, count(r.run_id), count(*))
        from chaos.sent as s
        left join chaos.runs as r on r.run_id = s.run_id and r.queue = s.queue
        group by s.batch
        having count(r.run_id) not in (0, count(*))
    """,
    "a_batch_and_its_rows_are_one_commit": """
        select format('of %s and its row only one is there', s.run_id)
        from chaos.sent as s
        left join chaos.runs as r on r.run_id = s.run_id
        left join chaos.rows as o on o.run_id = s.run_id and not o.of_an_end
        where s.how <> 'plain' and (r.run_id is null) <> (o.run_id is null)
    """,
    "each_run_was_sent_by_somebody": """
        select format('nobody sent run %s', r.run_id)
        from chaos.runs as r
        left join chaos.sent as s on s.run_id = r.run_id
        where s.run_id is null
    """,
    "events_of_masses_are_numbered_without_a_gap": """
        select format('events of %s are numbered %s', r.run_id, array_agg(e.seq order by e.seq))
        from chaos.runs as r
        left join chaos.events as e on e.run_id = r.run_id
        group by r.run_id, r.last_seq
        having count(e.seq) <> r.last_seq or count(distinct e.seq) <> r.last_seq
          or min(e.seq) is distinct from 1 or max(e.seq) <> r.last_seq
    """,
    "a_run_of_masses_ends_once_and_last": """
        select format('run %s ends %s times', r.run_id, count(e.seq))
        from chaos.runs as r
        left join chaos.events as e on e.run_id = r.run_id
          and e.type in ('run.completed', 'run.failed', 'run.cancelled')
        group by r.run_id, r.last_seq
        having count(e.seq) <> 1 or max(e.seq) <> r.last_seq
    """,
    "attempts_of_masses_do_not_overlap": """
        select format('run %s is taken at %s while an attempt holds it', e.run_id, e.seq)
        from (
          select l.run_id, l.seq, l.type,
            lag(l.type) over (partition by l.run_id order by l.seq) as before
          from chaos.events as l
          where l.type in ('run.claimed', 'run.started', 'run.requeued', 'run.parked')
        ) as e
        where e.type in ('run.claimed', 'run.started')
          and e.before in ('run.claimed', 'run.started')
    """,
    "an_acknowledged_batch_of_ends_is_the_end": """
        select format('%s was told that it completed %s, which is %s by %s', c.mark, c.run_id,
          r.status, r.mark)
        from chaos.completed as c
        left join chaos.runs as r on r.run_id = c.run_id
        where r.status is distinct from 'completed' or r.mark is distinct from c.mark
    """,
    "a_run_of_masses_is_completed_by_one": """
        select format('%s were told that they completed %s', count(distinct c.mark), c.run_id)
        from chaos.completed as c
        group by c.run_id
        having count(distinct c.mark) > 1
    """,
    "a_result_is_of_who_did_the_work": """
        select format('nobody who did %s says that the result is %s', r.run_id, r.mark)
        from chaos.runs as r
        left join chaos.did as d on d.run_id = r.run_id and d.mark = r.mark
        where r.status = 'completed' and d.run_id is null
    """,
    "ends_and_their_rows_are_one_commit": """
        select format('%s is %s and has %s rows of its end', r.run_id, r.status, count(l.run_id))
        from chaos.runs as r
        left join chaos.rows as l on l.run_id = r.run_id and l.of_an_end
        group by r.run_id, r.status, r.with_rows
        having count(l.run_id) <> (r.status = 'completed' and r.with_rows)::integer
    """,
    "a_cancel_among_masses_is_final": """
        select format('the cancel of %s was acknowledged; it is %s', c.run_id, r.status)
        from chaos.cancelled as c
        left join chaos.runs as r on r.run_id = c.run_id
        where (r.status is distinct from 'cancelled') <> c.too_late
        union all
        select format('nobody cancelled %s', r.run_id)
        from chaos.runs as r
        left join chaos.cancels as c on c.run_id = r.run_id
        where r.status = 'cancelled' and c.run_id is null
    """,
    "a_rate_holds_in_every_window": f"""
        select format('%s starts of metered within %s', {RATE} + 1, s.created_at - s.earlier)
        from (
          select e.created_at,
            lag(e.created_at, {RATE}) over (order by e.created_at) as earlier
          from chaos.events as e
          join chaos.runs as r on r.run_id = e.run_id
          where r.queue = 'metered' and e.type = 'run.claimed'
        ) as s
        where s.created_at - s.earlier < make_interval(secs => {PERIOD})
    """,
    "every_run_of_masses_comes_to_its_end": """
        select format('run %s is %s after everything has been quiet', r.run_id, r.status)
        from chaos.runs as r
        where r.status not in ('completed', 'cancelled')
    """,
}


def violations(connection: Connection) -> dict[str, list[str]]:
    """By check, the first of what does not agree; empty is good."""
    found = {
        name: [row[0] for row in connection.execute(f"{check} limit {SHOWN}".encode())]
        for name, check in CHECKS.items()
    }
    return {name: problems for name, problems in found.items() if problems}


COUNTS = {
    "runs in batches": "select count(*) from chaos.runs",
    "batches": "select count(distinct s.batch) from chaos.sent as s",
    "batches rolled back": (
        "select count(distinct s.batch) from chaos.sent as s where s.how = 'rolled back'"
    ),
    "batches whose lost answer was a commit": (
        "select count(*) from chaos.asked_again as a where a.there"
    ),
    "batches whose lost answer was none": (
        "select count(*) from chaos.asked_again as a where not a.there and a.how <> 'rolled back'"
    ),
    "ends acknowledged in batches": "select count(*) from chaos.completed",
    "ends reported again": "select coalesce(sum(r.number), 0) from chaos.repeated as r",
    "ends refused as lost": "select count(*) from chaos.refused as r where r.reason = 'lost'",
    "ends refused as cancelled": (
        "select count(*) from chaos.refused as r where r.reason = 'cancelled'"
    ),
    "ends refused as finished": (
        "select count(*) from chaos.refused as r where r.reason = 'finished'"
    ),
    "cancels after the end": "select count(*) from chaos.cancelled as c where c.too_late",
    "attempts lost in batches": (
        "select count(*) from chaos.events as e "
        "where e.type = 'run.requeued' and e.reason = 'lease_expired'"
    ),
    "attempts retried in batches": (
        "select count(*) from chaos.events as e "
        "where e.type = 'run.requeued' and e.reason = 'failed'"
    ),
    "starts under a rate": (
        "select count(*) from chaos.events as e join chaos.runs as r on r.run_id = e.run_id "
        "where r.queue = 'metered' and e.type = 'run.claimed'"
    ),
    "events of batches": "select count(*) from chaos.events",
}  # fmt: skip


def coverage(connection: Connection) -> dict[str, int]:
    """How often the interleavings that matter were met."""
    return {
        name: int(connection.execute(query.encode()).fetchall()[0][0])
        for name, query in COUNTS.items()
    }
