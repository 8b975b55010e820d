"""An application in a test: its connections go to the test's database, its steps are watched."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from tidebase_pg import AsyncRun, AsyncTidebase, Run, Tidebase
from tidebase_pg.registry import Registry
from tidebase_pg.testing.databases import KitError

Application = Tidebase | AsyncTidebase
BEFORE, AFTER, COMMITTED = "before effect", "after effect", "after commit"
Watch = Callable[["Call", str], None]


def registry_of(app: Application) -> Registry:
    """The workflows of an application."""
    return app._registry  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True)
class Call:
    """One execution of a step's function."""

    run_id: str
    step: str
    attempt: int


@dataclass
class Journal:
    """What the steps did, in a file, so that a killed process leaves it behind."""

    path: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, kind: str, **facts: Any) -> None:
        """One line; complete before the function returns."""
        line = json.dumps({"kind": kind, **facts}, default=repr) + "\n"
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def read(self) -> list[dict[str, Any]]:
        """All lines so far, oldest first."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


def stubbed(answer: Any) -> Any:
    """What a stub answers: raised if it is an exception, called if it can be, else returned."""
    if isinstance(answer, BaseException):
        raise answer
    return answer() if callable(answer) else answer


@contextmanager
def redirected(app: Application, dsn: str) -> Generator[None]:
    """The application on another database until the end; its own connections stay as they are."""
    before = vars(app).copy()
    if app.bound:
        raise KitError("this application works on a connection given to it: give it a DSN or none")
    vars(app).update(_given=dsn, _source=None, _client=None)
    try:
        yield
    finally:
        vars(app).update({name: before[name] for name in ("_given", "_source", "_client")})


@contextmanager
def watched(journal: Journal, stubs: Mapping[str, Any], watch: Watch) -> Generator[None]:
    """Until the end every `run.step` writes to the journal, is stubbed, and is told to `watch`."""
    sync_step, async_step = Run.step, AsyncRun.step

    def before(run: Run | AsyncRun, name: str) -> Call:
        call = Call(str(run.id), name, run.attempt)
        watch(call, BEFORE)
        journal.write("began", run=call.run_id, step=name, attempt=call.attempt)
        return call

    def execute(name: str, function: Callable[[], Any]) -> Any:
        if name not in stubs:
            return function()
        journal.write("stubbed", step=name)
        return stubbed(stubs[name])

    def after(call: Call, output: Any) -> None:
        journal.write(
            "returned", run=call.run_id, step=call.step, attempt=call.attempt, output=output
        )
        watch(call, AFTER)

    @wraps(sync_step)
    def step(self: Run, name: str, function: Callable[[], Any], **options: Any) -> Any:
        executed: list[Call] = []

        def counted() -> Any:
            call = before(self, name)
            output = execute(name, function)
            executed.append(call)
            after(call, output)
            return output

        answer = sync_step(self, name, counted, **options)
        for call in executed:
            watch(call, COMMITTED)
        return answer

    @wraps(async_step)
    async def step_async(
        self: AsyncRun, name: str, function: Callable[[], Awaitable[Any]], **options: Any
    ) -> Any:
        executed: list[Call] = []

        async def counted() -> Any:
            call = before(self, name)
            output = execute(name, function)
            if inspect.isawaitable(output):
                output = await output
            executed.append(call)
            after(call, output)
            return output

        answer = await async_step(self, name, counted, **options)
        for call in executed:
            watch(call, COMMITTED)
        return answer

    Run.step, AsyncRun.step = step, step_async  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Run.step, AsyncRun.step = sync_step, async_step  # type: ignore[method-assign]
