"""Runs with what the wire shows and drivers, which know older schemas too, do not read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from tidebase_pg.call import Call
from tidebase_pg.types import RunRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WholeRun(RunRow):
    """One run, `tide.runs`, with who is asked to resume it."""

    recovery_url: str | None


def whole(call: Call[T]) -> Call[T]:
    """The same call: runs it answers are of this kind."""
    if call.columns != RunRow.columns():
        return call
    decode: Any = WholeRun.many if call.decode == RunRow.many else WholeRun.one
    return Call(call.name, WholeRun.columns(), call.arguments, decode, call.kind, call.relaxed)


def recovery_url(row: RunRow) -> str | None:
    return row.recovery_url if isinstance(row, WholeRun) else None
