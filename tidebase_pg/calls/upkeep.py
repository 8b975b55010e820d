"""Calls that keep the installation going."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from tidebase_pg.call import Call, call
from tidebase_pg.types import Health, Row, SettingChange
from tidebase_pg.values import Duration, interval


def reconcile(*, batch: int | None = None, budget: Duration | None = None) -> Call[dict[str, Any]]:
    """All upkeep, in bounded batches each committed on its own: expired leases, deadlines, due
    runs, leaked slots, counts. Call it from anywhere at any rate, in autocommit; report says
    what was done.
    """
    return call("reconcile", "", _document, "procedure", batch=batch, budget=budget)


def version() -> Call[str | None]:
    """The version of the schema installed in this database."""
    return call("version", "version", _text)


def pause(*, reason: str | None = None, actor: str | None = None) -> Call[None]:
    """Pause the whole installation: nothing is claimed, fired, swept or sent until resume. What
    runs may go on and report; new runs may be enqueued.
    """
    return call("pause", "true", _nothing, reason=reason, actor=actor)


def resume(*, actor: str | None = None) -> Call[None]:
    """Let a paused installation go on; in a copy of it: TD030, call adopt."""
    return call("resume", "true", _nothing, actor=actor)


def adopt(*, mode: str | None = None, actor: str | None = None) -> Call[dict[str, Any]]:
    """Put a restored copy to work. resume = it takes the place of the original; skip_missed = so,
    but fires and webhooks due by now are passed over; quarantine = everything active is cancelled
    as well, as for a staging copy. Returns what was done, as jsonb.
    """
    return call("adopt", "adopt", _document, mode=mode, actor=actor)


def prune(
    *, older_than: Duration | None = None, max_runs: int | None = None, queue: str | None = None
) -> Call[int]:
    """Remove up to max_runs finished runs, oldest first, with all that belongs to them: those that
    ended longer than older_than ago, or, without it, as the retention of their queues says.
    Returns how many went; call again while it is max_runs.
    """
    return call("prune", "prune", _number, older_than=older_than, max_runs=max_runs, queue=queue)


def set_retention(retention: Duration | None, *, actor: str | None = None) -> Call[None]:
    """How long finished runs are kept that have no queue, or whose queue has no retention of its
    own; null = without end.
    """
    length = None if retention is None else interval("retention", retention)
    arguments = {"retention": length} | ({} if actor is None else {"actor": actor})
    return Call("set_retention", "true", arguments, _nothing)


def list_setting_changes(
    *,
    kind: str | None = None,
    name: str | None = None,
    before_change: int | None = None,
    max_changes: int | None = None,
) -> Call[list[SettingChange]]:
    """What was changed about queues, lanes, schedules, the installation and prices, by whom, from
    what to what, newest first; before_change = the last change_id of the page before.
    """
    return call(
        "list_setting_changes",
        SettingChange.columns(),
        SettingChange.many,
        kind=kind,
        name=name,
        before_change=before_change,
        max_changes=max_changes,
    )


def health() -> Call[Health]:
    """The view of whether upkeep runs, and of everything that should be young or none."""
    return call("health", Health.columns(), Health.one, "view")


def _document(rows: Sequence[Row]) -> dict[str, Any]:
    return cast("dict[str, Any]", rows[0][0] or {})


def _text(rows: Sequence[Row]) -> str | None:
    return cast("str | None", rows[0][0])


def _number(rows: Sequence[Row]) -> int:
    return cast(int, rows[0][0])


def _nothing(rows: Sequence[Row]) -> None:
    return None


def overview() -> Call[dict[str, Any]]:
    """What the first page of a console shows, as jsonb, by bounded looks: health, running and
    failed runs by workflow, runs that wait for people, budgets about to end, parked runs by
    reason, the oldest decisions, throttled lanes, workers, and served = how many named workers
    claim each queue.
    """
    return call("overview", "overview", _document)
