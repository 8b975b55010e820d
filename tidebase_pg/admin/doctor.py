"""Looks for everything that is wrong with an installation; only ever reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias, cast

import psycopg
from psycopg.errors import (
    InsufficientPrivilege,
    QueryCanceled,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
)
from psycopg.rows import dict_row, tuple_row

from tidebase_pg.admin import drift, releases, strangers
from tidebase_pg.admin.drift import Finding, Severity
from tidebase_pg.admin.ledger import of_extension
from tidebase_pg.admin.releases import FUNCTIONS, Release, State
from tidebase_pg.version import check_version

Row: TypeAlias = dict[str, Any]
Connection: TypeAlias = psycopg.Connection[Row]

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
DAY: Final = timedelta(days=1)
MANY: Final = 100_000  # counted no further
NAMED: Final = 10  # rows of one kind that get a finding each


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is worth a word."""

    silence: timedelta = timedelta(minutes=5)
    transaction: timedelta = timedelta(hours=1)
    transactions: int = 5_000_000
    dead_rows: int = 100_000
    payload_bytes: int = 65_536
    keep: timedelta = timedelta(days=90)
    clock_skew: timedelta = timedelta(seconds=2)
    patience: timedelta = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a check has to work with."""

    connection: Connection
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def rows(self, query: str, **arguments: object) -> list[Row]:
        return self.connection.execute(query.encode(), arguments or None).fetchall()

    def row(self, query: str, **arguments: object) -> Row:
        (found,) = self.rows(query, **arguments)
        return found


Check: TypeAlias = Callable[[Visit], Iterator[Finding]]


def examine(
    dsn: str,
    limits: Limits | None = None,
    *,
    checks: Mapping[str, Check] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Finding]:
    """Every finding, the worst first, from one snapshot in a transaction that cannot write.

    `clock` is this host's. Raises SchemaError where there is no schema to look at.
    """
    limits = limits or Limits()
    findings: list[Finding] = []
    with psycopg.Connection[Row].connect(
        dsn, autocommit=True, prepare_threshold=None, row_factory=dict_row
    ) as connection:
        connection.execute("begin isolation level repeatable read read only")
        connection.execute(drift.SETTINGS)
        visit = Visit(connection, limits, clock)
        if not visit.row("select to_regnamespace('tide') is not null as there")["there"]:
            check_version(None)
        patience = int(limits.patience.total_seconds() * 1000)
        connection.execute(f"set local statement_timeout = {patience}".encode())
        connection.execute("set local lock_timeout = '1s'")
        for name, check in (CHECKS if checks is None else checks).items():
            findings += attempt(name, check, visit)
        connection.execute("rollback")
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def attempt(name: str, check: Check, visit: Visit) -> list[Finding]:
    """What one check finds, or why it could not look; the others go on."""
    try:
        with visit.connection.transaction():
            return list(check(visit))
    except InsufficientPrivilege as error:
        why = f"{visit.connection.info.user} may not look: {error.diag.message_primary}"
    except QueryCanceled:
        why = f"it takes longer than {visit.limits.patience.total_seconds():g} s"
    except (UndefinedTable, UndefinedColumn, UndefinedFunction) as error:
        why = f"something it reads is missing: {error.diag.message_primary}"
    return [Finding("info", name, f"not checked: {why}")]


# --- the schema -----------------------------------------------------------------------------


def version(visit: Visit) -> Iterator[Finding]:
    """The ledger, or where it may not be read, what tide.version() says."""
    release = releases.current()
    yield from _judge_version(_installed(visit), release)


def _installed(visit: Visit) -> State:
    readable = visit.row(
        """
        select coalesce(
          has_table_privilege(to_regclass('tide.migrations'), 'select')
          and has_table_privilege(to_regclass('tide.installs'), 'select'),
          false
        ) as ledger
        """
    )["ledger"]
    if not readable:
        return State(visit.row("select tide.version() as version")["version"])
    applied = {
        str(row["name"]): str(row["sha256"])
        for row in visit.rows("select m.name, m.sha256 from tide.migrations as m")
    }
    newest = visit.rows(
        """
        select i.version, i.functions_sha256
        from tide.installs as i
        order by i.install_id desc
        limit 1
        """
    )
    if not newest:
        return State(None, applied)
    return State(
        newest[0]["version"],
        {**applied, FUNCTIONS: newest[0]["functions_sha256"]},
        extension=of_extension(visit.connection),
    )


def _judge_version(state: State, release: Release) -> Iterator[Finding]:
    upgrade = (
        "alter extension tidebase update;" if state.extension else "-- run: tidebase-pg upgrade"
    )
    if state.version != release.version:
        behind = state.version is None or _number(state.version) < _number(release.version)
        yield Finding(
            "error",
            "version",
            f"the schema has version {state.version or 'none'}, this package is {release.version}",
            upgrade if behind else f"-- run: pip install 'tidebase-pg>={state.version}'",
        )
        return
    if not state.applied:
        return
    for script in release.migrations:
        recorded = state.applied.get(script.name)
        if recorded is None:
            yield Finding(
                "error",
                "version",
                f"migration {script.name} is pending",
                upgrade,
            )
        elif recorded != script.digest:
            yield Finding(
                "error",
                "version",
                f"migration {script.name} was applied with sha256 {recorded}, "
                f"and is {script.digest} in this package: reinstall the package",
            )
    if not state.extension and state.applied.get(FUNCTIONS) != release.digest:
        yield Finding(
            "error",
            "version",
            "the functions, views and grants are of another build of this version",
            upgrade,
        )


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def differences(visit: Visit) -> Iterator[Finding]:
    """Drift, where the schema is of this very release; otherwise an upgrade comes first."""
    if any(version(visit)):
        yield Finding(
            "info", "drift", "not checked: the schema is not of this release; upgrade first"
        )
        return
    with visit.connection.cursor(row_factory=tuple_row) as cursor:
        found = drift.describe(cursor)
        expected = drift.manifest(drift.role_prefix(cursor))
    yield from drift.compare(expected, found, drift.scripts())


def trust(visit: Visit) -> Iterator[Finding]:
    """Whether others own what functions call, or the group roles are more than groups."""
    with visit.connection.cursor(row_factory=tuple_row) as cursor:
        roles = {"roles": list(drift.roles(drift.role_prefix(cursor)))}
        for severity, queries in strangers.CHECKED.items():
            for query in queries:
                for problem, remedy in cursor.execute(query.encode(), roles).fetchall():
                    yield Finding(cast(Severity, severity), "trust", problem, remedy)


# --- the server -----------------------------------------------------------------------------


def autovacuum(visit: Visit) -> Iterator[Finding]:
    """Whether dead rows are removed: the settings, and how many there are."""
    for setting in ("autovacuum", "track_counts"):
        if visit.row("select current_setting(%(name)s) as value", name=setting)["value"] == "off":
            yield Finding(
                "error",
                "autovacuum",
                f"{setting} is off: nothing removes dead rows",
                f"alter system set {setting} = on;\nselect pg_reload_conf();",
            )
    for row in visit.rows(
        """
        select s.relid::regclass::text as name, s.n_dead_tup as dead, s.n_live_tup as live
        from pg_stat_all_tables as s
        where s.schemaname = 'tide'
          and s.n_dead_tup > %(dead)s
          and s.n_dead_tup > s.n_live_tup
        order by 2 desc
        """,
        dead=visit.limits.dead_rows,
    ):
        yield Finding(
            "warning",
            "autovacuum",
            f"{row['name']} has {row['dead']} dead rows beside {row['live']} live ones",
            f"vacuum (analyze) {row['name']};",
        )


def horizon(visit: Visit) -> Iterator[Finding]:
    """What keeps vacuum from removing dead rows: sessions, slots, prepared transactions."""
    limits = {
        "age": visit.limits.transaction,
        "transactions": visit.limits.transactions,
    }
    for row in visit.rows(
        """
        select
          a.pid,
          a.usename as role,
          a.application_name as application,
          a.state,
          clock_timestamp() - a.xact_start as age,
          h.transactions
        from pg_stat_activity as a
        cross join lateral (
          select greatest(age(a.backend_xmin), age(a.backend_xid)) as transactions
        ) as h
        where a.pid <> pg_backend_pid()
          and (a.datname = current_database() or a.datname is null)
          and a.backend_type <> 'autovacuum worker'
          and h.transactions is not null
          and (
            clock_timestamp() - a.xact_start > %(age)s
            or h.transactions > %(transactions)s
          )
        order by h.transactions desc
        limit 10
        """,
        **limits,
    ):
        since = "" if row["age"] is None else f", open for {_length(row['age'])}"
        yield Finding(
            "warning",
            "horizon",
            f"session {row['pid']} of {row['role']} ({row['application'] or 'unnamed'}, "
            f"{row['state']}){since}, keeps dead rows of {row['transactions']} transactions",
            f"select pg_terminate_backend({row['pid']});",
        )
    for row in visit.rows(
        """
        select
          s.slot_name,
          s.active,
          greatest(age(s.xmin), age(s.catalog_xmin)) as transactions,
          format('select pg_drop_replication_slot(%%L);', s.slot_name) as remedy
        from pg_replication_slots as s
        where greatest(age(s.xmin), age(s.catalog_xmin)) > %(transactions)s
          or (not s.active and (s.xmin is not null or s.catalog_xmin is not null))
        order by 1
        """,
        transactions=visit.limits.transactions,
    ):
        yield Finding(
            "warning",
            "horizon",
            f"replication slot {row['slot_name']}, {'in use' if row['active'] else 'unused'}, "
            f"keeps dead rows of {row['transactions']} transactions",
            row["remedy"],
        )
    for row in visit.rows(
        """
        select
          p.gid,
          p.owner,
          clock_timestamp() - p.prepared as age,
          age(p.transaction) as transactions,
          format('rollback prepared %%L;', p.gid) as remedy
        from pg_prepared_xacts as p
        where p.database = current_database()
          and (
            clock_timestamp() - p.prepared > %(age)s
            or age(p.transaction) > %(transactions)s
          )
        order by p.prepared
        """,
        **limits,
    ):
        yield Finding(
            "warning",
            "horizon",
            f"prepared transaction {row['gid']} of {row['owner']}, {_length(row['age'])} old, "
            f"keeps dead rows of {row['transactions']} transactions and its locks",
            row["remedy"],
        )
    if not visit.row("select pg_has_role('pg_read_all_stats', 'usage') as sees")["sees"]:
        role = visit.row("select quote_ident(current_user) as role")["role"]
        yield Finding(
            "info",
            "horizon",
            f"{role} sees only its own sessions",
            f"grant pg_read_all_stats to {role};",
        )


def clocks(visit: Visit) -> Iterator[Finding]:
    """This host's clock beside the server's, as far as the way there lets one tell."""
    before = visit.clock()
    there = visit.row("select clock_timestamp() as now")["now"]
    after = visit.clock()
    skew = max(before - there, there - after)
    if skew > visit.limits.clock_skew:
        yield Finding(
            "warning",
            "clock",
            f"the clock of this host and the server's are {_length(skew)} apart: leases go by the "
            "server's, signatures of webhooks by it too, and whoever verifies them by his own",
            "-- on both hosts: chronyc tracking",
        )


def pooler(visit: Visit) -> Iterator[Finding]:
    """A pooler that does not follow prepared statements gives one session's to another."""
    pid = visit.row("select pg_backend_pid() as pid")["pid"]
    if pid == visit.connection.info.backend_pid:
        return
    probe = "select 'tidebase-pg doctor' as probe"
    visit.connection.prepare_threshold = 5  # None would not even prepare what is asked to be
    visit.connection.execute(probe, prepare=True)
    visit.connection.prepare_threshold = None
    names = [
        row["name"]
        for row in visit.rows(
            "select p.name from pg_prepared_statements as p where p.statement = %(probe)s",
            probe=probe,
        )
    ]
    for name in names:
        visit.connection.execute(f'deallocate "{name}"'.encode())
    if any(name.startswith("_pg3_") for name in names):
        yield Finding(
            "warning",
            "pooler",
            "a pooler stands before the server and does not follow prepared statements: in "
            "transaction mode clients that prepare fail at random (tidebase-pg notices it and "
            "prepares nothing)",
            "-- pgbouncer.ini, PgBouncer 1.21 or newer: max_prepared_statements = 200",
        )


