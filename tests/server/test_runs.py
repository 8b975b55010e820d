"""Runs over HTTP: every route and every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Http, fresh
from tests.support import Connection, value

UNKNOWN = "run_" + "0" * 32
RUN_KEYS = {
    "id", "workflowName", "input", "metadata", "status", "result", "error", "recoveryWebhook",
    "leaseOwner", "leaseExpiresAt", "attempt", "queue", "dedupeKey", "priority", "runAt",
    "maxAttempts", "deadlineAt", "cancelRequestedAt", "cancelledAt", "cancelReason",
    "cancelActor", "failureClass", "createdAt", "updatedAt", "completedAt",
}  # fmt: skip
DETAIL_KEYS = {
    "run", "steps", "state", "stateStreams", "stateVersions", "runEdges", "childRuns",
    "recoveryAttempts", "channels", "channelDeliveries", "gates", "usage", "events",
}  # fmt: skip


def test_a_run_is_made_pending_with_what_it_carries(http: Http) -> None:
    run = http.post("/runs/report", {"input": {"b": 1, "a": [1.5, None]}, "metadata": {"t": "x"}})
    run = run["run"]
    assert run.keys() >= RUN_KEYS
    assert (run["status"], run["workflowName"], run["attempt"]) == ("pending", "report", 0)
    assert (run["input"], run["metadata"]) == ({"b": 1, "a": [1.5, None]}, {"t": "x"})
    assert (run["queue"], run["runAt"], run["leaseOwner"], run["result"]) == (None,) * 4
    assert run["id"].startswith("run_") and len(run["id"]) == 36


def test_what_was_not_given_is_an_empty_object(http: Http) -> None:
    run = http.post("/runs/report", {"input": None, "metadata": None, "unknown": 1})["run"]
    assert (run["input"], run["metadata"]) == ({}, {})


def test_numbers_keep_their_digits(http: Http) -> None:
    digits = "0.1234567890123456789012345678901234567890"
    made = http.answer(
        "POST",
        "/runs/report",
        content=f'{{"input": {{"n": {digits}, "big": {10**40}}}}}',
        headers={"content-type": "application/json"},
    )
    assert digits in made.text
    assert str(10**40) in made.text


def test_times_are_utc_with_three_decimals(http: Http) -> None:
    run = http.post("/runs/report", {})["run"]
    assert len(run["createdAt"]) == len("2026-11-28T21:55:53.367Z")
    assert run["createdAt"].endswith("Z")


def test_an_idempotency_key_makes_one_run(http: Http) -> None:
    key = {"idempotency-key": fresh("key")}
    first = http.post("/runs/report", {"input": 1}, headers=key)["run"]["id"]
    assert http.post("/runs/report", {"input": 1}, headers=key)["run"]["id"] == first
    status, body = http("POST", "/runs/report", {"input": 2}, headers=key)
    assert (status, body["code"]) == (409, "input_mismatch")


def test_runs_are_listed_newest_first_a_page_at_a_time(http: Http) -> None:
    workflow = fresh("listed")
    # Ids are in the order of time, to the millisecond.
    made = sorted(http.run(workflow) for _ in range(5))
    pages: list[str] = []
    before = ""
    while True:
        page = http.get(f"/runs?workflow={workflow}&limit=2{before}")
        pages += [run["id"] for run in page["runs"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert pages == made[::-1]
    assert http.get(f"/runs?workflow={workflow}&status=failed")["runs"] == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1001", "before=run_1", "status=lost", "queue=%0A"]
)
def test_a_wrong_query_is_a_bad_request(http: Http, query: str) -> None:
    status, body = http("GET", f"/runs?{query}")
    assert (status, body["error"]) == (400, "invalid request query")
    assert body["issues"][0]["path"] == [query.partition("=")[0]]


def test_a_run_is_shown_with_all_that_belongs_to_it(http: Http) -> None:
    run_id, lease = http.begun(input={"a": 1})
    step = http.post(
        f"/runs/{run_id}/steps/begin", {"name": "s", "inputHash": "h", "leaseOwner": lease}
    )["step"]["id"]
    http.post(f"/runs/{run_id}/steps/{step}/complete", {"leaseOwner": lease, "output": {"o": 1}})
    http.put(f"/runs/{run_id}/state", {"value": {"p": 1}})
    http.post(f"/runs/{run_id}/usage", {"costUsd": 0.25})
    http.post(f"/runs/{run_id}/gates/begin", {"name": "g", "prompt": "Sure?"})
    child = http.post(f"/runs/{run_id}/children", {"name": "c", "workflowName": "sub"})
    shown = http.get(f"/runs/{run_id}")
    assert shown.keys() == DETAIL_KEYS
    assert shown["run"]["id"] == run_id
    assert [(one["name"], one["status"], one["output"]) for one in shown["steps"]] == [
        ("s", "completed", {"o": 1})
    ]
    assert shown["state"]["value"] == {"p": 1}
    assert [one["name"] for one in shown["stateStreams"]] == ["run"]
    assert [one["version"] for one in shown["stateVersions"]] == [1]
    assert [one["childRunId"] for one in shown["runEdges"]] == [child["run"]["id"]]
    assert [one["id"] for one in shown["childRuns"]] == [child["run"]["id"]]
    assert [one["name"] for one in shown["gates"]] == ["g"]
    assert [one["costUsd"] for one in shown["usage"]] == [0.25]
    assert [one["seq"] for one in shown["events"]] == list(range(1, len(shown["events"]) + 1))
    assert (shown["recoveryAttempts"], shown["channelDeliveries"]) == ([], [])


def test_a_page_that_polls_gets_only_what_is_new(http: Http) -> None:
    run_id = http.run()
    first = http.answer("GET", f"/runs/{run_id}")
    tag = first.headers["etag"]
    again = http.answer("GET", f"/runs/{run_id}", headers={"if-none-match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    http.put(f"/runs/{run_id}/state", {"value": 1})
    assert http.answer("GET", f"/runs/{run_id}", headers={"if-none-match": tag}).status_code == 200


def test_the_change_of_a_child_changes_the_tag_of_its_parent(http: Http) -> None:
    run_id, _ = http.begun()
    child = http.post(f"/runs/{run_id}/children", {"name": "c", "workflowName": "w"})["run"]["id"]
    tag = http.answer("GET", f"/runs/{run_id}").headers["etag"]
    same = http.answer("GET", f"/runs/{run_id}", headers={"if-none-match": tag})
    assert same.status_code == 304
    http.post(f"/runs/{child}/begin")
    changed = http.answer("GET", f"/runs/{run_id}", headers={"if-none-match": tag})
    assert changed.json()["childRuns"][0]["status"] == "running"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/runs/{id}", None),
        ("POST", "/runs/{id}/begin", None),
        ("POST", "/runs/{id}/heartbeat", {"leaseOwner": "x"}),
        ("POST", "/runs/{id}/complete", {}),
        ("POST", "/runs/{id}/fail", {}),
        ("POST", "/runs/{id}/cancel", None),
        ("POST", "/runs/{id}/recover", None),
        ("POST", "/runs/{id}/retry", None),
        ("POST", "/runs/{id}/fork", {"atStep": "s"}),
        ("POST", "/runs/{id}/reschedule", {"runAt": "2026-06-12T10:30:00Z"}),
        ("POST", "/runs/{id}/revoke-lease", None),
        ("POST", "/runs/{id}/events", {"name": "n"}),
        ("POST", "/runs/{id}/usage", {}),
        ("POST", "/runs/{id}/steps/begin", {"name": "s", "inputHash": "h", "leaseOwner": "x"}),
        ("POST", "/runs/{id}/gates/begin", {"name": "g", "prompt": "p"}),
        ("PUT", "/runs/{id}/state", {"value": 1}),
        ("PATCH", "/runs/{id}/state", {"value": {}}),
        ("POST", "/runs/{id}/state/save", {"label": "l"}),
        ("POST", "/runs/{id}/snapshots", {"label": "l", "state": 1}),
        ("GET", "/runs/{id}/state/versions", None),
        ("GET", "/runs/{id}/snapshots", None),
        ("GET", "/runs/{id}/usage", None),
        ("GET", "/runs/{id}/wait", None),
        ("GET", "/runs/{id}/events", None),
        ("PUT", "/runs/{id}/budget", {}),
    ],
)
@pytest.mark.parametrize("run_id", [UNKNOWN, "nonsense", "run_%00", "gate_" + "0" * 32])
def test_an_unknown_run_is_not_found(
    http: Http, method: str, path: str, body: Any, run_id: str
) -> None:
    assert http(method, path.format(id=run_id), body) == (404, {"error": "run not found"})


def test_a_child_of_an_unknown_run_names_the_parent(http: Http) -> None:
    body = {"name": "c", "workflowName": "w"}
    found = http("POST", f"/runs/{UNKNOWN}/children", body)
    assert found == (404, {"error": "parent run not found"})


def test_an_id_without_its_prefix_is_known(http: Http) -> None:
    run_id = http.run()
    bare = run_id.removeprefix("run_")
    assert http.get(f"/runs/{bare}")["run"]["id"] == run_id


def test_a_begun_run_is_leased_for_five_minutes(http: Http, sql: Connection) -> None:
    run_id = http.run()
    begun = http.post(f"/runs/{run_id}/begin", headers={"x-tidebase-worker": "w1"})
    assert begun["run"]["status"] == "running"
    assert begun["run"]["leaseOwner"] == "w1"
    assert len(begun["leaseOwner"]) == 29
    assert value(
        sql,
        "select r.leased_until - r.started_at = '5 minutes' from tide.runs as r where run_id = %s",
        run_id.removeprefix("run_"),
    )


def test_a_leased_run_says_who_has_it(http: Http) -> None:
    run_id = http.run()
    http.post(f"/runs/{run_id}/begin", headers={"x-tidebase-worker": "w1"})
    status, body = http("POST", f"/runs/{run_id}/begin")
    assert (status, body["error"], body["leaseOwner"]) == (409, "run is leased", "w1")


def test_a_completed_run_gives_no_lease(http: Http) -> None:
    run_id, _ = http.begun()
    http.post(f"/runs/{run_id}/complete", {"result": {"a": 1}})
    status, body = http("POST", f"/runs/{run_id}/begin")
    assert (status, body["error"], body["code"]) == (409, "run already completed", "run_finished")
    assert body["run"]["result"] == {"a": 1}
    assert "leaseOwner" not in body


def test_a_cancelled_run_is_not_begun(http: Http) -> None:
    run_id = http.run()
    http.post(f"/runs/{run_id}/cancel")
    status, body = http("POST", f"/runs/{run_id}/begin")
    assert (status, body["error"], body["code"]) == (409, "run is cancelled", "run_cancelled")


def test_a_failed_plain_run_goes_on_from_its_checkpoints(http: Http) -> None:
    run_id, lease = http.begun()
    begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
    step = http.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
    http.post(f"/runs/{run_id}/steps/{step}/complete", {"leaseOwner": lease, "output": 7})
    failed = http.post(f"/runs/{run_id}/fail", {"error": {"message": "no"}})
    assert (failed["requeued"], failed["run"]["status"]) == (False, "failed")
    again = http.post(f"/runs/{run_id}/begin")
    assert again["run"]["status"] == "running"
    begin["leaseOwner"] = again["leaseOwner"]
    replayed = http.post(f"/runs/{run_id}/steps/begin", begin)
    assert (replayed["action"], replayed["output"]) == ("return", 7)


def test_a_queued_run_is_not_begun_by_its_id(http: Http) -> None:
    run_id = http.post("/queues/q/enqueue", {"workflowName": "w"})["run"]["id"]
    status, body = http("POST", f"/runs/{run_id}/begin")
    assert (status, body["code"]) == (409, "run_queued")


def test_a_heartbeat_renews_and_says_when_the_lease_is_lost(http: Http) -> None:
    run_id, lease = http.begun()
    assert http.post(f"/runs/{run_id}/heartbeat", {"leaseOwner": lease})["run"]["id"] == run_id
    status, body = http("POST", f"/runs/{run_id}/heartbeat", {"leaseOwner": "other"})
    assert (status, body["error"], body["code"]) == (409, "lease lost", "lease_lost")
    assert body["run"]["id"] == run_id
    status, body = http("POST", f"/runs/{run_id}/heartbeat")
    assert (status, body["error"]) == (400, "leaseOwner is required")
    assert body["issues"][0]["path"] == ["leaseOwner"]
    http.post(f"/runs/{run_id}/complete", {})
    status, body = http("POST", f"/runs/{run_id}/heartbeat", {"leaseOwner": lease})
    assert (status, body["code"]) == (409, "lease_lost")


def test_a_heartbeat_on_a_cancelled_run_says_cancelled(http: Http) -> None:
    run_id, lease = http.begun()
    http.post(f"/runs/{run_id}/cancel")
    status, body = http("POST", f"/runs/{run_id}/heartbeat", {"leaseOwner": lease})
    assert (status, body["code"], body["run"]["status"]) == (409, "run_cancelled", "cancelled")


def test_complete_repeated_after_a_lost_answer_changes_nothing(http: Http) -> None:
    run_id, _ = http.begun()
    first = http.post(f"/runs/{run_id}/complete", {"result": {"a": 1, "b": 2}})["run"]
    again = http.post(f"/runs/{run_id}/complete", {"result": {"b": 2, "a": 1}})["run"]
    assert again == first
    status, body = http("POST", f"/runs/{run_id}/complete", {"result": 3})
    assert (status, body["error"]) == (409, "run already completed")
    events = [event["type"] for event in http.get(f"/runs/{run_id}")["events"]]
    assert events.count("run.completed") == 1


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_an_end_records_once_what_was_used(http: Http, end: str) -> None:
    run_id, _ = http.begun()
    body: dict[str, Any] = {
        "used": [
            {"kind": "llm", "inputTokens": 7, "outputTokens": 5, "metadata": {"a": 1}},
            {"quantity": 1.5, "unit": "pages"},
        ]
    }
    for _ in range(2):
        status, _ = http("POST", f"/runs/{run_id}/{end}", body)
        assert status == 200 or end == "fail"
    shown = http.get(f"/runs/{run_id}/usage")["usage"]
    assert [(one["totalTokens"], one["quantity"]) for one in shown] == [(12, None), (None, 1.5)]


@pytest.mark.parametrize(
    "used",
    [{}, [7], [{"inputTokens": -1}], [{"costUsd": "much"}], [{"quantity": 1e300}], [{}] * 1001],
)
def test_what_cannot_have_been_used_is_refused_and_the_run_goes_on(http: Http, used: Any) -> None:
    run_id, _ = http.begun()
    for end in ("complete", "fail"):
        status, answer = http("POST", f"/runs/{run_id}/{end}", {"used": used})
        assert (status, "error" in answer) == (400, True)
    assert http.get(f"/runs/{run_id}")["run"]["status"] == "running"


def test_fail_after_complete_changes_nothing(http: Http) -> None:
    run_id, _ = http.begun()
    http.post(f"/runs/{run_id}/complete", {"result": 1})
    status, body = http("POST", f"/runs/{run_id}/fail", {"error": {"message": "late"}})
    assert (status, body["code"], body["run"]["status"]) == (409, "run_finished", "completed")


def test_a_queued_run_fails_into_its_next_attempt(http: Http) -> None:
    queue = fresh("retried")
    body = {"workflowName": "w", "maxAttempts": 2}
    run_id = http.post(f"/queues/{queue}/enqueue", body)["run"]["id"]
    http.post("/queues/claim", {"queues": [queue]})
    failed = http.post(f"/runs/{run_id}/fail", {"error": {"message": "no"}})
    assert (failed["requeued"], failed["run"]["status"]) == (True, "queued")
    assert failed["run"]["error"] == {"message": "no"}
    status, body = http("POST", f"/runs/{run_id}/fail", {"error": {"message": "no"}})
    assert (status, body["code"]) == (409, "lease_lost")


@pytest.mark.parametrize(("given", "kept"), [("bad_input", "bad_input"), ("no good!", None)])
def test_a_failure_class_that_is_no_name_is_dropped(
    http: Http, given: str, kept: str | None
) -> None:
    run_id, _ = http.begun()
    run = http.post(f"/runs/{run_id}/fail", {"error": {}, "failureClass": given})["run"]
    assert run["failureClass"] == kept


def test_what_nobody_has_begun_cannot_end(http: Http) -> None:
    run_id = http.run()
    for word, body in (("complete", {"result": 1}), ("fail", {"error": {}})):
        status, answer = http("POST", f"/runs/{run_id}/{word}", body)
        assert (status, answer["code"]) == (409, "lease_lost")
    assert http.get(f"/runs/{run_id}")["run"]["status"] == "pending"


def test_cancel_keeps_its_first_reason(http: Http) -> None:
    run_id = http.run()
    first = http.post(f"/runs/{run_id}/cancel", {"reason": "one", "actor": "ann"})["run"]
    assert (first["status"], first["cancelReason"], first["cancelActor"]) == (
        "cancelled", "one", "ann",
    )  # fmt: skip
    assert http.post(f"/runs/{run_id}/cancel", {"reason": "two"})["run"] == first


def test_cancel_of_what_has_ended_is_refused_with_the_run(http: Http) -> None:
    run_id, _ = http.begun()
    http.post(f"/runs/{run_id}/complete", {})
    status, body = http("POST", f"/runs/{run_id}/cancel")
    assert (status, body["error"], body["run"]["status"]) == (
        409, "run already completed", "completed",
    )  # fmt: skip
    failed, _ = http.begun()
    http.post(f"/runs/{failed}/fail", {})
    status, body = http("POST", f"/runs/{failed}/cancel")
    assert (status, body["error"]) == (409, "run already failed")


def test_cancel_takes_children_along(http: Http) -> None:
    run_id, _ = http.begun()
    child = http.post(f"/runs/{run_id}/children", {"name": "c", "workflowName": "w"})["run"]["id"]
    http.post(f"/runs/{run_id}/cancel")
    assert http.get(f"/runs/{child}")["run"]["status"] == "cancelled"


def test_an_operator_retries_releases_forks_and_moves(http: Http) -> None:
    run_id, lease = http.begun()
    released = http.post(f"/runs/{run_id}/release", {"leaseOwner": lease})["run"]
    assert (released["status"], released["attempt"]) == ("pending", 0)
    assert http.post(f"/runs/{run_id}/release", {"leaseOwner": lease})["run"] == released
    lease = http.post(f"/runs/{run_id}/begin")["leaseOwner"]
    begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
    step = http.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
    http.post(f"/runs/{run_id}/steps/{step}/complete", {"leaseOwner": lease, "output": 1})
    http.post(f"/runs/{run_id}/fail", {})
    assert http.post(f"/runs/{run_id}/retry")["run"]["status"] == "pending"
    fork = http.post(f"/runs/{run_id}/fork", {"atStep": "s", "input": {"n": 2}})["run"]
    assert (fork["status"], fork["input"]) == ("pending", {"n": 2})
    assert http("POST", f"/runs/{run_id}/fork", {"atStep": "none"}) == (
        404, {"error": "step not found"},
    )  # fmt: skip
    queued = http.post("/queues/q/enqueue", {"workflowName": "w"})["run"]["id"]
    moved = http.post(
        f"/runs/{queued}/reschedule", {"runAt": "2031-01-01T00:00:00+02:00", "priority": 5}
    )["run"]
    assert (moved["runAt"], moved["priority"]) == ("2030-12-31T22:00:00.000Z", 5)
    assert http.get(f"/runs/{queued}/wait")["wait"]["reasons"][0]["reason"] == "not_due"


def test_a_lease_is_revoked_and_by_whom_is_logged(http: Http, sql: Connection) -> None:
    run_id = http.run()
    lease = http.post(f"/runs/{run_id}/begin")["leaseOwner"]
    put = http.post(f"/runs/{run_id}/revoke-lease", {"note": "hangs", "actor": "ann"})["run"]
    assert put["status"] == "pending"
    assert http("POST", f"/runs/{run_id}/complete", {"leaseOwner": lease})[0] == 409
    logged = "select e.payload ->> 'actor' from tide.event_log as e where e.run_id = %s"
    logged += " and e.type = 'run.requeued'"
    assert value(sql, logged, run_id.removeprefix("run_")) == "ann"
    assert http.post(f"/runs/{run_id}/revoke-lease")["run"]["status"] == "pending"


def test_a_page_out_of_date_takes_no_newer_lease(http: Http) -> None:
    run_id = http.run()
    path = f"/runs/{run_id}"
    shown = http.post(f"{path}/begin")["run"]["startedAt"]
    assert shown == http.get(path)["run"]["startedAt"]
    assert http.post(f"{path}/revoke-lease", {"startedAt": shown})["run"]["status"] == "pending"
    http.post(f"{path}/begin", headers={"x-tidebase-worker": "two"})
    status, answer = http("POST", f"{path}/revoke-lease", {"startedAt": shown})
    assert (status, answer["code"]) == (409, "illegal_transition")
    assert "leased again, by two" in answer["error"]
    run = http.get(path)["run"]
    assert (run["status"], run["leaseOwner"]) == ("running", "two")
    status, answer = http("POST", f"{path}/revoke-lease", {"startedAt": "soon"})
    assert (status, answer["issues"][0]["path"]) == (400, ["startedAt"])
    again = {"startedAt": run["startedAt"]}
    assert http.post(f"{path}/revoke-lease", again)["run"]["status"] == "pending"


def test_who_changed_a_queue_is_listed(http: Http) -> None:
    http.put("/queues/q/config", {"concurrency": 4})
    http.post("/queues/q/pause")
    query = {"kind": "queue", "name": "q", "limit": 1}
    page = http.get("/installation/changes", params=query)
    (paused,) = page["changes"]
    assert (paused["before"], paused["after"]) == ({"paused": False}, {"paused": True})
    rest = http.get("/installation/changes", params=query | {"before": page["next"]})
    assert rest["changes"][0]["after"] == {"concurrency": 4}
    assert rest["changes"][0]["actor"] == paused["actor"]


def test_a_budget_is_set_and_taken_away(http: Http, sql: Connection) -> None:
    run_id = http.run()
    http.put(f"/runs/{run_id}/budget", {"maxSteps": 1, "maxCostUsd": 0.5})
    kept = "select r.budget from tide.runs as r where r.run_id = %s"
    bare = run_id.removeprefix("run_")
    assert value(sql, kept, bare) == {"max_steps": 1, "max_cost_usd": 0.5}
    http.put(f"/runs/{run_id}/budget", {})
    assert value(sql, kept, bare) == {}


def test_a_step_reserves_its_estimate_in_the_allowances_of_the_run(
    http: Http, sql: Connection
) -> None:
    sql.execute("select tide.set_allowance('tenant:http', 'usd', 1)")
    run_id, lease = http.begun()
    http.put(f"/runs/{run_id}/budget", {"allowances": ["tenant:http"]})
    begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
    path = f"/runs/{run_id}/steps/begin"
    for bad in (5, {"usd": 0}, {"eur": 1}):
        answer = http("POST", path, begin | {"options": {"estimate": bad}})
        assert answer[0] in (400, 422), answer
    begun = http.post(path, begin | {"options": {"estimate": {"usd": 0.4}}})
    assert begun["action"] == "execute"
    left = "select left_over from tide.list_allowances('{tenant:http}')"
    assert float(value(sql, left)) == 0.6


def test_an_event_is_sent_to_a_run(http: Http) -> None:
    run_id, _ = http.begun()
    assert http.post(f"/runs/{run_id}/events", {"name": "paid", "payload": {"n": 1}})["sent"]


def test_a_run_is_recovered_by_its_webhook(http: Http) -> None:
    run_id, _ = http.begun()
    assert http("POST", f"/runs/{run_id}/recover") == (
        422, {"error": "run has no recoveryWebhook configured"},
    )  # fmt: skip
    url = "https://app.example/resume"
    run_id, _ = http.begun(recoveryWebhook=url)
    attempt = http.post(f"/runs/{run_id}/recover", {"reason": "asked"})["recoveryAttempt"]
    assert (attempt["status"], attempt["reason"], attempt["webhookUrl"]) == (
        "pending", "asked", url,
    )  # fmt: skip
    shown = http.get(f"/runs/{run_id}")
    assert [one["id"] for one in shown["recoveryAttempts"]] == [attempt["id"]]


def test_channels_are_shown_without_what_signs_them(http: Http) -> None:
    secret = "a-secret-of-some-length"
    channel = {
        "type": "webhook",
        "url": "https://app.example/events",
        "secret": secret,
        "events": ["run.completed", "step.locked"],
    }
    run_id, _ = http.begun(channels=[channel])
    http.post(f"/runs/{run_id}/complete", {})
    answer = http.answer("GET", f"/runs/{run_id}")
    assert secret not in answer.text
    shown = answer.json()
    assert shown["channels"][0]["config"] == {"url": channel["url"], "secret": None}
    assert shown["channels"][0]["events"] == ["run.completed"]
    sent = shown["channelDeliveries"]
    assert [(one["eventType"], one["status"]) for one in sent] == [("run.completed", "pending")]


def test_a_secret_that_is_too_short_is_named(http: Http) -> None:
    channel = {"type": "webhook", "url": "https://app.example/events", "secret": "short"}
    status, body = http("POST", "/runs/w", {"channels": [channel]})
    assert (status, body["issues"][0]["path"]) == (400, ["channels", 0, "secret"])


def test_a_channel_that_asks_for_nothing_there_is_is_left_out(http: Http) -> None:
    channel = {"type": "webhook", "url": "https://app.example/e", "events": ["step.locked"]}
    run_id = http.run(channels=[channel])
    assert http.get(f"/runs/{run_id}")["channels"] == []


def test_failures_are_grouped_counted_and_retried_by_kind(http: Http, sql: Connection) -> None:
    queue = fresh("outage")
    for error in ("HTTP 502 of order 1", "HTTP 502 of order 2", "no such customer"):
        http.post(f"/queues/{queue}/enqueue", {"workflowName": "w"})
        claimed = http.post("/queues/claim", {"queues": [queue]})
        body = {"leaseOwner": claimed["leaseOwner"], "error": {"type": "E", "message": error}}
        http.post(f"/runs/{claimed['runs'][0]['id']}/fail", body)
    page = http.get("/failures", params={"queue": queue})
    assert [group["runs"] for group in page["groups"]] == [2, 1]
    assert page["next"] is None
    outage = page["groups"][0]
    assert (outage["workflows"], outage["firstAt"] <= outage["lastAt"]) == (["w"], True)
    assert http.get(f"/runs/{outage['newestRun']}")["run"]["status"] == "failed"
    which = {"queue": queue, "fingerprint": outage["fingerprint"]}
    failed = "select count(*) from tide.runs where queue = %s and status = 'failed'"
    counted = http.post("/failures/redrive", {**which, "dryRun": True})
    assert (counted["runs"], counted["next"]) == (2, None)
    assert [(row["queue"], row["runs"]) for row in counted["groups"]] == [(queue, 2)]
    assert value(sql, failed, queue) == 3, "a count retries nothing"
    first = http.post("/failures/redrive", {**which, "place": counted["start"], "limit": 1})
    assert (first["runs"], first["groups"], value(sql, failed, queue)) == (1, [], 2)
    rest = http.post("/failures/redrive", {**which, "place": first["next"], "perSecond": 5})
    assert (rest["runs"], rest["next"], value(sql, failed, queue)) == (1, None, 1)
    status, answer = http("POST", "/failures/redrive", {})
    assert (status, "names nothing" in str(answer)) == (400, True)
    status, answer = http("POST", "/failures/redrive", {**which, "perSecond": 0})
    assert (status, "perSecond" in str(answer)) == (400, True)
    status, _ = http("POST", "/failures/redrive", {**which, "place": {"before": "x"}})
    assert status == 400
    assert http("GET", "/failures?finishedAfter=yesterday")[0] == 400
    assert http("GET", "/failures?before=x")[0] == 400
