"""No call walks through an index, whatever the planner believes of how much is in a table.

A plan made while a table is empty serves until that table is analyzed, however much has come
meanwhile. To the planner an index on what is empty is as good as any other, also for a column that
is not its first: of that one every entry is read.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import psycopg

from tests.runs.acts import Tide
from tests.support import open_connection
from tests.upkeep.calls import SCENES

FEW = {
    "runs_dispatched_idx": "runs that were pushed and have not begun",
    "runs_finished_forks_idx": "runs that were forked",
    "runs_running_idx": "runs under way",
    "runs_slot_uidx": "runs that hold a slot",
    "waiters_pkey": "workers that wait",
}
"""Indexes that may be read from end to end, and what alone is in them."""

SMALL = {
    "cascades": "cancellations on their way to children",
    "endpoints": "a row for each host that webhooks go to",
    "identity": "one row",
    "key_turns": "a row for each key of a batch under way",
    "lease_renewals": "leases renewed beside rows that somebody holds",
    "lowered_floors": "floors lowered while somebody holds them",
    "pauses": "one row",
    "role_names": "one row",
    "schedules": "a row for each schedule",
    "settings": "one row",
    "slots": "a row for each place of a cap",
    "sweep_failures": "what upkeep has set aside",
    "ticks": "one row",
    "waiters": "workers that wait",
    "watchers": "runs that somebody watches",
    "workers": "a row for each worker",
}
"""Tables that may be read whole, and what is in them."""

FIRST_COLUMNS = """
    select
      c.relname,
      pg_get_indexdef(i.indexrelid, 1, true) as first
    from pg_index as i
    join pg_class as c on c.oid = i.indexrelid
    where c.relnamespace <> all ('{pg_catalog,pg_toast}'::regnamespace[])
    """

KEYS = """
    select
      t.relname as table,
      c.relname as index,
      array(
        select a.attname::text
        from pg_attribute as a
        where a.attrelid = i.indrelid
          and a.attnum = any (i.indkey::smallint[])
      ) as columns
    from pg_index as i
    join pg_class as c on c.oid = i.indexrelid
    join pg_class as t on t.oid = i.indrelid
    where c.relnamespace <> all ('{pg_catalog,pg_toast}'::regnamespace[])
      and i.indisunique
      and i.indpred is null
      and i.indexprs is null
    """

LEADING = """
    select
      t.relname as table,
      a.attname as first
    from pg_index as i
    join pg_class as t on t.oid = i.indrelid
    join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where t.relnamespace <> all ('{pg_catalog,pg_toast}'::regnamespace[])
      and i.indpred is null
    """

EXPLAINED = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
    "client_min_messages": "notice",
}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


class Plans:
    """What the planner has decided for every statement of a session, functions within included."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        rows = connection.execute(FIRST_COLUMNS).fetchall()
        self.first = {row.relname: row.first.strip('"') for row in rows}
        self.keys: dict[str, dict[str, frozenset[str]]] = {}
        for row in connection.execute(KEYS).fetchall():
            self.keys.setdefault(row.table, {})[row.index] = frozenset(row.columns)
        self.leading: defaultdict[str, set[str]] = defaultdict(set)
        """The first columns of indexes on whole tables."""
        for row in connection.execute(LEADING).fetchall():
            self.leading[row.table].add(row.first)
        self.walked: dict[tuple[Any, Any], str] = {}
        self.passed_over: dict[tuple[Any, Any], str] = {}
        self.read: dict[str, str] = {}
        self.seen = 0
        connection.execute("load 'auto_explain'")
        for name, setting in EXPLAINED.items():
            connection.execute("select set_config(%s, %s, false)", (name, setting))
        connection.add_notice_handler(self.look)

    def look(self, notice: Any) -> None:
        _, found, text = notice.message_primary.partition("plan:\n")
        if not found:
            return
        explained = json.loads(text)
        self.seen += 1
        for node in nodes(explained["Plan"]):
            index, condition = node.get("Index Name"), node.get("Index Cond")
            # Functions that write disable it; PostgreSQL 18 says where nothing else was possible.
            if node["Node Type"] == "Seq Scan" and node.get("Disabled"):
                self.read[node["Relation Name"]] = explained["Query Text"]
            first = None if index in FEW else self.first.get(index)
            if index and self.passes_over(node):
                self.passed_over[index, node["Filter"]] = explained["Query Text"]
            if first and condition and not re.search(rf"\b{re.escape(first)}\b", condition):
                self.walked[index, condition] = explained["Query Text"]

    def passes_over(self, node: dict[str, Any]) -> bool:
        """Whether it reads all of an index, or many rows of it, where another leads to the few."""
        table, filtered = node.get("Relation Name", ""), node.get("Filter", "")
        sought = named(node.get("Index Cond", ""))
        keys = self.keys.get(table, {}).values()
        for columns in keys:
            # As many columns of another index as the key has lead to about as few.
            if columns <= sought | named(filtered):
                return len(sought) < len(columns)
        return not node.get("Index Cond") and not self.leading[table].isdisjoint(
            named(filtered, any_of=True)
        )


