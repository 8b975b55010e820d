"""Limits that change while children spend: exact, no deadlock, and nobody is left parked."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.races.scenes import Leased, history, leased
from tests.races.stepper import Stepper
from tests.support import Connection, at_once, one, results, value, wait_until_blocked

CHILDREN = 8
STEPS = 10


def family(connection: Connection, children: int, budget: str) -> Leased:
    """A claimed parent with a budget and children in queue parts."""
    parent = leased(connection, lease="1 day", budget=budget)
    connection.execute(
        "select count(*) from tide.spawn_many(%s, %s, %s)",
        (
            *parent,
            Jsonb(
                [
                    {"edge": f"part {n}", "workflow": "part", "queue": "parts"}
                    for n in range(children)
                ]
            ),
        ),
    )
    return parent


def claimed(connection: Connection) -> Leased | None:
    row = connection.execute(
        "select c.run_id, c.lease_id from tide.claim('{parts}', lease => '1 day') as c"
    ).fetchone()
    return None if row is None else Leased(*row)


def work(connection: Connection, run: Leased) -> bool:
    """Steps of a child, each with its usage; whether it completed rather than park."""
    for number in range(STEPS):
        action = value(
            connection,
            "select b.action from tide.begin_step(%s, %s, %s) as b",
            *run,
            f"step {number}",
        )
        if action == "budget":
            return False
        if action == "execute":
            connection.execute(
                "select from tide.record_usage(%s, total_tokens => 1)", (run.run_id,)
            )
            connection.execute(
                "select from tide.complete_step(%s, %s, %s)", (*run, f"step {number}")
            )
    connection.execute("select from tide.complete(%s, %s)", run)
    return True


def spent(connection: Connection) -> Any:
    return one(connection, "select s.steps, s.tokens from tide.spending as s")


@pytest.fixture
def pair(stepper: Stepper, connection: Connection) -> None:
    """A parent that may start one step and two claimed children; facts of all three."""
    parent = family(connection, 2, '{"max_steps": 1}')
    facts = stepper.facts
    facts["parent"], facts["parent_lease"] = parent
    for name in ("a", "b"):
        child = claimed(connection)
        assert child is not None
        facts[name], facts[f"{name}_lease"] = child


BEGIN = "select s.action from tide.begin_step(%({0})s, %({0}_lease)s, 'plan') as s"
RAISE = (
    "select r.budget ->> 'max_steps' from tide.set_budget(%(parent)s, '{\"max_steps\": 2}') as r"
)
SEES = "select coalesce(r.waiting_on, 'nothing') from tide.runs as r where r.run_id = %(b)s"


@pytest.mark.usefixtures("pair")
def test_of_two_children_that_begin_at_once_one_takes_the_last_step(stepper: Stepper) -> None:
    stepper.session("a", step=BEGIN.format("a"))
    stepper.session("b", step=BEGIN.format("b"))
    stepper.play(
        """
        a.begin
        a.step     execute
        b.step     waiting
        a.commit
        b.step     budget
        """
    )


@pytest.mark.usefixtures("pair")
def test_the_last_step_is_free_again_when_its_begin_rolls_back(stepper: Stepper) -> None:
    stepper.session("a", step=BEGIN.format("a"))
    stepper.session("b", step=BEGIN.format("b"))
    stepper.play(
        """
        a.begin
        a.step       execute
        b.step       waiting
        a.rollback
        b.step       execute
        """
    )


@pytest.mark.usefixtures("pair")
def test_a_child_that_parks_beside_the_raise_is_resumed(stepper: Stepper) -> None:
    stepper.session("a", step=BEGIN.format("a"))
    stepper.session("b", step=BEGIN.format("b"))
    stepper.session("o", raises=RAISE, sees=SEES)
    stepper.play(
        """
        a.step      execute
        b.begin
        b.step      budget
        o.raises    waiting
        b.commit
        o.raises    2
        o.sees      nothing
        """
    )


@pytest.mark.usefixtures("pair")
def test_a_child_that_begins_after_the_raise_goes_on(stepper: Stepper) -> None:
    stepper.session("a", step=BEGIN.format("a"))
    stepper.session("b", step=BEGIN.format("b"))
    stepper.session("o", raises=RAISE)
    stepper.play(
        """
        a.step      execute
        o.begin
        o.raises    2
        b.step      waiting
        o.commit
        b.step      execute
        """
    )


@pytest.mark.usefixtures("pair")
def test_the_first_spending_beside_a_raise_does_not_deadlock(stepper: Stepper) -> None:
    stepper.session(
        "b",
        state="select s.version from tide.set_state(%(b)s, '1') as s",
        usage="select u.total_tokens from tide.record_usage(%(b)s, total_tokens => 3) as u",
        step=BEGIN.format("b"),
    )
    stepper.session("o", raises=RAISE)
    stepper.play(
        """
        b.begin
        b.state     1
        o.raises    waiting
        b.usage     3
        b.step      execute
        b.commit
        o.raises    2
        """
    )


def test_spending_of_a_child_in_flight_counts_when_a_budget_is_first_set(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["parent"], stepper.facts["lease"] = leased(connection)
    connection.execute(
        b"select tide.spawn(%(parent)s, %(lease)s, 'b', 'part', queue => 'parts')", stepper.facts
    )
    stepper.facts["b"], stepper.facts["b_lease"] = claimed(connection) or (None, None)
    stepper.session(
        "b",
        usage="select u.total_tokens from tide.record_usage(%(b)s, total_tokens => 3) as u",
        step=BEGIN.format("b"),
    )
    stepper.session("o", raises=RAISE)
    stepper.play(
        """
        b.begin
        b.usage     3
        b.step      execute
        o.raises    waiting
        b.commit
        o.raises    2
        """
    )
    assert spent(connection) == (1, 3)


def test_spending_beside_a_retry_is_charged_to_the_retried_run(
    stepper: Stepper, connection: Connection
) -> None:
    run = leased(connection, budget='{"max_tokens": 9}')
    stepper.facts["run"] = run.run_id
    connection.execute("select tide.cancel(%s)", (run.run_id,))
    stepper.session("r", retry="select r.status from tide.retry(%(run)s) as r")
    stepper.session(
        "u",
        usage="select u.total_tokens from tide.record_usage(%(run)s, total_tokens => 3) as u",
        send="select tide.send_event(%(run)s, 'paid')",
    )
    stepper.play(
        """
        r.begin
        r.retry    queued
        u.send     TD001
        u.usage    waiting
        r.commit
        u.usage    3
        u.send     yes
        """
    )
    assert spent(connection).tokens == 3
    assert history(connection, run.run_id)[-2:] == ["run.retried", "usage.recorded"]


def test_a_grandchild_spawned_beside_the_raise_is_resumed(
    stepper: Stepper, connection: Connection
) -> None:
    parent = family(connection, 2, '{"max_steps": 0}')
    facts = stepper.facts
    facts["parent"] = parent.run_id
    for name in ("a", "b"):
        facts[name], facts[f"{name}_lease"] = claimed(connection) or (None, None)
    stepper.session("a", hold="select s.version from tide.set_state(%(a)s, '1') as s")
    stepper.session(
        "b",
        spawn="""
            select s.status
            from tide.spawn(%(b)s, %(b_lease)s, 'c', 'part', queue => 'parts') as s
            """,
        parks="""
            select s.action
            from tide.claim('{parts}') as c, tide.begin_step(c.run_id, c.lease_id, 'plan') as s
            """,
        parked="select count(*) from tide.runs_active as r where r.waiting_on = 'budget'",
    )
    stepper.session("o", raises=RAISE)
    stepper.play(
        """
        a.begin
        a.hold      1
        o.raises    waiting
        b.spawn     queued
        b.parks     budget
        b.parked    1
        a.commit
        o.raises    2
        b.parked    0
        """
    )


def test_a_common_budget_is_spent_to_the_last_step_and_not_beyond(
    connection: Connection, connect: Callable[..., Connection]
) -> None:
    family(connection, CHILDREN, '{"max_steps": 37}')

    def worker() -> None:
        own = connect()
        while run := claimed(own):
            work(own, run)

    results(at_once([worker] * CHILDREN))
    assert spent(connection).steps == 37
    assert value(connection, "select count(*) from tide.steps") == 37
    assert value(
        connection,
        "select count(*) from tide.runs_active as r where r.waiting_on = 'budget'",
    ) == CHILDREN - value(
        connection, "select count(*) from tide.runs_finished as r where r.status = 'completed'"
    )


def test_limits_raised_while_children_spend_leave_nobody_parked(
    connection: Connection, connect: Callable[..., Connection]
) -> None:
    parent = family(connection, CHILDREN, '{"max_steps": 0}')
    total = CHILDREN * STEPS
    raised = Event()

    def worker() -> None:
        own = connect()
        while True:
            last = raised.is_set()
            run = claimed(own)
            if run is not None:
                work(own, run)
            elif last:
                return

    def operator() -> None:
        own = connect()
        try:
            for limit in range(1, total + 1):
                own.execute(
                    "select from tide.set_budget(%s, %s)",
                    (parent.run_id, Jsonb({"max_steps": limit})),
                )
        finally:
            raised.set()

    results(at_once([operator, *[worker] * CHILDREN]))
    assert (
        value(
            connection,
            "select count(*) from tide.runs_active as r where r.parent_id is not null",
        )
        == 0
    )
    assert spent(connection) == (total, total)


def test_a_budget_set_beside_reports_of_parent_and_child_does_not_deadlock(
    connection: Connection, connect: Callable[..., Connection]
) -> None:
    """Also where the id of the parent sorts after that of its child: reports never wait."""
    parent = UUID("ffffffff-0000-7000-8000-000000000001")
    connection.execute("select from tide.enqueue('p', queue => 'd', run_id => %s)", (parent,))
    own = one(connection, "select run_id, lease_id from tide.claim('{d}', lease => '1 day')")
    connection.execute("select from tide.spawn(%s, %s, 'c', 'k', queue => 'd')", tuple(own))
    child = one(connection, "select run_id, lease_id from tide.claim('{d}', lease => '1 day')")
    holder, setter = connect(autocommit=False), connect()
    holder.execute("select from tide.runs_active where run_id = %s for update", (child.run_id,))
    setting = Thread(
        target=setter.execute,
        args=("select from tide.set_budget(%s, '{\"max_steps\": 5}')", (parent,)),
    )
    setting.start()
    try:
        # It has the parent and waits for the child.
        wait_until_blocked(connection, setter.info.backend_pid)
        outcomes = [
            {"run_id": str(run.run_id), "lease_id": str(run.lease_id), "result": 1}
            for run in (child, own)
        ]
        rows = connection.execute("select * from tide.settle(%s)", (Jsonb(outcomes),)).fetchall()
        assert [(row.accepted, row.reason) for row in rows] == [(False, "busy")] * 2
    finally:
        holder.rollback()
        setting.join(60)
    assert value(connection, "select budget from tide.get_run(%s)", parent) == {"max_steps": 5}
    rows = connection.execute("select * from tide.settle(%s)", (Jsonb(outcomes),)).fetchall()
    assert all(row.accepted for row in rows)