# --- the work -------------------------------------------------------------------------------


def upkeep(visit: Visit) -> Iterator[Finding]:
    """Whether somebody reconciles, and what only they would clear away."""
    health = visit.row(
        """
        select
          h.paused_at,
          h.pause_reason,
          h.last_reconcile_age,
          h.oldest_expired_lease_age,
          h.leaked_slots
        from tide.health as h
        """
    )
    call = "call tide.reconcile();"
    if health["paused_at"] is not None:
        copy = "tide.adopt" in (health["pause_reason"] or "")
        yield Finding(
            "warning",
            "upkeep",
            f"the installation is paused: {health['pause_reason'] or 'no reason given'}",
            "select tide.adopt('quarantine');" if copy else "select tide.resume();",
        )
        return
    age = health["last_reconcile_age"]
    if age is None:
        yield Finding("warning", "upkeep", "reconcile was never called", call)
    elif age > visit.limits.silence:
        yield Finding("error", "upkeep", f"reconcile was last called {_length(age)} ago", call)
    lease = health["oldest_expired_lease_age"]
    if lease is not None and lease > visit.limits.silence:
        yield Finding(
            "error", "upkeep", f"a lease expired {_length(lease)} ago and nobody took over", call
        )
    if health["leaked_slots"]:
        yield Finding(
            "warning",
            "slots",
            f"{health['leaked_slots']} slots of capped queues are held by no run",
            call,
        )


