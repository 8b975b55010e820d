"""Gates over HTTP: asked for, watched and decided."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Http
from tests.support import Connection, at_once, results, value

REFUSED = "gate not found, already resolved, or invalid token"


def ask(http: Http, run_id: str, name: str = "g", **body: Any) -> Any:
    return http.post(f"/runs/{run_id}/gates/begin", {"name": name, "prompt": "Sure?", **body})


def resolve(http: Http, run_id: str, gate: Any, **body: Any) -> tuple[int, Any]:
    body = {"token": gate["resolveToken"], "decision": "approved", **body}
    return http("POST", f"/runs/{run_id}/gates/{gate['id']}/resolve", body)


def test_a_gate_is_asked_for_once(http: Http) -> None:
    run_id, _ = http.begun()
    first = ask(http, run_id, data={"a": 1}, capability={"name": "deploy", "scopes": ["x"]})
    gate = first["gate"]
    assert first["action"] == "wait"
    assert (gate["name"], gate["prompt"], gate["data"]) == ("g", "Sure?", {"a": 1})
    assert (gate["status"], gate["decision"], gate["actor"]) == ("pending", None, None)
    assert gate["capability"] == {"name": "deploy", "scopes": ["x"]}
    assert len(gate["resolveToken"]) >= 32
    again = ask(http, run_id, data={"a": 1})
    assert (again["action"], again["gate"]["id"]) == ("wait", gate["id"])


def test_a_gate_shows_the_channels_of_its_own(http: Http) -> None:
    hook = {"type": "webhook", "url": "https://example.com/run"}
    run_id, _ = http.begun(channels=[hook])
    ask(http, run_id, channels=[hook | {"url": "https://example.com/gate"}])
    whole = http.get(f"/runs/{run_id}")
    (gate,) = whole["gates"]
    for shown, word in ((gate["channels"], "gate"), (whole["channels"], "run")):
        assert [one["config"]["url"] for one in shown] == [f"https://example.com/{word}"]


def test_another_question_under_the_same_name_is_asked_anew(http: Http) -> None:
    """Never answered by the old decision; each is found again by what it asks."""
    run_id, _ = http.begun()
    small = ask(http, run_id, data={"cents": 1200})["gate"]
    resolve(http, run_id, small, actor="ann")
    for other in ({"data": {"cents": 9_900_000}}, {"prompt": "Really?"}, {}):
        opened = ask(http, run_id, **other)
        assert opened["action"] == "wait"
        assert opened["gate"]["id"] != small["id"]
        assert ask(http, run_id, **other)["gate"]["id"] == opened["gate"]["id"]
    found = ask(http, run_id, data={"cents": 1200})
    assert (found["action"], found["gate"]["id"]) == ("return", small["id"])


def test_the_derived_token_decides_exactly_once(http: Http) -> None:
    run_id, _ = http.begun()
    gate = ask(http, run_id)["gate"]
    status, body = resolve(http, run_id, gate, actor="ann", payload={"why": "ok"})
    assert status == 200
    assert (body["gate"]["status"], body["gate"]["decision"]) == ("approved", "approved")
    assert (body["gate"]["actor"], body["gate"]["decisionPayload"]) == ("ann", {"why": "ok"})
    assert body["gate"]["resolveToken"] is None
    status, body = resolve(http, run_id, gate, decision="rejected")
    assert (status, body["error"]) == (409, REFUSED)
    found = ask(http, run_id)
    assert (found["action"], found["gate"]["decision"]) == ("return", "approved")
    assert found["gate"]["resolvedAt"]


def test_the_token_of_the_schema_decides_too(http: Http, sql: Connection) -> None:
    run_id, _ = http.begun()
    bare = run_id.removeprefix("run_")
    lease = value(sql, "select r.lease_id from tide.runs_active as r where r.run_id = %s", bare)
    opened = sql.execute("select * from tide.open_gate(%s, %s, 'g', 'p')", (bare, lease)).fetchone()
    assert opened is not None
    gate = {"id": f"gate_{opened.gate_id.hex}", "resolveToken": opened.token}
    status, body = resolve(http, run_id, gate, actor="bob")
    assert (status, body["gate"]["actor"]) == (200, "bob")


def test_of_two_decisions_at_once_one_wins(http: Http) -> None:
    run_id, _ = http.begun()
    gate = ask(http, run_id)["gate"]
    found = results(
        at_once(
            [
                lambda decision=decision: resolve(http, run_id, gate, decision=decision)
                for decision in ("approved", "rejected", "canceled")
            ]
        )
    )
    assert sorted(status for status, _ in found) == [200, 409, 409]


@pytest.mark.parametrize("token", ["wrong", "ü" * 32, "0" * 32])
def test_a_wrong_token_is_refused_with_one_text(http: Http, token: str) -> None:
    run_id, _ = http.begun()
    gate = ask(http, run_id)["gate"]
    status, body = resolve(http, run_id, gate, token=token)
    assert (status, body["error"]) == (409, REFUSED)
    assert http.get(f"/runs/{run_id}/gates/{gate['id']}")["gate"]["status"] == "pending"


@pytest.mark.parametrize("gate_id", ["gate_" + "0" * 32, "nonsense", "run_" + "0" * 32])
def test_an_unknown_gate_is_refused_with_the_same_text(http: Http, gate_id: str) -> None:
    run_id, _ = http.begun()
    status, body = resolve(http, run_id, {"id": gate_id, "resolveToken": "x"})
    assert (status, body["error"]) == (409, REFUSED)
    assert http("GET", f"/runs/{run_id}/gates/{gate_id}") == (404, {"error": "gate not found"})


def test_a_gate_of_another_run_is_not_found(http: Http) -> None:
    run_id, _ = http.begun()
    other, _ = http.begun()
    gate = ask(http, run_id)["gate"]
    assert http("GET", f"/runs/{other}/gates/{gate['id']}") == (404, {"error": "gate not found"})
    status, body = resolve(http, other, gate)
    assert (status, body["error"]) == (409, REFUSED)


def test_a_decision_that_is_none_is_a_bad_request(http: Http) -> None:
    run_id, _ = http.begun()
    gate = ask(http, run_id)["gate"]
    status, body = resolve(http, run_id, gate, decision="maybe")
    assert (status, body["issues"][0]["path"]) == (400, ["decision"])


def test_a_waiting_worker_sees_that_its_run_is_cancelled(http: Http) -> None:
    run_id, _ = http.begun()
    gate = ask(http, run_id)["gate"]
    watched = http.get(f"/runs/{run_id}/gates/{gate['id']}")
    assert (watched["gate"]["status"], watched["runStatus"]) == ("pending", "running")
    http.post(f"/runs/{run_id}/cancel")
    watched = http.get(f"/runs/{run_id}/gates/{gate['id']}")
    assert (watched["gate"]["status"], watched["runStatus"]) == ("canceled", "cancelled")
    status, body = http("POST", f"/runs/{run_id}/gates/begin", {"name": "h", "prompt": "?"})
    assert (status, body["code"], body["reason"]) == (409, "run_cancelled", "cancelled")


def test_a_poll_of_a_pending_gate_keeps_the_lease(http: Http, sql: Connection) -> None:
    run_id, _ = http.begun()
    bare = run_id.removeprefix("run_")
    gate = ask(http, run_id)["gate"]
    sql.execute(
        "update tide.runs_active set leased_until = now() + interval '1 minute' where run_id = %s",
        (bare,),
    )
    http.get(f"/runs/{run_id}/gates/{gate['id']}")
    assert value(
        sql,
        "select r.leased_until > now() + interval '4 minutes' from tide.runs_active as r "
        "where r.run_id = %s",
        bare,
    )


def test_the_token_is_in_no_event(http: Http) -> None:
    run_id, _ = http.begun()
    gate = ask(http, run_id)["gate"]
    shown = http.answer("GET", f"/runs/{run_id}").json()
    assert gate["resolveToken"] not in str(shown["events"])
    assert shown["gates"][0]["resolveToken"] == gate["resolveToken"]


def test_pending_gates_are_listed_across_runs(http: Http) -> None:
    run_id, _ = http.begun()
    gate = ask(http, run_id, name="listed")["gate"]
    listed = {one["gate"]["id"]: one for one in http.get("/gates")["gates"]}
    assert listed[gate["id"]]["gate"]["resolveToken"] == gate["resolveToken"]
    resolve(http, run_id, gate)
    assert gate["id"] not in {one["gate"]["id"] for one in http.get("/gates")["gates"]}
