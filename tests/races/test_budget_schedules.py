"""Spenders of one budget beside each other: one judges and spends at a time."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from tests.races.scenes import leased
from tests.races.stepper import Stepper
from tests.support import Connection, value

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
