"""create_run: a plain run that waits to be begun by its id."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from tests.runs.acts import Tide, refused
from tests.support import Clock


def test_created_run_is_pending_and_logged(tide: Tide) -> None:
    run = tide.create_run(workflow="report", input={"topic": "tides"}, metadata={"team": "sea"})
    assert (run.status, run.queue, run.attempt, run.max_attempts) == ("pending", None, 0, 1)
    assert (run.input, run.metadata) == ({"topic": "tides"}, {"team": "sea"})
    (event,) = tide.list_events(run_id=run.run_id)
    assert (event.seq, event.type) == (1, "run.created")
    assert event.payload == {"workflow": "report", "max_attempts": 1}
    assert event.created_at >= run.created_at


def test_created_run_is_no_work_for_claimers(tide: Tide) -> None:
    tide.create_run(workflow="report")
    assert tide.claim() == []


def test_null_input_and_metadata_are_empty_objects(tide: Tide) -> None:
    run = tide.create_run(workflow="report", input=None, metadata=None)
    assert (run.input, run.metadata) == ({}, {})


def test_ids_sort_by_age(tide: Tide) -> None:
    made = [tide.create_run(workflow="report").run_id for _ in range(20)]
    assert made == sorted(made)
    assert {run_id.version for run_id in made} == {7}


def test_deadline_counts_from_creation(tide: Tide, hour: Clock) -> None:
    run = tide.create_run(workflow="report", deadline="10 minutes")
    assert run.deadline_at == hour.now + timedelta(minutes=10)


def test_same_run_id_again_returns_the_run_it_made(tide: Tide) -> None:
    run_id = uuid4()
    first = tide.create_run(workflow="report", input={"n": 1}, run_id=run_id)
    again = tide.create_run(workflow="report", input={"n": 1.0}, run_id=run_id)
    assert again == first
    assert tide.log(run_id) == ["run.created"]


def test_same_run_id_again_returns_the_finished_run(tide: Tide) -> None:
    run_id = uuid4()
    run = tide.begun(run_id=run_id)
    tide.complete(run_id=run_id, lease_id=run.lease_id, result={"pages": 3})
    again = tide.create_run(workflow="report", run_id=run_id)
    assert (again.status, again.result) == ("completed", {"pages": 3})
    assert tide.log(run_id)[-1] == "run.completed"


def test_same_run_id_for_another_workflow_is_refused(tide: Tide) -> None:
    run_id = uuid4()
    tide.create_run(workflow="report", run_id=run_id)
    with refused("TD020", run_id):
        tide.create_run(workflow="invoice", run_id=run_id)


def test_same_run_id_for_another_input_is_refused_even_when_finished(tide: Tide) -> None:
    run_id = uuid4()
    tide.create_run(workflow="report", input={"n": 1}, run_id=run_id)
    with refused("TD020", run_id):
        tide.create_run(workflow="report", input={"n": 2}, run_id=run_id)
    tide.cancel(run_id=run_id)
    with refused("TD020", run_id):
        tide.create_run(workflow="report", input={"n": 2}, run_id=run_id)
    assert tide.get_run(run_id=run_id).input == {"n": 1}
