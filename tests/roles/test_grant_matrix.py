"""Every function, asked about what is in a restricted queue by a login without a grant, answers as
it does about what does not exist, changes nothing and shows nothing; a member is answered.

The functions come from the catalogue: one that is new, or has a new argument, fails here until it
is said below what to ask it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.runs.acts import DOCUMENTS, Tide, as_json, contents
from tests.support import Connection

LogIn = Callable[..., Connection]

ROLES = ("tide_client", "tide_worker", "tide_operator", "tide_viewer", "tide_approver")
QUEUE = "vault"
MARK = "4929-7777-3333-2222"
SECRET = {"card": MARK}

STATES = ("queued", "running", "waiting", "completed", "failed", "cancelled", "review")

CREATORS = {"create_run", "enqueue", "enqueue_many", "fork_run"}
"""Their ids are for what they make."""
UNCALLED = {"reconcile", "adopt", "pause", "resume", "create_key", "revoke_key", "set_price"} | {
    "set_allowance",
    "drop_allowance",
}
"""About the installation, its keys, its prices and its allowances."""


@dataclass
class Scene:
    """Runs of a restricted queue in every state, and what belongs to them."""

    runs: dict[str, UUID] = field(default_factory=dict[str, UUID])
    gates: dict[str, UUID] = field(default_factory=dict[str, UUID])
    deliveries: dict[str, UUID] = field(default_factory=dict[str, UUID])


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


@pytest.fixture
def others(connection: Connection) -> Iterator[str]:
    """A role of this server that no login of these tests is a member of."""
    name = f"{connection.info.dbname}_others"
    connection.execute(f"create role {name} nologin".encode())
    yield name
    connection.execute(f"drop role {name}".encode())


def furnish(tide: Tide, queue: str, mark: str, schedule: str = "nightly") -> Scene:
    """Runs of a queue in every state; all they carry is marked."""
    made, secret = Scene(), {"card": mark}
    for state in STATES:
        tide.enqueue(
            workflow="pay",
            queue=queue,
            input=secret,
            metadata=secret,
            channels=[{"url": f"http://example.com/{mark}"}],
            delay="1 year" if state == "queued" else None,
        )
        if state == "queued":
            (run,) = tide.list_runs(queue=queue)
            made.runs[state] = run.run_id
            continue
        (run,) = tide.claim(queues=[queue], lease="1 day")
        made.runs[state] = run.run_id
        tide.begin_step(**own(run), name="write", input=secret)
        tide.complete_step(**own(run), name="write", output=secret)
        tide.set_state(run_id=run.run_id, value=secret, lease_id=run.lease_id)
        tide.create_snapshot(run_id=run.run_id, label="half", state=secret, lease_id=run.lease_id)
        tide.record_usage(run_id=run.run_id, label=mark, metadata=secret, input_tokens=1)
        tide.append_stream(**own(run), stream="out", chunks=[mark])
        later = {"delay": "1 year"}
        tide.spawn(
            **own(run), edge="part", workflow="part", input=secret, queue=queue, options=later
        )
        gate = tide.open_gate(**own(run), name="ok", prompt=mark, data=secret)
        made.gates[state] = gate.gate_id
        match state:
            case "waiting":
                tide.await_gate(**own(run), gate_id=gate.gate_id)
            case "completed":
                tide.complete(**own(run), result=secret)
            case "failed":
                tide.fail(**own(run), error=secret, retryable=False)
            case "cancelled":
                tide.cancel(run_id=run.run_id, reason="asked for")
            case "review":
                tide.begin_step(**own(run), name="pay", contract={"replay": "manual"})
                tide.fail_step(**own(run), name="pay", error=secret)
            case _:
                pass
    tide.set_schedule(
        name=schedule, cron="@daily", workflow="pay", queue=queue, input=secret, metadata=secret
    )
    for state, run_id in made.runs.items():
        made.deliveries[state] = tide.list_deliveries(run_id=run_id)[0].delivery_id
    return made


@pytest.fixture
def scene(tide: Tide, others: str) -> Scene:
    made = furnish(tide, QUEUE, MARK)
    tide.grant_queue(queue=QUEUE, role=others)
    return made


FUNCTIONS = """
select
  p.proname as name,
  p.proargnames[:p.pronargs] as arguments,
  p.pronargs - p.pronargdefaults as required
from pg_proc as p
where p.pronamespace = 'tide'::regnamespace
  and p.proname !~ '^_'
  and p.prokind = 'f'
