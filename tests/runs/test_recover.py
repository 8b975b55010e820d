"""recover: the application of a run is asked to resume it, by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, refused
from tests.support import Clock
from tests.webhooks.outbox import APP, SECOND, later, outbox, send


def asked(tide: Tide, run: Any) -> list[Any]:
    return [d for d in outbox(tide.connection, run.run_id) if d.type == "run.resume"]


def test_the_application_is_asked_and_the_webhook_returned(tide: Tide) -> None:
    run = tide.create_run(workflow="report", recovery_url=APP)
    told = tide.recover(run_id=run.run_id, reason="looks stuck")
    (delivery,) = asked(tide, run)
    assert (told.delivery_id, told.status, told.url) == (delivery.delivery_id, "pending", APP)
    assert (told.token, told.lease_id) == (None, None)
    assert json.loads(delivery.body)["reason"] == "looks stuck"
    event = tide.last_event(run.run_id)
    assert (event.type, event.payload["reason"]) == ("recovery.started", "looks stuck")
    (sent,) = send(tide)
    assert sent.delivery_id == told.delivery_id


def test_a_failed_run_goes_on_from_its_checkpoints(tide: Tide) -> None:
    run = tide.begun(recovery_url=APP)
    held = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**held, name="write")
    tide.complete_step(**held, name="write", output=1)
    tide.fail(**held)
    tide.recover(run_id=run.run_id)
    assert tide.get_run(run_id=run.run_id).status == "pending"
    assert tide.log(run.run_id)[-2:] == ["run.retried", "recovery.started"]
    assert len(send(tide)) == 1
    again = tide.begin_run(run_id=run.run_id)
    assert (again.attempt, again.lease_id is None) == (2, False)


def test_a_run_whose_worker_lives_is_not_disturbed(tide: Tide) -> None:
    run = tide.begun(recovery_url=APP)
    tide.recover(run_id=run.run_id)
    assert send(tide) == []
    (delivery,) = asked(tide, run)
    assert delivery.status == "dropped"
    assert tide.complete(run_id=run.run_id, lease_id=run.lease_id).status == "completed"


def test_upkeep_does_not_ask_again_at_once(tide: Tide, hour: Clock) -> None:
    run = tide.begun(recovery_url=APP, max_attempts=2)
    hour.advance(MINUTE + SECOND)
    tide.recover(run_id=run.run_id)
    tide.reconcile()
    assert len(asked(tide, run)) == 1
    later(tide, hour, timedelta(minutes=1))
    assert len(asked(tide, run)) == 2


def test_a_run_without_a_recovery_url_cannot_be_recovered(tide: Tide) -> None:
    for run in (tide.create_run(workflow="report"), tide.enqueue(workflow="report")):
        with refused("TD030", "no recovery_url"):
            tide.recover(run_id=run.run_id)
    assert outbox(tide.connection) == []


def test_what_ended_otherwise_is_not_recovered(tide: Tide) -> None:
    done = tide.begun(recovery_url=APP)
    tide.complete(run_id=done.run_id, lease_id=done.lease_id)
    with refused("TD003"):
        tide.recover(run_id=done.run_id)
    gone = tide.begun(recovery_url=APP)
    tide.cancel(run_id=gone.run_id)
    with refused("TD001"):
        tide.recover(run_id=gone.run_id)
    with refused("TD010"):
        tide.recover(run_id=NOBODY)
    assert outbox(tide.connection) == []


@pytest.mark.parametrize("reason", ["", None, "a\nb", "r" * 257])
def test_a_reason_is_short_and_of_one_line(tide: Tide, reason: str | None) -> None:
    run = tide.create_run(workflow="report", recovery_url=APP)
    with refused("22023", "reason"):
        tide.recover(run_id=run.run_id, reason=reason)
