"""Steps of all runs of a worker, reported together: whoever is free sends what waits, in one call.

A begin that decides nothing is not waited for. It goes out with the completion of its step, or when
it has waited for a moment, so that a long step is seen to run.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar, cast

import psycopg

from tidebase_pg import calls, threads
from tidebase_pg.call import Call
from tidebase_pg.client import AsyncClient, Client
from tidebase_pg.client.failures import is_passing, pauses
from tidebase_pg.documents import encode
from tidebase_pg.errors import SchemaTooOld, Stop, TideError
from tidebase_pg.flows import one_line
from tidebase_pg.tasks import in_background
from tidebase_pg.types import StepAnswer, StepStart
from tidebase_pg.worker.active_run import ActiveRun

T = TypeVar("T")

logger: Final = logging.getLogger("tidebase_pg.worker")

MOST_REPORTS: Final = 200
MOST_TEXT: Final = 4_000_000
"""Characters in one call, unless one report alone has more."""

MOMENT: Final = 0.025
"""Seconds a begin waits for the completion of its step, and from one look after it to the next."""

LONGEST_GATHERING: Final = 0.001
"""Seconds a report may wait for others to go with it, when as many went before."""

QUIET: Final = 40
"""So many looks in vain end the looking."""

LONGEST_BUSY: Final = 0.25
"""Seconds between two reports on a run that another transaction holds."""

BEGUN: Final = StepStart("execute", None, 1, "auto")
"""What is taken for granted of a step that cannot have been begun before."""

Judge = Callable[[StepStart], Stop | None]


class Report:
    """What is told of one step: that it began, that it is complete, or both at once."""

    __slots__ = (
        "answer",
        "answered",
        "began_at",
        "begin",
        "call",
        "complete",
        "done",
        "error",
        "future",
        "held",
        "judge",
        "key",
        "leads",
        "name",
        "sent",
        "took",
    )

    def __init__(
        self,
        held: ActiveRun,
        begin: Call[Any] | None = None,
        complete: Call[Any] | None = None,
        judge: Judge | None = None,
    ) -> None:
        """`judge` says whether the run stops after an answer to a begin nobody waits for."""
        self.held = held
        self.begin = begin
        self.complete = complete
        self.judge = judge
        self.call: Call[Any] = complete or begin  # type: ignore[assignment]
        """The report by itself."""
        self.name: str = self.call.arguments["name"]
        self.key = held.key
        self.began_at = None if judge is None else time.monotonic()
        self.took: Report | None = None
        """The begin nobody waits for that goes along; a branch may have to know that it is told."""
        self.sent = False
        self.answered = False
        self.answer: StepAnswer | None = None
        self.error: BaseException | None = None
        self.leads = False
        self.done = threading.Lock()
        self.future: asyncio.Future[None] | None = None

    @property
    def single(self) -> bool:
        """Whether the database wants it by itself."""
        return self.answer is not None and self.answer.action == "single"

    @property
    def unmade(self) -> bool:
        """Whether the call for many did not make it."""
        return self.single or self.error is not None

    @property
    def busy(self) -> bool:
        """Whether another transaction holds the run, so that nothing was written."""
        return self.answer is not None and self.answer.action == "busy"

    def again(self) -> Report:
        """The same report, to be sent once more."""
        self.answered = self.sent = False
        self.answer = self.error = None
        return self

    @property
    def size(self) -> int:
        """About how long its text is: what may be long in it."""
        size = 0
        if self.complete is not None:
            size += len(self.complete.arguments.get("output", ""))
        if self.begin is not None:
            size += len(self.begin.arguments.get("input", ""))
        return size

    def text(self, now: float) -> str:
        """One element of the argument of report_steps."""
        output = ""
        if self.complete is not None:
            arguments = self.complete.arguments
            output = ',"complete":true'
            if "output" in arguments:
                output += f',"output":{arguments["output"]}'
            if "used" in arguments:
                output += f',"used":{arguments["used"]}'
        given = ""
        if self.begin is not None:
            arguments = self.begin.arguments
            given = ',"begin":true'
            if self.began_at is not None:
                given += f',"age":{now - self.began_at:.6f}'
            if "input" in arguments:
                given += f',"input":{arguments["input"]}'
            if "contract" in arguments:
                given += f',"contract":{arguments["contract"]}'
            if "estimate" in arguments:
                given += f',"estimate":{arguments["estimate"]}'
        name = encode(self.name, "the name of a step")
        return f'{self.key},"name":{name}{given}{output}}}'

    def result(self) -> Any:
        """What the call by itself would have answered."""
        if self.error is not None:
            raise self.error
        if self.complete is not None:
            return None
        answer = cast(StepAnswer, self.answer)
        return StepStart(answer.action, answer.output_text, answer.attempt, answer.replay)

    def conclude(self, start: StepStart | BaseException) -> None:
        """Take in the answer to a begin nobody waits for, asked for by itself."""
        self.held.ask_alone()
        if isinstance(start, BaseException):
            # What is no Stop may pass, and the completion of the step meets it again.
            logger.warning("step %r of run %s: %s", self.name, self.held.run_id, one_line(start))
            stop = start if isinstance(start, Stop) else None
        else:
            stop = None if self.judge is None else self.judge(start)
        if stop is not None:
            self.held.interrupt(stop)


def report_of(held: ActiveRun, call: Call[Any]) -> Report | None:
    """The report that a call is, or None when it is another call or has to be made by itself."""
    if call.name == "complete_step" and not (held.alone and "used" in call.arguments):
        return Report(held, complete=call)
    alone = held.alone or "approved_by" in call.arguments or "lane" in call.arguments
    if call.name == "begin_step" and not alone:
        return Report(held, begin=call)
    return None


class StepBatcher:
    """What is to be reported, without I/O; the reporters are this with threads and with tasks."""

    def __init__(self) -> None:
        self.waiting: list[Report] = []
        self.early: dict[ActiveRun, dict[str, Report]] = {}
        """The begins nobody waits for, until they are answered."""
        self.sending = False
        self.last = 0
        """How many reports were sent last."""
        self.refused = False
        """Whether the schema is of a version that takes no reports together."""

    def add(self, report: Report) -> None:
        """A report somebody waits for. A completion takes along the begin of its step."""
        if report.complete is not None:
            begun = self.early.get(report.held)
            early = None if begun is None else begun.get(report.name)
            if early is not None and not early.sent:
                self.forget(early)
                report.begin, report.began_at, report.took = early.begin, early.began_at, early
        self.waiting.append(report)

    def add_deferred(self, report: Report) -> None:
        self.early.setdefault(report.held, {})[report.name] = report

    def early_of(self, held: ActiveRun) -> list[Report]:
        """The begins of a run that are not answered yet; all of them are sent now."""
        found = list(self.early.get(held, {}).values())
        self._send(found)
        return found

    def send_due(self, now: float) -> None:
        """Let go the begins that have waited long enough."""
        self._send(
            report
            for begun in self.early.values()
            for report in begun.values()
            if report.began_at is not None and now - report.began_at >= MOMENT
        )

    def batch(self) -> list[Report]:
        """What to send next."""
        self.send_due(time.monotonic())
        many, size = 0, 0
        for report in itertools.islice(self.waiting, MOST_REPORTS):
            size += report.size
            if many and size > MOST_TEXT:
                break
            many += 1
        batch, self.waiting = self.waiting[:many], self.waiting[many:]
        self.last = many
        return batch

    def take(self, batch: list[Report], answers: list[StepAnswer]) -> None:
        """Take in the answers to a batch."""
        for answer in answers:
            batch[answer.ordinal - 1].answer = answer

    def refuse(self, batch: list[Report], error: BaseException) -> None:
        """Take in that a batch failed: if others may not, each is reported by itself."""
        self.refused = self.refused or isinstance(error, SchemaTooOld)
        alone = isinstance(error, SchemaTooOld | TideError) or (
            isinstance(error, psycopg.Error) and not is_passing(error)
        )
        # What does not reach the server is repeated as long as the runs hold their leases.
        repeats = isinstance(error, psycopg.Error) and is_passing(error)
        for report in batch:
            if alone:
                report.answer = StepAnswer(0, "single", None, 0, "")
            elif repeats:
                report.answer = StepAnswer(0, "busy", None, 0, "")
            else:
                report.error = error

    def end(self, batch: list[Report]) -> None:
        """All of a batch is answered, or cannot be."""
        for report in batch:
            if report.judge is None:
                report.answered = True
            elif report.busy:
                report.again()  # nobody waits: it goes out with what is due next
            else:
                report.answered = True
                if not report.unmade:
                    self.forget(report)

    def next_leader(self) -> Report | None:
        """The first that somebody waits for."""
        return next((report for report in self.waiting if report.judge is None), None)

    def _send(self, reports: Iterable[Report]) -> None:
        for report in reports:
            if not report.sent:
                report.sent = True
                self.waiting.append(report)

    def forget(self, report: Report) -> None:
        """A begin nobody waits for is known to the database, or never will be."""
        begun = self.early[report.held]
        del begun[report.name]
        if not begun:
            del self.early[report.held]


def together(batch: list[Report]) -> Call[list[StepAnswer]]:
    """The call that makes these reports."""
    now = time.monotonic()
    texts = ",".join([report.text(now) for report in batch])
    call = calls.report_steps(f"[{texts}]")
    relaxed = all(report.complete is None and report.call.relaxed for report in batch)
    return call.relax() if relaxed else call


class StepReporter:
    """Sends the reports of the slots of a worker; one call is under way at most."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._batcher = StepBatcher()
        self._lock = threading.Lock()
        self._looking = False
        self._closed = threading.Event()

    @property
    def defers(self) -> bool:
        """Whether a begin may be told later."""
        return not self._batcher.refused

    def execute(self, held: ActiveRun, call: Call[T]) -> T:
        """The answer to a call about a run, made after the database knows what the run began."""
        batcher = self._batcher
        report = None if batcher.refused else report_of(held, call)
        if report is None:
            self.settle(held)
            return self._alone(held, call)
        report.done.acquire()
        with self._lock:
            batcher.add(report)
            leads = self._leads()
        try:
            self._await(report, leads)
            waits = pauses(LONGEST_BUSY)
            while report.busy:
                # Another transaction holds the run; the others do not wait with it.
                time.sleep(next(waits))
                held.check()
                with self._lock:
                    batcher.waiting.append(report.again())
                    leads = self._leads()
                self._await(report, leads)
            if report.single:
                if report.begin is not None or "used" in call.arguments:
                    held.ask_alone()
                return self._alone(held, call)
            answer: T = report.result()
            return answer
        finally:
            if report.took is not None:
                report.took.done.release()

    def _alone(self, held: ActiveRun, call: Call[T]) -> T:
        """The answer to a call that is in no batch, which is repeated as batches are."""
        call, waits = call.repeatable(), pauses(LONGEST_BUSY)
        while True:
            try:
                return self._client.execute(call)
            except psycopg.Error as error:
                if not is_passing(error):
                    raise
            time.sleep(next(waits))
            held.check()

    def _await(self, report: Report, leads: bool) -> None:
        """Until the report is answered. Its lock is released once when it is, and once before if
        it has to lead: each time exactly one acquires it here."""
        while True:
            if leads:
                self._lead()
            report.done.acquire()
            leads, report.leads = report.leads, False
            if not leads:
                return

    def begin(self, held: ActiveRun, call: Call[StepStart], judge: Judge) -> StepStart:
        """Tell that a step began, without waiting for the answer: `judge` reads it."""
        report = Report(held, begin=call, judge=judge)
        report.done.acquire()
        with self._lock:
            self._batcher.add_deferred(report)
            looked, self._looking = self._looking, True
        if not looked:
            threading.Thread(target=self._look, name="tidebase steps", daemon=True).start()
        return BEGUN

    def settle(self, held: ActiveRun) -> None:
        """Wait until the database knows what the run began. Raises Stop when it says no."""
        if held not in self._batcher.early:
            return
        with self._lock:
            found = self._batcher.early_of(held)
            leads = self._leads()
        if leads:
            self._lead()
        for report in found:
            with report.done:
                held.check()

    def close(self) -> None:
        """Look no more after what the runs began: they have ended."""
        self._closed.set()

    def _leads(self) -> bool:
        """Whether it is for the caller to send what waits."""
        leads = bool(self._batcher.waiting) and not self._batcher.sending
        self._batcher.sending = self._batcher.sending or leads
        return leads

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
                        report.done.release()
                # Once the lock is free, it may be another who sends.
                leads = next_leader is None and batcher.sending
            for report in batch:
                if report.judge is not None and report.answered:
                    if report.unmade:
                        # A server that is silent now holds up this run, not all slots.
                        threads.in_background(partial(self._conclude, report), "begin")
                    else:
                        report.done.release()

    def _gather(self) -> None:
        """Let the slots answered just now hand in what they have next, as long as they do."""
        batcher, seen = self._batcher, 0
        give_up_at = time.monotonic() + LONGEST_GATHERING
        while seen < len(batcher.waiting) < batcher.last and time.monotonic() < give_up_at:
            seen = len(batcher.waiting)
            time.sleep(0)

    def _conclude(self, report: Report) -> None:
        """Make a begin nobody waits for by itself."""
        try:
            report.conclude(self._alone(report.held, report.call))
        except (Exception, Stop) as error:
            report.conclude(error)
        finally:
            with self._lock:
                self._batcher.forget(report)
            report.done.release()

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


