"""save_state labels the current value of a stream; snapshots keep a picture beside it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock


def test_saved_state_is_the_same_value_as_a_labelled_version(tide: Tide) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value={"n": 1})
    saved = tide.save_state(run_id=run.run_id, label="draft", reason="done", created_by="ann")
    assert (saved.version, saved.value, saved.label) == (2, {"n": 1}, "draft")
    assert (saved.importance, saved.reason, saved.created_by) == ("milestone", "done", "ann")
    assert tide.get_state(run_id=run.run_id).value == {"n": 1}
    assert tide.last_event(run.run_id).type == "state.saved"
    assert tide.state_versions(run_id=run.run_id, labeled=True) == [saved]


def test_state_that_was_never_written_cannot_be_saved(tide: Tide) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value=1)
    before = contents(tide.connection)
    with refused("TD010", run.run_id, "unknown"):
        tide.save_state(run_id=run.run_id, label="draft", stream="unknown")
    with refused("TD010", NOBODY):
        tide.save_state(run_id=NOBODY, label="draft")
    assert contents(tide.connection) == before


@pytest.mark.parametrize("label", [None, "", "a\nb", "x" * 257])
def test_label_is_needed_to_save_and_to_snapshot(tide: Tide, label: str | None) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value=1)
    before = contents(tide.connection)
    with refused("22023", "label"):
        tide.save_state(run_id=run.run_id, label=label)
    with refused("22023", "label"):
        tide.create_snapshot(run_id=run.run_id, label=label, state={})
    assert contents(tide.connection) == before


def test_snapshot_of_the_run_has_a_stream_of_its_own(tide: Tide) -> None:
    run = tide.started()
    picture = tide.create_snapshot(run_id=run.run_id, label="before", state={"x": 1})
    assert picture.stream == f"run:{run.run_id}"
    assert (picture.version, picture.value) == (1, {"x": 1})
    assert (picture.importance, picture.label) == ("milestone", "before")
    assert tide.last_event(run.run_id).type == "snapshot.created"
    assert tide.get_state(run_id=run.run_id).version is None


def test_snapshots_of_one_target_are_versions_of_it(tide: Tide) -> None:
    run = tide.started()
    target = {"type": "report", "id": "7"}
    for number in (1, 2):
        picture = tide.create_snapshot(
            run_id=run.run_id, label=f"v{number}", state=number, target=target
        )
        assert (picture.stream, picture.version) == ("report:7", number)


def test_snapshots_are_the_labelled_versions_newest_first(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value=1)
    for number in range(3):
        hour.advance(MINUTE)
        tide.create_snapshot(run_id=run.run_id, label=f"v{number}", state=number)
    hour.advance(MINUTE)
    tide.save_state(run_id=run.run_id, label="saved")
    assert [row.label for row in tide.list_snapshots(run_id=run.run_id)] == [
        "saved",
        "v2",
        "v1",
        "v0",
    ]
    assert tide.list_snapshots(run_id=tide.started().run_id) == []
    with refused("TD010", NOBODY):
        tide.list_snapshots(run_id=NOBODY)


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("target", "null"),
        ("target", "[]"),
        ("name", {"type": "report", "id": "7", "name": "x"}),
        ("target.type", {"id": "7"}),
        ("target.id", {"type": "report"}),
        ("target.id", {"type": "report", "id": 7}),
        ("target.type", {"type": "", "id": "7"}),
        ("target.id", {"type": "report", "id": "x" * 151}),
    ],
)
def test_bad_target_is_named_and_nothing_changes(tide: Tide, word: str, target: Any) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("22023", word):
        tide.create_snapshot(run_id=run.run_id, label="v1", state={}, target=target)
    assert contents(tide.connection) == before


def test_oversized_snapshot_is_refused_and_nothing_changes(tide: Tide) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused("TD040", "state"):
        tide.create_snapshot(run_id=run.run_id, label="v1", state=["x" * 2**20])
    with refused("TD040", "metadata"):
        tide.create_snapshot(run_id=run.run_id, label="v1", state=1, metadata=["x" * 2**20])
    assert contents(tide.connection) == before


def test_finished_run_is_neither_saved_nor_pictured(tide: Tide) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value=1)
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    before = contents(tide.connection)
    with refused("TD003", run.run_id):
        tide.save_state(run_id=run.run_id, label="v1")
    with refused("TD003", run.run_id):
        tide.create_snapshot(run_id=run.run_id, label="v1", state={})
    assert contents(tide.connection) == before
