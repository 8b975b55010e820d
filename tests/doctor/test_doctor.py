"""Each thing the doctor looks for: planted, found, mended by the statement it names, and gone."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from tests.runs.acts import NOBODY, Tide, contents
from tests.servers import SETTINGS, Absent, Bouncer, RunningServer, binaries_of, free_port, scratch
from tests.support import Clock, Connection, open_connection, value
from tidebase_pg import admin
from tidebase_pg.admin import doctor
from tidebase_pg.admin.doctor import Limits
from tidebase_pg.admin.drift import Finding
from tidebase_pg.admin.embedded import Server
from tidebase_pg.cli import main

ZERO = timedelta(0)


def examined(dsn: str, **limits: Any) -> list[Finding]:
    return doctor.examine(dsn, replace(Limits(), **limits))


def mend(dsn: str, remedy: str) -> None:
    """What psql would do with it."""
    with open_connection(dsn) as connection:
        for statement in admin.split(remedy):
            connection.execute(statement.encode())


def planted(dsn: str, plant: Callable[[], object], check: str, *words: str, **limits: Any) -> None:
    """The fault is found, once, with what mends it; mended, nothing else is new."""
    before = examined(dsn, **limits)
    plant()
    new = [found for found in examined(dsn, **limits) if found not in before]
    assert len(new) == 1, new
    (found,) = new
    assert found.check == check
    for word in words:
        assert word in found.message, found.message
    mend(dsn, found.remedy)
    after = examined(dsn, **limits)
    assert [later for later in after if later not in before] == []


@pytest.fixture
def reconciled(tide: Tide) -> Tide:
    tide.reconcile()
    return tide


def test_nothing_is_wrong_with_an_installation_at_work(reconciled: Tide, direct_dsn: str) -> None:
    reconciled.finished()
    assert doctor.examine(direct_dsn) == []


# --- drift ----------------------------------------------------------------------------------

DRIFT = {
    "body": (
        (
            "create or replace function tide.version() returns text language plpgsql stable "
            "parallel safe security definer set search_path = pg_catalog, pg_temp "
            "as $$ begin return '0'; end $$"
        ),
        "functions",
        "tide.version() is not as this release made it: its body differs",
    ),
    "private body": (
        (
            "create or replace function tide._may_use(queue text, verb text default null) "
            "returns boolean language plpgsql stable as $$ begin return true; end $$"
        ),
        "functions",
        "its body differs",
    ),
    "definer": ("alter function tide.enqueue_many security invoker", "functions", "definer"),
    "search path": ("alter function tide.get_run reset search_path", "functions", "settings"),
    "default": (
        (
            "drop function tide.prune; "
            "create function tide.prune(older_than interval default null, "
            "max_runs integer default 7, queue text default null) returns integer language sql "
            "as 'select 1'; revoke all on function tide.prune from public; "
            "grant execute on function tide.prune to tide_operator"
        ),
        "functions",
        "arguments",
    ),
    "missing function": ("drop function tide.list_usage", "functions", "is missing"),
    "overload": (
        (
            "create function tide.cancel(run_id uuid) returns integer language sql as 'select 1'; "
            "revoke all on function tide.cancel(uuid) from public"
        ),
        "functions",
        "not unique",
    ),
    "stranger": (
        (
            "create function tide.mine() returns integer language sql as 'select 1'; "
            "revoke all on function tide.mine from public"
        ),
        "functions",
        "tide.mine() is not of this release",
    ),
    "missing view": ("drop view tide.usage_by_day", "views", "is missing"),
    "view of other columns": (
        (
            "create or replace view tide.usage_by_day as select v.*, 1 as one "
            "from (select day, records, input_tokens, output_tokens, total_tokens, cost_usd "
            "from (select (u.created_at at time zone 'UTC')::date as day, count(*) as records, "
            "sum(u.input_tokens) as input_tokens, sum(u.output_tokens) as output_tokens, "
            "sum(u.total_tokens) as total_tokens, sum(u.cost_usd) as cost_usd "
            "from tide.usage as u group by 1) as w) as v"
        ),
        "views",
        "other columns",
    ),
    "leaky view": (
        "alter view tide.run_overview reset (security_barrier)",
        "views",
        "security_barrier = default instead of security_barrier = true",
    ),
    "missing column": (
        "alter table tide.usage drop column label",
        "tables",
        "column label of tide.usage is missing",
    ),
    "column type": (
        "alter table tide.identity alter column timeline type varchar(9)",
        "tables",
        "character varying(9) instead of text",
    ),
    "nulls": (
        "alter table tide.usage alter column kind drop not null",
        "tables",
        "column kind of tide.usage takes nulls",
    ),
    "column default": (
        "alter table tide.gates alter column status set default 'approved'",
        "tables",
        "has the default 'approved'::text",
    ),
    "stray column": ("alter table tide.usage add column mine text", "tables", "mine"),
    "fillfactor": (
        "alter table tide.runs_active set (fillfactor = 100)",
        "storage",
        "tide.runs_active has fillfactor = 100 instead of fillfactor = 70",
    ),
    "autovacuum of a table": (
        "alter table tide.runs_active set (autovacuum_enabled = off)",
        "storage",
        "autovacuum_enabled = off instead of autovacuum_enabled = default",
    ),
    "missing index": ("drop index tide.runs_ready_idx", "indexes", "runs_ready_idx is missing"),
    "another index": (
        "drop index tide.runs_due_idx; create index runs_due_idx on tide.runs_active (run_at)",
        "indexes",
        "runs_due_idx is CREATE INDEX",
    ),
    "stray index": (
        "create index mine on tide.runs_active (queue) where ready",
        "indexes",
        "it slows claims",
    ),
    "invalid index": (
        "update pg_index set indisvalid = false where indexrelid = 'tide.runs_slot_uidx'::regclass",
        "indexes",
        "runs_slot_uidx is invalid",
    ),
    "missing constraint": (
        "alter table tide.steps drop constraint steps_status_known",
        "constraints",
        "steps_status_known is missing",
    ),
    "missing key": (
        (
            "alter table tide.signals drop constraint signals_pkey; "
            "alter table tide.signals alter column run_id set not null, alter name set not null"
        ),
        "constraints",
        "signals_pkey is missing",
    ),
    "another constraint": (
        (
            "alter table tide.waits drop constraint waits_kind_known, "
            "add constraint waits_kind_known check (kind <> '')"
        ),
        "constraints",
        "waits_kind_known says CHECK",
    ),
    "constraint not valid": (
        (
            "alter table tide.waits drop constraint waits_kind_known, "
            "add constraint waits_kind_known check (kind in ('timer', 'event')) not valid"
        ),
        "constraints",
        "never validated",
    ),
    "stray constraint": (
        "alter table tide.runs_active add constraint mine check (priority < 10)",
        "constraints",
        "mine is not of this release",
    ),
    "missing trigger": (
        "drop trigger runs_finished_are_possible on tide.runs_finished",
        "triggers",
        "is missing",
    ),
    "trigger off": (
        "alter table tide.runs_active disable trigger runs_active_are_possible",
        "triggers",
        "is disabled",
    ),
    "stray trigger": (
        (
            "create trigger mine before insert on tide.events for each row "
            "execute function suppress_redundant_updates_trigger()"
        ),
        "triggers",
        "mine is not of this release",
    ),
    "right lost": (
        (
            "revoke execute on function tide.claim from tide_worker; "
            "revoke usage on schema tide from tide_worker"
        ),
        "grants",
        "tide_worker may not execute on routine tide.claim",
    ),
    "right of PUBLIC": (
        "grant execute on function tide.sign to public; grant select on tide.gates to public",
        "grants",
        "PUBLIC may",
    ),
    "right too many": (
        "grant execute on function tide.sign to tide_client",
        "grants",
        "tide_client may execute on routine tide.sign(text,text)",
    ),
    "right on a table": (
        (
            "grant select on tide.deliveries to pg_monitor; "
            "grant select (token) on tide.deliveries to pg_monitor"
        ),
        "grants",
        "pg_monitor may select (token) on tide.deliveries",
    ),
}


@pytest.mark.parametrize("fault", DRIFT)
def test_drift_is_found_and_mended(reconciled: Tide, direct_dsn: str, fault: str) -> None:
    statements, check, words = DRIFT[fault]

    def plant() -> None:
        with open_connection(direct_dsn) as connection:
            connection.execute(statements.encode())

    planted(direct_dsn, plant, check, words)


def test_rights_of_others_on_public_functions_and_views_are_nobodys_concern(
    reconciled: Tide, connection: Connection, direct_dsn: str
) -> None:
    connection.execute("grant execute on function tide.enqueue to pg_monitor")
    connection.execute("grant select on tide.run_payloads, tide.health to pg_monitor")
    connection.execute("grant usage on schema tide to pg_monitor")
    assert examined(direct_dsn) == []


def test_a_lost_table_is_told_of_and_nothing_can_mend_it(
    reconciled: Tide, connection: Connection, direct_dsn: str
) -> None:
    connection.execute("drop table tide.queue_grants cascade")
    found = [one for one in examined(direct_dsn) if one.check == "tables"]
    assert [(one.severity, one.remedy) for one in found] == [("error", "")]


# --- version --------------------------------------------------------------------------------


def test_another_version_is_an_error_and_drift_waits_for_the_upgrade(
    reconciled: Tide, connection: Connection, direct_dsn: str
) -> None:
    connection.execute("drop function tide.list_usage")
    for version, words in (("0.0.1", "tidebase-pg upgrade"), ("99.0.0", "pip install")):
        connection.execute(
            "insert into tide.installs (version, functions_sha256) values (%s, '')", (version,)
        )
        found = {one.check: one for one in examined(direct_dsn)}
        assert found["version"].severity == "error"
        assert words in found["version"].remedy
        assert "upgrade first" in found["drift"].message
        assert "functions" not in found


def test_pending_and_edited_migrations_are_errors(
    reconciled: Tide, connection: Connection, direct_dsn: str
) -> None:
    connection.execute("update tide.migrations set sha256 = 'other' where name ~ '^0002'")
    connection.execute("delete from tide.migrations where name ~ '^0003'")
    found = [one.message for one in examined(direct_dsn) if one.check == "version"]
    assert len(found) == 2
    assert any("0002_runs.sql was applied with sha256 other" in message for message in found)
    assert any("0003_steps.sql is pending" in message for message in found)


def test_another_build_is_mended_by_an_upgrade(
    reconciled: Tide, connection: Connection, direct_dsn: str
) -> None:
    connection.execute("update tide.installs set functions_sha256 = 'other'")
    assert tuple(one.check for one in examined(direct_dsn)) == ("version", "drift")
    admin.install(direct_dsn, upgrade=True)
    assert examined(direct_dsn) == []


def test_without_a_schema_it_says_what_to_run(empty_dsn: str) -> None:
    result = CliRunner().invoke(main, ["doctor", "--dsn", empty_dsn])
    assert result.exit_code == 3
    assert "run: tidebase-pg install" in result.stderr


# --- the server -----------------------------------------------------------------------------


def test_dead_rows_are_found(reconciled: Tide, direct_dsn: str) -> None:
    def plant() -> None:
        with open_connection(direct_dsn) as connection:
            for _ in range(30):
                connection.execute("update tide.settings set max_payload_bytes = 1048576")
            connection.execute("select pg_stat_force_next_flush()")
            connection.execute("select 1")

    planted(direct_dsn, plant, "autovacuum", "tide.settings has", "dead rows", dead_rows=20)


HOLDERS = {
    "snapshot": ("begin isolation level repeatable read", "select 1", "idle in transaction"),
    "transaction id": ("begin", "select pg_current_xact_id()", "idle in transaction"),
    "cursor": ("begin", "declare c cursor for select 1", "idle in transaction"),
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_a_session_that_holds_vacuum_back_is_found_and_can_be_ended(
    reconciled: Tide, direct_dsn: str, kind: str
) -> None:
    holder = open_connection(direct_dsn)
    begin, statement, words = HOLDERS[kind]

    def plant() -> None:
        holder.execute(begin.encode())
        holder.execute(statement.encode())

    pid = holder.info.backend_pid
    planted(direct_dsn, plant, "horizon", f"session {pid} of", words, "dead rows", transaction=ZERO)
    with pytest.raises(psycopg.OperationalError):
        holder.execute("select 1")


@pytest.fixture(scope="module")
def logical() -> Iterator[str]:
    """A server with logical slots and prepared transactions, and the schema in it."""
    # Not below pytest's folders, which every session closes: its settings are read again.
    folder = Path(tempfile.mkdtemp(prefix="tide-", dir=scratch()))
    folder.chmod(0o755)
    major = os.environ.get("TIDE_TEST_POSTGRES", "18")
    own = Server(
        folder / "server",
        binaries_folder=binaries_of(major),
        settings={**SETTINGS, "wal_level": "logical", "max_prepared_transactions": "5"},
        port=free_port(),
    )
    dsn = own.start()
    try:
        admin.install(dsn)
        mend(dsn, "call tide.reconcile();")
        yield dsn
    finally:
        own.stop(mode="immediate")
        shutil.rmtree(folder)


def test_an_unused_replication_slot_is_found(logical: str) -> None:
    def plant() -> None:
        mend(logical, "select pg_create_logical_replication_slot('forgotten', 'pgoutput')")

    planted(logical, plant, "horizon", "replication slot forgotten, unused, keeps")


def test_a_forgotten_prepared_transaction_is_found(logical: str) -> None:
    def plant() -> None:
        mend(
            logical,
            "begin; insert into tide.signals (run_id, name, created_at) "
            "values (gen_random_uuid(), 'paid', now()); prepare transaction 'it''s';",
        )

    planted(logical, plant, "horizon", "prepared transaction it's of postgres", transaction=ZERO)


@pytest.mark.parametrize("setting", ["autovacuum", "track_counts"])
def test_autovacuum_that_is_off_is_found(logical: str, setting: str) -> None:
    def reloaded(statement: str) -> None:
        with open_connection(logical) as connection:
            before = value(connection, "select pg_conf_load_time()")
            for part in admin.split(statement):
                connection.execute(part.encode())
            while value(connection, "select pg_conf_load_time()") == before:
                pass

    reloaded(f"alter system set {setting} = off; select pg_reload_conf()")
    (found,) = doctor.examine(logical)
    assert (found.severity, found.check) == ("error", "autovacuum")
    assert found.message.startswith(f"{setting} is off")
    reloaded(found.remedy)
    assert doctor.examine(logical) == []


def test_clocks_apart_are_found(reconciled: Tide, direct_dsn: str) -> None:
    def checked(skew: timedelta) -> list[Finding]:
        return doctor.examine(direct_dsn, clock=lambda: datetime.now(UTC) + skew)

    assert checked(ZERO) == []
    for skew in (timedelta(minutes=3), -timedelta(minutes=3)):
        (found,) = checked(skew)
        assert (found.severity, found.check) == ("warning", "clock")
        assert "apart" in found.message


@pytest.fixture
def pooled(server: RunningServer, database_name: str) -> Iterator[str]:
    """This test's database behind PgBouncer in transaction mode."""
    folder = Path(tempfile.mkdtemp(prefix="tide-bouncer-"))
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            bouncer = Bouncer(folder, server)
        except Absent as absent:
            pytest.skip(str(absent))
        ending.callback(bouncer.stop)
        yield bouncer.start().dsn(database_name)


