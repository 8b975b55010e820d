"""Many who decide many gates at once: one winner each, and the losers are told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from tests.races.scenes import history
from tests.races.storm import LONGEST
from tests.support import Clock, Connection, at_once, one, results

GATES = 200
RESOLVERS = 8


RESOLVE = "select g.actor from tide.resolve_gate(%(gate)s, %(token)s, 'approved', 'ann') as g"
EXPIRE = "select tide._sweep('gate_timeouts', 3)"
CANCEL = "select r.status from tide.cancel(%(run)s) as r"


def parked_on_gates(connection: Connection, count: int, timeout: str) -> list[tuple[Any, ...]]:
    """Runs parked on one gate each: run, gate and token."""
    connection.execute(
        "select count(*) from tide.enqueue_many('default', %s)",
        (Jsonb([{"workflow": "work"}] * count),),
    )
    return connection.execute(
        """
        with claimed as materialized (
          select c.run_id, c.lease_id
          from tide.claim(max_runs => 1000) as c
        ), opened as materialized (
          select c.run_id, c.lease_id, g.gate_id, g.token
          from claimed as c
          cross join lateral tide.open_gate(
            c.run_id, c.lease_id, 'approve', '?', timeout => %s::interval
          ) as g
        )
        select o.run_id, o.gate_id, o.token
        from opened as o
        cross join lateral tide.await_gate(o.run_id, o.lease_id, o.gate_id) as a
        where a.parked
        """,
        (timeout,),
    ).fetchall()


def decided(connection: Connection, gate_id: UUID) -> Any:
    return one(
        connection,
        "select g.status, g.actor, g.run_status from tide.get_gate(%s) as g",
        gate_id,
    )


def test_each_gate_has_one_winner_and_the_losers_learn_the_decision(
    connection: Connection, connect: Callable[..., Connection]
) -> None:
    gates = parked_on_gates(connection, GATES, "1 day")
    assert len(gates) == GATES
    together = Barrier(RESOLVERS, timeout=LONGEST)

    def resolver(number: int) -> Callable[[], list[str]]:
        own = connect()

        def resolve_all() -> list[str]:
            told = []
            for _, gate_id, token in gates:
                together.wait()
                try:
                    told.append(
                        own.execute(
                            "select 'won' from tide.resolve_gate(%s, %s, %s, %s)",
                            (gate_id, token, ("approved", "rejected")[number % 2], f"r{number}"),
                        ).fetchone()[0]
                    )
                except psycopg.Error as error:
                    assert error.sqlstate == "TD022", error
                    told.append((error.diag.message_primary or "").rsplit(" ", 1)[1])
            return told

        return resolve_all

    answers = results(at_once([resolver(number) for number in range(RESOLVERS)]))
    for place, (run_id, gate_id, _) in enumerate(gates):
        told = [answer[place] for answer in answers]
        gate = decided(connection, gate_id)
        assert told.count("won") == 1
        assert gate.actor == f"r{told.index('won')}"
        assert {word for word in told if word != "won"} == {gate.status}
        assert history(connection, run_id)[-3:] == ["run.parked", "gate.resolved", "run.resumed"]


def test_resolve_time_out_and_cancel_at_once_have_one_outcome(
    connection: Connection, connect: Callable[..., Connection], clock: Clock
) -> None:
    gates = parked_on_gates(connection, 100, "1 hour")
    clock.advance(timedelta(hours=2))
    connection.execute("update tide.ticks set next_at = 'infinity'")
    together = Barrier(4, timeout=LONGEST)

    def each(query: str) -> Callable[[], list[str]]:
        own = connect()

        def act() -> list[str]:
            answers = []
            for run_id, gate_id, token in gates:
                together.wait()
                given = {"run": run_id, "gate": gate_id, "token": token}
                try:
                    answers.append(str(own.execute(query.encode(), given).fetchone()[0]))
                except psycopg.Error as error:
                    answers.append(error.sqlstate or "")
            return answers

        return act

    resolved, _, _, cancelled = results(
        at_once([each(query) for query in (RESOLVE, EXPIRE, EXPIRE, CANCEL)])
    )
    assert set(cancelled) == {"cancelled"}
    assert set(resolved) <= {"ann", "TD022"}
    for place, (run_id, gate_id, _) in enumerate(gates):
        gate = decided(connection, gate_id)
        events = history(connection, run_id)
        assert (gate.status, gate.actor) in {
            ("approved", "ann"),
            ("rejected", "timeout"),
            ("canceled", "tide"),
        }
        assert (resolved[place] == "ann") == (gate.actor == "ann")
        assert events.count("gate.resolved") == (0 if gate.actor == "tide" else 1)
        assert events.count("run.resumed") == events.count("gate.resolved")
        assert (events[-1], gate.run_status) == ("run.cancelled", "cancelled")
