"""What the functions of consoles show to whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.runs.acts import Tide, refused
from tests.support import Connection

LogIn = Callable[..., Connection]


@pytest.mark.parametrize("role", ["tide_viewer", "tide_operator"])
def test_runs_of_a_restricted_queue_are_shown_to_those_it_is_granted_to(
    tide: Tide, connection: Connection, log_in: LogIn, role: str
) -> None:
    run_id = tide.enqueue(workflow="payroll", queue="secret").run_id
    granted = log_in(role)
    other = Tide(log_in(role))
    tide.grant_queue(queue="secret", role=granted.info.user)
    try:
        mine = Tide(granted)
        assert [run["run_id"] for run in mine.find_runs()["runs"]] == [str(run_id)]
        assert [row.queue for row in mine.list_queues()] == ["secret"]
        assert other.find_runs()["runs"] == []
        assert other.list_queues() == []
        assert other.list_queues(queues=["secret"]) == []
        with refused("42501", run_id):
            other.outline_run(run_id=run_id)
    finally:
        tide.revoke_queue(queue="secret", role=granted.info.user)


def test_a_viewer_finds_nothing_by_what_runs_carry(tide: Tide, log_in: LogIn) -> None:
    tide.enqueue(workflow="report", metadata={"tenant": "acme"})
    viewer = Tide(log_in("tide_viewer"))
    with refused("22023", "metadata"):
        viewer.find_runs(filters={"metadata": {"tenant": "acme"}})
    for refusal in (
        lambda: viewer.search_runs(filters={"metadata": {"tenant": "acme"}}),
        lambda: viewer.count_runs(filters={"error": "a"}),
        lambda: viewer.list_gates(),
    ):
        with refused("42501"):
            refusal()
