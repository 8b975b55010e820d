"""Which run and step the code that is running belongs to, for logs and for helpers."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

_run: ContextVar[Any] = ContextVar("tidebase_run", default=None)
_step: ContextVar[str | None] = ContextVar("tidebase_step", default=None)

NONE: Final = "-"


def current_run() -> Any:
    """The Run or AsyncRun whose workflow this code runs in, also in its steps; else None.

    It goes along into tasks, into asyncio.to_thread, and into threads begun in a copy of the
    context; a thread begun otherwise sees none.

    >>> run = current_run()
    >>> if run is not None: run.usage.record(input_tokens=812, output_tokens=95)
    """
    return _run.get()


def current_step() -> str | None:
    """The name of the step this code runs in; None between steps, and outside of a run."""
    return _step.get()


def enter(run: Any) -> None:
    """What the rest of this context does belongs to this run."""
    _run.set(run)


@contextmanager
def handled(run: Any) -> Generator[None]:
    """What the block does belongs to this run."""
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


class step:  # noqa: N801 used as a block
    """What the block does belongs to this step."""

    __slots__ = ("_name", "_token")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._token = _step.set(self._name)

    def __exit__(self, *error: object) -> None:
        _step.reset(self._token)


class RunLogFilter(logging.Filter):
    """Adds run_id, workflow, attempt and step to each record, "-" outside of a run.

    >>> handler.addFilter(RunLogFilter())
    >>> handler.setFormatter(logging.Formatter("%(run_id)s %(step)s %(message)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        run = _run.get()
        if not hasattr(record, "run_id"):
            record.run_id = NONE if run is None else str(run.id)
            record.workflow = NONE if run is None else run.workflow
            record.attempt = NONE if run is None else run.attempt
        record.step = _step.get() or NONE
        return True
