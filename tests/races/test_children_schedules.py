"""Children that end while their parent parks, ends or is looked at: woken once, never forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.races.scenes import history, leased
from tests.races.stepper import Stepper
from tests.support import Connection, one, value

WAIT = """
    select a.parked, a.edge, a.status
    from tide.await_children(%(parent)s, %(lease)s, mode => '{}') as a
    """
COMPLETE = "select r.status from tide.complete(%({0})s, %({0}_lease)s) as r"
SEES = """
    select r.status, coalesce(r.waiting_on, 'nothing')
    from tide.runs as r
    where r.run_id = %(parent)s
    """
NOTICE = "select tide._sweep('ended_children', 10)"
CASCADE = "select tide._sweep('cascades', 10)"
CANCEL = "select r.status from tide.cancel(%(parent)s) as r"

Family = Callable[..., None]


@pytest.fixture
def family(stepper: Stepper, connection: Connection) -> Family:
    """Makes a claimed parent and claimed children; facts parent, lease, and of each edge two."""

    def make(*edges: str) -> None:
        facts = stepper.facts
        facts["parent"], facts["lease"] = leased(connection, lease="1 day")
        for edge in edges:
            child = one(
                connection,
                "select s.child_id from tide.spawn(%s, %s, %s, 'part', queue => 'parts') as s",
                facts["parent"],
                facts["lease"],
                edge,
            )
            facts[edge] = child.child_id
            facts[f"{edge}_lease"] = value(
                connection, "select c.lease_id from tide.claim('{parts}', lease => '1 day') as c"
            )

    return make


def resumed(stepper: Stepper, connection: Connection) -> int:
    return history(connection, stepper.facts["parent"]).count("run.resumed")


def children_end(stepper: Stepper, *edges: str) -> None:
    """A session for each child, with the step that completes it."""
    for edge in edges:
        stepper.session(edge, end=COMPLETE.format(edge))


def test_the_last_child_wakes_the_parent_in_its_own_transaction(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a", "b")
    children_end(stepper, "a", "b")
    stepper.session("p", wait=WAIT.format("all"), sees=SEES)
    stepper.play(
        """
        p.wait    yes, null, null
        a.end     completed
        p.sees    queued, children
        b.begin
        b.end     completed
        p.sees    queued, children
        b.commit
        p.sees    queued, nothing
        """
    )
    assert resumed(stepper, connection) == 1


def test_two_last_children_that_do_not_see_each_other_wake_the_parent_by_upkeep(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a", "b")
    children_end(stepper, "a", "b")
    stepper.session("p", wait=WAIT.format("all"), sees=SEES)
    stepper.session("u", notice=NOTICE)
    stepper.play(
        """
        p.wait     yes, null, null
        a.begin
        a.end      completed
        b.begin
        b.end      completed
        u.notice   0
        a.commit
        u.notice   1
        b.commit
        p.sees     queued, children
        u.notice   1
        p.sees     queued, nothing
        u.notice   0
        """
    )
    assert resumed(stepper, connection) == 1


def test_an_idle_worker_looks_after_children_that_did_not_see_each_other(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a", "b")
    children_end(stepper, "a", "b")
    stepper.session("p", wait=WAIT.format("all"), sees=SEES)
    stepper.session(
        "idle",
        register="select tide.await_work('idle')",
        waits="select count(*) from tide.waiters",
        looks="select tide.next_wakeup() <= interval '1 s'",
    )
    stepper.play(
        """
        p.wait         yes, null, null
        idle.register  0:00:10
        a.begin
        a.end          completed
        b.begin
        b.end          completed
        a.commit
        b.commit
        p.sees         queued, children
        idle.waits     0
        idle.looks     yes
        """
    )
    connection.execute("update tide.ticks set next_at = tide._now()")
    assert value(connection, "select c.run_id from tide.claim() as c") == stepper.facts["parent"]


def test_a_last_child_that_rolls_back_wakes_nobody(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a", "b")
    children_end(stepper, "a", "b")
    stepper.session("p", wait=WAIT.format("all"), sees=SEES)
    stepper.session("u", notice=NOTICE)
    stepper.play(
        """
        p.wait      yes, null, null
        a.begin
        a.end       completed
        b.begin
        b.end       completed
        a.rollback
        b.commit
        u.notice    1
        p.sees      queued, children
        a.end       completed
        p.sees      queued, nothing
        """
    )
    assert resumed(stepper, connection) == 1


def test_a_child_that_ends_while_the_parent_parks_wakes_it(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a")
    children_end(stepper, "a")
    stepper.session("p", wait=WAIT.format("all"))
    stepper.session("o", sees=SEES)
    stepper.play(
        """
        p.begin
        p.wait    yes, null, null
        a.end     waiting
        p.commit
        a.end     completed
        o.sees    queued, nothing
        """
    )
    assert resumed(stepper, connection) == 1


def test_a_parent_that_waits_while_the_child_ends_does_not_park(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a")
    children_end(stepper, "a")
    stepper.session("p", wait=WAIT.format("all"))
    stepper.play(
        """
        a.begin
        a.end     completed
        p.wait    waiting
        a.commit
        p.wait    no, a, completed
        """
    )
    assert "run.parked" not in history(connection, stepper.facts["parent"])


def test_a_parent_that_waits_parks_when_the_child_does_not_end_after_all(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a")
    children_end(stepper, "a")
    stepper.session("p", wait=WAIT.format("all"), sees=SEES)
    stepper.play(
        """
        a.begin
        a.end       completed
        p.wait      waiting
        a.rollback
        p.wait      yes, null, null
        a.end       completed
        p.sees      queued, nothing
        """
    )


@pytest.mark.parametrize("first", ["p", "b"])
def test_a_parent_that_parks_again_beside_an_ending_child_is_woken_by_upkeep(
    stepper: Stepper, connection: Connection, family: Family, first: str
) -> None:
    family("a", "b")
    children_end(stepper, "a", "b")
    stepper.session(
        "p",
        any=WAIT.format("any"),
        wait=WAIT.format("all"),
    )
    stepper.session("u", notice=NOTICE, sees=SEES)
    stepper.play("p.any yes, null, null\na.end completed\nu.sees queued, nothing\nu.notice 1")
    stepper.facts["lease"] = value(
        connection, "select c.lease_id from tide.claim(lease => '1 day') as c"
    )
    second = "b" if first == "p" else "p"
    stepper.play(
        f"""
        b.begin
        b.end       completed
        p.begin
        p.wait      yes, null, null
        u.notice    0
        {first}.commit
        u.notice    0
        {second}.commit
        u.sees      queued, children
        u.notice    1
        u.sees      queued, nothing
        """
    )
    assert resumed(stepper, connection) == 2


def test_a_child_that_ends_while_upkeep_looks_is_not_overlooked(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a", "b")
    # A breakpoint: who asks for it stops after a look at a parent that wakes nobody.
    source = value(connection, "select pg_get_functiondef('tide._wake_parent(uuid)'::regprocedure)")
    stop = """
        if current_setting('tide_test.stops', true) = 'on' then
          perform pg_advisory_xact_lock(42);
        end if;
        return false;
        """
    assert source.count("return false;") == 1
    connection.execute(source.replace("return false;", stop).encode())
    children_end(stepper, "a", "b")
    stepper.session("p", wait=WAIT.format("all"), sees=SEES)
    stepper.session("u", stops="set tide_test.stops = 'on'", notice=NOTICE)
    stepper.session("h", hold="select pg_advisory_xact_lock(42) is null")
    stepper.play(
        """
        p.wait     yes, null, null
        a.end      completed
        h.begin
        h.hold     no
        u.stops    nothing
        u.notice   waiting
        b.end      completed
        p.sees     queued, children
        h.commit
        u.notice   1
        p.sees     queued, children
        u.notice   1
        p.sees     queued, nothing
        """
    )
    assert resumed(stepper, connection) == 1


def test_children_that_end_together_beside_the_wait_for_them_do_not_deadlock(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("z", "m", "a")
    facts = stepper.facts
    # Plans as of a busy table, and rows that lie in another order than their children were made.
    connection.execute(
        """
        insert into tide.run_edges (parent_id, edge, child_id, created_at)
        select gen_random_uuid(), 'other', gen_random_uuid(), now()
        from generate_series(1, 2000);
        """
    )
    for edge in ("m", "z"):
        for awaited in (True, False):
            connection.execute(
                "update tide.run_edges set awaited = %s where edge = %s", (awaited, edge)
            )
    connection.execute("vacuum analyze tide.run_edges")
    outcomes = ", ".join(
        f"jsonb_build_object('run_id', %({edge})s::uuid, 'lease_id', %({edge}_lease)s::uuid)"
        for edge in "zma"
    )
    stepper.session(
        "s",
        settle=f"""
            select count(s)
            from tide.settle_and_claim(jsonb_build_array({outcomes}), max_runs => 0) as s
            """,
    )
    stepper.session("p", wait=WAIT.format("all"))
    stepper.session(
        "x", lock="select e.edge from tide.run_edges as e where e.edge = 'm' for no key update"
    )
    stepper.play(
        """
        x.begin
        x.lock     m
        s.settle   waiting
        p.wait     waiting
        x.commit
        s.settle   0
        p.wait     no, z, completed; no, m, completed; no, a, completed
        """
    )
    assert facts["z"] < facts["m"] < facts["a"]


def test_a_parent_held_by_somebody_else_is_woken_by_upkeep(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a")
    children_end(stepper, "a")
    stepper.session("p", wait=WAIT.format("all"), sees=SEES)
    stepper.session("o", send="select tide.send_event(%(parent)s, 'hello')", notice=NOTICE)
    stepper.session("u", notice=NOTICE)
    stepper.play(
        """
        p.wait     yes, null, null
        o.begin
        o.send     yes
        a.end      completed
        u.notice   0
        o.commit
        p.sees     queued, children
        u.notice   1
        p.sees     queued, nothing
        """
    )
    assert resumed(stepper, connection) == 1


def test_a_child_that_ends_beside_the_cancel_of_its_parent_ends_as_it_said(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a", "b")
    children_end(stepper, "a", "b")
    stepper.session("c", cancel=CANCEL)
    stepper.session(
        "u",
        follow=CASCADE,
        left="select count(*) from tide.cascades",
        child="select r.status from tide.runs as r where r.run_id = %(b)s",
    )
    stepper.play(
        """
        c.begin
        c.cancel   cancelled
        a.end      completed
        u.follow   0
        c.commit
        b.begin
        b.end      completed
        u.follow   0
        u.left     1
        b.commit
        u.child    completed
        u.follow   1
        u.left     0
        """
    )


def test_a_child_that_ends_after_the_cascade_took_it_is_told(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family("a")
    children_end(stepper, "a")
    stepper.session("c", cancel=CANCEL)
    stepper.session("u", follow=CASCADE)
    stepper.play(
        """
        c.cancel   cancelled
        u.begin
        u.follow   1
        a.end      waiting
        u.commit
        a.end      TD001
        """
    )


def test_a_child_spawned_beside_the_cancel_of_its_parent_follows_it(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family()
    stepper.session(
        "p",
        spawn="""
            select s.status
            from tide.spawn(%(parent)s, %(lease)s, 'late', 'part', queue => 'parts') as s
            """,
    )
    stepper.session("c", cancel=CANCEL)
    stepper.session("u", follow=CASCADE)
    stepper.play(
        """
        p.begin
        p.spawn    queued
        c.cancel   waiting
        p.commit
        c.cancel   cancelled
        u.follow   1
        p.spawn    TD001
        """
    )
    assert value(connection, "select count(*) from tide.runs_active") == 0


def test_two_calls_of_one_worker_spawn_one_child(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family()
    spawn = "select s.created from tide.spawn(%(parent)s, %(lease)s, 'a', 'part') as s"
    stepper.session("a", spawn=spawn)
    stepper.session("b", spawn=spawn)
    stepper.play(
        """
        a.begin
        a.spawn    yes
        b.spawn    waiting
        a.commit
        b.spawn    no
        """
    )


def test_an_event_sent_while_the_run_parks_wakes_it(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family()
    facts: dict[str, Any] = stepper.facts
    wait = "select a.parked, a.received from tide.await_event(%(parent)s, %(lease)s, 'paid') as a"
    send = "select tide.send_event(%(parent)s, 'paid', '1')"
    stepper.session("p", wait=wait, sees=SEES)
    stepper.session("s", send=send)
    stepper.session("t", send=send)
    stepper.play(
        """
        p.begin
        p.wait     yes, no
        s.send     waiting
        p.commit
        s.send     yes
        t.send     yes
        p.sees     queued, nothing
        """
    )
    facts["lease"] = value(connection, "select c.lease_id from tide.claim() as c")
    stepper.play("p.wait no, yes")


def test_two_events_sent_at_once_are_both_kept_in_order(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family()
    stepper.session("s", send="select tide.send_event(%(parent)s, 'paid', '1')")
    stepper.session("t", send="select tide.send_event(%(parent)s, 'paid', '2')")
    stepper.play(
        """
        s.begin
        s.send     yes
        t.send     waiting
        s.commit
        t.send     yes
        """
    )
    kept = "select array_agg(s.payload::text order by s.seq) from tide.signals as s"
    assert value(connection, kept) == ["1", "2"]


def test_two_calls_with_one_fork_id_make_one_fork(
    stepper: Stepper, connection: Connection, family: Family
) -> None:
    family()
    facts = stepper.facts
    connection.execute(b"select tide.begin_step(%(parent)s, %(lease)s, 'plan')", facts)
    connection.execute(b"select tide.complete_step(%(parent)s, %(lease)s, 'plan')", facts)
    connection.execute(b"select tide.begin_step(%(parent)s, %(lease)s, 'send')", facts)
    facts["fork"] = value(connection, "select gen_random_uuid()")
    fork = "select f.run_id from tide.fork_run(%(parent)s, 'send', fork_id => %(fork)s) as f"
    stepper.session("a", fork=fork)
    stepper.session("b", fork=fork)
    stepper.play(
        """
        a.begin
        a.fork     fork
        b.fork     waiting
        a.commit
        b.fork     fork
        """
    )
    assert history(connection, facts["fork"]) == ["run.enqueued"]
