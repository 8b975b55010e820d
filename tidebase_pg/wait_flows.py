"""Protocols of waiting, written once: gates, children, times and events.

In a worker a run that has to wait is parked: the flow raises RunParked and the worker drops it. Run
inline, the process itself waits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypedDict
from uuid import UUID

from tidebase_pg import calls
from tidebase_pg.documents import decode
from tidebase_pg.errors import (
    ChildFailed,
    LeaseLost,
    Refusal,
    RunCancelled,
    RunFinished,
    RunLeased,
    RunParked,
    Stop,
)
from tidebase_pg.flows import (
    LONGEST_WAIT,
    SHORTEST_WAIT,
    Attempt,
    Flow,
    Held,
    Pause,
    ask,
    claimed,
    database_time,
    leased,
    park,
)
from tidebase_pg.names import Use
from tidebase_pg.registry import NewChild, NewEdge, Registry
from tidebase_pg.types import AwaitedChild, ChildRow, LeasedRun, OpenGate, RunRow, Spawned
from tidebase_pg.values import Duration, RunId, interval, interval_text, seconds, text, worker_name

Decision = Literal["approved", "rejected", "canceled"]

MOST_SPAWNED: Final = 250
"""Children of a fan-out in one call; the steps of other runs go in between."""
SHORTEST_LOOK: Final = 1.0
LONGEST_LOOK: Final = 30.0
"""Seconds between two looks of a run at a child that is parked."""

AFTER_DUE: Final = 0.2
"""Seconds between two looks when the database does not yet find a time due that is due here."""


RULES: Final = (
    "answer", "quorum", "assignees", "escalate_after", "escalate_to", "not_requester",
)  # fmt: skip
"""The options of a gate that say who decides, and how an answer looks."""


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
    answer: Mapping[str, Any] | None
    """What the payload of an approval has to look like, a subset of JSON Schema."""
    quorum: int | None
    """How many different actors have to approve; default 1."""
    assignees: Sequence[str] | None
    """Who may decide: names of actors, or "role:NAME" for logins in a role; default everybody."""
    escalate_after: Duration | None
    """Seconds after which those of escalate_to may decide too."""
    escalate_to: Sequence[str] | None
    not_requester: bool | None
    """Whether the login that enqueued the run may not decide."""


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
    def suspend(self) -> None: ...
    def resume(self, leased: LeasedRun, since: float) -> None: ...


# Gates ------------------------------------------------------------------------------------


def open_gate(run: Held, name: str, prompt: str, options: GateOptions) -> Flow[OpenGate]:
    asked: dict[str, Any] = {**options}
    rules = {key: asked.pop(key) for key in RULES if asked.get(key) is not None}
    if "escalate_after" in rules:
        rules["escalate_after"] = interval_text(interval("escalate_after", rules["escalate_after"]))
    call = calls.open_gate(run.run_id, run.lease_id, name, prompt, rules=rules or None, **asked)
    return (yield from ask(call))


def gate(run: Waiter, name: str, prompt: str, options: GateOptions) -> Flow[GateDecision]:
    """The decision of a gate; while there is none the run waits."""
    use = yield from claimed(run, "gate", name)
    try:
        decision = yield from _decided(run, name, use.assigned, prompt, options)
    finally:
        use.open = False
    use.done = True
    return decision


def _decided(
    run: Waiter, name: str, assigned: str, prompt: str, options: GateOptions
) -> Flow[GateDecision]:
    gate = yield from open_gate(run, assigned, prompt, options)
    if gate.status != "pending":
        return _decision(gate.gate_id, name, gate.status, gate.actor, gate.payload_text)
    while True:
        if run.inline:
            yield from _watch(run, gate.gate_id)
        answer = yield from park(calls.await_gate(run.run_id, run.lease_id, gate.gate_id))
        if not answer.parked:
            return _decision(gate.gate_id, name, answer.status, answer.actor, answer.payload_text)
        yield from _parked(run, f"a decision about gate {name!r}", time.monotonic() + AFTER_DUE)


def _watch(run: Held, gate_id: UUID) -> Flow[None]:
    """Return once the gate is decided or its time is over; the run stays leased."""
    pause = SHORTEST_WAIT
    while True:
        gate = yield from ask(calls.get_gate(gate_id))
        if gate.run_status == "cancelled":
            raise run.record_stop(RunCancelled(f"run {run.run_id} is cancelled"))
        if gate.status != "pending":
            return
        if gate.expires_at is not None and gate.expires_at <= (yield from database_time()):
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


def named_spawn(run: Held, child: NewEdge) -> Flow[Spawned]:
    """Enqueue a child under the name this use of its name has."""
    use = yield from claimed(run, "child", child.edge)
    try:
        spawned = yield from spawn(run, replace(child, edge=use.assigned))
    finally:
        use.open = False
    use.done = True
    return spawned


def child(run: Waiter, child: NewEdge) -> Flow[Any]:
    """The result of a child: run here, or by a worker of its queue. Raises ChildFailed."""
    use = yield from claimed(run, "child", child.edge)
    named = replace(child, edge=use.assigned)
    try:
        if child.queue is None:
            return (yield from inline_child(run, named))
        return (yield from queued_child(run, named))
    finally:
        use.open = False
        use.done = run.stop is None


def plan_fanout(
    run: Held,
    registry: Registry,
    name: str,
    children: Sequence[NewChild],
    queue: str | None,
    on_failure: str,
) -> Flow[tuple[Use, list[NewEdge]]]:
    """The edges of a fan-out, and its name. Raises ValueError or TypeError naming what is wrong."""
    text("name", name)
    if on_failure not in ("fail_fast", "collect"):
        raise ValueError(f"on_failure = {on_failure!r} is not known: give fail_fast or collect")
    edges: list[NewEdge] = []
    use = yield from claimed(run, "child", name)
    try:
        for place, child in enumerate(children):
            options: dict[str, Any] = {"edge_type": "fanout", **child}
            workflow = options.pop("workflow", None)
            options.pop("name", None)
            if (after := child.get("after")) is not None:
                options["after"] = [_named(name, children, use.assigned, one) for one in after]
            edge = _edge(use.assigned, place, child)
            edges.append(registry.child(workflow, edge, queue, options))
        if len({edge.edge for edge in edges}) < len(edges):
            raise ValueError(f"two children of fanout {name!r} have the same name")
    except BaseException:
        use.open = False
        raise
    return use, edges


def _edge(assigned: str, place: int, child: NewChild) -> str:
    return f"{assigned}/{child.get('name', place)}"


def _named(name: str, children: Sequence[NewChild], assigned: str, named: RunId | int) -> RunId:
    """The edge of a child of the same fan-out, by its place or name; else what was given."""
    if isinstance(named, int):
        if not 0 <= named < len(children):
            raise ValueError(f"fanout {name!r} has no child {named} to come after")
        return _edge(assigned, named, children[named])
    for place, child in enumerate(children):
        if child.get("name", str(place)) == named:
            return _edge(assigned, place, child)
    return named


def queued_child(run: Waiter, child: NewEdge) -> Flow[Any]:
    """The result of a child that a worker of its queue runs. Raises ChildFailed."""
    yield from spawn(run, child)
    (ended,) = yield from await_children(run, [child.edge], "all")
    return outcome(ended)


def queued_children(
    run: Waiter, children: Sequence[NewEdge], mode: Literal["all", "fail_fast"]
) -> Flow[list[Any]]:
    """The results in the order given, and ChildFailed in place of a failure, which with fail_fast
    is raised; those that have not begun by then are cancelled."""
    if not children:
        return []
    yield from spawn_all(run, children)
    ended = yield from await_children(run, [child.edge for child in children], mode)
    by_edge = {child.edge: child for child in ended}
    found = [by_edge[child.edge] for child in children]
    failed = next((child for child in found if child.status in ("failed", "cancelled")), None)
    if mode == "fail_fast" and failed is not None:
        yield from _cancel_queued(found, children, failed.edge)
        return [outcome(failed)]
    return [_result_or_failure(child) for child in found]


def spawn_all(run: Waiter, children: Sequence[NewEdge]) -> Flow[None]:
    """Make the children of a fan-out, in their order; those there are stay."""
    for child in children:
        _add_attempts(run, child)
    for start in range(0, len(children), MOST_SPAWNED):
        elements = [child.element() for child in children[start : start + MOST_SPAWNED]]
        yield from ask(calls.spawn_many(run.run_id, run.lease_id, elements).unread())


def leave_queued(run: Held, children: Sequence[NewEdge], failed: str) -> Flow[None]:
    """Cancel those of a fan-out that have not begun, since another has failed."""
    edges = {child.edge for child in children}
    found = yield from ask(calls.list_children(run.run_id))
    yield from _cancel_queued([child for child in found if child.edge in edges], children, failed)


def _cancel_queued(
    found: Sequence[AwaitedChild | ChildRow], children: Sequence[NewEdge], failed: str
) -> Flow[None]:
    detached = {child.edge for child in children if child.options.get("detached")}
    for child in found:
        if child.status == "queued" and child.edge not in detached:
            reason = f"child {failed!r} of the fan-out failed"
            with contextlib.suppress(Refusal):
                yield from ask(calls.cancel(child.child_id, reason=reason).unread())


def await_children(run: Waiter, edges: Sequence[str] | None, mode: str) -> Flow[list[AwaitedChild]]:
    while True:
        ended = yield from park(
            calls.await_children(run.run_id, run.lease_id, edges=edges, mode=mode)
        )
        if not (ended and ended[0].parked):
            return ended
        yield from _parked(run, "its children")


def inline_child(run: Waiter, child: NewEdge) -> Flow[Any]:
    """The result of a child run here. Raises ChildFailed.

    After a crash the lease of an earlier attempt on the child has to end first. A child that is
    parked is waited for here when the run itself is inline; else the run lets its worker go too,
    and looks again a little later.
    """
    _add_attempts(run, child)
    child_id = (yield from spawn(run, child)).child_id
    pause = SHORTEST_WAIT
    while True:
        row = yield from ask(calls.get_run(child_id))
        if row.finished:
            return _result(child.edge, row)
        workflow = child.of_run(row.workflow)
        now = yield from database_time()
        if row.waiting_on is not None and not run.inline:
            yield from _look_again_later(run, row, now)
        wait = _not_before(row, now)
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
                    yield from _attempted(run, Attempt(row, workflow, since))
                continue
        yield Pause(min(wait, pause))
        pause = min(pause * 2, LONGEST_WAIT)


def _add_attempts(run: Waiter, child: NewEdge) -> None:
    """A child that runs here may be tried as often as its parent."""
    if child.queue is None and run.leased.max_attempts > 1:
        child.options.setdefault("max_attempts", run.leased.max_attempts)


def _look_again_later(run: Waiter, child: RunRow, now: datetime) -> Flow[None]:
    """Hand the run back while a child that runs here is parked; the longer that is, the later it
    looks again. It costs no attempt."""
    begun = 0.0 if child.started_at is None else (now - child.started_at).total_seconds()
    delay = min(max(begun / 8, SHORTEST_LOOK), LONGEST_LOOK)
    yield from park(calls.release(run.run_id, run.lease_id, delay=delay).unread())
    raise run.record_stop(
        RunParked(f"run {run.run_id} is handed back: its child {child.run_id} is parked")
    )


def _attempted(run: Held, attempt: Attempt) -> Flow[None]:
    """What became of the attempt is recorded with the child; only our own end is raised."""
    run.under_way.add(attempt)
    try:
        yield attempt
    except (Exception, Stop):
        if run.stop is not None:
            raise
    finally:
        run.under_way.discard(attempt)


def _not_before(row: RunRow, now: datetime) -> float:
    """Seconds until a child may be begun: parked, leased or backing off it may not yet."""
    if row.waiting_on is not None:
        return LONGEST_WAIT
    if row.status != "pending" or row.run_at is None:
        return 0.0
    return (row.run_at - now).total_seconds()


def _result(edge: str, row: RunRow) -> Any:
    if row.status != "completed":
        raise ChildFailed(edge, row.run_id, row.status, row.error)
    return row.result


def outcome(child: AwaitedChild) -> Any:
    """The result of a child that has ended. Raises ChildFailed."""
    if child.status != "completed":
        raise ChildFailed(child.edge, child.child_id, child.status, child.error)
    return child.result


def _result_or_failure(child: AwaitedChild) -> Any:
    try:
        return outcome(child)
    except ChildFailed as failure:
        return failure


# Times and events -------------------------------------------------------------------------


def sleep(run: Waiter, name: str, duration: Duration) -> Flow[None]:
    use = yield from claimed(run, "sleep", name)
    try:
        yield from _slept(run, use.assigned, duration)
    finally:
        use.open = False
    use.done = True


def _slept(run: Waiter, name: str, duration: Duration) -> Flow[None]:
    while True:
        answer = yield from park(calls.sleep(run.run_id, run.lease_id, name, duration))
        if not answer.parked:
            return
        now = yield from database_time()
        left = max((answer.due_at - now).total_seconds(), AFTER_DUE)
        yield from _parked(run, f"the end of sleep {name!r}", time.monotonic() + left)


def wait_event(run: Waiter, name: str, timeout: Duration | None) -> Flow[Event | None]:
    """The oldest event of this name not yet heard, or None when the time-out was over first."""
    limit = None if timeout is None else seconds("timeout", timeout)
    use = yield from claimed(run, "event", name)
    wait = None if use.assigned == name else use.assigned
    try:
        while True:
            answer = yield from park(
                calls.await_event(run.run_id, run.lease_id, name, timeout=timeout, wait=wait)
            )
            if not answer.parked:
                break
            due = None if limit is None else time.monotonic() + max(limit, AFTER_DUE)
            yield from _parked(run, f"event {name!r}", due)
    finally:
        use.open = False
    use.done = True
    if not answer.received:
        return None
    return Event(name, decode(answer.payload_text, f"the payload of event {name!r}"))


# Parked -----------------------------------------------------------------------------------


def _parked(run: Waiter, what: str, due: float | None = None) -> Flow[None]:
    """The run has been parked: end here, or inline wait until it is woken or due and lease it."""
    if not run.inline:
        raise run.record_stop(RunParked(f"run {run.run_id} is parked: it waits for {what}"))
    run.suspend()
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
        raise run.record_stop(
            LeaseLost(f"run {run.run_id} was taken up elsewhere: {error}")
        ) from None
    except Stop as stop:
        raise run.record_stop(stop) from None
    if row.lease_id is None:
        kind = RunCancelled if row.status == "cancelled" else RunFinished
        raise run.record_stop(kind(f"run {run.run_id} is {row.status}"))
    run.resume(leased(row), since)
