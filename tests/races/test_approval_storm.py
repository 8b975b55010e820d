"""Many workers replay runs with other arguments each time, and die: no call goes out but those that
were approved, each approval for one call; and without the binding this test sees it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.races.storm import Actor, Part, check_histories, storm, until_met
from tests.support import Connection, value

WORKERS = 16
REPLAYS = int(os.environ.get("TIDE_TEST_REPLAYS", "1600"))
RUNS = 40
AMOUNTS = 6
"""Amounts a replay may come up with; people approve the even ones."""


class Bank:
    """What workers were answered, and what they then asked of the outside world."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, int]] = []
        self.answers: list[tuple[Any, int]] = []
        self.replays = 0
        self._lock = threading.Lock()

    def pay(self, run_id: Any, gate_id: Any, cents: int) -> None:
        with self._lock:
            self.calls.append((run_id, gate_id, cents))

    def next_replay(self) -> bool:
        with self._lock:
            self.replays += 1
            return self.replays <= REPLAYS


def worker(bank: Bank) -> Part:
    """Claims a run, asks about an amount, pays perhaps another one, and often dies of it."""

    def play(actor: Actor) -> None:
        while bank.next_replay():
            claimed = actor.rows("select run_id, lease_id from tide.claim(lease => '1 hour')")
            if not claimed:
                continue
            run_id, lease_id = claimed[0]
            cents = actor.random.randrange(AMOUNTS)
            asked = actor.rows(
                "select gate_id, status from tide.open_gate(%s, %s, 'pay', 'Pay?', data => %s, "
                "on_change => %s)",
                run_id,
                lease_id,
                Jsonb({"cents": cents}),
                actor.random.choice(["ask", "refuse"]),
                refused=["TD002", "TD020"],
            )
            if asked:
                gate_id, status = asked[0]
                actor.hits[status] += 1
                bank.answers.append((gate_id, cents))
                paid = cents if actor.random.random() < 0.7 else actor.random.randrange(AMOUNTS)
                name = f"pay {actor.random.randrange(2)}"
                begun = actor.rows(
                    "select action from tide.begin_step(%s, %s, %s, %s, approved_by => %s)",
                    run_id,
                    lease_id,
                    name,
                    Jsonb({"cents": paid}),
                    gate_id,
                    refused=["TD002", "TD020", "TD025"],
                )
                if begun and begun[0][0] == "execute":
                    bank.pay(run_id, gate_id, paid)
                    actor.hits["paid"] += 1
                    if actor.random.random() < 0.5:
                        actor.die()
                    else:
                        actor.rows(
                            "select tide.complete_step(%s, %s, %s)",
                            run_id,
                            lease_id,
                            name,
                            refused=["TD002"],
                        )
            # The next worker replays it, however this one ended.
            actor.rows(
                "select tide.release(%s, %s)", run_id, lease_id, refused=["TD002", "TD003", "TD001"]
            )

    return play


def people(actor: Actor) -> None:
    """Decide what is asked, in an order of their own; what is in review counts as done."""
    for _ in actor.until_over():
        for gate_id, cents in actor.rows(
            "select gate_id, (data ->> 'cents')::int from tide.pending_gates order by random() "
            "limit 20"
        ):
            decision = "rejected" if cents % 2 else "approved"
            actor.rows(
                "select tide.decide_gate(%s, %s, 'ann')",
                gate_id,
                decision,
                refused=["TD022"],
            )
        for run_id, name in actor.rows(
            "select run_id, name from tide.steps where status = 'manual_review' limit 20"
        ):
            actor.rows(
                "select tide.resolve_step(%s, %s, 'use_output')",
                run_id,
                name,
                refused=["TD030", "TD010"],
            )


def check(connection: Connection, bank: Bank) -> None:
    asked = dict(
        connection.execute("select gate_id, (data ->> 'cents')::int from tide.gates").fetchall()
    )
    assert [answer for answer in bank.answers if asked[answer[0]] != answer[1]] == []
    for run_id, gate_id, cents in bank.calls:
        gate = connection.execute(
            "select run_id, status, (data ->> 'cents')::int as cents from tide.gates "
            "where gate_id = %s",
            (gate_id,),
        ).fetchone()
        assert gate is not None
        assert (gate.run_id, gate.status, gate.cents) == (run_id, "approved", cents)
        assert cents % 2 == 0
    uses = Counter(gate_id for _, gate_id, _ in bank.calls)
    assert [gate for gate, count in uses.items() if count > 1] == []


def replay_with_changed_arguments(dsn: str, connection: Connection) -> None:
    bank = Bank()

    def play() -> Counter[str]:
        bank.replays = 0
        connection.execute(
            "select count(*) from tide.enqueue_many('default', %s)",
            (Jsonb([{"workflow": "pay", "max_attempts": 100}] * RUNS),),
        )
        met = storm(dsn, [worker(bank)] * WORKERS, [people])
        check(connection, bank)
        return met

    needed = {"approved": 50, "pending": 20, "rejected": 20, "TD020": 20, "TD025": 50}
    until_met(play, **needed, died=10, paid=20)
    assert value(connection, "select count(*) from tide.steps where approved_by is null") == 0
    check_histories(connection)


def test_no_call_goes_out_that_was_not_approved_and_none_twice(
    dsn: str, connection: Connection
) -> None:
    replay_with_changed_arguments(dsn, connection)


@pytest.mark.parametrize(
    ("function", "rule", "without"),
    [
        ("tide._consume_approval", "v_gate.data is distinct from coalesce(input, '{}')", "false"),
        ("tide._consume_approval", "g.used_step is null", "true"),
        ("tide._find_asking", "and v_gate.data = _find_asking.data", ""),
    ],
    ids=["any input", "any number of steps", "any question"],
)
def test_without_a_part_of_the_binding_the_storm_fails(
    dsn: str, connection: Connection, function: str, rule: str, without: str
) -> None:
    definition = value(connection, "select pg_get_functiondef(%s::regproc)", function)
    assert rule in definition, f"{function} has no {rule}: adapt the mutant"
    connection.execute(definition.replace(rule, without).encode())
    with pytest.raises((AssertionError, psycopg.Error)) as killed:
        replay_with_changed_arguments(dsn, connection)
    assert "proves too little" not in str(killed.value)
