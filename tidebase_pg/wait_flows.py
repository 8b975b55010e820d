"""Protocols of waiting, written once: gates, children, times and events.

In a worker a run that has to wait is parked: the flow raises RunParked and the worker drops it. Run
inline, the process itself waits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypedDict
from uuid import UUID

from tidebase_pg import calls
from tidebase_pg.documents import decode
from tidebase_pg.errors import (
    ChildFailed,
    LeaseLost,
    RunCancelled,
    RunFinished,
    RunLeased,
    RunParked,
    Stop,
)
from tidebase_pg.flows import LONGEST_WAIT, SHORTEST_WAIT, Attempt, Flow, Held, Pause, ask, leased
from tidebase_pg.registry import NewEdge
from tidebase_pg.types import AwaitedChild, LeasedRun, OpenGate, RunRow, Spawned
from tidebase_pg.values import Duration, seconds, worker_name

Decision = Literal["approved", "rejected", "canceled"]

AFTER_DUE: Final = 0.2
"""Seconds between two looks when the database does not yet find a time due that is due here."""


class GateOptions(TypedDict, total=False):
    """What a gate asks for, frozen when it is first opened."""

    data: Any
    """What the decision is about, for whoever decides."""
    timeout: Duration | None
    """Seconds until it decides by itself; default never."""
    on_timeout: Decision
    """What it decides then; default "rejected"."""
    channels: Sequence[Mapping[str, Any]] | None
    """Where it is sent, with its token: [{"type": "webhook", "url", "secret_name", "events"}]."""
    capability: str | None
    """For people: who may decide."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """How a gate was decided."""

    gate_id: UUID
    name: str
    decision: str
    """approved, rejected or canceled."""
    actor: str | None
    payload: Any

    @property
    def approved(self) -> bool:
        return self.decision == "approved"


@dataclass(frozen=True, slots=True)
class Event:
    """An event sent to the run; its payload may be None."""

    name: str
    payload: Any


class Waiter(Held, Protocol):
    """A held run that may wait: parked in a worker, here when `inline`."""

    @property
    def leased(self) -> LeasedRun: ...
    @property
    def lease(self) -> float: ...
    @property
    def inline(self) -> bool: ...
    def put_down(self) -> None: ...
    def take_up(self, leased: LeasedRun, since: float) -> None: ...


# Gates ------------------------------------------------------------------------------------


def open_gate(run: Held, name: str, prompt: str, options: GateOptions) -> Flow[OpenGate]:
    return (yield from ask(calls.open_gate(run.run_id, run.lease_id, name, prompt, **options)))


def gate(run: Waiter, name: str, prompt: str, options: GateOptions) -> Flow[GateDecision]:
    """The decision of a gate; while there is none the run waits."""
    gate = yield from open_gate(run, name, prompt, options)
    if gate.status != "pending":
        return _decision(gate.gate_id, name, gate.status, gate.actor, gate.payload_text)
    while True:
        if run.inline:
            yield from _watch(run, gate.gate_id)
        answer = yield from ask(calls.await_gate(run.run_id, run.lease_id, gate.gate_id))
        if not answer.parked:
            return _decision(gate.gate_id, name, answer.status, answer.actor, answer.payload_text)
        yield from _parked(run, f"a decision about gate {name!r}", time.monotonic() + AFTER_DUE)


def _watch(run: Held, gate_id: UUID) -> Flow[None]:
    """Return once the gate is decided or its time is over; the run stays leased."""
    pause = SHORTEST_WAIT
    while True:
        gate = yield from ask(calls.get_gate(gate_id))
        if gate.run_status == "cancelled":
            raise run.lost(RunCancelled(f"run {run.run_id} is cancelled"))
        if gate.status != "pending":
            return
        if gate.expires_at is not None and gate.expires_at <= datetime.now(UTC):
            return
        yield Pause(pause)
        pause = min(pause * 2, LONGEST_WAIT)


def _decision(
    gate_id: UUID, name: str, status: str, actor: str | None, payload: str | None
) -> GateDecision:
    return GateDecision(
        gate_id, name, status, actor, decode(payload, f"the payload of gate {gate_id}")
    )


# Children ---------------------------------------------------------------------------------


def spawn(run: Held, child: NewEdge) -> Flow[Spawned]:
    return (
        yield from ask(
            calls.spawn(
                run.run_id,
                run.lease_id,
                child.edge,
                child.workflow,
                input=child.input,
                queue=child.queue,
                options=child.options or None,
            )
        )
    )


def queued_child(run: Waiter, child: NewEdge) -> Flow[Any]:
    """The result of a child that a worker of its queue runs. Raises ChildFailed."""
    yield from spawn(run, child)
    (ended,) = yield from await_children(run, [child.edge], "all")
    return outcome(ended)


def queued_children(
    run: Waiter, children: Sequence[NewEdge], mode: Literal["all", "fail_fast"]
) -> Flow[list[AwaitedChild]]:
    """The children in the order given, ended; with fail_fast at the latest when one has failed."""
    if not children:
        return []
    elements = [child.element() for child in children]
    yield from ask(calls.spawn_many(run.run_id, run.lease_id, elements))
    ended = yield from await_children(run, [child.edge for child in children], mode)
    by_edge = {child.edge: child for child in ended}
    return [by_edge[child.edge] for child in children]


def await_children(run: Waiter, edges: Sequence[str] | None, mode: str) -> Flow[list[AwaitedChild]]:
    while True:
        ended = yield from ask(
            calls.await_children(run.run_id, run.lease_id, edges=edges, mode=mode)
        )
        if not (ended and ended[0].parked):
            return ended
        yield from _parked(run, "its children")


def inline_child(run: Waiter, child: NewEdge) -> Flow[Any]:
    """The result of a child run here. Raises ChildFailed.

    After a crash the lease of an earlier attempt on the child has to end first.
    """
    assert child.function is not None
    attempts = run.leased.max_attempts
    if attempts > 1:
        child.options.setdefault("max_attempts", attempts)
    child_id = (yield from spawn(run, child)).child_id
    pause = SHORTEST_WAIT
    while True:
        row = yield from ask(calls.get_run(child_id))
        if row.finished:
            return _result(child.edge, row)
        wait = _not_before(row)
        if wait <= 0:
            since = time.monotonic()
            try:
                row = yield from ask(
                    calls.begin_run(child_id, worker=worker_name(), lease=run.lease)
                )
            except RunLeased:
                wait = pause
            except Stop:
                continue  # it has ended meanwhile
            else:
                if row.lease_id is not None:
                    yield from _attempted(run, Attempt(row, child.function, since))
                continue
        yield Pause(min(wait, pause))
        pause = min(pause * 2, LONGEST_WAIT)


def _attempted(run: Held, attempt: Attempt) -> Flow[None]:
    """What became of the attempt is recorded with the child; only our own end is raised."""
    try:
        yield attempt
    except Exception:
        if run.stop is not None:
            raise


def _not_before(row: RunRow) -> float:
    """Seconds until a child may be begun: parked, leased or backing off it may not yet."""
    if row.waiting_on is not None:
        return LONGEST_WAIT
    if row.status != "pending" or row.run_at is None:
        return 0.0
    return (row.run_at - datetime.now(UTC)).total_seconds()


def _result(edge: str, row: RunRow) -> Any:
    if row.status != "completed":
        raise ChildFailed(edge, row.run_id, row.status, row.error)
    return row.result


def outcome(child: AwaitedChild) -> Any:
    """The result of a child that has ended. Raises ChildFailed."""
    if child.status != "completed":
        raise ChildFailed(child.edge, child.child_id, child.status, child.error)
    return child.result


def collected(children: Sequence[AwaitedChild], *, fail_fast: bool) -> list[Any]:
    """Results in their order, and in place of what failed its ChildFailed, which with fail_fast
    is raised."""
    if fail_fast:
        for child in children:
            if child.status in ("failed", "cancelled"):
                outcome(child)
    return [_result_or_failure(child) for child in children]


def _result_or_failure(child: AwaitedChild) -> Any:
    try:
        return outcome(child)
    except ChildFailed as failure:
        return failure


# Times and events -------------------------------------------------------------------------


def sleep(run: Waiter, name: str, duration: Duration) -> Flow[None]:
    while True:
        answer = yield from ask(calls.sleep(run.run_id, run.lease_id, name, duration))
        if not answer.parked:
            return
        left = max((answer.due_at - datetime.now(UTC)).total_seconds(), AFTER_DUE)
        yield from _parked(run, f"the end of sleep {name!r}", time.monotonic() + left)


def wait_event(run: Waiter, name: str, timeout: Duration | None) -> Flow[Event | None]:
    """The event, or None when the time-out was over first."""
    limit = None if timeout is None else seconds("timeout", timeout)
    while True:
        answer = yield from ask(calls.await_event(run.run_id, run.lease_id, name, timeout=timeout))
        if not answer.parked:
            break
        due = None if limit is None else time.monotonic() + max(limit, AFTER_DUE)
        yield from _parked(run, f"event {name!r}", due)
    if not answer.received:
        return None
    return Event(name, decode(answer.payload_text, f"the payload of event {name!r}"))


# Parked -----------------------------------------------------------------------------------


def _parked(run: Waiter, what: str, due: float | None = None) -> Flow[None]:
    """The run has been parked: end here, or inline wait until it is woken or due and lease it."""
    if not run.inline:
        raise run.lost(RunParked(f"run {run.run_id} is parked: it waits for {what}"))
    run.put_down()
    pause = SHORTEST_WAIT
    while True:
        row = yield from ask(calls.get_run(run.run_id))
        left = LONGEST_WAIT if due is None else due - time.monotonic()
        if row.waiting_on is None or left <= 0:
            break
        yield Pause(min(pause, left))
        pause = min(pause * 2, LONGEST_WAIT)
    since = time.monotonic()
    try:
        row = yield from ask(calls.begin_run(run.run_id, worker=worker_name(), lease=run.lease))
    except RunLeased as error:
        raise run.lost(LeaseLost(f"run {run.run_id} was taken up elsewhere: {error}")) from None
    except Stop as stop:
        raise run.lost(stop) from None
    if row.lease_id is None:
        kind = RunCancelled if row.status == "cancelled" else RunFinished
        raise run.lost(kind(f"run {run.run_id} is {row.status}"))
    run.take_up(leased(row), since)


def edge_name(fanout: str, child: Mapping[str, Any], place: int) -> str:
    """The edge of one child of a fan-out."""
    return f"{fanout}/{child.get('name', place)}"
