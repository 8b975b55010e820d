"""Whatever the caller's session and transaction are like, the functions mean the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.string import TextLoader

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection, one, value

# In a schema that comes first: what a body might call without saying whose it is.
SHADOWS = """
create schema evil;
create table evil.trap (what text);
create function evil.sprung(what text) returns void language sql as
$$ insert into evil.trap values (what) $$;
create function evil.now() returns timestamptz language sql as
$$ select evil.sprung('now'); select '1999-01-01'::timestamptz $$;
create function evil.coalesced(a text, b text) returns boolean language sql as
$$ select evil.sprung('operator'); select false $$;
create function evil.same(a uuid, b uuid) returns boolean language sql as
$$ select evil.sprung('uuid ='); select false $$;
create function evil.less(a timestamptz, b timestamptz) returns boolean language sql as
$$ select evil.sprung('timestamptz <='); select false $$;
create function evil.minus(a timestamptz, b interval) returns timestamptz language sql as
$$ select evil.sprung('timestamptz -'); select a $$;
create function evil.plus(a bigint, b bigint) returns bigint language sql as
$$ select evil.sprung('+'); select 0::bigint $$;
create function evil.date_trunc(a text, b timestamptz) returns timestamptz language sql as
$$ select evil.sprung('date_trunc'); select '1999-01-01'::timestamptz $$;
create function evil.jsonb_build_object(variadic a "any") returns jsonb
language internal as 'jsonb_build_object';
create function evil.cardinality(a anyarray) returns int language sql as
$$ select evil.sprung('cardinality'); select 0 $$;
create function evil.pg_try_advisory_xact_lock(a int, b int) returns boolean language sql as
$$ select evil.sprung('lock'); select true $$;
create function evil.octet_length(a text) returns int language sql as
$$ select evil.sprung('octet_length'); select 0 $$;
create function evil.gen_random_uuid() returns uuid language sql as
$$ select evil.sprung('uuid'); select '00000000-0000-0000-0000-000000000000'::uuid $$;
create operator evil.= (leftarg = text, rightarg = text, function = evil.coalesced);
create operator evil.= (leftarg = uuid, rightarg = uuid, function = evil.same);
create operator evil.<= (leftarg = timestamptz, rightarg = timestamptz, function = evil.less);
create operator evil.- (leftarg = timestamptz, rightarg = interval, function = evil.minus);
create operator evil.+ (leftarg = bigint, rightarg = bigint, function = evil.plus);
create table evil.runs (run_id uuid);
create table evil.runs_active (run_id uuid);
create table evil.queues (queue text);
"""


def whole_life(tide: Tide) -> list[str]:
    """Every act once; the log of the run it was about."""
    tide.set_queue(queue="default", settings={"concurrency": 5, "rate_limit": 99})
    tide.create_run(workflow="report", deadline="1 hour")
    tide.enqueue_many(
        queue="default",
        runs=[{"workflow": "other", "dedupe_key": "a", "run_at": "2026-12-31 23:59:59+00"}],
    )
    tide.enqueue(workflow="other", delay="1 hour", dedupe_key="a", on_conflict="replace")
    run = tide.started(input={"n": 1.0}, max_attempts=3, dedupe_key="k", deadline="1 hour")
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    assert tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id])[0].state == "held"
    tide.begin_step(**own, name="plan", input={"n": 1.0}, contract={"timeout": "5 minutes"})
    tide.complete_step(**own, name="plan", output=1)
    tide.begin_step(**own, name="send", contract={"side_effects": ["mail"]})
    tide.fail_step(**own, name="send", retryable=True)
    tide.fail(**own, retry_after="0")
    (row,) = tide.settle_and_claim(outcomes=[], worker="w1", lease="1 hour")
    own["lease_id"] = row.lease_id
    assert tide.begin_step(**own, name="plan", input={"n": 1}).action == "replay"
    tide.release(**own)
    (run,) = tide.claim()
    own["lease_id"] = run.lease_id
    tide.settle(outcomes=[own | {"error": {}, "retryable": False}])
    tide.retry(run_id=run.run_id)
    tide.reschedule(run_id=run.run_id, run_at=tide.get_run(run_id=run.run_id).run_at)
    assert tide.explain_wait(run_id=run.run_id)["reasons"] == []
    tide.cancel(run_id=run.run_id)
    assert tide.describe_run(run_id=run.run_id)["run"]["status"] == "cancelled"
    assert tide.cancel_many(workflow="other") == 1
    assert len(tide.list_runs()) == 3
    assert tide.reconcile()["overdue"] == 0
    row = one(tide.connection, "select * from tide.queue_stats")
    assert (row.cancelled_hour, row.cancelled_day, row.failed_hour) == (2, 2, 0)
    return tide.log(run.run_id)


LIFE = [
    "run.enqueued",
    "run.claimed",
    "step.started",
    "step.completed",
    "step.started",
    "step.failed",
    "run.requeued",
    "run.claimed",
    "run.requeued",
    "run.claimed",
    "run.failed",
    "run.retried",
    "run.cancelled",
]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"timezone": "Asia/Kathmandu"},
        {"timezone": "America/St_Johns", "intervalstyle": "sql_standard"},
        {"intervalstyle": "iso_8601", "extra_float_digits": "-15"},
        {"standard_conforming_strings": "off", "escape_string_warning": "off"},
        {"bytea_output": "escape", "xmlbinary": "hex", "array_nulls": "off"},
        {"lc_messages": "C", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C"},
        {"transform_null_equals": "on", "quote_all_identifiers": "on"},
        {"default_transaction_deferrable": "on", "synchronous_commit": "off"},
        {"plan_cache_mode": "force_generic_plan", "jit": "on", "jit_above_cost": "0"},
        {"enable_indexscan": "off", "enable_nestloop": "off"},
        {"row_security": "off", "check_function_bodies": "off"},
        {"plpgsql.variable_conflict": "use_variable"},
        {"plpgsql.extra_errors": "all", "client_min_messages": "error"},
    ],
    ids=str,
)
def test_life_is_the_same_under_any_setting(tide: Tide, settings: dict[str, str]) -> None:
    tide.connection.adapters.register_loader("interval", TextLoader)
    for name, setting in settings.items():
        tide.connection.execute("select set_config(%s, %s, false)", (name, setting))
    assert whole_life(tide) == LIFE


@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres, MDY"])
def test_times_are_the_same_under_any_date_style(tide: Tide, hour: Clock, style: str) -> None:
    tide.connection.execute("select set_config('datestyle', %s, false)", (style,))
    (run_id,) = one(
        tide.connection,
        """
        select run_id::text
        from tide.enqueue_many(
          'default', '[{"workflow": "report", "run_at": "2026-12-03T04:05:06Z"}]'
        )
        """,
    )
    query = "select extract(epoch from run_at)::bigint, payload ->> 'run_at' from tide.runs "
    query += "join tide.event_log using (run_id) where run_id = %s"
    tide.connection.execute("set timezone = 'UTC'")
    assert one(tide.connection, query, run_id) == (1796270706, "2026-12-03T04:05:06+00:00")


def test_messages_in_another_language_keep_their_codes(tide: Tide) -> None:
    try:
        tide.connection.execute("set lc_messages = 'de_DE.UTF-8'")
    except psycopg.Error:
        pytest.skip("this server has no German messages")
    with refused("22023", "workflow"):
        tide.enqueue(workflow="")
    assert whole_life(tide) == LIFE


def test_shadowing_schema_is_never_looked_into(tide: Tide) -> None:
    tide.connection.execute(SHADOWS.encode())
    tide.connection.execute("set search_path = evil, public, pg_catalog")
    try:
        log = whole_life(tide)
    finally:
        tide.connection.execute("reset search_path")
    assert log == LIFE
    assert tide.connection.execute("select * from evil.trap").fetchall() == []


def test_temporary_objects_are_never_looked_into(tide: Tide) -> None:
    tide.connection.execute(
        """
        create temp table runs (run_id uuid);
        create temp table runs_active (run_id uuid);
        create temp table queues (queue text);
        create temp table events (seq int);
        create temp table tide (n int);
        create function pg_temp.now() returns timestamptz language sql as
        $$ select '1999-01-01'::timestamptz $$;
        """
    )
    tide.connection.execute("set search_path = pg_temp, pg_catalog")
    try:
        assert whole_life(tide) == LIFE
    finally:
        tide.connection.execute("reset search_path")


READS: list[tuple[str, dict[str, Any]]] = [
    ("get_run", {}),
    ("describe_run", {}),
    ("explain_wait", {}),
    ("list_events", {}),
]


def test_reading_works_in_a_read_only_transaction(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    run = tide.started()
    reader = Tide(connect())
    for level in ("read committed", "repeatable read", "serializable"):
        with reader.connection.transaction():
            reader.connection.execute(
                f"set transaction isolation level {level}, read only".encode()
            )
            for function, arguments in READS:
                reader.call(function, run_id=run.run_id, **arguments)
            assert len(reader.list_runs()) == 1
            assert reader.version()
            assert one(reader.connection, "select * from tide.queue_stats").running == 1


def test_writing_in_a_read_only_transaction_is_refused_and_writes_nothing(tide: Tide) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    writes: list[tuple[str, dict[str, Any]]] = [
        ("enqueue", {"workflow": "report"}),
        ("enqueue_many", {"queue": "q", "runs": [{"workflow": "report"}]}),
        ("create_run", {"workflow": "report"}),
        ("claim", {}),
        ("begin_run", {"run_id": run.run_id}),
        ("complete", own),
        ("fail", own),
        ("release", own),
        ("cancel", {"run_id": run.run_id}),
        ("cancel_many", {"workflow": "report"}),
        ("settle", {"outcomes": [own]}),
        ("settle_and_claim", {"outcomes": []}),
        ("begin_step", own | {"name": "plan"}),
        ("heartbeat", {"run_ids": [run.run_id], "lease_ids": [run.lease_id]}),
        ("set_queue", {"queue": "q", "settings": {}}),
        ("reschedule", {"run_id": run.run_id, "run_at": "2026-12-31"}),
        ("revoke_lease", {"run_id": run.run_id}),
        ("retry", {"run_id": run.run_id}),
        ("resolve_step", {"run_id": run.run_id, "name": "plan", "decision": "retry"}),
    ]
    before = contents(tide.connection)
    for function, arguments in writes:
        with refused("25006"), tide.connection.transaction():
            tide.connection.execute("set transaction read only")
            tide.call(function, **arguments)
    assert contents(tide.connection) == before


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_acts_of_a_worker_work_in_stricter_transactions(tide: Tide, level: str) -> None:
    run, other = tide.started(max_attempts=2), tide.started(max_attempts=2)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    with tide.connection.transaction():
        tide.connection.execute(f"set transaction isolation level {level}".encode())
        assert not tide.enqueue(workflow="report").deduplicated
        tide.create_run(workflow="report")
        tide.begin_step(**own, name="plan")
        tide.complete_step(**own, name="plan", output=1)
        assert tide.complete(**own).status == "completed"
        tide.fail(run_id=other.run_id, lease_id=other.lease_id)
        tide.cancel(run_id=other.run_id)
    assert tide.log(run.run_id)[-3:] == ["step.started", "step.completed", "run.completed"]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_acts_that_need_a_fresh_snapshot_say_so(tide: Tide, level: str) -> None:
    acts: list[tuple[str, dict[str, Any]]] = [
        ("enqueue", {"workflow": "report", "dedupe_key": "k"}),
        ("enqueue_many", {"queue": "q", "runs": [{"workflow": "report"}]}),
        ("claim", {}),
        ("settle_and_claim", {"outcomes": []}),
    ]
    for function, arguments in acts:
        with refused("25001", level), tide.connection.transaction():
            tide.connection.execute(f"set transaction isolation level {level}".encode())
            tide.call(function, **arguments)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_run_changed_since_the_snapshot_is_a_serialization_failure(
    tide: Tide, connect: Callable[..., Connection], level: str
) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    strict = Tide(connect(autocommit=False))
    strict.connection.execute(f"set transaction isolation level {level}".encode())
    strict.get_run(run_id=run.run_id)
    tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id], lease=2 * MINUTE)
    with refused("40001"):
        strict.complete(**own)
    strict.connection.rollback()
    assert tide.complete(**own).status == "completed"


def test_failed_transaction_takes_no_further_call(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    other = Tide(connect(autocommit=False))
    with refused("22023"):
        other.enqueue(workflow="")
    with refused("25P02"):
        other.enqueue(workflow="report")
    other.connection.rollback()
    assert other.enqueue(workflow="report").status == "queued"
    other.connection.rollback()
    assert value(tide.connection, "select count(*) from tide.runs") == 0
