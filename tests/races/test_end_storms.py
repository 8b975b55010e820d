"""Everybody ends the same runs at once, in every way there is."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable

from tests.races.scenes import Leased, leased
from tests.races.storm import Actor, check_histories, storm, until_met
from tests.support import open_connection, size, value

REFUSED = ("TD001", "TD002", "TD003", "TD030")
ROUNDS = size(100, 200)


def outcome(held: Leased, **verdict: object) -> str:
    return json.dumps([{"run_id": str(held.run_id), "lease_id": str(held.lease_id), **verdict}])


def test_all_ends_of_one_run_at_once_leave_one(dsn: str) -> None:
    """Round by round: a run is claimed, then all fall upon it at the same moment."""
    ways: dict[str, Callable[[Actor, Leased], object]] = {
        "completed": lambda a, h: a.value(
            "select (tide.complete(%s, %s)).status", *h, refused=REFUSED
        ),
        "failed": lambda a, h: a.value(
            "select (tide.fail(%s, %s, retryable => false)).status", *h, refused=REFUSED
        ),
        "requeued": lambda a, h: a.value(
            "select (tide.fail(%s, %s, retry_after => '1 h')).status", *h, refused=REFUSED
        ),
        "cancelled": lambda a, h: a.value(
            "select (tide.cancel(%s)).status", h.run_id, refused=REFUSED
        ),
        "cancelled in bulk": lambda a, h: a.value(
            "select nullif(tide.cancel_many(workflow => 'work'), 0)"
        ),
        "settled": lambda a, h: a.value(
            "select s.accepted or null from tide.settle(%s::jsonb) as s", outcome(h)
        ),
        "settled and claimed": lambda a, h: a.value(
            "select true from tide.settle_and_claim(%s::jsonb, '{none}') as s having count(*) = 0",
            outcome(h, error={}, retryable=False),
        ),
        "begun a step": lambda a, h: a.value(
            "select s.action from tide.begin_step(%s, %s, 'step') as s", *h, refused=REFUSED
        ),
        "completed a step": lambda a, h: a.value(
            "select (tide.complete_step(%s, %s, 'first')).status", *h, refused=REFUSED
        ),
        "swept": lambda a, h: a.value(
            "select nullif(tide._sweep('expired_leases', 10) + tide._sweep('overdue', 10), 0)"
        ),
        "beaten": lambda a, h: a.value(
            "select h.state from tide.heartbeat(array[%s], array[%s], '100 ms') as h", *h
        ),
    }
    held: list[Leased] = []
    everybody = [*ways, "swept", "swept"]
    ready, done = (threading.Barrier(len(everybody) + 1) for _ in range(2))

    def fall_upon(name: str) -> Callable[[Actor], None]:
        def part(actor: Actor) -> None:
            for number in range(ROUNDS):
                actor.meet(ready)
                actor.hits[name] += ways[name](actor, held[number]) is not None
                actor.meet(done)

        return part

    def prepare(actor: Actor) -> None:
        held.clear()
        for number in range(ROUNDS):
            actor.rows("select tide.cancel_many('ends')")
            held.append(leased(actor.connection, queue="ends", max_attempts=2, deadline="1 h"))
            actor.rows("select tide.begin_step(%s, %s, 'first')", *held[-1])
            changed = {0: "leased_until", 1: "deadline_at", 2: "leased_until"}.get(number % 4)
            if changed:
                actor.rows(
                    f"update tide.runs_active set {changed} = now() where run_id = %s returning 1",
                    held[-1].run_id,
                )
            actor.meet(ready)
            actor.meet(done)

    with open_connection(dsn) as connection:
        connection.execute("select tide.set_queue('ends', '{\"concurrency\": 2000}')")

    until_met(
        lambda: storm(dsn, [prepare, *map(fall_upon, everybody)]),
        completed=5,
        failed=5,
        requeued=5,
        cancelled=5,
        settled=5,
        swept=3,
        beaten=50,
        TD001=100,
        TD002=5,
        TD003=50,
    )

    with open_connection(dsn) as connection:
        check_histories(connection)


def test_workers_cancels_and_sweeps_over_a_queue_never_deadlock(dsn: str) -> None:
    """Workers with steps, expiry, retries and settlements of many runs in any order."""
    runs = [
        {
            "workflow": "work",
            "max_attempts": 1 + number % 3,
            "deadline": "400 ms" if number % 7 == 0 else "1 h",
            "backoff": {"base": "0 s", "max": "0 s"},
        }
        for number in range(240)
    ]
    held: list[Leased] = []
    done = "select not exists (select from tide.runs_active as r where r.queue = 'storm')"

    def work(actor: Actor) -> None:
        for _ in actor.until(done):
            claimed = [
                Leased(*row)
                for row in actor.rows(
                    "select c.run_id, c.lease_id from tide.claim('{storm}', 6, '150 ms') as c"
                )
            ]
            held.extend(claimed)
            outcomes = []
            for run in claimed:
                actor.rows("select tide.begin_step(%s, %s, 'one')", *run, refused=REFUSED)
                actor.rows(
                    "select tide.complete_step(%s, %s, 'one')", *run, refused=(*REFUSED, "TD010")
                )
                match actor.random.randrange(6):
                    case 0:
                        actor.rows("select tide.complete(%s, %s)", *run, refused=REFUSED)
                    case 1:
                        actor.rows("select tide.fail(%s, %s)", *run, refused=REFUSED)
                    case 2:
                        actor.hits["forgotten"] += 1
                    case 3:
                        outcomes += json.loads(outcome(run, error={"message": "no"}))
                    case _:
                        outcomes += json.loads(outcome(run))
            # Others' reports as well: what is settled by two is settled in one order.
            for other in actor.random.sample(held, min(len(held), 6)):
                if str(other.run_id) not in {o["run_id"] for o in outcomes}:
                    outcomes += json.loads(outcome(other))
            actor.random.shuffle(outcomes)
            for row in actor.rows(
                "select s.reason from tide.settle(%s::jsonb) as s", json.dumps(outcomes)
            ):
                actor.hits[f"settled {row.reason}"] += 1

    def beat(actor: Actor) -> None:
        for _ in actor.until(done):
            some = actor.random.sample(held, min(len(held), 20))
            for row in actor.rows(
                "select h.state from tide.heartbeat(%s::uuid[], %s::uuid[], '150 ms') as h",
                [run.run_id for run in some],
                [run.lease_id for run in some],
            ):
                actor.hits[f"beat {row.state}"] += 1

    def operate(actor: Actor) -> None:
        for _ in actor.until(done):
            if not held:
                continue
            run = actor.random.choice(held)
            if actor.random.random() < 0.3:
                actor.rows("select tide.cancel(%s)", run.run_id, refused=("TD003",))
            elif actor.hits["retried"] < 40:
                actor.hits["retried"] += bool(
                    actor.rows("select tide.retry(%s)", run.run_id, refused=("TD030",))
                )

    def upkeep(actor: Actor) -> None:
        for _ in actor.until_over():
            actor.value("call tide.reconcile()")

    def play() -> Counter[str]:
        with open_connection(dsn) as connection:
            connection.execute("select tide.set_queue('storm', '{\"concurrency\": 40}')")
            connection.execute("select tide.enqueue_many('storm', %s::jsonb)", (json.dumps(runs),))
        return storm(dsn, [work] * 6 + [beat] * 2 + [operate] * 2, [upkeep])

    met = until_met(
        play,
        **{"forgotten": 10, "retried": 10, "TD003": 10, "beat held": 20, "beat finished": 20},
        **{"settled None": 20, "settled lost": 5, "settled finished": 20},
    )

    with open_connection(dsn) as connection:
        check_histories(connection)
        finished = value(connection, "select count(*) from tide.runs_finished")
        assert finished == len(runs) * met["plays"]
        assert value(connection, "select count(*) from tide.sweep_failures") == 0
        assert (
            value(connection, "select count(*) from tide.slots as s where s.run_id is not null")
            == 0
        )


def test_any_number_of_reconciles_at_once_is_harmless(dsn: str) -> None:
    runs = 300
    with open_connection(dsn) as connection:
        connection.execute(
            "select tide.enqueue_many('late', %s::jsonb)",
            (json.dumps([{"workflow": "work", "max_attempts": 2}] * runs),),
        )
        connection.execute("select tide.claim('{late}', 300, '100 ms')")
        connection.execute("update tide.runs_active set leased_until = now() - interval '1 s'")
        connection.execute(
            "update tide.runs_active set deadline_at = now() where run_id in "
            "(select r.run_id from tide.runs_active as r limit 50)"
        )

    def reconcile(actor: Actor) -> None:
        for _ in range(30):
            report = actor.value("call tide.reconcile(batch => 7)")
            actor.hits["busy"] += "busy" in report
            for name, count in report.items():
                actor.hits[name] += count

    until_met(lambda: storm(dsn, [reconcile] * 8), busy=20)

    with open_connection(dsn) as connection:
        check_histories(connection)
        ended = {
            row.type: row.count
            for row in connection.execute(
                """
                select e.type, count(*)
                from tide.event_log as e
                where e.type in ('run.requeued', 'run.cancelled')
                group by e.type
                """
            )
        }
        assert ended["run.requeued"] >= runs - 50
        assert ended["run.cancelled"] == 50
        assert value(connection, "select count(*) from tide.runs_active as r where r.ready") == 250


def test_settlements_of_the_same_runs_in_any_order_never_deadlock(dsn: str) -> None:
    settlers, rounds, runs = 6, size(15, 40), 200
    held: list[list[Leased]] = []
    with open_connection(dsn) as connection:
        for number in range(rounds):
            queues = [f"queue {number} {place % 3}".replace(" ", ".") for place in range(runs)]
            connection.execute(
                "select tide.enqueue('work', queue => q.queue) from unnest(%s::text[]) as q(queue)",
                (queues,),
            )
            claimed = connection.execute(
                "select c.run_id, c.lease_id from tide.claim(%s, 1000) as c", (list(set(queues)),)
            ).fetchall()
            held.append([Leased(*row) for row in claimed])
    together = threading.Barrier(settlers)

    def settle(actor: Actor) -> None:
        for some in held:
            outcomes = [
                entry
                for run in actor.random.sample(some, len(some))
                for entry in json.loads(
                    outcome(run) if actor.number % 2 else outcome(run, error={}, retryable=False)
                )
            ]
            actor.meet(together)
            while outcomes:
                rows = actor.rows(
                    "select s.accepted, s.reason from tide.settle(%s::jsonb) as s",
                    json.dumps(outcomes),
                )
                actor.hits.update(f"{row.accepted} {row.reason}" for row in rows)
                # Another settler held these: the same report again.
                outcomes = [
                    outcome
                    for outcome, row in zip(outcomes, rows, strict=True)
                    if row.reason == "busy"
                ]

    met = storm(dsn, [settle] * settlers)

    assert met["True None"] == rounds * runs
    assert met["True repeated"] == rounds * runs * (settlers // 2 - 1)
    assert met["False finished"] == rounds * runs * (settlers // 2)
    with open_connection(dsn) as connection:
        check_histories(connection)
