"""Many claimers at once: caps, rates, disjoint runs, lists of queues, floors, workers that die."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.races.storm import Actor, check_histories, storm, until_met
from tests.support import open_connection, size, value

CLAIMERS = 16
CAP = 5
CAPPED = size(200, 400)
DRAINED = """
    select not exists (
      select
      from tide.runs_active as r
      where r.queue <> 'other'
    )
    """
LOST = ("TD001", "TD002", "TD003")
COMPLETE = "select tide.complete(%s, %s)"


def fill(dsn: str, queue: str, runs: int, settings: dict[str, Any]) -> None:
    with open_connection(dsn) as connection:
        connection.execute(
            "select tide.set_queue(%s, %s::jsonb)",
            (queue, json.dumps({"backoff_base": "0 s", "max_attempts": 100, **settings})),
        )
        connection.execute(
            "select tide.enqueue_many(%s, %s::jsonb)",
            (queue, json.dumps([{"workflow": "work", "priority": n % 3} for n in range(runs)])),
        )


def outcome(run: Any, **verdict: Any) -> dict[str, Any]:
    return {"run_id": str(run.run_id), "lease_id": str(run.lease_id), **verdict}


def upkeep(actor: Actor) -> None:
    """Reconcile all the time, so that leases that ran out are handed on."""
    for _ in actor.until_over():
        actor.value("call tide.reconcile()")


def end_somehow(actor: Actor, run: Any) -> None:
    """End the attempt in one of the ways workers do; sometimes by dying."""
    given = (run.run_id, run.lease_id)
    match actor.random.randrange(20):
        case 0 | 1:
            actor.hits["retried"] += 1
            actor.rows("select tide.fail(%s, %s, retry_after => '0')", *given, refused=LOST)
        case 2:
            actor.rows("select tide.release(%s, %s)", *given, refused=LOST)
        case 3:
            actor.connection.execute("begin")
            actor.rows(COMPLETE, *given, refused=LOST)
            actor.die()
        case 4:
            actor.die()
        case 5 | 6 | 7:
            actor.rows("select tide.settle(%s::jsonb)", json.dumps([outcome(run)]))
        case _:
            actor.rows(COMPLETE, *given, refused=LOST)


def test_sixteen_claimers_never_exceed_a_cap_of_five(dsn: str) -> None:
    acknowledged: list[tuple[UUID, int]] = []

    def complete(actor: Actor, run: Any) -> None:
        if actor.rows(COMPLETE, run.run_id, run.lease_id, refused=LOST):
            acknowledged.append((run.run_id, run.attempt))

    def claim(actor: Actor) -> None:
        carried: list[dict[str, Any]] = []
        overslept: list[Any] = []
        for _ in actor.until(DRAINED):
            runs = actor.rows(
                """
                select s.run_id, s.lease_id, s.attempt
                from tide.settle_and_claim(%s::jsonb, '{capped}', %s, '250 ms') as s
                where s.accepted is null
                """,
                json.dumps(carried),
                actor.random.randint(1, 4),
            )
            carried = []
            actor.hits["claimed"] += len(runs)
            actor.hits["batches"] += len(runs) > 1
            for run in runs:
                match actor.random.randrange(10):
                    case 0 | 1 | 2:
                        carried.append(outcome(run))
                    case 3:
                        overslept.append(run)
                    case 4 | 5:
                        complete(actor, run)
                    case _:
                        end_somehow(actor, run)
            # Again and again while others may have the run.
            for run in actor.random.sample(overslept, min(len(overslept), 1)):
                if actor.value(
                    """
                    select true
                    from tide.runs_active as r
                    where r.run_id = %s
                      and r.attempt > %s
                      and r.status = 'running'
                    """,
                    run.run_id,
                    run.attempt,
                ):
                    actor.hits["overslept"] += 1
                    complete(actor, run)

    def claim_in_vain(actor: Actor) -> None:
        for _ in actor.until(DRAINED):
            actor.connection.execute("begin")
            actor.hits["in vain"] += bool(actor.rows("select tide.claim('{capped}')"))
            actor.connection.execute("rollback")

    def watch(actor: Actor) -> None:
        for _ in actor.until_over():
            running = actor.value(
                """
                select count(*)
                from tide.runs_active as r
                where r.queue = 'capped'
                  and r.status = 'running'
                """
            )
            assert running <= CAP, f"{running} runs of a queue with a cap of {CAP}"
            actor.hits["full"] += running == CAP

    def play() -> Counter[str]:
        fill(dsn, "capped", CAPPED, {"concurrency": CAP})
        met = storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, watch])
        with open_connection(dsn) as connection:
            met["expired"] = value(
                connection,
                """
                select count(*)
                from tide.event_log as e
                where e.type = 'run.requeued'
                  and e.payload ->> 'reason' = 'lease_expired'
                """,
            )
        return met

    needed = {"batches": 3, "retried": 4, "died": 4, "full": 10, "overslept": 5}
    met = until_met(play, claimed=CAPPED + 20, **needed, **{"in vain": 1, "expired": 5})

    with open_connection(dsn) as connection:
        check_histories(connection)
        # What a worker was told is what is written: its attempt, nobody else's.
        written = dict(
            connection.execute(
                """
                select
                  e.run_id,
                  (e.payload ->> 'attempt')::integer
                from tide.event_log as e
                where e.type = 'run.completed'
                """
            ).fetchall()
        )
        assert {run: attempt for run, attempt in acknowledged if written[run] != attempt} == {}
        finished = value(connection, "select count(*) from tide.runs_finished")
        assert finished == CAPPED * met["plays"]
        assert value(
            connection, "select bool_and(r.status = 'completed') from tide.runs_finished as r"
        )
        assert value(connection, "select count(*) from tide.sweep_failures") == 0


def test_a_rate_holds_in_every_window(dsn: str) -> None:
    limit, period, runs = 6, timedelta(milliseconds=250), 45
    ready = "select exists (select from tide.runs_active as r where r.ready)"

    def claim(actor: Actor) -> None:
        for _ in actor.until(DRAINED):
            in_vain = actor.random.random() < 0.1
            if in_vain:
                actor.connection.execute("begin")
            claimed = actor.rows(
                "select c.run_id, c.lease_id, c.attempt from tide.claim('{rated}', %s) as c",
                actor.random.randint(1, 4),
            )
            actor.hits["used up"] += not claimed and actor.value(ready)
            for run in claimed:
                again = run.attempt == 1 and actor.random.random() < 0.2
                actor.hits["again"] += again
                actor.rows(
                    "select tide.fail(%s, %s, retry_after => '0')"
                    if again
                    else "select tide.complete(%s, %s)",
                    run.run_id,
                    run.lease_id,
                )
                actor.hits["in vain"] += in_vain
            if in_vain:
                actor.connection.execute("rollback")

    def play() -> Counter[str]:
        fill(dsn, "rated", runs, {"rate_limit": limit, "rate_period": "250 ms"})
        return storm(dsn, [claim] * CLAIMERS, [upkeep])

    until_met(play, again=2, **{"in vain": 1, "used up": 100})

    with open_connection(dsn) as connection:
        check_histories(connection)
        starts = [
            row.created_at
            for row in connection.execute(
                """
                select e.created_at
                from tide.event_log as e
                where e.type = 'run.claimed'
                order by e.created_at
                """
            )
        ]
    assert len(starts) >= runs
    windows = [later - earlier for earlier, later in zip(starts, starts[limit:], strict=False)]
    assert min(windows) >= period, f"{limit + 1} starts within {min(windows)}"


def share(dsn: str, *, busy: bool) -> None:
    runs = 600

    def claim(actor: Actor) -> None:
        for _ in actor.until("select not exists (select from tide.runs_active as r where r.ready)"):
            for run in actor.rows(
                "select c.run_id from tide.claim('{plain}', %s, worker => %s) as c",
                actor.random.randint(1, 5),
                f"worker {actor.number}" if busy else None,
            ):
                actor.hits[f"run {run.run_id}"] += 1
                actor.hits[f"claimer {actor.number}"] += 1

    def play() -> Counter[str]:
        fill(dsn, "plain", runs, {})
        met = storm(dsn, [claim] * CLAIMERS)
        claims = [count for name, count in met.items() if name.startswith("run")]
        assert claims == [1] * runs
        met["shared"] += sum(name.startswith("claimer") for name in met) >= CLAIMERS // 2
        return met

    until_met(play, shared=1)

    with open_connection(dsn) as connection:
        check_histories(connection)


def test_claims_at_once_share_the_runs_among_them(dsn: str) -> None:
    share(dsn, busy=False)


def test_claims_of_busy_workers_share_the_runs_among_them(dsn: str) -> None:
    """Those of one queue without limits, which look at less than others do."""
    share(dsn, busy=True)


def test_lists_of_queues_in_any_order_never_deadlock(dsn: str) -> None:
    queues = ["a", "b", "c", "d", "e"]

    def claim(actor: Actor) -> None:
        carried: list[dict[str, Any]] = []
        for _ in actor.until(DRAINED):
            order = actor.random.sample(queues, len(queues))
            runs = actor.rows(
                """
                select s.run_id, s.lease_id, s.reason
                from tide.settle_and_claim(%s::jsonb, %s, 6, worker => %s) as s
                where s.accepted is null or s.reason = 'busy'
                """,
                json.dumps(carried),
                order,
                f"worker {actor.number % 5}",
            )
            busy = {str(run.run_id) for run in runs if run.reason == "busy"}
            fresh = [run for run in runs if run.reason is None]
            carried = [one for one in carried if one["run_id"] in busy]
            carried += [outcome(run) for run in fresh]
            actor.hits["lists"] += len(fresh) > 1

    def configure(actor: Actor) -> None:
        for _ in actor.until_over():
            queue = actor.random.choice(queues)
            cap = actor.random.choice([None, 1, 2, 3, 8])
            actor.value(
                "select tide.set_queue(%s, %s::jsonb)", queue, json.dumps({"concurrency": cap})
            )
            actor.hits["configured"] += 1

    def play() -> Counter[str]:
        for number, queue in enumerate(queues):
            fill(dsn, queue, 60, {"concurrency": 2 + number} if number % 2 else {})
        return storm(dsn, [claim] * CLAIMERS, [configure, upkeep])

    met = until_met(play, lists=10, configured=5)

    with open_connection(dsn) as connection:
        check_histories(connection)
        finished = value(connection, "select count(*) from tide.runs_finished")
        assert finished == 300 * met["plays"]


def test_no_run_is_lost_below_a_floor(dsn: str) -> None:
    enqueuers, each = 6, 80

    def enqueue_late(actor: Actor) -> None:
        for _ in range(each):
            priority = actor.random.randint(0, 2)
            actor.connection.execute("begin")
            actor.rows("select tide.enqueue('work', queue => 'floored', priority => %s)", priority)
            if actor.random.random() < 0.3:
                actor.rows("select pg_sleep(%s)", actor.random.random() * 0.1)
            actor.hits["below"] += actor.value(
                """
                select count(*)
                from tide.claim_floors as f
                where f.queue = 'floored'
                  and f.priority = %s
                  and f.run_at > (
                    select max(r.run_at)
                    from tide.runs_active as r
                    where r.queue = 'floored'
                      and r.xmin = pg_current_xact_id()::xid
                  )
                """,
                priority,
            )
            actor.connection.execute("commit")

    plays = 0

    def claim(actor: Actor) -> None:
        done = f"select count(*) = {plays * enqueuers * each} from tide.runs_finished"
        for _ in actor.until(done):
            for run in actor.rows(
                "select c.run_id, c.lease_id from tide.claim('{floored}', 3) as c"
            ):
                actor.rows("select tide.complete(%s, %s)", run.run_id, run.lease_id)

    def disturb(actor: Actor) -> None:
        """Ticks without pause, floors set far too high, and transactions that hold ticks open."""
        for _ in actor.until_over():
            actor.rows("update tide.ticks set next_at = '-infinity' returning 1")
            for priority in range(3):
                actor.hits["floors"] += len(
                    actor.rows(
                        """
                        insert into tide.claim_floors as f (queue, priority, run_at)
                        values ('floored', %s, tide._now())
                        on conflict on constraint claim_floors_pkey do update
                        set run_at = excluded.run_at
                        returning 1
                        """,
                        priority,
                    )
                )
            actor.rows("select pg_sleep(0.005)")

    def play() -> Counter[str]:
        nonlocal plays
        plays += 1
        return storm(dsn, [enqueue_late] * enqueuers + [claim] * 3, [disturb, upkeep])

    until_met(play, below=10, floors=50)

    with open_connection(dsn) as connection:
        check_histories(connection)
