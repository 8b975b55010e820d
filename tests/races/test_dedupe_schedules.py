"""Enqueues with one dedupe key or one run_id beside whatever else happens to the run."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.races.scenes import Leased, history, leased, queued
from tests.races.stepper import Stepper
from tests.support import Connection, value

ENQUEUE = "select e.deduplicated, e.status from tide.enqueue('work', dedupe_key => 'key') as e"
REPLACE = """
    select e.deduplicated, e.status
    from tide.enqueue(
      'work', dedupe_key => 'key', on_conflict => 'replace', input => '"newest"'
    ) as e
    """
COMPLETE = "select r.status from tide.complete(%(run)s, %(lease)s) as r"
CANCEL = "select r.status from tide.cancel(%(run)s) as r"
NEWEST = "select count(*) from tide.runs_active as r where r.input = '\"newest\"'"


def keyed(stepper: Stepper, connection: Connection) -> Leased:
    """A run with the key, held by a worker; facts run and lease."""
    held = leased(connection, dedupe_key="key")
    stepper.facts["run"], stepper.facts["lease"] = held
    return held


@pytest.mark.parametrize(("end", "answer"), [("commit", "yes, queued"), ("rollback", "no, queued")])
def test_an_enqueue_waits_for_the_other_insert_and_takes_its_fate(
    stepper: Stepper, connection: Connection, end: str, answer: str
) -> None:
    stepper.session("a", enqueue=ENQUEUE)
    stepper.session("b", enqueue=ENQUEUE)
    stepper.play(
        f"""
        a.begin
        a.enqueue   no, queued
        b.enqueue   waiting
        a.{end}
        b.enqueue   {answer}
        """
    )
    assert value(connection, "select count(*) from tide.runs") == 1
    assert value(connection, "select count(*) from tide.event_log") == 1


@pytest.mark.parametrize(
    "call",
    [
        "select h.state from tide.heartbeat(array[%(run)s], array[%(lease)s]) as h",
        "select s.action from tide.begin_step(%(run)s, %(lease)s, 'step') as s",
    ],
    ids=["heartbeat", "begin_step"],
)
def test_an_enqueue_does_not_wait_for_an_open_write_to_the_active_run(
    stepper: Stepper, connection: Connection, call: str
) -> None:
    keyed(stepper, connection)
    stepper.session("a", write=call)
    stepper.session("b", enqueue=ENQUEUE)
    stepper.play(
        f"""
        a.begin
        a.write     {"held" if "heartbeat" in call else "execute"}
        b.enqueue   yes, running
        a.commit
        b.enqueue   yes, running
        """
    )


def test_an_enqueue_beside_an_open_completion_finds_the_run_and_after_it_makes_one(
    stepper: Stepper, connection: Connection
) -> None:
    keyed(stepper, connection)
    stepper.session("a", complete=COMPLETE)
    stepper.session("b", enqueue=ENQUEUE)
    stepper.play(
        """
        a.begin
        a.complete  completed
        b.enqueue   yes, running
        a.commit
        b.enqueue   no, queued
        b.enqueue   yes, queued
        """
    )


def test_a_completion_and_the_next_enqueue_may_share_a_transaction(
    stepper: Stepper, connection: Connection
) -> None:
    keyed(stepper, connection)
    stepper.session("a", complete=COMPLETE, enqueue=ENQUEUE)
    stepper.session("b", enqueue=ENQUEUE, complete=COMPLETE)
    stepper.play(
        """
        a.begin
        a.complete  completed
        a.enqueue   no, queued
        b.enqueue   yes, running
        a.rollback
        b.complete  completed
        b.enqueue   no, queued
        """
    )
    assert history(connection, stepper.facts["run"])[-1] == "run.completed"


def test_an_enqueue_that_met_a_completed_insert_of_another_looks_again(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", enqueue=ENQUEUE, end="select tide.cancel_many('default')")
    stepper.session("b", enqueue=ENQUEUE)
    stepper.play(
        """
        a.begin
        a.enqueue   no, queued
        b.enqueue   waiting
        a.end       1
        a.commit
        b.enqueue   no, queued
        """
    )


@pytest.mark.parametrize(
    ("end", "answer"), [("commit", "yes, running"), ("rollback", "yes, queued")]
)
def test_a_replace_beside_an_open_claim_answers_what_the_run_has_become(
    stepper: Stepper, connection: Connection, end: str, answer: str
) -> None:
    stepper.facts["run"] = queued(connection, dedupe_key="key")
    stepper.session("a", claim="select c.run_id from tide.claim() as c")
    stepper.session("b", replace=REPLACE)
    stepper.play(
        f"""
        a.begin
        a.claim     run
        b.replace   waiting
        a.{end}
        b.replace   {answer}
        """
    )
    assert value(connection, NEWEST) == (1 if end == "rollback" else 0)


def test_a_replace_that_meets_a_cancelled_run_loses_nothing(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["run"] = queued(connection, dedupe_key="key")
    stepper.session("a", cancel=CANCEL)
    stepper.session("b", replace=REPLACE)
    stepper.play(
        """
        a.begin
        a.cancel    cancelled
        b.replace   waiting
        a.commit
        b.replace   no, queued
        """
    )
    assert value(connection, NEWEST) == 1


@pytest.mark.parametrize(("end", "answer"), [("commit", "TD023"), ("rollback", "queued")])
def test_a_retry_waits_for_an_insert_with_its_key(
    stepper: Stepper, connection: Connection, end: str, answer: str
) -> None:
    keyed(stepper, connection)
    connection.execute("select tide.cancel(%s)", (stepper.facts["run"],))
    stepper.session("a", enqueue=ENQUEUE)
    stepper.session("b", retry="select r.status from tide.retry(%(run)s) as r")
    stepper.play(
        f"""
        a.begin
        a.enqueue   no, queued
        b.retry     waiting
        a.{end}
        b.retry     {answer}
        """
    )
    run = value(
        connection, "select r.status from tide.runs as r where r.run_id = %s", stepper.facts["run"]
    )
    assert run == ("cancelled" if answer == "TD023" else "queued")


@pytest.mark.parametrize(
    "call",
    [
        "select r.run_id from tide.create_run('work', run_id => %(mine)s) as r",
        "select e.run_id from tide.enqueue('work', run_id => %(mine)s) as e",
        "select e.run_id from tide.enqueue('work', run_id => %(mine)s, dedupe_key => 'key') as e",
        """
        select e.run_id
        from tide.enqueue_many(
          'default',
          jsonb_build_array(jsonb_build_object('workflow', 'work', 'run_id', %(mine)s))
        ) as e
        """,
    ],
    ids=["create_run", "enqueue", "enqueue with a key", "enqueue_many"],
)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_call_with_an_id_may_be_repeated_while_the_first_is_open(
    stepper: Stepper, connection: Connection, call: str, end: str
) -> None:
    stepper.facts["mine"] = uuid4()
    stepper.session("a", make=call)
    stepper.session("b", make=call)
    stepper.play(
        f"""
        a.begin
        a.make      mine
        b.make      waiting
        a.{end}
        b.make      mine
        """
    )
    assert len(history(connection, stepper.facts["mine"])) == 1


def many(*keys: str, on_conflict: str = "return") -> str:
    runs = [{"workflow": "work", "dedupe_key": key, "on_conflict": on_conflict} for key in keys]
    return (
        "select count(*) filter (where e.deduplicated) "
        f"from tide.enqueue_many('default', '{json.dumps(runs)}') as e"
    )


def test_many_enqueues_with_their_keys_in_opposite_order_do_not_deadlock(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("gate", enqueue=many("2"))
    stepper.session("a", enqueue=many("1", "2", "3"))
    stepper.session("b", enqueue=many("3", "2", "1"))
    stepper.play(
        """
        gate.begin
        gate.enqueue    0
        a.enqueue       waiting
        b.enqueue       waiting
        """
    )
    # Both wait for the gate; which of them goes first is not said.
    first, second = stepper.after("gate", "rollback", ("a", "b"))
    assert sorted([first, second]) == [0, 3]
    assert value(connection, "select count(*) from tide.runs") == 3


def test_many_replaces_with_their_keys_in_opposite_order_do_not_deadlock(
    stepper: Stepper, connection: Connection
) -> None:
    _, stepper.facts["second"], stepper.facts["last"] = (
        queued(connection, dedupe_key=key) for key in "123"
    )
    lock = "select r.run_id from tide.runs_active as r where r.run_id = %({})s for update"
    stepper.session("gate", hold=lock.format("second"))
    stepper.session("peer", look=lock.format("last") + " skip locked")
    stepper.session("a", enqueue=many("1", "2", "3", on_conflict="replace"))
    stepper.session("b", enqueue=many("3", "2", "1", on_conflict="replace"))
    stepper.play(
        """
        gate.begin
        gate.hold       second
        a.enqueue       waiting
        b.enqueue       waiting
        peer.look       last
        gate.commit
        a.enqueue       3
        b.enqueue       3
        """
    )


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (ENQUEUE, "yes, completed"),
        (
            """
            select e.deduplicated
            from tide.enqueue_many(
              'default', '[{"workflow": "work", "dedupe_key": "key"}, {"workflow": "work"}]'
            ) as e
            order by e.ordinal
            """,
            "yes; no",
        ),
    ],
    ids=["one", "many"],
)
def test_a_run_made_and_ended_meanwhile_holds_its_key_against_an_enqueue_that_waited(
    stepper: Stepper, connection: Connection, call: str, answer: str
) -> None:
    end = """
        select r.status
        from tide.runs_active as a
        cross join lateral tide.complete(a.run_id, a.lease_id) as r
        """
    held = ENQUEUE.replace("'key')", "'key', dedupe_for => '1 hour')")
    claim = "select c.status from tide.claim() as c"
    stepper.session("a", enqueue=held, claim=claim, complete=end)
    stepper.session("b", enqueue=call)
    stepper.play(
        f"""
        a.begin
        a.enqueue   no, queued
        b.enqueue   waiting
        a.claim     running
        a.complete  completed
        a.commit
        b.enqueue   {answer}
        """
    )
    assert value(connection, "select count(*) from tide.runs where dedupe_key = 'key'") == 1
