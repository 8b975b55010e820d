"""Runs with what the wire shows and drivers, which know older schemas too, do not read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from tidebase_pg.call import Call
from tidebase_pg.types import Enqueued, RunRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WholeRun(RunRow):
    """One run, `tide.runs`, with who is asked to resume it."""

    recovery_url: str | None


@dataclass(frozen=True, slots=True)
class EnqueuedRun(WholeRun):
    """A run as enqueue left it, and whether it was there before."""

    deduplicated: bool


def enqueued_run(call: Call[Enqueued]) -> Call[EnqueuedRun]:
    """The same enqueue, which answers the whole run: one statement instead of two."""
    return Call(
        call.name, EnqueuedRun.columns(), call.arguments, EnqueuedRun.one, "enqueue and read"
    )


def whole(call: Call[T]) -> Call[T]:
    """The same call: runs it answers are of this kind."""
    if call.columns != RunRow.columns():
        return call
    decode: Any = WholeRun.many if call.decode == RunRow.many else WholeRun.one
    return Call(call.name, WholeRun.columns(), call.arguments, decode, call.kind, call.relaxed)


def recovery_url(row: RunRow) -> str | None:
    return row.recovery_url if isinstance(row, WholeRun) else None
