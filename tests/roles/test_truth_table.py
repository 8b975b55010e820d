"""What each role may do: written down here, and compared with the catalogue and with what happens.

A function that is granted to more or fewer roles than the table says is a change of the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.conventions.bodies import routines, views
from tests.runs.acts import Tide, refused
from tests.support import Connection, one, value
from tidebase_pg.admin.drift import ROLES

LogIn = Callable[..., Connection]

C, W, O, V, A = ROLES  # noqa: E741

MAY: dict[str, str] = {
    # function           client worker operator viewer approver
    "adopt":                         "  o  ",
    "append_stream":                 " w   ",
    "authenticate_key":             "cwova",
    "await_children":                " w   ",
    "await_event":                   " w   ",
    "await_gate":                    " w   ",
    "await_work":                    " w   ",
    "begin_run":                     " w   ",
    "begin_step":                    " w   ",
    "cancel":                        "c o  ",
    "cancel_children":               "cwo  ",
    "cancel_many":                   "  o  ",
    "claim":                         " w   ",
    "claim_deliveries":              " w   ",
    "complete":                      " w   ",
    "complete_step":                 " w   ",
    "count_runs":                  "  o  ",
    "create_key":                   "  o  ",
    "create_run":                    "cw   ",
    "create_snapshot":               " w   ",
    "decide_gate":                   "  o a",
    "describe_gate":                 "cwo a",
    "describe_run":                 "cwo  ",
    "drop_allowance":                "  o  ",
    "drop_lane":                     "  o  ",
    "drop_schedule":                 "  o  ",
    "enqueue":                       "c    ",
    "enqueue_many":                  "c    ",
    "error_groups":                "  o  ",
    "explain_wait":                  "c o  ",
    "fail":                          " w   ",
    "fail_step":                     " w   ",
    "find_deliveries":             "  ov ",
    "find_runs":                   "  ov ",
    "finish_delivery":               " w   ",
    "fire_schedule":                 "  o  ",
    "fork_run":                      "  o  ",
    "gate_tokens":                  "  o a",
    "get_gate":                      "cwo a",
    "get_run":                       "cwo  ",
    "get_state":                     "cwo  ",
    "get_step":                      "cwo  ",
    "grant_secret":                  "  o  ",
    "grant_queue":                   "  o  ",
    "heartbeat":                     " w   ",
    "hold_run":                     " w   ",
    "list_child_runs":               "cwo  ",
    "list_children":                 "cwo  ",
    "list_deliveries":               "  o  ",
    "list_endpoints":              "  ov ",
    "list_events":                   "cwo  ",
    "list_fires":                    "  o  ",
    "list_gates":                  "  o a",
    "list_keys":                    "  o  ",
    "list_queues":                 "  ov ",
    "list_runs":                     "c o  ",
    "list_schedules":                "  o  ",
    "list_setting_changes":          "  o  ",
    "list_snapshots":                "cwo  ",
    "list_streams":                  "cwo  ",
    "list_allowances":             "  ov ",
    "list_lanes":                  "  ov ",
    "list_prices":                   "  o  ",
    "list_usage":                    "cwo  ",
    "list_workers":                "  ov ",
    "next_fire":                     "c o  ",
    "next_fires":                  "  ov ",
    "next_wakeup":                   " wo  ",
    "note_gate":                     "  o a",
    "open_gate":                     " w   ",
    "outline_events":                "  ov ",
    "outline_run":                 "  ov ",
    "outline_schedules":           "  ov ",
    "overview":                    "  ov ",
    "patch_state":                   " w   ",
    "pause":                         "  o  ",
    "pause_schedule":                "  o  ",
    "prune":                         "  o  ",
    "read_stream":                   "cwo  ",
    "reconcile":                     " wo  ",
    "record_usage":                  " w   ",
    "recover":                      "c o  ",
    "redeliver":                     "  o  ",
    "redrive":                       "  o  ",
    "refuse_report":                " w   ",
    "release":                       " w   ",
    "renew_run":                    " w   ",
    "report_steps":                  " w   ",
    "reschedule":                    "  o  ",
    "resolve_gate":                  "c   a",
    "resolve_step":                  "  o  ",
    "resume":                        "  o  ",
    "resume_schedule":               "  o  ",
    "retry":                         "  o  ",
    "revoke_key":                   "  o  ",
    "revoke_lease":                  "  o  ",
    "revoke_queue":                  "  o  ",
    "run_time_buckets":            "  ov ",
    "run_times":                   "  ov ",
    "save_state":                    " w   ",
    "search_runs":                 "  o  ",
    "send_event":                    "cwo  ",
    "send_events":                   "cwo  ",
    "set_allowance":                 "  o  ",
    "set_budget":                    "  o  ",
    "set_lane":                      "  o  ",
    "set_price":                     "  o  ",
    "set_queue":                     "  o  ",
    "set_retention":                 "  o  ",
    "set_schedule":                  "  o  ",
    "set_state":                     " w   ",
    "set_webhook_secret":            "  o  ",
    "settle":                        " w   ",
    "settle_and_claim":              " w   ",
    "sign":                          "     ",
    "sleep":                         " w   ",
    "spawn":                         " w   ",
    "spawn_many":                    " w   ",
    "state_versions":                "cwo  ",
    "store_channel_secret":         "  o  ",
    "throttle":                      " wo  ",
    "throughput":                  "  ov ",
    "version":                       "cwova",
    "watch_run":                     "c o  ",
}  # fmt: skip

INNER: dict[str, str] = {
    # What a view calls as whoever reads it, and what the procedure reconcile calls as its caller.
    "_metrics":                      "  ov ",
    "_now":                          "  ov ",
    "_sweep":                        " wo  ",
    "_sweeps":                       " wo  ",
    "_valid_integer":                " wo  ",
    "_valid_interval":               " wo  ",
}  # fmt: skip

SEE: dict[str, str] = {
    "barred_queues":                 "     ",
    "delivery_overview":             "  ov ",
    "event_log":                     "     ",
    "event_overview":                "  ov ",
    "event_payloads":                "     ",
    "gate_overview":                 "  ov ",
    "health":                        "  ov ",
    "lane_stats":                    "  ov ",
    "metrics":                       "  ov ",
    "pending_gates":                 "  o a",
    "queue_stats":                   "  ov ",
    "run_overview":                  "  ov ",
    "run_payloads":                  "     ",
    "schedule_overview":             "  ov ",
    "step_overview":                 "  ov ",
    "step_payloads":                 "     ",
    "usage_by_day":                  "  ov ",
    "usage_by_run":                  "  ov ",
    "usage_by_workflow":             "  ov ",
}  # fmt: skip

LETTERS = {"c": C, "w": W, "o": O, "v": V, "a": A}


def roles(letters: str) -> set[str]:
    return {LETTERS[letter] for letter in letters.strip() if letter != " "}


def of(role: str, table: dict[str, str]) -> set[str]:
    return {name for name, letters in table.items() if role in roles(letters)}


def test_the_table_has_every_public_function_and_every_view() -> None:
    assert MAY.keys() == {routine.name for routine in routines() if routine.public}
    assert SEE.keys() == {path.stem for path in views()}


@pytest.mark.parametrize("role", ROLES)
def test_the_catalogue_says_what_the_table_says(connection: Connection, role: str) -> None:
    granted = {
        row.proname
        for row in connection.execute(
            """
            select p.proname
            from pg_proc as p
            where p.pronamespace = 'tide'::regnamespace
              and has_function_privilege(%s, p.oid, 'execute')
            """,
            (role,),
        )
    }
    assert granted == of(role, MAY) | of(role, INNER)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_any_right_on_a_table_or_sequence(connection: Connection, role: str) -> None:
    found = connection.execute(
        """
        select c.relname, p.privilege
        from pg_class as c
        cross join unnest(
          '{select,insert,update,delete,truncate,references,trigger}'::text[]
        ) as p(privilege)
        where c.relnamespace = 'tide'::regnamespace
          and c.relkind in ('r', 'p', 'v', 'm')
          and has_table_privilege(%(role)s, c.oid, p.privilege)
          and not (c.relkind = 'v' and p.privilege = 'select')
        union all
        select c.relname, 'some column'
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and c.relkind in ('r', 'p')
          and has_any_column_privilege(%(role)s, c.oid, 'select, insert, update, references')
        union all
        select c.relname, 'sequence'
        from pg_class as c
        where c.relnamespace = 'tide'::regnamespace
          and case c.relkind
            when 'S' then has_sequence_privilege(%(role)s, c.oid, 'usage, select, update')
          end
        """,
        {"role": role},
    ).fetchall()
    assert found == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_uses_the_schema_and_makes_nothing_in_it(connection: Connection, role: str) -> None:
    assert value(connection, "select has_schema_privilege(%s, 'tide', 'usage')", role)
    assert not value(connection, "select has_schema_privilege(%s, 'tide', 'create')", role)


def test_roles_are_bare_groups(connection: Connection) -> None:
    """Nobody logs in as one, none is in another, none can do anything else on the server."""
    for row in connection.execute(
        "select r.* from pg_roles as r where r.rolname = any (%s)", (list(ROLES),)
    ):
        powers = (row.rolcanlogin, row.rolsuper, row.rolcreaterole, row.rolcreatedb)
        assert powers == (False,) * 4, row.rolname
        assert (row.rolreplication, row.rolbypassrls) == (False, False), row.rolname
    assert (
        connection.execute(
            """
            select
            from pg_auth_members as m
            where m.member in (select r.oid from pg_roles as r where r.rolname = any (%s))
            """,
            (list(ROLES),),
        ).fetchall()
        == []
    )


CALLS = """
select
  p.proname,
  format(
    '%s tide.%I(%s)',
    case p.prokind when 'p' then 'call' else 'select * from' end,
    p.proname,
    (
      select string_agg(
        format('null::%s', replace(format_type(t.type, null), 'anyelement', 'text')),
        ', ' order by t.position
      )
      from unnest(p.proargtypes) with ordinality as t(type, position)
    )
  ) as call