class AsyncStepReporter:
    """`StepReporter` for asyncio: what waits is sent by a task."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._batcher = StepBatcher()
        self._looking: asyncio.TimerHandle | None = None

    @property
    def defers(self) -> bool:
        """Whether a begin may be told later."""
        return not self._batcher.refused

    async def execute(self, held: ActiveRun, call: Call[T]) -> T:
        """The answer to a call about a run, made after the database knows what the run began."""
        report = None if self._batcher.refused else report_of(held, call)
        if report is None:
            await self.settle(held)
            return await self._alone(held, call)
        report.future = asyncio.get_running_loop().create_future()
        self._batcher.add(report)
        self._send()
        try:
            await report.future
            waits = pauses(LONGEST_BUSY)
            while report.busy:
                # Another transaction holds the run; the others do not wait with it.
                await asyncio.sleep(next(waits))
                held.check()
                report.future = asyncio.get_running_loop().create_future()
                self._batcher.waiting.append(report.again())
                self._send()
                await report.future
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
            await asyncio.sleep(next(waits))
            held.check()

    def begin(self, held: ActiveRun, call: Call[StepStart], judge: Judge) -> StepStart:
        """Tell that a step began, without waiting for the answer: `judge` reads it."""
        self._batcher.add_deferred(Report(held, begin=call, judge=judge))
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(MOMENT, self._look)
        return BEGUN

    async def settle(self, held: ActiveRun) -> None:
        """Wait until the database knows what the run began. Raises Stop when it says no."""
        if held not in self._batcher.early:
            return
        found = self._batcher.early_of(held)
        for report in found:
            report.future = report.future or asyncio.get_running_loop().create_future()
        self._send()
        for report in found:
            # Others may wait for the same: who is cancelled leaves it to them.
            await asyncio.shield(cast("asyncio.Future[None]", report.future))
            held.check()

    def close(self) -> None:
        """Look no more after what the runs began: they have ended."""
        if self._looking is not None:
            self._looking.cancel()

    def _send(self) -> None:
        if self._batcher.waiting and not self._batcher.sending:
            self._batcher.sending = True
            in_background(self._lead, "steps")

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
            for report in batch:
                if report.judge is not None and report.answered:
                    if report.unmade:
                        # A server that is silent now holds up this run, not all slots.
                        in_background(partial(self._conclude, report), "begin")
                    else:
                        _tell(report)
        batcher.sending = False

    async def _conclude(self, report: Report) -> None:
        """Make a begin nobody waits for by itself."""
        try:
            report.conclude(await self._alone(report.held, report.call))
        except (Exception, Stop) as error:
            report.conclude(error)
        finally:
            self._batcher.forget(report)
            _tell(report)

    def _look(self) -> None:
        """Send the begins of steps that take long, while there are any steps."""
        self._looking = None
        if self._batcher.early:
            self._batcher.send_due(time.monotonic())
            self._send()
            self._looking = asyncio.get_running_loop().call_later(MOMENT, self._look)


def _tell(report: Report) -> None:
    if report.future is not None and not report.future.done():
        report.future.set_result(None)