def test_a_pooler_that_does_not_follow_prepared_statements_is_found(
    tide: Tide, direct_dsn: str, pooled: str
) -> None:
    mend(direct_dsn, "call tide.reconcile();")
    assert doctor.examine(direct_dsn) == []
    found = doctor.examine(pooled)
    with open_connection(pooled) as connection:
        left = value(connection, "select count(*) from pg_prepared_statements")
    assert left == 0
    if follows_prepared_statements(pooled):
        assert found == []
    else:
        assert [(one.severity, one.check) for one in found] == [("warning", "pooler")]
        assert "max_prepared_statements" in found[0].remedy


def follows_prepared_statements(pooled: str) -> bool:
    """Two clients that prepare under one name at once; a server session serves the other."""
    with open_connection(pooled) as one, open_connection(pooled) as other:
        for connection in (one, other):
            connection.prepare_threshold = 0
        try:
            for connection in (one, other, one, other):
                connection.execute("select 1")
        except psycopg.Error:
            return False
    return True


# --- the work -------------------------------------------------------------------------------


def test_upkeep_that_never_ran_is_found(tide: Tide, direct_dsn: str) -> None:
    (found,) = examined(direct_dsn)
    assert (found.severity, found.check) == ("warning", "upkeep")
    mend(direct_dsn, found.remedy)
    assert examined(direct_dsn) == []