from pg_proc as p
where p.pronamespace = 'tide'::regnamespace
  and p.prorettype <> 'trigger'::regtype
  -- A strict function is not called with nulls at all, by anybody.
  and not (p.proisstrict and p.proname ~ '^_')
"""


@pytest.mark.parametrize("role", [*ROLES, None])
def test_every_function_answers_or_refuses_as_the_table_says(
    connection: Connection, log_in: LogIn, role: str | None
) -> None:
    """Called with nothing but nulls: whoever may call gets an answer or is told what is wrong."""
    login = log_in(*([role] if role else []))
    calls = connection.execute(CALLS.encode()).fetchall()
    assert len(calls) > len(MAY)
    allowed = of(role, MAY) | of(role, INNER) if role else set[str]()
    wrong: list[str] = []
    for name, call in calls:
        try:
            with login.transaction(force_rollback=True):
                login.execute(call)
            may = True
        except psycopg.Error as error:
            may = error.sqlstate != "42501"
            if not may and name in allowed:
                wrong.append(f"{name}: {error}")
        if may != (name in allowed):
            wrong.append(f"{name} is {'open' if may else 'closed'} to {role}")
    assert wrong == []


@pytest.mark.parametrize("role", [*ROLES, None])
def test_every_relation_answers_or_refuses_as_the_table_says(
    connection: Connection, tide: Tide, log_in: LogIn, role: str | None
) -> None:
    tide.finished()
    login = log_in(*([role] if role else []))
    relations = [
        row.relname
        for row in connection.execute(
            "select c.relname from pg_class as c "
            "where c.relnamespace = 'tide'::regnamespace and c.relkind in ('r', 'p', 'v')"
        )
    ]
    seen = set[str]()
    for name in relations:
        try:
            login.execute(f"select * from tide.{name}".encode())
            seen.add(name)
        except psycopg.errors.InsufficientPrivilege:
            pass
        for write in ("delete from tide.{}", "truncate tide.{}", "lock table tide.{}"):
            with pytest.raises(psycopg.Error) as refused:
                with login.transaction():
                    login.execute(write.format(name).encode())
            assert refused.value.sqlstate in ("42501", "42809", "55000"), (name, refused.value)
    assert seen == (of(role, SEE) if role else set())


# --- each at its work -----------------------------------------------------------------------


def test_a_client_does_its_work(tide: Tide, log_in: LogIn) -> None:
    client = Tide(log_in(C))
    client.enqueue_many(queue="mails", runs=[{"workflow": "mail"}])
    plain = client.create_run(workflow="report", input={"page": 1})
    run_id = client.enqueue(workflow="report", dedupe_key="a").run_id
    assert client.get_run(run_id=run_id).status == "queued"
    assert len(client.list_runs()) == 3
    assert client.explain_wait(run_id=run_id)
    assert client.describe_run(run_id=plain.run_id)["run"]["workflow"] == "report"
    assert [event.type for event in client.list_events(run_id=run_id)] == ["run.enqueued"]
    (run,) = tide.claim(queues=["default"])
    gate = tide.open_gate(run_id=run_id, lease_id=run.lease_id, name="ok", prompt="May I?")
    assert (
        client.resolve_gate(gate_id=gate.gate_id, token=gate.token, decision="approved").status
        == "approved"
    )
    assert client.send_event(run_id=run_id, name="paid")
    assert client.cancel(run_id=run_id).status == "cancelled"
    assert client.cancel_children(run_id=run_id) == 0


def test_a_worker_does_its_work(tide: Tide, log_in: LogIn) -> None:
    worker = Tide(log_in(W))
    tide.set_queue(queue="default", settings={"concurrency": 3, "rate_limit": 9})
    ids = [tide.enqueue(workflow="report").run_id for _ in range(3)]
    first, second, third = worker.claim(max_runs=3, worker="w1")
    assert [first.run_id, second.run_id, third.run_id] == ids
    held = {"run_id": first.run_id, "lease_id": first.lease_id}
    assert worker.begin_step(**held, name="write").action == "execute"
    worker.complete_step(**held, name="write", output=1)
    worker.begin_step(**held, name="send")
    worker.fail_step(**held, name="send", error={"message": "no"}, retryable=True)
    worker.set_state(run_id=first.run_id, value={"a": 1}, lease_id=first.lease_id)
    worker.patch_state(run_id=first.run_id, patch={"b": 2}, lease_id=first.lease_id)
    worker.save_state(run_id=first.run_id, label="half")
    worker.record_usage(run_id=first.run_id, input_tokens=3)
    gate = worker.open_gate(**held, name="ok", prompt="May I?")
    (child,) = worker.spawn_many(**held, children=[{"edge": "part", "workflow": "part"}])
    assert child.created
    assert worker.heartbeat(run_ids=[first.run_id], lease_ids=[first.lease_id])[0].state == "held"
    assert worker.await_gate(**held, gate_id=gate.gate_id).parked
    worker.settle(outcomes=[{"run_id": str(second.run_id), "lease_id": str(second.lease_id)}])
    worker.fail(run_id=third.run_id, lease_id=third.lease_id)
    assert worker.settle_and_claim(outcomes=[], max_runs=1) == []
    assert worker.await_work(worker="w1", duration="1 second") is not None
    assert worker.claim_deliveries() == []
    report = value(worker.connection, "call tide.reconcile()")
    assert "overdue" in report


def test_an_operator_does_their_work(tide: Tide, log_in: LogIn) -> None:
    operator = Tide(log_in(O))
    operator.set_queue(queue="default", settings={"concurrency": 3})
    operator.set_schedule(name="nightly", cron="0 3 * * *", workflow="report", queue="nights")
    operator.pause_schedule(name="nightly")
    operator.resume_schedule(name="nightly")
    fired = operator.fire_schedule(name="nightly")
    assert operator.reschedule(run_id=fired.run_id, run_at="2030-01-01Z").status == "queued"
    assert operator.cancel_many(queue="nights", max_runs=10) == 1
    assert operator.retry(run_id=fired.run_id).status == "queued"
    operator.set_budget(run_id=fired.run_id, limits={"max_steps": 3})
    run = tide.started()
    gate = tide.open_gate(run_id=run.run_id, lease_id=run.lease_id, name="ok", prompt="May I?")
    rows = operator.connection.execute("select * from tide.pending_gates").fetchall()
    assert [row.gate_id for row in rows] == [gate.gate_id]
    operator.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann")
    operator.set_webhook_secret(name="default", secret="w" * 32)
    operator.set_retention(retention="90 days")
    assert operator.prune() == 0
    operator.pause(reason="maintenance")
    operator.resume()
    assert operator.list_deliveries() == []
    assert len(operator.list_fires(name="nightly")) == 1
    assert operator.drop_schedule(name="nightly")
    assert "overdue" in value(operator.connection, "call tide.reconcile()")


def test_a_viewer_sees_how_it_goes_and_nothing_that_runs_carry(tide: Tide, log_in: LogIn) -> None:
    secret = "4111-1111-1111-1111"
    run = tide.started(
        input={"card": secret}, metadata={"card": secret}, dedupe_key=secret,
        channels=[{"url": f"http://example.com/{secret}"}],
    )  # fmt: skip
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**held, name="pay")
    tide.complete_step(**held, name="pay", output={"card": secret})
    tide.open_gate(**held, name="ok", prompt=secret, data={"card": secret})
    tide.set_schedule(name="nightly", cron="0 3 * * *", workflow="pay", input={"card": secret})
    tide.complete(**held, result={"card": secret})
    failed = tide.started()
    tide.fail(run_id=failed.run_id, lease_id=failed.lease_id, error={"card": secret})
    viewer = log_in(V)
    seen = 0
    for name in sorted(of(V, SEE)):
        for row in viewer.execute(
            f"select to_jsonb(v)::text as all from tide.{name} as v".encode()
        ):
            seen += 1
            assert secret not in row.all, name
            assert str(run.lease_id) not in row.all, name
    assert seen > 20


def test_a_viewer_sees_names_and_reasons(tide: Tide, log_in: LogIn) -> None:
    """What people write there is seen by all who look; the page says so."""
    tide.enqueue(workflow="a-workflow")
    (run,) = tide.claim(worker="a-worker")
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="a-step")
    viewer = log_in(V)
    shown = str(viewer.execute("select worker, workflow from tide.run_overview").fetchall())
    shown += str(viewer.execute("select name from tide.step_overview").fetchall())
    tide.cancel(run_id=run.run_id, reason="a-reason")
    shown += str(viewer.execute("select cancel_reason from tide.run_overview").fetchall())
    for word in ("a-worker", "a-workflow", "a-step", "a-reason"):
        assert word in shown, word


def test_an_approver_reads_what_gates_ask_and_decides(tide: Tide, log_in: LogIn) -> None:
    run = tide.started()
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    gates = [tide.open_gate(**held, name=name, prompt="May I?", data={"n": 1}) for name in "abc"]
    approver = Tide(log_in("tide_approver"))
    pending = approver.connection.execute("select prompt, data from tide.pending_gates").fetchall()
    assert [tuple(row) for row in pending] == [("May I?", {"n": 1})] * 3
    assert len(approver.list_gates()) == 3
    shown = approver.describe_gate(gate_id=gates[0].gate_id)
    assert shown["prompt"] == approver.get_gate(gate_id=gates[0].gate_id).prompt == "May I?"
    own = approver.connection.info.user
    approver.note_gate(gate_id=gates[0].gate_id, note="viewed", actor=own)
    decided = approver.decide_gate(gate_id=gates[0].gate_id, decision="approved", actor=own)
    assert (decided.status, decided.actor) == ("approved", own)
    (shown,) = approver.gate_tokens(gate_ids=[gates[1].gate_id])
    approver.resolve_gate(gate_id=gates[1].gate_id, token=shown.token, decision="rejected")
    assert tide.get_gate(gate_id=gates[1].gate_id).status == "rejected"
    with refused("42501"):
        approver.get_run(run_id=run.run_id)


# --- what is no wall ------------------------------------------------------------------------


def test_workers_of_one_queue_do_the_work_of_each_other(tide: Tide, log_in: LogIn) -> None:
    one, other = (Tide(log_in("tide_worker")) for _ in range(2))
    run_id = tide.enqueue(
        workflow="w", input={"of": "one"}, channels=[{"url": "http://example.com"}]
    ).run_id
    (run,) = one.claim()
    one.release(run_id=run_id, lease_id=run.lease_id)
    (run,) = other.claim()
    assert (run.run_id, run.input) == (run_id, {"of": "one"})
    assert {delivery.run_id for delivery in other.claim_deliveries()} == {run_id}


def test_the_owner_reads_what_no_role_does(tide: Tide, log_in: LogIn) -> None:
    tide.set_webhook_secret(name="default", secret="a-secret-of-some-length")
    owner = value(
        tide.connection,
        "select pg_get_userbyid(n.nspowner) from pg_namespace as n where n.nspname = 'tide'",
    )
    read = "select secret from tide.webhook_secrets"
    tide.connection.execute(f"set role {owner}")
    assert value(tide.connection, read) == "a-secret-of-some-length"
    tide.connection.execute("reset role")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        log_in(*ROLES).execute(read)


def test_payloads_are_a_grant_of_their_own(
    tide: Tide, connection: Connection, log_in: LogIn
) -> None:
    run = tide.started(input={"page": 1})
    analyst = log_in(V)
    query = "select input from tide.run_payloads where run_id = %s"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        one(analyst, query, run.run_id)
    connection.execute(f'grant select on tide.run_payloads to "{analyst.info.user}"'.encode())
    assert one(analyst, query, run.run_id).input == {"page": 1}
    for other in ("step_payloads", "event_payloads", "runs"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute(f"select from tide.{other}".encode())


def test_who_may_read_payloads_of_events_may_read_told_ones(
    tide: Tide, connection: Connection, log_in: LogIn
) -> None:
    run = tide.finished()
    analyst = log_in(V)
    connection.execute(f'grant select on tide.event_payloads to "{analyst.info.user}"'.encode())
    query = "select count(e.payload) as payloads from tide.event_payloads as e where e.run_id = %s"
    assert one(analyst, query, run.run_id).payloads == 3


def test_no_view_shows_a_lease_a_token_or_a_secret(connection: Connection) -> None:
    columns = connection.execute(
        """
        select c.relname || '.' || a.attname as name
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'tide'::regnamespace
          and c.relkind = 'v'
          and a.attname ~ 'lease_id|token|secret|hash|url'
          and a.attname !~ '_tokens$'
        """
    ).fetchall()
    assert columns == []


def leaves(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [leaf for part in document.values() for leaf in leaves(part)]
    if isinstance(document, list | tuple):
        return [leaf for part in document for leaf in leaves(part)]
    return [str(document)]


def test_no_answer_to_a_client_or_operator_has_a_lease_or_a_token(
    tide: Tide, log_in: LogIn
) -> None:
    """Whoever holds a lease may end the run: only claim and begin_run tell it."""
    run = tide.started(channels=[{"url": "http://example.com"}], dedupe_key="k")
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**held, name="a")
    gate = tide.open_gate(**held, name="ok", prompt="?", channels=[{"url": "http://example.com"}])
    secrets = {str(run.lease_id), gate.token}
    answers: list[Any] = []
    for role in (C, O):
        user = Tide(log_in(role))
        answers += [
            user.get_run(run_id=run.run_id),
            *user.list_runs(),
            user.describe_run(run_id=run.run_id),
            user.explain_wait(run_id=run.run_id),
            *user.list_events(run_id=run.run_id),
            user.get_gate(gate_id=gate.gate_id),
            user.send_event(run_id=run.run_id, name="paid"),
        ]
    client, operator = Tide(log_in(C)), Tide(log_in(O))
    answers += [
        client.enqueue(workflow="report", dedupe_key="k"),
        *operator.list_deliveries(),
        operator.set_budget(run_id=run.run_id, limits={"max_steps": 9}),
        operator.decide_gate(gate_id=gate.gate_id, decision="approved", actor="ann"),
        *operator.connection.execute("select * from tide.pending_gates").fetchall(),
        operator.cancel(run_id=run.run_id),
        operator.retry(run_id=run.run_id),
    ]
    for answer in answers:
        assert not secrets & set(leaves(answer)), answer
        assert not any(secret in leaf for secret in secrets for leaf in leaves(answer)), answer


def test_no_table_has_row_level_security(connection: Connection) -> None:
    """It would not bind who calls the functions, and so promise what it does not keep."""
    rows = connection.execute(
        "select c.oid::regclass::text as name from pg_class as c "
        "where c.relnamespace = 'tide'::regnamespace and c.relrowsecurity"
    ).fetchall()
    assert rows == []
