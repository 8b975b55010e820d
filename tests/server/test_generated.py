"""Requests made up from the OpenAPI document: no answer is a server error, no secret is in any."""

from __future__ import annotations

import os
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.server.conftest import Http, Served, client_of, serving
from tests.support import Connection
from tidebase_pg.server import Settings
from tidebase_pg.server.routes import table

REQUESTS = int(os.environ.get("TIDE_FUZZ_REQUESTS", "25"))
"""For each route; `make fuzz-http` asks for ten thousand."""

KEY = "shared-key-that-no-answer-may-hold"
SECRET = "webhook-secret-that-no-answer-may-hold"

ROUTES = [
    route
    for route in table().routes
    if route.name not in ("follow", "read_stream", "pause", "resume")
]
NUMBERS = [0, -1, 1, 1.5, 2**31, 2**63, -(2**63), 10**30, 1e308, 0.1]
WORDS = [
    "", "x", "default", "\0", "\ud800", "é", "a b", "../..", "%00", "' or 1=1 --", "{}", "null",
    "approved", "retry", "webhook", "https://app.example/h", "http://127.0.0.1/", "file:///etc/passwd",
    "2026-06-12T10:30:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "tomorrow",
    "* * * * *", "@daily", "x" * 5000, "run", "true", "l4AAAA", "step_cw", "NaN", "infinity",
]  # fmt: skip

text = st.one_of(st.sampled_from(WORDS), st.text(alphabet=string.printable, max_size=20))
number = st.one_of(st.sampled_from(NUMBERS), st.integers(), st.floats(allow_nan=False))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), number, text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
)


def fields(kind: Any) -> list[str]:
    from msgspec import structs

    return [field.encode_name for field in structs.fields(kind)]


def likely(schema: dict[str, Any], components: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A value the schema describes, now and then of another kind."""
    if "$ref" in schema:
        return likely(components[schema["$ref"].rpartition("/")[2]], components)
    if "anyOf" in schema:
        return st.one_of(*(likely(one, components) for one in schema["anyOf"]))
    if "enum" in schema:
        return st.one_of(st.sampled_from(schema["enum"]), text)
    match schema.get("type"):
        case "string":
            return text
        case "integer" | "number":
            return number
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(likely(schema.get("items", {}), components), max_size=3)
        case "object" if "properties" in schema:
            return body(schema, components)
        case _:
            return anything


def body(schema: dict[str, Any], components: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = schema["properties"]
    required = {name: likely(properties[name], components) for name in schema.get("required", ())}
    optional = {
        name: likely(one, components) for name, one in properties.items() if name not in required
    }
    whole = st.fixed_dictionaries(required, optional=optional)
    return st.one_of(whole, whole, whole, anything)


@pytest.fixture(scope="module")
def guarded(module_dsn: str) -> Iterator[Served]:
    with serving(Settings(dsn=module_dsn, api_key=KEY, pool_size=2)) as served:
        yield served


@pytest.fixture(scope="module")
def fuzzed(guarded: Served) -> Iterator[Http]:
    with client_of(guarded, headers={"authorization": f"Bearer {KEY}"}) as http:
        yield http


@pytest.fixture(scope="module")
def things(fuzzed: Http) -> dict[str, list[str]]:
    """What there is to be named in paths."""
    run_id, lease = fuzzed.begun(
        channels=[{"type": "webhook", "url": "https://app.example/h", "secret": SECRET}]
    )
    begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
    step = fuzzed.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
    gate = fuzzed.post(f"/runs/{run_id}/gates/begin", {"name": "g", "prompt": "?"})["gate"]["id"]
    fuzzed.put("/schedules/nightly", {"cron": "0 0 * * *", "workflowName": "w"})
    return {
        "id": [run_id, "run_" + "0" * 32],
        "step": [step],
        "gate": [gate],
        "workflow": ["w"],
        "queue": ["q"],
        "name": ["nightly"],
        "lease": [lease],
    }


def path_of(route: Any, things: dict[str, list[str]]) -> st.SearchStrategy[str]:
    parts = [
        st.one_of(st.sampled_from(things.get(part[1:-1], ["x"])), text)
        if part.startswith("{")
        else st.just(part)
        for part in route.segments
    ]
    return st.tuples(*parts).map(
        lambda chosen: "/" + "/".join(quote(one, safe="", errors="replace") for one in chosen)
    )


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_no_request_is_a_server_error_and_no_answer_holds_a_secret(
    route: Any, fuzzed: Http, things: dict[str, list[str]], sql: Connection
) -> None:
    document = fuzzed.get("/openapi.json")
    operation = document["paths"][route.path][route.method.lower()]
    components = document["components"]["schemas"]
    known = {int(status) for status in operation["responses"]}
    bodies: st.SearchStrategy[Any] = st.none()
    if route.body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        bodies = likely(schema, components)
    query = (
        st.just({})
        if route.query is None
        else st.dictionaries(st.sampled_from(fields(route.query)), text, max_size=3)
    )

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        database=None,
        derandomize=REQUESTS <= 200,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(path=path_of(route, things), body=bodies, query=query)
    def asked(path: str, body: Any, query: dict[str, str]) -> None:
        if isinstance(body, dict) and "leaseOwner" in body and body["leaseOwner"] == "l4AAAA":
            body["leaseOwner"] = things["lease"][0]
        content = encode(body)
        answer = fuzzed.client.request(
            route.method,
            path,
            params={name: printable(text) for name, text in query.items()},
            content=content,
        )
        assert answer.status_code < 500 or answer.status_code == 503, (path, content, answer.text)
        assert answer.status_code in known | {404, 405}, (path, content, answer.text)
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
        if answer.status_code == 400:
            said = answer.json()
            assert said["issues"][0]["message"] if "issues" in said else said["error"]
        for secret in (KEY, SECRET):
            assert secret not in answer.text

    asked()
    lease_ids = {
        row.lease_id
        for row in sql.execute("select r.lease_id from tide.runs as r where lease_id is not null")
    }
    shown = fuzzed.answer("GET", f"/runs/{things['id'][0]}").text
    assert not any(str(one) in shown or one.hex in shown for one in lease_ids)


def encode(body: Any) -> bytes | None:
    import json

    if body is None:
        return None
    return json.dumps(body).encode("utf-8", "surrogatepass")


def printable(given: str) -> str:
    return given.encode("utf-8", "replace").decode()
