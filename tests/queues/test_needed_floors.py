"""When claims are given a floor to start at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.runs.acts import Tide
from tests.support import Clock, Connection, value


def test_floor_is_written_only_where_entries_of_runs_that_are_gone_pile_up(
    tide: Tide, hour: Clock, connect: Callable[..., Connection]
) -> None:
    def ticks() -> int:
        for _ in range(3):
            hour.advance(timedelta(seconds=1))
            tide.reconcile()
        return int(value(tide.connection, "select count(*) from tide.claim_floors"))

    def drained() -> None:
        tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 121)
        begun = tide.claim(max_runs=120)
        outcomes = [{"run_id": run.run_id, "lease_id": run.lease_id} for run in begun]
        tide.settle(outcomes=outcomes)

    drained()
    tide.connection.execute("vacuum tide.runs_active")
    assert ticks() == 0
    old = connect(autocommit=False)
    old.execute("set transaction isolation level repeatable read")
    old.execute("select")
    drained()
    assert ticks() == 1
    assert len(tide.claim(max_runs=9)) == 2
    old.rollback()
