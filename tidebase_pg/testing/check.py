"""Would this deploy break a live run? Replays active runs against the code, and writes nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, cast
from uuid import UUID

from tidebase_pg import AsyncRun, AsyncTidebase, Run, async_session, flows, session
from tidebase_pg.async_driver import AsyncDriver
from tidebase_pg.async_run import AsyncBegunStep
from tidebase_pg.client import AsyncClient, Client
from tidebase_pg.driver import Driver
from tidebase_pg.errors import Stop
from tidebase_pg.flows import Attempt, DeferredBegin, Effect, Invoke, Now, Park, Pause
from tidebase_pg.registry import Registry
from tidebase_pg.run import BegunStep
from tidebase_pg.testing.application import Application, registry_of
from tidebase_pg.testing.recordings import Answers, Drift, Reached, Reader, Recording
from tidebase_pg.worker.active_run import ActiveRun

LEASE: Final = 86_400.0
QUIET: Final = 0.2
"""Seconds in which no branch of a coroutine asks for anything, once one has come to its end."""
LONGEST: Final = 60.0
"""Seconds that the code of one run may take between its steps."""


@dataclass(frozen=True)
class Finding:
    """What the code would do differently from what a run has recorded."""

    run_id: UUID
    workflow: str
    problem: str

    def __str__(self) -> str:
        return f"{self.workflow} {self.run_id}: {self.problem}"


@dataclass(frozen=True)
class Verdict:
    """What a check came to."""

    runs: int
    """How many active runs were replayed."""
    findings: list[Finding] = field(default_factory=list[Finding])
    unserved: dict[str, int] = field(default_factory=dict[str, int])
    """Workflows of active runs that the application has not registered, with their number."""

    @property
    def good(self) -> bool:
        """Whether every run goes on as it began."""
        return not self.findings and not self.unserved


def check(
    app: Application, dsn: str, *, workflow: str | None = None, queue: str | None = None,
    sample: int | None = None,
) -> Verdict:  # fmt: skip
    """Replay the active runs of a database against the code of an application, with the outputs
    they have kept, up to the first thing that they have not done yet.

    Reads in one read-only transaction, as the owner of the schema. No function of a step is called.
    Code outside of steps is executed: it must have no effects, which is the rule for it anyway.

    >>> check(tide, "postgresql:///app").findings
    """
    reader = Reader(dsn)
    try:
        found: list[Finding] = []
        replayed = 0
        registry = registry_of(app)
        known = set(registry.names())
        unserved: Counter[str] = Counter()
        for run_id, name in reader.active(workflow, queue, sample):
            if name not in known:
                unserved[name] += 1
                continue
            replayed += 1
            recording = reader.recording(run_id)
            found += [Finding(run_id, name, problem) for problem in _replay(app, recording, reader)]
        return Verdict(replayed, found, dict(unserved))
    finally:
        reader.close()


def _replay(app: Application, recording: Recording, reader: Reader) -> list[str]:
    answers = Answers(recording, reader)
    run = ActiveRun(recording.leased, LEASE, time.monotonic())
    problem = (
        asyncio.run(_replay_async(app, run, answers))
        if isinstance(app, AsyncTidebase)
        else _replay_sync(app._registry, run, answers)  # pyright: ignore[reportPrivateUsage]
    )
    return [problem] if problem else _differences(recording)


def _differences(recording: Recording) -> list[str]:
    """What is recorded and was not asked for, and what was asked for in another order."""
    done = recording.done()
    asked = list(dict.fromkeys(recording.asked))
    missing = [key for key in done if key not in asked]
    if missing:
        kind, name = missing[0]
        instead = f"; it asks for {recording.ahead} instead" if recording.ahead else ""
        return [f"{kind} {name!r} is recorded and never asked for{instead}"]
    place = {name: at for at, (kind, name) in enumerate(done) if kind == "step"}
    for names in recording.branches.values():
        known = [name for name in names if name in place]
        for former, later in pairwise(known):
            if place[later] < place[former]:
                return [f"step {former!r} is asked for before {later!r}: recorded the other way"]
    return []


# Both colours ----------------------------------------------------------------------------


def _answer(answers: Answers, effect: Effect) -> Any:
    match effect:
        case Invoke(what=what):
            raise answers.recording.reached(what)
        case Pause():
            return None
        case Now():
            return answers.reader.now()
        case Attempt():
            raise answers.recording.reached("a child of this process")
        case Park(call=call) | DeferredBegin(call=call):
            return answers.answer(call)
        case _:
            return answers.answer(effect)


class ReplayDriver(Driver):
    """Performs the effects of one run from what it has recorded."""

    __slots__ = ("answers",)

    def __init__(self, run: ActiveRun, registry: Registry, answers: Answers) -> None:
        super().__init__(run, cast(Client, None), registry, session.run_child)
        self.answers = answers

    def perform(self, effect: Effect) -> Any:
        return _answer(self.answers, effect)


class ReplayRun(Run):
    """A run whose database steps are replayed as other steps are."""

    def transaction(self, name: str, *, input: Any = None) -> Any:
        return BegunStep(self._driver, self._plan(name, input=input)).begun()


def _replay_sync(registry: Registry, run: ActiveRun, answers: Answers) -> str | None:
    """In a thread, which is left behind if the code does not come back."""
    problems: list[str | None] = []

    def replay() -> None:
        problems.append(None)
        try:
            handle = ReplayRun(ReplayDriver(run, registry, answers))
            session.called(registry.of_run(run.leased.workflow), handle, registry)
        except BaseException as error:
            problems[0] = _problem(error)

    thread = threading.Thread(target=replay, daemon=True)
    thread.start()
    thread.join(LONGEST)
    if thread.is_alive():
        return f"the code does not come to its next step within {LONGEST:g} s"
    return problems[0]


class AsyncReplayDriver(AsyncDriver):
    """The same for asyncio; a branch that comes to its end stays there, and the others go on."""

    __slots__ = ("answers", "stirred")

    def __init__(self, run: ActiveRun, registry: Registry, answers: Answers) -> None:
        super().__init__(run, cast(AsyncClient, None), registry, async_session.run_child)
        self.answers = answers
        self.stirred = time.monotonic()
        """When a branch last asked for something."""

    async def perform(self, effect: Effect) -> Any:
        self.stirred = time.monotonic()
        try:
            return _answer(self.answers, effect)
        except Reached:
            await asyncio.Event().wait()


class AsyncReplayRun(AsyncRun):
    """A run whose database steps are replayed as other steps are."""

    def transaction(self, name: str, *, input: Any = None) -> Any:
        return AsyncReplayedTransaction(self._driver, self._plan(name, input=input))


class AsyncReplayedTransaction(AsyncBegunStep):
    """A database step that is done, or as far as a check can go."""

    async def __aenter__(self) -> Any:
        return await self.begun()

    async def __aexit__(self, *error: object) -> None:
        return None


async def _replay_async(app: AsyncTidebase, run: ActiveRun, answers: Answers) -> str | None:
    registry = registry_of(app)
    driver = AsyncReplayDriver(run, registry, answers)
    workflow = registry.of_run(run.leased.workflow)
    task = asyncio.ensure_future(async_session.called(workflow, AsyncReplayRun(driver), registry))
    began = time.monotonic()
    while not task.done():
        await asyncio.wait({task}, timeout=QUIET / 4)
        now = time.monotonic()
        if answers.recording.ahead is not None and now - driver.stirred > QUIET:
            break
        if now - began > LONGEST:
            return f"the code does not come to its next step within {LONGEST:g} s"
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        return None
    return None if task.cancelled() else _problem(task.exception())


def _problem(error: BaseException | None) -> str | None:
    """What an error of the code says about it; None where it says nothing."""
    match error:
        case None | Reached() | Stop():
            return None
        case Drift():
            return str(error)
        case BaseExceptionGroup():
            return next(filter(None, map(_problem, error.exceptions)), None)
        case _:
            return f"the code raises {flows.one_line(cast(Exception, error))}"
