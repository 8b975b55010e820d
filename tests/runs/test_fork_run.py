"""fork_run: a new run with the checkpoints of another before a step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock

SECOND = timedelta(seconds=1)


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def step(tide: Tide, run: Any, name: str, clock: Clock, **arguments: Any) -> Any:
    """Begin a step, complete it if it executes; the answer of begin_step."""
    clock.advance(SECOND)
    answer = tide.begin_step(**own(run), name=name, **arguments)
    if answer.action == "execute":
        tide.complete_step(**own(run), name=name, output=[name, str(run.run_id)])
    return answer


@pytest.fixture
def original(tide: Tide, hour: Clock) -> Any:
    """A completed run: steps plan, write and send, one decision before each of the last two."""
    run = tide.started(
        input={"topic": "tides"},
        metadata={"team": "sea"},
        priority=3,
        max_attempts=2,
        deadline="1 hour",
        lease="1 hour",
    )
    step(tide, run, "plan", hour, input={"n": 1})
    hour.advance(SECOND)
    early = tide.open_gate(**own(run), name="early", prompt="?")
    tide.decide_gate(gate_id=early.gate_id, decision="approved", actor="ann", payload={"n": 1})
    tide.send_event(run_id=run.run_id, name="paid", payload=7)
    tide.await_event(**own(run), name="paid")
    tide.sleep(**own(run), name="nap", duration="0")
    made = tide.spawn(**own(run), edge="early", workflow="part")
    tide.complete(**own(tide.begin_run(run_id=made.child_id)), result=["part"])
    step(tide, run, "write", hour)
    hour.advance(SECOND)
    late = tide.open_gate(**own(run), name="late", prompt="?")
    tide.decide_gate(gate_id=late.gate_id, decision="rejected", actor="ann")
    tide.spawn(**own(run), edge="late", workflow="part")
    step(tide, run, "send", hour)
    hour.advance(SECOND)
    return tide.complete(**own(run), result={"sent": True})


def test_a_fork_from_the_start_runs_with_another_input_and_copies_nothing(tide: Tide) -> None:
    run = tide.started(input={"topic": "tides"})
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    tide.complete_step(**own, name="plan", output=1)
    tide.fail(**own, retryable=False, failure_class="bad_input")
    fork = tide.fork_run(run_id=run.run_id, input={"topic": "moons"})
    assert (fork.input, fork.forked_from, fork.status) == ({"topic": "moons"}, run.run_id, "queued")
    (claimed,) = tide.claim()
    step = tide.begin_step(run_id=fork.run_id, lease_id=claimed.lease_id, name="plan")
    assert step.action == "execute"
    assert tide.get_run(run_id=run.run_id).input == {"topic": "tides"}


def test_fork_is_a_new_run_with_its_lineage(tide: Tide, original: Any, hour: Clock) -> None:
    before = tide.describe_run(run_id=original.run_id)
    fork = tide.fork_run(run_id=original.run_id, at_step="write")
    assert fork.run_id != original.run_id
    assert (fork.forked_from, fork.parent_id) == (original.run_id, None)
    assert (fork.status, fork.queue, fork.workflow) == ("queued", "default", "report")
    assert (fork.input, fork.metadata) == ({"topic": "tides"}, {"team": "sea"})
    assert (fork.priority, fork.max_attempts, fork.attempt) == (3, 2, 0)
    assert fork.deadline_at == hour.now + timedelta(hours=1)
    (event,) = tide.list_events(run_id=fork.run_id)
    assert event.type == "run.enqueued"
    assert event.payload["forked_from"] == str(original.run_id)
    assert (event.payload["at_step"], event.payload["steps"]) == ("write", ["plan"])
    assert tide.describe_run(run_id=original.run_id) == before


def test_steps_before_replay_and_those_from_there_on_execute(
    tide: Tide, original: Any, hour: Clock
) -> None:
    tide.fork_run(run_id=original.run_id, at_step="send")
    (run,) = tide.claim(lease="1 hour")
    for name in ("plan", "write"):
        answer = step(tide, run, name, hour, **({"input": {"n": 1}} if name == "plan" else {}))
        assert (answer.action, answer.output) == ("replay", [name, str(original.run_id)])
    assert step(tide, run, "send", hour).action == "execute"
    with refused("TD020", "plan"):
        tide.begin_step(**own(run), name="plan", input={"n": 2})


def test_fork_at_the_first_step_starts_anew(tide: Tide, original: Any, hour: Clock) -> None:
    tide.fork_run(run_id=original.run_id, at_step="plan")
    (run,) = tide.claim()
    assert tide.describe_run(run_id=run.run_id)["steps"] == []
    assert step(tide, run, "plan", hour, input={"other": 1}).action == "execute"


def test_overrides_replace_outputs_in_the_fork_only(tide: Tide, original: Any, hour: Clock) -> None:
    tide.fork_run(
        run_id=original.run_id, at_step="send", overrides={"plan": {"edited": 1}, "write": None}
    )
    (run,) = tide.claim(lease="1 hour")
    assert step(tide, run, "plan", hour, input={"n": 1}).output == {"edited": 1}
    assert step(tide, run, "write", hour).output is None
    outputs = [made["output"] for made in tide.describe_run(run_id=original.run_id)["steps"]]
    assert outputs == [[name, str(original.run_id)] for name in ("plan", "write", "send")]


def test_fork_may_have_another_input(tide: Tide, original: Any) -> None:
    fork = tide.fork_run(run_id=original.run_id, at_step="write", input={"topic": "moons"})
    assert fork.input == {"topic": "moons"}
    assert tide.get_run(run_id=original.run_id).input == {"topic": "tides"}


def test_gates_decided_before_the_step_replay(tide: Tide, original: Any) -> None:
    tide.fork_run(run_id=original.run_id, at_step="write")
    (run,) = tide.claim(lease="1 hour")
    early = tide.open_gate(**own(run), name="early", prompt="?")
    assert (early.status, early.payload, early.actor) == ("approved", {"n": 1}, "ann")
    assert tide.await_gate(**own(run), gate_id=early.gate_id).status == "approved"
    late = tide.open_gate(**own(run), name="late", prompt="?")
    assert (late.status, late.token is not None) == ("pending", True)
    gates = tide.describe_run(run_id=original.run_id)["gates"]
    assert str(early.gate_id) not in {gate["gate_id"] for gate in gates}
    with refused("TD024"):
        tide.resolve_gate(gate_id=early.gate_id, token="any", decision="approved", actor="ann")


def test_waits_that_ended_before_the_step_replay(tide: Tide, original: Any) -> None:
    tide.fork_run(run_id=original.run_id, at_step="write")
    (run,) = tide.claim()
    assert tide.await_event(**own(run), name="paid") == (False, True, 7)
    assert not tide.sleep(**own(run), name="nap", duration="1 day").parked


def test_children_made_before_the_step_are_those_of_the_original(tide: Tide, original: Any) -> None:
    of_original = {row.edge: row.child_id for row in tide.list_children(run_id=original.run_id)}
    tide.fork_run(run_id=original.run_id, at_step="write")
    (run,) = tide.claim(lease="1 hour")
    early = tide.spawn(**own(run), edge="early", workflow="part")
    assert early == (of_original["early"], False, "completed")
    (row,) = tide.await_children(**own(run))
    assert (row.edge, row.result) == ("early", ["part"])
    late = tide.spawn(**own(run), edge="late", workflow="part")
    assert late.created
    assert late.child_id != of_original["late"]


def test_fork_waits_for_a_child_of_the_original_that_is_still_active(
    tide: Tide, hour: Clock
) -> None:
    run = tide.started(lease="1 hour")
    made = tide.spawn(**own(run), edge="a", workflow="part")
    step(tide, run, "plan", hour)
    fork_id = tide.fork_run(run_id=run.run_id, at_step="plan").run_id
    (fork,) = tide.claim(lease="1 hour")
    assert fork.run_id == fork_id
    assert tide.await_children(**own(fork))[0].parked
    assert tide.await_children(**own(run))[0].parked
    tide.complete(**own(tide.begin_run(run_id=made.child_id)))
    assert {run.run_id for run in tide.claim(max_runs=5)} == {run.run_id, fork_id}


def test_cancelled_fork_leaves_the_children_of_the_original(tide: Tide, hour: Clock) -> None:
    run = tide.started(lease="1 hour")
    made = tide.spawn(**own(run), edge="a", workflow="part")
    step(tide, run, "plan", hour)
    fork = tide.fork_run(run_id=run.run_id, at_step="plan")
    tide.cancel(run_id=fork.run_id)
    tide.reconcile()
    assert tide.get_run(run_id=made.child_id).status == "pending"


def test_active_run_can_be_forked_and_goes_on(tide: Tide, hour: Clock) -> None:
    run = tide.started(lease="1 hour", dedupe_key="k")
    step(tide, run, "plan", hour)
    step(tide, run, "write", hour)
    before = tide.describe_run(run_id=run.run_id)
    fork = tide.fork_run(run_id=run.run_id, at_step="write")
    assert fork.dedupe_key is None
    assert tide.describe_run(run_id=run.run_id) == before
    assert tide.complete(**own(run)).status == "completed"


def test_steps_that_did_not_complete_are_not_copied(tide: Tide, hour: Clock) -> None:
    run = tide.started(lease="1 hour")
    tide.begin_step(**own(run), name="open")
    hour.advance(SECOND)
    tide.begin_step(**own(run), name="failed")
    tide.fail_step(**own(run), name="failed", retryable=True)
    step(tide, run, "done", hour)
    step(tide, run, "last", hour)
    fork = tide.fork_run(run_id=run.run_id, at_step="last")
    assert [made["name"] for made in tide.describe_run(run_id=fork.run_id)["steps"]] == ["done"]


def test_fork_of_a_fork_has_the_checkpoints_of_both(tide: Tide, original: Any, hour: Clock) -> None:
    tide.fork_run(run_id=original.run_id, at_step="write")
    (first,) = tide.claim(lease="1 hour")
    step(tide, first, "plan", hour, input={"n": 1})
    step(tide, first, "write", hour)
    step(tide, first, "send", hour)
    second = tide.fork_run(run_id=first.run_id, at_step="send")
    assert second.forked_from == first.run_id
    copied = tide.describe_run(run_id=second.run_id)["steps"]
    assert [(made["name"], made["output"]) for made in copied] == [
        ("plan", ["plan", str(original.run_id)]),
        ("write", ["write", str(first.run_id)]),
    ]
    third = tide.fork_run(run_id=second.run_id, at_step="write")
    assert [made["name"] for made in tide.describe_run(run_id=third.run_id)["steps"]] == ["plan"]


def test_fork_of_a_plain_run_is_plain(tide: Tide, hour: Clock) -> None:
    run = tide.begun()
    step(tide, run, "plan", hour)
    fork = tide.fork_run(run_id=run.run_id, at_step="plan")
    assert (fork.status, fork.queue) == ("pending", None)
    assert tide.log(fork.run_id) == ["run.created"]


def test_fork_of_a_child_is_no_child(tide: Tide, hour: Clock) -> None:
    parent = tide.started(lease="1 hour")
    made = tide.spawn(**own(parent), edge="a", workflow="part")
    child = tide.begin_run(run_id=made.child_id)
    step(tide, child, "plan", hour)
    fork = tide.fork_run(run_id=child.run_id, at_step="plan")
    assert fork.parent_id is None
    assert len(tide.list_children(run_id=parent.run_id)) == 1


def test_fork_has_the_whole_budget_again(tide: Tide, hour: Clock) -> None:
    run = tide.started(budget={"max_steps": 3}, lease="1 hour")
    for name in ("plan", "write", "send"):
        step(tide, run, name, hour)
    fork_id = tide.fork_run(run_id=run.run_id, at_step="send").run_id
    (fork,) = tide.claim(lease="1 hour")
    assert fork.run_id == fork_id
    tide.set_budget(run_id=fork_id, limits={"max_steps": 2})
    names = ("plan", "write", "send", "x", "y")
    assert [step(tide, fork, name, hour).action for name in names] == [
        "replay",
        "replay",
        "execute",
        "execute",
        "budget",
    ]


def test_same_fork_id_again_is_the_same_fork(tide: Tide, original: Any) -> None:
    given = {"run_id": original.run_id, "at_step": "write", "fork_id": uuid4()}
    first = tide.fork_run(**given)
    before = contents(tide.connection)
    assert tide.fork_run(**given) == first
    assert contents(tide.connection) == before
    tide.cancel(run_id=first.run_id)
    assert tide.fork_run(**given).status == "cancelled"


def test_fork_id_of_another_run_is_refused_and_nothing_changes(tide: Tide, original: Any) -> None:
    other = tide.enqueue(workflow="report", input=original.input, queue="q").run_id
    taken = tide.fork_run(run_id=original.run_id, at_step="write").run_id
    before = contents(tide.connection)
    for fork_id in (other, original.run_id):
        with refused("TD020", fork_id):
            tide.fork_run(run_id=original.run_id, at_step="write", fork_id=fork_id)
    with refused("TD020", taken):
        tide.fork_run(run_id=original.run_id, at_step="write", input=[1], fork_id=taken)
    assert contents(tide.connection) == before


@pytest.mark.parametrize("at_step", ["", "unknown", "PLAN", "'; drop schema tide"])
def test_unknown_step_is_refused_and_nothing_changes(
    tide: Tide, original: Any, at_step: str | None
) -> None:
    before = contents(tide.connection)
    with refused("TD010", original.run_id):
        tide.fork_run(run_id=original.run_id, at_step=at_step)
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    ("sqlstate", "word", "arguments"),
    [
        ("22023", "unknown", {"overrides": {"plan": 1, "unknown": 1}}),
        ("22023", "write", {"overrides": {"write": 1}}),
        ("22023", "overrides", {"overrides": '["plan"]'}),
        ("22023", "overrides", {"overrides": "null"}),
        ("22023", "overrides", {"overrides": '{"plan":' + "[" * 200 + "]" * 200 + "}"}),
        ("TD040", "overrides", {"overrides": {"plan": "x" * 2**20}}),
        ("TD040", "input", {"input": ["x" * 2**20]}),
        ("22023", "input", {"input": "[" * 200 + "]" * 200}),
    ],
)
def test_bad_argument_is_named_and_nothing_changes(
    tide: Tide, original: Any, sqlstate: str, word: str, arguments: dict[str, Any]
) -> None:
    before = contents(tide.connection)
    with refused(sqlstate, word):
        tide.fork_run(run_id=original.run_id, at_step="write", **arguments)
    assert contents(tide.connection) == before


def test_unknown_run_cannot_be_forked(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.fork_run(run_id=NOBODY, at_step="plan")


def test_rolled_back_fork_was_never_there(tide: Tide, original: Any) -> None:
    before = contents(tide.connection)
    tide.connection.execute("begin")
    tide.fork_run(run_id=original.run_id, at_step="send")
    tide.connection.execute("rollback")
    assert contents(tide.connection) == before


def test_gates_still_open_at_the_step_are_not_copied(tide: Tide, hour: Clock) -> None:
    run = tide.started(lease="1 hour")
    tide.open_gate(**own(run), name="open", prompt="?")
    step(tide, run, "plan", hour)
    fork = tide.fork_run(run_id=run.run_id, at_step="plan")
    hour.advance(MINUTE)
    assert (fork.open_gates, tide.describe_run(run_id=fork.run_id)["gates"]) == (0, [])
