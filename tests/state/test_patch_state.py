"""patch_state: JSON Merge Patch as RFC 7396 says, for objects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.runs.acts import Tide, contents, refused
from tests.support import value

# Appendix A of RFC 7396: original, patch, result.
APPENDIX = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]


@pytest.mark.parametrize(("original", "patch", "result"), APPENDIX)
def test_appendix_of_the_rfc(tide: Tide, original: str, patch: str, result: str) -> None:
    merged = value(
        tide.connection, "select tide._merge_patch(%s::jsonb, %s::jsonb)", original, patch
    )
    assert merged == json.loads(result)


@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [row for row in APPENDIX if row[0][0] == "{" == row[1][0]],
)
def test_objects_are_patched_so_in_a_stream(
    tide: Tide, original: str, patch: str, result: str
) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value=original)
    patched = tide.patch_state(run_id=run.run_id, patch=patch)
    assert (patched.version, patched.value) == (2, json.loads(result))
    assert tide.get_state(run_id=run.run_id).value == json.loads(result)
    assert tide.last_event(run.run_id).type == "state.updated"


def test_first_patch_begins_with_nothing(tide: Tide) -> None:
    run = tide.started()
    patched = tide.patch_state(
        run_id=run.run_id, patch={"a": 1, "b": None, "c": {"d": None}}, expected_version=0
    )
    assert (patched.version, patched.value) == (1, {"a": 1, "c": {}})


def test_keys_that_look_like_paths_are_keys(tide: Tide) -> None:
    run = tide.started()
    names = ["0", "-1", "a.b", "a/b", "{a,b}", "", " ", "é", "$", "%s"]
    patched = tide.patch_state(run_id=run.run_id, patch=dict.fromkeys(names, 1))
    assert patched.value == dict.fromkeys(names, 1)
    emptied = tide.patch_state(run_id=run.run_id, patch=dict.fromkeys(names))
    assert emptied.value == {}


def test_stale_patch_is_refused_and_nothing_changes(tide: Tide) -> None:
    run = tide.started()
    tide.patch_state(run_id=run.run_id, patch={"a": 1})
    before = contents(tide.connection)
    with refused("TD021", run.run_id, "version 1", 0):
        tide.patch_state(run_id=run.run_id, patch={"a": 2}, expected_version=0)
    assert contents(tide.connection) == before


@pytest.mark.parametrize("patch", [None, "null", "3", '"text"', "[]", '["a"]', "true"])
def test_patch_that_is_no_object_is_refused_and_nothing_changes(
    tide: Tide, patch: str | None
) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value={"a": 1})
    before = contents(tide.connection)
    with refused("22023", "patch"):
        tide.patch_state(run_id=run.run_id, patch=patch)
    assert contents(tide.connection) == before


@pytest.mark.parametrize("state", ["null", "3", '"text"', "[]", "false"])
def test_state_that_is_no_object_is_not_patched(tide: Tide, state: str) -> None:
    run = tide.started()
    tide.set_state(run_id=run.run_id, value=state)
    before = contents(tide.connection)
    with refused("22023", "patch"):
        tide.patch_state(run_id=run.run_id, patch={"a": 1})
    assert contents(tide.connection) == before


def test_patched_value_may_not_outgrow_the_limit(tide: Tide) -> None:
    run = tide.started()
    half: dict[str, Any] = {"a": "x" * 600_000}
    tide.patch_state(run_id=run.run_id, patch=half)
    before = contents(tide.connection)
    with refused("TD040", "value"):
        tide.patch_state(run_id=run.run_id, patch={"b": "x" * 600_000})
    with refused("TD040", "patch"):
        tide.patch_state(run_id=run.run_id, patch={"b": "x" * 2**20})
    assert contents(tide.connection) == before


def test_large_patch_is_merged_in_one_pass(tide: Tide) -> None:
    run = tide.started()
    wide = {f"key {number}": number for number in range(30_000)}
    tide.connection.execute("set statement_timeout = '10s'")
    assert tide.patch_state(run_id=run.run_id, patch=wide).value == wide
    half = {name: None for name in wide if wide[name] % 2}
    assert len(tide.patch_state(run_id=run.run_id, patch=half).value) == 15_000


def test_deepest_patch_is_merged(tide: Tide) -> None:
    run = tide.started()
    deep = '{"a":' * 99 + "1" + "}" * 99
    tide.patch_state(run_id=run.run_id, patch=deep)
    merged = tide.patch_state(run_id=run.run_id, patch='{"a":' * 98 + '{"b":2}' + "}" * 98)
    assert json.dumps(merged.value).count('"a"') == 99
    assert '"b": 2' in json.dumps(merged.value)


def test_a_shallow_patch_replaces_keys_of_the_first_level_and_keeps_null(tide: Tide) -> None:
    run_id = tide.create_run(workflow="report").run_id
    tide.set_state(run_id=run_id, value={"a": {"x": 1, "y": 2}, "b": 1, "c": 3})
    row = tide.patch_state(
        run_id=run_id, patch={"a": {"x": 9}, "b": None, "d": [None]}, mode="shallow"
    )
    assert row.value == {"a": {"x": 9}, "b": None, "c": 3, "d": [None]}
    assert row.version == 2


def test_the_first_shallow_patch_makes_the_stream(tide: Tide) -> None:
    run_id = tide.create_run(workflow="report").run_id
    row = tide.patch_state(run_id=run_id, patch={"a": None}, mode="shallow")
    assert (row.value, row.version) == ({"a": None}, 1)


@pytest.mark.parametrize("mode", ["deep", "", None])
def test_another_mode_is_refused(tide: Tide, mode: str | None) -> None:
    run_id = tide.create_run(workflow="report").run_id
    with refused("22023", "mode"):
        tide.patch_state(run_id=run_id, patch={}, mode=mode)
