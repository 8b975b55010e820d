"""What somebody with a login and bad intentions cannot do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import tuple_row

from tests.runs.acts import Tide, refused
from tests.support import Connection, one, value
from tests.upkeep.test_sessions import SHADOWS

LogIn = Callable[..., Connection]

EVERYTHING = ("tide_client", "tide_worker", "tide_operator")
SECRET = "4111-1111-1111-1111"


def work(tide: Tide) -> None:
    """Most of what the three roles may do, once."""
    tide.set_queue(queue="default", settings={"concurrency": 5, "rate_limit": 99})
    tide.enqueue_many(queue="mails", runs=[{"workflow": "mail"}])
    plain = tide.begin_run(run_id=tide.create_run(workflow="plain").run_id)
    tide.complete(run_id=plain.run_id, lease_id=plain.lease_id)
    run_id = tide.enqueue(workflow="report", dedupe_key="a", input={"card": SECRET}).run_id
    (run,) = tide.claim(worker="w1")
    assert run.run_id == run_id
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**held, name="write")
    tide.complete_step(**held, name="write", output=1)
    tide.set_state(run_id=run_id, value={"a": 1}, lease_id=run.lease_id)
    tide.patch_state(run_id=run_id, patch={"b": 2}, lease_id=run.lease_id)
    tide.record_usage(run_id=run_id, input_tokens=3)
    tide.spawn(**held, edge="part", workflow="part", queue="parts")
    gate = tide.open_gate(**held, name="ok", prompt="May I?")
    tide.await_gate(**held, gate_id=gate.gate_id)
    tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved")
    (run,) = tide.claim(worker="w1")
    tide.settle_and_claim(
        outcomes=[{"run_id": str(run_id), "lease_id": str(run.lease_id)}], queues=["none"]
    )
    tide.set_schedule(name="nightly", cron="0 3 * * *", workflow="report", queue="nights")
    fired = tide.fire_schedule(name="nightly")
    tide.reschedule(run_id=fired.run_id, run_at="2030-01-01Z")
    tide.cancel(run_id=fired.run_id)
    tide.retry(run_id=fired.run_id)
    tide.cancel_many(queue="nights", max_runs=5)
    tide.grant_queue(queue="vault", role="tide_worker")
    tide.revoke_queue(queue="vault", role="tide_worker")
    tide.await_work(worker="w1", queues=["none"], duration="1 second")
    tide.next_wakeup()
    tide.claim_deliveries()
    tide.prune(older_than="1 day")
    tide.list_runs()
    tide.describe_run(run_id=run_id)
    tide.explain_wait(run_id=fired.run_id)
    assert "overdue" in value(tide.connection, "call tide.reconcile()")


def test_temporary_tables_do_not_shadow(tide: Tide, connection: Connection, log_in: LogIn) -> None:
    """pg_temp comes first in every search path that does not name it."""
    attacker = log_in(*EVERYTHING)
    shadows = [
        (row.kind, row.name)
        for row in connection.execute(
            """
            select 'tide' as kind, c.relname as name
            from pg_class as c
            where c.relnamespace = 'tide'::regnamespace
              and c.relkind in ('r', 'p', 'v')
            union all
            select 'pg_catalog', n.name
            from unnest('{pg_roles,pg_database,pg_stat_activity,pg_timezone_names}'::text[])
              as n(name)
            """
        )
    ]
    assert len(shadows) > 30
    for kind, name in shadows:
        # Named as the owner sees them, since the attacker sees no table.
        with connection.cursor(row_factory=tuple_row) as cursor:
            columns = cursor.execute(f"select * from {kind}.{name} limit 0".encode()).description
        listed = ", ".join(f'"{column.name}" text' for column in columns or [])
        attacker.execute(f"create temporary table {name} ({listed})".encode())
    attacker.execute("set search_path = pg_temp, pg_catalog")
    work(Tide(attacker))
    for _, name in shadows:
        assert value(attacker, f"select count(*) from pg_temp.{name}") == 0, name
    assert value(connection, "select count(*) from tide.runs") == 5


@pytest.fixture
def hostile(connection: Connection, log_in: LogIn) -> Iterator[Connection]:
    """A login with a schema of its own full of what bodies might call, first in its path."""
    attacker = log_in(*EVERYTHING)
    connection.execute(SHADOWS.encode())
    connection.execute("grant usage on schema evil to public")
    connection.execute("grant all on all tables in schema evil to public")
    attacker.execute("set search_path = evil, pg_catalog")
    yield attacker


def test_the_trap_would_spring(hostile: Connection) -> None:
    hostile.execute("select 'a'::text = 'b'::text")
    assert value(hostile, "select count(*) from evil.trap") == 1


def test_functions_and_operators_of_the_callers_path_are_not_called(hostile: Connection) -> None:
    work(Tide(hostile))
    assert hostile.execute("select * from evil.trap").fetchall() == []


def test_a_path_set_by_the_role_or_the_database_is_not_used(
    hostile: Connection, connection: Connection
) -> None:
    for target in ("role", "database"):
        name = hostile.info.user if target == "role" else connection.info.dbname
        connection.execute(
            sql.SQL("alter {} {} set search_path = evil, pg_catalog").format(
                sql.SQL(target), sql.Identifier(name)
            )
        )
    again = psycopg.connect(hostile.info.dsn, autocommit=True, row_factory=hostile.row_factory)
    try:
        assert value(again, "show search_path") == "evil, pg_catalog"
        work(Tide(again))
        assert again.execute("select * from evil.trap").fetchall() == []
    finally:
        again.close()


def test_a_definer_function_has_a_pinned_path_that_ends_with_pg_temp(
    connection: Connection,
) -> None:
    loose = connection.execute(
        """
        select p.proname
        from pg_proc as p
        where p.pronamespace = 'tide'::regnamespace
          and p.prosecdef
          and not 'search_path=pg_catalog, pg_temp' = any (p.proconfig)
        """
    ).fetchall()
    assert loose == []


def test_types_and_casts_of_an_attacker_are_not_met(log_in: LogIn, connection: Connection) -> None:
    """An argument of a type of one's own has no way in: there are no overloads to choose from."""
    attacker = log_in(*EVERYTHING)
    connection.execute(
        sql.SQL("grant create on database {} to {}").format(
            sql.Identifier(connection.info.dbname), sql.Identifier(attacker.info.user)
        )
    )
    attacker.execute(
        """
        create schema evil;
        create type evil.name as (word text);
        create function evil.as_text(evil.name) returns text language sql as
        $$ select session_user::text || current_user::text $$;
        create cast (evil.name as text) with function evil.as_text(evil.name) as implicit;
        """
    )
    run = one(attacker, "select * from tide.enqueue(row('x')::evil.name)")
    workflow = Tide(attacker).get_run(run_id=run.run_id).workflow
    attacker.execute("drop schema evil cascade")
    # The cast runs before the call, as the attacker himself.
    assert workflow == attacker.info.user * 2


