"""What every request meets before its route: bodies, paths, keys, limits, headers."""

from __future__ import annotations

import socket
import threading
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.server.conftest import Http, Served, client_of, serving, wait_until
from tests.support import Connection, value
from tidebase_pg.server import Settings, app

BAD_BODIES: list[tuple[bytes, list[Any]]] = [
    (b"", []),
    (b"{", []),
    (b"[]", []),
    (b"null", []),
    (b'"text"', []),
    (b"\xff\xfe", []),
    (b'{"input": NaN}', []),
    (b'{"metadata": []}', ["metadata"]),
    (b'{"metadata": 1}', ["metadata"]),
    (b'{"recoveryWebhook": 1}', ["recoveryWebhook"]),
    (b'{"recoveryWebhook": "no url"}', ["recoveryWebhook"]),
    (b'{"channels": [{"type": "mail", "url": "https://x"}]}', ["channels", 0, "type"]),
    (b'{"channels": [{"type": "webhook"}]}', ["channels", 0, "url"]),
    (b'{"input": "\\u0000"}', []),
    (b'{"input": "\\ud800"}', []),
    (b'{"input": ' + b"[" * 5000 + b"]" * 5000 + b"}", []),
    (b'{"input": ' + b"[" * 100000 + b"]" * 100000 + b"}", []),
    (b'{"input": 1' + b"0" * 5000 + b"}", ["input"]),
]


@pytest.mark.parametrize(("raw", "path"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_wrong_body_is_a_bad_request_and_writes_nothing(
    http: Http, sql: Connection, raw: bytes, path: list[Any]
) -> None:
    before = value(sql, "select count(*) from tide.runs")
    answer = http.answer("POST", "/runs/report", content=raw)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["error"] == "invalid request body"
    assert body["issues"][0]["path"] == path
    assert body["issues"][0]["message"]
    assert value(sql, "select count(*) from tide.runs") == before


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ["workflowName"]),
        ({"workflowName": "a b"}, ["workflowName"]),
        ({"workflowName": "résumé"}, ["workflowName"]),
        ({"workflowName": "w", "delayMs": -1}, ["delayMs"]),
        ({"workflowName": "w", "delayMs": "1"}, ["delayMs"]),
        ({"workflowName": "w", "delayMs": 10**30}, ["delayMs"]),
        ({"workflowName": "w", "runAt": "tomorrow"}, ["runAt"]),
        ({"workflowName": "w", "runAt": "2026-06-12T10:30:00"}, ["runAt"]),
        ({"workflowName": "w", "maxAttempts": 0}, ["maxAttempts"]),
        ({"workflowName": "w", "maxAttempts": 2**31}, ["maxAttempts"]),
        ({"workflowName": "w", "priority": 2**31}, ["priority"]),
        ({"workflowName": "w", "priority": 1.5}, ["priority"]),
        ({"workflowName": "w", "deadlineMs": 0}, ["deadlineMs"]),
        ({"workflowName": "w", "dedupeKey": ""}, ["dedupeKey"]),
        ({"workflowName": "w", "dedupeKey": "\0"}, ["dedupeKey"]),
        ({"workflowName": "w", "dedupeKey": "k" * 10_000}, ["dedupeKey"]),
    ],
)
def test_a_wrong_field_is_named(http: Http, body: dict[str, Any], path: list[str]) -> None:
    status, answer = http("POST", "/queues/q/enqueue", body)
    assert (status, answer["issues"][0]["path"]) == (400, path), answer


@pytest.mark.parametrize("name", ["a%20b", "%00", "%FF", "r%C3%A9sum%C3%A9", "a" * 129, "%2F"])
def test_a_name_the_schema_refuses_is_a_bad_request(http: Http, name: str) -> None:
    status, _ = http("POST", f"/runs/{name}", {})
    assert status == (404 if name == "%FF" else 400)


@pytest.mark.parametrize("name", ["a%2F", "%2F%2F", "a%0A", "%3A%0A%2F", "a%3Fb", "%2e%2e"])
def test_a_name_is_never_taken_for_a_path(http: Http, name: str) -> None:
    answer = http.answer("PUT", f"/schedules/{name}", {"cron": "* * * * *", "workflowName": "w"})
    assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/runs/a/b/c/d/e", 404),
        ("GET", "/w/x", 404),
        ("PUT", "/runs", 405),
        ("DELETE", "/health", 405),
        ("GET", "/queues/claim", 405),
        ("PURGE", "/runs", 405),
    ],
)
def test_an_unknown_path_is_not_found(http: Http, method: str, path: str, status: int) -> None:
    answer = http.answer(method, path)
    assert answer.status_code == status
    if status == 404:
        assert answer.json() == {"error": "not found"}
    else:
        assert answer.headers["allow"]