def test_a_silent_reconciler_is_an_error(reconciled: Tide, direct_dsn: str) -> None:
    def plant() -> None:
        reconciled.connection.execute(
            "update tide.ticks set reconciled_at = now() - interval '20 minutes'"
        )

    planted(direct_dsn, plant, "upkeep", "reconcile was last called 20 minutes ago")


def test_an_expired_lease_nobody_took_over_is_found(reconciled: Tide, direct_dsn: str) -> None:
    def plant() -> None:
        reconciled.started(max_attempts=2)
        reconciled.connection.execute(
            "update tide.runs_active set leased_until = now() - interval '20 minutes'"
        )

    planted(direct_dsn, plant, "upkeep", "a lease expired 20 minutes ago")


def test_a_pause_is_found_with_its_reason(reconciled: Tide, direct_dsn: str) -> None:
    def plant() -> None:
        reconciled.pause(reason="the disk is full")

    planted(direct_dsn, plant, "upkeep", "paused: the disk is full")


def test_a_copy_is_told_to_be_adopted(reconciled: Tide, direct_dsn: str) -> None:
    def plant() -> None:
        reconciled.connection.execute("update tide.identity set system_identifier = 1")
        reconciled.connection.execute("call tide.reconcile()")

    planted(direct_dsn, plant, "upkeep", "this database is a copy")


