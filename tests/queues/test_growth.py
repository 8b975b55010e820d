"""What a long history costs: with many times as many finished runs every hot call touches about the
same buffers, and scans no table of the history. Buffers, never time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.servers import RunningServer
from tests.support import Connection, Databases, open_connection, size, value

SHORT = 10_000
LONG = size(100_000, 300_000)
RATIO = 2
"""How much more may be touched with the long history, whose indexes are a level deeper. A scan of
it would touch as many times as much as there are more runs."""

FILL = """
insert into tide.runs_finished (
  run_id, workflow, queue, status, last_seq, run_at, created_at, finished_at
)
select
  lpad(to_hex(%(count)s - n.i), 32, '0')::uuid,
  'work',
  'q',
  (array['completed', 'failed', 'cancelled'])[n.i % 3 + 1],
  2,
  now() - interval '3 days' - n.i * interval '1 second',
  now() - interval '3 days' - n.i * interval '1 second',
  now() - interval '2 days' - n.i * interval '1 second'
from generate_series(1, %(count)s) as n(i);
insert into tide.events (run_id, seq, type, payload, created_at)
select
  lpad(to_hex(%(count)s - n.i), 32, '0')::uuid, s.seq, 'run.' || s.type, '{}',
  now() - interval '3 days'
from generate_series(1, %(count)s) as n(i),
  (values (1, 'enqueued'), (2, 'completed')) as s(seq, type);
insert into tide.steps (
  run_id, name, status, attempt, replay, input_hash, started_at, finished_at
)
select
  lpad(to_hex(%(count)s - n.i), 32, '0')::uuid, 'plan', 'completed', 1, 'auto', '', now(), now()
