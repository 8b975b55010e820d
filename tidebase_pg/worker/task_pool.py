"""The tasks of a worker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Generic, TypeVar, cast

T = TypeVar("T")

UNWIND: Final = 5.0
"""Seconds the cancelled tasks of a worker have to unwind at its end."""


class TaskPool(Generic[T]):
    """`ThreadPool` for asyncio: a task for each piece of work, so many at once."""

    def __init__(
        self, work: Callable[[T], Coroutine[Any, Any, None]], most: int, what: str
    ) -> None:
        """`work` must not raise. A task is called by what it works on."""
        self._work = work
        self._most = most
        self._name = f"tidebase {what}"
        self._queue: deque[T] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, items: Iterable[T]) -> None:
        """Let these be worked on, in their order. Not before whoever puts them waits for something:
        then they run beside it."""
        self._queue.extend(items)
        if self._queue:
            asyncio.get_running_loop().call_soon(self._fill)

    def take_back(self) -> list[T]:
        """What no task has begun, which none will."""
        taken = list(self._queue)
        self._queue.clear()
        return taken

    async def end(self) -> None:
        """Begin nothing more, and give what is still running a moment; a task that ignores its
        cancellation is left."""
        self._queue.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=UNWIND)

    def replace(self, task: object) -> None:
        """This one ends, or never comes back: another may be made for it."""
        self._tasks.discard(cast("asyncio.Task[None]", task))
        if self._queue:
            self._fill()

    def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and len(self._tasks) < self._most:
            item = self._queue.popleft()
            name = f"{self._name} {item}"
            self._tasks.add(loop.create_task(self._live(item), name=name))

    async def _live(self, item: T) -> None:
        try:
            await self._work(item)
        finally:
            self.replace(asyncio.current_task())