def failures(visit: Visit) -> Iterator[Finding]:
    """Rows that upkeep set aside."""
    rows = visit.rows(
        """
        select
          f.sweep,
          f.key,
          f.failures,
          f.error,
          format(
            'delete from tide.sweep_failures where sweep = %L and key = %L;', f.sweep, f.key
          ) as remedy
        from tide.sweep_failures as f
        order by f.failures desc, f.sweep, f.key
        """
    )
    for row in rows[:NAMED]:
        what = f"{row['sweep']} of {row['key']}" if row["key"] else row["sweep"]
        yield Finding(
            "warning",
            "upkeep",
            f"upkeep failed {row['failures']} times at {what}: {row['error']}",
            f"{row['remedy']}  -- once its cause is gone: tries again at once",
        )
    if len(rows) > NAMED:
        yield Finding("warning", "upkeep", f"and {len(rows) - NAMED} more rows like these")


def schedules(visit: Visit) -> Iterator[Finding]:
    """Schedules that do not fire, or cannot."""
    for row in visit.rows(
        """
        select
          s.schedule,
          s.time_zone,
          tide._now() - s.next_fire_at as late,
          not exists (
            select
            from pg_timezone_names as n
            where n.name = s.time_zone
          ) as lost,
          format('select tide.pause_schedule(%%L);', s.schedule) as remedy
        from tide.schedule_overview as s
        where s.enabled
          and not s.paused
          and (
            s.next_fire_at < tide._now() - %(silence)s
            or not exists (
              select
              from pg_timezone_names as n
              where n.name = s.time_zone
            )
          )
        order by s.schedule
        """,
        silence=visit.limits.silence,
    ):
        if row["lost"]:
            yield Finding(
                "error",
                "schedules",
                f"schedule {row['schedule']} is in the time zone {row['time_zone']}, which this "
                "server does not know: it will not fire until it is declared anew",
                row["remedy"],
            )
        else:
            yield Finding(
                "error",
                "schedules",
                f"schedule {row['schedule']} was due {_length(row['late'])} ago",
                "call tide.reconcile();",
            )


