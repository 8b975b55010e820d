"""Calls about what runs wait for besides people: children, timers and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from tidebase_pg.call import Call, call, truth
from tidebase_pg.documents import encode, optional
from tidebase_pg.types import (
    AwaitedChild,
    AwaitedEvent,
    ChildRow,
    Row,
    RunRow,
    Slept,
    Spawned,
    SpawnedMany,
)
from tidebase_pg.values import Duration, RunId, identifier


def spawn(
    run_id: RunId,
    lease_id: UUID,
    edge: str,
    workflow: str,
    *,
    input: Any = None,
    queue: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Call[Spawned]:
    """Make a child of a leased run; the same edge again gives the same child, with another workflow
    or input TD020. queue null = a plain run the parent begins itself. after, in options, are runs
    that have to end first, as of enqueue: by id, or children of the same parent by edge.
    """
    return call(
        "spawn",
        Spawned.columns(),
        Spawned.one,
        run_id=run_id,
        lease_id=lease_id,
        edge=edge,
        workflow=workflow,
        input=optional(input, f"the input of child {edge!r}"),
        queue=queue,
        options=optional(options, f"the options of child {edge!r}"),
    )


def spawn_many(
    run_id: RunId, lease_id: UUID, children: Sequence[Mapping[str, Any]]
) -> Call[list[SpawnedMany]]:
    """Make children of a leased run, one for each edge name: an array of objects with edge,
    workflow and the arguments of enqueue; queue null = a plain run the parent begins itself. An
    edge that exists gives its child; with another workflow or input it is TD020. after may name,
    beside runs, edges of the same parent, of this array those of elements before.
    """
    return call(
        "spawn_many",
        SpawnedMany.columns(),
        SpawnedMany.many,
        run_id=run_id,
        lease_id=lease_id,
        children=encode(children, "children"),
    )


def await_children(
    run_id: RunId,
    lease_id: UUID,
    *,
    edges: Sequence[str] | None = None,
    mode: str | None = None,
) -> Call[list[AwaitedChild]]:
    """Children of a leased run that ended, or park the run until they have (parked = true: drop
    it): all, any, or fail_fast = all unless one fails. edges null = every child. In modes any and
    fail_fast children still active are among the rows.
    """
    return call(
        "await_children",
        AwaitedChild.columns(),
        AwaitedChild.many,
        run_id=run_id,
        lease_id=lease_id,
        edges=edges,
        mode=mode,
    )


def list_children(run_id: RunId) -> Call[list[ChildRow]]:
    """The children of a run, oldest first; unknown run: TD010."""
    return call("list_children", ChildRow.columns(), ChildRow.many, run_id=run_id)


def list_child_runs(
    run_id: RunId,
    *,
    edges: Sequence[str] | None = None,
    before: RunId | None = None,
    max_runs: int | None = None,
) -> Call[list[RunRow]]:
    """The runs that are children of a run, newest first, all or those of some edges; before = the
    last run_id of the page before. Unknown run: TD010.
    """
    return call(
        "list_child_runs",
        RunRow.columns(),
        RunRow.many,
        run_id=run_id,
        edges=None if edges is None else list(edges),
        before=before,
        max_runs=max_runs,
    )


def cancel_children(run_id: RunId, *, max_runs: int | None = None) -> Call[int]:
    """Let active children follow a cancelled run, or a failed one if they have not begun, at once,
    in a transaction of their own; upkeep does it otherwise. Returns how many were cancelled: repeat
    until 0. Unknown run: TD010.
    """
    return call("cancel_children", "cancel_children", _number, run_id=run_id, max_runs=max_runs)


def sleep(run_id: RunId, lease_id: UUID, name: str, duration: Duration) -> Call[Slept]:
    """Let a leased run wait for a time without a worker: parked = true, drop the run. The time
    counts from the first call; once it is over the same name never waits again.
    """
    return call(
        "sleep",
        Slept.columns(),
        Slept.one,
        run_id=run_id,
        lease_id=lease_id,
        name=name,
        duration=duration,
    )


def send_event(run_id: RunId, name: str, *, payload: Any = None) -> Call[bool]:
    """Send an active run an event by name. Events of one name form a mailbox: each is heard once,
    in the order of sending, and kept until the run waits for it. Returns true.
    """
    return call(
        "send_event",
        "send_event",
        truth,
        run_id=run_id,
        name=name,
        payload=optional(payload, f"the payload of event {name!r}"),
    )


def send_events(events: Sequence[Mapping[str, Any]]) -> Call[int]:
    """Send events, an array of run_id, name and payload, to several active runs, all or none. Locks
    the runs in an order that deadlocks with nothing, whatever the order given; returns how many.
    """
    told = [{**event, "run_id": str(identifier("run_id", event.get("run_id")))} for event in events]
    return call("send_events", "send_events", _number, events=encode(told, "events"))


def await_event(
    run_id: RunId,
    lease_id: UUID,
    name: str,
    *,
    timeout: Duration | None = None,
    wait: str | None = None,
) -> Call[AwaitedEvent]:
    """The oldest event of a name not yet heard, or park the run until one comes (parked = true:
    drop it) or the timeout is over (received = false). Each wait hears one event and replays it;
    wait names it, default as the event.
    """
    return call(
        "await_event",
        AwaitedEvent.columns(),
        AwaitedEvent.one,
        run_id=run_id,
        lease_id=lease_id,
        name=name,
        timeout=timeout,
        wait=wait,
    )


def _number(rows: Sequence[Row]) -> int:
    return cast(int, rows[0][0])
