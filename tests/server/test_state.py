"""State, snapshots and usage over HTTP."""

from __future__ import annotations

import pytest

from tests.server.conftest import Http
from tests.support import at_once, results


def test_state_is_set_and_merged_at_its_top_level(http: Http) -> None:
    run_id, _ = http.begun()
    path = f"/runs/{run_id}/state"
    first = http.put(path, {"value": {"a": {"x": 1}, "b": 2}})["state"]
    assert (first["runId"], first["version"]) == (run_id, 1)
    merged = http("PATCH", path, {"value": {"a": {"y": None}, "c": None}})[1]["state"]
    assert (merged["value"], merged["version"]) == ({"a": {"y": None}, "b": 2, "c": None}, 2)


def test_streams_have_versions_of_their_own(http: Http) -> None:
    run_id, _ = http.begun()
    http.put(f"/runs/{run_id}/state", {"value": 1})
    other = http.put(f"/runs/{run_id}/state", {"value": 2, "stream": "doc"})["state"]
    assert (other["version"], other["value"]) == (1, 2)
    assert http.get(f"/runs/{run_id}")["state"]["value"] == 1


def test_state_of_a_run_nobody_has_begun_is_written(http: Http) -> None:
    run_id = http.run()
    assert http.put(f"/runs/{run_id}/state", {"value": [1]})["state"]["version"] == 1


@pytest.mark.parametrize("given", [1, "text", [], None])
def test_only_objects_are_merged(http: Http, given: object) -> None:
    run_id, _ = http.begun()
    status, body = http("PATCH", f"/runs/{run_id}/state", {"value": given})
    assert (status, body["issues"][0]["path"]) == (400, ["value"])


def test_null_is_a_state(http: Http) -> None:
    run_id, _ = http.begun()
    assert http.put(f"/runs/{run_id}/state", {"value": None})["state"]["value"] is None


def test_patches_at_once_are_all_kept(http: Http) -> None:
    run_id, _ = http.begun()
    found = results(
        at_once(
            [
                lambda key=key: http("PATCH", f"/runs/{run_id}/state", {"value": {key: 1}})
                for key in "abcdefgh"
            ]
        )
    )
    assert [status for status, _ in found] == [200] * 8
    assert http.get(f"/runs/{run_id}")["state"]["value"] == dict.fromkeys("abcdefgh", 1)


def test_a_saved_state_is_a_labelled_version(http: Http) -> None:
    run_id, _ = http.begun()
    assert http("POST", f"/runs/{run_id}/state/save", {"label": "l"}) == (
        404, {"error": "run state not found"},
    )  # fmt: skip
    http.put(f"/runs/{run_id}/state", {"value": 7})
    saved = http.post(f"/runs/{run_id}/state/save", {"label": "draft", "createdBy": "ann"})
    saved = saved["stateVersion"]
    assert (saved["label"], saved["value"], saved["version"]) == ("draft", 7, 2)
    assert (saved["importance"], saved["createdBy"]) == ("milestone", "ann")
    listed = http.get(f"/runs/{run_id}/state/versions")["stateVersions"]
    assert [one["version"] for one in listed] == [1, 2]
    labelled = http.get(f"/runs/{run_id}/state/versions?labeled=true")["stateVersions"]
    assert [one["id"] for one in labelled] == [saved["id"]]
    assert len(http.get(f"/runs/{run_id}/state/versions?labeled=yes")["stateVersions"]) == 2
    assert http.get(f"/runs/{run_id}/state/versions?stream=doc")["stateVersions"] == []


def test_a_snapshot_has_a_target_and_touches_no_state(http: Http) -> None:
    run_id, _ = http.begun()
    http.put(f"/runs/{run_id}/state", {"value": 1})
    body = {"label": "cut", "state": {"a": 1}, "target": {"type": "doc", "id": "7"}}
    made = http.post(f"/runs/{run_id}/snapshots", body)["snapshot"]
    assert (made["stream"], made["value"]) == ("doc:7", {"a": 1})
    own = http.post(f"/runs/{run_id}/snapshots", {"label": "own", "state": 2})["snapshot"]
    listed = http.get(f"/runs/{run_id}/snapshots")["snapshots"]
    assert [one["id"] for one in listed] == [own["id"], made["id"]]
    assert http.get(f"/runs/{run_id}")["state"]["value"] == 1


def test_the_run_itself_is_the_target_however_its_id_is_written(http: Http) -> None:
    run_id, _ = http.begun()
    targets = [{}, *({"target": {"type": "run", "id": one}} for one in (run_id, run_id[4:]))]
    made = [
        http.post(f"/runs/{run_id}/snapshots", {"label": "cut", "state": {}} | target)["snapshot"]
        for target in targets
    ]
    assert len({one["streamId"] for one in made}) == 1
    assert [one["version"] for one in made] == [1, 2, 3]
    (stream,) = http.get(f"/runs/{run_id}")["stateStreams"]
    assert (stream["targetType"], stream["targetId"]) == ("run", run_id)


def test_usage_is_recorded_with_numbers(http: Http) -> None:
    run_id, lease = http.begun()
    begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
    step = http.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
    body = {"stepId": step, "inputTokens": 3, "outputTokens": 4, "costUsd": 0.00012}
    usage = http.post(f"/runs/{run_id}/usage", body)["usage"]
    assert (usage["stepId"], usage["totalTokens"], usage["costUsd"]) == (step, 7, 0.00012)
    assert usage["kind"] == "custom"
    assert http.get(f"/runs/{run_id}/usage")["usage"] == [usage]


def test_usage_counts_after_the_end_and_once_for_a_key(http: Http) -> None:
    run_id, _ = http.begun()
    http.post(f"/runs/{run_id}/complete", {})
    key = {"idempotency-key": "call-1"}
    first = http.post(f"/runs/{run_id}/usage", {"costUsd": 1}, headers=key)
    assert http.post(f"/runs/{run_id}/usage", {"costUsd": 1}, headers=key) == first
    assert len(http.get(f"/runs/{run_id}/usage")["usage"]) == 1


@pytest.mark.parametrize("field", ["inputTokens", "outputTokens", "totalTokens", "costUsd"])
def test_a_negative_amount_is_a_bad_request(http: Http, field: str) -> None:
    run_id, _ = http.begun()
    status, body = http("POST", f"/runs/{run_id}/usage", {field: -1})
    assert (status, body["issues"][0]["path"]) == (400, [field])


def test_usage_of_no_step_is_a_bad_request(http: Http) -> None:
    run_id, _ = http.begun()
    status, body = http("POST", f"/runs/{run_id}/usage", {"stepId": "plan"})
    assert (status, body["issues"][0]["path"]) == (400, ["stepId"])
