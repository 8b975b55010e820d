"""What the two colours do differently, for threads; `tasks` has the same names."""

from __future__ import annotations

import contextvars
import inspect
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from tidebase_pg.errors import StepTimeout

T = TypeVar("T")
U = TypeVar("U")


Event = threading.Event
Lock = threading.Lock
Semaphore = threading.Semaphore
sleep = time.sleep


class Homes(Generic[T]):
    """One of something for each process, made when first asked for."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._process = os.getpid()
        self._known = make()
        self._inherited: list[T] = []

    def here(self) -> T:
        if self._process != os.getpid():
            # After a fork the parent goes on using what it has: it is left alone.
            self._inherited.append(self._known)
            self._process, self._known = os.getpid(), self._make()
        return self._known


PLAIN = frozenset({type(None), bool, int, float, str, list, dict, tuple})
"""Types that nothing can be awaited of."""


def acquired(lock: threading.Lock | threading.Semaphore, seconds: float) -> bool:
    """Whether the lock could be had within so many seconds."""
    return lock.acquire(timeout=seconds)


def wait(event: threading.Event, seconds: float) -> None:
    """Until the event is set, or the time has passed."""
    event.wait(seconds)


def invoke(function: Callable[[], Any], what: str, limit: float | None) -> Any:
    """What a function returns, which must not be awaitable. Raises StepTimeout at the limit."""
    answer: Any = function() if limit is None else call_within(function, limit, what)
    if type(answer) not in PLAIN and inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise TypeError(
            f"{what} returned something to be awaited: nothing of it was executed; "
            "use AsyncTidebase, or a function that is not async"
        )
    return answer


def gather(work: Callable[[T], U], items: Sequence[T], most: int, what: str) -> list[U]:
    """The answers to all items, `most` under way at once; the first error is raised."""
    with ThreadPoolExecutor(most, thread_name_prefix=f"tidebase {what}") as pool:
        futures = [pool.submit(contextvars.copy_context().run, work, item) for item in items]
        return [future.result() for future in futures]


def in_background(work: Callable[[], None], what: str) -> None:
    """Do the work in a thread nobody waits for."""
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"tidebase {what}", daemon=True).start()


def in_thread(function: Callable[[], T]) -> T:
    """The answer of a blocking function: here a thread waits anyway."""
    return function()


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


def current() -> object:
    """Who is running: the thread."""
    return threading.current_thread()


def cancel(owner: object) -> None:
    """Nothing: a thread cannot be ended by another."""


def hang() -> None:
    """Never return: for code that cannot be told to end."""
    threading.Event().wait()


def from_threads(told: Callable[[Any], None]) -> Callable[[Any], None]:
    """The same function: any thread may call it."""
    return told


def interruptible(drive: Callable[[Any], T], flow: Any, run: Any, told: Callable[[], None]) -> T:
    """What a flow gives; `told` is called when the run stops, which is all a thread can be told."""

    def stopped(_: object) -> None:
        told()

    run.on_stop = stopped
    return drive(flow)


def is_interrupt(error: BaseException) -> bool:
    """Whether an error ends the program, and says nothing of the workflow."""
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def call_workflow(
    function: Callable[..., Any],
    handed: Any,
    given: Any,
    *,
    handles: Sequence[Any],
    asynchronous: bool,
) -> Any:
    """What a workflow returns, which must not be awaitable."""
    answer = function(handed, given)
    if type(answer) in PLAIN:
        return answer
    return invoke(lambda: answer, f"workflow {getattr(function, '__name__', function)!r}", None)


def noticed(method: T) -> T:
    """The method itself: there is no `await` to be missing."""
    return method