def test_nobody_makes_anything_in_the_schema(log_in: LogIn) -> None:
    attacker = log_in(*EVERYTHING, "tide_viewer")
    for statement in (
        "create table tide.mine (one integer)",
        "create function tide.now() returns timestamptz language sql as 'select null'",
        "create operator tide.= (leftarg = text, rightarg = text, function = texteq)",
        "alter function tide.claim owner to current_user",
        "create or replace function tide.version() returns text language sql as 'select 1'",
        "drop function tide.sign",
        "alter table tide.runs add column mine text",
        (
            "create trigger mine before insert on tide.runs_active for each row "
            "execute function suppress_redundant_updates_trigger()"
        ),
        "create policy mine on tide.runs_active using (true)",
        "create view mine as select * from tide.runs",
        "set session authorization postgres",
        "set role postgres",
        "grant tide_operator to tide_viewer",
        "grant execute on function tide.sign to public",
    ):
        with pytest.raises(psycopg.Error) as caught:
            with attacker.transaction():
                attacker.execute("set local search_path = pg_temp, pg_catalog")
                attacker.execute(statement.encode())
                attacker.execute("select * from mine")
        assert caught.value.sqlstate == "42501", (statement, caught.value)


# --- leases ---------------------------------------------------------------------------------

FENCED = """
select p.proname, p.proargnames[1:p.pronargs] as names
from pg_proc as p
where p.pronamespace = 'tide'::regnamespace
  and p.proname !~ '^_'
  and p.proargnames[1:p.pronargs] @> '{run_id,lease_id}'
order by 1
"""
MEANT: dict[str, Any] = {
    "chunks": f'[{{"card": "{SECRET}"}}]',
    "children": '[{"edge": "a", "workflow": "b"}]',
    "duration": "1 hour",
    "edge": "part",
    "edges": ["part"],
    "label": "half",
    "name": "pay",
    "patch": f'{{"card": "{SECRET}"}}',
    "prompt": "May I?",
    "state": f'{{"card": "{SECRET}"}}',
    "stream": "out",
    "value": f'{{"card": "{SECRET}"}}',
    "workflow": "part",
    "error": f'{{"card": "{SECRET}"}}',
    "input": f'{{"card": "{SECRET}"}}',
    "output": f'{{"card": "{SECRET}"}}',
    "result": f'{{"card": "{SECRET}"}}',
}


