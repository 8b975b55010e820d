"""Random programs over the public functions, beside a model of the lifecycle in plain Python.

The model knows what CONTRACT of the docs says and nothing of tables: whatever the functions answer,
it has foreseen. Two connections take turns, time moves only by a rule.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.runs.acts import Tide
from tests.support import MIDNIGHT, Clock, Connection

LEASE = timedelta(minutes=1)
BACKOFF = {"base": 10, "max": 40, "jitter": 0}
EXAMPLES = int(os.environ.get("TIDE_MODEL_EXAMPLES", "12"))
"""Random programs in one run; `make fuzz-sql` makes it many."""
TERMINAL = {"completed", "failed", "cancelled"}
numbers = count(1)


@dataclass
class Model:
    """One run as the documents describe it."""

    run_id: UUID
    priority: int
    max_attempts: int
    run_at: datetime
    status: str = "queued"
    attempt: int = 0
    lease_id: UUID | None = None
    leased_until: datetime | None = None
    waiting_on: str | None = None
    result: Any = None
    key: str | None = None
    steps: dict[str, tuple[str, Any]] = field(default_factory=dict)
    gate: str | None = None
    gate_id: UUID | None = None
    lost: list[UUID] = field(default_factory=list)

    @property
    def place(self) -> tuple[int, datetime, UUID]:
        return (-self.priority, self.run_at, self.run_id)

    def let_go(self) -> None:
        if self.lease_id is not None:
            self.lost.append(self.lease_id)
        self.leased_until = None


class Lifecycle(RuleBasedStateMachine):
    """Enqueue, claim, steps, gates, ends, cancels, lost leases, upkeep, in any order."""

    connections: list[Connection]
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.queue = f"q{next(numbers)}"
        self.runs: dict[UUID, Model] = {}
        self.cap: int | None = None
        self.turn = 0
        self.now = self.clock.set(self.clock.now if self.clock.now > MIDNIGHT else MIDNIGHT)

    @property
    def tide(self) -> Tide:
        self.turn += 1
        return Tide(self.connections[self.turn % len(self.connections)])

    def some(self, data: Any, wanted: Callable[[Model], bool]) -> Model:
        return data.draw(st.sampled_from([run for run in self.runs.values() if wanted(run)]))

    def has(self, wanted: Callable[[Model], bool]) -> bool:
        return any(wanted(run) for run in self.runs.values())

    @contextmanager
    def refused(self, *codes: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            assert error.sqlstate in codes, error
        else:
            raise AssertionError(f"it was not refused with {' or '.join(codes)}")

    def held(self, run: Model) -> bool:
        return (
            run.status == "running" and run.leased_until is not None and run.leased_until > self.now
        )

    def reap(self) -> None:
        """What any tick does about leases that ended: every claim and reconcile carries it."""
        for run in self.runs.values():
            if (
                run.status == "running"
                and run.leased_until is not None
                and run.leased_until <= self.now
            ):
                self.lose(run)

    def lose(self, run: Model) -> None:
        run.let_go()
        run.status = "queued" if run.attempt < run.max_attempts else "failed"

    @initialize()
    def configure(self) -> None:
        self.tide.set_queue(
            queue=self.queue,
            settings={"backoff_base": "10 s", "backoff_max": "40 s", "backoff_jitter": 0},
        )

    @rule(
        priority=st.integers(-1, 2),
        delay=st.sampled_from([0, 0, 0, 30]),
        attempts=st.integers(1, 3),
        key=st.sampled_from([None, None, "a", "b"]),
    )
    def enqueue(self, priority: int, delay: int, attempts: int, key: str | None) -> None:
        answer = self.tide.enqueue(
            workflow="w", queue=self.queue, priority=priority, max_attempts=attempts,
            delay=timedelta(seconds=delay), dedupe_key=key,
        )  # fmt: skip
        active = [
            r for r in self.runs.values() if key and r.key == key and r.status not in TERMINAL
        ]
        assert answer.deduplicated == bool(active)
        if active:
            assert answer.run_id == active[0].run_id
            return
        due = self.now + timedelta(seconds=delay)
        self.runs[answer.run_id] = Model(answer.run_id, priority, attempts, due, key=key)

    @rule(wanted=st.integers(1, 3))
    def claim(self, wanted: int) -> None:
        self.tide.connection.execute("call tide.reconcile(budget => '10 s')").fetchall()
        self.reap()
        claimed = self.tide.claim(queues=[self.queue], max_runs=wanted, lease=LEASE, worker="w")
        running = sum(run.status == "running" for run in self.runs.values())
        room = wanted if self.cap is None else max(0, min(wanted, self.cap - running))
        ready = sorted(
            (
                r
                for r in self.runs.values()
                if r.status == "queued" and not r.waiting_on and r.run_at <= self.now
            ),
            key=lambda run: run.place,
        )
        assert [row.run_id for row in claimed] == [run.run_id for run in ready[:room]]
        for row in claimed:
            run = self.runs[row.run_id]
            run.status, run.lease_id, run.leased_until = "running", row.lease_id, self.now + LEASE
            run.attempt += 1
            assert (row.status, row.attempt) == ("running", run.attempt)

    @rule(cap=st.sampled_from([None, 1, 2]))
    def limit(self, cap: int | None) -> None:
        self.tide.set_queue(queue=self.queue, settings={"concurrency": cap})
        self.cap = cap

    @precondition(lambda self: self.has(self.held))
    @rule(data=st.data(), result=st.one_of(st.none(), st.integers(0, 9)))
    def complete(self, data: Any, result: Any) -> None:
        run = self.some(data, self.held)
        for _ in range(2):  # the same report again gets the same answer
            row = self.tide.complete(run_id=run.run_id, lease_id=run.lease_id, result=result)
            assert (row.status, row.result) == ("completed", result)
        run.status, run.result, run.leased_until = "completed", result, None

    @precondition(lambda self: self.has(self.held))
    @rule(data=st.data(), retryable=st.booleans())
    def fail(self, data: Any, retryable: bool) -> None:
        run = self.some(data, self.held)
        row = self.tide.fail(
            run_id=run.run_id, lease_id=run.lease_id, error={"m": 1}, retryable=retryable
        )
        run.leased_until = None
        if retryable and run.attempt < run.max_attempts:
            run.let_go()
            run.status = "queued"
            run.run_at = self.now + timedelta(seconds=min(40, 10 * 2 ** (run.attempt - 1)))
        else:
            run.status = "failed"
        assert row.status == run.status

    @precondition(lambda self: self.has(self.held))
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        run = self.some(data, self.held)
        self.tide.release(run_id=run.run_id, lease_id=run.lease_id)
        run.let_go()
        run.status, run.attempt, run.run_at = "queued", run.attempt - 1, max(run.run_at, self.now)

    @precondition(lambda self: bool(self.runs))
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        run = self.some(data, lambda _: True)
        if run.status in ("completed", "failed"):
            with self.refused("TD003"):
                self.tide.cancel(run_id=run.run_id)
            return
        assert self.tide.cancel(run_id=run.run_id).status == "cancelled"
        run.let_go()
        run.status, run.waiting_on = "cancelled", None

    @precondition(lambda self: self.has(lambda run: run.status in ("failed", "cancelled")))
    @rule(data=st.data())
    def retry(self, data: Any) -> None:
        run = self.some(data, lambda run: run.status in ("failed", "cancelled"))
        taken = [
            r
            for r in self.runs.values()
            if run.key and r.key == run.key and r.status not in TERMINAL
        ]
        if taken:
            with self.refused("TD023"):
                self.tide.retry(run_id=run.run_id)
            return
        self.tide.retry(run_id=run.run_id)
        run.status, run.attempt, run.run_at, run.waiting_on = "queued", 0, self.now, None
        if run.gate == "canceled":
            run.gate = None

    @precondition(lambda self: self.has(lambda run: bool(run.lost)))
    @rule(data=st.data(), act=st.sampled_from(["complete", "fail", "begin_step", "release"]))
    def zombie(self, data: Any, act: str) -> None:
        """A lease that was taken writes nothing, whatever has become of the run."""
        run = self.some(data, lambda run: bool(run.lost))
        lease = data.draw(st.sampled_from(run.lost))
        if lease == run.lease_id and not (run.status in TERMINAL or run.status == "running"):
            return  # the last holder of a run that nobody has taken yet may repeat its report
        extra = {"name": "zombie"} if act == "begin_step" else {}
        if lease == run.lease_id:
            return
        with self.refused("TD001", "TD002", "TD003"):
            self.tide.call(act, run_id=run.run_id, lease_id=lease, **extra)

    @precondition(lambda self: self.has(self.held))
    @rule(data=st.data(), name=st.sampled_from(["one", "two"]))
    def step(self, data: Any, name: str) -> None:
        run = self.some(data, self.held)
        answer = self.tide.begin_step(run_id=run.run_id, lease_id=run.lease_id, name=name)
        run.leased_until = self.now + LEASE
        if name in run.steps:
            assert (answer.action, answer.output) == ("replay", run.steps[name][1])
            return
        assert answer.action == "execute"
        output = data.draw(st.integers(0, 9))
        self.tide.complete_step(run_id=run.run_id, lease_id=run.lease_id, name=name, output=output)
        run.steps[name] = ("completed", output)

    @precondition(lambda self: self.has(self.held))
    @rule(data=st.data())
    def ask(self, data: Any) -> None:
        run = self.some(data, self.held)
        opened = self.tide.open_gate(
            run_id=run.run_id, lease_id=run.lease_id, name="ask", prompt="Shall we?"
        )
        assert opened.status == (run.gate or "pending")
        run.gate, run.gate_id = run.gate or "pending", opened.gate_id
        answer = self.tide.await_gate(
            run_id=run.run_id, lease_id=run.lease_id, gate_id=opened.gate_id
        )
        run.leased_until = self.now + LEASE
        assert answer.parked == (run.gate == "pending")
        if answer.parked:
            run.let_go()
            run.status, run.waiting_on, run.attempt = "queued", "gate", run.attempt - 1

    @precondition(
        lambda self: self.has(lambda run: run.gate == "pending" and run.status not in TERMINAL)
    )
    @rule(data=st.data(), decision=st.sampled_from(["approved", "rejected"]))
    def decide(self, data: Any, decision: str) -> None:
        run = self.some(data, lambda run: run.gate == "pending" and run.status not in TERMINAL)
        self.tide.decide_gate(gate_id=run.gate_id, decision=decision, actor="ann")
        with self.refused("TD022"):
            self.tide.decide_gate(gate_id=run.gate_id, decision="canceled", actor="bob")
        run.gate = decision
        if run.waiting_on == "gate":
            run.waiting_on, run.run_at = None, None  # type: ignore[assignment]
            run.run_at = self.at_of(run)

    def at_of(self, run: Model) -> datetime:
        found: datetime = self.tide.get_run(run_id=run.run_id).run_at
        return found

    @precondition(lambda self: self.has(self.held))
    @rule(data=st.data())
    def renew(self, data: Any) -> None:
        run = self.some(data, self.held)
        (row,) = self.tide.heartbeat(run_ids=[run.run_id], lease_ids=[run.lease_id], lease=LEASE)
        assert row.state == "held"
        run.leased_until = self.now + LEASE

    @rule(seconds=st.sampled_from([5, 20, 61]))
    def pass_time(self, seconds: int) -> None:
        self.now = self.clock.advance(timedelta(seconds=seconds))

    @invariant()
    def every_run_is_where_the_model_says(self) -> None:
        for row in self.tide.list_runs(queue=self.queue, max_runs=1000):
            run = self.runs[row.run_id]
            overdue = run.status == "running" and not self.held(run)
            if overdue and row.status != "running":
                self.lose(run)  # some tick has noticed before the model asked for one
            assert (row.status, row.waiting_on, row.attempt) == (
                run.status,
                run.waiting_on,
                run.attempt,
            )
            if run.status == "completed":
                assert row.result == run.result

    @invariant()
    def events_have_no_gap_and_at_most_one_end_each_time(self) -> None:
        for run_id, run in self.runs.items():
            events = self.tide.list_events(run_id=run_id)
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            ends = sum(
                event.type in ("run.completed", "run.failed", "run.cancelled") for event in events
            )
            again = sum(event.type == "run.retried" for event in events)
            assert ends == again + (run.status in TERMINAL)


def test_random_programs_do_what_the_model_foresees(
    connect: Callable[..., Connection], clock: Clock
) -> None:
    class OnThisDatabase(Lifecycle):
        pass

    OnThisDatabase.connections, OnThisDatabase.clock = [connect(), connect()], clock
    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=30, deadline=None,
            derandomize=EXAMPLES <= 12, suppress_health_check=list(HealthCheck), print_blob=True,
        ),
    )  # fmt: skip
