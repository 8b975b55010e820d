"""Budgets: the step that would start beyond one parks its run until the limit is raised."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def step(tide: Tide, run: Any, name: str) -> str:
    """Begin a step, and complete it if it may execute; the action."""
    action: str = tide.begin_step(**own(run), name=name).action
    if action == "execute":
        tide.complete_step(**own(run), name=name)
    return action


def parked(tide: Tide, run_id: Any) -> bool:
    return bool(tide.get_run(run_id=run_id).waiting_on == "budget")


def child(tide: Tide, parent: Any, edge: str = "a", **options: Any) -> Any:
    """A plain child of a leased run, begun."""
    made = tide.spawn(**own(parent), edge=edge, workflow="part", options=options)
    return tide.begin_run(run_id=made.child_id)


def test_step_beyond_the_budget_parks_the_run(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"concurrency": 1})
    run = tide.started(budget={"max_steps": 2})
    assert [step(tide, run, name) for name in "ab"] == ["execute", "execute"]
    answer = tide.begin_step(**own(run), name="c")
    assert (answer.action, answer.output) == ("budget", None)
    waiting = tide.get_run(run_id=run.run_id)
    assert (waiting.status, waiting.waiting_on) == ("queued", "budget")
    assert (waiting.attempt, waiting.slot, waiting.run_at) == (0, None, None)
    event = tide.last_event(run.run_id)
    assert event.type == "run.parked"
    assert event.payload["spent"]["steps"] == 2
    assert "c" not in {made["name"] for made in tide.describe_run(run_id=run.run_id)["steps"]}
    with refused("TD002", run.run_id):
        tide.begin_step(**own(run), name="c")


def test_raised_limit_resumes_the_run_where_it_was(tide: Tide) -> None:
    run = tide.started(budget={"max_steps": 1})
    step(tide, run, "a")
    assert step(tide, run, "b") == "budget"
    tide.set_budget(run_id=run.run_id, limits={"max_steps": 2})
    assert tide.log(run.run_id)[-1] == "run.resumed"
    (run,) = tide.claim()
    assert (run.attempt, run.budget) == (1, {"max_steps": 2})
    assert [step(tide, run, name) for name in "abc"] == ["replay", "execute", "budget"]


def test_limit_raised_too_little_leaves_the_run_parked(tide: Tide) -> None:
    run = tide.started(budget={"max_steps": 0, "max_cost_usd": 1})
    assert step(tide, run, "a") == "budget"
    tide.record_usage(run_id=run.run_id, cost_usd=5)
    tide.set_budget(run_id=run.run_id, limits={"max_steps": 9, "max_cost_usd": 5})
    assert parked(tide, run.run_id)
    tide.set_budget(run_id=run.run_id, limits={"max_steps": 9, "max_cost_usd": 5.01})
    assert not parked(tide, run.run_id)


@pytest.mark.parametrize(
    ("budget", "usage"),
    [
        ({"max_tokens": 100}, {"input_tokens": 60, "output_tokens": 40}),
        ({"max_cost_usd": 0.5}, {"cost_usd": Decimal("0.5")}),
        ({"max_cost_usd": 0}, {}),
        ({"max_tokens": 10, "max_steps": 100, "max_cost_usd": 100}, {"total_tokens": 11}),
    ],
)
def test_tokens_and_cost_count_as_well(
    tide: Tide, budget: dict[str, Any], usage: dict[str, Any]
) -> None:
    run = tide.started(budget=budget)
    if usage:
        assert step(tide, run, "a") == "execute"
        tide.record_usage(run_id=run.run_id, **usage)
    assert step(tide, run, "b") == "budget"


def test_repeated_request_key_is_charged_once(tide: Tide) -> None:
    run = tide.started(budget={"max_tokens": 100})
    for _ in range(3):
        tide.record_usage(run_id=run.run_id, total_tokens=60, request_key="r1")
    assert step(tide, run, "a") == "execute"


def test_replays_and_repeated_begins_are_free_but_new_tries_are_charged(tide: Tide) -> None:
    run = tide.started(budget={"max_steps": 3})
    for _ in range(3):
        assert tide.begin_step(**own(run), name="a").action == "execute"
    tide.fail_step(**own(run), name="a", retryable=True)
    assert step(tide, run, "a") == "execute"
    assert [step(tide, run, "a") for _ in range(3)] == ["replay"] * 3
    assert [step(tide, run, name) for name in "bc"] == ["execute", "budget"]


def test_new_try_beyond_the_budget_parks_and_keeps_the_step(tide: Tide) -> None:
    run = tide.started(budget={"max_steps": 1})
    tide.begin_step(**own(run), name="a")
    tide.fail_step(**own(run), name="a", retryable=True)
    assert tide.begin_step(**own(run), name="a").action == "budget"
    (kept,) = tide.describe_run(run_id=run.run_id)["steps"]
    assert (kept["status"], kept["attempt"]) == ("failed_retryable", 1)
    tide.set_budget(run_id=run.run_id, limits=None)
    (run,) = tide.claim()
    assert tide.begin_step(**own(run), name="a").attempt == 2


def test_queue_gives_its_budget_to_runs_without_one(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"budget": {"max_steps": 1}})
    limited = tide.started()
    assert limited.budget == {"max_steps": 1}
    assert [step(tide, limited, name) for name in "ab"] == ["execute", "budget"]
    free = tide.started(budget={"max_steps": 5})
    assert [step(tide, free, name) for name in "ab"] == ["execute", "execute"]
    unlimited = tide.started(budget={})
    assert [step(tide, unlimited, name) for name in "ab"] == ["execute", "execute"]
    tide.set_queue(queue="default", settings={"budget": None})
    assert tide.started().budget is None


def test_cleared_limit_stays_cleared_in_a_queue_with_a_budget(tide: Tide) -> None:
    tide.set_queue(queue="default", settings={"budget": {"max_steps": 1}})
    run = tide.started()
    step(tide, run, "a")
    assert step(tide, run, "b") == "budget"
    tide.set_budget(run_id=run.run_id, limits=None)
    (run,) = tide.claim()
    assert [step(tide, run, name) for name in "bcd"] == ["execute"] * 3


def test_budget_a_queue_gets_later_counts_what_was_spent_before(tide: Tide) -> None:
    run = tide.started(max_attempts=2)
    step(tide, run, "a")
    tide.record_usage(run_id=run.run_id, total_tokens=50)
    tide.set_queue(queue="default", settings={"budget": {"max_steps": 2, "max_tokens": 100}})
    tide.fail(**own(run), retry_after="0")
    (run,) = tide.claim()
    assert [step(tide, run, name) for name in "abc"] == ["replay", "execute", "budget"]
    other = tide.enqueue(workflow="report").run_id
    tide.record_usage(run_id=other, total_tokens=60)
    (run,) = tide.claim()
    tide.record_usage(run_id=other, total_tokens=40)
    assert step(tide, run, "a") == "budget"


def test_children_charge_their_ancestors(tide: Tide) -> None:
    parent = tide.started(budget={"max_steps": 3, "max_tokens": 1000})
    first = child(tide, parent)
    grandchild = child(tide, first)
    assert step(tide, parent, "a") == "execute"
    assert step(tide, first, "a") == "execute"
    assert step(tide, grandchild, "a") == "execute"
    for run in (parent, first, grandchild):
        assert step(tide, run, "b") == "budget"
        reason = tide.explain_wait(run_id=run.run_id)["reasons"][0]
        assert (reason["reason"], reason["run_id"]) == ("budget", str(parent.run_id))
        assert reason["steps"] == 3


def test_nearest_and_furthest_budget_both_hold(tide: Tide) -> None:
    parent = tide.started(budget={"max_tokens": 100})
    near = child(tide, parent, budget={"max_steps": 1})
    assert [step(tide, near, name) for name in "ab"] == ["execute", "budget"]
    free = child(tide, parent, "b")
    tide.record_usage(run_id=free.run_id, total_tokens=100)
    assert step(tide, free, "a") == "budget"
    tide.set_budget(run_id=near.run_id, limits={"max_steps": 9})
    assert parked(tide, near.run_id)
    tide.set_budget(run_id=parent.run_id, limits={"max_tokens": 101})
    assert not parked(tide, near.run_id)
    assert not parked(tide, free.run_id)


def test_budget_of_a_child_does_not_bind_its_parent_or_siblings(tide: Tide) -> None:
    parent = tide.started()
    bound = child(tide, parent, budget={"max_steps": 0})
    assert step(tide, bound, "a") == "budget"
    assert step(tide, parent, "a") == "execute"
    assert step(tide, child(tide, parent, "b"), "a") == "execute"


def test_raised_limit_resumes_all_descendants(tide: Tide) -> None:
    parent = tide.started(budget={"max_steps": 0})
    families = [child(tide, parent, edge) for edge in "abc"]
    families += [child(tide, run) for run in families]
    for run in families:
        assert step(tide, run, "x") == "budget"
    assert step(tide, parent, "x") == "budget"
    tide.set_budget(run_id=parent.run_id, limits={"max_steps": 1})
    assert not any(parked(tide, run.run_id) for run in [parent, *families])
    assert all(tide.log(run.run_id)[-1] == "run.resumed" for run in [parent, *families])


def test_descendant_below_a_child_that_ended_is_resumed_too(tide: Tide) -> None:
    parent = tide.started(budget={"max_steps": 0})
    middle = child(tide, parent)
    lowest = child(tide, middle)
    assert step(tide, lowest, "a") == "budget"
    tide.complete(**own(middle))
    tide.set_budget(run_id=parent.run_id, limits={"max_steps": 5})
    assert not parked(tide, lowest.run_id)


def test_descendant_of_a_finished_run_is_resumed_by_raising_its_limit(tide: Tide) -> None:
    parent = tide.started(budget={"max_steps": 0})
    lowest = child(tide, parent)
    assert step(tide, lowest, "a") == "budget"
    tide.complete(**own(parent))
    assert tide.set_budget(run_id=parent.run_id, limits={"max_steps": 1}).status == "completed"
    assert not parked(tide, lowest.run_id)
    assert step(tide, tide.begin_run(run_id=lowest.run_id), "a") == "execute"


def test_what_was_spent_before_the_budget_was_set_counts(tide: Tide) -> None:
    parent = tide.started()
    below = child(tide, parent)
    for name in "ab":
        step(tide, parent, name)
        step(tide, below, name)
    tide.record_usage(run_id=below.run_id, total_tokens=70, cost_usd=1)
    tide.record_usage(run_id=parent.run_id, total_tokens=30)
    tide.set_budget(run_id=parent.run_id, limits={"max_steps": 5})
    assert [step(tide, below, name) for name in "cd"] == ["execute", "budget"]
    tide.set_budget(run_id=parent.run_id, limits={"max_tokens": 101})
    assert step(tide, parent, "c") == "execute"
    tide.record_usage(run_id=parent.run_id, total_tokens=1)
    assert step(tide, parent, "d") == "budget"


def test_what_was_spent_while_there_was_no_limit_counts(tide: Tide) -> None:
    run = tide.started(budget={"max_steps": 2})
    step(tide, run, "a")
    tide.set_budget(run_id=run.run_id, limits=None)
    for name in "bcd":
        step(tide, run, name)
    tide.set_budget(run_id=run.run_id, limits={"max_steps": 5})
    assert [step(tide, run, name) for name in "ef"] == ["execute", "budget"]


def test_lowered_limit_holds_from_the_next_step(tide: Tide) -> None:
    run = tide.started(budget={"max_steps": 100})
    assert step(tide, run, "a") == "execute"
    tide.set_budget(run_id=run.run_id, limits={"max_steps": 1})
    assert tide.get_run(run_id=run.run_id).status == "running"
    assert step(tide, run, "b") == "budget"


def test_run_without_a_budget_is_never_charged(tide: Tide) -> None:
    run = tide.started()
    step(tide, run, "a")
    tide.record_usage(run_id=run.run_id, total_tokens=10**9)
    assert step(tide, run, "b") == "execute"
    assert contents(tide.connection)["spending"] is None


def test_budget_may_be_named_wherever_runs_are_made(tide: Tide) -> None:
    budget = {"max_cost_usd": 1.5, "max_tokens": 10, "max_steps": 3}
    made = [
        tide.enqueue(workflow="report", budget=budget).run_id,
        tide.create_run(workflow="report", budget=budget).run_id,
        tide.enqueue_many(queue="default", runs=[{"workflow": "report", "budget": budget}])[
            0
        ].run_id,
    ]
    assert [tide.get_run(run_id=run_id).budget for run_id in made] == [budget] * 3


def test_retried_run_keeps_its_budget_and_what_it_spent(tide: Tide) -> None:
    run = tide.started(budget={"max_steps": 1})
    step(tide, run, "a")
    tide.fail(**own(run))
    tide.retry(run_id=run.run_id)
    (run,) = tide.claim()
    assert [step(tide, run, name) for name in "ab"] == ["replay", "budget"]


def test_parked_run_can_be_cancelled_and_its_deadline_holds(tide: Tide, hour: Clock) -> None:
    first = tide.started(budget={"max_steps": 0}, deadline=10 * MINUTE)
    assert step(tide, first, "a") == "budget"
    second = tide.started(budget={"max_steps": 0})
    assert step(tide, second, "a") == "budget"
    assert tide.cancel(run_id=second.run_id).status == "cancelled"
    hour.advance(10 * MINUTE)
    assert tide.reconcile()["overdue"] == 1
    assert tide.get_run(run_id=first.run_id).cancel_reason == "deadline"


def test_explain_wait_tells_budget_and_spending(tide: Tide) -> None:
    run = tide.started(budget={"max_tokens": 10})
    tide.record_usage(run_id=run.run_id, total_tokens=12, cost_usd=Decimal("0.5"))
    step(tide, run, "a")
    (reason,) = tide.explain_wait(run_id=run.run_id)["reasons"]
    assert (reason["reason"], reason["budget"]) == ("budget", {"max_tokens": 10})
    assert (reason["tokens"], reason["cost_usd"], reason["steps"]) == (12, 0.5, 0)


@pytest.mark.parametrize(
    ("word", "budget"),
    [
        ("max_dollars", {"max_dollars": 1}),
        ("budget", "[]"),
        ("budget", "3"),
        ("max_steps", {"max_steps": -1}),
        ("max_steps", {"max_steps": 1.5}),
        ("max_steps", {"max_steps": "3"}),
        ("max_tokens", {"max_tokens": -1}),
        ("max_tokens", {"max_tokens": 10**10}),
        ("max_cost_usd", {"max_cost_usd": -0.01}),
        ("max_cost_usd", {"max_cost_usd": "NaN"}),
        ("max_cost_usd", {"max_cost_usd": 10**10}),
    ],
)
def test_bad_budget_is_named_and_nothing_changes(tide: Tide, word: str, budget: Any) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", word):
        tide.set_budget(run_id=run.run_id, limits=budget)
    with refused("22023", word):
        tide.enqueue(workflow="report", budget=budget)
    with refused("22023", word):
        tide.create_run(workflow="report", budget=budget)
    if isinstance(budget, dict):
        with refused("22023", word):
            tide.set_queue(queue="default", settings={"budget": budget})
    assert contents(tide.connection) == before


def test_unknown_run_has_no_budget(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.set_budget(run_id=NOBODY, limits={})
