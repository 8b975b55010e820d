"""Calls that keep the installation going."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from tidebase_pg.call import Call, call
from tidebase_pg.types import Row
from tidebase_pg.values import Duration


def reconcile(*, batch: int | None = None, budget: Duration | None = None) -> Call[dict[str, Any]]:
    """All upkeep, in bounded batches each committed on its own: expired leases, deadlines, due
    runs, leaked slots, counts. Call it from anywhere at any rate, in autocommit; report says
    what was done.
    """
    return call("reconcile", "", _report, "procedure", batch=batch, budget=budget)


def version() -> Call[str | None]:
    """The version of the schema installed in this database."""
    return call("version", "version", _text)


def _report(rows: Sequence[Row]) -> dict[str, Any]:
    return cast("dict[str, Any]", rows[0][0] or {})


def _text(rows: Sequence[Row]) -> str | None:
    return cast("str | None", rows[0][0])
