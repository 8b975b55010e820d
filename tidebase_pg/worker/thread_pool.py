"""The threads of a worker."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

logger: Final = logging.getLogger("tidebase_pg.worker")


class ThreadPool(Generic[T]):
    """Threads that share one queue of work; made when there is more work than threads. Each piece
    has a context of its own.

    Waking a thread takes longer than most of what it does here. So one is woken at a time: when it
    comes and there is more to do than it takes, it wakes the next. Where the work blocks, soon all
    are at work; where it does not, one thread does it all.
    """

    def __init__(self, work: Callable[[T], None], most: int, what: str) -> None:
        """`work` must not raise."""
        self._work = work
        self._most = most
        self._what = what
        self._turn = threading.Lock()
        self._queue: deque[T] = deque()
        self._idle: list[threading.Lock] = []
        """What idle threads are woken by; the last to become idle is woken first."""
        self._called = False
        """Whether a thread is on its way to the queue."""
        self._ended = False
        self.threads = 0

    def put(self, items: Iterable[T]) -> None:
        """Let these be worked on, in their order."""
        with self._turn:
            self._queue.extend(items)
            if self._queue:
                self._call()

    def take_back(self) -> list[T]:
        """What no thread has begun, which none will."""
        with self._turn:
            taken = list(self._queue)
            self._queue.clear()
        return taken

    def end(self) -> None:
        """Let the threads end with what they are at, and begin nothing more; waits for none."""
        with self._turn:
            self._ended = True
            self._queue.clear()
            for alarm in self._idle:
                alarm.release()
            self._idle.clear()

    def replace(self, thread: object) -> None:
        """This one never comes back: another may be made for it."""
        with self._turn:
            self.threads -= 1
            if self._queue:
                self._call()

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
                if self._queue:
                    item = self._queue.popleft()
                    if self._queue:
                        self._call()
                elif self._ended:
                    return
                else:
                    self._idle.append(alarm)
            if item is not None:
                contextvars.copy_context().run(self._work, item)
            else:
                alarm.acquire()
                came = True
