"""watch_run: events of watched runs are notified, those of others are not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock, Connection


@pytest.fixture
def heard(connect: Callable[..., Connection], direct_dsn: str) -> Callable[[], list[str]]:
    """What was notified on the channel since the last look: payloads, in order."""
    listener = connect(direct_dsn)
    listener.execute("listen tide_events")

    def hear() -> list[str]:
        # What was committed before this statement is delivered with its answer.
        listener.execute("select")
        return [notified.payload for notified in listener.notifies(timeout=0)]

    return hear


def told(run_id: Any) -> str:
    """Those who know a run recognize it; nobody else learns its id."""
    return str(UUID(hashlib.sha256(str(run_id).encode()).hexdigest()[:32]))


def own(run: Any) -> dict[str, Any]:
    return {"run_id": run.run_id, "lease_id": run.lease_id}


def test_only_watched_runs_are_notified(tide: Tide, heard: Callable[[], list[str]]) -> None:
    watched, other = tide.started(), tide.started()
    tide.set_state(run_id=watched.run_id, value=1)
    assert heard() == []
    tide.watch_run(run_id=watched.run_id)
    tide.set_state(run_id=other.run_id, value=1)
    assert heard() == []
    tide.set_state(run_id=watched.run_id, value=2)
    assert heard() == [told(watched.run_id)]


def test_every_kind_of_event_is_notified(tide: Tide, heard: Callable[[], list[str]]) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    tide.watch_run(run_id=run_id)
    (run,) = tide.claim()
    acts: list[tuple[str, dict[str, Any]]] = [
        ("begin_step", {"name": "plan"}),
        ("complete_step", {"name": "plan"}),
        ("open_gate", {"name": "approve", "prompt": "?"}),
        ("spawn", {"edge": "a", "workflow": "part"}),
        ("sleep", {"name": "nap", "duration": "1 hour"}),
    ]
    assert heard() == [told(run_id)]
    for function, arguments in acts:
        tide.call(function, **own(run), **arguments)
        assert heard() == [told(run_id)], function
    tide.record_usage(run_id=run_id)
    assert heard() == [told(run_id)]
    tide.cancel(run_id=run_id)
    assert heard() == [told(run_id)]


def test_notified_event_can_be_read(tide: Tide, heard: Callable[[], list[str]]) -> None:
    run = tide.started()
    tide.watch_run(run_id=run.run_id)
    tide.complete(**own(run))
    assert heard() == [told(run.run_id)]
    assert tide.last_event(run.run_id).type == "run.completed"


def test_events_of_one_transaction_are_one_notification(
    tide: Tide, heard: Callable[[], list[str]]
) -> None:
    run = tide.started()
    tide.watch_run(run_id=run.run_id)
    tide.connection.execute("begin")
    for number in range(5):
        tide.set_state(run_id=run.run_id, value=number)
    assert heard() == []
    tide.connection.execute("commit")
    assert heard() == [told(run.run_id)]


def test_rolled_back_event_is_not_notified(tide: Tide, heard: Callable[[], list[str]]) -> None:
    run = tide.started()
    tide.watch_run(run_id=run.run_id)
    tide.connection.execute("begin")
    tide.complete(**own(run))
    tide.connection.execute("rollback")
    assert heard() == []


def test_watch_ends_with_the_next_upkeep_after_its_time(
    tide: Tide, hour: Clock, heard: Callable[[], list[str]]
) -> None:
    run = tide.started(lease="1 hour")
    tide.watch_run(run_id=run.run_id, duration="2 minutes")
    tide.watch_run(run_id=run.run_id, duration="1 second")
    hour.advance(2 * MINUTE)
    tide.reconcile()
    heard()
    tide.set_state(run_id=run.run_id, value=1)
    assert heard() == [told(run.run_id)]
    hour.advance(MINUTE / 60)
    tide.reconcile()
    heard()
    tide.set_state(run_id=run.run_id, value=2)
    assert heard() == []


def test_finished_run_may_be_watched(tide: Tide, heard: Callable[[], list[str]]) -> None:
    run = tide.finished()
    tide.watch_run(run_id=run.run_id)
    tide.record_usage(run_id=run.run_id)
    assert heard() == [told(run.run_id)]


def test_unknown_run_and_bad_duration_are_refused(tide: Tide) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("TD010", NOBODY):
        tide.watch_run(run_id=NOBODY)
    for duration in (None, "0", "-1 minute", "2 hours"):
        with refused("22023", "duration"):
            tide.watch_run(run_id=run.run_id, duration=duration)
    assert contents(tide.connection) == before
