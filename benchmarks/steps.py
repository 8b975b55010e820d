"""What is measured, one round at a time: hand-written SQL (`raw_…`) and Tidebase (`tide_…`).

Each function connects and returns a step; it runs in a process of the crew.
"""

from __future__ import annotations

import json
from typing import Any, Final

from benchmarks.crew import Step
from benchmarks.stage import connect

QUEUE: Final = "bench"
LEASE: Final = "60 seconds"

RAW_CLAIM: Final = """
update q set state = 1
where id in (
  select id from q where state = 0 and run_at <= now() order by id
  for update skip locked limit %s
)
returning id, payload
"""
RAW_FINISH: Final = {
    "delete": "delete from q where id = any(%s)",
    "update": "update q set state = 2 where id = any(%s)",
}
"""The smallest thing that can be done with a finished job, and keeping its row."""

# What stays the same from call to call is written into the statement, as one would by hand.
ENQUEUE: Final = f"select tide.enqueue('noop', input => %s, queue => '{QUEUE}')"
CLAIM: Final = """
select c.run_id::text, c.lease_id::text, c.input::text
from tide.claim(%s, max_runs => %s, lease => %s, worker => %s) as c
"""
SETTLE: Final = "select s.run_id::text, s.accepted from tide.settle(%s) as s"
SETTLE_AND_CLAIM: Final = """
select s.accepted, s.run_id::text, s.lease_id::text, s.input::text
from tide.settle_and_claim(
  %s, '{{{queue}}}', max_runs => {many}, lease => '60 seconds', worker => '{worker}'
) as s
"""


def outcomes(runs: list[Any]) -> str:
    """What claimed (run_id, lease_id, …) are settled with: each completed without a result."""
    return json.dumps([{"run_id": run[0], "lease_id": run[1]} for run in runs])


def raw_insert(dsn: str, payload: str = '{"i": 1}') -> Step:
    connection = connect(dsn)

    def step() -> int:
        connection.execute("insert into q (payload) values (%s)", (payload,))
        return 1

    return step


def tide_enqueue(dsn: str, payload: str = '{"i": 1}') -> Step:
    connection = connect(dsn)

    def step() -> int:
        connection.execute(ENQUEUE.encode(), (payload,))
        return 1

    return step


def raw_copy(dsn: str, many: int) -> Step:
    """The fastest way in that there is."""
    connection = connect(dsn)

    def step() -> int:
        lines = "".join(f'{{"i": {i}}}\n' for i in range(many))
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy("copy q (payload) from stdin") as copy:
                copy.write(lines)
        return many

    return step


def raw_insert_many(dsn: str, many: int, payload: str | None = None) -> Step:
    """One insert of many rows whose ids come back, as those of enqueue_many do."""
    connection = connect(dsn)
    given = None if payload is None else json.loads(payload)

    def step() -> int:
        payloads = json.dumps([{"i": i} if given is None else given for i in range(many)])
        rows = connection.execute(
            "insert into q (payload) select * from jsonb_array_elements(%s) returning id",
            (payloads,),
        ).fetchall()
        return len(rows)

    return step


def tide_enqueue_many(dsn: str, many: int, payload: str | None = None) -> Step:
    connection = connect(dsn)
    given = None if payload is None else json.loads(payload)

    def step() -> int:
        inputs = [{"i": i} if given is None else given for i in range(many)]
        runs = json.dumps([{"workflow": "noop", "input": each} for each in inputs])
        rows = connection.execute(
            "select e.run_id::text from tide.enqueue_many(%s, %s) as e", (QUEUE, runs)
        ).fetchall()
        return len(rows)

    return step


def raw_drain(dsn: str, many: int = 1, finish: str = "delete", prepare: bool = True) -> Step:
    connection = connect(dsn, prepare=prepare)

    def step() -> int:
        rows = connection.execute(RAW_CLAIM, (many,)).fetchall()
        if rows:
            connection.execute(RAW_FINISH[finish].encode(), ([row[0] for row in rows],))
        return len(rows)

    return step


def tide_drain(dsn: str, many: int = 1, queue: str = QUEUE) -> Step:
    """Claim, then settle: two transactions, as the hand-written SQL has."""
    connection = connect(dsn)
    worker = f"process {connection.info.backend_pid}"

    def step() -> int:
        runs = connection.execute(CLAIM, ([queue], many, LEASE, worker)).fetchall()
        if runs:
            connection.execute(SETTLE, (outcomes(runs),)).fetchall()
        return len(runs)

    return step


def tide_fused(dsn: str, many: int = 1, queue: str = QUEUE, prepare: bool = True) -> Step:
    """Settle and claim in one transaction, as the worker does."""
    connection = connect(dsn, prepare=prepare)
    worker = f"process {connection.info.backend_pid}"
    statement = SETTLE_AND_CLAIM.format(queue=queue, many=many, worker=worker).encode()
    held: list[Any] = []

    def step() -> int:
        nonlocal held
        rows = connection.execute(statement, (outcomes(held),)).fetchall()
        held = [row[1:] for row in rows if row[0] is None]
        return len(held)

    return step


