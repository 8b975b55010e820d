"""Runs held by this process: when their leases were last renewed, and why one is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.errors import LeaseLost, RunCancelled, RunFinished, StepInProgress, Stop
from tidebase_pg.types import Beat, LeasedRun


class Holding:
    """One leased run. `interrupt` is called once, from the heart, when the run is lost."""

    __slots__ = (
        "_key",
        "_since",
        "_steps",
        "alone",
        "beaten_at",
        "fresh",
        "given_at",
        "inline",
        "interrupt",
        "lease",
        "lease_id",
        "leased",
        "run_id",
        "stop",
    )

    def __init__(
        self, leased: LeasedRun, lease: float, since: float, *, inline: bool = False
    ) -> None:
        self.leased = leased
        self.run_id: UUID = leased.run_id
        self.lease_id: UUID = leased.lease_id
        self.lease = lease
        self._key: str | None = None
        self.inline = inline
        """Whether this process itself waits for what a worker would park the run for."""
        self.beaten_at = self._since = since
        self.given_at = since
        """When a worker began with it."""
        self.fresh = leased.fresh
        """Whether a step is new if this process has not begun it."""
        self.alone = False
        """Whether the begins of its steps are asked for one by one."""
        self.stop: Stop | None = None
        self.interrupt: Callable[[Stop], None] | None = None
        self._steps: dict[str, bool] = {}

    @property
    def key(self) -> str:
        """How a document that reports on the run begins."""
        if self._key is None:
            self._key = self.leased.key
        return self._key

    def check(self) -> None:
        """Raises Stop when the run is lost, or its lease may have ended unrenewed."""
        if self.stop is None and time.monotonic() - self.beaten_at > self.lease:
            self.lose(self._unrenewed())
        if self.stop is not None:
            raise self.stop

    def lost(self, stop: Stop) -> Stop:
        """Remember why the run is lost; the first reason stays."""
        if self.stop is None:
            self.stop = stop
        return self.stop

    def lose(self, stop: Stop) -> None:
        """Remember it, and interrupt whoever works on the run."""
        if self.stop is None:
            self.stop = stop
            interrupt = self.interrupt
            if interrupt is not None:
                interrupt(stop)

    def put_down(self) -> None:
        """The run is parked, and this process waits for it without a lease."""
        self.beaten_at = self._since = float("inf")

    def take_up(self, leased: LeasedRun, since: float) -> None:
        """The run goes on here under a new lease."""
        self.leased, self.lease_id = leased, leased.lease_id
        self._key = None
        self.fresh = leased.fresh
        self.beaten_at = self._since = since

    def judge(self, state: str, sent_at: float) -> None:
        """Take in the answer to a heartbeat sent at that time, unless about an earlier lease."""
        if sent_at < self._since:
            return
        match state:
            case "held" | "busy":
                self.beaten_at = max(self.beaten_at, sent_at)
            case "cancelled":
                self.lose(RunCancelled(f"run {self.run_id} is cancelled"))
            case "finished":
                self.lose(RunFinished(f"run {self.run_id} is finished"))
            case _:
                self.lose(LeaseLost(f"the lease on run {self.run_id} is lost"))

    def fence(self, now: float) -> None:
        """Give the run up when another worker may own it by now."""
        if self.stop is None and now - self.beaten_at > self.lease:
            self.lose(self._unrenewed())

    def ask_alone(self) -> None:
        """From now on ask for every step before it is executed."""
        self.fresh = False
        self.alone = True

    def open_step(self, name: str) -> bool:
        """Whether no step of this name can have been begun before. Raises StepInProgress when one
        is open."""
        known = self._steps.get(name)
        if known:
            raise StepInProgress(
                f"step {name!r} of run {self.run_id} is in progress already: "
                "give every step of a run its own name"
            )
        self._steps[name] = True
        return known is None and self.fresh

    def close_step(self, name: str) -> None:
        self._steps[name] = False

    def _unrenewed(self) -> LeaseLost:
        return LeaseLost(
            f"the lease on run {self.run_id} could not be renewed for {self.lease:g} s"
        )


def heartbeat(holdings: Sequence[Holding], lease: float) -> Call[list[Beat]]:
    """One call that renews the leases of all these runs."""
    return calls.heartbeat(
        [holding.run_id for holding in holdings],
        [holding.lease_id for holding in holdings],
        lease=lease,
    )


def due(holdings: Iterable[Holding], now: float, age: float) -> list[Holding]:
    """Those whose last renewal is older than `age` seconds."""
    return [
        holding for holding in holdings if holding.stop is None and now - holding.beaten_at >= age
    ]


def judge(holdings: Sequence[Holding], beats: Sequence[Beat], sent_at: float) -> None:
    """Take in the answers to one heartbeat."""
    states = {beat.run_id: beat.state for beat in beats}
    for holding in holdings:
        holding.judge(states.get(holding.run_id, "lost"), sent_at)
