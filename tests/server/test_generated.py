"""Requests made up from the OpenAPI document, by keys of all roles: no answer is a server error,
and none holds a secret, a lease or what a role may not see."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.server.conftest import (
    KEY_ROLES,
    Http,
    Served,
    client_of,
    logins_of_roles,
    serving,
)
from tests.support import Connection, value
from tidebase_pg.server import Settings
from tidebase_pg.server.routes import table

REQUESTS = int(os.environ.get("TIDE_FUZZ_REQUESTS", "200"))
"""For each route; `make fuzz-http` asks for ten thousand."""

KEY = "shared-key-that-no-answer-may-hold"
SECRET = "webhook-secret-that-no-answer-may-hold"
CARRIED = "what-a-run-carries"
ASKED = "what-a-gate-asks"
RENEWED = 40
"""After so many requests about a run there is another one to ask about: most end it."""
PROOFS = {"leaseOwner": "@lease", "token": "@token"}
"""Fields that only a holder can fill, and what stands for that in what is made up."""
LEASING = ("begin_run", "claim", "begin_step")
"""Routes whose answers hold the lease of who asked."""
DECIDING = ("shared", "operator", "approver")

# Who pauses the installation stops what the others are asked about.
ROUTES = sorted(table().routes, key=lambda route: route.name in ("pause", "resume"))
HEADERS = ["accept", "idempotency-key", "if-none-match", "last-event-id", "x-tidebase-worker"]
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
    values = {
        name: st.one_of(st.just(PROOFS[name]), text) if name in PROOFS else likely(one, components)
        for name, one in properties.items()
    }
    required = {name: values[name] for name in schema.get("required", ())}
    optional = {name: one for name, one in values.items() if name not in required}
    whole = st.fixed_dictionaries(required, optional=optional)
    return st.one_of(whole, whole, whole, anything)


@pytest.fixture(scope="module")
def guarded(module_dsn: str, sql: Connection) -> Iterator[Served]:
    with logins_of_roles(sql, module_dsn) as dsns:
        settings = Settings(
            dsn=module_dsn, api_key=KEY, role_dsns=dsns, pool_size=2, keep_alive=0.05
        )
        with serving(settings) as served:
            yield served


@pytest.fixture(scope="module")
def tokens(sql: Connection, guarded: Served) -> dict[str, str]:
    """The shared key, and one of each role."""
    made = {role: value(sql, "select tide.create_key(%s, %s)", role, role) for role in KEY_ROLES}
    return {"shared": KEY, **made}


@pytest.fixture(scope="module")
def fuzzed(guarded: Served) -> Iterator[Http]:
    with client_of(guarded, headers={"authorization": f"Bearer {KEY}"}) as http:
        yield http


def things(fuzzed: Http) -> dict[str, str]:
    """What there is to be named in paths: a run under way, and all that belongs to it."""
    run_id, lease = fuzzed.begun(
        channels=[{"type": "webhook", "url": "https://app.example/h", "secret": SECRET}],
        input=CARRIED,
        metadata={"m": CARRIED},
    )
    begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
    step = fuzzed.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
    begin["name"] = "done"
    done = fuzzed.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
    report = {"leaseOwner": lease, "output": CARRIED}
    fuzzed.post(f"/runs/{run_id}/steps/{done}/complete", report)
    fuzzed.put(f"/runs/{run_id}/state", {"value": CARRIED, "label": CARRIED})
    fuzzed.post(f"/runs/{run_id}/usage", {"label": CARRIED, "metadata": {"m": CARRIED}})
    fuzzed.post(f"/runs/{run_id}/events", {"name": "n", "payload": CARRIED})
    asked = {"name": "g", "prompt": ASKED, "data": {"d": ASKED}}
    gate = fuzzed.post(f"/runs/{run_id}/gates/begin", asked)["gate"]
    child = {"name": "c", "workflowName": "w", "input": CARRIED}
    fuzzed.post(f"/runs/{run_id}/children", child)
    daily = {"cron": "0 0 * * *", "workflowName": "w", "input": CARRIED}
    fuzzed.put("/schedules/nightly", daily)
    fuzzed.put("/lanes/shared", {"total": 3})
    queued = {"workflowName": "w", "input": CARRIED, "dedupeKey": CARRIED}
    fuzzed.post("/queues/q/enqueue", queued)
    return {
        "id": run_id,
        "step": step,
        "gate": gate["id"],
        "workflow": "w",
        "queue": "q",
        "name": "nightly",
        "lane": "shared",
        "lease": lease,
        "token": gate["resolveToken"],
    }


def path_of(route: Any) -> st.SearchStrategy[list[str]]:
    """The segments of a path; those in braces are what there is of the kind."""
    parts = [
        st.one_of(st.just(part), st.just(part), st.just("run_" + "0" * 32), text)
        if part.startswith("{")
        else st.just(part)
        for part in route.segments
    ]
    return st.tuples(*parts).map(list)


def named(segments: list[str], known: dict[str, str]) -> str:
    given = [known.get(one[1:-1], "x") if one.startswith("{") else one for one in segments]
    return "/" + "/".join(quote(one, safe="", errors="replace") for one in given)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_no_request_is_a_server_error_and_no_answer_holds_what_it_may_not(
    route: Any,
    fuzzed: Http,
    tokens: dict[str, str],
    sql: Connection,
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
    known_things = things(fuzzed)
    done: list[str] = []

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        database=None,
        derandomize=REQUESTS <= 200,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        sender=st.sampled_from(["shared", "shared", *tokens]),
        prefix=st.sampled_from(["", "", "/w/w1"]),
        segments=path_of(route),
        body=bodies,
        query=query,
        headers=st.dictionaries(st.sampled_from(HEADERS), text, max_size=1),
    )
    def ask(
        sender: str,
        prefix: str,
        segments: list[str],
        body: Any,
        query: dict[str, str],
        headers: dict[str, str],
    ) -> None:
        if len(done) % RENEWED == RENEWED - 1:
            known_things.update(things(fuzzed))
        path, lease = named(segments, known_things), known_things["lease"]
        if isinstance(body, dict):
            proofs = {"@lease": lease, "@token": known_things["token"]}
            body = {
                name: proofs.get(one, one) if isinstance(one, str) else one
                for name, one in body.items()
            }
        content = encode(body)
        given = {name: header(text) for name, text in headers.items()}
        given["authorization"] = f"Bearer {tokens[sender]}".encode()
        with fuzzed.client.stream(
            route.method,
            prefix + path,
            params={name: printable(text) for name, text in query.items()},
            content=content,
            headers=given,
        ) as answer:
            status, shown = answer.status_code, said_by(answer)
        request = (sender, route.method, prefix + path, query, headers, content, shown[:2000])
        assert status < 500 or status == 503, request
        assert status in known | {404, 405}, request
        if status == 503:
            assert answer.headers["retry-after"], request
        if status == 400:
            told = json.loads(shown)
            assert told["issues"][0]["message"] if "issues" in told else told["error"], request
        for secret in (SECRET, *tokens.values()):
            assert secret not in shown, request
        if route.name not in LEASING and lease.encode() not in (content or b""):
            assert lease not in shown, request
        if sender == "viewer":
            assert CARRIED not in shown, request
            assert ASKED not in shown, request
        if sender == "approver":
            assert CARRIED not in shown, request
        if sender not in DECIDING:
            assert '"resolveToken":"' not in shown, request
        done.append(sender)

    try:
        ask()
    finally:
        if route.name == "pause":
            sql.execute("select tide.resume()")
    assert len(done) >= min(REQUESTS, 50)
    lease_ids = {
        row.lease_id
        for row in sql.execute("select r.lease_id from tide.runs as r where lease_id is not null")
    }
    shown = fuzzed.answer("GET", f"/runs/{known_things['id']}").text
    assert not any(str(one) in shown or one.hex in shown for one in lease_ids)


def said_by(answer: httpx.Response) -> str:
    """The answer; of an endless stream, what comes first."""
    if "event-stream" not in answer.headers.get("content-type", ""):
        return answer.read().decode()
    found = b""
    for chunk in answer.iter_raw():
        found += chunk
        if b"keep-alive" in found or len(found) > 10_000:
            break
    return found.decode()


def encode(body: Any) -> bytes | None:
    if body is None:
        return None
    return json.dumps(body).encode("utf-8", "surrogatepass")


def printable(given: str) -> str:
    return given.encode("utf-8", "replace").decode()


def header(given: str) -> bytes:
    """Bytes that may stand in a header."""
    return "".join(one for one in given if one >= " ").encode("latin-1", "replace").strip()
