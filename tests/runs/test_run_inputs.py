"""Large inputs lie apart from the rows of their runs; nobody who asks sees where."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.runs.acts import MINUTE, Tide, refused
from tests.support import Clock, Connection, value

SMALL = {"topic": "tides"}
# Digests, which do not compress: what is small where it lies need not lie apart.
LARGE = {"topic": "tides", "text": [sha256(bytes([n])).hexdigest() for n in range(100)]}
OTHER = {"topic": "winds", "text": [sha256(bytes([n])).hexdigest() for n in range(100, 200)]}

sizes = pytest.mark.parametrize("given", [SMALL, LARGE], ids=["small", "large"])


def apart(tide: Tide) -> int:
    """How many inputs lie apart, each of them that of a run without one in its row."""
    pairs = tide.connection.execute(
        """
        select
          i.run_id as apart,
          r.run_id as without
        from tide.run_inputs as i
        full join (
          select n.run_id
          from tide.runs as n
          where n.input is null
        ) as r on r.run_id = i.run_id
        """
    ).fetchall()
    assert [pair for pair in pairs if pair.apart != pair.without] == []
    return len(pairs)


def retried(tide: Tide, given: Any) -> Any:
    run_id = tide.enqueue(workflow="report", input=given).run_id
    tide.cancel(run_id=run_id)
    return tide.retry(run_id=run_id)


def revoked(tide: Tide, given: Any) -> Any:
    return tide.revoke_lease(run_id=tide.started(input=given).run_id)


def stepped(tide: Tide, given: Any) -> Any:
    run = tide.started(input=given)
    tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="plan")
    return run


def parent_of(tide: Tide, given: Any) -> Any:
    run = tide.started("parent")
    tide.spawn(
        run_id=run.run_id,
        lease_id=run.lease_id,
        edge="part",
        workflow="part",
        input=given,
        queue="parts",
    )
    return run


def lost_answer(tide: Tide, given: Any) -> Any:
    """A claim asked again by a worker that never had its answer."""
    session = uuid4()
    tide.enqueue(workflow="report", input=given)
    tide.claim(session_id=session, holding=[])
    (run,) = tide.claim(session_id=session, holding=[])
    return run


def under_lease(act: str) -> Callable[[Tide, Any], Any]:
    def answer(tide: Tide, given: Any) -> Any:
        run = tide.started(input=given, max_attempts=3)
        return getattr(tide, act)(run_id=run.run_id, lease_id=run.lease_id)

    return answer


def of_queued(act: str, **arguments: Any) -> Callable[[Tide, Any], Any]:
    def answer(tide: Tide, given: Any) -> Any:
        run_id = tide.enqueue(workflow="report", input=given).run_id
        return getattr(tide, act)(run_id=run_id, **arguments)

    return answer


ANSWERS: dict[str, Callable[[Tide, Any], Any]] = {
    "begin_run": lambda tide, given: tide.begun(input=given),
    "cancel": of_queued("cancel"),
    "claim": lambda tide, given: tide.started(input=given),
    "complete": under_lease("complete"),
    "create_run": lambda tide, given: tide.create_run(workflow="report", input=given),
    "fail": under_lease("fail"),
    "fork_run": lambda tide, given: tide.fork_run(
        run_id=stepped(tide, given).run_id, at_step="plan"
    ),
    "get_run": of_queued("get_run"),
    "list_child_runs": lambda tide, given: tide.list_child_runs(
        run_id=parent_of(tide, given).run_id
    )[0],
    "list_runs": lambda tide, given: (
        tide.enqueue(workflow="report", input=given) and tide.list_runs()[0]
    ),
    "release": under_lease("release"),
    "reschedule": of_queued("reschedule", run_at="tomorrow"),
    "retry": retried,
    "revoke_lease": revoked,
    "set_budget": of_queued("set_budget", limits={"max_steps": 1}),
}
"""How each function that answers a run is made to answer one with an input."""


def test_the_functions_tried_are_all_that_answer_a_run(connection: Connection) -> None:
    rows = connection.execute(
        """
        select p.proname as name
        from pg_proc as p
        where p.pronamespace = 'tide'::regnamespace
          and p.proname not like '\\_%'
          and p.prorettype = 'tide.runs'::regtype
        """
    ).fetchall()
    assert {row.name for row in rows} == ANSWERS.keys()


@sizes
@pytest.mark.parametrize("function", ANSWERS)
def test_every_answer_has_the_whole_input(tide: Tide, function: str, given: Any) -> None:
    assert ANSWERS[function](tide, given).input == given
    assert (apart(tide) > 0) == (given is LARGE)


@sizes
def test_a_claim_asked_again_answers_the_whole_input(tide: Tide, given: Any) -> None:
    assert lost_answer(tide, given).input == given


@sizes
def test_a_fused_claim_answers_the_whole_input_to_drivers_of_before(tide: Tide, given: Any) -> None:
    tide.enqueue(workflow="report", input=given)
    query = "select (s.claimed).input from tide.settle_and_claim('[]') as s"
    assert value(tide.connection, query) == given


@sizes
def test_a_fused_claim_and_the_views_answer_the_whole_input(tide: Tide, given: Any) -> None:
    run_ids = [tide.enqueue(workflow="report", input=given).run_id for _ in range(3)]
    claimed = tide.settle_and_claim(outcomes=[], max_runs=3)
    assert [run.input for run in claimed] == [given] * 3
    done = [{"run_id": str(run.run_id), "lease_id": str(run.lease_id)} for run in claimed]
    assert tide.settle_and_claim(outcomes=done, max_runs=0) == []
    for run_id in run_ids:
        assert tide.describe_run(run_id=run_id)["run"]["input"] == given
        seen = "select p.input from tide.run_payloads as p where p.run_id = %s"
        assert value(tide.connection, seen, run_id) == given


def test_a_batch_keeps_the_large_ones_apart_and_no_other(tide: Tide) -> None:
    given = [SMALL, LARGE, {}, OTHER]
    rows = tide.enqueue_many(
        queue="default", runs=[{"workflow": "report", "input": one} for one in given]
    )
    assert [tide.get_run(run_id=row.run_id).input for row in rows] == given
    assert apart(tide) == 2


def test_an_ended_run_has_its_input_still_and_writes_it_no_more(tide: Tide) -> None:
    place = "select i.ctid::text || i.xmin::text from tide.run_inputs as i"
    run_id = tide.enqueue(workflow="report", input=LARGE, max_attempts=3).run_id
    written = value(tide.connection, place)
    for act in ("release", "fail", "complete"):
        (run,) = tide.claim()
        getattr(tide, act)(run_id=run_id, lease_id=run.lease_id, **PROMPT.get(act, {}))
    assert tide.get_run(run_id=run_id).status == "completed"
    assert value(tide.connection, place) == written


PROMPT: dict[str, dict[str, str]] = {"fail": {"retry_after": "0 seconds"}}


@pytest.mark.parametrize("repeat", ["enqueue", "enqueue_many", "create_run", "keyed"])
@pytest.mark.parametrize("ended", [False, True], ids=["active", "ended"])
@sizes
def test_an_id_given_again_makes_no_second_input(
    tide: Tide, repeat: str, ended: bool, given: Any
) -> None:
    run_id = uuid4()

    def make(input: Any) -> UUID:
        if repeat == "create_run":
            made: UUID = tide.create_run(workflow="report", run_id=run_id, input=input).run_id
        elif repeat == "enqueue_many":
            run = {"workflow": "report", "run_id": str(run_id), "input": input}
            made = tide.enqueue_many(queue="default", runs=[run, run])[1].run_id
        else:
            key = {"dedupe_key": "key"} if repeat == "keyed" else {}
            made = tide.enqueue(workflow="report", run_id=run_id, input=input, **key).run_id
        return made

    assert make(given) == run_id
    if ended:
        tide.cancel(run_id=run_id)
    assert make(given) == run_id
    with refused("TD020", run_id):
        make(OTHER)
    assert value(tide.connection, "select count(*) from tide.runs") == 1
    assert tide.get_run(run_id=run_id).input == given
    assert apart(tide) == (given is LARGE)


def test_an_ended_run_of_before_keeps_the_only_input_of_its_id(tide: Tide) -> None:
    """0.1.0 kept inputs of any size in the row."""
    run_id = uuid4()
    tide.enqueue(workflow="report", run_id=run_id, input=LARGE)
    inline(tide)
    tide.cancel(run_id=run_id)
    assert tide.enqueue(workflow="report", run_id=run_id, input=LARGE).status == "cancelled"
    assert apart(tide) == 0
    assert tide.retry(run_id=run_id).input == LARGE
    assert apart(tide) == 1


def inline(tide: Tide) -> None:
    """As 0.1.0 left its runs."""
    tide.connection.execute(
        """
        with moved as (
          delete from tide.run_inputs as i
          returning
            i.run_id,
            i.input
        )
        update tide.runs_active as r
        set input = m.input
        from moved as m
        where m.run_id = r.run_id
        """
    )


def test_a_deduplicated_enqueue_leaves_no_input(tide: Tide) -> None:
    first = tide.enqueue(workflow="report", dedupe_key="key", input=LARGE)
    again = tide.enqueue(workflow="report", dedupe_key="key", input=OTHER)
    batch = {"workflow": "report", "dedupe_key": "key", "input": OTHER}
    (row,) = tide.enqueue_many(queue="default", runs=[batch])
    assert (again.run_id, row.run_id) == (first.run_id, first.run_id)
    assert tide.get_run(run_id=first.run_id).input == LARGE
    assert apart(tide) == 1


@pytest.mark.parametrize("before", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("after", [SMALL, OTHER], ids=["by-small", "by-large"])
def test_a_replaced_run_has_the_new_input_alone(tide: Tide, before: Any, after: Any) -> None:
    key = {"workflow": "report", "dedupe_key": "key"}
    run_id = tide.enqueue(**key, input=before).run_id
    tide.enqueue(**key, input=after, on_conflict="replace")
    assert tide.get_run(run_id=run_id).input == after
    assert apart(tide) == (after is OTHER)
    (run,) = tide.claim()
    assert run.input == after


def test_a_fork_has_an_input_of_its_own(tide: Tide, hour: Clock) -> None:
    run = stepped(tide, LARGE)
    fork = tide.fork_run(run_id=run.run_id, at_step="plan")
    assert apart(tide) == 2
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    hour.advance(MINUTE)
    assert tide.prune(older_than="1 second", queue="default") == 1
    assert tide.get_run(run_id=fork.run_id).input == LARGE
    assert apart(tide) == 1


@sizes
def test_an_edge_leads_to_one_child_of_one_input(tide: Tide, given: Any) -> None:
    run = parent_of(tide, given)
    own = {"run_id": run.run_id, "lease_id": run.lease_id, "edge": "part", "workflow": "part"}
    again = tide.spawn(**own, input=given, queue="parts")
    assert not again.created
    with refused("TD020", "part"):
        tide.spawn(**own, input=OTHER, queue="parts")
    (child,) = tide.claim(queues=["parts"])
    assert child.input == given
    assert apart(tide) == (given is LARGE)


def test_a_schedule_enqueues_its_large_input(tide: Tide) -> None:
    tide.set_schedule(name="nightly", cron="0 3 * * *", workflow="report", input=LARGE)
    tide.fire_schedule(name="nightly")
    (run,) = tide.claim()
    assert run.input == LARGE


def test_a_run_that_was_rolled_back_leaves_no_input(tide: Tide, connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        tide.enqueue(workflow="report", input=LARGE)
    assert apart(tide) == 0
