"""The synchronous modules are what the asynchronous ones make of them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conventions.bodies import ROOT

GUARANTEES = {
    "what a step gave is kept, and given again": (
        "test_steps.py::test_a_step_that_completed_is_replayed_not_repeated",
        "test_asyncio.py::test_steps_replay_retry_and_end_with_the_run",
    ),
    "a step gives what a replay will give": (
        "test_agents_habits.py::test_a_step_gives_what_a_replay_will_give",
        "test_asyncio.py::test_a_step_gives_what_a_replay_will_give_in_asyncio",
    ),
    "a killed worker's run goes on where it was": (
        "test_processes.py::test_a_killed_worker_s_run_goes_on_where_it_was",
    ),
    "the first signal claims no more, the second hands back": (
        "test_processes.py::test_a_signal_lets_running_runs_end_and_claims_no_more",
        "test_processes.py::test_a_second_signal_hands_the_runs_back_at_once",
    ),
    "a call ends within its limit": (
        "test_silent_server.py::test_a_call_ends_within_its_limit",
        "test_silent_server.py::test_a_call_of_asyncio_ends_within_its_limit",
    ),
    "a worker that hears nothing fences itself": (
        "test_silent_server.py::test_a_worker_fences_itself_within_its_lease_and_goes_on",
        "test_silent_server.py::test_an_asyncio_worker_fences_itself_within_its_lease_and_goes_on",
    ),
    "a transaction on a silent server ends": (
        "test_silent_server.py::test_a_transaction_of_a_run_ends_within_the_lease",
        "test_silent_server.py::test_a_transaction_of_an_asyncio_run_ends_within_the_lease",
    ),
    "whatever hangs, the second signal ends a worker": (
        "test_silent_server.py::test_a_worker_ends_on_its_second_signal",
    ),
    "a former primary is refused": (
        "test_former_primary.py::test_a_worker_does_nothing_at_a_former_primary",
        "test_former_primary.py::test_an_asyncio_worker_does_nothing_at_a_former_primary",
    ),
    "leases are renewed": (
        "test_workers.py::test_heartbeats_keep_a_long_run",
        "test_asyncio.py::test_leases_are_renewed_while_the_loop_is_held_up",
    ),
    "a lost lease stops the workflow": (
        "test_workers.py::test_a_lost_lease_stops_the_workflow_and_nothing_is_recorded",
        "test_asyncio.py::test_a_lost_lease_stops_the_task_and_nothing_is_recorded",
    ),
    "a cancelled run learns of it": (
        "test_workers.py::test_a_cancelled_run_learns_of_it_in_the_middle_of_a_step",
        "test_asyncio.py::test_the_task_of_a_cancelled_run_is_cancelled",
    ),
    "work goes on after every connection was cut": (
        "test_workers.py::test_work_goes_on_after_every_connection_was_cut",
        "test_asyncio.py::test_work_goes_on_after_every_connection_was_cut",
    ),
    "a lost answer is asked for again": (
        "test_step_batches.py::test_a_lost_answer_is_asked_for_again_not_worked_for",
        "test_step_batches.py::test_a_lost_answer_is_asked_for_again_for_asyncio",
    ),
    "poison in and out fails its run and no other": (
        "test_workers.py::test_a_result_that_cannot_be_kept_fails_its_run_and_no_other",
        "test_asyncio.py::test_poison_in_and_out_fails_its_run_and_no_other",
    ),
    "what ends programs ends no worker": (
        "test_workers.py::test_what_ends_programs_ends_an_attempt_that_counts_and_no_worker",
        "test_workers.py::test_what_ends_programs_ends_no_asyncio_worker",
    ),
    "stops pass handlers of all errors": (
        "test_agents_habits.py::test_a_handler_of_all_errors_lets_a_parked_run_go",
        "test_agents_habits.py::test_a_handler_of_all_errors_lets_a_parked_async_run_go",
    ),
    "code that swallows its end is given up": (
        "test_agents_habits.py::test_code_that_swallows_its_end_is_given_up",
        "test_agents_habits.py::test_async_code_that_swallows_its_end_is_given_up",
    ),
    "branches of an ended attempt begin nothing": (
        "test_agents_habits.py::test_threads_that_an_ended_attempt_left_behind_begin_nothing",
        "test_agents_habits.py::test_branches_of_an_ended_attempt_begin_nothing",
    ),
    "branches that race for a name are refused": (
        "test_agents_habits.py::test_threads_that_race_for_a_name_are_refused",
        "test_agents_habits.py::test_branches_that_race_for_a_name_are_refused_unless_told_apart",
    ),
    "a name used again is the next step": (
        "test_step_batches.py::test_a_name_used_again_is_the_next_step_and_replays_as_such",
        "test_step_batches.py::test_a_name_used_again_is_the_next_step_for_asyncio",
    ),
    "verdicts count within groups": (
        "test_agents_habits.py::test_a_verdict_counts_within_a_group",
        "test_agents_habits.py::test_a_verdict_counts_within_a_group_and_the_group_is_recorded",
    ),
    "a snooze costs no attempt": (
        "test_agents_habits.py::test_a_snooze_costs_no_attempt",
        "test_asyncio.py::test_a_snooze_costs_no_attempt_in_asyncio",
    ),
    "a rate limit throttles the lane of its run": (
        "test_agents_habits.py::test_a_rate_limit_throttles_the_lane_of_the_run_and_costs_no_attempt",
        "test_asyncio.py::test_a_rate_limit_throttles_the_lane_of_the_run_in_asyncio",
    ),
    "a provider that is away parks the runs of its lane": (
        "test_lanes.py::test_runs_of_a_provider_that_is_away_wait_and_keep_their_attempts",
        "test_lanes.py::test_runs_of_a_provider_that_is_away_wait_in_asyncio",
    ),
    "an id used again with another input is refused": (
        "test_agents_habits.py::test_an_id_used_again_with_another_input_is_refused",
        "test_asyncio.py::test_an_id_used_again_with_another_input_is_refused_in_asyncio",
    ),
    "an effect in doubt waits for a person": (
        "test_steps.py::test_an_error_in_an_unkeyed_effect_parks_the_run_whatever_the_workflow_catches",
        "test_asyncio.py::test_an_unkeyed_effect_parks_and_a_name_in_progress_is_refused",
    ),
    "a gate parks its run": (
        "test_gates.py::test_a_gate_parks_its_run_and_frees_the_worker_at_no_attempt",
        "test_gates.py::test_an_asyncio_worker_parks_at_a_gate_as_well",
    ),
    "a sleep parks its run": (
        "test_waits.py::test_a_sleep_parks_the_run_until_its_time",
        "test_waits.py::test_an_async_sleep_parks_the_run_until_its_time",
    ),
    "an event wakes who waits for it": (
        "test_waits.py::test_an_event_wakes_the_run_that_waits_for_it",
        "test_waits.py::test_an_async_event_wakes_the_run_that_waits_for_it",
    ),
    "children are awaited": (
        "test_children.py::test_a_child_on_a_queue_parks_its_parent",
        "test_children.py::test_an_async_child_on_a_queue_parks_its_parent",
    ),
    "a fan-out fails fast": (
        "test_children.py::test_a_fanout_that_fails_fast_raises_the_failure",
        "test_children.py::test_an_async_fanout_that_fails_fast_raises_the_failure",
    ),
    "a budget parks the run": (
        "test_usage.py::test_a_step_beyond_the_budget_parks_the_run_until_it_is_raised",
        "test_usage.py::test_an_async_run_parks_at_the_budget_of_its_queue",
    ),
    "a step of the database is done once": (
        "test_transactions.py::test_a_database_step_is_done_once_and_replayed",
        "test_transactions.py::test_an_async_database_step_is_done_once",
    ),
    "what is enqueued commits with its caller": (
        "test_callers_connections.py::test_what_is_enqueued_commits_and_rolls_back_with_the_caller",
        "test_callers_connections.py::test_what_is_enqueued_commits_and_rolls_back_with_an_asynchronous_caller",
    ),
    "no event is missed": (
        "test_subscribe.py::test_no_event_is_missed_or_told_twice_under_concurrent_writers",
        "test_subscribe.py::test_no_event_is_missed_by_an_async_subscriber",
    ),
}
"""What the driver guarantees, and its tests below tests/driver, one of each colour or of both."""

SYNC, ASYNC = "sync", "async"


def colours_of(test: str) -> set[str]:
    """In which colours a test runs; one with the parameter `mode` runs in both."""
    module, name = test.split("::")
    for node in ast.walk(ast.parse(Path(ROOT, "tests/driver", module).read_text())):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
            return {ASYNC}
        if isinstance(node, ast.FunctionDef) and node.name == name:
            modes = any(
                isinstance(one, ast.Call)
                and ast.unparse(one).endswith("('mode', ['sync', 'async'])")
                for one in node.decorator_list
            )
            return {SYNC, ASYNC} if modes else {SYNC}
    raise AssertionError(f"there is no test {test}")


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_guarantee_is_tested_in_both_colours(guarantee: str) -> None:
    found = {colour for test in GUARANTEES[guarantee] for colour in colours_of(test)}
    assert found == {SYNC, ASYNC}, f"tested only in {found}: {guarantee}"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "async_to_sync", ROOT / "tools" / "async_to_sync.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_both_colours_are_in_step(tool: ModuleType) -> None:
    stale = [str(path.relative_to(ROOT)) for path in tool.out_of_step()]
    assert not stale, f"run: make sync, which writes {', '.join(stale)}"


def test_each_synchronous_twin_says_where_it_comes_from(tool: ModuleType) -> None:
    assert len(tool.pairs()) >= 9
    for source, made in tool.pairs().items():
        assert f"# Made from {source.name} by tools/async_to_sync.py" in made.read_text()


@pytest.mark.parametrize(
    ("asynchronous", "synchronous"),
    [
        ("x = await f(await g())\n", "x = f(g())\n"),
        ("y = (await f()).status\n", "y = f().status\n"),
        ("async def f() -> Awaitable[int]: ...\n", "def f() -> int: ...\n"),
        ("async with aclosing(x) as y:\n    pass\n", "with closing(x) as y:\n    pass\n"),
        ("z: AsyncRun | None = AsyncRun()\n", "z: Run | None = Run()\n"),
        ("if ASYNC:\n    x = 1\nelse:\n    x = 2\n", "x = 2\n"),
        ('t = "await the tide"\n', 't = "await the tide"\n'),
    ],
)
def test_what_differs_is_taken_out(tool: ModuleType, asynchronous: str, synchronous: str) -> None:
    assert tool.converted(asynchronous) == synchronous
