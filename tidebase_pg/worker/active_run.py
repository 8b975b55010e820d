"""Runs this process holds: when their leases were last renewed, and why one has stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.errors import LeaseLost, RunCancelled, RunFinished, Stop
from tidebase_pg.names import Kind, Names, Use
from tidebase_pg.types import Beat, LeasedRun

PATIENCE_WITH_HANDLERS = 100
"""So often is code told that its run has stopped; what swallows that too is given up."""


class ActiveRun:
    """One leased run. `on_stop` is called once, from any thread, when it stops."""

    __slots__ = (
        "_since",
        "abandon",
        "alone",
        "begun_at",
        "ended",
        "fresh",
        "given_at",
        "in_transaction",
        "inline",
        "lease",
        "lease_id",
        "leased",
        "names",
        "on_stop",
        "owner",
        "parking",
        "refusals",
        "renewed_at",
        "run_id",
        "spent",
        "stop",
        "trace",
        "under_way",
        "used",
    )

    def __init__(
        self, leased: LeasedRun, lease: float, since: float, *, inline: bool = False
    ) -> None:
        self.leased = leased
        self.run_id: UUID = leased.run_id
        self.lease_id: UUID = leased.lease_id
        self.lease = lease
        self.inline = inline
        """Whether this process itself waits for what a worker would park the run for."""
        self.renewed_at = self._since = since
        self.given_at = self.begun_at = since
        """When a worker got it, and when it began with it; inf while it waits for a slot."""
        self.fresh = leased.fresh
        """Whether a step is new if this process has not begun it."""
        self.alone = False
        """Whether the begins of its steps are asked for one by one."""
        self.names = Names()
        self.stop: Stop | None = None
        self.ended = False
        """Whether its function has returned: branches it left behind may do nothing more."""
        self.on_stop: Callable[[Stop], None] | None = None
        self.abandon: Callable[[], None] | None = None
        """Tells the worker that the function will not return."""
        self.refusals = 0
        self.owner: object = None
        """The task of a worker that it runs in."""
        self.under_way: set[object] = set()
        """The steps and children being executed."""
        self.in_transaction = False
        """Whether a branch is inside run.transaction."""
        self.parking = 0
        """How many branches wait for those to end, in order to park the run."""
        self.trace: Mapping[str, str] | None = None
        """What a propagator has written within the attempt, for the webhooks that its end makes."""
        self.used: dict[str, list[Mapping[str, Any]]] = {}
        """What steps have used that is not reported yet, by their names."""
        self.spent: list[Mapping[str, Any]] = []
        """What it has used beside its steps, which is reported with the end of the attempt."""

    def __str__(self) -> str:
        return f"of run {self.run_id}"

    @property
    def key(self) -> str:
        """How a document that reports on the run begins."""
        return self.leased.key

    def check(self) -> None:
        """Raises Stop when the run has stopped, or its lease may have ended unrenewed."""
        if self.stop is None and self.unrenewed(time.monotonic()):
            self.interrupt(self._lease_lost())
        if self.stop is not None:
            self.refusals += 1
            raise self.stop
        if self.ended:
            self.refusals += 1
            raise RunFinished(
                f"attempt {self.leased.attempt} of run {self.run_id} has ended: what it left "
                "behind can do nothing more"
            )

    @property
    def hopeless(self) -> bool:
        """Whether code goes on however often it is told that the run has stopped."""
        return self.refusals > PATIENCE_WITH_HANDLERS

    def record_stop(self, stop: Stop) -> Stop:
        """Remember why the run has stopped; the first reason stays."""
        if self.stop is None:
            self.stop = stop
        return self.stop

    def interrupt(self, stop: Stop) -> None:
        """Remember it, and tell what works on the run."""
        if self.stop is None:
            self.stop = stop
            on_stop = self.on_stop
            if on_stop is not None:
                on_stop(stop)

    def end(self) -> None:
        """Its function has returned. What is not let go here would live as long as the run."""
        self.ended = True
        self.on_stop = self.abandon = self.owner = None
        self.names.end()

    def others_under_way(self) -> bool:
        """Whether branches beside the caller's have steps or children under way."""
        return any(self.names.elsewhere(one) for one in list(self.under_way))

    def suspend(self) -> None:
        """The run is parked, and this process waits for it without a lease."""
        self.renewed_at = self._since = float("inf")

    def resume(self, leased: LeasedRun, since: float) -> None:
        """The run goes on here under a new lease."""
        self.leased, self.lease_id = leased, leased.lease_id
        self.fresh = leased.fresh
        self.renewed_at = self._since = since

    def judge(self, state: str, sent_at: float) -> None:
        """Take in the answer to a heartbeat sent at that time, unless about an earlier lease."""
        if sent_at < self._since:
            return
        match state:
            case "held" | "busy":
                self.renewed_at = max(self.renewed_at, sent_at)
            case "cancelled":
                self.interrupt(RunCancelled(f"run {self.run_id} is cancelled"))
            case "finished":
                self.interrupt(RunFinished(f"run {self.run_id} is finished"))
            case _:
                self.interrupt(LeaseLost(f"the lease on run {self.run_id} is lost"))

    def unrenewed(self, now: float) -> bool:
        """Whether another worker may own it by now."""
        return now - self.renewed_at > self.lease

    def fence(self, now: float) -> None:
        """Give the run up when its lease has ended unrenewed."""
        if self.stop is None and self.unrenewed(now):
            self.interrupt(self._lease_lost())

    def ask_alone(self) -> None:
        """From now on ask for every step before it is executed."""
        self.fresh = False
        self.alone = True

    def claim(
        self, kind: Kind, name: str, *, key: str | None = None, input: str | None = None
    ) -> Use | None:
        """See `Names.claim`."""
        use = self.names.claim(kind, name, key=key, input=input)
        if use is not None and self.fresh:
            use.begun = True  # nothing can be recorded under it
        return use

    def _lease_lost(self) -> LeaseLost:
        return LeaseLost(
            f"the lease on run {self.run_id} could not be renewed for {self.lease:g} s"
        )


def heartbeat(runs: Sequence[ActiveRun], lease: float) -> Call[list[Beat]]:
    """One call that renews the leases of all these runs."""
    return calls.heartbeat(
        [run.run_id for run in runs], [run.lease_id for run in runs], lease=lease
    )


def due(runs: Iterable[ActiveRun], now: float, age: float) -> list[ActiveRun]:
    """Those whose last renewal is older than `age` seconds."""
    return [run for run in runs if run.stop is None and now - run.renewed_at >= age]


def judge(runs: Sequence[ActiveRun], beats: Sequence[Beat], sent_at: float) -> None:
    """Take in the answers to one heartbeat."""
    states = {beat.run_id: beat.state for beat in beats}
    for run in runs:
        run.judge(states.get(run.run_id, "lost"), sent_at)
