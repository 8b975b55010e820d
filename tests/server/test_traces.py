"""The trace of a request is kept with what the request makes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Http, fresh
from tests.support import Connection

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01"
STATE = "congo=t61rcWkgMzE"
TRACED = {"traceparent": PARENT, "tracestate": STATE}
ENQUEUE = {"workflowName": "w", "metadata": {"m": 1}}


def made(http: Http, path: str, body: Any, headers: dict[str, str]) -> Any:
    return http.post(path, body, headers=headers)["run"]["metadata"]


def test_runs_have_the_trace_of_the_request_that_made_them(http: Http) -> None:
    expected = {"trace": TRACED, "m": 1}
    assert made(http, f"/runs/{fresh('w')}", {"metadata": {"m": 1}}, TRACED) == expected
    assert made(http, f"/queues/{fresh('q')}/enqueue", ENQUEUE, TRACED) == expected
    assert made(http, f"/runs/{fresh('w')}", {}, TRACED) == {"trace": TRACED}
    assert made(http, f"/runs/{fresh('w')}", {}, {"traceparent": PARENT}) == {
        "trace": {"traceparent": PARENT}
    }


def test_metadata_that_have_a_trace_keep_it(http: Http) -> None:
    given = {"trace": {"traceparent": OTHER}}
    assert made(http, f"/runs/{fresh('w')}", {"metadata": given}, TRACED) == given


def test_children_have_the_trace_of_the_request_that_made_them(http: Http) -> None:
    parent, _ = http.begun()
    body = {"name": "part", "workflowName": "w"}
    answer = http.post(f"/runs/{parent}/children", body, headers=TRACED)
    assert answer["run"]["metadata"]["trace"] == TRACED
    assert answer["run"]["metadata"]["parentRunId"] == parent


def test_a_schedule_has_the_trace_of_its_latest_declaration(http: Http, sql: Connection) -> None:
    name = fresh("daily")
    body = {"cron": "0 0 * * *", "workflowName": "w", "queue": "default"}

    def metadata() -> Any:
        return sql.execute(
            "select s.metadata from tide.schedules as s where s.schedule = %s", (name,)
        ).fetchone()[0]  # type: ignore[index]

    http.put(f"/schedules/{name}", body)
    assert metadata() == {}
    for parent in (PARENT, OTHER):
        http.put(f"/schedules/{name}", body, headers={"traceparent": parent})
        assert metadata() == {"trace": {"traceparent": parent}}
    http.put(f"/schedules/{name}", body)
    assert metadata() == {"trace": {"traceparent": OTHER}}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"tracestate": STATE},
        {"traceparent": PARENT.upper()},
        {"traceparent": PARENT + "-00"},
        {"traceparent": "00-0-0-01"},
    ],
)
def test_a_header_of_another_form_counts_as_none(http: Http, headers: dict[str, str]) -> None:
    assert made(http, f"/runs/{fresh('w')}", {}, headers) == {}
    assert made(http, f"/queues/{fresh('q')}/enqueue", ENQUEUE, headers) == {"m": 1}


def test_a_state_of_another_form_is_left_out(http: Http) -> None:
    headers = {"traceparent": PARENT, "tracestate": "a" * 513}
    assert made(http, f"/runs/{fresh('w')}", {}, headers) == {"trace": {"traceparent": PARENT}}


def test_the_same_request_again_in_another_trace_is_the_same_run(http: Http) -> None:
    path, key = f"/queues/{fresh('q')}/enqueue", {"idempotency-key": fresh("key")}
    first = http.post(path, ENQUEUE, headers={**key, "traceparent": PARENT})["run"]
    again = http.post(path, ENQUEUE, headers={**key, "traceparent": OTHER})["run"]
    assert again["id"] == first["id"]
    assert again["metadata"]["trace"] == {"traceparent": PARENT}
