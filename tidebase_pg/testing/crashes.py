"""Processes that are killed at a chosen point, and what must hold afterwards."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import psycopg

from tidebase_pg.testing.application import AFTER, BEFORE, COMMITTED, Call
from tidebase_pg.testing.databases import KitError

PLACES: Final = {
    ("before", "effect"): BEFORE,
    ("after", "effect"): AFTER,
    ("after", "commit"): COMMITTED,
}
FUNCTION: Final = re.compile(r"\btide\.(\w+)")
BACKGROUND: Final = frozenset({
    "await_work", "heartbeat", "next_wakeup", "reconcile", "version", "watch_run",
})  # fmt: skip
"""Calls of a worker that come at times of their own."""

KILLED: Final = -signal.SIGKILL
FAILED: Final = 70


@dataclass(frozen=True)
class Crash:
    """Where the process of a run is killed, once."""

    run_id: str
    step: str
    place: str

    def meets(self, call: Call, place: str) -> bool:
        return (call.run_id, call.step, place) == (self.run_id, self.step, self.place)


@dataclass(frozen=True)
class Point:
    """The n-th statement of a kind, or effect of a step, before or after it."""

    what: str
    number: int
    place: str

    def __str__(self) -> str:
        which = f" ({self.number})" if self.number > 1 else ""
        return f"{self.place} of {self.what}{which}"


@dataclass(frozen=True)
class Finding:
    """What was not as it should be, killed at one point."""

    point: str
    problem: str

    def __str__(self) -> str:
        return f"killed {self.point}: {self.problem}"


@dataclass(frozen=True)
class CrashReport:
    """What `crash_everywhere` tried, and what it found."""

    points: list[str] = field(default_factory=list[str])
    """Each point at which a process was killed."""
    missed: list[str] = field(default_factory=list[str])
    """Points that a later run did not reach, such as those of a race."""
    findings: list[Finding] = field(default_factory=list[Finding])
    """What was not as it should be; empty is good."""


def kill_this_process() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("the process was killed")  # pragma: no cover


class Counting:
    """Counts what happens in this process, and calls `reached` before and after each of it."""

    def __init__(self, reached: Callable[[Point], None]) -> None:
        self._reached = reached
        self._counts: Counter[tuple[str, str]] = Counter()

    def at(self, what: str, place: str) -> None:
        self._counts[what, place] += 1
        self._reached(Point(what, self._counts[what, place], place))

    @contextmanager
    def statements(self) -> Generator[None]:
        """Until the end every statement psycopg executes is counted, save those of upkeep."""
        sync_execute, async_execute = psycopg.Cursor.execute, psycopg.AsyncCursor.execute

        def execute(cursor: Any, query: Any, *given: Any, **options: Any) -> Any:
            name = label(query)
            if name is None:
                return sync_execute(cursor, query, *given, **options)
            self.at(name, "start")
            answer = sync_execute(cursor, query, *given, **options)
            self.at(name, "end")
            return answer

        async def execute_async(cursor: Any, query: Any, *given: Any, **options: Any) -> Any:
            name = label(query)
            if name is None:
                return await async_execute(cursor, query, *given, **options)
            self.at(name, "start")
            answer = await async_execute(cursor, query, *given, **options)
            self.at(name, "end")
            return answer

        psycopg.Cursor.execute = execute  # type: ignore[method-assign, assignment]
        psycopg.AsyncCursor.execute = execute_async  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            psycopg.Cursor.execute = sync_execute  # type: ignore[method-assign]
            psycopg.AsyncCursor.execute = async_execute  # type: ignore[method-assign]


def label(query: Any) -> str | None:
    """A statement as findings call it; None for what a worker does in the background."""
    text = query.decode() if isinstance(query, bytes) else str(query)
    if found := FUNCTION.search(text):
        return None if found[1] in BACKGROUND else f"tide.{found[1]}"
    words = text.split()
    if not words or words[0].lower() in ("set", "listen", "unlisten", "show"):
        return None
    return " ".join(words[:3])


def in_child(work: Callable[[], None]) -> int:
    """Do something in a forked process; its exit status, negative the signal that ended it.

    What it changes in memory is gone with it. Raises KitError where it failed by itself.
    """
    if not hasattr(os, "fork"):
        raise KitError("crashes need os.fork, which this system has not: use Linux or macOS")
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(FAILED)
        sys.stdout.flush()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status not in (0, KILLED):
        raise KitError(f"the forked process ended with {status}; what it said is on stderr")
    return status