def test_rows_that_upkeep_fails_on_are_found(reconciled: Tide, direct_dsn: str) -> None:
    def plant() -> None:
        reconciled.connection.execute(
            "insert into tide.sweep_failures "
            "values ('overdue', 'it''s', 'no room', '53100', 3, now(), now() + interval '1 hour')"
        )

    planted(direct_dsn, plant, "upkeep", "failed 3 times at overdue of it's: no room")


def test_leaked_slots_are_found(reconciled: Tide, direct_dsn: str) -> None:
    reconciled.set_queue(queue="mails", settings={"concurrency": 2})

    def plant() -> None:
        reconciled.connection.execute("update tide.slots set run_id = %s where slot = 1", (NOBODY,))

    planted(direct_dsn, plant, "slots", "1 slots of capped queues are held by no run")


def test_a_schedule_nobody_fires_is_found(reconciled: Tide, direct_dsn: str) -> None:
    reconciled.set_schedule(name="nightly", cron="0 3 * * *", workflow="report")

    def plant() -> None:
        reconciled.connection.execute(
            "update tide.schedules set next_fire_at = date_trunc('hour', now()) - interval '3 days'"
        )

    planted(direct_dsn, plant, "schedules", "schedule nightly was due 3 days ago")


def test_a_schedule_in_a_lost_time_zone_is_found(reconciled: Tide, direct_dsn: str) -> None:
    reconciled.set_schedule(name="nightly", cron="0 3 * * *", workflow="report")

    def plant() -> None:
        reconciled.connection.execute("update tide.schedules set time_zone = 'Mars/Olympus'")

    planted(direct_dsn, plant, "schedules", "Mars/Olympus, which this server does not know")