def test_another_ones_run_cannot_be_reported_on(
    tide: Tide, connection: Connection, log_in: LogIn
) -> None:
    """With a guess, a lease of one's own run, or an older lease of this run: TD002, no change."""
    run = tide.started(max_attempts=3, input={"card": SECRET})
    tide.release(run_id=run.run_id, lease_id=run.lease_id)
    older = run.lease_id
    (run,) = tide.claim()
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**held, name="pay")
    tide.spawn(**held, edge="part", workflow="part", queue="parts")
    gate = tide.open_gate(**held, name="ok", prompt="May I?")
    attacker = Tide(log_in("tide_worker"))
    own = attacker.begin_run(run_id=attacker.create_run(workflow="own").run_id)
    before = tide.describe_run(run_id=run.run_id)
    fenced = connection.execute(FENCED.encode()).fetchall()
    assert len(fenced) > 15
    for function, names in fenced:
        for guess in (uuid4(), own.lease_id, older):
            given = {name: meant for name, meant in MEANT.items() if name in names}
            if "gate_id" in names:
                given["gate_id"] = gate.gate_id
            with refused("TD002", run.run_id) as caught:
                attacker.call(function, run_id=run.run_id, lease_id=guess, **given)
            told = str(caught.value.diag.message_primary) + str(caught.value.diag.message_detail)
            told += str(caught.value.diag.message_hint) + str(caught.value.diag.context)
            for hidden in (SECRET, guess, run.lease_id, gate.token):
                assert str(hidden) not in told, (function, told)
    verdicts = attacker.settle(
        outcomes=[{"run_id": str(run.run_id), "lease_id": str(own.lease_id), "result": 1}]
    )
    assert [(verdict.accepted, verdict.reason) for verdict in verdicts] == [(False, "lost")]
    beaten = attacker.heartbeat(run_ids=[run.run_id], lease_ids=[own.lease_id])
    assert [beat.state for beat in beaten] == ["lost"]
    assert tide.describe_run(run_id=run.run_id) == before


def test_a_gate_does_not_open_without_its_token(tide: Tide, log_in: LogIn) -> None:
    run = tide.started()
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    gate = tide.open_gate(**held, name="ok", prompt="May I?")
    other = tide.open_gate(**held, name="other", prompt="And now?")
    client = Tide(log_in("tide_client"))
    for token in ("", "guess", other.token, gate.token[:-1], gate.token + " ", str(gate.gate_id)):
        with refused("TD024") as caught:
            client.resolve_gate(gate_id=gate.gate_id, token=token, decision="approved")
        told = str(caught.value.diag.message_primary) + str(caught.value.diag.message_detail)
        assert gate.token not in told
        assert token == "" or token == str(gate.gate_id) or token not in told
    with refused("42501"):
        client.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann", payload={})


