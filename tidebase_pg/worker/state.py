"""What a worker decides, without I/O: when to claim how much, what to report, when to end."""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg.errors import ProgramLimitExceeded
from psycopg_pool import PoolClosed

from tidebase_pg import calls, flows
from tidebase_pg.call import Call
from tidebase_pg.client.failures import is_timeout, may_pass, pauses
from tidebase_pg.errors import (
    InvalidArgument,
    LeaseLost,
    PayloadTooLarge,
    SchemaError,
    SchemaTooOld,
)
from tidebase_pg.flows import Outcome
from tidebase_pg.registry import BatchSize
from tidebase_pg.types import Settlement
from tidebase_pg.values import Duration, seconds, text, texts, whole, worker_name
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.ahead import Ahead
from tidebase_pg.worker.batches import Batch, Gathering
from tidebase_pg.worker.polling import Polling

logger: Final = logging.getLogger("tidebase_pg.worker")

_REFUSALS: Final = (InvalidArgument, PayloadTooLarge, ProgramLimitExceeded)

SMALLEST_SHARE: Final = 50
"""Runs that are asked for and reported in one call at the least: with fewer, what a call costs by
itself weighs more than what the overlap saves."""
MOST_HELD: Final = 400
"""Runs that a worker of fewer slots holds at most: in batches of half as many a run costs the
database little more than in the largest."""
LINGER: Final = 0.001
"""Seconds for which the first outcome waits for those of the other runs, where runs are short."""
BUSY_PAUSE: Final = 0.05
"""Seconds until an outcome is sent again that another transaction kept from being stored."""
REFUSED: Final = 60.0
"""Seconds for which a queue is left alone whose claims are refused."""
SHORT: Final = 0.002
"""Seconds up to which a run is short."""
MOST_OUTCOMES: Final = 1000
FORGOTTEN: Final = 3
"""Leases after which a run that was lost here is somebody else's, or nobody's."""
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
class WorkerOptions:
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
    signals: bool | None
    park_grace: float
    batches: Mapping[str, BatchSize]
    """The workflows that take many runs at once."""


