"""What the two colours do differently, for tasks of an event loop; `threads` has the same names."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import wraps
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from tidebase_pg.errors import StepTimeout

T = TypeVar("T")
U = TypeVar("U")
S = TypeVar("S")
P = ParamSpec("P")

ASYNC: Final = True
"""Where the colours differ by more than `await`: `if ASYNC` has what the asynchronous module does,
its `else` what tools/async_to_sync.py puts into the synchronous one."""

Event = asyncio.Event
Lock = asyncio.Lock
Semaphore = asyncio.Semaphore
sleep = asyncio.sleep

_background: Final[set[asyncio.Task[Any]]] = set()
"""The event loop itself holds its tasks weakly."""


class Homes(Generic[T]):
    """One of something for each event loop of each process, made when first asked for."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._known: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()
        self._process = os.getpid()
        self._inherited: list[object] = []

    def here(self) -> T:
        if self._process != os.getpid():
            # After a fork the parent goes on using what it has: it is left alone.
            self._inherited.append(self._known)
            self._process, self._known = os.getpid(), WeakKeyDictionary()
        loop = asyncio.get_running_loop()
        found = self._known.get(loop)
        if found is None:
            found = self._known[loop] = self._make()
        return found


async def acquired(lock: asyncio.Lock | asyncio.Semaphore, seconds: float) -> bool:
    """Whether the lock could be had within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await lock.acquire()
    except TimeoutError:
        return False


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or the time has passed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def invoke(function: Callable[[], Any], what: str, limit: float | None) -> Any:
    """What a function returns, awaited if it can be. Raises StepTimeout at the limit."""
    answer = function()
    if not inspect.isawaitable(answer):
        return answer
    if limit is None:
        return await answer
    timeout = asyncio.timeout(limit)
    try:
        async with timeout:
            return await answer
    except TimeoutError:
        if not timeout.expired():
            raise
        raise StepTimeout(f"{what} took longer than its timeout of {limit:g} s") from None


async def gather(
    work: Callable[[T], Awaitable[U]], items: Sequence[T], most: int, what: str
) -> list[U]:
    """The answers to all items, `most` under way at once; the first error is raised."""
    places = asyncio.Semaphore(most)

    async def one(item: T) -> U:
        async with places:
            return await work(item)

    tasks = [asyncio.create_task(one(item), name=f"tidebase {what}") for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def in_background(work: Callable[[], Coroutine[Any, Any, None]], what: str) -> None:
    """Do the work in a task nobody waits for; it is cancelled when its loop ends."""
    task = asyncio.get_running_loop().create_task(work(), name=f"tidebase {what}")
    _background.add(task)
    task.add_done_callback(_background.discard)


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


def current() -> object:
    """Who is running: the task."""
    return asyncio.current_task()


def cancel(owner: object) -> None:
    """Cancel a task that `current` gave."""
    if isinstance(owner, asyncio.Task):
        owner.cancel()


async def hang() -> None:
    """Never return: for code that cannot be told to end. The loop forgets the task, so that its
    own end does not wait for it."""
    task = asyncio.current_task()
    assert task is not None
    asyncio._unregister_task(task)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()


def from_threads(
    told: Callable[[Any], None], loop: asyncio.AbstractEventLoop | None = None
) -> Callable[[Any], None]:
    """The same function for any thread, called in this event loop."""
    loop = loop or asyncio.get_running_loop()

    def soon(what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(told, what)

    return soon


async def interruptible(
    drive: Callable[[Any], Coroutine[Any, Any, T]], flow: Any, run: Any, told: Callable[[], None]
) -> T:
    """What a flow gives, driven in a task that is told and cancelled when the run stops."""
    task = asyncio.ensure_future(drive(flow))

    def stopped(_: object) -> None:
        told()
        task.cancel()

    run.on_stop = from_threads(stopped)
    try:
        return await task
    except asyncio.CancelledError:
        if run.stop is not None and not _being_cancelled():
            raise run.stop from None
        task.cancel()
        raise


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_interrupt(error: BaseException) -> bool:
    """Whether an error ends the program or task, and says nothing of the workflow."""
    return isinstance(error, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit)


async def call_workflow(
    function: Callable[..., Any],
    handed: Any,
    given: Any,
    *,
    handles: Sequence[Any],
    asynchronous: bool,
) -> Any:
    """What a workflow returns that is handed a run, or the runs of a batch: `handles`; a function
    that is not async is called in a thread of its own.

    Raises TypeError when it ends without having awaited what it called on the run.
    """
    if asynchronous:
        result = await function(handed, given)
    else:
        result = await in_thread(lambda: function(handed, given))
        if inspect.isawaitable(result):
            result = await result
    for handle in handles:
        refuse_forgotten(handle._driver.forgotten)
    return result


class Noticed(Coroutine[Any, Any, T]):
    """A coroutine of a run, which is known to be awaited or not."""

    __slots__ = ("_coroutine", "_forgotten", "what")

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], forgotten: set[Noticed[Any]], what: str
    ) -> None:
        self._coroutine = coroutine
        self._forgotten = forgotten
        self.what = what
        forgotten.add(self)

    def __await__(self) -> Generator[Any, None, T]:
        self._forgotten.discard(self)
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        self._forgotten.discard(self)
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._forgotten.discard(self)
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._forgotten.discard(self)
        self._coroutine.close()


def noticed(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """A method of a run whose missing `await` is found out when the workflow ends."""

    @wraps(method)
    def calling(self: Any, /, *args: P.args, **options: P.kwargs) -> Coroutine[Any, Any, T]:
        return Noticed(method(self, *args, **options), self._driver.forgotten, method.__name__)

    return calling


def refuse_forgotten(forgotten: set[Noticed[Any]]) -> None:
    """Raises TypeError when a workflow has ended without awaiting what it called."""
    if not forgotten:
        return
    names = sorted({one.what for one in forgotten})
    for one in list(forgotten):
        one.close()
    raise TypeError(
        f"the workflow never awaited {', '.join(f'run.{name}(...)' for name in names)}: nothing of "
        "it was executed; write `await`, in an `async def`"
    )
