"""Forks and retention: a fork is whole, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from tests.runs.acts import Tide, refused
from tests.support import Connection


def family(tide: Tide) -> tuple[UUID, UUID]:
    """A completed parent, whose child was made before its step send, and the child."""
    tide.set_queue(queue="kids", settings={"retention": "0 seconds"})
    run = tide.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    child_id = tide.spawn(**own, edge="part", workflow="part", queue="kids").child_id
    (child,) = tide.claim(queues=["kids"])
    tide.complete(run_id=child_id, lease_id=child.lease_id, result=7)
    for step in ("plan", "send"):
        tide.begin_step(**own, name=step)
        tide.complete_step(**own, name=step, output=1)
    tide.complete(**own)
    return run.run_id, child_id


def test_a_fork_whose_children_are_gone_is_refused(tide: Tide) -> None:
    parent_id, child_id = family(tide)
    assert tide.prune() == 1
    with refused("TD010", child_id):
        tide.get_run(run_id=child_id)
    with refused("TD030", parent_id, "part"):
        tide.fork_run(run_id=parent_id, at_step="send")


def test_children_stay_while_a_fork_may_ask_for_them(tide: Tide) -> None:
    parent_id, child_id = family(tide)
    tide.fork_run(run_id=parent_id, at_step="send")
    assert tide.prune() == 0
    (fork,) = tide.claim()
    own = {"run_id": fork.run_id, "lease_id": fork.lease_id}
    assert tide.spawn(**own, edge="part", workflow="part", queue="kids").child_id == child_id
    (row,) = tide.await_children(**own)
    assert (row.status, row.result) == ("completed", 7)
    tide.complete(**own)
    assert tide.prune() == 1


def test_what_is_being_forked_is_not_removed(
    tide: Tide, connect: Callable[..., Connection]
) -> None:
    parent_id, child_id = family(tide)
    forking: Any = Tide(connect(autocommit=False))
    fork_id = forking.fork_run(run_id=parent_id, at_step="send").run_id
    assert tide.prune(older_than="0") == 0
    forking.connection.commit()
    steps = tide.describe_run(run_id=fork_id)["steps"]
    assert [step["name"] for step in steps] == ["plan"]
    # The original may go now; what the fork asks for stays.
    assert tide.prune(older_than="0") == 1
    assert tide.get_run(run_id=child_id).status == "completed"
