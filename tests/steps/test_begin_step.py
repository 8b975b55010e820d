"""begin_step: replay what is done, execute what is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, as_json, contents, refused
from tests.support import Clock, value


@pytest.fixture
def own(tide: Tide) -> dict[str, Any]:
    """The run_id and lease_id of a run that may be attempted again."""
    run = tide.started(max_attempts=9)
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def again(tide: Tide, own: dict[str, Any]) -> dict[str, Any]:
    """The next attempt after one that failed."""
    tide.fail(**own, retry_after="0")
    (run,) = tide.claim()
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def row(tide: Tide, own: dict[str, Any], name: str = "plan") -> dict[str, Any]:
    steps = tide.describe_run(run_id=own["run_id"])["steps"]
    (found,) = [step for step in steps if step["name"] == name]
    return dict(found)


def test_first_begin_executes_and_is_logged(tide: Tide, own: dict[str, Any]) -> None:
    step = tide.begin_step(**own, name="plan", input={"n": 1})
    assert (step.action, step.output, step.attempt, step.replay) == ("execute", None, 1, "auto")
    assert row(tide, own)["status"] == "running"
    assert tide.log(own["run_id"])[-1] == "step.started"
    assert tide.last_event(own["run_id"]).payload == {"name": "plan", "attempt": 1}


def test_completed_step_replays_its_output_in_this_and_later_attempts(
    tide: Tide, own: dict[str, Any]
) -> None:
    tide.begin_step(**own, name="plan")
    tide.complete_step(**own, name="plan", output={"parts": 3})
    for _ in range(3):
        before = tide.log(own["run_id"])
        step = tide.begin_step(**own, name="plan")
        assert (step.action, step.output, step.attempt) == ("replay", {"parts": 3}, 1)
        assert tide.log(own["run_id"]) == before
        own = again(tide, own)


def test_own_running_step_is_executed_without_another_event(
    tide: Tide, own: dict[str, Any]
) -> None:
    tide.begin_step(**own, name="plan", contract={"replay": "never"})
    before = tide.log(own["run_id"])
    step = tide.begin_step(**own, name="plan", contract={"replay": "never"})
    assert (step.action, step.attempt) == ("execute", 1)
    assert tide.log(own["run_id"]) == before


def test_failed_step_is_executed_as_its_next_attempt(tide: Tide, own: dict[str, Any]) -> None:
    tide.begin_step(**own, name="plan")
    tide.fail_step(**own, name="plan", error={"n": 1}, retryable=True)
    step = tide.begin_step(**own, name="plan")
    assert (step.action, step.attempt) == ("execute", 2)
    found = row(tide, own)
    assert (found["status"], found["error"], found["finished_at"]) == ("running", None, None)
    assert tide.last_event(own["run_id"]).payload == {"name": "plan", "attempt": 2}


def test_begin_renews_the_lease(tide: Tide, hour: Clock, own: dict[str, Any]) -> None:
    hour.advance(MINUTE / 2)
    tide.heartbeat(run_ids=[own["run_id"]], lease_ids=[own["lease_id"]], lease="10 minutes")
    hour.advance(MINUTE)
    tide.begin_step(**own, name="plan")
    assert tide.get_run(run_id=own["run_id"]).leased_until == hour.now + 10 * MINUTE


def test_steps_of_runs_are_their_own(tide: Tide, own: dict[str, Any]) -> None:
    tide.begin_step(**own, name="plan")
    tide.complete_step(**own, name="plan", output=1)
    other = tide.started()
    step = tide.begin_step(run_id=other.run_id, lease_id=other.lease_id, name="plan")
    assert step.action == "execute"


def test_overdue_run_begins_no_step(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    hour.advance(MINUTE)
    before = contents(tide.connection)
    with refused("TD001", run.run_id, "deadline"):
        tide.begin_step(**own, name="plan")
    assert contents(tide.connection) == before


def test_step_begun_before_the_deadline_may_be_completed_after_it(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE)
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    hour.advance(MINUTE)
    assert tide.complete_step(**own, name="plan").status == "completed"


def test_finished_runs_begin_no_step(tide: Tide) -> None:
    completed = tide.finished()
    failed = tide.started()
    tide.fail(run_id=failed.run_id, lease_id=failed.lease_id)
    cancelled = tide.started()
    tide.cancel(run_id=cancelled.run_id)
    for run, code in ((completed, "TD003"), (failed, "TD003"), (cancelled, "TD001")):
        with refused(code, run.run_id):
            tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name="plan")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1, "b": 2}, '{"b": 2, "a": 1}'),
        ({"a": 1}, '{"a": 1.0}'),
        ({"a": 1}, '{"a": 1e0}'),
        ({"a": [{"b": 100}]}, '{"a": [{"b": 100.00}]}'),
        ({"a": 1.5}, '{"a": 1.50}'),
        ({"a": 0}, '{"a": -0.0}'),
        ({"a": 1}, '{"a": 2, "a": 1}'),
        ("[1, 2]", "[1.0, 2.000]"),
        (None, None),
        (None, "null"),
        ('"1.0"', '"1.0"'),
        ('{"a": "x", "n": 10}', '{ "n":10.0,"a":"x" }'),
    ],
)
def test_same_input_in_another_form_is_the_same(
    tide: Tide, own: dict[str, Any], first: Any, second: Any
) -> None:
    tide.begin_step(**own, name="plan", input=first)
    assert tide.begin_step(**own, name="plan", input=second).action == "execute"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"b": 1}),
        ({"a": None}, {}),
        ("[1, 2]", "[2, 1]"),
        ("[]", "{}"),
        ('"1.0"', '"1"'),
        ('"1.0"', "1"),
        ({"a": {"b": [1]}}, {"a": {"b": [1, 1]}}),
        ("10", "1"),
        ("1.01", "1.1"),
        (None, {}),
        ("true", "1"),
    ],
)
def test_another_input_is_refused_with_both_hashes(
    tide: Tide, own: dict[str, Any], first: Any, second: Any
) -> None:
    tide.begin_step(**own, name="plan", input=first)
    tide.complete_step(**own, name="plan")
    with refused("TD020", "'plan'", own["run_id"]) as caught:
        tide.begin_step(**own, name="plan", input=second)
    hashes = [
        value(tide.connection, "select encode(tide._input_hash(%s), 'hex')", as_json(given))
        for given in (first, second)
    ]
    assert all(given in caught.value.diag.message_detail for given in hashes)
    assert hashes[0] != hashes[1]


def test_other_input_is_refused_whatever_became_of_the_step(
    tide: Tide, own: dict[str, Any]
) -> None:
    tide.begin_step(**own, name="plan", input="1")
    with refused("TD020"):
        tide.begin_step(**own, name="plan", input="2")
    tide.fail_step(**own, name="plan", retryable=True)
    with refused("TD020"):
        tide.begin_step(**own, name="plan", input="2")
    own = again(tide, own)
    with refused("TD020"):
        tide.begin_step(**own, name="plan", input="2")
    assert tide.begin_step(**own, name="plan", input="1").action == "execute"


def test_hash_is_the_same_with_other_string_settings(tide: Tide) -> None:
    query = 'select tide._input_hash(\'{"a": [1.50, 10, "1.0"]}\')'
    first = value(tide.connection, query)
    tide.connection.execute("set standard_conforming_strings = off")
    tide.connection.execute("set escape_string_warning = off")
    tide.connection.execute("set extra_float_digits = -15")
    assert value(tide.connection, query) == first
