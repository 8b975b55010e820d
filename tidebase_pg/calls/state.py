"""Calls about the state of runs: versioned streams and labelled snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from tidebase_pg.call import Call, call
from tidebase_pg.documents import encode, optional
from tidebase_pg.types import Row, StateRow, VersionRow
from tidebase_pg.values import RunId, identifier

RUN_STREAM = "run"


def set_state(
    run_id: RunId,
    value: Any,
    *,
    stream: str | None = None,
    label: str | None = None,
    reason: str | None = None,
    importance: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    created_by: str | None = None,
    expected_version: int | None = None,
    lease_id: UUID | None = None,
) -> Call[VersionRow]:
    """Replace the value of a state stream of an active run; every write is a version.
    expected_version 0 = not written yet; another: TD021. lease_id fences a worker.
    """
    return call(
        "set_state",
        VersionRow.columns(),
        VersionRow.one,
        run_id=run_id,
        value=encode(value, "the state"),
        stream=stream,
        label=label,
        reason=reason,
        importance=importance,
        metadata=optional(metadata, "metadata"),
        created_by=created_by,
        expected_version=expected_version,
        lease_id=lease_id,
    )


def patch_state(
    run_id: RunId,
    patch: Mapping[str, Any],
    *,
    stream: str | None = None,
    label: str | None = None,
    reason: str | None = None,
    importance: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    created_by: str | None = None,
    expected_version: int | None = None,
    lease_id: UUID | None = None,
    mode: str | None = None,
) -> Call[VersionRow]:
    """Merge an object into a state stream as RFC 7396 says: recursively, null deletes; mode shallow
    replaces keys of the first level only and keeps null. Objects only; another version than
    expected: TD021. lease_id fences a worker.
    """
    return call(
        "patch_state",
        VersionRow.columns(),
        VersionRow.one,
        run_id=run_id,
        patch=encode(patch, "the patch"),
        stream=stream,
        label=label,
        reason=reason,
        importance=importance,
        metadata=optional(metadata, "metadata"),
        created_by=created_by,
        expected_version=expected_version,
        lease_id=lease_id,
        mode=mode,
    )


def save_state(
    run_id: RunId,
    label: str,
    *,
    stream: str | None = None,
    reason: str | None = None,
    importance: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    created_by: str | None = None,
    lease_id: UUID | None = None,
) -> Call[VersionRow]:
    """Label the current value of a state stream: the same value as a new version. No such stream:
    TD010.
    """
    return call(
        "save_state",
        VersionRow.columns(),
        VersionRow.one,
        run_id=run_id,
        label=label,
        stream=stream,
        reason=reason,
        importance=importance,
        metadata=optional(metadata, "metadata"),
        created_by=created_by,
        lease_id=lease_id,
    )


def get_state(run_id: RunId, *, stream: str | None = None) -> Call[StateRow]:
    """The current value and version of a state stream; nulls while nothing was written.

    Nothing written reads as version 0 with the value None.
    """

    def read(rows: Sequence[Row]) -> StateRow:
        if rows[0][0] is not None:
            return StateRow.one(rows)
        return StateRow(identifier("run_id", run_id), stream or RUN_STREAM, 0, None, None)

    return call("get_state", StateRow.columns(), read, run_id=run_id, stream=stream)


def state_versions(
    run_id: RunId, *, stream: str | None = None, labeled: bool | None = None
) -> Call[list[VersionRow]]:
    """The versions of one state stream or all, oldest first; labeled true = only those with a
    label.
    """
    return call(
        "state_versions",
        VersionRow.columns(),
        VersionRow.many,
        run_id=run_id,
        stream=stream,
        labeled=labeled,
    )


def create_snapshot(
    run_id: RunId,
    label: str,
    state: Any,
    *,
    target: Mapping[str, str] | None = None,
    reason: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    created_by: str | None = None,
    lease_id: UUID | None = None,
) -> Call[VersionRow]:
    """Keep a labelled picture of something, {"type", "id"}, the run itself by default, in a stream
    of its own beside the state of the run.
    """
    return call(
        "create_snapshot",
        VersionRow.columns(),
        VersionRow.one,
        run_id=run_id,
        label=label,
        state=encode(state, f"snapshot {label!r}"),
        target=optional(target, "target"),
        reason=reason,
        metadata=optional(metadata, "metadata"),
        created_by=created_by,
        lease_id=lease_id,
    )


def list_snapshots(run_id: RunId) -> Call[list[VersionRow]]:
    """Labelled versions of all streams of a run, newest first."""
    return call("list_snapshots", VersionRow.columns(), VersionRow.many, run_id=run_id)