def raw_spend(dsn: str) -> Step:
    """A call that reserves and settles in one row, the least that keeps to a limit."""
    connection = connect(dsn)

    def step() -> int:
        reserved = connection.execute(
            "update spendable set reserved = reserved + 10 "
            "where spent + reserved + 10 <= amount returning 1"
        ).fetchall()
        connection.execute("update spendable set reserved = reserved - 10, spent = spent + 7")
        return len(reserved)

    return step


def tide_spend(dsn: str) -> Step:
    """A step of a run in an allowance: it reserves ten tokens and uses seven."""
    connection = connect(dsn)
    connection.execute(
        "select from tide.enqueue('spends', queue => 'spending', "
        """budget => '{"allowances": ["house"]}')"""
    )
    ((run_id, lease_id),) = connection.execute(
        "select c.run_id, c.lease_id from tide.claim('{spending}', lease => '1 hour') as c"
    ).fetchall()
    number = 0

    def step() -> int:
        nonlocal number
        number += 1
        held = (run_id, lease_id, f"call {number}")
        begun = connection.execute(
            "select b.action from tide.begin_step(%s, %s, %s, "
            """estimate => '{"tokens": 10}') as b""",
            held,
        ).fetchall()
        connection.execute(
            """select from tide.complete_step(%s, %s, %s, '"ok"', used => '{"total_tokens": 7}')""",
            held,
        )
        return sum(row[0] == "execute" for row in begun)

    return step


def raw_heartbeat(dsn: str) -> Step:
    connection = connect(dsn)
    ids = [row[0] for row in connection.execute("select id from q where state = 1").fetchall()]

    def step() -> int:
        rows = connection.execute(
            "update q set leased_until = now() + interval '1 minute' "
            "where id = any(%s) and state = 1 returning id",
            (ids,),
        ).fetchall()
        return len(rows)

    return step


def tide_heartbeat(dsn: str) -> Step:
    connection = connect(dsn)
    rows = connection.execute(
        "select r.run_id, r.lease_id from tide.runs_active as r where r.status = 'running'"
    ).fetchall()
    runs, leases = [row[0] for row in rows], [row[1] for row in rows]

    def step() -> int:
        answer = connection.execute(
            "select h.state from tide.heartbeat(%s, %s, %s) as h", (runs, leases, "1 hour")
        ).fetchall()
        assert all(row[0] == "held" for row in answer)
        return len(answer)

    return step


def raw_park(dsn: str) -> Step:
    """Claim, write a gate and wait at it, decide, claim again, finish."""
    connection = connect(dsn)

    def step() -> int:
        rows = connection.execute(RAW_CLAIM, (1,)).fetchall()
        if not rows:
            return 0
        run = rows[0][0]
        connection.execute("insert into gate (run) values (%s)", (run,))
        connection.execute("update q set state = 8 where id = %s", (run,))
        with connection.transaction():
            connection.execute("update gate set decision = 'approved' where run = %s", (run,))
            connection.execute("update q set state = 0 where id = %s", (run,))
        rows = connection.execute(RAW_CLAIM, (1,)).fetchall()
        connection.execute(RAW_FINISH["delete"].encode(), ([rows[0][0]],))
        return 1

    return step


def tide_park(dsn: str) -> Step:
    connection = connect(dsn)

    def take() -> list[Any]:
        return connection.execute(CLAIM, ([QUEUE], 1, LEASE, "parker")).fetchall()

    def step() -> int:
        runs = take()
        if not runs:
            return 0
        run_id, lease_id, _ = runs[0]
        gate = connection.execute(
            "select g.gate_id from tide.open_gate(%s, %s, 'approve', 'Go on?') as g",
            (run_id, lease_id),
        ).fetchall()[0][0]
        connection.execute(
            "select w.parked from tide.await_gate(%s, %s, %s) as w", (run_id, lease_id, gate)
        )
        connection.execute("select from tide.decide_gate(%s, 'approved', 'bench')", (gate,))
        connection.execute(SETTLE, (outcomes(take()),))
        return 1

    return step


def raw_steps(dsn: str, steps: int) -> Step:
    """A run of steps: each looks whether it was done, then writes what came out."""
    connection = connect(dsn)

    def step() -> int:
        rows = connection.execute(RAW_CLAIM, (1,)).fetchall()
        for run, _ in rows:
            for name in (f"step {number}" for number in range(steps)):
                connection.execute(
                    "select output from step where run = %s and name = %s", (run, name)
                )
                connection.execute("insert into step values (%s, %s, %s)", (run, name, "1"))
            connection.execute(RAW_FINISH["delete"].encode(), ([run],))
        return steps * len(rows)

    return step
