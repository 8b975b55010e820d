"""fail_step: reported once, judged by the contract."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock


@pytest.fixture
def own(tide: Tide) -> dict[str, Any]:
    run = tide.started(max_attempts=9)
    return {"run_id": run.run_id, "lease_id": run.lease_id}


@pytest.mark.parametrize(
    ("contract", "decision"),
    [
        ({"side_effects": ["email.send"]}, "manual_review"),
        ({"side_effects": ["email.send"], "idempotency_key": "k"}, "safe_replay"),
        ({"side_effects": ["read"]}, "safe_replay"),
        ({}, "safe_replay"),
        ({"replay": "never"}, "fail_hard"),
    ],
    ids=str,
)
def test_final_failure_is_classified_and_logged(
    tide: Tide, own: dict[str, Any], contract: dict[str, Any], decision: str
) -> None:
    tide.begin_step(**own, name="send", contract=contract)
    assert tide.fail_step(**own, name="send", error={"n": 1}).decision == decision
    (event,) = [e for e in tide.list_events(run_id=own["run_id"]) if e.type == "step.failed"]
    assert event.payload == {
        "name": "send",
        "attempt": 1,
        "decision": decision,
        "error": {"n": 1},
    }
    assert tide.log(own["run_id"]).count("step.failed") == 1


@pytest.mark.parametrize("retryable", [True, False])
def test_fail_repeated_gives_the_same_answer_and_no_event(
    tide: Tide, own: dict[str, Any], retryable: bool
) -> None:
    tide.begin_step(**own, name="send")
    first = tide.fail_step(**own, name="send", retryable=retryable)
    before = contents(tide.connection)
    assert tide.fail_step(**own, name="send", retryable=retryable) == first
    assert contents(tide.connection) == before


@pytest.mark.parametrize(("replay", "code"), [("manual", "TD002"), ("never", "TD003")])
def test_fail_repeated_after_the_run_left_tells_the_worker_to_stop(
    tide: Tide, own: dict[str, Any], replay: str, code: str
) -> None:
    tide.begin_step(**own, name="send", contract={"replay": replay})
    tide.fail_step(**own, name="send")
    before = contents(tide.connection)
    with refused(code, own["run_id"]):
        tide.fail_step(**own, name="send")
    assert contents(tide.connection) == before


def test_completed_step_cannot_fail(tide: Tide, own: dict[str, Any]) -> None:
    tide.begin_step(**own, name="send")
    tide.complete_step(**own, name="send")
    with refused("TD030", own["run_id"], "'send'"):
        tide.fail_step(**own, name="send")


def test_step_never_begun_cannot_fail(tide: Tide, own: dict[str, Any]) -> None:
    with refused("TD010", own["run_id"], "'send'"):
        tide.fail_step(**own, name="send")


def test_fail_renews_the_lease(tide: Tide, hour: Clock, own: dict[str, Any]) -> None:
    tide.begin_step(**own, name="send")
    hour.advance(MINUTE / 2)
    tide.fail_step(**own, name="send", retryable=True)
    assert tide.get_run(run_id=own["run_id"]).leased_until == hour.now + MINUTE


def test_null_error_and_retryable_are_defaults(tide: Tide, own: dict[str, Any]) -> None:
    tide.begin_step(**own, name="send")
    answer = tide.fail_step(**own, name="send", error=None, retryable=None)
    assert answer.decision == "safe_replay"
    assert tide.describe_run(run_id=own["run_id"])["steps"][0]["error"] == {}
