"""Steps over HTTP: what the SDKs rely on, and the word that stops them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.server.conftest import Http
from tests.support import Connection, value
from tidebase_pg import Tidebase


def begin(http: Http, run_id: str, lease: str, name: str = "s", **body: Any) -> Any:
    body = {"name": name, "inputHash": "h", "leaseOwner": lease, **body}
    return http.post(f"/runs/{run_id}/steps/begin", body)


def sdk_hash(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_step_is_executed_once_and_returned_after(http: Http) -> None:
    run_id, lease = http.begun()
    begun = begin(http, run_id, lease)
    assert (begun["action"], begun["leaseOwner"]) == ("execute", lease)
    step = begun["step"]
    assert step["id"].startswith("step_")
    assert (step["name"], step["status"], step["attempt"]) == ("s", "running", 1)
    done = http.post(
        f"/runs/{run_id}/steps/{step['id']}/complete", {"leaseOwner": lease, "output": {"n": 1.50}}
    )["step"]
    assert (done["status"], done["output"]) == ("completed", {"n": 1.5})
    assert done["completedAt"]
    again = begin(http, run_id, lease)
    assert (again["action"], again["output"]) == ("return", {"n": 1.5})


def test_a_completion_repeated_after_a_lost_answer_is_accepted(http: Http) -> None:
    run_id, lease = http.begun()
    step = begin(http, run_id, lease)["step"]["id"]
    path = f"/runs/{run_id}/steps/{step}/complete"
    first = http.post(path, {"leaseOwner": lease, "output": 1})
    assert http.post(path, {"leaseOwner": lease, "output": 1}) == first


def test_another_input_is_a_mismatch_with_both_hashes(http: Http) -> None:
    run_id, lease = http.begun()
    begin(http, run_id, lease, input=1, inputHash=sdk_hash(1))
    other = begin(http, run_id, lease, input=2, inputHash=sdk_hash(2))
    assert other["action"] == "input_mismatch"
    assert other["expectedInputHash"] != other["actualInputHash"]
    assert len(other["expectedInputHash"]) == 64
    assert other["step"]["inputHash"] == other["expectedInputHash"]
    assert (other["step"]["status"], other["step"]["attempt"]) == ("running", 1)


@pytest.mark.parametrize("given", [None, 1, "é", [1, {"b": 1, "a": None}], {"z": {}, "a": "ü"}])
def test_a_step_of_an_sdk_is_known_to_the_native_driver(
    http: Http, module_dsn: str, given: Any
) -> None:
    run_id, lease = http.begun()
    step = begin(http, run_id, lease, input=given, inputHash=sdk_hash(given))["step"]["id"]
    http.post(f"/runs/{run_id}/steps/{step}/complete", {"leaseOwner": lease, "output": "old"})
    http.post(f"/runs/{run_id}/release", {"leaseOwner": lease})
    with Tidebase(module_dsn) as tide:
        workflow = http.get(f"/runs/{run_id}")["run"]["workflowName"]
        tide.workflow(workflow)(lambda run, _: run.step("s", lambda: "new", input=given))
        found = tide.run(workflow, run_id=run_id.removeprefix("run_"))
    assert found == "old"


def test_an_input_hash_of_the_callers_own_is_the_steps_input(http: Http) -> None:
    run_id, lease = http.begun()
    begin(http, run_id, lease, input=1, inputHash="v1")
    assert begin(http, run_id, lease, input=2, inputHash="v1")["action"] == "execute"
    assert begin(http, run_id, lease, input=1, inputHash="v2")["action"] == "input_mismatch"


@pytest.mark.parametrize(
    ("options", "contract"),
    [
        ({}, ("auto", [], None)),
        ({"sideEffects": ["read"]}, ("auto", ["read"], None)),
        ({"sideEffects": ["email.send", "", 3]}, ("manual", ["email.send"], None)),
        ({"sideEffects": ["a"], "idempotencyKey": "k"}, ("auto", ["a"], "k")),
        ({"sideEffect": "external"}, ("manual", ["external"], None)),
        ({"sideEffect": "none"}, ("auto", [], None)),
        ({"sideEffects": [], "sideEffect": "external"}, ("auto", [], None)),
        ({"replay": "never"}, ("never", [], None)),
        ({"replay": "sometimes", "onAmbiguousFailure": "review"}, ("manual", [], None)),
        ({"onAmbiguousFailure": "retry", "sideEffects": ["a"]}, ("auto", ["a"], None)),
        ({"onAmbiguousFailure": "fail"}, ("never", [], None)),
        ({"retries": 3, "credentials": ["x"], "input": 1, "timeoutMs": "x"}, ("auto", [], None)),
    ],
)
def test_options_become_the_contract(
    http: Http, options: dict[str, Any], contract: tuple[str, list[str], str | None]
) -> None:
    run_id, lease = http.begun()
    begin(http, run_id, lease, options=options)
    found = http.get(f"/runs/{run_id}")["steps"][0]["resumeContract"]
    assert (found["replay"], found["sideEffects"], found["idempotencyKey"]) == contract


def test_what_describes_a_step_is_kept(http: Http, sql: Connection) -> None:
    run_id, lease = http.begun()
    options = {
        "checkpointInvariant": {"b": 1, "a": 2},
        "verifiedBy": "checksum",
        "timeoutMs": 1500,
    }
    begin(http, run_id, lease, options=options)
    found = http.get(f"/runs/{run_id}")["steps"][0]["resumeContract"]
    assert (found["checkpointInvariant"], found["verifiedBy"]) == ('{"a":2,"b":1}', "checksum")
    assert value(
        sql,
        "select s.timeout = '1.5 seconds' from tide.steps as s where s.run_id = %s",
        run_id.removeprefix("run_"),
    )


def test_a_failure_is_classified_by_the_contract(http: Http) -> None:
    run_id, lease = http.begun()
    step = begin(http, run_id, lease)["step"]["id"]
    path = f"/runs/{run_id}/steps/{step}/fail"
    failed = http.post(path, {"leaseOwner": lease, "error": {"message": "no"}, "retryable": True})[
        "step"
    ]
    assert (failed["status"], failed["error"]) == ("failed_retryable", {"message": "no"})
    assert begin(http, run_id, lease)["step"]["attempt"] == 2
    lied = {"leaseOwner": lease, "error": {}, "resumeDecision": "auto_retry"}
    again = http.post(path, lied)["step"]
    assert (again["status"], again["attempt"], again["startedAt"] is None) == ("failed", 2, False)


def test_a_failed_step_is_answered_with_its_contract(http: Http) -> None:
    run_id, lease = http.begun()
    options = {"sideEffects": ["pay"], "idempotencyKey": "k", "replay": "auto"}
    step = begin(http, run_id, lease, options=options)["step"]["id"]
    path = f"/runs/{run_id}/steps/{step}/fail"
    contract = http.post(path, {"leaseOwner": lease, "error": {}})["step"]["resumeContract"]
    assert (contract["sideEffects"], contract["idempotencyKey"]) == (["pay"], "k")


def test_a_step_in_review_stops_the_worker_and_is_resolved(http: Http) -> None:
    run_id, lease = http.begun()
    step = begin(http, run_id, lease, options={"sideEffects": ["pay"]})["step"]["id"]
    path = f"/runs/{run_id}/steps/{step}"
    failed = http.post(f"{path}/fail", {"leaseOwner": lease, "error": {"message": "?"}})["step"]
    assert failed["status"] == "manual_review"
    assert begin(http, run_id, lease, name="next")["action"] == "cancelled"
    run = http.get(f"/runs/{run_id}")["run"]
    assert (run["status"], run["waitingOn"], run["runAt"]) == ("pending", "review", None)
    body = {"decision": "use_output", "output": {"paid": True}}
    assert http.post(f"{path}/resolve", body)["step"]["status"] == "completed"
    lease = http.post(f"/runs/{run_id}/begin")["leaseOwner"]
    replayed = begin(http, run_id, lease, options={"sideEffects": ["pay"]})
    assert (replayed["action"], replayed["output"]) == ("return", {"paid": True})


@pytest.mark.parametrize("lease", [None, "", "nonsense", "l4AAAA", "l4" + "A" * 27])
def test_without_the_lease_a_step_says_stop(http: Http, lease: str | None) -> None:
    run_id, _ = http.begun()
    body = {"name": "s", "inputHash": "h", "leaseOwner": lease}
    found = http.post(f"/runs/{run_id}/steps/begin", body)
    assert (found["action"], found["reason"]) == ("cancelled", "lease_lost")


@pytest.mark.parametrize(
    ("end", "reason"),
    [("complete", "finished"), ("fail", "finished"), ("cancel", "cancelled")],
)
def test_a_step_of_a_run_that_is_over_says_stop(http: Http, end: str, reason: str) -> None:
    run_id, lease = http.begun()
    http.post(f"/runs/{run_id}/{end}", {})
    found = begin(http, run_id, lease)
    assert (found["action"], found["reason"]) == ("cancelled", reason)


@pytest.mark.parametrize("step", ["step_eA", "step_", "nonsense", "step_%00", "step_!!"])
@pytest.mark.parametrize("word", ["complete", "fail"])
def test_a_report_about_an_unknown_step_is_refused(http: Http, step: str, word: str) -> None:
    run_id, lease = http.begun()
    status, body = http(
        "POST", f"/runs/{run_id}/steps/{step}/{word}", {"leaseOwner": lease, "error": {}}
    )
    assert (status, body["error"]) == (409, "step not found or lease lost")


def test_a_name_of_any_letters_survives_in_the_id(http: Http) -> None:
    run_id, lease = http.begun()
    name = "schreibe/Übersicht ? #1 " + "x" * 200
    step = begin(http, run_id, lease, name=name)["step"]["id"]
    assert len(step) <= 350
    assert step.replace("-", "").replace("_", "").isalnum()
    done = http.post(f"/runs/{run_id}/steps/{step}/complete", {"leaseOwner": lease})
    assert done["step"]["name"] == name


def test_one_lease_of_a_claim_of_many_is_told_from_the_others(http: Http) -> None:
    for number in range(100):
        http.post("/queues/many/enqueue", {"workflowName": "w", "input": number})
    claimed = http.post("/queues/claim", {"queues": ["many"], "limit": 100})
    assert len(claimed["runs"]) == 100
    assert len(claimed["leaseOwner"]) < 2700
    for run in claimed["runs"]:
        assert begin(http, run["id"], claimed["leaseOwner"])["action"] == "execute"
    stranger, _ = http.begun()
    assert begin(http, stranger, claimed["leaseOwner"])["action"] == "cancelled"
