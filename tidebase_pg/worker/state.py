"""What a worker decides, without I/O: when to claim how much, what to report, when to end."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.errors import ProgramLimitExceeded

from tidebase_pg import calls, flows
from tidebase_pg.call import Call
from tidebase_pg.client.execute import may_pass, pauses
from tidebase_pg.errors import InvalidArgument, LeaseLost, PayloadTooLarge
from tidebase_pg.flows import Outcome
from tidebase_pg.types import Settlement
from tidebase_pg.values import Duration, seconds, text, texts, whole, worker_name
from tidebase_pg.worker.active_run import Holding
from tidebase_pg.worker.polling import Idling

logger: Final = logging.getLogger("tidebase_pg.worker")

_REFUSALS: Final = (InvalidArgument, PayloadTooLarge, ProgramLimitExceeded)

SMALLEST_SHARE: Final = 50
"""Runs that are asked for and reported in one call at the least: with fewer, what a call costs by
itself weighs more than what the overlap saves."""
LINGER: Final = 0.001
"""Seconds for which the first outcome waits for those of the other runs, where runs are short."""
SHORT: Final = 0.002
"""Seconds up to which a run is short."""
BUSY_PAUSE: Final = 0.05
"""Seconds until outcomes are sent again that other transactions kept from being stored."""
MOST_OUTCOMES: Final = 1000
LAST_WORDS: Final = 5.0
"""Seconds to report the last outcomes when the database is gone at the end."""


@dataclass(frozen=True, slots=True)
class WorkReport:
    """What a worker did: runs claimed, and what became of them.

    `dropped` runs were cancelled or lost meanwhile, or parked by one of their steps.
    """

    claimed: int
    completed: int
    failed: int
    released: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Terms:
    """How a worker works; the options of `work` after checking. Times are seconds."""

    queues: list[str]
    workflows: list[str]
    concurrency: int
    lease: float
    poll: float
    grace: float
    reconcile: float | None
    drain: bool
    max_runs: int | None
    name: str
    listen: bool
    deliver: bool


def terms(
    registered_queues: Sequence[str],
    workflows: Sequence[str],
    *,
    queues: Sequence[str] | None = None,
    concurrency: int = 1,
    lease: Duration = 60.0,
    poll: Duration = 1.0,
    grace: Duration = 30.0,
    reconcile: Duration | bool = 5.0,
    drain: bool = False,
    max_runs: int | None = None,
    name: str | None = None,
    listen: bool = True,
    deliver: bool | Mapping[str, Any] = False,
) -> Terms:
    """Raises ValueError or TypeError naming the wrong option."""
    if not workflows:
        raise ValueError(
            'no workflow is registered: decorate a function with @tide.workflow("name")'
        )
    named = list(registered_queues) if queues is None else texts("queues", queues)
    if not named:
        raise ValueError("queues is empty: name at least one queue")
    interval = 5.0 if reconcile is True else reconcile
    return Terms(
        queues=named,
        workflows=list(workflows),
        concurrency=whole("concurrency", concurrency, 1, 1000),
        lease=seconds("lease", lease, least=0.1),
        poll=seconds("poll", poll, least=0.001),
        grace=seconds("grace", grace),
        reconcile=None if interval is False else seconds("reconcile", interval, least=0.01),
        drain=drain,
        max_runs=None if max_runs is None else whole("max_runs", max_runs, 1, 2**31 - 1),
        name=worker_name() if name is None else text("name", name),
        listen=bool(listen),
        deliver=isinstance(deliver, Mapping) or bool(deliver),
    )


@dataclass(frozen=True, slots=True)
class Request:
    """One settle_and_claim under way."""

    call: Call[Settlement]
    outcomes: list[Outcome]
    room: int
    sent_at: float


@dataclass(frozen=True, slots=True)
class Registration:
    """One await_work under way."""

    call: Call[timedelta]
    withdraws: bool


class Shift:
    """The state of one worker, told of everything that happens; the loops only obey it."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.held: dict[UUID, Holding] = {}
        self.stopping = False
        self._stopped_at = 0.0
        self._hurry = False
        self._outcomes: list[Outcome] = []
        self._singly = 0
        self._claimed = 0
        self._counts = {"completed": 0, "failed": 0, "released": 0}
        self._dropped = 0
        self._claim_at = 0.0
        self._found_nothing = False
        self.waiter = f"{terms.name[:200]}/{secrets.token_hex(4)}"
        """Who is notified: this worker alone, even when others were given the same name."""
        self._share = max(SMALLEST_SHARE, (terms.concurrency + 1) // 2)
        """How many runs one call takes and gives at most: of many slots half, so that there is
        always something to do both for the database and for the slots."""
        self._lingers_until = 0.0
        self.idling = Idling(terms.poll, terms.lease, listens=terms.listen and not terms.drain)
        self._reached = False
        self._trouble: Iterator[float] | None = None
        self._silent_until = 0.0

    # What is asked of the database

    def request(self) -> Request | None:
        """What to send now, if anything."""
        now = time.monotonic()
        if now < self._silent_until:
            return None
        room = min(self._room(), self._share)
        if self._outcomes:
            if self._about_to_end(now):
                return None
        elif room == 0 or now < self._claim_at:
            return None
        outcomes = self._outcomes[: 1 if self._singly else self._share if room else MOST_OUTCOMES]
        call = calls.settle_and_claim(
            flows.batch(outcomes),
            queues=self.terms.queues,
            max_runs=room,
            lease=self.terms.lease,
            worker=self.terms.name,
            workflows=self.terms.workflows,
        )
        return Request(call, outcomes, room, now)

    def registration(self) -> Registration | None:
        """What to send before anything else when it is time to be notified of runs, or no more."""
        now = time.monotonic()
        if now < self._silent_until:
            return None
        if self._room() == 0:
            return self._withdrawal() if self.idling.registered else None
        return self._registration(self.idling.duration) if self.idling.due(now) else None

    def farewell(self) -> Registration | None:
        """What to send at the end, so that nobody notifies this worker in vain."""
        registered = self.idling.registered and self._trouble is None
        return self._withdrawal() if registered else None

    def registered(self, registration: Registration, foreseen: timedelta) -> None:
        """Take in the answer."""
        if registration.withdraws:
            self.idling.registered = False
        else:
            self.idling.register(foreseen.total_seconds())
            self._claim_at = 0.0

    def unregistered(self, registration: Registration, error: Exception) -> None:
        """Take in that the registration failed: poll. Raises what no repetition will mend."""
        if not may_pass(error):
            raise error
        logger.warning("worker %s polls for a while: %s", self.terms.name, flows.one_line(error))
        self.idling.registered = self.idling.registered and not registration.withdraws
        self.idling.deaf(time.monotonic())
        self._claim_at = 0.0

    def deaf(self) -> None:
        """Notifications do not reach this worker."""
        logger.info("worker %s cannot listen behind a pooler: it polls", self.terms.name)
        self.idling.deaf(time.monotonic(), forever=True)

    def heard(self, *, alone: bool) -> None:
        """A notification came: a run may be ready. `alone`: no other worker was told."""
        self.idling.heard(alone=alone)
        self._claim_at = 0.0

    def cut_off(self) -> None:
        """The connection on which notifications came is gone."""
        self.idling.lost()
        self._claim_at = 0.0

    def settled(self, request: Request, settlement: Settlement) -> list[Holding]:
        """Take in the answer; returns the runs to start."""
        self._reached = True
        if self._trouble is not None:
            logger.info("worker %s reaches the database again", self.terms.name)
            self._trouble = None
        self._outcomes = self._outcomes[len(request.outcomes) :]
        self._singly = max(0, self._singly - len(request.outcomes))
        for outcome in request.outcomes:
            self._counts[outcome.kind] += 1
        self._take_verdicts(request, settlement)

        now = time.monotonic()
        lease, sent_at, held = self.terms.lease, request.sent_at, self.held
        started: list[Holding] = []
        for leased in settlement.claimed:
            holding = Holding(leased, lease, sent_at)
            holding.given_at = now
            if (stale := held.pop(leased.run_id, None)) is not None:
                stale.lose(LeaseLost(f"the lease on run {leased.run_id} is lost"))
            held[leased.run_id] = holding
            started.append(holding)
        self._claimed += len(started)
        self._found_nothing = not started and not request.outcomes
        if not self._found_nothing:
            self.idling.found()
        if len(started) == request.room or (self.terms.drain and not self._found_nothing):
            self._claim_at = 0.0
        else:
            self._claim_at = self.idling.nothing(now)
        return started

    def troubled(self, request: Request, error: Exception) -> None:
        """Take in that the request failed. Raises what no repetition will mend."""
        self.idling.lost()
        if may_pass(error) and self._reached:
            if self._trouble is None:
                logger.warning(
                    "worker %s goes on trying: %s", self.terms.name, flows.one_line(error)
                )
                self._trouble = pauses()
            self._silent_until = time.monotonic() + next(self._trouble)
        elif not request.outcomes or not isinstance(error, _REFUSALS):
            raise error
        elif len(request.outcomes) > 1:
            # One of them is at fault: sent one by one, only that one is refused.
            self._singly = len(request.outcomes)
        else:
            (outcome,) = request.outcomes
            logger.error("run %s could not be settled: %s", outcome.run.run_id, error)
            instead = flows.instead(outcome, error)
            if instead is not None:
                self._outcomes[0] = instead
            else:
                self._outcomes.pop(0)
                self._dropped += 1

    def _take_verdicts(self, request: Request, settlement: Settlement) -> None:
        if not settlement.verdicts:
            return
        sent = {outcome.run.run_id: outcome for outcome in request.outcomes}
        busy = 0
        for verdict in settlement.verdicts:
            if verdict.accepted:
                continue
            outcome = sent[verdict.run_id]
            self._counts[outcome.kind] -= 1
            if verdict.reason == "busy":
                # Another transaction holds the row of the run: the same report again.
                self._outcomes.append(outcome)
                busy += 1
                continue
            instead = flows.refused(outcome, verdict.reason)
            if instead is not None:
                self._outcomes.append(instead)
            else:
                self._dropped += 1
            logger.info("run %s: %s was refused: %s", verdict.run_id, outcome.kind, verdict.reason)
        if busy == len(request.outcomes):
            self._silent_until = time.monotonic() + BUSY_PAUSE

    # What the runs tell

    def ended(self, holding: Holding, outcome: Outcome | None) -> None:
        """A run has ended; without an outcome it was lost or parked and nothing is recorded."""
        if self.held.get(holding.run_id) is not holding:
            return
        del self.held[holding.run_id]
        self._found_nothing = False
        if outcome is None:
            self._dropped += 1
            self._claim_at = 0.0
            return
        if not self._outcomes:
            now = time.monotonic()
            short = now - holding.given_at < SHORT
            self._lingers_until = now + LINGER if short else 0.0
        self._outcomes.append(outcome)

    @property
    def awaited(self) -> int:
        """How many runs have to end before there is a call to be made, unless time makes one."""
        return max(1, self._about_to_end(time.monotonic()))

    def _about_to_end(self, now: float) -> int:
        """How many more outcomes are worth waiting for: of runs that began a moment ago, where one
        that did so has ended."""
        missing = self._share - len(self._outcomes)
        if not self._outcomes or missing <= 0 or now >= self._lingers_until:
            return 0
        young = sum(now - holding.given_at < SHORT for holding in self.held.values())
        return min(missing, young)

    @property
    def resting(self) -> bool:
        """Whether nothing is held, to be reported, or due."""
        return not self.held and not self._outcomes and self.idling.resting

    # How it ends

    def stop(self) -> None:
        """Claim nothing more; a second time: wait for nothing more either."""
        if self.stopping:
            self._hurry = True
        else:
            self.stopping = True
            self._stopped_at = time.monotonic()
            logger.info(
                "worker %s stops; running: %d, again to hand them back at once",
                self.terms.name,
                len(self.held),
            )

    @property
    def hurried(self) -> bool:
        """Whether it was stopped a second time."""
        return self._hurry

    def impatient(self) -> bool:
        """Whether the runs still held are to be handed back now."""
        if not self.stopping or not self.held:
            return False
        return self._hurry or time.monotonic() >= self._stopped_at + self.terms.grace

    def release_all(self) -> None:
        """Hand back every run still held."""
        for holding in list(self.held.values()):
            if holding.stop is None:
                holding.lose(LeaseLost(f"run {holding.run_id} was handed back: the worker ends"))
                self.ended(holding, flows.released(holding.leased))
            else:
                self.ended(holding, None)

    def over(self) -> bool:
        """Whether nothing is left to do."""
        if self.held:
            return False
        if self._outcomes:
            return self.stopping and self._gave_up()
        if self.stopping or self._claimed == self.terms.max_runs:
            return True
        return self.terms.drain and self._found_nothing

    def pause(self) -> float | None:
        """Seconds until something is to be done without a run ending first; None = nothing."""
        now = time.monotonic()
        moments: list[float] = []
        if self._outcomes:
            moments.append(max(self._lingers_until, self._silent_until))
        elif self._room() > 0:
            moments.append(max(self._claim_at, self._silent_until))
        if self.stopping and self.held:
            moments.append(self._stopped_at + (0.0 if self._hurry else self.terms.grace))
        return max(0.0, min(moments) - now) if moments else None

    def report(self) -> WorkReport:
        return WorkReport(claimed=self._claimed, dropped=self._dropped, **self._counts)

    def _registration(self, duration: float) -> Registration:
        call = calls.await_work(self.waiter, queues=self.terms.queues, duration=duration)
        return Registration(call, withdraws=duration == 0)

    def _withdrawal(self) -> Registration:
        return self._registration(0.0)

    def _room(self) -> int:
        if self.stopping:
            return 0
        room = self.terms.concurrency - len(self.held)
        if self.terms.max_runs is not None:
            room = min(room, self.terms.max_runs - self._claimed)
        return room

    def _gave_up(self) -> bool:
        """At the end an unreachable database is not waited for; the leases will expire."""
        return (
            self._trouble is not None
            and time.monotonic() > self._stopped_at + self.terms.grace + LAST_WORDS
        ) or (self._trouble is not None and self._hurry)