ORPHANS = {
    "steps": "(run_id, name, status, replay, input_hash, started_at) "
    "values (%s, 'a', 'running', 'auto', '', now())",
    "events": "(run_id, seq, type, created_at, payload) values (%s, 1, 'run.created', now(), '{}')",
    "run_inputs": "(run_id, input) values (%s, '{}')",
    "lease_renewals": "(run_id, lease_id, leased_until) values (%s, gen_random_uuid(), now())",
    "stream_chunks": "(run_id, stream, position, size, attempt, lease_id, chunks, appended_at) "
    "values (%s, 'words', 1, 1, 1, gen_random_uuid(), '[1]', now())",
    "lost_leases": "(run_id, lease_id, lease, lost_at) "
    "values (%s, gen_random_uuid(), '1 minute', now())",
    "lane_waits": "(run_id, lane, lane_key, priority, run_at) values (%s, 'shared', '', 0, now())",
    "lane_heads": "(run_id, lane, lane_key, turn_at, queue) "
    "values (%s, 'shared', '', now(), 'default')",
    "run_lanes": "(run_id, lane) values (%s, 'shared')",
    "reserved_amounts": "(run_id, step, holder_id, unit, amount) "
    "values (%s, 'ask', gen_random_uuid(), 'usd', 1)",
    "budget_waits": "(run_id, holder_id, unit, amount, since) "
    "values (%s, gen_random_uuid(), 'usd', 1, now())",
    "predecessors": "(run_id, after_id, after_failure, run_at, noticed) "
    "values (%s, gen_random_uuid(), 'run', now(), true)",
    "waits": "(run_id, kind, name, status, created_at) "
    "values (%s, 'event', 'paid', 'pending', now())",
    "signals": "(run_id, name, created_at) values (%s, 'paid', now())",
    "state_streams": "(run_id, stream, version, value, updated_at) "
    "values (%s, 'run', 1, '{}', now())",
    "state_versions": "(run_id, stream, version, value, importance, metadata, created_at) "
    "values (%s, 'run', 1, '{}', 'normal', '{}', now())",
    "spending": "(run_id) values (%s)",
    "channels": "(run_id, channel, url, secret_name, events) "
    "values (%s, 1, 'http://example.com', 'default', '{}')",
    "deliveries": "(run_id, delivery_id, type, url, endpoint, secret_name, body, max_attempts, "
    "due_at, expires_at, created_at) values (%s, gen_random_uuid(), 'run.failed', "
    "'http://example.com', 'http://example.com', 'default', '{}', 1, now(), now(), now())",
    "cascades": "(parent_id, created_at) values (%s, now())",
    "run_edges": "(parent_id, edge, child_id, created_at) "
    "values (%s, 'part', gen_random_uuid(), now())",
}