OWNED: Final = {
    "steps": "run_id",
    "events": "run_id",
    "run_inputs": "run_id",
    "lease_renewals": "run_id",
    "lost_leases": "run_id",
    "lane_waits": "run_id",
    "run_lanes": "run_id",
    "lane_heads": "run_id",
    "stream_chunks": "run_id",
    "reserved_amounts": "run_id",
    "budget_waits": "run_id",
    "predecessors": "run_id",
    "waits": "run_id",
    "signals": "run_id",
    "state_streams": "run_id",
    "state_versions": "run_id",
    "spending": "run_id",
    "channels": "run_id",
    "deliveries": "run_id",
    "cascades": "parent_id",
    "run_edges": "parent_id",
}
"""Tables whose rows go with their run; gates and usage may be kept by retention."""


def orphans(visit: Visit) -> Iterator[Finding]:
    """Rows whose run is gone."""
    for table, column in OWNED.items():
        orphan = (
            f"from tide.{table} as t "
            f"where not exists (select from tide.runs as r where r.run_id = t.{column})"
        )
        count = visit.row(
            f"select count(*) as found from (select {orphan} limit %(many)s) as o", many=MANY
        )["found"]
        if count:
            yield Finding(
                "warning",
                "orphans",
                f"{_counted(count)} rows of tide.{table} belong to no run",
                f"delete {orphan};",
            )


