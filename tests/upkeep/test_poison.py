"""A row that cannot be swept is set aside and named; the others proceed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import MINUTE, Tide
from tests.support import Clock, value


@pytest.fixture
def poison(tide: Tide, clock: Clock) -> Callable[[UUID], None]:
    """Makes every event of a run an error, as a broken trigger of the user's would."""

    def poison(run_id: UUID) -> None:
        clock.connection.execute(
            f"""
            create or replace function tide_test.poison() returns trigger language plpgsql as $$
            begin
              raise exception 'poison';
            end;
            $$;
            create trigger poison before insert on tide.events
            for each row when (new.run_id = '{run_id}') execute function tide_test.poison();
            """.encode()
        )

    return poison


def sweep(tide: Tide, batch: int = 100) -> dict[str, Any]:
    report: dict[str, Any] = value(tide.connection, "call tide.reconcile(batch => %s)", batch)
    return report


@pytest.mark.parametrize("name", ["expired_leases", "overdue"])
@pytest.mark.parametrize("position", [0, 2, 4])
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_poisoned_run_is_set_aside_and_the_others_proceed(
    tide: Tide,
    hour: Clock,
    poison: Callable[[UUID], None],
    name: str,
    position: int,
    batch: int,
) -> None:
    deadline = MINUTE if name == "overdue" else None
    runs = [tide.started(max_attempts=2, deadline=deadline) for _ in range(5)]
    bad = runs.pop(position)
    poison(bad.run_id)
    hour.advance(2 * MINUTE)
    sweep(tide, batch)
    assert tide.get_run(run_id=bad.run_id).status == "running"
    for run in runs:
        expected = "cancelled" if name == "overdue" else "queued"
        assert tide.get_run(run_id=run.run_id).status == expected
    assert (name, str(bad.run_id), "poison", "P0001", 1) in tide.sweep_failures()


def test_poisoned_run_is_left_alone_longer_each_time(
    tide: Tide, hour: Clock, poison: Callable[[UUID], None]
) -> None:
    run = tide.started(max_attempts=2)
    poison(run.run_id)
    hour.advance(2 * MINUTE)
    counts = []
    for _ in range(6):
        sweep(tide)
        counts.append(tide.sweep_failures()[0].failures)
        hour.advance(MINUTE)
    assert counts == [1, 2, 2, 3, 3, 3]


def test_healed_run_is_swept_when_its_time_comes(
    tide: Tide, hour: Clock, poison: Callable[[UUID], None]
) -> None:
    run = tide.started(max_attempts=2)
    poison(run.run_id)
    hour.advance(2 * MINUTE)
    sweep(tide)
    hour.connection.execute("drop trigger poison on tide.events")
    hour.advance(MINUTE)
    assert sweep(tide)["expired_leases"] == 1
    assert tide.get_run(run_id=run.run_id).status == "queued"
    hour.advance(timedelta(days=2))
    sweep(tide)
    assert tide.sweep_failures() == []


def test_poisoned_run_does_not_keep_claims_from_working(
    tide: Tide, hour: Clock, poison: Callable[[UUID], None]
) -> None:
    bad, good = tide.started(max_attempts=2), tide.started(max_attempts=2)
    poison(bad.run_id)
    hour.advance(2 * MINUTE)
    fresh = tide.enqueue(workflow="report").run_id
    assert [run.run_id for run in tide.claim(max_runs=9)] == [good.run_id, fresh]
    assert [failure.key for failure in tide.sweep_failures()] == [str(bad.run_id)]


def test_poisoned_wait_is_set_aside_and_the_others_end(
    tide: Tide, hour: Clock, poison: Callable[[UUID], None]
) -> None:
    runs = [tide.started(max_attempts=2) for _ in range(3)]
    for run in runs:
        own = {"run_id": run.run_id, "lease_id": run.lease_id}
        tide.sleep(**own, name="nap", duration=MINUTE)
    poison(runs[0].run_id)
    hour.advance(MINUTE)
    assert sweep(tide)["due_waits"] == 3
    assert [tide.get_run(run_id=run.run_id).waiting_on for run in runs] == ["timer", None, None]
    assert [(failure.sweep, failure.key) for failure in tide.sweep_failures()] == [
        ("due_waits", str(runs[0].run_id))
    ]


def test_poisoned_gate_is_set_aside_and_the_others_time_out(
    tide: Tide, hour: Clock, poison: Callable[[UUID], None]
) -> None:
    runs = [tide.started(max_attempts=2) for _ in range(3)]
    for run in runs:
        own = {"run_id": run.run_id, "lease_id": run.lease_id}
        gate = tide.open_gate(**own, name="approve", prompt="Send it?", timeout=MINUTE)
        tide.await_gate(**own, gate_id=gate.gate_id)
    poison(runs[0].run_id)
    hour.advance(MINUTE)
    sweep(tide)
    assert [tide.get_run(run_id=run.run_id).waiting_on for run in runs] == ["gate", None, None]
    assert [(failure.sweep, failure.key) for failure in tide.sweep_failures()] == [
        ("gate_timeouts", str(runs[0].run_id))
    ]
