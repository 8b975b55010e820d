"""Processes that wait to be told what to do, so that a measurement does not pay for their start."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

Step = Callable[[], int]
"""Does one round of something and says how many jobs that were; 0 = nothing left."""

LEAD: Final = 0.02
"""Seconds until all begin together."""


@dataclass(frozen=True, slots=True)
class Task:
    """A function of a module, called in another process."""

    function: Callable[..., Any]
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one process did between two moments of the monotonic clock."""

    jobs: int
    began: float
    ended: float
    processor: float
    """Seconds of it."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of processor time for one job."""

    server: float
    client: float


prepared: Step
"""Of this process."""


def prepare(make: Callable[..., Step], warm: int, options: dict[str, Any]) -> None:
    """Connect, and let the server compile and plan what will be measured."""
    global prepared
    prepared = make(**options)
    for _ in range(warm):
        prepared()


def repeat(start: float, seconds: float, most: int) -> Tally:
    """Take steps until so much time has passed, so many jobs are done, or nothing is left."""
    time.sleep(max(0.0, start - time.monotonic()))
    began, processor = time.monotonic(), time.process_time()
    jobs = idle = 0
    while jobs < most and time.monotonic() - began < seconds and idle < 3:
        done = prepared()
        idle = 0 if done else idle + 1
        jobs += done
    return Tally(jobs, began, time.monotonic(), time.process_time() - processor)


def serve(pipe: Connection) -> None:
    while (task := pipe.recv()) is not None:
        try:
            pipe.send((task.function(**task.arguments), None))
        except BaseException:
            pipe.send((None, traceback.format_exc()))


class Crew:
    """Processes that begin when they are first needed, and wait for their next task."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.server: Callable[[], float] = lambda: 0.0
        """Seconds of processor time the server has used."""
        self.spent = Spent(0.0, 0.0)
        """By the last rate that was measured."""
        self.members: dict[int, tuple[Connection, SpawnProcess]] = {}

    def close(self) -> None:
        for pipe, _ in self.members.values():
            with suppress(OSError):
                pipe.send(None)
        for _, process in self.members.values():
            process.join(1)
            process.terminate()  # a worker in the middle of a task that failed elsewhere

    def _pipe(self, member: int) -> Connection:
        if member not in self.members:
            ours, theirs = self.context.Pipe()
            process = self.context.Process(target=serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.members[member] = ours, process
        return self.members[member][0]

    def start(self, member: int, function: Callable[..., Any], **arguments: Any) -> None:
        self._pipe(member).send(Task(function, arguments))

    def answer(self, member: int) -> Any:
        answer, error = self._pipe(member).recv()
        if error is not None:
            raise RuntimeError(error)
        return answer

    def all(self, tasks: Sequence[Task]) -> list[Any]:
        for member, task in enumerate(tasks):
            self._pipe(member).send(task)
        return [self.answer(member) for member, _ in enumerate(tasks)]

    def rate(
        self,
        make: Callable[..., Step],
        connections: int,
        *,
        seconds: float,
        most: int = 10**9,
        warm: int = 6,
        **options: Any,
    ) -> float:
        """Jobs a second of so many processes, from the first that began to the last that ended."""
        self.all([Task(prepare, {"make": make, "warm": warm, "options": options})] * connections)
        limits = {"start": time.monotonic() + LEAD, "seconds": seconds, "most": most}
        used = self.server()
        tallies: list[Tally] = self.all([Task(repeat, limits)] * connections)
        used = self.server() - used
        jobs = sum(tally.jobs for tally in tallies)
        if jobs == 0:
            raise RuntimeError(f"{make.__name__} found nothing to do")
        self.spent = Spent(used / jobs, sum(tally.processor for tally in tallies) / jobs)
        return jobs / (max(t.ended for t in tallies) - min(t.began for t in tallies))