order by 1
"""

IDS = {
    "run_id",
    "gate_id",
    "delivery_id",
    "run_ids",
    "outcomes",
    "reports",
    "after_gate",
    "events",
} | {"gate_ids"}
PLAIN: dict[str, Any] = {
    "approved_by": None,
    "actor": "eve",
    "body": "x",
    "chunks": [1],
    "children": [{"edge": "a", "workflow": "b"}],
    "cron": "@daily",
    "decision": "approved",
    "duration": "1 minute",
    "edge": "other",
    "edges": ["part"],
    "error": {},
    "filters": {},
    "input": {},
    "kind": "complete",
    "label": "x",
    "lane": "open",
    "lease_id": UUID("11111111-1111-4111-8111-111111111111"),
    "lease_ids": [UUID("11111111-1111-4111-8111-111111111111")],
    "limits": {"max_steps": 5},
    "note": "viewed",
    "output": 1,
    "patch": {},
    "payload": {},
    "prompt": "?",
    "queue": "open",
    "queues": ["open"],
    "retention": "1 day",
    "runs": [{"workflow": "a"}],
    "role": "tide_client",
    "run_at": "2030-01-01Z",
    "secret": "a secret of some length",
    "settings": {"max_attempts": 2},
    "state": {},
    "stream": "out",
    "text": "x",
    "token": "guess",
    "token_hash": b"x" * 32,
    "value": {},
    "worker": "w1",
    "workflow": "pay",
}
"""What required arguments are given, and those that say which of several things is meant."""
NAMES = {
    "get_step": "write",
    "begin_step": "write",
    "complete_step": "write",
    "fail_step": "write",
    "resolve_step": "pay",
    "open_gate": "ok",
    "sleep": "nap",
    "send_event": "paid",
    "await_event": "paid",
    "set_webhook_secret": "mine",
    "revoke_key": "mine",
    "create_key": "mine",
}
"""Functions whose `name` is not that of a schedule."""
OPTIONAL = {"step", "stream", "lease_id"}


def asked(function: Any, about: dict[str, Any], only: set[str] | None = None) -> dict[str, Any]:
    """The arguments of a call: those required, and those that name what it is about."""
    given: dict[str, Any] = {}
    for place, argument in enumerate(function.arguments or []):
        if argument == "name" and function.name in NAMES:
            given[argument] = NAMES[function.name]
        elif argument in about and (only is None or argument in only):
            given[argument] = about[argument]
        elif place < function.required:
            assert argument in PLAIN or argument in about, (
                f"{function.name} has a new argument {argument}: say what to give it"
            )
            given[argument] = about.get(argument, PLAIN.get(argument))
    return given


def about(scene: Scene, state: str, real: bool) -> dict[str, Any]:
    """The ids of what a state of the scene has, or ids of nothing."""
    run_id = scene.runs[state] if real else uuid4()
    gate_id = scene.gates.get(state) if real else None
    lease = str(PLAIN["lease_id"])
    return {
        "run_id": run_id,
        "run_ids": [run_id],
        "gate_id": gate_id or uuid4(),
        "after_gate": gate_id or uuid4(),
        "gate_ids": [gate_id or uuid4()],
        "delivery_id": scene.deliveries[state] if real else uuid4(),
        "name": "nightly" if real else "unknown",
        "events": [{"run_id": str(run_id), "name": "paid"}],
        "outcomes": [{"run_id": str(run_id), "lease_id": lease, "result": 1}],
        "reports": [{"run_id": str(run_id), "lease_id": lease, "name": "write", "begin": True}],
    }


def answer(login: Connection, name: str, given: dict[str, Any]) -> str:
    """What a call says, as text: rows, or an error with everything it shows."""
    listed = ", ".join(f"{argument} => %s" for argument in given)
    shown = "r.accepted, r.reason" if name == "settle_and_claim" else "r::text"
    values = [
        as_json(value) if argument in DOCUMENTS or argument == "reports" else value
        for argument, value in given.items()
    ]
    try:
        with login.transaction(force_rollback=True):
            rows = login.execute(
                f"select {shown} from tide.{name}({listed}) as r".encode(), values
            ).fetchall()
            return f"rows: {[tuple(row) for row in rows]}"
    except psycopg.Error as error:
        told = error.diag
        parts = (told.message_primary, told.message_detail, told.message_hint)
        return f"{error.sqlstate}: {' | '.join(part or '' for part in parts)}"


UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIMES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+\d\d")


def bare(text: str) -> str:
    """Without ids, times and the one name, which differ by what was asked."""
    return TIMES.sub("<time>", UUIDS.sub("<id>", text)).replace("unknown", "nightly")


def grants(connection: Connection, login: Connection, *verbs: str) -> None:
    connection.execute("delete from tide.queue_grants where role not like '%_others'")
    if verbs:
        connection.execute(
            "insert into tide.queue_grants (queue, role, verbs) values (%s, %s, %s)",
            (QUEUE, login.info.user, list(verbs)),
        )


@pytest.mark.parametrize("roles", [(role,) for role in ROLES] + [ROLES], ids="+".join)
def test_what_is_not_yours_is_as_what_is_not_there(
    connection: Connection, scene: Scene, log_in: LogIn, roles: tuple[str, ...]
) -> None:
    login = log_in(*roles)
    functions = connection.execute(FUNCTIONS.encode()).fetchall()
    before = contents(connection)
    wrong: list[str] = []
    calls = 0
    for function in functions:
        if function.name in UNCALLED | CREATORS | {"set_schedule"}:
            continue
        named = IDS & set(function.arguments or [])
        if "name" in (function.arguments or []) and function.name not in NAMES:
            named.add("name")
        for state in STATES if named else STATES[:1]:
            given = asked(function, about(scene, state, real=True))
            real = answer(login, function.name, given)
            calls += 1
            if MARK in real:
                wrong.append(f"{function.name} of a {state} run shows a payload: {real[:300]}")
            if named:
                other = answer(
                    login, function.name, asked(function, about(scene, state, real=False))
                )
                if bare(real) != bare(other):
                    wrong.append(f"{function.name} of a {state} run: {real[:200]} / {other[:200]}")
    assert wrong == []
    assert calls > 150
    assert contents(connection) == before


@pytest.mark.parametrize("verbs", [("enqueue",), ("claim",), ("enqueue", "claim")], ids="+".join)
def test_a_member_is_answered(
    connection: Connection, scene: Scene, log_in: LogIn, verbs: tuple[str, ...]
) -> None:
    """With both verbs by everything; with one of them by all but what needs the other."""
    login = log_in(*ROLES)
    grants(connection, login, *verbs)
    functions = connection.execute(FUNCTIONS.encode()).fetchall()
    refusing = set[str]()
    for function in functions:
        if function.name in UNCALLED | CREATORS | {"set_schedule"}:
            continue
        named = IDS & set(function.arguments or [])
        if "name" in (function.arguments or []) and function.name not in NAMES:
            named.add("name")
        for state in STATES if named else ():
            told = answer(login, function.name, asked(function, about(scene, state, real=True)))
            # The run that waits first has no gate.
            if told.startswith("42501") and not (state == "queued" and "gate_id" in named):
                refusing.add(function.name)
    needing = {
        "enqueue": {"recover", "retry", "fire_schedule"},
        "claim": {"begin_run", "hold_run", "refuse_report", "renew_run"},
    }
    assert refusing == set().union(*(needing[verb] for verb in needing if verb not in verbs))


@pytest.mark.parametrize("name", sorted(CREATORS))
def test_an_id_that_is_taken_shows_nothing_of_what_took_it(
    connection: Connection, scene: Scene, log_in: LogIn, name: str
) -> None:
    login = log_in(*ROLES)
    before = contents(connection)
    for run_id in scene.runs.values():
        given: dict[str, Any] = {"workflow": "pay", "input": SECRET, "run_id": run_id}
        if name == "enqueue_many":
            element = {**given, "run_id": str(run_id)}
            given = {"queue": "open", "runs": [element]}
        elif name == "fork_run":
            given = {"run_id": run_id, "at_step": "write"}
        told = answer(login, name, given)
        assert told.startswith("42501"), told
        assert MARK not in told
        assert "vault" not in told
    assert contents(connection) == before


def test_a_queue_asked_by_name_is_refused_or_left_out(
    connection: Connection, scene: Scene, log_in: LogIn
) -> None:
    login = log_in(*ROLES)
    functions = connection.execute(FUNCTIONS.encode()).fetchall()
    before = contents(connection)
    told: dict[str, str] = {}
    for function in functions:
        for argument in {"queue", "queues"} & set(function.arguments or []):
            given = asked(function, about(scene, "queued", real=False))
            given[argument] = QUEUE if argument == "queue" else [QUEUE]
            given |= {"runs": [{"workflow": "a"}]} if "runs" in function.arguments else {}
            given |= {"older_than": "0"} if function.name == "prune" else {}
            given |= {"outcomes": []} if function.name == "settle_and_claim" else {}
            told[function.name] = answer(login, function.name, given)
    leaving_out = {"list_queues": "rows: []", "list_runs": "rows: []"}
    leaving_out["cancel_many"] = "rows: [('0',)]"
    for name, said in told.items():
        if name in leaving_out:
            assert said == leaving_out[name]
        elif name not in ("throughput", "spawn"):
            assert said.startswith("42501"), (name, said)
    assert len(told) > 10
    assert contents(connection) == before


def test_views_of_what_runs_carry_leave_it_out(
    connection: Connection, scene: Scene, log_in: LogIn
) -> None:
    login = log_in(*ROLES)
    views = [
        row.relname
        for row in connection.execute(
            "select c.relname from pg_class as c "
            "where c.relnamespace = 'tide'::regnamespace and c.relkind = 'v'"
        )
    ]
    assert "run_payloads" in views
    for view in views:
        # As somebody to whom it was granted, and with it all that runs carry.
        if view in ("event_log", "barred_queues"):
            continue
        connection.execute(f"grant select on tide.{view} to {login.info.user}".encode())
        rows = login.execute(f"select v::text from tide.{view} as v".encode()).fetchall()
        assert [row for row in rows if MARK in row[0]] == [], view
    grants(connection, login, "claim")
    shown = login.execute("select v::text from tide.run_payloads as v").fetchall()
    assert any(MARK in row[0] for row in shown)
