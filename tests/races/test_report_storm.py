"""Reports of steps for many runs, beside everybody else who locks many runs at once."""

from __future__ import annotations

import json
import uuid
from collections import Counter

from tests.races.scenes import Leased, leased
from tests.races.storm import Actor, check_histories, storm, until_met
from tests.support import open_connection, value

RUNS = 60
ROUNDS = 80
NAMES = "abcdefgh"


def test_reports_settlements_heartbeats_and_cancels_never_deadlock(dsn: str) -> None:
    """A deadlock is an error no part expects; so is a step or an event written twice."""
    held: list[Leased] = []

    def report(actor: Actor) -> None:
        for _ in range(ROUNDS):
            reports = []
            for run in actor.random.sample(held, 20):
                verbs = actor.random.choice([["begin"], ["complete"], ["begin", "complete"]])
                for name in actor.random.sample(NAMES, 2):
                    reports.append(
                        {"run_id": str(run.run_id), "lease_id": str(run.lease_id), "name": name}
                        | dict.fromkeys(verbs, True)
                    )
            answers = actor.rows(
                "select r.ordinal, r.action from tide.report_steps(%s::jsonb) as r",
                json.dumps(reports),
            )
            for answer in answers:
                actor.hits[answer.action] += 1
            actor.hits["stored"] += len(reports) - len(answers)

    def settle(actor: Actor) -> None:
        open_runs = {str(run.run_id): run for run in held[actor.number % 2 : RUNS // 2 : 2]}
        for _ in range(ROUNDS):
            some = actor.random.sample(list(open_runs.values()), min(5, len(open_runs)))
            outcomes = [
                {"run_id": str(run.run_id), "lease_id": str(run.lease_id)} for run in some
            ] + [
                # Of the others only the rows are looked at: the lease is not theirs.
                {"run_id": str(run.run_id), "lease_id": str(uuid.uuid4())}
                for run in actor.random.sample([run for run in held if run not in some], 5)
            ]
            for row in actor.rows(
                "select s.run_id from tide.settle(%s::jsonb) as s where s.accepted",
                json.dumps(actor.random.sample(outcomes, len(outcomes))),
            ):
                del open_runs[str(row.run_id)]
                actor.hits["settled"] += 1
            beat(actor, actor.random.sample(held, 30))

    def beat(actor: Actor, runs: list[Leased]) -> None:
        states = actor.rows(
            "select h.state from tide.heartbeat(%s, %s, '1 h') as h",
            [run.run_id for run in runs],
            [run.lease_id for run in runs],
        )
        for row in states:
            actor.hits[row.state] += 1

    def cancel(actor: Actor) -> None:
        for run in actor.random.sample(held[RUNS // 2 :], 20):
            if actor.value("select (tide.cancel(%s)).status", run.run_id) == "cancelled":
                actor.hits["ended by hand"] += 1
            beat(actor, actor.random.sample(held, 30))

    def play() -> Counter[str]:
        with open_connection(dsn) as connection:
            held[:] = [leased(connection, queue="reports", lease="1 h") for _ in range(RUNS)]
        return storm(dsn, [report, report, report, settle, settle, cancel])

    until_met(
        play,
        execute=100,
        replay=100,
        single=500,
        stored=200,
        settled=20,
        **{"held": 50, "cancelled": 20, "finished": 20, "ended by hand": 20},
    )

    with open_connection(dsn) as connection:
        check_histories(connection)
        twice = """
            select count(*)
            from (
              select from tide.event_log as e
              where e.type in ('step.started', 'step.completed')
              group by e.run_id, e.type, e.payload ->> 'name'
              having count(*) > 1
            ) as t
        """
        assert value(connection, twice) == 0
        unlike = """
            select count(*)
            from tide.steps as s
            left join tide.event_log as e
              on e.run_id = s.run_id
              and e.seq = s.position
              and e.type = 'step.started'
              and e.payload ->> 'name' = s.name
            where e.run_id is null
        """
        assert value(connection, unlike) == 0
