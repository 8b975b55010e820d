"""Threads and tasks beside the caller: a crew that takes work, a call with a time limit, one beside
an event loop, and work nobody waits for."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Generic, TypeVar

from tidebase_pg.errors import StepTimeout

T = TypeVar("T")

logger: Final = logging.getLogger("tidebase_pg.worker")

_tasks: Final[set[asyncio.Task[None]]] = set()
"""The event loop itself holds its tasks weakly."""


class Crew(Generic[T]):
    """Threads that stand in one line for work; made when there is more work than threads.

    Waking a thread takes longer than most of what it does here. So one is called at a time: when it
    comes and there is more to do than it takes, it calls the next. Where the work blocks, soon all
    are at work; where it does not, one thread does it all and nobody else is disturbed.
    """

    def __init__(self, work: Callable[[T], None], most: int, what: str) -> None:
        """`work` must not raise."""
        self._work = work
        self._most = most
        self._what = what
        self._turn = threading.Lock()
        self._line: deque[T] = deque()
        self._idle: list[threading.Lock] = []
        """What those who wait are woken by; who came last is called first."""
        self._called = False
        """Whether somebody is on the way who will look at the line."""
        self._ended = False
        self.threads = 0

    def put(self, items: Iterable[T]) -> None:
        """Let these be worked on, in their order."""
        with self._turn:
            self._line.extend(items)
            if self._line:
                self._call()

    def end(self) -> None:
        """Let the threads end with what they are at, and begin nothing more; waits for none."""
        with self._turn:
            self._ended = True
            self._line.clear()
            for alarm in self._idle:
                alarm.release()
            self._idle.clear()

    def _call(self) -> None:
        if self._called:
            return
        if self._idle:
            self._idle.pop().release()
        elif self.threads < self._most:
            thread = threading.Thread(
                target=self._live, name=f"tidebase {self._what} {self.threads + 1}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                if self.threads == 0:
                    raise
                logger.warning("going on with %d threads: %s", self.threads, error)
                self._most = self.threads
                return
            self.threads += 1
        else:
            return
        self._called = True

    def _live(self) -> None:
        alarm = threading.Lock()
        alarm.acquire()
        came = True
        while True:
            item: T | None = None
            with self._turn:
                if came:
                    self._called = came = False
                if self._line:
                    item = self._line.popleft()
                    if self._line:
                        self._call()
                elif self._ended:
                    return
                else:
                    self._idle.append(alarm)
            if item is not None:
                self._work(item)
            else:
                alarm.acquire()
                came = True


def in_background(work: Callable[[], None], what: str) -> None:
    """Do the work in a thread nobody waits for."""
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"tidebase {what}", daemon=True).start()


def task_in_background(work: Coroutine[Any, Any, None], what: str) -> None:
    """Do the work in a task nobody waits for; it is cancelled when its loop ends."""
    task = asyncio.get_running_loop().create_task(work, name=f"tidebase {what}")
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def call_within(function: Callable[[], T], limit: float, what: str) -> T:
    """The answer of the function, called in a thread that is abandoned at the limit.

    Python cannot end a thread: an abandoned function goes on, and its answer is dropped.
    """
    answers: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = queue.SimpleQueue()
    context = contextvars.copy_context()

    def body() -> None:
        try:
            answers.put((context.run(function), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=body, name=f"tidebase {what}", daemon=True).start()
    try:
        answer, error = answers.get(timeout=limit)
    except queue.Empty:
        raise StepTimeout(f"{what} took longer than its timeout of {limit:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


async def in_thread(function: Callable[[], Any]) -> Any:
    """The answer of a blocking function; unlike asyncio.to_thread it never delays the exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def deliver(answer: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)

    def body() -> None:
        answer: Any = None
        problem: BaseException | None = None
        try:
            answer = context.run(function)
        except StopIteration as error:
            problem = RuntimeError(f"the function raised {error!r}")  # a future cannot hold it
        except BaseException as error:
            problem = error
        try:
            loop.call_soon_threadsafe(deliver, answer, problem)
        except RuntimeError:
            return  # the loop has ended meanwhile

    threading.Thread(target=body, name="tidebase handler", daemon=True).start()
    return await future