def test_the_orphans_looked_for_are_all_tables_with_a_run() -> None:
    assert ORPHANS.keys() == doctor.OWNED.keys()


@pytest.mark.parametrize("table", ORPHANS)
def test_orphans_are_found(reconciled: Tide, direct_dsn: str, table: str) -> None:
    def plant() -> None:
        query = f"insert into tide.{table} {ORPHANS[table]}"
        reconciled.connection.execute(query.encode(), (NOBODY,))

    planted(direct_dsn, plant, "orphans", f"1 rows of tide.{table} belong to no run")


IMPOSSIBLE = {
    "an end": ("queued", "finished_at = now()", "active and have a time"),
    "a slot": ("queued", "slot = 1", "do not run"),
    "a parked run that is due": (
        "queued", "waiting_on = 'review', ready = false, run_at = now()", "are parked and due",
    ),
    "a parked run that is ready": (
        "queued", "waiting_on = 'review', run_at = null", "are parked and due",
    ),
    "a parked run that runs": (
        "running", "waiting_on = 'review', run_at = null", "run and are parked",
    ),
    "a ready run nobody queued": ("pending", "ready = true", "are ready and in no queue"),
    "a queued run without a queue": ("queued", "queue = null", "are queued in no queue"),
    "a lease without its secret": ("running", "lease_id = null", "lease nobody can show"),
    "a wait for nothing": (
        "queued", "waiting_on = 'boredom', ready = false, run_at = null", "nothing ends",
    ),
    "an attempt before the first": ("queued", "attempt = -1", "counted their attempts"),
    "no attempt": ("queued", "max_attempts = 0", "counted their attempts"),
    "attempts without end": ("queued", "max_attempts = 101", "counted their attempts"),
    "an event too many": ("queued", "told_events = 2", "did not have"),
    "no end": ("completed", "finished_at = null", "never removes them"),
    "a slot kept": ("completed", "slot = 1", "still hold"),
    "a lease kept": ("completed", "leased_until = now()", "still hold"),
    "an end too many": ("completed", "told_events = 4", "did not have"),
    "no input": ("queued", "input = null", "lost their input"),
    "no input any more": ("completed", "input = null", "lost their input"),
}  # fmt: skip


def test_channels_of_a_run_that_tells_its_events_are_found(
    reconciled: Tide, direct_dsn: str
) -> None:
    run = reconciled.enqueue(workflow="w", channels=[{"url": "https://example.com/"}])
    assert [f for f in examined(direct_dsn) if f.check == "states"] == []
    reconciled.connection.execute("update tide.runs set told_events = 1")
    (found,) = (found for found in examined(direct_dsn) if found.check == "states")
    assert "will not be told" in found.message
    assert str(run.run_id) in found.message


@pytest.mark.parametrize("fault", IMPOSSIBLE)
def test_runs_in_a_state_no_function_makes_are_found(
    reconciled: Tide, direct_dsn: str, fault: str
) -> None:
    status, update, words = IMPOSSIBLE[fault]
    make = {
        "pending": reconciled.create_run,
        "queued": reconciled.enqueue,
        "running": reconciled.started,
        "completed": reconciled.finished,
    }[status]
    run = make(workflow="report")
    # The trigger refuses it; a replica, or an older release, may have it all the same.
    reconciled.connection.execute("set session_replication_role = replica")
    reconciled.connection.execute(f"update tide.runs set {update}".encode())
    reconciled.connection.execute("reset session_replication_role")
    (found,) = (found for found in examined(direct_dsn) if found.check == "states")
    assert (found.severity, words in found.message) == ("error", True)
    assert str(run.run_id) in found.message
    (row,) = reconciled.connection.execute(found.remedy.encode()).fetchall()
    assert row.run_id == run.run_id


