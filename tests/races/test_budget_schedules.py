"""Spenders of one budget beside each other: one judges and spends at a time."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from tests.races.scenes import leased, queued
from tests.races.stepper import Stepper
from tests.support import Connection, one, value

BEGIN = "select s.action from tide.begin_step(%({name})s, %({name}_lease)s, 'a') as s"


@pytest.fixture(autouse=True)
def siblings(stepper: Stepper, connection: Connection) -> None:
    """Two children of a run whose budget has one step left, each with a worker."""
    parent = leased(connection, lease="1 day", budget='{"max_steps": 2}')
    connection.execute("select tide.begin_step(%s, %s, 'own')", parent)
    children = [{"edge": edge, "workflow": "part", "queue": "parts"} for edge in "ab"]
    connection.execute("select tide.spawn_many(%s, %s, %s)", (*parent, Jsonb(children)))
    runs = connection.execute("select c.run_id, c.lease_id from tide.claim('{parts}', 2) as c")
    for name, run in zip(("first", "second"), runs.fetchall(), strict=True):
        stepper.facts[name], stepper.facts[f"{name}_lease"] = run
        stepper.session(name, step=BEGIN.format(name=name))


@pytest.mark.parametrize(("end", "answer"), [("commit", "budget"), ("rollback", "execute")])
def test_of_two_that_begin_at_once_one_takes_the_last_step_of_their_budget(
    stepper: Stepper, connection: Connection, end: str, answer: str
) -> None:
    stepper.play(
        f"""
        first.begin
        first.step     execute
        second.step    waiting
        first.{end}
        second.step    {answer}
        """
    )
    assert value(connection, "select s.steps from tide.spending as s") == 2


LAST = "ffffffff-ffff-7fff-bfff-ffffffffffff"
"""An id that sorts after that of any child."""

BUDGET = """
select r.run_id from tide.set_budget(%(parent)s, '{"max_steps": 9}') as r
"""

SETTLE = """
select string_agg(coalesce(s.reason, 'accepted'), ', ' order by s.run_id)
from tide.settle(jsonb_build_array(
  jsonb_build_object('run_id', %(child)s, 'lease_id', %(child_lease)s),
  jsonb_build_object('run_id', %(parent)s, 'lease_id', %(parent_lease)s)
)) as s
"""


@pytest.fixture
def family(stepper: Stepper, connection: Connection) -> None:
    """A parent whose id sorts after that of its child, both held by one worker."""
    queued(connection, run_id=LAST, queue="family")
    parent = one(connection, "select c.run_id, c.lease_id from tide.claim('{family}') as c")
    connection.execute("select tide.spawn(%s, %s, 'part', 'part', queue => 'family')", (*parent,))
    child = one(connection, "select c.run_id, c.lease_id from tide.claim('{family}') as c")
    assert child.run_id < parent.run_id
    stepper.facts |= {"parent": parent.run_id, "parent_lease": parent.lease_id}
    stepper.facts |= {"child": child.run_id, "child_lease": child.lease_id}
    stepper.session("operator", budget=BUDGET)
    stepper.session("worker", settle=SETTLE)


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_report_beside_an_open_change_of_the_budget_is_told_to_come_again(
    stepper: Stepper, end: str
) -> None:
    stepper.play(
        f"""
        operator.begin
        operator.budget   parent
        worker.settle     busy, busy
        operator.{end}
        worker.settle     accepted, accepted
        """
    )


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_change_of_the_budget_waits_for_an_open_report_of_the_family(
    stepper: Stepper, end: str
) -> None:
    """Descendants may outlive a run, so its budget may be changed when it has ended."""
    stepper.play(
        f"""
        worker.begin
        worker.settle     accepted, accepted
        operator.budget   waiting
        worker.{end}
        operator.budget   parent
        """
    )


@pytest.mark.usefixtures("family")
def test_neither_a_report_nor_a_change_of_the_budget_is_the_victim_of_the_other(
    stepper: Stepper,
) -> None:
    """The operator has the parent and waits for its child; the worker reports both meanwhile."""
    hold = "select r.run_id from tide.runs_active as r where r.run_id = %(child)s for update"
    stepper.session("holder", hold=hold)
    stepper.play(
        """
        holder.begin
        holder.hold       child
        operator.budget   waiting
        worker.settle     busy, busy
        holder.commit
        operator.budget   parent
        worker.settle     accepted, accepted
        """
    )
