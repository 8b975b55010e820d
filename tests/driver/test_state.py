"""State and snapshots: versioned, merged as RFC 7396 says, fenced by the lease."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import Connection
from tidebase_pg import (
    AsyncTidebase,
    BadPayload,
    InvalidArgument,
    LeaseLost,
    NotFound,
    StateConflict,
    Tidebase,
    calls,
)


def test_every_write_of_the_state_is_a_version(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        assert (run.state.get().version, run.state.get().value) == (0, None)
        run.state.set({"a": {"b": 1, "c": 2}}, reason="first", created_by="w")
        patched = run.state.patch({"a": {"b": None}, "d": 3}, metadata={"m": 1})
        assert (patched.version, patched.value) == (2, {"a": {"c": 2}, "d": 3})
        saved = run.state.save("draft")
        assert (saved.version, saved.label, saved.importance) == (3, "draft", "milestone")
        run.state.set(None, stream="other")
        current = run.state.get()
        assert (current.version, current.value) == (3, {"a": {"c": 2}, "d": 3})
        assert [one.version for one in run.state.versions("run")] == [1, 2, 3]
        assert [one.label for one in run.state.versions(labeled=True)] == ["draft"]
        snapshot = run.snapshots.create("page", [1], target={"type": "page", "id": "7"})
        assert (snapshot.stream, snapshot.value) == ("page:7", [1])
        assert [one.label for one in run.snapshots.list()] == ["page", "draft"]
    first = tide.runs.state_versions(run.id, stream="run")[0]
    assert (first.reason, first.created_by, first.metadata) == ("first", "w", {})
    assert tide.runs.state(run.id, stream="other").version == 1
    assert len(tide.runs.snapshots(run.id)) == 2


async def test_the_async_state_is_the_same(atide: AsyncTidebase) -> None:
    async with await atide.runs.attach("w") as run:
        await run.state.set({"a": 1})
        await run.state.patch({"a": None, "b": 2})
        await run.state.save("draft")
        assert (await run.state.get()).value == {"b": 2}
        assert len(await run.state.versions()) == 3
        await run.snapshots.create("page", None)
        assert [one.label for one in await run.snapshots.list()] == ["page", "draft"]
    assert (await atide.runs.state(run.id)).version == 3


def test_a_write_that_expects_another_version_changes_nothing(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        run.state.set(1, expected_version=0)
        with pytest.raises(StateConflict, match="at version 1, not 0"):
            run.state.set(2, expected_version=0)
        assert run.state.set(2, expected_version=1).version == 2


def test_a_worker_that_lost_its_run_cannot_write_its_state(
    tide: Tidebase, connection: Connection
) -> None:
    run = tide.runs.attach("w")
    connection.execute(
        "update tide.runs_active set lease_id = gen_random_uuid() where run_id = %s", (run.id,)
    )
    with pytest.raises(LeaseLost):
        run.state.set({"late": True})
    with pytest.raises(LeaseLost):
        run.snapshots.create("late", 1)
    assert tide.runs.state(run.id).version == 0
    run.close()


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda run: run.state.patch([1]), InvalidArgument),
        (lambda run: run.state.set({1, 2}), BadPayload),
        (lambda run: run.state.set(1, importance="huge"), InvalidArgument),
        (lambda run: run.state.set(1, stream=""), InvalidArgument),
        (lambda run: run.state.set(1, expected_version="1"), TypeError),
        (lambda run: run.state.save("draft"), NotFound),
        (lambda run: run.snapshots.create("", 1), InvalidArgument),
        (lambda run: run.snapshots.create("s", 1, target={"kind": "x"}), InvalidArgument),
    ],
)
def test_a_wrong_write_is_refused_and_changes_nothing(
    tide: Tidebase, write: Any, error: type[Exception]
) -> None:
    with tide.runs.attach("w") as run:
        with pytest.raises(error):
            write(run)
        assert tide.execute(calls.state_versions(run.id)) == []
