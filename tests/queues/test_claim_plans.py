"""What a claim costs beside a large backlog and a long history: buffers touched, never time.

`make test-long` has millions of runs, `make test` a tenth: a scan of those still touches thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import RunningServer
from tests.support import Connection, Databases, open_connection, size, value

MANY = size(100_000, 1_000_000)
FEW = 120
"""Buffers one call may touch; some 30 are usual, a scan of the backlog takes thousands."""

FILL = f"""
insert into tide.runs_active (
  run_id, workflow, queue, status, dedupe_key, priority, last_seq, ready, run_at, created_at
)
select
  gen_random_uuid(),
  'work',
  'big',
  'queued',
  case when n.i % 10 = 0 then 'key ' || n.i end,
  n.i % 3,
  1,
  n.i % 2 = 0,
  now() + case when n.i % 2 = 0 then interval '-1 day' else interval '1 day' end
    + n.i * interval '1 ms',
  now()
from generate_series(1, 2 * {MANY}) as n(i);
insert into tide.runs_finished (
  run_id, workflow, queue, status, run_at, created_at, finished_at
)
select
  gen_random_uuid(), 'work', 'big', 'completed', now(), now(), now() - n.i * interval '1 ms'
from generate_series(1, {MANY}) as n(i);
"""


@pytest.fixture(scope="module")
def backlog(databases: Databases, template: str, server: RunningServer) -> Iterator[str]:
    """A database with so many ready, as many delayed and as many finished runs, whose
    statistics were taken while it was empty."""
    with databases.database(template) as name:
        dsn = server.dsn(name)
        with open_connection(dsn) as connection:
            for table in ("runs_active", "runs_finished"):
                connection.execute(
                    f"alter table tide.{table} set (autovacuum_enabled = off)".encode()
                )
                connection.execute(f"analyze tide.{table}".encode())
            connection.execute(FILL.encode())
        yield dsn


@pytest.fixture(params=["stale", "empty", "fresh"])
def statistics(request: pytest.FixtureRequest, backlog: str) -> Iterator[Connection]:
    """A new session after the statistics were left as they are, removed, or taken anew."""
    connection = open_connection(backlog)
    if request.param == "empty":
        connection.execute(
            """
            delete from pg_statistic
            where starelid in ('tide.runs_active'::regclass, 'tide.runs_finished'::regclass)
            """
        )
        connection.execute(
            """
            update pg_class set reltuples = -1, relpages = 0
            where oid in ('tide.runs_active'::regclass, 'tide.runs_finished'::regclass)
            """
        )
        connection.close()
        connection = open_connection(backlog)
    elif request.param == "fresh":
        connection.execute("analyze tide.runs_active")
        connection.execute("analyze tide.runs_finished")
    yield connection
    connection.close()


def buffers(connection: Connection, query: str, *arguments: Any) -> int:
    """Shared buffers a query touches, those of the functions it calls included; rolled back."""
    with connection.transaction(force_rollback=True):
        (plan,) = value(connection, f"explain (analyze, buffers, format json) {query}", *arguments)
    node = plan["Plan"]
    touched: int = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    return touched


def warmed(connection: Connection, query: str, *arguments: Any) -> int:
    """The same once the session has its plans and the catalogue in its caches."""
    for _ in range(2):
        buffers(connection, query, *arguments)
    return buffers(connection, query, *arguments)


def no_tick(connection: Connection) -> None:
    """Upkeep is measured on its own: keep it out of claims."""
    connection.execute("update tide.ticks set next_at = 'infinity'")


@pytest.mark.parametrize("floors", [False, True])
def test_claim_touches_few_buffers_beside_millions(statistics: Connection, floors: bool) -> None:
    statistics.execute("delete from tide.claim_floors")
    if floors:
        statistics.execute(
            "insert into tide.claim_floors values ('big', 2, '-infinity'), ('big', 0, '-infinity')"
        )
    no_tick(statistics)
    assert warmed(statistics, "select * from tide.claim('{big}')") < FEW


def test_claim_of_an_idle_queue_touches_few_buffers_beside_millions(
    statistics: Connection,
) -> None:
    no_tick(statistics)
    assert warmed(statistics, "select * from tide.claim('{idle}')") < FEW


def test_enqueue_and_settle_touch_few_buffers_beside_millions(statistics: Connection) -> None:
    no_tick(statistics)
    enqueue = "select * from tide.enqueue('work', queue => 'big', dedupe_key => %s)"
    assert warmed(statistics, enqueue, "key 10") < FEW
    assert warmed(statistics, enqueue, "new key") < FEW
    with statistics.transaction(force_rollback=True):
        run = statistics.execute("select run_id, lease_id from tide.claim('{big}')").fetchone()
        ids = (run.run_id, run.lease_id)
        settle = """
            select * from tide.settle_and_claim(
              jsonb_build_array(jsonb_build_object('run_id', %s::text, 'lease_id', %s::text)),
              '{big}'
            )
        """
        assert warmed(statistics, settle, *map(str, ids)) < 2 * FEW
        assert warmed(statistics, "select * from tide.complete(%s, %s)", *ids) < FEW
        beat = "select * from tide.heartbeat(array[%s], array[%s])"
        assert warmed(statistics, beat, *ids) < FEW


def test_tick_touches_few_buffers_beside_millions(statistics: Connection) -> None:
    statistics.execute("update tide.ticks set next_at = '-infinity'")
    assert warmed(statistics, "select tide._tick()") < 2 * FEW


BOUNDS = {
    "select * from tide.claim('{plain}')": 33,
    "select * from tide.claim('{capped}')": 55,
    "select * from tide.claim('{rated}')": 66,
    "select * from tide.claim('{idle}')": 14,
    "select * from tide.enqueue('work', queue => 'plain')": 23,
}
"""Buffers that calls may touch in a small installation that uses neither channels nor waiters.

