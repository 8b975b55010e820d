"""Threads and tasks beside the caller: a call with a time limit, one beside an event loop, and work
nobody waits for."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from tidebase_pg.errors import StepTimeout

T = TypeVar("T")

_tasks: Final[set[asyncio.Task[None]]] = set()
"""The event loop itself holds its tasks weakly."""


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
