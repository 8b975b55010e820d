"""set_state, get_state, state_versions: one value per stream, every write a version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import MINUTE, NOBODY, Tide, contents, refused
from tests.support import Clock, value


def test_every_write_is_a_version(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    for number in range(1, 4):
        written = tide.set_state(run_id=run.run_id, value={"n": number})
        assert (written.stream, written.version, written.value) == ("run", number, {"n": number})
        assert (written.importance, written.label, written.metadata) == ("normal", None, {})
        assert written.created_at == hour.now
    current = tide.get_state(run_id=run.run_id)
    assert (current.version, current.value) == (3, {"n": 3})
    versions = tide.state_versions(run_id=run.run_id)
    assert [(row.version, row.value["n"]) for row in versions] == [(1, 1), (2, 2), (3, 3)]


def test_write_is_logged_without_its_value(tide: Tide) -> None:
    run = tide.started()
    tide.set_state(
        run_id=run.run_id,
        value={"secret": 1},
        stream="plan",
        label="first",
        importance="checkpoint",
    )
    event = tide.last_event(run.run_id)
    assert event.type == "state.updated"
    assert event.payload == {
        "stream": "plan",
        "version": 1,
        "label": "first",
        "importance": "checkpoint",
    }


def test_streams_are_independent(tide: Tide) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value={"n": 1})
    before = tide.get_state(run_id=run.run_id)
    for number in range(3):
        tide.set_state(run_id=run.run_id, value=number, stream="other")
    tide.patch_state(run_id=run.run_id, patch={"x": 1}, stream="third")
    tide.save_state(run_id=run.run_id, label="kept", stream="other")
    tide.create_snapshot(run_id=run.run_id, label="picture", state={"x": 1})
    assert tide.get_state(run_id=run.run_id) == before
    assert [row.version for row in tide.state_versions(run_id=run.run_id, stream="run")] == [1]
    assert tide.get_state(run_id=run.run_id, stream="other").version == 4
    assert tide.get_state(run_id=run.run_id, stream="third").version == 1


def test_runs_are_independent(tide: Tide) -> None:
    first, second = tide.started(), tide.started()
    tide.set_state(run_id=first.run_id, value=1)
    assert tide.get_state(run_id=second.run_id).version is None
    assert tide.set_state(run_id=second.run_id, value=2).version == 1


def test_what_was_never_written_is_null(tide: Tide) -> None:
    run = tide.started()
    current = tide.get_state(run_id=run.run_id, stream="unknown")
    assert (current.version, current.value) == (None, None)
    assert tide.state_versions(run_id=run.run_id, stream="unknown") == []


@pytest.mark.parametrize("text", ["null", "3", '"text"', "[1, {}]", "false", "{}"])
def test_value_may_be_any_json(tide: Tide, text: str) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value=text)
    stored = value(tide.connection, "select (tide.get_state(%s)).value::text", run.run_id)
    assert stored == text


def test_no_value_is_json_null(tide: Tide) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value=None)
    assert value(tide.connection, "select (tide.get_state(%s)).value::text", run.run_id) == "null"


def test_expected_version_lets_one_of_two_writers_win(tide: Tide) -> None:
    run = tide.started()
    given = {"run_id": run.run_id}
    assert tide.set_state(**given, value=1, expected_version=0).version == 1
    assert tide.set_state(**given, value=2, expected_version=1).version == 2
    before = contents(tide.connection)
    for stale in (0, 1, 3, -1):
        with refused("TD021", run.run_id, "version 2", stale):
            tide.set_state(**given, value=3, expected_version=stale)
    assert contents(tide.connection) == before


def test_remarks_are_kept_with_the_version(tide: Tide) -> None:
    run = tide.started()
    written = tide.set_state(
        run_id=run.run_id,
        value=1,
        label="draft",
        reason="first try",
        importance="transient",
        metadata={"model": "m"},
        created_by="ann",
    )
    (kept,) = tide.state_versions(run_id=run.run_id)
    assert kept == written
    assert (kept.label, kept.reason, kept.created_by) == ("draft", "first try", "ann")
    assert (kept.importance, kept.metadata) == ("transient", {"model": "m"})


def test_versions_are_listed_by_stream_and_label(tide: Tide) -> None:
    run = tide.started()
    for stream in ("b", "a"):
        for number in range(2):
            tide.set_state(
                run_id=run.run_id, value=number, stream=stream, label="kept" if number else None
            )
    everything = tide.state_versions(run_id=run.run_id)
    assert [(row.stream, row.version) for row in everything] == [
        ("a", 1),
        ("a", 2),
        ("b", 1),
        ("b", 2),
    ]
    labeled = tide.state_versions(run_id=run.run_id, labeled=True)
    assert [(row.stream, row.version) for row in labeled] == [("a", 2), ("b", 2)]
    (rest,) = tide.state_versions(run_id=run.run_id, stream="a", labeled=False)
    assert rest.version == 1


def test_anybody_may_write_while_the_run_is_active(tide: Tide, hour: Clock) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    assert tide.set_state(run_id=run_id, value=1).version == 1
    (run,) = tide.claim()
    assert tide.set_state(run_id=run_id, value=2, lease_id=run.lease_id).version == 2
    tide.sleep(run_id=run_id, lease_id=run.lease_id, name="nap", duration="1 minute")
    assert tide.set_state(run_id=run_id, value=3).version == 3
    hour.advance(MINUTE)
    assert [run.run_id for run in tide.claim()] == [run_id]


def test_state_outlives_attempts_and_is_read_after_the_end(tide: Tide) -> None:
    run = tide.started(max_attempts=2)
    tide.set_state(run_id=run.run_id, value={"n": 1})
    tide.fail(run_id=run.run_id, lease_id=run.lease_id, retry_after="0")
    (run,) = tide.claim()
    tide.complete(run_id=run.run_id, lease_id=run.lease_id)
    assert tide.get_state(run_id=run.run_id).value == {"n": 1}
    assert tide.describe_run(run_id=run.run_id)["state"]["run"]["version"] == 1


def test_finished_run_keeps_its_state(tide: Tide) -> None:
    done, cancelled = tide.finished(), tide.started()
    tide.cancel(run_id=cancelled.run_id)
    before = contents(tide.connection)
    for sqlstate, run in (("TD003", done), ("TD001", cancelled)):
        with refused(sqlstate, run.run_id):
            tide.set_state(run_id=run.run_id, value=1)
        with refused(sqlstate, run.run_id):
            tide.patch_state(run_id=run.run_id, patch={})
    assert contents(tide.connection) == before


def test_unknown_run_has_no_state(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.set_state(run_id=NOBODY, value=1)
    with refused("TD010", NOBODY):
        tide.patch_state(run_id=NOBODY, patch={})
    with refused("TD010", NOBODY):
        tide.get_state(run_id=NOBODY)
    with refused("TD010", NOBODY):
        tide.state_versions(run_id=NOBODY)


@pytest.mark.parametrize(
    ("sqlstate", "word", "arguments"),
    [
        ("22023", "stream", {"stream": None}),
        ("22023", "stream", {"stream": ""}),
        ("22023", "stream", {"stream": "a\nb"}),
        ("22023", "stream", {"stream": "x" * 257}),
        ("22023", "label", {"label": ""}),
        ("22023", "label", {"label": "x" * 257}),
        ("22023", "reason", {"reason": "x" * 4097}),
        ("22023", "importance", {"importance": None}),
        ("22023", "importance", {"importance": "high"}),
        ("22023", "created_by", {"created_by": "a\tb"}),
        ("22023", "metadata", {"metadata": "[" * 200 + "]" * 200}),
        ("TD040", "metadata", {"metadata": ["x" * 2**20]}),
    ],
)
def test_bad_remark_is_named_and_nothing_changes(
    tide: Tide, sqlstate: str, word: str, arguments: dict[str, Any]
) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused(sqlstate, word):
        tide.set_state(run_id=run.run_id, value=1, **arguments)
    with refused(sqlstate, word):
        tide.patch_state(run_id=run.run_id, patch={}, **arguments)
    assert contents(tide.connection) == before


@pytest.mark.parametrize(
    ("sqlstate", "bad"),
    [
        ("TD040", '["' + "x" * 2**20 + '"]'),
        ("22023", "[" * 200 + "]" * 200),
        ("22023", "1" + "0" * 500),
    ],
)
def test_bad_value_is_refused_and_nothing_changes(tide: Tide, sqlstate: str, bad: str) -> None:
    run = tide.started()
    before = contents(tide.connection)
    with refused(sqlstate, "value"):
        tide.set_state(run_id=run.run_id, value=bad)
    assert contents(tide.connection) == before