IMPOSSIBLE: Final = """
select
  s.problem,
  count(*) as found,
  min(s.run_id::text) as example
from (
  select
    r.run_id,
    case
      when r.finished_at is not null then 'are active and have a time at which they ended'
      when num_nonnulls(r.slot, r.lane_slot, r.lane_key_slot, r.units_left) > 0
        and r.status <> 'running'
        and r.waiting_on is distinct from 'push'
        then 'hold a slot and do not run'
      when r.waiting_on is not null and (r.ready or r.run_at is not null)
        then 'are parked and due'
      when r.waiting_on is not null and r.status = 'running' then 'run and are parked'
      when r.ready and r.status <> 'queued' then 'are ready and in no queue'
      when r.queue is null and r.status = 'queued' then 'are queued in no queue'
      when r.lease_id is null and r.status = 'running'
        then 'run under a lease nobody can show, until it expires'
      when r.waiting_on not in (
        'review', 'gate', 'children', 'timer', 'event', 'budget', 'push', 'lane', 'provider',
        'after'
      ) then 'wait for what nothing ends'
      when r.attempt < 0 or r.max_attempts not between 1 and 100
        then 'have counted their attempts wrong'
      when r.told_events not between 0 and 2 or r.told_events > r.last_seq
        then 'tell events they did not have'
      when r.told_events > 0
        and exists (
          select
          from tide.channels as c
          where c.run_id = r.run_id
        )
        then 'have channels that will not be told of what they do next'
      when r.input is null
        and not exists (
          select
          from tide.run_inputs as i
          where i.run_id = r.run_id
        )
        then 'have lost their input'
    end as problem
  from tide.runs_active as r
  union all
  select
    f.run_id,
    case
      when f.finished_at is null then 'ended at no time, so retention never removes them'
      when f.leased_until is not null
        or num_nonnulls(f.slot, f.lane_slot, f.lane_key_slot, f.units_left) > 0
        or f.ready
        or f.waiting_on is not null
        then 'ended and still hold a lease, a slot or a place'
      when f.told_events not between 0 and 3 or f.told_events > f.last_seq
        then 'tell events they did not have'
      when f.input is null
        and not exists (
          select
          from tide.run_inputs as i
          where i.run_id = f.run_id
        )
        then 'have lost their input'
    end
  from tide.runs_finished as f
) as s
where s.problem is not null
group by s.problem
order by s.problem
"""
"""What no function does and no check of the table forbids, since checks cost each statement."""


def states(visit: Visit) -> Iterator[Finding]:
    """Runs in a state that only a hand-written statement can have left them in."""
    for row in visit.rows(IMPOSSIBLE):
        yield Finding(
            "error",
            "states",
            f"{_counted(row['found'])} runs {row['problem']}, {row['example']} for one",
            f"select * from tide.runs where run_id = '{row['example']}';",
        )


def payloads(visit: Visit) -> Iterator[Finding]:
    """What runs carry, judged by the newest thousand that are active and that ended."""
    for row in visit.rows(
        """
        select
          n.workflow,
          count(*) as runs,
          avg(n.bytes)::bigint as average,
          max(n.bytes) as largest
        from (
          select
            r.workflow,
            coalesce(
              pg_column_size(r.input),
              (
                select pg_column_size(i.input)
                from tide.run_inputs as i
                where i.run_id = r.run_id
              ),
              0
            )
              + coalesce(pg_column_size(r.metadata), 0)
              + coalesce(pg_column_size(r.result), 0)
              + coalesce(pg_column_size(r.error), 0) as bytes
          from (
            (select a.* from tide.runs_active as a order by a.run_id desc limit 1000)
            union all
            (select f.* from tide.runs_finished as f order by f.run_id desc limit 1000)
          ) as r
        ) as n
        group by n.workflow
        having avg(n.bytes) > %(bytes)s
        order by 3 desc
        limit 10
        """,
        bytes=visit.limits.payload_bytes,
    ):
        yield Finding(
            "info",
            "payloads",
            f"a run of {row['workflow']} carries {row['average']} bytes on average, at most "
            f"{row['largest']}: keep documents elsewhere, and pass on where they are",
            f"update tide.settings set max_payload_bytes = "
            f"{max(visit.limits.payload_bytes, 4096)};  -- refuses larger ones",
        )


