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
