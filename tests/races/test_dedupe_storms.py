"""Enqueues with shared keys, one by one and many, beside claims, ends and retries."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

from tests.races.storm import Actor, check_histories, storm, until_met
from tests.support import Connection, at_once, open_connection, results, size, value

ENDED = ("TD001", "TD002", "TD003")


def watch(actor: Actor) -> None:
    """At no moment are there two active runs with one key."""
    for _ in actor.until_over():
        shared = actor.rows(
            """
            select r.dedupe_key
            from tide.runs_active as r
            where r.dedupe_key is not null
            group by r.dedupe_key
            having count(*) > 1
            """
        )
        assert not shared, f"two active runs with one key: {shared}"
        actor.hits["looked"] += 1


def test_sixteen_enqueues_at_once_with_one_key_give_one_run(dsn: str) -> None:
    enqueuers, rounds = 16, 25
    connections = [open_connection(dsn) for _ in range(enqueuers)]

    def enqueue(connection: Connection, key: str) -> tuple[UUID, bool]:
        row = connection.execute(
            "select e.run_id, e.deduplicated from tide.enqueue('work', dedupe_key => %s) as e",
            (key,),
        ).fetchone()
        return row.run_id, row.deduplicated

    try:
        for number in range(rounds):
            answers = results(
                at_once([lambda c=c, key=f"key {number}": enqueue(c, key) for c in connections])
            )
            assert len({run_id for run_id, _ in answers}) == 1
            assert sum(not deduplicated for _, deduplicated in answers) == 1
        assert value(connections[0], "select count(*) from tide.runs") == rounds
        check_histories(connections[0])
    finally:
        for connection in connections:
            connection.close()


def test_enqueues_that_race_with_the_end_of_their_run_never_err(dsn: str) -> None:
    enqueuers, calls, keys = 8, 300, 4

    def enqueue(actor: Actor) -> None:
        for number in range(calls):
            run_id = uuid4()
            answer = actor.rows(
                """
                select e.run_id, e.deduplicated, e.status
                from tide.enqueue('work', dedupe_key => %s, run_id => %s, on_conflict => %s) as e
                """,
                f"key {actor.random.randrange(keys)}",
                run_id,
                "replace" if number % 4 == 0 else "return",
            )[0]
            assert answer.deduplicated == (answer.run_id != run_id)
            actor.hits["found" if answer.deduplicated else "made"] += 1
            actor.hits[f"found {answer.status}"] += answer.deduplicated

    def work(actor: Actor) -> None:
        for _ in actor.until_over():
            for run in actor.rows(
                "select c.run_id, c.lease_id from tide.claim(max_runs => 2) as c"
            ):
                end = actor.random.choice(
                    [
                        "select tide.complete(%s, %s)",
                        "select tide.fail(%s, %s, retryable => false)",
                        "select tide.cancel(%s, %s::text)",
                    ]
                )
                actor.rows(end, run.run_id, run.lease_id)

    needed = {"made": 50, "found": 200, "found running": 50, "found queued": 50, "looked": 50}
    met = until_met(lambda: storm(dsn, [enqueue] * enqueuers, [work, work, work, watch]), **needed)

    with open_connection(dsn) as connection:
        check_histories(connection)
        assert value(connection, "select count(*) from tide.runs") == met["made"]


def test_retries_and_enqueues_share_a_key_without_a_clash(dsn: str) -> None:
    rounds = size(250, 1000)

    def enqueue(actor: Actor) -> None:
        for _ in range(rounds):
            row = actor.rows("select e.run_id from tide.enqueue('work', dedupe_key => 'key') as e")[
                0
            ]
            actor.rows("select tide.cancel(%s)", row.run_id)

    def retry(actor: Actor) -> None:
        for _ in actor.until_over():
            run_id = actor.value(
                """
                select r.run_id
                from tide.runs_finished as r
                order by r.run_id desc
                offset %s
                limit 1
                """,
                actor.random.randrange(3),
            )
            if run_id and actor.rows("select tide.retry(%s)", run_id, refused=("TD023",)):
                actor.hits["retried"] += 1

    until_met(lambda: storm(dsn, [enqueue] * 4, [retry, retry, watch]), retried=50, TD023=5)

    with open_connection(dsn) as connection:
        check_histories(connection)


def test_many_enqueues_of_shared_keys_and_ids_in_any_order_never_deadlock(dsn: str) -> None:
    keys = [f"key {number}" for number in range(12)]
    ids = [str(uuid4()) for _ in range(400)]

    def enqueue(actor: Actor) -> None:
        for _ in range(40):
            runs = [
                {
                    "workflow": "work",
                    "dedupe_key": key,
                    "on_conflict": actor.random.choice(["return", "replace"]),
                }
                for key in actor.random.sample(keys, 8)
            ]
            runs += [
                {"workflow": "work", "run_id": run_id} for run_id in actor.random.sample(ids, 8)
            ]
            actor.random.shuffle(runs)
            answers = actor.rows(
                "select e.run_id, e.deduplicated from tide.enqueue_many('default', %s::jsonb) as e",
                json.dumps(runs),
            )
            assert len(answers) == len(runs)
            actor.hits["found"] += sum(answer.deduplicated for answer in answers)
            actor.hits["made"] += sum(not answer.deduplicated for answer in answers)

    def work(actor: Actor) -> None:
        for _ in actor.until_over():
            runs = actor.rows("select c.run_id, c.lease_id from tide.claim(max_runs => 20) as c")
            outcomes = [{"run_id": str(r.run_id), "lease_id": str(r.lease_id)} for r in runs]
            actor.random.shuffle(outcomes)
            actor.rows("select tide.settle(%s::jsonb)", json.dumps(outcomes))

    until_met(lambda: storm(dsn, [enqueue] * 8, [work, watch]), found=200, made=200)

    with open_connection(dsn) as connection:
        check_histories(connection)