def test_every_table_with_a_run_id_is_looked_at_for_orphans(connection: Connection) -> None:
    tables = {
        row.relname
        for row in connection.execute(
            """
            select c.relname
            from pg_class as c
            join pg_attribute as a on a.attrelid = c.oid and a.attname in ('run_id', 'parent_id')
            where c.relnamespace = 'tide'::regnamespace
              and c.relkind = 'r'
            """
        )
    }
    not_of_a_run = {"runs_active", "runs_finished", "slots", "schedule_fires", "watchers"}
    not_of_a_run |= {"lane_slots", "lane_charges"}
    # A key that is held no longer may outlive its run until upkeep takes it away.
    not_of_a_run |= {"held_keys"}
    kept_by_retention = {"gates", "gate_votes", "usage"}
    assert tables == doctor.OWNED.keys() | not_of_a_run | kept_by_retention


def test_large_payloads_are_told_of_with_their_workflow(reconciled: Tide, direct_dsn: str) -> None:
    document = {"text": value(reconciled.connection, "select repeat(md5('a'), 300)")}
    for _ in range(3):
        reconciled.enqueue(workflow="scan", input=document)
        reconciled.enqueue(workflow="small", input={})
    (found,) = examined(direct_dsn, payload_bytes=100)
    assert (found.severity, found.check) == ("info", "payloads")
    assert "a run of scan carries" in found.message
    mend(direct_dsn, found.remedy)
    with pytest.raises(psycopg.Error, match="payload"):
        reconciled.enqueue(workflow="scan", input=document)


def test_what_retention_could_remove_is_told(
    reconciled: Tide, hour: Clock, direct_dsn: str
) -> None:
    run = reconciled.begun()
    reconciled.complete(run_id=run.run_id, lease_id=run.lease_id)
    reconciled.finished(queue="mails")
    hour.advance(timedelta(days=100))
    reconciled.reconcile()
    found = [one for one in examined(direct_dsn) if one.check == "retention"]
    assert [one.severity for one in found] == ["info", "info"]
    assert "1 runs without a queue ended more than 90 days ago" in found[0].message
    assert "1 runs of queue mails ended more than 90 days ago" in found[1].message
    for one in reversed(found):
        mend(direct_dsn, one.remedy)
    reconciled.reconcile()
    assert [one for one in examined(direct_dsn) if one.check == "retention"] == []
    assert value(reconciled.connection, "select count(*) from tide.runs") == 0


def test_retention_that_lags_is_a_warning(reconciled: Tide, hour: Clock, direct_dsn: str) -> None:
    reconciled.finished(queue="mails")
    reconciled.set_queue(queue="mails", settings={"retention": "30 days"})
    hour.advance(timedelta(days=32))
    (found,) = (one for one in examined(direct_dsn) if one.check == "retention")
    assert (found.severity, found.remedy) == ("warning", "call tide.reconcile();")
    mend(direct_dsn, found.remedy)
    assert [one for one in examined(direct_dsn) if one.check == "retention"] == []


# --- the visit itself -----------------------------------------------------------------------


def test_it_writes_nothing_and_could_not(reconciled: Tide, direct_dsn: str) -> None:
    reconciled.started()

    def writing(visit: doctor.Visit) -> Iterator[Finding]:
        assert visit.row("select pg_current_xact_id_if_assigned() as id")["id"] is None
        visit.connection.execute("delete from tide.events")
        yield Finding("error", "writing", "wrote")

    before = contents(reconciled.connection)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        doctor.examine(direct_dsn, checks={**doctor.CHECKS, "writing": writing})
    assert contents(reconciled.connection) == before


def test_one_look_that_takes_too_long_does_not_spoil_the_rest(
    reconciled: Tide, direct_dsn: str
) -> None:
    def endless(visit: doctor.Visit) -> Iterator[Finding]:
        visit.rows("select pg_sleep(60)")
        yield Finding("error", "endless", "came back")

    def later(visit: doctor.Visit) -> Iterator[Finding]:
        yield Finding("info", "later", str(visit.row("select 1 as one")["one"]))

    found = doctor.examine(
        direct_dsn,
        replace(Limits(), patience=timedelta(milliseconds=50)),
        checks={"endless": endless, "later": later},
    )
    assert [(one.check, one.message) for one in found] == [
        ("endless", "not checked: it takes longer than 0.05 s"),
        ("later", "1"),
    ]


def test_a_schema_with_holes_is_examined_to_the_end(
    reconciled: Tide, connection: Connection, direct_dsn: str
) -> None:
    connection.execute("drop table tide.sweep_failures cascade")
    found = {one.check: one for one in examined(direct_dsn)}
    assert "sweep_failures is missing" in found["tables"].message
    assert "view tide.health is missing" in {one.message for one in examined(direct_dsn)}
    assert "not checked: something it reads is missing" in found["failures"].message