def worker_options(
    registered_queues: Sequence[str],
    workflows: Sequence[str],
    *,
    batches: Mapping[str, BatchSize] | None = None,
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
    park_grace: Duration = 300.0,
    signals: bool | None = None,
) -> WorkerOptions:
    """Raises ValueError or TypeError naming the wrong option."""
    if not workflows:
        raise ValueError(
            'no workflow is registered: decorate a function with @tide.workflow("name")'
        )
    named = list(registered_queues) if queues is None else texts("queues", queues)
    if not named:
        raise ValueError("queues is empty: name at least one queue")
    interval = 5.0 if reconcile is True else reconcile
    return WorkerOptions(
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
        signals=signals,
        park_grace=seconds("park_grace", park_grace),
        batches={} if batches is None else batches,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """One settle_and_claim under way."""

    call: Call[Settlement]
    outcomes: list[Outcome]
    slots: int
    """How many runs are asked for that a slot is free for."""
    room: int
    """How many are asked for in all."""
    sent_at: float


@dataclass(frozen=True, slots=True)
class Registration:
    """One await_work under way."""

    call: Call[timedelta]
    withdraws: bool


class WorkerState:
    """The state of one worker, told of everything that happens; the loops only obey it."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self.held: dict[int, ActiveRun] = {}
        """What is being worked on, by the number of its id: Python itself hashes a UUID."""
        self.leased: dict[int, ActiveRun] = {}
        """The same, and what has ended and is not yet reported: all leases to be renewed."""
        self.session_id = uuid4()
        """A secret of this worker, by which it gets back what a lost answer to a claim leased."""
        self._ask_holding_until = 0.0
        self._given_up: dict[UUID, float] = {}
        """Runs begun and lost here, not to come back as the same attempt, and since when."""
        self._has_sessions = True
        """False once it is known that the schema is of 0.1.0, whose claims know no session."""
        self._one_queue: deque[str] = deque()
        """Queues to be claimed from one at a time, to find out which one errs."""
        self._refused: dict[str, float] = {}
        """Queues that were refused, and when to ask again."""
        self._later: list[tuple[float, Outcome]] = []
        """Outcomes that another transaction kept from being stored, and when to send them again."""
        self.stopping = False
        self._stopped_at = 0.0
        self._hurry = False
        self._outcomes: list[Outcome] = []
        self._unrecorded: list[tuple[UUID, Mapping[str, Any]]] = []
        self._singly = 0
        self._claimed = 0
        self._unbegun = 0
        """How many of the claimed were handed back before a slot was free for them."""
        self._counts = {"completed": 0, "failed": 0, "released": 0}
        self._dropped = 0
        self._claim_at = 0.0
        self._found_nothing = False
        self.waiter = f"{options.name[:200]}/{secrets.token_hex(16)}"
        """Who is notified: this worker alone, and nobody else can tell who that is."""
        self._gathering = Gathering(options.batches) if options.batches else None
        largest = max((size.most for size in options.batches.values()), default=0)
        for name, size in options.batches.items():
            if size.most > options.concurrency:
                logger.warning(
                    "workflow %r takes batches of %d, this worker holds %d runs: "
                    "give concurrency=%d",
                    name,
                    size.most,
                    options.concurrency,
                    size.most,
                )
        self._largest = largest
        self._share = max(SMALLEST_SHARE, (options.concurrency + 1) // 2, largest)
        """How many runs one call takes and gives at most: of many that may be held half, so that
        there is always something to do both for the database and for the slots."""
        self._ahead = Ahead(0 if options.batches else max(0, MOST_HELD - options.concurrency))
        self._lingers_until = 0.0
        self.polling = Polling(
            options.poll, options.lease, listens=options.listen and not options.drain
        )
        self._reached = False
        self._trouble: Iterator[float] | None = None
        self._silent_until = 0.0

    # What is asked of the database

    def request(self) -> Request | None:
        """What to send now, if anything."""
        now = time.monotonic()
        if now < self._silent_until:
            return None
        self._take_back(now)
        slots, room = (0, 0) if self._singly else self._wanted()
        queues = self._queues(now)
        if not queues:
            slots, room, self._claim_at = 0, 0, min(self._refused.values())
        if self._outcomes:
            if self._about_to_end(now):
                return None
        elif room == 0 or now < self._claim_at:
            return None
        outcomes = self._outcomes[: 1 if self._singly else self._share if room else MOST_OUTCOMES]
        self._ahead.asks(now)
        call = calls.settle_and_claim(
            flows.batch(outcomes, traced=self._has_sessions),
            queues=queues or self.options.queues,
            max_runs=slots,
            lease=self.options.lease,
            worker=self.options.name,
            workflows=self.options.workflows,
            ahead=(room - slots) or None,
            **self._session(now),
        )
        return Request(call, outcomes, slots, room, now)

    def _session(self, now: float) -> dict[str, Any]:
        """What lets this worker get back the runs of a claim whose answer was lost."""
        if not self._has_sessions:
            return {}
        if now >= self._ask_holding_until:
            lost = now - FORGOTTEN * self.options.lease
            self._given_up = {run: at for run, at in self._given_up.items() if at > lost}
            return {"session_id": self.session_id, "holding": None}
        holding = {run.run_id for run in self.leased.values()}
        holding |= {outcome.run.run_id for outcome in self._outcomes}
        return {"session_id": self.session_id, "holding": [*{*holding, *self._given_up}]}

    def _take_back(self, now: float) -> None:
        """Outcomes whose time has come again; those whose lease is lost are given up."""
        if self._later:
            due = [outcome for at, outcome in self._later if at <= now]
            self._later = [(at, outcome) for at, outcome in self._later if at > now]
            for outcome in due:
                run = self.leased.get(outcome.run.run_id.int)
                if run is None or run.stop is not None:
                    self._give_up(outcome, "its lease is lost")
                else:
                    self._outcomes.append(outcome)

    def _queues(self, now: float) -> list[str]:
        """The queues to claim from next."""
        for queue in [queue for queue, until in self._refused.items() if until <= now]:
            del self._refused[queue]
            self._one_queue.append(queue)
        if self._one_queue:
            return [self._one_queue[0]]
        return [queue for queue in self.options.queues if queue not in self._refused]

    def _give_up(self, outcome: Outcome, why: str) -> None:
        self._dropped += 1
        self.leased.pop(outcome.run.run_id.int, None)
        self._given_up[outcome.run.run_id] = time.monotonic()
        logger.error("run %s: %s could not be stored: %s", outcome.run.run_id, outcome.kind, why)

    def registration(self) -> Registration | None:
        """What to send before anything else when it is time to be notified of runs, or no more."""
        now = time.monotonic()
        if now < self._silent_until:
            return None
        if self._free() == 0:
            return self._withdrawal() if self.polling.registered else None
        return self._registration(self.polling.duration) if self.polling.due(now) else None

    def unregister(self) -> Registration | None:
        """What to send at the end, so that nobody notifies this worker in vain."""
        registered = self.polling.registered and self._trouble is None
        return self._withdrawal() if registered else None

    def registered(self, registration: Registration, foreseen: timedelta) -> None:
        """Take in the answer."""
        if registration.withdraws:
            self.polling.registered = False
        else:
            self.polling.register(foreseen.total_seconds())
            self._claim_at = 0.0

    def unregistered(self, registration: Registration, error: Exception) -> None:
        """Take in that the registration failed: poll. Raises what concerns the worker itself."""
        if isinstance(error, SchemaError | PoolClosed):
            raise error
        logger.warning("worker %s polls for a while: %s", self.options.name, flows.one_line(error))
        self.polling.registered = self.polling.registered and not registration.withdraws
        self.polling.cannot_listen(time.monotonic())
        self._claim_at = 0.0

    def cannot_listen(self) -> None:
        """Notifications do not reach this worker."""
        logger.info("worker %s cannot listen behind a pooler: it polls", self.options.name)
        self.polling.cannot_listen(time.monotonic(), forever=True)

    def notified(self, *, alone: bool) -> None:
        """A notification came: a run may be ready. `alone`: no other worker was told."""
        self.polling.notified(alone=alone)
        self._claim_at = 0.0

    def cut_off(self) -> None:
        """The connection on which notifications came is gone."""
        self.polling.lost()
        self._claim_at = 0.0

    def settled(self, request: Request, settlement: Settlement) -> list[ActiveRun]:
        """Take in the answer; returns the runs to start."""
        self._reached = True
        if self._trouble is not None:
            logger.info("worker %s reaches the database again", self.options.name)
            self._trouble = None
        self._outcomes = self._outcomes[len(request.outcomes) :]
        self._singly = max(0, self._singly - len(request.outcomes))
        if request.room and self._one_queue:
            self._one_queue.popleft()
            if self._one_queue:
                self._claim_at = 0.0
        refused = {
            verdict.run_id: verdict for verdict in settlement.verdicts if not verdict.accepted
        }
        for outcome in request.outcomes:
            run = self.leased.pop(outcome.run.run_id.int, None)
            if refused and (verdict := refused.get(outcome.run.run_id)) is not None:
                self._take_refusal(outcome, run, verdict.reason)
            else:
                self._counts[outcome.kind] += 1
                if not self._has_sessions:
                    self._leave_unrecorded(outcome)

        now = time.monotonic()
        lease, sent_at, held = self.options.lease, request.sent_at, self.held
        if not held:
            self._ahead.begins(now)
        started: list[ActiveRun] = []
        for leased in settlement.claimed:
            run = ActiveRun(leased, lease, sent_at)
            run.given_at = now
            run.begun_at = now if len(held) < self.options.concurrency else float("inf")
            number = leased.run_id.int
            if (stale := held.pop(number, None)) is not None:
                stale.interrupt(LeaseLost(f"the lease on run {leased.run_id} is lost"))
            held[number] = self.leased[number] = run
            started.append(run)
        self._claimed += len(started)
        self._found_nothing = not started and not request.outcomes
        if not self._found_nothing:
            self.polling.found()
        served = len(started) == request.room
        if request.room:
            self._ahead.answered(now - sent_at, served=served)
        if (
            served
            or len(started) >= request.slots > 0
            or self._one_queue
            or (self.options.drain and not self._found_nothing)
        ):
            self._claim_at = 0.0
        else:
            self._claim_at = self.polling.nothing(now)
        return started if self._gathering is None else self._gathering.take(started, now)

    def batches(self) -> Sequence[Batch]:
        """The batches to begin now."""
        if self._gathering is None:
            return ()
        alone = self._free() == 0 or (self.options.drain and self._found_nothing)
        return self._gathering.due(time.monotonic(), alone=alone)

    def on_error(self, request: Request, error: Exception) -> None:
        """Take in that the request failed. Raises what concerns the worker itself.

        What nobody foresaw is traced to the run or the queue it comes from, which is set aside."""
        self.polling.lost()
        if isinstance(error, SchemaTooOld) and self._has_sessions:
            self._has_sessions = False
            self._claim_at = 0.0
            return
        if isinstance(error, SchemaError | PoolClosed):
            raise error
        if not self._reached and (may_pass(error) or len(self.options.queues) == 1):
            raise error
        now = time.monotonic()
        if request.room:
            self._ask_holding_until = now + self.options.lease
        if request.outcomes and (is_timeout(error) or not may_pass(error)):
            self._isolate(request, error, now)
        elif may_pass(error):
            if self._trouble is None:
                logger.warning("worker %s retries: %s", self.options.name, flows.one_line(error))
                self._trouble = pauses()
            self._silent_until = now + next(self._trouble)
        elif self._one_queue:
            queue = self._one_queue.popleft()
            self._refused[queue] = now + REFUSED
            if not self._reached and len(self._refused) == len(self.options.queues):
                raise error
            self._claim_at = 0.0
            logger.error(
                "worker %s leaves queue %r alone for %g s: %s",
                self.options.name,
                queue,
                REFUSED,
                flows.one_line(error),
            )
        else:
            self._one_queue.extend(self._queues(now))
            self._claim_at = 0.0

    def _isolate(self, request: Request, error: Exception, now: float) -> None:
        """Of several outcomes one is at fault: sent one by one, only that one is refused."""
        if len(request.outcomes) > 1 or (request.room and not self._singly):
            self._singly = len(request.outcomes)
            return
        (outcome,) = request.outcomes
        self._singly = max(0, self._singly - 1)
        self._outcomes.remove(outcome)
        if is_timeout(error):
            self._later.append((now + BUSY_PAUSE, outcome))
            return
        instead = flows.instead(outcome, error) if isinstance(error, _REFUSALS) else None
        if instead is not None:
            logger.error("run %s could not be settled: %s", outcome.run.run_id, error)
            self._outcomes.insert(0, instead)
            self._singly += 1
        else:
            self._give_up(outcome, flows.one_line(error))

    def _leave_unrecorded(self, outcome: Outcome) -> None:
        self._unrecorded.extend((outcome.run.run_id, record) for record in outcome.used)

    def unrecorded(self) -> list[tuple[UUID, Mapping[str, Any]]]:
        """What attempts used whose outcomes were refused: of runs that were cancelled or lost."""
        found, self._unrecorded = self._unrecorded, []
        return found

    def _take_refusal(self, outcome: Outcome, run: ActiveRun | None, reason: str | None) -> None:
        if reason == "busy" and run is not None:
            # Another transaction holds the row of the run: the same report again.
            self.leased[run.run_id.int] = run
            self._later.append((time.monotonic() + BUSY_PAUSE, outcome))
            return
        if reason == "single" and run is not None:
            # It is charged to a budget: the same report again, by itself.
            self.leased[run.run_id.int] = run
            self._outcomes.insert(0, outcome)
            self._singly += 1
            return
        instead = flows.refused(outcome, reason)
        if instead is None or reason == "bad_outcome":
            self._leave_unrecorded(outcome)
            instead = instead and replace(instead, used=())
        if instead is not None:
            if run is not None:
                self.leased[run.run_id.int] = run
            self._outcomes.append(instead)
        else:
            self._dropped += 1
        logger.info("run %s: %s was refused: %s", outcome.run.run_id, outcome.kind, reason)

    # What the runs tell

    def ended(self, run: ActiveRun, outcome: Outcome | None) -> None:
        """A run has ended; without an outcome it was lost or parked and nothing is recorded."""
        if (held := self.held.pop(run.run_id.int, None)) is not run:
            if held is not None:
                self.held[run.run_id.int] = held
            return
        self._found_nothing = False
        self._ahead.ended(had_steps=run.names.used)
        if outcome is None:
            self.leased.pop(run.run_id.int, None)
            self._given_up[run.run_id] = time.monotonic()
            self._dropped += 1
            self._claim_at = 0.0
            return
        if not self._outcomes:
            now = time.monotonic()
            short = now - run.begun_at < SHORT
            self._lingers_until = now + LINGER if short else 0.0
        if run.trace is not None or run.spent:
            outcome = replace(outcome, trace=run.trace, used=tuple(run.spent))
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
        if len(self.held) - self.options.concurrency >= missing:
            return missing
        young = sum(now - run.begun_at < SHORT for run in self.held.values())
        return min(missing, young)

    @property
    def resting(self) -> bool:
        """Whether nothing is held, to be reported, or due."""
        return not self.leased and not self._outcomes and self.polling.resting

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
                self.options.name,
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
        return self._hurry or time.monotonic() >= self._stopped_at + self.options.grace

    def gives_back(self) -> bool:
        """Whether what waits for a slot is handed back: it waits long, or the worker stops."""
        first = self._first_waiting
        late = self._ahead.late(None if first is None else first.given_at, time.monotonic())
        return late or (self.stopping and first is not None)

    def give_back(self, unbegun: Iterable[ActiveRun]) -> None:
        """Hand back runs that no slot has begun."""
        self._ahead.erred()
        for run in unbegun:
            if run.stop is None:
                self._unbegun += 1
                self.ended(run, flows.released(run.leased))
            else:
                self.ended(run, None)
        self._lingers_until = 0.0

    def release_all(self) -> None:
        """Hand back every run still held."""
        for run in list(self.held.values()):
            if run.stop is None:
                run.interrupt(LeaseLost(f"run {run.run_id} was handed back: the worker ends"))
                self.ended(run, flows.released(run.leased))
            else:
                self.ended(run, None)

    def over(self) -> bool:
        """Whether nothing is left to do."""
        if self.held:
            return False
        if self._outcomes or self._later:
            return self.stopping and self._gave_up()
        if self.stopping or self._claimed - self._unbegun == self.options.max_runs:
            return True
        return self.options.drain and self._found_nothing

    def pause(self) -> float | None:
        """Seconds until something is to be done without a run ending first; None = nothing."""
        now = time.monotonic()
        moments: list[float] = []
        if self._outcomes:
            moments.append(max(self._lingers_until, self._silent_until))
        elif self._wanted() != (0, 0):
            moments.append(max(self._claim_at, self._silent_until))
        if (waits := self._first_waiting) is not None:
            moments.append(self._ahead.moment(waits.given_at))
        moments.extend(at for at, _ in self._later)
        if self._gathering is not None and (begins := self._gathering.moment()) is not None:
            moments.append(begins)
        if self.stopping and self.held:
            moments.append(self._stopped_at + (0.0 if self._hurry else self.options.grace))
        return max(0.0, min(moments) - now) if moments else None

    def report(self) -> WorkReport:
        return WorkReport(claimed=self._claimed, dropped=self._dropped, **self._counts)

    def _registration(self, duration: float) -> Registration:
        call = calls.await_work(self.waiter, queues=self.options.queues, duration=duration)
        return Registration(call, withdraws=duration == 0)

    def _withdrawal(self) -> Registration:
        return self._registration(0.0)

    def _left(self, room: int) -> int:
        """As much of it as may be claimed at all."""
        if self.stopping:
            return 0
        if self.options.max_runs is not None:
            room = min(room, self.options.max_runs - self._claimed + self._unbegun)
        return max(0, room)

    def _free(self) -> int:
        """How many runs there are slots for."""
        return self._left(self.options.concurrency - len(self.held))

    def _wanted(self) -> tuple[int, int]:
        """How many runs to ask for next: those there are slots for, and all."""
        free = self._free()
        most = self.options.concurrency
        if self._has_sessions:
            most += self._ahead.room(free=free > 0)
        room = self._left(most - len(self.held))
        self._share = max(SMALLEST_SHARE, (most + 1) // 2, self._largest)
        return min(free, self._share), min(room, self._share)

    @property
    def _first_waiting(self) -> ActiveRun | None:
        """The first run that waits for a slot: they begin in the order in which they came."""
        if len(self.held) <= self.options.concurrency:
            return None
        return next(itertools.islice(self.held.values(), self.options.concurrency, None))

    def _gave_up(self) -> bool:
        """At the end an unreachable database is not waited for; the leases will expire."""
        if self._hurry and (self._trouble is not None or self._later):
            return True
        late = time.monotonic() > self._stopped_at + self.options.grace + LAST_WORDS
        return late and (self._trouble is not None or bool(self._later))
