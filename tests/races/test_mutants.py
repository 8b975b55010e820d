"""The races are worth something: each rule taken out of the schema is missed by one of them.

Not run by default, since it says nothing about the schema itself: TIDE_TEST_MUTANTS=1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pytest

from tests.races import test_claim_storms, test_dedupe_storms, test_end_storms
from tests.races.scenes import leased, queued
from tests.support import Connection, open_connection, value

pytestmark = pytest.mark.skipif(
    os.environ.get("TIDE_TEST_MUTANTS") != "1",
    reason="checks the races, not the schema: TIDE_TEST_MUTANTS=1",
)


@dataclass(frozen=True)
class Mutant:
    """A rule taken out: in a function, every match of the pattern is replaced."""

    function: str
    pattern: str
    replacement: str
    killed_by: Callable[[str], None]

    def install(self, connection: Connection) -> None:
        definition = value(connection, "select pg_get_functiondef(%s::regproc)", self.function)
        mutated = re.sub(self.pattern, self.replacement, definition)
        assert mutated != definition, f"{self.function} has no {self.pattern}: adapt the mutant"
        connection.execute(mutated.encode())


def zombies_write_nothing(dsn: str) -> None:
    """One overslept worker, without a storm: a heartbeat must not touch a newer lease."""
    with open_connection(dsn) as connection:
        run_id, lease_id = leased(connection, max_attempts=2, lease="100 ms")
        connection.execute("update tide.runs_active set leased_until = now() - interval '1 s'")
        connection.execute("select tide._sweep('expired_leases', 1)")
        connection.execute("select tide.claim()")
        state = value(
            connection,
            "select h.state from tide.heartbeat(array[%s], array[%s], '1 h') as h",
            run_id,
            lease_id,
        )
        assert state == "lost"
        assert value(connection, "select r.lease < interval '1 h' from tide.runs_active as r")


def runs_without_a_slot_count(dsn: str) -> None:
    """Three runs claimed before there was a cap of two: nothing more may start."""
    with open_connection(dsn) as connection:
        for _ in range(4):
            queued(connection)
        connection.execute("select tide.claim(max_runs => 3)")
        connection.execute("select tide.set_queue('default', '{\"concurrency\": 2}')")
        assert value(connection, "select count(*) from tide.claim()") == 0


caps = test_claim_storms.test_sixteen_claimers_never_exceed_a_cap_of_five
disjoint = test_claim_storms.test_claims_at_once_share_the_runs_among_them
busy = test_claim_storms.test_claims_of_busy_workers_share_the_runs_among_them
one_run_per_key = test_dedupe_storms.test_sixteen_enqueues_at_once_with_one_key_give_one_run
ends = test_end_storms.test_all_ends_of_one_run_at_once_leave_one
shared = test_end_storms.test_settlements_of_the_same_runs_in_any_order_never_deadlock

MUTANTS = {
    "no fence": Mutant(
        "tide._hold", r"v_run\.lease_id = _hold\.lease_id", "v_run.lease_id is not null", caps
    ),
    "a cap without places": Mutant(
        "tide._lease",
        r"slot = v_slots[^\n]*",
        "slot = null,",
        caps,
    ),
    "runs picked without a lock": Mutant(
        "tide._pick", r"for no key update skip locked", "", disjoint
    ),
    "runs picked by busy workers without a lock": Mutant(
        "tide._pick", r"for no key update skip locked", "", busy
    ),
    "runs without a slot do not count": Mutant(
        "tide._reserve",
        r"v_unslotted := tide\._count_unslotted\(settings\);",
        "null;",
        runs_without_a_slot_count,
    ),
    "no look at the active run, no conflict": Mutant(
        "tide._enqueue", r"on conflict do nothing", "", one_run_per_key
    ),
    "an end keeps its slot": Mutant(
        "tide._finish_rest", r"set run_id = null", "set run_id = s.run_id", ends
    ),
    "an end is logged without its number": Mutant(
        "tide._finish", r"g\.last_seq \+ 1,\s+g\.ended_as", "g.last_seq + 2, g.ended_as", ends
    ),
    "a heartbeat for anybody": Mutant(
        "tide.heartbeat", r"and r\.lease_id = b\.lease_id\s+--", "--", zombies_write_nothing
    ),
    "outcomes in any order": Mutant(
        "tide._parse_outcomes", r"order by \(o\.report\)\.run_id", "order by random()", shared
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_is_killed(dsn: str, connection: Connection, mutant: Mutant) -> None:
    mutant.install(connection)
    with pytest.raises((AssertionError, psycopg.Error)) as killed:
        mutant.killed_by(dsn)
    assert "proves too little" not in str(killed.value)
