"""Reports on steps as slots make them: with those of other runs, or alone, for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar, cast

import psycopg

from tidebase_pg import tasks
from tidebase_pg.call import Call
from tidebase_pg.client import AsyncClient
from tidebase_pg.client.failures import is_passing, pauses
from tidebase_pg.errors import Stop
from tidebase_pg.tasks import ASYNC
from tidebase_pg.types import StepStart
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.step_batches import (
    MOMENT,
    Judge,
    Report,
    StepBatcher,
    report_of,
    together,
)

T = TypeVar("T")

LONGEST_BUSY: Final = 0.25
"""Seconds between two reports on a run that another transaction holds."""

BEGUN: Final = StepStart("execute", None, 1, "auto")
"""What is taken for granted of a step that cannot have been begun before."""

LONGEST_GATHERING: Final = 0.001
"""Seconds a report may wait in a thread for others to go with it, when as many went before."""

QUIET: Final = 40
"""So many looks in vain end the looking of a thread."""


class AsyncStepReporter:
    """Sends the reports of the slots of a worker; one call is under way at most."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._batcher = StepBatcher()
        if ASYNC:
            self._looking: asyncio.TimerHandle | None = None
        else:
            self._looking = False
            self._lock = threading.Lock()
            self._closed = threading.Event()

    @property
    def defers(self) -> bool:
        """Whether a begin may be told later."""
        return not self._batcher.refused

    async def execute(self, held: ActiveRun, call: Call[T]) -> T:
        """The answer to a call about a run, made after the database knows what the run began."""
        batcher = self._batcher
        report = None if batcher.refused else report_of(held, call)
        if report is None:
            await self.settle(held)
            return await self._alone(held, call)
        try:
            await self._exchange(report, batcher.add)
            waits = pauses(LONGEST_BUSY)
            while report.busy:
                # Another transaction holds the run; the others do not wait with it.
                await tasks.sleep(next(waits))
                held.check()
                await self._exchange(report, batcher.add_again)
            if report.single:
                if report.begin is not None or "used" in call.arguments:
                    held.ask_alone()
                return await self._alone(held, call)
            answer: T = report.result()
            return answer
        finally:
            if report.took is not None:
                _tell(report.took)

    async def _alone(self, held: ActiveRun, call: Call[T]) -> T:
        """The answer to a call that is in no batch, which is repeated as batches are."""
        call, waits = call.repeatable(), pauses(LONGEST_BUSY)
        while True:
            try:
                return await self._client.execute(call)
            except psycopg.Error as error:
                if not is_passing(error):
                    raise
            await tasks.sleep(next(waits))
            held.check()

    async def _exchange(self, report: Report, add: Callable[[Report], None]) -> None:
        """Hand in a report, and wait for its answer."""
        if ASYNC:
            report.future = asyncio.get_running_loop().create_future()
            add(report)
            self._send()
            await report.future
        else:
            with self._lock:
                add(report)
                leads = self._leads()
            self._await(report, leads)

    def begin(self, held: ActiveRun, call: Call[StepStart], judge: Judge) -> StepStart:
        """Tell that a step began, without waiting for the answer: `judge` reads it."""
        report = Report(held, begin=call, judge=judge)
        if ASYNC:
            self._batcher.add_deferred(report)
            if self._looking is None:
                self._looking = asyncio.get_running_loop().call_later(MOMENT, self._look)
        else:
            with self._lock:
                self._batcher.add_deferred(report)
                looked, self._looking = self._looking, True
            if not looked:
                threading.Thread(target=self._look, name="tidebase steps", daemon=True).start()
        return BEGUN

    async def settle(self, held: ActiveRun) -> None:
        """Wait until the database knows what the run began. Raises Stop when it says no."""
        if held not in self._batcher.early:
            return
        if ASYNC:
            found = self._batcher.early_of(held)
            for report in found:
                report.future = report.future or asyncio.get_running_loop().create_future()
            self._send()
        else:
            with self._lock:
                found = self._batcher.early_of(held)
                leads = self._leads()
            if leads:
                self._lead()
        for report in found:
            if ASYNC:
                # Others may wait for the same: who is cancelled leaves it to them.
                await asyncio.shield(cast("asyncio.Future[None]", report.future))
                held.check()
            else:
                with report.done:
                    held.check()

    def close(self) -> None:
        """Look no more after what the runs began: they have ended."""
        if ASYNC:
            if self._looking is not None:
                self._looking.cancel()
        else:
            self._closed.set()

    if ASYNC:

        def _send(self) -> None:
            if self._batcher.waiting and not self._batcher.sending:
                self._batcher.sending = True
                tasks.in_background(self._lead, "steps")

        async def _lead(self) -> None:
            """Send what waits, until nothing does."""
            batcher = self._batcher
            while batcher.waiting:
                batch = batcher.batch()
                try:
                    batcher.take(batch, await self._client.execute(together(batch)))
                except BaseException as error:
                    batcher.refuse(batch, error)
                    if not isinstance(error, Exception):
                        raise
                finally:
                    batcher.end(batch)
                    for report in batch:
                        if report.judge is None:
                            _tell(report)
                self._end_begins(batch)
            batcher.sending = False

        def _look(self) -> None:
            """Send the begins of steps that take long, while there are any steps."""
            self._looking = None
            if self._batcher.early:
                self._batcher.send_due(time.monotonic())
                self._send()
                self._looking = asyncio.get_running_loop().call_later(MOMENT, self._look)
    else:

        def _leads(self) -> bool:
            """Whether it is for the caller to send what waits."""
            leads = bool(self._batcher.waiting) and not self._batcher.sending
            self._batcher.sending = self._batcher.sending or leads
            return leads

        def _await(self, report: Report, leads: bool) -> None:
            """Until the report is answered. Its lock is released once when it is, and once before
            if it has to lead: each time exactly one acquires it here."""
            while True:
                if leads:
                    self._lead()
                report.done.acquire()
                leads, report.leads = report.leads, False
                if not leads:
                    return

        def _lead(self) -> None:
            """Send what waits, until nothing does or somebody who waits himself goes on."""
            batcher = self._batcher
            leads = True
            while leads:
                self._gather()
                with self._lock:
                    batch = batcher.batch()
                try:
                    batcher.take(batch, self._client.execute(together(batch)))
                except BaseException as error:
                    batcher.refuse(batch, error)
                with self._lock:
                    batcher.end(batch)
                    next_leader = batcher.next_leader()
                    batcher.sending = bool(batcher.waiting)
                    if next_leader is not None:
                        next_leader.leads = True
                        next_leader.done.release()
                    for report in batch:
                        if report.judge is None:
                            _tell(report)
                    # Once the lock is free, it may be another who sends.
                    leads = next_leader is None and batcher.sending
                self._end_begins(batch)

        def _gather(self) -> None:
            """Let the slots answered just now hand in what they have next, as long as they do."""
            batcher, seen = self._batcher, 0
            give_up_at = time.monotonic() + LONGEST_GATHERING
            while seen < len(batcher.waiting) < batcher.last and time.monotonic() < give_up_at:
                seen = len(batcher.waiting)
                time.sleep(0)

        def _look(self) -> None:
            """Send the begins of steps that take long, while there are any steps."""
            vain = 0
            while not self._closed.wait(MOMENT):
                with self._lock:
                    vain = 0 if self._batcher.early else vain + 1
                    if vain > QUIET:
                        self._looking = False
                        return
                    self._batcher.send_due(time.monotonic())
                    leads = self._leads()
                if leads:
                    self._lead()

    def _end_begins(self, batch: list[Report]) -> None:
        """Tell of the begins in a batch nobody waits for, or make those it did not make."""
        for report in batch:
            if report.judge is not None and report.answered:
                if report.unmade:
                    # A server that is silent now holds up this run, not all slots.
                    tasks.in_background(partial(self._conclude, report), "begin")
                else:
                    _tell(report)

    async def _conclude(self, report: Report) -> None:
        """Make a begin nobody waits for by itself."""
        try:
            report.conclude(await self._alone(report.held, report.call))
        except (Exception, Stop) as error:
            report.conclude(error)
        finally:
            if ASYNC:
                self._batcher.forget(report)
            else:
                with self._lock:
                    self._batcher.forget(report)
            _tell(report)


def _tell(report: Report) -> None:
    """It is answered."""
    if ASYNC:
        if report.future is not None and not report.future.done():
            report.future.set_result(None)
    else:
        report.done.release()