def test_the_log_has_no_lease_no_token_and_no_payload(tide: Tide, connection: Connection) -> None:
    """A run that went through everything, with a secret in every document but errors, which the
    log is there to tell."""
    document = {"card": SECRET}
    run = tide.started(
        input=document, metadata=document, max_attempts=3, channels=[{"url": "http://example.com"}]
    )
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**held, name="pay", input=document)
    tide.complete_step(**held, name="pay", output=document)
    tide.begin_step(**held, name="send")
    tide.fail_step(**held, name="send", error={"message": "busy"}, retryable=True)
    tide.set_state(run_id=run.run_id, value=document, lease_id=run.lease_id)
    tide.record_usage(run_id=run.run_id, input_tokens=3)
    tide.spawn(**held, edge="part", workflow="part", input=document, queue="parts")
    gate = tide.open_gate(**held, name="ok", prompt="May I?", data=document)
    tide.await_gate(**held, gate_id=gate.gate_id)
    tide.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved", payload=document)
    leases = {str(run.lease_id)}
    (run,) = tide.claim()
    leases.add(str(run.lease_id))
    tide.send_event(run_id=run.run_id, name="paid", payload=document)
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"message": "no"})
    tide.cancel(run_id=run.run_id)
    events = connection.execute("select e::text as all from tide.event_log as e").fetchall()
    assert len(events) > 12
    for (event,) in events:
        for hidden in {gate.token} | leases:
            assert hidden not in event
        assert SECRET not in event, event


def test_errors_and_what_is_said_of_usage_are_in_the_log(tide: Tide) -> None:
    """What the page warns of: whoever reads the log reads these."""
    run = tide.started()
    tide.record_usage(run_id=run.run_id, input_tokens=3, metadata={"of": "a customer"})
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, error={"message": "no card 4111"})
    told = str([event.payload for event in tide.list_events(run_id=run.run_id)])
    assert "a customer" in told
    assert "no card 4111" in told


def test_a_lease_tells_nothing_of_another(tide: Tide) -> None:
    """120 bits of a hash or of chance each: no time and no counter in them."""
    tide.enqueue_many(queue="default", runs=[{"workflow": "w"}] * 20)
    leases = {run.lease_id for run in tide.claim(max_runs=20)}
    leases.add(tide.begin_run(run_id=tide.create_run(workflow="w").run_id).lease_id)
    assert {lease.version for lease in leases} == {4}
    assert len({lease.bytes[:8] for lease in leases} | {lease.bytes[8:] for lease in leases}) == 42


def test_a_payload_that_is_refused_is_not_quoted(tide: Tide, log_in: LogIn) -> None:
    tide.connection.execute("update tide.settings set max_payload_bytes = 4096")
    client = Tide(log_in("tide_client"))
    large = {"card": SECRET, "more": "x" * 5000}
    for function, arguments in {
        "enqueue": {"workflow": "report", "input": large},
        "create_run": {"workflow": "report", "metadata": large},
        "enqueue_many": {"queue": "mails", "runs": [{"workflow": "report", "input": large}]},
        "send_event": {"run_id": tide.enqueue(workflow="a").run_id, "name": "b", "payload": large},
    }.items():
        with refused("TD040") as caught:
            client.call(function, **arguments)
        assert SECRET not in str(caught.value), caught.value


# --- upkeep ---------------------------------------------------------------------------------


def test_upkeep_by_somebody_without_any_right_on_a_table(tide: Tide, log_in: LogIn) -> None:
    run = tide.started(max_attempts=2)
    tide.connection.execute("update tide.runs_active set leased_until = now() - interval '1 hour'")
    worker = log_in("tide_worker")
    report = value(worker, "call tide.reconcile()")
    assert report["expired_leases"] == 1
    assert tide.get_run(run_id=run.run_id).status == "queued"
    for role in ("tide_client", "tide_viewer"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            log_in(role).execute("call tide.reconcile()")
