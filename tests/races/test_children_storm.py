"""Many children that end at once: no deadlock, and their parent is woken once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from threading import Barrier, Event
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.races.scenes import Leased, history, leased
from tests.races.storm import LONGEST
from tests.support import Clock, Connection, at_once, one, results, value

ROUNDS = 100
CHILDREN = 1000
WORKERS = 8


def family(connection: Connection, children: int, **options: Any) -> Leased:
    """A claimed parent with children in queue parts."""
    parent = leased(connection, lease="1 day")
    connection.execute(
        "select count(*) from tide.spawn_many(%s, %s, %s)",
        (
            *parent,
            Jsonb(
                [
                    {"edge": f"part {n}", "workflow": "part", "queue": "parts", **options}
                    for n in range(children)
                ]
            ),
        ),
    )
    return parent


def claimed(connection: Connection, max_runs: int) -> list[Leased]:
    rows = connection.execute(
        "select c.run_id, c.lease_id from tide.claim('{parts}', %s, lease => '1 day') as c",
        (max_runs,),
    ).fetchall()
    return [Leased(*row) for row in rows]


def active(connection: Connection, parent_id: UUID) -> int:
    count: int = value(
        connection,
        "select count(*) from tide.runs_active as r where r.parent_id = %s",
        parent_id,
    )
    return count


def waiting_on(connection: Connection, run_id: UUID) -> str | None:
    found: str | None = value(
        connection, "select r.waiting_on from tide.runs as r where r.run_id = %s", run_id
    )
    return found


@pytest.mark.parametrize("parks_first", [True, False])
def test_the_last_two_children_wake_their_parent_once_under_load(
    connection: Connection, connect: Callable[..., Connection], parks_first: bool
) -> None:
    together = Barrier(3, timeout=LONGEST)
    over = Event()
    scenes: list[tuple[Leased, list[Leased]]] = []
    for _ in range(ROUNDS):
        parent = family(connection, 2)
        scenes.append((parent, claimed(connection, 2)))
        if parks_first:
            connection.execute("select from tide.await_children(%s, %s)", parent)

    def child(number: int) -> Callable[[], None]:
        own = connect()

        def end() -> None:
            for _, children in scenes:
                together.wait()
                own.execute("select from tide.complete(%s, %s)", children[number])

        return end

    def parents() -> list[bool]:
        own = connect()
        parked = []
        for parent, _ in scenes:
            together.wait()
            if parks_first:
                parked.append(True)
            else:
                rows = own.execute(
                    "select a.parked from tide.await_children(%s, %s) as a", parent
                ).fetchall()
                parked.append(rows[0].parked)
        over.set()
        return parked

    def load() -> None:
        own = connect()
        while not over.is_set():
            own.execute("select tide.enqueue('noise', queue => 'noise')")
            own.execute(
                "select from tide.claim('{noise}') as c, tide.complete(c.run_id, c.lease_id)"
            )

    outcomes = at_once([parents, child(0), child(1), load])
    parked = results(outcomes)[0]
    connection.execute("call tide.reconcile()")
    for (parent, _), was_parked in zip(scenes, parked, strict=True):
        assert waiting_on(connection, parent.run_id) is None
        assert history(connection, parent.run_id).count("run.resumed") == int(was_parked)


@pytest.mark.parametrize("batch", [1, 10])
def test_a_thousand_children_through_eight_connections_wake_their_parent_once(
    connection: Connection, connect: Callable[..., Connection], batch: int
) -> None:
    parent = family(connection, CHILDREN)
    connection.execute("select from tide.await_children(%s, %s)", parent)

    def worker() -> int:
        own = connect()
        ended = 0
        while runs := claimed(own, batch):
            outcomes = [
                {"run_id": str(run.run_id), "lease_id": str(run.lease_id), "result": 1}
                for run in runs
            ]
            while outcomes:  # a run whose row another child's end holds is said again
                rows = own.execute(
                    "select s.run_id::text, s.accepted, s.reason from tide.settle(%s) as s",
                    (Jsonb(outcomes),),
                ).fetchall()
                ended += sum(row.accepted for row in rows)
                busy = {row.run_id for row in rows if row.reason == "busy"}
                outcomes = [one for one in outcomes if one["run_id"] in busy]
        return ended

    assert sum(results(at_once([worker] * WORKERS))) == CHILDREN
    connection.execute("call tide.reconcile()")
    assert history(connection, parent.run_id).count("run.resumed") == 1
    assert active(connection, parent.run_id) == 0
    (again,) = connection.execute("select c.run_id, c.lease_id from tide.claim() as c").fetchall()
    statuses = connection.execute(
        "select a.status, count(*) from tide.await_children(%s, %s) as a group by a.status", again
    ).fetchall()
    assert statuses == [("completed", CHILDREN)]


def test_parents_that_wait_beside_batches_of_their_ending_children_never_deadlock(
    connection: Connection, connect: Callable[..., Connection]
) -> None:
    parents = [family(connection, 40) for _ in range(10)]
    together = Barrier(5, timeout=LONGEST)

    def worker() -> None:
        own = connect()
        together.wait()
        while runs := claimed(own, 25):
            outcomes = [{"run_id": str(run.run_id), "lease_id": str(run.lease_id)} for run in runs]
            while outcomes:  # a row that is held is passed over, and reported again
                answers = own.execute(
                    "select s.run_id from tide.settle(%s) as s where s.reason = 'busy'",
                    (Jsonb(outcomes),),
                ).fetchall()
                busy = {str(answer.run_id) for answer in answers}
                outcomes = [one for one in outcomes if one["run_id"] in busy]

    def waiting() -> list[bool]:
        own = connect()
        together.wait()
        return [
            own.execute("select a.parked from tide.await_children(%s, %s) as a", parent)
            .fetchall()[0]
            .parked
            for parent in parents
        ]

    parked = results(at_once([waiting, *[worker] * 4]))[0]
    connection.execute("call tide.reconcile()")
    for parent, was_parked in zip(parents, parked, strict=True):
        assert waiting_on(connection, parent.run_id) is None
        assert history(connection, parent.run_id).count("run.resumed") == int(was_parked)


def test_cancel_of_a_parent_reaches_a_thousand_children_that_complete_meanwhile(
    connection: Connection, connect: Callable[..., Connection], clock: Clock
) -> None:
    parent = family(connection, CHILDREN)
    connection.execute("select from tide.await_children(%s, %s)", parent)
    running = Event()
    over = Event()
    claims = itertools.count(1)

    def worker() -> int:
        own = connect()
        ended = 0
        while runs := claimed(own, 5):
            # However slow the canceller is, something is left for it.
            if next(claims) > CHILDREN // 10:
                over.wait()
            for run in runs:
                try:
                    own.execute("select from tide.complete(%s, %s)", run)
                    ended += 1
                except psycopg.Error as error:
                    assert error.sqlstate == "TD001", error
            if ended > 10:
                running.set()
        return ended

    def canceller() -> int:
        own = connect()
        running.wait()
        own.execute("select from tide.cancel(%s, 'enough')", (parent.run_id,))
        cancelled = 0
        while count := value(own, "select tide.cancel_children(%s, 50)", parent.run_id):
            cancelled += count
        over.set()
        return cancelled

    def upkeep() -> None:
        own = connect()
        while not over.is_set():
            own.execute("call tide.reconcile(batch => 20)")

    results(at_once([canceller, upkeep, *[worker] * WORKERS]))
    connection.execute("call tide.reconcile()")
    assert active(connection, parent.run_id) == 0
    assert value(connection, "select count(*) from tide.cascades") == 0
    row = one(
        connection,
        """
        select
          count(*) filter (where r.status = 'completed') as completed,
          count(*) filter (where r.status = 'cancelled') as cancelled,
          count(*) filter (where e.child_status = r.status) as noted
        from tide.run_edges as e
        join tide.runs as r on r.run_id = e.child_id
        where e.parent_id = %s
        """,
        parent.run_id,
    )
    assert row.completed + row.cancelled == row.noted == CHILDREN
    assert row.completed > 0
    assert row.cancelled > 0
    assert history(connection, parent.run_id)[-1] == "run.cancelled"


def test_cancel_of_a_parent_is_all_done_by_one_upkeep(connection: Connection) -> None:
    parent = family(connection, CHILDREN)
    middle = claimed(connection, 30)
    for run in middle:
        connection.execute("select from tide.spawn(%s, %s, 'a', 'part', queue => 'parts')", run)
    connection.execute("select from tide.cancel(%s)", (parent.run_id,))
    connection.execute("call tide.reconcile()")
    assert value(connection, "select count(*) from tide.runs_active") == 0
    assert value(connection, "select count(*) from tide.cascades") == 0
