"""list_events: seq 1, 2, 3 without a gap, from any point on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.runs.acts import NOBODY, Tide, refused
from tests.support import Clock, Connection, at_once, results


def test_whole_life_is_told_in_order(tide: Tide, hour: Clock) -> None:
    run = tide.begun()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    tide.begin_step(**own, name="plan")
    tide.complete_step(**own, name="plan")
    tide.complete(**own)
    assert tide.log(run.run_id) == [
        "run.created",
        "run.started",
        "step.started",
        "step.completed",
        "run.completed",
    ]
    events = tide.list_events(run_id=run.run_id)
    assert {event.run_id for event in events} == {run.run_id}
    assert {event.created_at for event in events} == {hour.now}


def test_reading_goes_on_after_any_seq(tide: Tide) -> None:
    run = tide.finished()
    seqs = [
        [event.seq for event in tide.list_events(run_id=run.run_id, after=after)]
        for after in (-1, 0, 1, 3, 99, None)
    ]
    assert seqs == [[1, 2, 3], [1, 2, 3], [2, 3], [], [], [1, 2, 3]]


def test_pages_are_oldest_first(tide: Tide) -> None:
    run = tide.finished()
    first = tide.list_events(run_id=run.run_id, max_events=2)
    rest = tide.list_events(run_id=run.run_id, after=first[-1].seq, max_events=2)
    assert [event.seq for event in (*first, *rest)] == [1, 2, 3]


def test_unknown_run_is_not_found(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.list_events(run_id=NOBODY)


@pytest.mark.parametrize("max_events", [0, -1, 10001, None])
def test_max_events_has_bounds(tide: Tide, max_events: int | None) -> None:
    run = tide.create_run(workflow="report")
    with refused("22023", "max_events"):
        tide.list_events(run_id=run.run_id, max_events=max_events)


def test_many_writers_leave_no_gap(tide: Tide, connect: Callable[..., Connection]) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    writers = [Tide(connect()) for _ in range(6)]

    def write(writer: Tide, number: int) -> None:
        for n in range(5):
            name = f"step-{number}-{n}"
            writer.begin_step(**own, name=name)
            writer.complete_step(**own, name=name)

    results(at_once([lambda w=w, n=n: write(w, n) for n, w in enumerate(writers)]))
    assert len(tide.log(run.run_id)) == 2 + 6 * 5 * 2


def test_rolled_back_writer_leaves_no_gap(tide: Tide, connect: Callable[..., Connection]) -> None:
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    other = Tide(connect(autocommit=False))
    other.begin_step(**own, name="lost")
    other.connection.rollback()
    tide.begin_step(**own, name="kept")
    assert tide.log(run.run_id) == ["run.enqueued", "run.claimed", "step.started"]
