"""Forks beside retention: a fork is whole or refused, whoever comes first."""

from __future__ import annotations

import pytest

from tests.races.scenes import leased
from tests.races.stepper import Stepper
from tests.support import Connection, value

FORK = "select f.run_id from tide.fork_run(%(run)s, 'charge', fork_id => %(fork)s) as f"
PRUNE = "select tide.prune('0 seconds', queue => '{}')"


@pytest.fixture(autouse=True)
def finished(stepper: Stepper, connection: Connection) -> None:
    """A run that completed after two steps and a child of another queue."""
    run = leased(connection)
    connection.execute("select tide.begin_step(%s, %s, 'read')", run)
    connection.execute("select tide.complete_step(%s, %s, 'read', '1')", run)
    connection.execute("select tide.spawn(%s, %s, 'part', 'part', queue => 'parts')", run)
    connection.execute("select tide.complete(c.run_id, c.lease_id) from tide.claim('{parts}') as c")
    connection.execute("select tide.begin_step(%s, %s, 'charge')", run)
    connection.execute("select tide.complete_step(%s, %s, 'charge', '2')", run)
    connection.execute("select tide.complete(%s, %s)", run)
    stepper.facts["run"] = run.run_id
    stepper.facts["fork"] = value(connection, "select gen_random_uuid()")
    stepper.session("a", fork=FORK)
    stepper.session("b", prune=PRUNE.format("default"), prune_children=PRUNE.format("parts"))


def whole(stepper: Stepper, connection: Connection) -> bool:
    """Whether the fork has the checkpoint and the child of its original; none = it is not there."""
    counts = [
        value(
            connection,
            f"select count(*) from tide.{table} where {column} = %s",
            stepper.facts["fork"],
        )
        for table, column in (("runs", "run_id"), ("steps", "run_id"), ("run_edges", "parent_id"))
    ]
    assert counts in ([0, 0, 0], [1, 1, 1])
    return counts[0] == 1


@pytest.mark.parametrize(
    ("what", "end", "pruned"),
    [
        ("prune", "commit", "1"),
        ("prune", "rollback", "1"),
        ("prune_children", "commit", "0"),
        ("prune_children", "rollback", "1"),
    ],
)
def test_retention_passes_over_what_is_being_forked(
    stepper: Stepper, connection: Connection, what: str, end: str, pruned: str
) -> None:
    """Then the original may go; its child stays for the fork, which may ask for it."""
    stepper.play(
        f"""
        a.begin
        a.fork    fork
        b.{what}   0
        a.{end}
        b.{what}   {pruned}
        """
    )
    assert whole(stepper, connection) == (end == "commit")


@pytest.mark.parametrize(("end", "answer"), [("commit", "TD010"), ("rollback", "fork")])
def test_a_fork_of_a_run_that_is_being_removed_waits_and_is_whole_or_refused(
    stepper: Stepper, connection: Connection, end: str, answer: str
) -> None:
    stepper.play(
        f"""
        b.begin
        b.prune   1
        a.fork    waiting
        b.{end}
        a.fork    {answer}
        """
    )
    assert whole(stepper, connection) == (end == "rollback")


@pytest.mark.parametrize(("end", "answer"), [("commit", "TD030"), ("rollback", "fork")])
def test_a_fork_of_a_run_whose_child_is_being_removed_waits_and_is_whole_or_refused(
    stepper: Stepper, connection: Connection, end: str, answer: str
) -> None:
    stepper.play(
        f"""
        b.begin
        b.prune_children   1
        a.fork    waiting
        b.{end}
        a.fork    {answer}
        """
    )
    assert whole(stepper, connection) == (end == "rollback")
