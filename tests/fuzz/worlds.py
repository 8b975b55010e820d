"""A database with something in every state, and values worth trying for every argument."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.support import Connection, value

PUBLIC = """
select p.proname, p.prokind, coalesce(p.proargnames[1:p.pronargs], '{}') as names,
  array(select format_type(t, null) from unnest(p.proargtypes) with ordinality as a(t, n) order by n)
    as types,
  p.pronargs - p.pronargdefaults as required
from pg_proc as p
where p.pronamespace = 'tide'::regnamespace and p.proname not like '\\_%' and p.prorettype <> 'trigger'::regtype
order by p.proname
"""

# Written as SQL literals: what they are cast to is the argument's type.
EDGES: dict[str, list[str]] = {
    "text": [
        "''", "'a'", "' '", "'report'", "'reports'", "repeat('x', 5000)", "'é‮\U0001f30a'", r"E'\\'",
        "'%s'", "'{\"a\": 1}'", "'; drop schema tide cascade; --'", "E'two\\nlines'", "'a/b.c:d_e-f'",
    ],
    "integer": ["0", "1", "-1", "2", "100", "2147483647", "-2147483648"],
    "bigint": ["0", "1", "-1", "1000", "9223372036854775807", "-9223372036854775808"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    "interval": [
        "'0'", "'1 second'", "'1 minute'", "'-1 day'", "'1000 years'", "'178000000 years'",
        "'-178000000 years'", "'1 month -30 days'", "'0.000001 seconds'", "'infinity'", "'-infinity'",
    ],
    "timestamp with time zone": [
        "'infinity'", "'-infinity'", "'4713-01-01 00:00 BC'", "'294276-12-31 23:59+00'", "now()",
        "'1970-01-01 00:00+00'", "now() + interval '1 day'", "now() - interval '1 year'",
    ],
    "jsonb": [
        "'null'", "'{}'", "'[]'", "'\"text\"'", "'0'", "'-1'", "'true'", "'1e400'", "'[null]'", "'[[]]'",
        "'{\"\": null}'", "'{\"unknown\": 1}'", "'[{}]'", "'[{\"run_id\": \"x\"}]'", "'[1, \"a\", null]'",
        "(repeat('[', 101) || repeat(']', 101))::jsonb", "to_jsonb(repeat('x', 2000000))",
        "('{\"n\": ' || repeat('9', 500) || '}')::jsonb",
    ],
    "boolean": ["true", "false"],
    "numeric": ["0", "-1", "'NaN'", "'Infinity'", "1e131000", "1e-16000", "0.01"],
    "double precision": ["0", "-1", "'NaN'", "'Infinity'", "1e308"],
    "bytea": ["''", "'\\x00'", "decode(repeat('ff', 3000), 'hex')"],
    "text[]": ["'{}'", "'{null}'", "'{a}'", "'{reports,reports}'", "'{{a,b},{c,d}}'", "array_fill('q'::text, array[2000])"],
    "uuid[]": ["'{}'", "'{null}'", "array_fill(gen_random_uuid(), array[20])", "'{{00000000-0000-0000-0000-000000000000}}'"],
    "integer[]": ["'{}'", "'{null}'", "'{0,-1}'"],
}  # fmt: skip


@dataclass(frozen=True)
class Function:
    """A public function as the catalogue has it."""

    name: str
    kind: str
    names: list[str]
    types: list[str]
    required: int


@dataclass
class World:
    """What there is: for each argument name, values that mean something."""

    known: dict[str, list[str]] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, *values: str) -> None:
        self.known.setdefault(name, []).extend(values)


def functions(connection: Connection) -> list[Function]:
    return [Function(*row) for row in connection.execute(PUBLIC.encode()).fetchall()]


def literal(given: Any) -> str:
    return "'" + str(given).replace("'", "''") + "'"


def fill(connection: Connection) -> World:
    """Runs in every state, with steps, gates, children, state, usage, webhooks and a schedule."""

    def ask(query: str, *arguments: Any) -> Any:
        return connection.execute(query.encode(), arguments or None).fetchone()

    world = World()

    def started(queue: str = "reports", **_: Any) -> tuple[str, str]:
        ask("select * from tide.enqueue('report', queue => %s, max_attempts => 3)", queue)
        row = ask("select run_id, lease_id from tide.claim(array[%s::text], worker => 'w')", queue)
        return str(row.run_id), str(row.lease_id)

    run, lease = started()
    ask("select * from tide.begin_step(%s, %s, 'open')", run, lease)
    ask("select * from tide.begin_step(%s, %s, 'done')", run, lease)
    ask("select tide.complete_step(%s, %s, 'done', '1')", run, lease)
    ask("select tide.set_state(%s, '{\"a\": 1}')", run)
    ask("select tide.record_usage(%s, kind => 'llm', cost_usd => 0.1)", run)
    gate = ask("select gate_id, token from tide.open_gate(%s, %s, 'ask', 'Shall we?')", run, lease)
    world.leases[run] = lease
    parent, parent_lease = started()
    child = ask(
        "select child_id from tide.spawn(%s, %s, 'edge', 'report', queue => 'sub')",
        parent,
        parent_lease,
    )
    world.leases[parent] = parent_lease
    parked, parked_lease = started()
    parked_gate = ask(
        "select gate_id, token from tide.open_gate(%s, %s, 'ask', 'Shall we?')",
        parked,
        parked_lease,
    )
    ask("select * from tide.await_gate(%s, %s, %s)", parked, parked_lease, parked_gate.gate_id)
    ended, ended_lease = started()
    ask("select tide.complete(%s, %s, '{\"a\": 1}')", ended, ended_lease)
    world.leases[ended] = ended_lease
    failed, failed_lease = started()
    ask("select tide.fail(%s, %s, '{}', false)", failed, failed_lease)
    cancelled = ask(
        "select run_id from tide.enqueue('report', queue => 'reports', delay => '1 day')"
    ).run_id
    ask("select tide.cancel(%s)", cancelled)
    queued = ask(
        "select run_id from tide.enqueue('report', queue => 'later', dedupe_key => 'k')"
    ).run_id
    plain = ask("select run_id from tide.create_run('import', max_attempts => 2)").run_id
    ask("select tide.set_queue('reports', '{\"concurrency\": 50, \"rate_limit\": 500}')")
    ask("select tide.set_schedule('nightly', '0 2 * * *', 'report')")
    ask("select tide.set_webhook_secret('default', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD')")
    run_ids = [
        run,
        parent,
        str(child.child_id),
        parked,
        ended,
        failed,
        *map(str, (cancelled, queued, plain)),
    ]
    world.add("run_id", *map(literal, run_ids))
    world.add("lease_id", *map(literal, world.leases.values()))
    world.add("gate_id", *(literal(one.gate_id) for one in (gate, parked_gate)))
    world.add("token", *(literal(one.token) for one in (gate, parked_gate)))
    for name, values in {
        "queue": ["reports", "sub", "later", "default"],
        "workflow": ["report", "import"],
        "name": ["open", "done", "ask", "nightly", "default"],
        "edge": ["edge", "other"],
        "decision": ["approved", "rejected", "canceled", "retry", "use_output", "fail"],
        "mode": ["all", "any", "fail_fast", "resume", "skip_missed", "quarantine"],
        "status": ["queued", "running", "failed", "pending"],
        "cron": ["* * * * *", "0 9 * * mon-fri", "@daily", "61 * * * *"],
        "time_zone": ["UTC", "Europe/Berlin", "Mars/Base"],
        "role": ["tide_worker", "tide_client", "nobody_at_all"],
        "on_conflict": ["return", "replace", "raise"],
        "importance": ["normal", "milestone", "loud"],
        "stream": ["run", "out"],
        "at_step": ["done", "open"],
        "worker": ["w", "another"],
    }.items():
        world.add(name, *map(literal, values))
    for name, values in {
        "settings": [
            '{"concurrency": 3}',
            '{"rate_limit": 10, "rate_period": "1 minute"}',
            '{"concurrency": -1}',
            '{"paused": true}',
            '{"paused": null}',
        ],
        "budget": ['{"max_steps": 3}', '{"max_cost_usd": "a"}'],
        "limits": ['{"max_tokens": 100}'],
        "backoff": ['{"base": 1}', '{"base": "infinity"}', '{"jitter": 2}'],
        "channels": [
            '[{"url": "https://example.com/x"}]',
            '[{"url": "file:///etc/passwd"}]',
            '[{"type": "fax"}]',
        ],
        "contract": [
            '{"side_effects": ["mail"]}',
            '{"replay": "never"}',
            '{"timeout": "1 hour"}',
            '{"timeout": -1}',
        ],
        "outcomes": [
            f'[{{"run_id": "{run}", "lease_id": "{lease}", "result": 1}}]',
            f'[{{"run_id": "{run}", "lease_id": "{lease}", "error": {{}}, "retryable": true, "retry_after": "1 day"}}]',
            f'[{{"run_id": "{run}", "lease_id": "{lease}", "release": true, "delay": "900000 years"}}]',
            f'[{{"run_id": "{run}"}}]',
            f'[{{"run_id": "{run}", "lease_id": null, "result": null}}]',
        ],
        "reports": [
            f'[{{"run_id": "{run}", "lease_id": "{lease}", "name": "fresh", "begin": true, "complete": true, "output": 1}}]',
            f'[{{"run_id": "{run}", "lease_id": "{lease}", "name": "open", "begin": true, "age": -1}}]',
            f'[{{"run_id": "{run}", "lease_id": "{lease}", "name": "", "begin": "yes"}}]',
        ],
        "runs": [
            '[{"workflow": "report"}]',
            '[{"workflow": "report", "dedupe_key": "k"}, {"workflow": "report", "priority": 99999999999}]',
            '[{"workflow": 1}]',
        ],
        "children": [
            '[{"edge": "a", "workflow": "report"}]',
            '[{"edge": "a"}]',
            '[{"edge": "edge", "workflow": "report", "queue": null}]',
        ],
        "overrides": ['{"done": 2}', '{"none": 2}'],
        "options": [
            '{"detached": true}',
            '{"delay": "1 day", "deadline": "1 hour"}',
            '{"priority": "high"}',
        ],
        "verbs": [],
        "target": ['{"type": "run", "id": "x"}', '{"type": 1}'],
    }.items():
        world.add(name, *map(literal, values))
    assert value(connection, "select count(*) >= 9 from tide.list_runs()")
    return world


def arguments(function: Function, world: World, chance: random.Random) -> list[tuple[str, str]]:
    """Names and literals of one call: mostly things that exist, sometimes edges, sometimes null."""
    given: list[tuple[str, str]] = []
    run: str | None = None
    for place, (name, kind) in enumerate(zip(function.names, function.types, strict=True)):
        optional = place >= function.required
        if optional and chance.random() < 0.6:
            continue
        edges = EDGES.get(kind, [])
        known = [] if (name, kind) == ("budget", "interval") else world.known.get(name, [])
        draw = chance.random()
        if draw < 0.06 or not (edges or known):
            text = "null"
        elif known and draw < 0.75:
            text = chance.choice(known)
        else:
            text = chance.choice(edges or known)
        if name == "run_id":
            run = text.strip("'")
        if name == "lease_id" and run in world.leases and chance.random() < 0.8:
            text = literal(world.leases[run])
        if kind.endswith("[]") and name in ("run_ids", "lease_ids") and chance.random() < 0.7:
            pool = list(world.leases.items())
            text = "array[" + ", ".join(literal(pair[name == "lease_ids"]) for pair in pool) + "]"
        given.append(
            (name, f"({text})::{kind}" if not text.startswith("array[") else f"{text}::{kind}")
        )
    return given