@pytest.fixture
def as_role(connection: Connection, direct_dsn: str) -> Iterator[Callable[..., str]]:
    """as_role("tide_viewer") -> the DSN of a new login that is a member of it."""
    made: list[str] = []

    def as_role(*roles: str) -> str:
        name = f"{connection.info.dbname}_{len(made)}"
        connection.execute(f'create role "{name}" login'.encode())
        made.append(name)
        for role in roles:
            connection.execute(f'grant {role} to "{name}"'.encode())
        return make_conninfo(direct_dsn, user=name)

    yield as_role
    for name in made:
        connection.execute(f'drop role "{name}"'.encode())


@pytest.mark.parametrize("role", ["tide_viewer", "tide_operator"])
def test_a_role_sees_what_it_may_and_hears_of_the_rest(
    reconciled: Tide, connection: Connection, as_role: Callable[..., str], role: str
) -> None:
    dsn = as_role(role)
    quiet = doctor.examine(dsn)
    assert {one.severity for one in quiet} == {"info"}
    assert {one.check: one.message.partition(": ")[0] for one in quiet} == {
        "horizon": f"{connection.info.dbname}_0 sees only its own sessions",
        "trust": f"every login may connect to database {connection.info.dbname}, and members "
        "of the group roles may then use it",
        "failures": "not checked",
        "orphans": "not checked",
        "states": "not checked",
        "payloads": "not checked",
        "retention": "not checked",
    }
    reconciled.pause(reason="the disk is full")
    connection.execute("alter table tide.runs_active reset (fillfactor)")
    found = {one.check for one in doctor.examine(dsn) if one.severity != "info"}
    assert found == {"upkeep", "storage"}


def test_grant_pg_read_all_stats_shows_all_sessions(
    reconciled: Tide, connection: Connection, as_role: Callable[..., str]
) -> None:
    dsn = as_role("tide_viewer")
    (found,) = (one for one in doctor.examine(dsn) if one.check == "horizon")
    connection.execute(found.remedy.encode())
    assert [one for one in doctor.examine(dsn) if one.check == "horizon"] == []


def test_a_login_without_any_right_is_told_so(
    reconciled: Tide, as_role: Callable[..., str]
) -> None:
    found = doctor.examine(as_role())
    assert {one.severity for one in found} == {"info"}
    assert {"version", "upkeep", "schedules"} <= {
        one.check for one in found if one.message.startswith("not checked: ")
    }


# --- the command ----------------------------------------------------------------------------


def run(dsn: str, *arguments: str) -> Any:
    result = CliRunner().invoke(main, ["doctor", "--dsn", dsn, *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_the_exit_code_tells_how_bad_it_is(
    tide: Tide, connection: Connection, direct_dsn: str
) -> None:
    warned = run(direct_dsn)
    assert warned.exit_code == 4
    assert warned.stdout.splitlines() == [
        "warning upkeep      reconcile was never called",
        "        call tide.reconcile();",
    ]
    connection.execute("create index mine on tide.usage (kind)")
    tide.reconcile()
    assert run(direct_dsn).exit_code == 0
    connection.execute("drop function tide.list_usage")
    assert run(direct_dsn).exit_code == 5
    help_text = CliRunner().invoke(main, ["doctor", "--help"]).stdout
    assert "4  warnings" in help_text
    assert "5  errors" in help_text


def test_json_has_every_finding_whole(tide: Tide, connection: Connection, direct_dsn: str) -> None:
    connection.execute("drop function tide.list_usage")
    result = run(direct_dsn, "--json")
    errors, warnings = json.loads(result.stdout)
    assert errors["severity"] == "error"
    assert errors["remedy"].startswith("create or replace function tide.list_usage")
    assert warnings == {
        "severity": "warning",
        "check": "upkeep",
        "message": "reconcile was never called",
        "remedy": "call tide.reconcile();",
    }


def test_its_script_mends_everything_at_once(
    tide: Tide, connection: Connection, direct_dsn: str
) -> None:
    connection.execute("drop function tide.list_usage")
    connection.execute("alter table tide.runs_active reset (fillfactor)")
    connection.execute("drop index tide.runs_ready_idx")
    shown = run(direct_dsn)
    assert "more lines: tidebase-pg doctor --sql" in shown.stdout
    script = run(direct_dsn, "--sql")
    assert script.exit_code == 5
    mend(direct_dsn, script.stdout)
    healthy = run(direct_dsn)
    assert (healthy.exit_code, healthy.stdout) == (0, "nothing is wrong\n")
