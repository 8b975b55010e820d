"""Runs that come after others, made while these end: made ready once, never forgotten."""

from __future__ import annotations

import pytest

from tests.races.scenes import history, leased, queued
from tests.races.stepper import Stepper
from tests.support import Connection, value

AFTER = "select e.status from tide.enqueue('next', run_id => %(next)s, after => array[{}]) as e"
COMPLETE = "select r.status from tide.complete(%({0})s, %({0}_lease)s) as r"
SEES = """
    select r.status, coalesce(r.waiting_on, 'nothing')
    from tide.runs as r
    where r.run_id = %(next)s
    """
NOTICE = "select tide._sweep('dependents', 10)"
NEXT = "019a8f4e-5b7c-7d3e-9f10-2b4c6d8e0f12"


@pytest.fixture
def before(stepper: Stepper, connection: Connection) -> None:
    """Two claimed runs, a and b, and a session for each that completes it."""
    stepper.facts["next"] = NEXT
    for name in ("a", "b"):
        stepper.facts[name], stepper.facts[f"{name}_lease"] = leased(connection, lease="1 day")
        stepper.session(name, end=COMPLETE.format(name))
    stepper.session(
        "e", enqueue=AFTER.format("%(a)s, %(b)s"), follow=AFTER.format("%(a)s"), sees=SEES
    )
    stepper.session("u", notice=NOTICE, sees=SEES)


def resumed(stepper: Stepper, connection: Connection) -> int:
    return history(connection, stepper.facts["next"]).count("run.resumed")


@pytest.mark.usefixtures("before")
def test_an_end_waits_for_an_enqueue_that_names_its_run_and_makes_it_ready(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.play(
        """
        e.begin
        e.follow   queued
        a.end      waiting
        e.sees     queued, after
        e.commit
        a.end      completed
        e.sees     queued, nothing
        """
    )
    assert resumed(stepper, connection) == 1


@pytest.mark.usefixtures("before")
def test_an_enqueue_waits_for_an_end_under_way_and_counts_it(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.play(
        """
        a.begin
        a.end      completed
        e.follow   waiting
        a.commit
        e.follow   queued
        e.sees     queued, nothing
        """
    )
    assert resumed(stepper, connection) == 1


@pytest.mark.usefixtures("before")
def test_an_enqueue_that_is_rolled_back_leaves_nobody_waiting(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.play(
        """
        e.begin
        e.follow   queued
        a.end      waiting
        e.rollback
        a.end      completed
        u.notice   0
        e.sees     nothing
        """
    )


@pytest.mark.usefixtures("before")
def test_two_ends_at_the_same_instant_leave_it_to_upkeep(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.play(
        """
        e.enqueue  queued
        a.begin
        b.begin
        a.end      completed
        b.end      completed
        a.commit
        u.notice   0
        b.commit
        u.sees     queued, after
        u.notice   1
        u.sees     queued, nothing
        u.notice   0
        """
    )
    assert resumed(stepper, connection) == 1


@pytest.mark.usefixtures("before")
def test_an_end_that_is_rolled_back_made_nothing_ready(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.play(
        """
        e.follow   queued
        a.begin
        a.end      completed
        a.rollback
        u.sees     queued, after
        a.end      completed
        u.sees     queued, nothing
        """
    )
    assert resumed(stepper, connection) == 1


def test_a_cancel_of_a_waiting_run_beside_the_end_before_it_is_kept(
    stepper: Stepper, connection: Connection, before: None
) -> None:
    stepper.session("c", cancel="select r.status from tide.cancel(%(next)s) as r")
    stepper.play(
        """
        e.follow   queued
        c.begin
        c.cancel   cancelled
        a.end      completed
        c.commit
        u.notice   1
        u.sees     cancelled, nothing
        """
    )
    assert queued(connection) is not None


@pytest.mark.usefixtures("before")
def test_an_end_waits_for_a_spawn_whose_child_comes_after_it(
    stepper: Stepper, connection: Connection
) -> None:
    family(stepper, connection)
    stepper.play(
        """
        p.begin
        p.spawn    queued
        a.end      waiting
        p.commit
        a.end      completed
        p.sees     queued, nothing
        """
    )
    assert history(connection, child(stepper, connection)).count("run.resumed") == 1


@pytest.mark.usefixtures("before")
def test_a_spawn_waits_for_an_end_under_way_and_counts_it(
    stepper: Stepper, connection: Connection
) -> None:
    family(stepper, connection)
    stepper.play(
        """
        a.begin
        a.end      completed
        p.spawn    waiting
        a.commit
        p.spawn    queued
        p.sees     queued, nothing
        """
    )
    assert history(connection, child(stepper, connection)).count("run.resumed") == 1


@pytest.mark.usefixtures("before")
def test_of_parents_whose_children_come_after_each_other_the_later_is_refused(
    stepper: Stepper, connection: Connection
) -> None:
    """Both lock both rows in one order, so neither waits for a row the other may not give."""
    family(stepper, connection)
    stepper.session("q", spawn=SPAWN.format("b", "%(parent)s"))
    stepper.session("r", spawn=SPAWN.format("parent", "%(b)s"))
    stepper.play(
        """
        q.begin
        q.spawn    queued
        r.spawn    waiting
        q.commit
        r.spawn    22023
        """
    )


@pytest.mark.usefixtures("before")
def test_a_spawn_locks_its_parent_and_whom_its_child_comes_after_in_one_order(
    stepper: Stepper, connection: Connection
) -> None:
    """As an enqueue that names both does: else each would wait for what the other has."""
    family(stepper, connection)
    stepper.session(
        "x", lock="select 1 from tide.runs_active as r where r.run_id = %(a)s for no key update"
    )
    stepper.session("f", enqueue=AFTER.format("%(a)s, %(parent)s"))
    stepper.play(
        """
        x.begin
        x.lock      1
        f.enqueue   waiting
        p.spawn     waiting
        x.commit
        p.spawn     queued
        f.enqueue   queued
        """
    )


SPAWN = """
    select s.status
    from tide.spawn(
      %({0})s, %({0}_lease)s, 'child', 'next', queue => 'parts',
      options => jsonb_build_object('after', jsonb_build_array({1}::text))
    ) as s
    """
CHILD = "select e.child_id from tide.run_edges as e where e.parent_id = %(parent)s"


def family(stepper: Stepper, connection: Connection) -> None:
    facts = stepper.facts
    facts["parent"], facts["parent_lease"] = leased(connection, lease="1 day")
    stepper.session(
        "p",
        spawn=SPAWN.format("parent", "%(a)s"),
        sees=SEES.replace("%(next)s", f"({CHILD})"),
    )


def child(stepper: Stepper, connection: Connection) -> str:
    return str(value(connection, CHILD.replace("%(parent)s", "%s"), stepper.facts["parent"]))
