"""The replay contract: what may happen to a step whose end is in doubt."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock

CONTRACTS: list[tuple[dict[str, Any], str]] = [
    ({}, "auto"),
    ({"side_effects": []}, "auto"),
    ({"side_effects": None}, "auto"),
    ({"side_effects": ["read"]}, "auto"),
    ({"side_effects": ["read", "read"]}, "auto"),
    ({"side_effects": ["email.send"]}, "manual"),
    ({"side_effects": ["read", "email.send"]}, "manual"),
    ({"side_effects": ["email.send"], "idempotency_key": "k"}, "auto"),
    ({"side_effects": ["email.send"], "idempotency_key": None}, "manual"),
    ({"idempotency_key": "k"}, "auto"),
    ({"replay": "manual"}, "manual"),
    ({"replay": "never"}, "never"),
    ({"side_effects": ["email.send"], "replay": "auto"}, "auto"),
    ({"side_effects": ["read"], "replay": "never"}, "never"),
    ({"side_effects": ["email.send"], "idempotency_key": "k", "replay": "manual"}, "manual"),
]
BY_REPLAY = {"auto": {}, "manual": {"replay": "manual"}, "never": {"replay": "never"}}


def lease(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def step(tide: Tide, run: Any) -> Any:
    return tide.describe_run(run_id=run.run_id)["steps"][0]


def next_attempt(tide: Tide, clock: Clock, run: Any) -> Any:
    """The run as the next worker gets it, after the lease of this one ran out."""
    clock.advance(2 * MINUTE)
    tide.reconcile()
    (again,) = tide.claim()
    assert again.run_id == run.run_id
    return again


@pytest.mark.parametrize(("contract", "replay"), CONTRACTS, ids=str)
def test_replay_is_inferred_unless_given(tide: Tide, contract: dict[str, Any], replay: str) -> None:
    run = tide.started()
    assert tide.begin_step(**lease(run), name="send", contract=contract).replay == replay


def test_contract_is_stored(tide: Tide) -> None:
    run = tide.started()
    contract = {
        "side_effects": ["email.send", "read"],
        "idempotency_key": "k",
        "replay": "manual",
        "checkpoint_invariant": "sent once",
        "verified_by": "mailbox",
        "timeout": "90 seconds",
    }
    tide.begin_step(**lease(run), name="send", contract=contract)
    found = step(tide, run)
    assert {key: found[key] for key in contract} == contract | {"timeout": "00:01:30"}


def test_contract_is_frozen_at_the_first_begin(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    tide.begin_step(**lease(run), name="send", contract={"replay": "never"})
    before = step(tide, run)
    again = tide.begin_step(**lease(run), name="send", contract={"side_effects": ["read"]})
    assert (again.action, again.replay) == ("execute", "never")
    assert step(tide, run) == before
    run = next_attempt(tide, hour, run)
    assert tide.begin_step(**lease(run), name="send", contract={}).action == "failed"


def test_worker_died_inside_auto_executes_again(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    tide.begin_step(**lease(run), name="send")
    run = next_attempt(tide, hour, run)
    again = tide.begin_step(**lease(run), name="send")
    assert (again.action, again.attempt) == ("execute", 2)
    assert tide.complete_step(**lease(run), name="send").status == "completed"


def test_worker_died_inside_manual_parks_for_review(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    tide.begin_step(**lease(run), name="send", contract={"side_effects": ["email.send"]})
    run = next_attempt(tide, hour, run)
    answer = tide.begin_step(**lease(run), name="send", contract={"side_effects": ["email.send"]})
    assert (answer.action, answer.output) == ("review", None)
    parked = tide.get_run(run_id=run.run_id)
    assert (parked.status, parked.waiting_on, parked.ready) == ("queued", "review", False)
    assert (parked.run_at, parked.attempt, parked.leased_until) == (None, 1, None)
    assert step(tide, run)["status"] == "manual_review"
    assert tide.log(run.run_id)[-2:] == ["step.review", "run.parked"]
    assert tide.last_event(run.run_id).payload == {"waiting_on": "review", "waiting_for": "send"}


def test_worker_died_inside_never_fails_the_run(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    tide.begin_step(**lease(run), name="send", contract={"replay": "never"})
    run = next_attempt(tide, hour, run)
    assert tide.begin_step(**lease(run), name="send").action == "failed"
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.status, ended.failure_class) == ("failed", "fail_hard")
    assert ended.error["step"] == "send"
    assert step(tide, run)["status"] == "failed"
    assert tide.log(run.run_id)[-1] == "run.failed"


@pytest.mark.parametrize("replay", BY_REPLAY)
def test_retryable_failure_executes_again_whatever_the_contract(
    tide: Tide, hour: Clock, replay: str
) -> None:
    run = tide.started(max_attempts=3)
    tide.begin_step(**lease(run), name="send", contract=BY_REPLAY[replay])
    answer = tide.fail_step(**lease(run), name="send", error={"n": 1}, retryable=True)
    assert (answer.status, answer.decision, answer.run_status) == (
        "failed_retryable",
        "auto_retry",
        "running",
    )
    assert tide.begin_step(**lease(run), name="send").action == "execute"
    tide.fail_step(**lease(run), name="send", retryable=True)
    run = next_attempt(tide, hour, run)
    again = tide.begin_step(**lease(run), name="send")
    assert (again.action, again.attempt) == ("execute", 3)


def test_final_failure_of_auto_is_safe_to_replay(tide: Tide, hour: Clock) -> None:
    run = tide.started(max_attempts=3)
    tide.begin_step(**lease(run), name="send")
    answer = tide.fail_step(**lease(run), name="send", error={"n": 1})
    assert (answer.status, answer.decision, answer.run_status) == (
        "failed",
        "safe_replay",
        "running",
    )
    assert step(tide, run)["error"] == {"n": 1}
    run = next_attempt(tide, hour, run)
    again = tide.begin_step(**lease(run), name="send")
    assert (again.action, again.attempt) == ("execute", 2)


def test_final_failure_of_manual_parks_for_review(tide: Tide) -> None:
    run = tide.started(max_attempts=3)
    tide.begin_step(**lease(run), name="send", contract={"replay": "manual"})
    answer = tide.fail_step(**lease(run), name="send", error={"n": 1})
    assert (answer.status, answer.decision, answer.run_status) == (
        "manual_review",
        "manual_review",
        "queued",
    )
    parked = tide.get_run(run_id=run.run_id)
    assert (parked.waiting_on, parked.attempt, parked.run_at) == ("review", 0, None)
    assert tide.log(run.run_id)[-3:] == ["step.failed", "step.review", "run.parked"]


def test_final_failure_of_never_fails_the_run(tide: Tide) -> None:
    run = tide.started(max_attempts=3)
    tide.begin_step(**lease(run), name="send", contract={"replay": "never"})
    answer = tide.fail_step(**lease(run), name="send", error={"n": 1})
    assert (answer.status, answer.decision, answer.run_status) == (
        "failed",
        "fail_hard",
        "failed",
    )
    ended = tide.get_run(run_id=run.run_id)
    assert (ended.failure_class, ended.error["error"]) == ("fail_hard", {"n": 1})


def test_parked_run_is_claimed_by_nobody_and_burns_nothing(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    tide.begin_step(**lease(run), name="send", contract={"replay": "manual"})
    tide.fail_step(**lease(run), name="send")
    before = tide.log(run.run_id)
    for _ in range(3):
        hour.advance(60 * MINUTE)
        tide.reconcile()
        assert tide.claim() == []
    assert tide.log(run.run_id) == before


def test_worker_of_a_parked_run_has_lost_its_lease(tide: Tide) -> None:
    run = tide.started()
    tide.begin_step(**lease(run), name="send", contract={"replay": "manual"})
    tide.fail_step(**lease(run), name="send")
    before = contents(tide.connection)
    for function, arguments in (
        ("complete", {}),
        ("fail", {}),
        ("release", {}),
        ("begin_step", {"name": "send"}),
        ("complete_step", {"name": "send"}),
        ("fail_step", {"name": "send"}),
    ):
        with refused("TD002", run.run_id):
            tide.call(function, **lease(run), **arguments)
    assert contents(tide.connection) == before


def test_parked_run_is_cancelled_at_its_deadline(tide: Tide, hour: Clock) -> None:
    run = tide.started(deadline=MINUTE)
    tide.begin_step(**lease(run), name="send", contract={"replay": "manual"})
    tide.fail_step(**lease(run), name="send")
    hour.advance(MINUTE)
    tide.reconcile()
    assert tide.get_run(run_id=run.run_id).cancel_reason == "deadline"


def test_parked_plain_run_that_is_begun_parks_again(tide: Tide) -> None:
    run = tide.begun()
    tide.begin_step(**lease(run), name="send", contract={"replay": "manual"})
    tide.fail_step(**lease(run), name="send")
    parked = tide.get_run(run_id=run.run_id)
    assert (parked.status, parked.waiting_on) == ("pending", "review")
    run = tide.begin_run(run_id=run.run_id)
    assert tide.begin_step(**lease(run), name="send").action == "review"
    parked = tide.get_run(run_id=run.run_id)
    assert (parked.waiting_on, parked.attempt) == ("review", 0)


@pytest.mark.parametrize(
    ("contract", "argument"),
    [
        ({"replay": "sometimes"}, "contract.replay"),
        ({"replay": 1}, "contract.replay"),
        ({"replay": ["auto"]}, "contract.replay"),
        ({"side_effects": "read"}, "contract.side_effects"),
        ({"side_effects": {}}, "contract.side_effects"),
        ({"side_effects": [1]}, "contract.side_effects"),
        ({"side_effects": [None]}, "contract.side_effects"),
        ({"side_effects": [["read"]]}, "contract.side_effects"),
        ({"side_effects": [""]}, "contract.side_effects"),
        ({"side_effects": ["x" * 257]}, "contract.side_effects"),
        ({"side_effects": ["read"] * 101}, "contract.side_effects"),
        ({"idempotency_key": 5}, "contract.idempotency_key"),
        ({"idempotency_key": ""}, "contract.idempotency_key"),
        ({"idempotency_key": "x" * 513}, "contract.idempotency_key"),
        ({"checkpoint_invariant": []}, "contract.checkpoint_invariant"),
        ({"checkpoint_invariant": "x" * 4097}, "contract.checkpoint_invariant"),
        ({"verified_by": True}, "contract.verified_by"),
        ({"timeout": 5}, "contract.timeout"),
        ({"timeout": "soon"}, "contract.timeout"),
        ({"timeout": "-1 second"}, "contract.timeout"),
        ({"timeout": "0"}, "contract.timeout"),
        ({"timeout": "infinity"}, "contract.timeout"),
        ({"timeout": "1000000 years"}, "contract.timeout"),
        ({"timeouts": "1 second"}, "contract"),
        ([], "contract"),
        ("null", "contract"),
        ('"auto"', "contract"),
        (3, "contract"),
    ],
    ids=lambda given: str(given)[:60],
)
def test_bad_contract_is_refused_and_nothing_is_written(
    tide: Tide, contract: Any, argument: str
) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", argument + " "):
        tide.begin_step(**lease(run), name="send", contract=contract)
    assert contents(tide.connection) == before
