"""Lanes over HTTP: set, listed, throttled and dropped, each by whom SQL lets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.server.conftest import Http, fresh

SETTINGS: dict[str, Any] = {
    "total": 3,
    "perKey": 1,
    "adaptive": True,
    "adaptiveMin": 2,
    "fair": True,
    "weights": {"acme": 3},
    "units": 1000,
    "unitsPerKey": 100,
    "periodMs": 30_000,
    "unit": "tokens",
    "breakerFailures": 5,
    "breakerClasses": ["TimeoutError"],
    "breakerDelayMs": 1500,
    "breakerMaxDelayMs": 60_000,
}


def test_a_lane_is_set_listed_and_dropped(http: Http) -> None:
    name = fresh("lane")
    made = http.put(f"/lanes/{name}", SETTINGS)["lane"]
    assert {key: made[key] for key in SETTINGS} == SETTINGS
    assert (made["name"], made["running"], made["waiting"], made["keys"]) == (name, 0, 0, [])
    assert (made["used"], made["countedTo"], made["adaptiveLimit"]) == (0, 10001, 3)
    assert made in http.get("/lanes")["lanes"]
    changed = http.put(f"/lanes/{name}", {"total": 7, "perKey": None, "weights": None})["lane"]
    assert (changed["total"], changed["perKey"], changed["weights"]) == (7, None, None)
    assert changed["unitsPerKey"] == 100
    assert http.get(f"/lanes/{name}")["lane"] == changed
    assert http("DELETE", f"/lanes/{name}")[1] == {"deleted": name}
    for method in ("DELETE", "GET"):
        status, answer = http(method, f"/lanes/{name}")
        assert (status, answer["error"]) == (404, "lane not found")


def test_a_lane_shows_who_runs_and_who_waits(http: Http) -> None:
    name, queue = fresh("lane"), fresh("q")
    http.put(f"/lanes/{name}", {"total": 1})
    for key in ("acme", "acme", "bolt"):
        body = {"workflowName": "w", "lane": name, "laneKey": key}
        http.post(f"/queues/{queue}/enqueue", body)
    http.post("/queues/claim", {"queues": [queue], "limit": 9})
    lane = http.get(f"/lanes/{name}")["lane"]
    assert (lane["running"], lane["waiting"]) == (1, 2)
    assert lane["keys"] == [
        {"laneKey": "acme", "running": 1, "waiting": 1, "used": None},
        {"laneKey": "bolt", "running": 0, "waiting": 1, "used": None},
    ]


def test_a_lane_is_throttled_until_a_time_or_for_a_while_and_lifted(http: Http) -> None:
    name = fresh("lane")
    http.put(f"/lanes/{name}", {})
    path = f"/lanes/{name}/throttle"
    until = (datetime.now(UTC) + timedelta(days=9)).replace(microsecond=0)
    given = {"until": until.isoformat(), "forMs": 1, "reason": "status 429"}
    shown = http.post(path, given)
    assert (shown["lane"], shown["throttleReason"]) == (name, "status 429")
    assert datetime.fromisoformat(shown["throttledUntil"]) == until
    assert datetime.fromisoformat(http.post(path, {"forMs": 60_000})["throttledUntil"]) < until
    lifted = {"lane": name, "throttledUntil": None, "throttleReason": None}
    assert http.post(f"/lanes/{name}/lift") == lifted
    assert http.get(f"/lanes/{name}")["lane"]["throttledUntil"] is None
    for end in ("throttle", "lift"):
        status, _ = http("POST", f"/lanes/{fresh('lane')}/{end}", {"forMs": 1})
        assert status == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", {"total": 0}),
        ("PUT", "", {"total": 1.5}),
        ("PUT", "", {"units": 10**400}),
        ("PUT", "", {"units": -1}),
        ("PUT", "", {"weights": {"acme": 0}}),
        ("PUT", "", {"weights": {"acme": 101}}),
        ("PUT", "", {"weights": [1]}),
        ("PUT", "", {"periodMs": -1}),
        ("PUT", "", {"adaptive": True}),
        ("PUT", "", {"breakerFailures": 3}),
        ("PUT", "", {"unit": ""}),
        ("POST", "/throttle", {}),
        ("POST", "/throttle", {"until": "soon"}),
        ("POST", "/throttle", {"until": "2099-06-12T10:30:00"}),
        ("POST", "/throttle", {"until": "9999-06-12T10:30:00Z"}),
        ("POST", "/throttle", {"forMs": -1}),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    http: Http, method: str, path: str, body: Any
) -> None:
    name = fresh("lane")
    before = http.put(f"/lanes/{name}", {"per_key": 2})["lane"]
    status, answer = http(method, f"/lanes/{name}{path}", body)
    assert (status, "error" in answer) == (400, True)
    assert http.get(f"/lanes/{name}")["lane"] == before


def test_a_name_that_is_none_makes_no_lane(http: Http) -> None:
    status, _ = http("PUT", f"/lanes/{uuid4().hex * 5}", {"total": 1})
    assert status == 400
