"""A million parked runs beside the work: claims and upkeep read no more than without them.

`make test-long` has the million, `make test` a tenth of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.races.scenes import leased
from tests.servers import RunningServer
from tests.support import Connection, Databases, open_connection, size, value

PARKED = size(100_000, 1_000_000)

# Trees of a million entries are a level or two deeper than those of a thousand: so many pages for
# each run that is looked up, locked and put into other indexes.
DEEPER = 6
# And so many for a sweep that finds nothing, in all its indexes: also what is read once to plan two
# statements anew, since a table with rows has the first page of each of its 14 indexes looked at.
IDLE = 24

PARK = """
    insert into tide.runs_active (
      run_id, workflow, queue, status, run_at, created_at, waiting_on, waiting_for, last_seq,
      open_gates, deadline_at
    )
    select
      md5('run' || n)::uuid, 'work', 'default', 'queued', 'infinity', now(),
      (array['gate', 'timer', 'event', 'children'])[n % 4 + 1], 'x', 1,
      (n % 4 = 0)::integer, case when n % 3 = 0 then now() + interval '30 days' end
    from generate_series(1, %(count)s) as n;
    insert into tide.gates (
      run_id, name, gate_id, status, prompt, data, expires_at, on_timeout, created_at
    )
    select
      md5('run' || n)::uuid, 'approve', md5('gate' || n)::uuid, 'pending', '?', '{}',
      now() + n * interval '1 second' + interval '1 day', 'rejected', now()
    from generate_series(4, %(count)s, 4) as n;
    insert into tide.waits (run_id, kind, name, status, due_at, created_at)
    select
      md5('run' || n)::uuid, case n % 4 when 1 then 'timer' else 'event' end, 'x', 'pending',
      now() + n * interval '1 second' + interval '1 day', now()
    from generate_series(1, %(count)s) as n
    where n % 4 in (1, 2);
    insert into tide.run_edges (parent_id, edge, child_id, awaited, created_at)
    select md5('run' || n)::uuid, 'a', md5('child' || n)::uuid, true, now()
    from generate_series(3, %(count)s, 4) as n;
    """


Pages = dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def crowd(databases: Databases, template: str, server: RunningServer) -> Iterator[Connection]:
    """A database for this module with the parked runs."""
    with databases.database(template) as name, open_connection(server.dsn(name)) as connection:
        connection.execute(PARK.replace("%(count)s", str(PARKED)).encode())
        yield connection


def buffers_once(connection: Connection, query: str) -> int:
    plan: Any = value(connection, f"explain (analyze, buffers, timing off, format json) {query}")[
        0
    ]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def buffers(connection: Connection, query: str) -> int:
    """Pages a statement touches once its plans are made and its catalogue entries are cached."""
    return [buffers_once(connection, query) for _ in range(7)][-1]


def claims(connection: Connection) -> dict[str, int]:
    """Pages of an idle claim, of a claim of one run, and of ten with their completion."""
    connection.execute(
        "select count(*) from tide.enqueue_many('default', (select jsonb_agg("
        '\'{"workflow": "work"}\'::jsonb) from generate_series(1, 1000)))'
    )
    connection.execute("call tide.reconcile()")
    connection.execute("update tide.ticks set next_at = 'infinity'")
    return {
        "nothing": buffers(connection, "select * from tide.claim('{other}')"),
        "one": buffers(connection, "select * from tide.claim()"),
        "ten": buffers(connection, "select * from tide.claim(max_runs => 10)"),
    }


def sweeps(connection: Connection) -> dict[str, int]:
    names = value(connection, "select tide._sweeps(every_tick => false)")
    return {name: buffers(connection, f"select tide._sweep('{name}', 100)") for name in names}


def pages(connection: Connection) -> Pages:
    connection.execute("vacuum analyze")
    return {"claims": claims(connection), "sweeps": sweeps(connection)}


@pytest.fixture(scope="module")
def without(databases: Databases, template: str, server: RunningServer) -> Pages:
    """What is read where nothing is parked."""
    with databases.database(template) as name, open_connection(server.dsn(name)) as connection:
        return pages(connection)


@pytest.fixture(scope="module")
def beside(crowd: Connection) -> Pages:
    """What is read beside the parked runs."""
    return pages(crowd)


@pytest.mark.parametrize(("kind", "runs"), [("nothing", 1), ("one", 1), ("ten", 10)])
def test_claims_read_as_many_pages_as_without_them(
    without: Pages, beside: Pages, kind: str, runs: int
) -> None:
    assert beside["claims"][kind] <= without["claims"][kind] + DEEPER * runs, (without, beside)


def test_sweeps_of_upkeep_read_a_few_pages_of_indexes(without: Pages, beside: Pages) -> None:
    assert beside["sweeps"].keys() >= {
        "gate_timeouts",
        "due_waits",
        "ended_children",
        "cascades",
        "overdue",
    }
    for name, read in beside["sweeps"].items():
        assert read <= without["sweeps"][name] + IDLE, (name, without, beside)


def test_end_of_a_child_reads_as_many_pages_however_many_edges_are_open(
    connection: Connection,
) -> None:
    parent = leased(connection, lease="1 day")
    for number in range(30):
        connection.execute(
            "select from tide.spawn(%s, %s, %s, 'part', queue => 'parts')", (*parent, str(number))
        )
    end = """
        select s.reason
        from tide.claim('{parts}') as c,
          tide.settle_and_claim(
            jsonb_build_array(jsonb_build_object('run_id', c.run_id, 'lease_id', c.lease_id)),
            max_runs => 0
          ) as s
        """
    complete = "select tide.complete(c.run_id, c.lease_id) from tide.claim('{parts}') as c"
    # No tick among what is measured: it would be in one of the two only.
    connection.execute("update tide.ticks set next_at = 'infinity'")
    few = max(buffers(connection, complete), buffers(connection, end))
    connection.execute(
        """
        insert into tide.run_edges (parent_id, edge, child_id, awaited, created_at)
        select gen_random_uuid(), 'a', gen_random_uuid(), true, now()
        from generate_series(1, 100000)
        """
    )
    many = max(buffers_once(connection, complete), buffers_once(connection, end))
    assert many <= few + 10 * DEEPER, (few, many)


def test_waking_one_of_them_reads_a_few_pages(crowd: Connection, beside: Pages) -> None:
    assert beside
    query = "select * from tide.send_event(md5('run' || {})::uuid, 'x')"
    numbers = range(2, 30, 4)
    read = [buffers_once(crowd, query.format(number)) for number in numbers]
    assert read[-1] <= 100, read
    assert value(
        crowd,
        "select count(*) from tide.runs_active as r where r.workflow = 'work' and r.ready "
        "and r.waiting_on is null and r.last_seq = 2",
    ) == len(numbers)
