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
from typing import Any, Final, cast

import psycopg

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.client.failures import is_passing
from tidebase_pg.documents import encode
from tidebase_pg.errors import SchemaTooOld, Stop, TideError
from tidebase_pg.flows import one_line
from tidebase_pg.types import StepAnswer, StepStart
from tidebase_pg.worker.active_run import ActiveRun

logger: Final = logging.getLogger("tidebase_pg.worker")

MOST_REPORTS: Final = 200
MOST_TEXT: Final = 4_000_000
"""Characters in one call, unless one report alone has more."""

MOMENT: Final = 0.025
"""Seconds a begin waits for the completion of its step, and from one look after it to the next."""

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
        """Held until it is answered."""
        self.done.acquire()
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

    def add_again(self, report: Report) -> None:
        """A report on a run that another transaction held."""
        self.waiting.append(report.again())

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