Without the looks for both they touch 26, 43, 48, 7 and 14.
"""


@pytest.mark.parametrize("query", BOUNDS)
def test_what_nobody_uses_costs_next_to_nothing(connection: Connection, query: str) -> None:
    no_tick(connection)
    connection.execute("select tide.set_queue('capped', '{\"concurrency\": 1000}')")
    connection.execute("select tide.set_queue('rated', '{\"rate_limit\": 1000}')")
    for queue in ("plain", "capped", "rated"):
        connection.execute(
            "select tide.enqueue_many(%s, jsonb_agg(jsonb_build_object('workflow', 'work'))) "
            "from generate_series(1, 200)",
            (queue,),
        )
    assert warmed(connection, query) <= BOUNDS[query]


WAITING = f"""
insert into tide.schedules (
  schedule, cron, time_zone, timing, workflow, input, queue, priority, metadata, misfire, overlap,
  enabled, next_fire_at, created_at, updated_at
)
select
  'nightly ' || n.i, '@daily', 'UTC', tide._parse_cron('@daily'), 'work', '{{}}', 'plain', 0,
  '{{}}', 'one', 'allow', true, now() + interval '1 day', now(), now()
from generate_series(1, 10000) as n(i);
insert into tide.deliveries (
  run_id, delivery_id, type, url, endpoint, secret_name, body, max_attempts, due_at, expires_at,
  created_at
)
select
  gen_random_uuid(), gen_random_uuid(), 'run.completed', 'https://' || n.i % 50 || '.example.com/',
  'https://' || n.i % 50 || '.example.com', 'default', '{{}}', 20, now() + interval '1 hour',
  now() + interval '3 days', now()
from generate_series(1, {size(20_000, 100_000)}) as n(i);
insert into tide.waiters (queue, waiter, since, until)
select 'elsewhere', 'worker ' || n.i, now(), now() + interval '1 hour'
from generate_series(1, 10000) as n(i);
insert into tide.channels (run_id, channel, url, secret_name, events)
select gen_random_uuid(), 1, 'https://example.com/', 'default', '{{}}'
from generate_series(1, 10000) as n(i);
"""


@pytest.mark.parametrize("analyzed", [False, True])
def test_schedules_webhooks_and_waiters_that_are_not_due_cost_nothing(
    connection: Connection, analyzed: bool
) -> None:
    connection.execute(WAITING.encode())
    if analyzed:
        for table in ("schedules", "deliveries", "waiters", "channels"):
            connection.execute(f"analyze tide.{table}".encode())
    connection.execute("select tide.enqueue('work', queue => 'plain')")
    connection.execute("update tide.ticks set next_at = '-infinity'")
    assert warmed(connection, "select tide._tick()") < 2 * FEW
    no_tick(connection)
    assert warmed(connection, "select * from tide.claim('{plain}')") < FEW
    assert warmed(connection, "select * from tide.enqueue('work', queue => 'plain')") < FEW
    assert warmed(connection, "select tide.next_wakeup('{plain}')") < FEW
    # Two probes for each endpoint that anything is to be sent to.
    assert warmed(connection, "select * from tide.claim_deliveries()") < 50 * 10


@pytest.mark.parametrize("call", ["settle", "heartbeat"])
@pytest.mark.parametrize("analyzed_with", ["none", "many"])
def test_reports_on_a_hundred_runs_do_not_read_all_that_run(
    connection: Connection, call: str, analyzed_with: str
) -> None:
    no_tick(connection)
    query = {
        "settle": "select * from tide.settle_and_claim((select jsonb_agg(jsonb_build_object("
        "'run_id', s.run_id, 'lease_id', s.lease_id, 'result', 1)) from sample as s),"
        " max_runs => 0)",
        "heartbeat": "select * from tide.heartbeat((select array_agg(s.run_id) from sample as s),"
        " (select array_agg(s.lease_id) from sample as s))",
    }[call]

    def claimed(runs: int) -> None:
        for _ in range(-(-runs // 1000)):
            connection.execute(
                "select count(*) from tide.claim(max_runs => %s)", (min(runs, 1000),)
            )

    connection.execute(
        "select count(*) from tide.enqueue_many('default', (select jsonb_agg("
        '\'{"workflow": "work"}\'::jsonb) from generate_series(1, 2100)))'
    )
    if analyzed_with == "none":
        connection.execute("vacuum analyze tide.runs_active")
    claimed(100)
    connection.execute(
        "create temp table sample as select r.run_id, r.lease_id from tide.runs_active as r "
        "where r.lease_id is not null"
    )
    few = warmed(connection, query)
    claimed(2000)
    if analyzed_with == "many":
        connection.execute("vacuum analyze tide.runs_active")
    many = warmed(connection, query)
    assert many <= 1.5 * few + 100, (few, many)