# One probe of the index for each queue, then a bounded count.
EXPIRED: Final = """
with recursive queues as (
  (
    select f.queue
    from tide.runs_finished as f
    where f.queue is not null
    order by f.queue
    limit 1
  )
  union all
  select (
    select f.queue
    from tide.runs_finished as f
    where f.queue > n.queue
    order by f.queue
    limit 1
  )
  from queues as n
  where n.queue is not null
)
select
  n.queue,
  k.retention,
  format(
    'select tide.set_queue(%%L, %%L);', n.queue, jsonb_build_object('retention', %(keep)s::text)
  ) as remedy,
  c.found
from (
  select q.queue from queues as q where q.queue is not null
  union all
  select null
) as n
cross join tide.settings as s
left join tide.queues as q on q.queue = n.queue
cross join lateral (select coalesce(q.retention, s.retention) as retention) as k
cross join lateral (
  select count(*) as found
  from (
    select
    from tide.runs_finished as f
    where f.queue = n.queue
      and f.finished_at < tide._now() - coalesce(k.retention + interval '1 day', %(keep)s)
      and not exists (
        select
        from tide.runs as p
        where p.run_id = f.parent_id
          and p.status <> 'completed'
      )
    union all
    select
    from tide.runs_finished as f
    where n.queue is null
      and f.queue is null
      and f.finished_at < tide._now() - coalesce(k.retention + interval '1 day', %(keep)s)
      and not exists (
        select
        from tide.runs as p
        where p.run_id = f.parent_id
          and p.status <> 'completed'
      )
    limit %(many)s
  ) as f
) as c
where c.found > 0
order by n.queue nulls first
"""


def retention(visit: Visit) -> Iterator[Finding]:
    """What retention should have removed, and what it could remove."""
    keep = visit.limits.keep
    for row in visit.rows(EXPIRED, keep=keep, many=MANY):
        of = "without a queue" if row["queue"] is None else f"of queue {row['queue']}"
        if row["retention"] is not None:
            yield Finding(
                "warning",
                "retention",
                f"{_counted(row['found'])} runs {of} should be removed, which ended more than "
                f"{_length(row['retention'])} ago",
                "call tide.reconcile();",
            )
        else:
            yield Finding(
                "info",
                "retention",
                f"{_counted(row['found'])} runs {of} ended more than {_length(keep)} ago and are "
                "kept for ever",
                f"select tide.set_retention('{int(keep.total_seconds())} seconds');"
                if row["queue"] is None
                else row["remedy"],
            )


CHECKS: Final[Mapping[str, Check]] = {
    "version": version,
    "drift": differences,
    "trust": trust,
    "autovacuum": autovacuum,
    "horizon": horizon,
    "clock": clocks,
    "pooler": pooler,
    "upkeep": upkeep,
    "failures": failures,
    "schedules": schedules,
    "orphans": orphans,
    "states": states,
    "payloads": payloads,
    "retention": retention,
}


def worst(findings: Sequence[Finding]) -> Severity | None:
    """The gravest severity among findings."""
    there = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in there), None)


def script(findings: Sequence[Finding]) -> str:
    """Every remedy, each below the reason for it, for review and psql."""
    parts: list[str] = []
    for finding in findings:
        message = " ".join(finding.message.split())
        parts.append(f"-- {finding.severity}, {finding.check}: {message}\n")
        if finding.remedy:
            parts.append(finding.remedy.rstrip() + "\n")
        parts.append("\n")
    return "".join(parts)


def _length(span: timedelta) -> str:
    whole = int(span.total_seconds())
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{span.total_seconds():.3g} seconds"


def _counted(count: int) -> str:
    return f"at least {count}" if count >= MANY else str(count)
