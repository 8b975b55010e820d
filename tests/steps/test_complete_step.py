"""complete_step: the checkpoint, written once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock


@pytest.fixture
def own(tide: Tide) -> dict[str, Any]:
    run = tide.started(max_attempts=9)
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def test_completed_step_keeps_its_output_and_is_logged(
    tide: Tide, hour: Clock, own: dict[str, Any]
) -> None:
    tide.begin_step(**own, name="plan")
    hour.advance(MINUTE / 2)
    step = tide.complete_step(**own, name="plan", output={"parts": 3})
    assert (step.name, step.status, step.output) == ("plan", "completed", {"parts": 3})
    assert (step.finished_at, step.lease_id, step.attempt) == (hour.now, None, 1)
    assert tide.log(own["run_id"])[-2:] == ["step.started", "step.completed"]
    assert tide.last_event(own["run_id"]).payload == {"name": "plan", "attempt": 1}


def test_complete_renews_the_lease(tide: Tide, hour: Clock, own: dict[str, Any]) -> None:
    tide.begin_step(**own, name="plan")
    hour.advance(MINUTE / 2)
    tide.complete_step(**own, name="plan")
    assert tide.get_run(run_id=own["run_id"]).leased_until == hour.now + MINUTE


def test_complete_repeated_gives_the_same_answer_and_no_event(
    tide: Tide, own: dict[str, Any]
) -> None:
    tide.begin_step(**own, name="plan")
    first = tide.complete_step(**own, name="plan", output=1)
    again = tide.complete_step(**own, name="plan", output=2)
    assert again == first
    assert tide.log(own["run_id"]).count("step.completed") == 1


def test_step_never_begun_cannot_be_completed(tide: Tide, own: dict[str, Any]) -> None:
    with refused("TD010", own["run_id"], "'plan'"):
        tide.complete_step(**own, name="plan")


def test_step_of_an_earlier_attempt_cannot_be_completed_unbegun(
    tide: Tide, own: dict[str, Any]
) -> None:
    tide.begin_step(**own, name="plan")
    tide.fail(**own, retry_after="0")
    (run,) = tide.claim()
    with refused("TD030", own["run_id"], "'plan'"):
        tide.complete_step(run_id=run.run_id, lease_id=run.lease_id, name="plan")


def test_failed_step_cannot_be_completed_unbegun(tide: Tide, own: dict[str, Any]) -> None:
    tide.begin_step(**own, name="plan")
    tide.fail_step(**own, name="plan", retryable=True)
    before = contents(tide.connection)
    with refused("TD030", own["run_id"], "'plan'"):
        tide.complete_step(**own, name="plan")
    assert contents(tide.connection) == before


def test_late_worker_cannot_complete_the_step_another_began(
    tide: Tide, hour: Clock, own: dict[str, Any]
) -> None:
    tide.begin_step(**own, name="plan")
    hour.advance(2 * MINUTE)
    tide.reconcile()
    (run,) = tide.claim()
    mine = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**mine, name="plan")
    with refused("TD002", run.run_id):
        tide.complete_step(**own, name="plan", output=1)
    assert tide.complete_step(**mine, name="plan", output=2).output == 2