def test_a_worker_without_a_name_is_told_so(http: Http) -> None:
    status, body = http("POST", "/w//runs/flow", {})
    assert (status, body["error"]) == (
        400, "the worker has no name: send requests to /w/<name>/…",
    )  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/agents", "/resources/x", "/audit", f"/runs/run_{'0' * 32}/grants"]
)
def test_the_credential_broker_says_that_it_is_not_there(http: Http, path: str) -> None:
    status, body = http("GET", path)
    assert (status, body["code"]) == (503, "broker_disabled")


def test_head_answers_as_get_without_a_body(http: Http) -> None:
    answer = http.answer("HEAD", "/health")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(b'{"ok":true}'))


def test_a_request_has_an_id_in_and_out(http: Http) -> None:
    given = http.answer("GET", "/health", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    made = http.answer("GET", "/health", headers={"x-request-id": "no good"})
    assert len(made.headers["x-request-id"]) == 32


def test_problems_are_told_as_problem_json_on_request(http: Http) -> None:
    answer = http.answer("GET", "/runs/none", headers={"accept": "application/problem+json"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() | {"instance": ""} == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "run not found",
        "instance": "",
        "error": "run not found",
    }


def test_a_browser_may_ask_from_anywhere(http: Http) -> None:
    answer = http.answer("GET", "/health", headers={"origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    preflight = http.answer(
        "OPTIONS",
        "/runs/x",
        headers={
            "origin": "https://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, content-type",
        },
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == (
        "GET, HEAD, PUT, POST, DELETE, PATCH"
    )
    assert preflight.headers["access-control-allow-headers"] == "authorization, content-type"


def test_a_body_above_the_limit_is_refused(http: Http) -> None:
    status, body = http("POST", "/runs/big", {"input": "x" * (4 * 1024 * 1024)})
    assert (status, body["code"]) == (413, "body_too_large")


def test_a_payload_above_the_limit_of_the_schema_is_refused(http: Http) -> None:
    status, body = http("POST", "/runs/big", {"input": "x" * (1024 * 1024 + 1)})
    assert (status, body["code"]) == (413, "payload_too_large")


def test_chunks_without_a_length_are_limited_too(module_dsn: str) -> None:
    with serving(Settings(dsn=module_dsn, max_body=1000)) as served, client_of(served) as http:
        parts = iter([b'{"input": "', b"x" * 2000, b'"}'])
        answer = http.client.post("/runs/big", content=parts)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_that_does_not_come_is_given_up(module_dsn: str) -> None:
    with serving(Settings(dsn=module_dsn, body_timeout=0.1)) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as line:
            line.sendall(b"POST /runs/slow HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            assert line.recv(1000).startswith(b"HTTP/1.1 408")


def test_no_more_streams_than_a_key_may_have(module_dsn: str) -> None:
    with (
        serving(Settings(dsn=module_dsn, streams_per_key=1)) as served,
        client_of(served) as http,
    ):
        run_id = http.run()
        with http.client.stream("GET", f"/runs/{run_id}/events") as stream:
            lines = stream.iter_lines()  # held: dropped, it would end the stream
            next(lines)
            refused = http.answer("GET", f"/runs/{run_id}/events")
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
            assert refused.headers["retry-after"]


def test_more_requests_than_a_key_may_make_are_put_off(module_dsn: str) -> None:
    with (
        serving(Settings(dsn=module_dsn, rate_per_key=0.01)) as served,
        client_of(served) as http,
    ):
        answered, refused = (http.answer("GET", "/queues") for _ in range(2))
        assert answered.status_code == 200
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert int(refused.headers["retry-after"]) >= 1
        assert http.answer("GET", "/health").status_code == 200


def test_an_exhausted_pool_is_not_there_rather_than_broken(
    module_dsn: str, sql: Connection
) -> None:
    settings = Settings(dsn=module_dsn, pool_size=1, pool_timeout=0.1, patience=0.1)
    with serving(settings) as served, client_of(served) as http:
        wait_until(lambda: http("GET", "/queues")[0] == 200)  # its connection is made
        run_id = http.run()
        with sql.transaction():
            sql.execute(
                "select from tide.runs_active where run_id = %s for update",
                (run_id.removeprefix("run_"),),
            )

            def hold() -> None:
                while http("POST", f"/runs/{run_id}/begin")[0] == 503:
                    pass

            held = threading.Thread(target=hold)
            held.start()
            refused = None
            while refused is None or refused.status_code == 200:
                refused = http.answer("GET", "/queues")
        held.join()
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["code"] == "unavailable"


def test_the_document_of_all_routes_is_valid(http: Http) -> None:
    from openapi_spec_validator import validate

    document = http.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_health_needs_nothing_and_ready_needs_upkeep(http: Http, served: Served) -> None:
    assert http("GET", "/health") == (200, {"ok": True})
    status, body = http("GET", "/ready")
    assert (status, body["problems"]) == (503, ["upkeep has not run for a minute"])


def test_ready_once_upkeep_runs(module_dsn: str, sql: Connection) -> None:
    sql.execute("call tide.reconcile()")
    with serving(Settings(dsn=module_dsn)) as served, client_of(served) as http:
        assert http("GET", "/ready") == (200, {"ok": True, "problems": []})
    sql.execute("update tide.ticks set reconciled_at = null")


def test_metrics_are_text_for_prometheus(http: Http, sql: Connection) -> None:
    sql.execute(
        'select tide.set_lane(\'measured\', \'{"total": 3, "adaptive": true, "units": 7}\')'
    )
    breaker = '{"breaker_failures": 3, "breaker_classes": ["ProviderDown"]}'
    sql.execute("select tide.set_lane('guarded', %s::jsonb)", (breaker,))
    http.post("/queues/measured/enqueue", {"workflowName": "w"})
    sql.execute(
        "insert into tide.time_bins values ('measured', '', '-infinity', 'wait', 5, 3, 0.0065), "
        "('measured', 'fast', now(), 'wait', 150, 1, 12000)"
    )
    answer = http.answer("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'tide_queue_queued{queue="measured"} 1' in lines
    assert 'tide_lane_total{lane="measured"} 3' in lines
    assert 'tide_lane_adaptive_limit{lane="measured"} 3' in lines
    assert [line for line in lines if line.startswith("tide_lane_open")] == [
        'tide_lane_open{lane="guarded"} 0'
    ]
    assert "# TYPE tide_queue_wait_seconds histogram" in lines
    waits = [line for line in lines if line.startswith("tide_queue_wait_seconds")]
    assert 'tide_queue_wait_seconds_bucket{queue="measured",le="0.001"} 0' in waits
    assert 'tide_queue_wait_seconds_bucket{queue="measured",le="0.004"} 3' in waits
    assert 'tide_queue_wait_seconds_bucket{queue="measured",le="+Inf"} 4' in waits
    assert 'tide_queue_wait_seconds_sum{queue="measured"} 12000' in waits
    assert 'tide_queue_wait_seconds_count{queue="measured"} 4' in waits
    assert 'tide_lane_units{lane="measured"} 7' in lines
    assert 'tide_lane_used_units{lane="measured"} 0' in lines
    assert 'tide_lane_throttled{lane="measured"} 0' in lines


def test_the_installation_is_paused_and_goes_on(http: Http) -> None:
    assert http.post("/installation/pause", {"reason": "upgrade"}) == {"paused": True}
    http.post("/queues/still/enqueue", {"workflowName": "w"})
    assert http.post("/queues/claim", {"queues": ["still"]})["runs"] == []
    assert http.post("/installation/resume") == {"paused": False}
    assert len(http.post("/queues/claim", {"queues": ["still"]})["runs"]) == 1


async def test_it_is_mounted_into_another_application(module_dsn: str) -> None:
    door = app(module_dsn, reconcile=False, deliver=False, studio=False)
    outer = Starlette(routes=[Mount("/tide", door)])
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        made = await client.post("/tide/w/me/runs/team%2Freport", json={})
        shown = await client.get(f"/tide/runs/{made.json()['run']['id']}")
    await door.state.gateway.close()
    assert made.json()["run"]["workflowName"] == "team/report"
    assert shown.status_code == 200