from generate_series(1, %(count)s) as n(i);
select tide.enqueue_many('q', jsonb_agg('{"workflow": "work"}'::jsonb))
from generate_series(1, 100);
update tide.ticks set next_at = 'infinity';
"""
HISTORY = ("runs_finished", "events", "steps")
TABLES = ("runs_active", *HISTORY)


@pytest.fixture(scope="module", params=["analyzed", "never analyzed"])
def histories(
    request: pytest.FixtureRequest, databases: Databases, template: str, server: RunningServer
) -> Iterator[tuple[Connection, Connection]]:
    """A database with the short history and one with the long one."""
    with ExitStack() as opened:
        connections = []
        for count in (SHORT, LONG):
            name = opened.enter_context(databases.database(template))
            connection = opened.enter_context(open_connection(server.dsn(name)))
            for table in TABLES:
                off = f"alter table tide.{table} set (autovacuum_enabled = off)"
                connection.execute(off.encode())
            connection.execute(FILL.replace("%(count)s", str(count)).encode())
            for table in TABLES:
                # Visibility and hint bits are set in both, so that both read as they will later.
                vacuum = "vacuum (analyze)" if request.param == "analyzed" else "vacuum"
                connection.execute(f"{vacuum} tide.{table}".encode())
            connections.append(connection)
        yield connections[0], connections[1]


def buffers(connection: Connection, query: str, *arguments: Any) -> int:
    """Shared buffers a query touches, those of the functions it calls included; rolled back."""
    with connection.transaction(force_rollback=True):
        (plan,) = value(connection, f"explain (analyze, buffers, format json) {query}", *arguments)
    node = plan["Plan"]
    touched: int = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    return touched


def warmed(connection: Connection, query: str, *arguments: Any) -> int:
    """The same once the session has its plans and the catalogue in its caches; none of the plans,
    those of the functions it calls included, reads a history from one end to the other."""
    touched = [buffers(connection, query, *arguments) for _ in range(3)][-1]
    with connection.transaction(force_rollback=True):
        before = scans(connection)
        connection.execute(query.encode(), arguments or None)
        assert scans(connection) == before, query
    return touched


def scans(connection: Connection) -> int:
    """Sequential scans of the history within this transaction."""
    counted: int = value(
        connection,
        """
        select sum(s.seq_scan)::integer
        from pg_stat_xact_user_tables as s
        where s.schemaname = 'tide' and s.relname = any (%s)
        """,
        list(HISTORY),
    )
    return counted


def compare(histories: tuple[Connection, Connection], query: str) -> None:
    short, long = (warmed(connection, query) for connection in histories)
    assert 0 < long <= short * RATIO, f"{short} buffers with {SHORT} runs, {long} with {LONG}"


CALLS = {
    "claim": "select * from tide.claim('{q}')",
    "claim of a hundred": "select * from tide.claim('{q}', max_runs => 100)",
    "claim of nothing": "select * from tide.claim('{idle}')",
    "enqueue": "select * from tide.enqueue('work', queue => 'q', dedupe_key => 'a')",
    "prune": "select tide.prune(interval '1 day', max_runs => 100)",
    "queue_stats": "select * from tide.queue_stats",
    "list_runs": "select * from tide.list_runs()",
    "list_runs, a later page": """
        select * from tide.list_runs(before => '00000000-0000-0000-0000-000000001000')
    """,
    "next_wakeup": "select tide.next_wakeup('{q}')",
    "overview": "select tide.overview()",
    "list_queues": "select * from tide.list_queues()",
    "list_workers": "select * from tide.list_workers()",
    "throughput": "select * from tide.throughput('2 days')",
    "throughput of a queue": "select * from tide.throughput(queues => '{q}')",
    "run_times": "select * from tide.run_times('2 days')",
    "find_runs": "select tide.find_runs()",
    "find_runs by status": 'select tide.find_runs(\'{"status": "failed"}\')',
    "find_runs by workflow": 'select tide.find_runs(\'{"workflow": "work"}\')',
    "find_runs by queue": 'select tide.find_runs(\'{"queue": "q"}\')',
    "find_runs by what is rare": 'select tide.find_runs(\'{"failure_class": "none"}\')',
    "search_runs by metadata": 'select tide.search_runs(\'{"metadata": {"a": 1}}\')',
    "search_runs by error": 'select tide.search_runs(\'{"error": "502"}\')',
    "count_runs": "select tide.count_runs()",
    "error_groups": "select tide.error_groups()",
    "outline_run": "select tide.outline_run('00000000-0000-0000-0000-000000001000')",
}


@pytest.mark.parametrize("call", CALLS)
def test_a_long_history_makes_no_call_dearer(
    histories: tuple[Connection, Connection], call: str
) -> None:
    compare(histories, CALLS[call])


@pytest.mark.parametrize("chosen", ["queue => 'q'", "queue => 'q', status => 'failed'"])
def test_a_long_history_makes_no_chosen_page_dearer(
    histories: tuple[Connection, Connection], chosen: str
) -> None:
    """Once analyzed: without statistics the planner takes any choice for a rare one."""
    touched = []
    for connection in histories:
        with connection.transaction(force_rollback=True):
            connection.execute("analyze tide.runs_finished")
            touched.append(warmed(connection, f"select * from tide.list_runs({chosen})"))
    short, long = touched
    assert 0 < long <= short * RATIO


def test_a_long_history_makes_settling_no_dearer(
    histories: tuple[Connection, Connection],
) -> None:
    settle = """
        select * from tide.settle(jsonb_build_array(
          jsonb_build_object('run_id', %s::text, 'lease_id', %s::text)
        ))
    """
    touched = []
    for connection in histories:
        with connection.transaction(force_rollback=True):
            run = connection.execute("select run_id, lease_id from tide.claim('{q}')").fetchone()
            assert run is not None
            touched.append(warmed(connection, settle, str(run.run_id), str(run.lease_id)))
    short, long = touched
    assert 0 < long <= short * RATIO


def test_a_long_history_makes_webhooks_no_dearer(
    histories: tuple[Connection, Connection],
) -> None:
    channel = '[{"type": "webhook", "url": "https://example.com/", "events": ["run.completed"]}]'
    touched = []
    for connection in histories:
        with connection.transaction(force_rollback=True):
            connection.execute(
                "insert into tide.channels (run_id, channel, url, secret_name, events) "
                "select f.run_id, 1, 'https://example.com/', 'default', '{}' "
                "from tide.runs_finished as f"
            )
            connection.execute(
                "select tide.enqueue('work', queue => 'told', channels => %s)", [channel]
            )
            run = connection.execute("select run_id, lease_id from tide.claim('{told}')").fetchone()
            assert run is not None
            complete = ("select tide.complete(%s, %s)", str(run.run_id), str(run.lease_id))
            touched.append(warmed(connection, *complete))
            connection.execute(complete[0], complete[1:])
            sent = value(connection, "select count(*) from tide.deliveries")
            assert sent == 1
    short, long = touched
    assert 0 < long <= short * RATIO


def test_a_long_history_makes_no_sweep_dearer(histories: tuple[Connection, Connection]) -> None:
    touched = [
        {
            sweep: warmed(connection, "select tide._sweep(%s, 100)", sweep)
            for (sweep,) in connection.execute("select unnest(tide._sweeps(false))")
        }
        for connection in histories
    ]
    short, long = touched
    assert len(short) > 10
    # A level more in each index that a sweep probes.
    assert {s: n for s, n in long.items() if n > max(short[s] * RATIO, short[s] + 10)} == {}


def test_a_long_history_makes_retention_no_dearer(
    histories: tuple[Connection, Connection],
) -> None:
    touched = []
    for connection in histories:
        with connection.transaction(force_rollback=True):
            connection.execute("select tide.set_queue('q', '{\"retention\": \"1 day\"}')")
            touched.append(warmed(connection, "select tide.prune(max_runs => 100)"))
    short, long = touched
    assert 0 < long <= short * RATIO