def named(condition: str, *, any_of: bool = False) -> set[str]:
    """The columns that a condition compares with one value each, or with one of some."""
    value = "" if any_of else "(?!ANY)"
    pattern = rf"\((?:\w+\.)?(\w+) = {value}.*\)"
    found = (re.fullmatch(pattern, part) for part in parts(condition))
    return {match[1] for match in found if match}


def parts(condition: str) -> Iterator[str]:
    """What has to be true all together: one comparison, or several within brackets."""
    depth, begins = 0, 0
    inner = condition[1:-1] if condition.startswith("((") else condition
    for place, sign in enumerate(inner):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and inner.startswith(" AND ", place):
            yield inner[begins:place]
            begins = place + len(" AND ")
        elif depth == 0 and inner.startswith(" OR ", place):
            return
    yield inner[begins:]


def in_lanes(tide: Tide) -> None:
    """Runs that wait in lines, are woken, take turns and end."""
    tide.set_lane(lane="narrow", settings={"total": 1, "per_key": 1})
    tide.set_lane(lane="fair", settings={"fair": True})
    for lane in ("narrow", "fair"):
        runs = [
            {"workflow": "w", "lane": lane, "lane_key": f"k{number % 2}"} for number in range(40)
        ]
        tide.enqueue_many(queue=lane, runs=runs)
        for _ in range(4):
            for run in tide.claim(queues=[lane], max_runs=8, worker="w"):
                tide.complete(run_id=run.run_id, lease_id=run.lease_id)


def test_no_call_reads_all_of_an_index_or_of_a_table_that_grows(dsn: str) -> None:
    with open_connection(dsn) as connection:
        connection.execute("vacuum analyze")
        tide = Tide(connection)
        plans = Plans(connection)
        in_lanes(tide)
        for function, scene in SCENES.items():
            if function == "reconcile":
                connection.execute("call tide.reconcile()")
                continue
            with connection.transaction(force_rollback=True):
                tide.call(function, **scene(tide))
        assert plans.seen > 10 * len(SCENES)
        assert plans.walked == {}
        assert plans.passed_over == {}
        assert {table: query for table, query in plans.read.items() if table not in SMALL} == {}


def test_a_walk_and_a_read_of_all_are_noticed(dsn: str) -> None:
    with open_connection(dsn) as connection:
        connection.execute("create table pairs (a integer, b integer)")
        connection.execute("create index pairs_idx on pairs (a, b)")
        connection.execute("set enable_seqscan = off")
        plans = Plans(connection)
        connection.execute("select from pairs as p where p.a = 1 and p.b = 1")
        assert plans.walked == {}
        connection.execute("select from pairs as p where p.b = 1")
        assert plans.walked == {("pairs_idx", "(b = 1)"): "select from pairs as p where p.b = 1"}
        connection.execute("alter table pairs add unique (b, a)")
        plans = Plans(connection)
        for query in ("p.b = 1 and p.a = 2", "p.b = 1", "p.b = 1 and (p.a = 2 or p.a = 3)"):
            connection.execute(f"select from pairs as p where {query}".encode())
        assert plans.passed_over == {}
        connection.execute("create index pairs_sum_idx on pairs ((a + b))")
        plans = Plans(connection)
        found = {"Relation Name": "pairs", "Index Name": "pairs_sum_idx"}
        by_sum = {**found, "Index Cond": "((a + b) = 3)"}
        for node, passes in (
            ({**by_sum, "Filter": "((a = 2) AND (b = 1))"}, True),
            ({**by_sum, "Filter": "(a = 2)"}, False),
            ({**by_sum, "Filter": "((a = 2) OR (b = 1))"}, False),
            ({**found, "Filter": "((p.b = ANY ('{1}')) AND (a <> 2))"}, True),
            ({**found, "Filter": "(a <> 2)"}, False),
            (
                {**found, "Index Name": "pairs_b_a_key", "Index Cond": "((b = 1) AND (a = 2))"},
                False,
            ),
        ):
            assert plans.passes_over(node) is passes, node
        connection.execute(
            "select from pairs as p, tide.event_log as l where l.run_id = p.a::text::uuid"
        )
        # Older ones do not say what was possible.
        says = connection.info.server_version >= 180000
        assert ("runs_finished" in plans.read) is says
