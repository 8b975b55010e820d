"""Keys: the shared one, and named ones served by logins of their roles."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from tests.server.conftest import (
    KEY_ROLES,
    Http,
    Served,
    client_of,
    collect,
    fresh,
    listen,
    logins_of_roles,
    serving,
)
from tests.support import Connection, one, value
from tidebase_pg.server import Settings

SHARED = "a-shared-key-of-some-length"
UNAUTHORIZED = (401, {"error": "unauthorized"})


@pytest.fixture(scope="module")
def locked(module_dsn: str, sql: Connection) -> Iterator[Served]:
    """A gateway with a shared key, and a login for each role."""
    with logins_of_roles(sql, module_dsn) as dsns:
        settings = Settings(
            dsn=module_dsn, api_key=SHARED, role_dsns=dsns, key_memory=0.0, pool_size=2
        )
        with serving(settings) as served:
            yield served


@contextmanager
def holding(served: Served, token: str | None) -> Iterator[Http]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with client_of(served, headers=headers) as http:
        yield http


@pytest.fixture(scope="module")
def key(locked: Served) -> Iterator[Http]:
    with holding(locked, SHARED) as http:
        yield http


@pytest.fixture(scope="module")
def tokens(sql: Connection, locked: Served) -> dict[str, str]:
    """A named key of each role."""
    return {role: value(sql, "select tide.create_key(%s, %s)", role, role) for role in KEY_ROLES}


@pytest.fixture(scope="module")
def of(locked: Served, tokens: dict[str, str]) -> Iterator[dict[str, Http]]:
    with ExitStack() as opened:
        yield {role: opened.enter_context(holding(locked, token)) for role, token in tokens.items()}


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Bearer", "Bearer wrong", f"Basic {SHARED}", SHARED, "Bearer é",
        f"Bearer {SHARED}x", "Bearer tide_" + "0" * 64,
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "path",
    ["/runs", "/nothing", "/runs/x/events", "/openapi.json", "/%ff", "/runs?" + "a=1&" * 101],
)
def test_without_the_key_nothing_is_told(locked: Served, header: str | None, path: str) -> None:
    headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
    answer = httpx.get(locked.url + path, headers=headers)
    assert (answer.status_code, answer.json()) == UNAUTHORIZED
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_shared_key_opens_everything(locked: Served, scheme: str) -> None:
    answer = httpx.get(locked.url + "/runs", headers={"authorization": f"{scheme} {SHARED}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_need_no_key(locked: Served, path: str) -> None:
    assert httpx.get(locked.url + path).status_code in (200, 503)


def test_a_preflight_needs_no_key(locked: Served) -> None:
    assert httpx.options(locked.url + "/runs").status_code == 204


def test_a_wrong_key_is_refused_before_the_body_is_read(locked: Served) -> None:
    answer = httpx.post(locked.url + "/runs/w", content=b"{" * 100_000)
    assert (answer.status_code, answer.json()) == UNAUTHORIZED


def test_a_token_in_the_query_opens_event_streams_only(locked: Served, key: Http) -> None:
    run_id = key.run()
    with httpx.stream("GET", f"{locked.url}/runs/{run_id}/events?token={SHARED}") as stream:
        assert stream.status_code == 200
    for method, path in (("GET", f"/runs/{run_id}"), ("POST", f"/runs/{run_id}/events")):
        refused = httpx.request(method, f"{locked.url}{path}?token={SHARED}", json={"name": "e"})
        assert (refused.status_code, refused.json()) == UNAUTHORIZED
    both = httpx.get(
        f"{locked.url}/runs/{run_id}/events?token={SHARED}",
        headers={"authorization": "Bearer wrong"},
    )
    assert (both.status_code, both.json()) == UNAUTHORIZED


def test_keys_are_in_no_log_and_no_answer(
    locked: Served, tokens: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for token in (SHARED, tokens["viewer"], "tide_wrong-but-mine"):
            answer = httpx.get(
                f"{locked.url}/runs/run_{'0' * 32}/events?token={token}",
                headers={"accept": "application/problem+json"},
            )
            assert token not in answer.text
    said = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("http")
    )
    for token in (SHARED, *tokens.values()):
        assert token not in said


def test_lanes_are_set_by_operators_seen_by_viewers_and_throttled_by_workers(
    of: dict[str, Http],
) -> None:
    wanted = {
        ("PUT", "/lanes/shared", "total"): {"operator"},
        ("GET", "/lanes", ""): {"operator", "viewer"},
        ("GET", "/lanes/shared", ""): {"operator", "viewer"},
        ("POST", "/lanes/shared/throttle", "forMs"): {"operator", "worker"},
        ("POST", "/lanes/shared/lift", ""): {"operator", "worker"},
        ("DELETE", "/lanes/shared", ""): {"operator"},
    }
    for (method, path, field), roles in wanted.items():
        body = {field: 1} if field else None
        may = {role for role, http in of.items() if http(method, path, body)[0] != 403}
        assert may == roles, (method, path)


def test_a_client_queues_and_looks_but_does_no_work(of: dict[str, Http]) -> None:
    client = of["client"]
    made = client.post("/queues/roles/enqueue", {"workflowName": "w", "input": {"secret": 1}})
    run_id = made["run"]["id"]
    assert client.get(f"/runs/{run_id}")["run"]["input"] == {"secret": 1}
    assert client.get("/runs")["runs"]
    for method, path, body in (
        ("POST", "/queues/claim", {"queues": ["roles"]}),
        ("POST", f"/runs/{run_id}/complete", {"result": 1}),
        ("POST", f"/runs/{run_id}/retry", None),
        ("PUT", "/queues/roles/config", {"concurrency": 1}),
        ("POST", "/installation/pause", None),
        ("GET", "/deliveries", None),
    ):
        status, answer = client(method, path, body)
        assert (status, answer["code"]) == (403, "forbidden"), path


def test_a_worker_works_but_decides_nothing(of: dict[str, Http]) -> None:
    worker = of["worker"]
    of["client"].post("/queues/work/enqueue", {"workflowName": "w"})
    claimed = worker.post("/queues/claim", {"queues": ["work"]})
    run_id = claimed["runs"][0]["id"]
    assert claimed["runs"][0]["leaseOwner"] == "worker"
    begin = {"name": "s", "inputHash": "h", "leaseOwner": claimed["leaseOwner"]}
    assert worker.post(f"/runs/{run_id}/steps/begin", begin)["action"] == "execute"
    gate = worker.post(f"/runs/{run_id}/gates/begin", {"name": "g", "prompt": "?"})["gate"]
    assert gate["resolveToken"] is None
    assert worker.get(f"/runs/{run_id}/gates/{gate['id']}")["gate"]["resolveToken"] is None
    for method, path, body in (
        ("POST", "/queues/work/enqueue", {"workflowName": "w"}),
        ("POST", f"/runs/{run_id}/retry", None),
        ("PUT", f"/runs/{run_id}/budget", {}),
    ):
        status, answer = worker(method, path, body)
        assert (status, answer["code"]) == (403, "forbidden"), path
    assert worker.post(f"/runs/{run_id}/complete", {})["run"]["status"] == "completed"


WITH_CHANNELS = pytest.mark.parametrize(
    ("role", "path", "body"),
    [
        ("client", "/queues/inline/enqueue", {"workflowName": "w"}),
        ("client", "/runs/w", {}),
        ("worker", "/runs/{run}/gates/begin", {"name": "g", "prompt": "?"}),
        ("worker", "/runs/{run}/children", {"name": "c", "workflowName": "w"}),
    ],
)


def test_an_idempotency_key_belongs_to_the_key_that_sends_it(
    of: dict[str, Http], sql: Connection, locked: Served
) -> None:
    """Else who guesses it gets there first: the other is given a run that is not its own."""
    path, same = "/queues/idempotent/enqueue", {"idempotency-key": "report-of-june"}
    other = value(sql, "select tide.create_key('another-client', 'client')")
    with holding(locked, other) as another:
        made = [
            http.post(path, {"workflowName": "w"}, headers=same)["run"]["id"]
            for http in (of["client"], another, of["client"], another)
        ]
    assert made[:2] == made[2:]
    assert made[0] != made[1]


@WITH_CHANNELS
def test_a_channel_names_a_secret_that_its_role_was_granted(
    of: dict[str, Http], sql: Connection, role: str, path: str, body: dict[str, Any]
) -> None:
    of["client"].post("/queues/inline/enqueue", {"workflowName": "w"})
    run_id = of["worker"].post("/queues/claim", {"queues": ["inline"]})["runs"][0]["id"]
    path = path.replace("{run}", run_id)
    channel = {"type": "webhook", "url": f"https://app.example/{run_id}", "secretName": "granted"}
    count = "select count(*) from tide.channels where secret_name = 'granted' and url = %s"

    def post(**more: str) -> tuple[int, Any]:
        return of[role]("POST", path, {**body, "channels": [{**channel, **more}]})

    sql.execute("select tide.grant_secret('granted', roles => '{}', queues => '{elsewhere}')")
    told = []
    for name in ("granted", "unheard-of"):
        status, answer = post(secretName=name)
        assert (status, answer["code"]) == (403, "forbidden")
        told.append(answer["error"].replace(name, "<name>"))
    assert told[0] == told[1]
    status, answer = post(secret="long-enough-a-secret")
    assert (status, answer["issues"][0]["path"]) == (400, ["channels", 0, "secret"])
    assert value(sql, count, channel["url"]) == 0
    sql.execute("select tide.grant_secret('granted', roles => %s)", ([f"tide_{role}"],))
    assert post()[0] == 200
    assert value(sql, count, channel["url"]) == 1


@WITH_CHANNELS
def test_a_secret_beside_a_channel_is_taken_only_from_a_key_that_may_set_secrets(
    of: dict[str, Http], key: Http, sql: Connection, role: str, path: str, body: dict[str, Any]
) -> None:
    secret = f"a-secret-for-{path}"
    channel = {"type": "webhook", "url": "https://app.example/events"}
    signed = {**body, "channels": [{**channel, "secret": secret}]}
    of["client"].post("/queues/inline/enqueue", {"workflowName": "w"})
    run_id = of["worker"].post("/queues/claim", {"queues": ["inline"]})["runs"][0]["id"]
    path = path.replace("{run}", run_id)
    count = "select count(*) from tide.webhook_secrets"
    before = value(sql, count), value(sql, "select count(*) from tide.runs")
    status, answer = of[role]("POST", path, signed)
    assert (status, answer["code"]) == (403, "forbidden")
    assert secret not in str(answer)
    assert f"a key of role {role} sets no secrets: name one that an operator" in answer["error"]
    assert before == (value(sql, count), value(sql, "select count(*) from tide.runs"))
    assert of[role]("POST", path, {**body, "channels": [channel]})[0] in (200, 201)
    assert key("POST", "/runs/w", {"channels": signed["channels"]})[0] in (200, 201)
    assert value(sql, count) == before[0] + 1


def test_an_approver_decides_and_does_nothing_else(of: dict[str, Http]) -> None:
    worker, approver = of["worker"], of["approver"]
    of["client"].post("/queues/asked/enqueue", {"workflowName": "w"})
    run_id = worker.post("/queues/claim", {"queues": ["asked"]})["runs"][0]["id"]
    gate = worker.post(f"/runs/{run_id}/gates/begin", {"name": "g", "prompt": "?"})["gate"]
    token = approver.get(f"/runs/{run_id}/gates/{gate['id']}")["gate"]["resolveToken"]
    assert token
    status, _ = approver("POST", "/queues/asked/enqueue", {"workflowName": "w"})
    assert status == 403
    path = f"/runs/{run_id}/gates/{gate['id']}/resolve"
    decided = approver.post(path, {"token": token, "decision": "approved"})["gate"]
    assert (decided["status"], decided["actor"]) == ("approved", "approver")


def test_two_approver_keys_are_two_actors_though_they_share_a_login(
    of: dict[str, Http], locked: Served, sql: Connection
) -> None:
    of["client"].post("/queues/voted/enqueue", {"workflowName": "w"})
    run = one(sql, "select * from tide.claim('{voted}')")
    gate_id = value(
        sql,
        "select gate_id from tide.open_gate(%s, %s, 'pay', 'Pay?', rules => %s)",
        run.run_id,
        run.lease_id,
        '{"quorum": 2, "assignees": ["ann", "bob"], "not_requester": true}',
    )
    token = value(sql, "select token from tide.gate_tokens(array[%s])", gate_id)
    path = f"/runs/{run.run_id.hex}/gates/{gate_id.hex}/resolve"

    def resolve(name: str, **more: str) -> tuple[int, Any]:
        with holding(locked, keys[name]) as http:
            status, answer = http("POST", path, {"token": token, "decision": "approved", **more})
            return status, answer.get("gate", answer)

    keys = {
        n: value(sql, "select tide.create_key(%s, 'approver')", n) for n in ("ann", "bob", "eve")
    }
    for refused in (resolve("eve"), resolve("eve", actor="ann"), resolve("bob", actor="ann")):
        assert refused[0] == 403
    assert resolve("ann")[1]["status"] == "pending"
    assert resolve("ann")[1]["status"] == "pending", "a key votes once"
    status, made = resolve("bob")
    assert (status, made["status"], made["actor"]) == (200, "approved", "bob")
    votes = sql.execute(
        "select actor, login from tide.gate_votes where gate_id = %s order by 1", (gate_id,)
    ).fetchall()
    assert votes == [("ann", "key ann"), ("bob", "key bob")]


@pytest.mark.parametrize("made_by", ["enqueue", "create", "fork", "schedule", "fire", "spawn"])
def test_the_key_that_requested_does_not_decide_and_another_of_its_role_does(
    locked: Served, sql: Connection, made_by: str
) -> None:
    """Also with one login for all roles: no login says here who asked."""
    dsns = dict.fromkeys(KEY_ROLES, locked.settings.dsn)
    settings = Settings(dsn=locked.settings.dsn, api_key=SHARED, role_dsns=dsns, key_memory=0.0)
    names = {name: f"{name}-{made_by}" for name in ("app", "other")}
    keys = {
        name: value(sql, "select tide.create_key(%s, 'operator')", full)
        for name, full in names.items()
    }
    with serving(settings) as served, ExitStack() as opened:
        app, other = (opened.enter_context(holding(served, keys[name])) for name in keys)
        run_id = _requested(app, made_by, sql)
        bare = run_id.removeprefix("run_")
        assert value(sql, "select requested_by from tide.get_run(%s)", bare) == (
            f"key {names['app']}"
        )
        queue = value(sql, "select queue from tide.get_run(%s)", bare)
        if queue is None:
            run = one(sql, "select * from tide.begin_run(%s)", bare)
        else:
            run = one(sql, "select * from tide.claim(array[%s])", queue)
        gate_id = value(
            sql,
            "select gate_id from tide.open_gate(%s, %s, 'pay', 'Pay?', rules => %s)",
            run.run_id,
            run.lease_id,
            '{"not_requester": true}',
        )
        token = value(sql, "select token from tide.gate_tokens(array[%s])", gate_id)
        path = f"/runs/{run_id}/gates/{gate_id.hex}/resolve"
        body = {"token": token, "decision": "approved"}
        for http, more in (
            (app, {}),
            (app, {"actor": names["other"]}),
            (other, {"actor": names["app"]}),
        ):
            status, answer = http("POST", path, {**body, **more})
            assert (status, answer["code"]) == (403, "forbidden")
            assert "requested the run" in answer["error"]
        decided = other.post(path, body)["gate"]
        assert (decided["status"], decided["actor"]) == ("approved", names["other"])


def _requested(http: Http, made_by: str, sql: Connection) -> str:
    """A run that was not begun, requested by this key."""
    queue = f"requested-{made_by}"
    match made_by:
        case "enqueue":
            made = http.post(f"/queues/{queue}/enqueue", {"workflowName": "w"})
        case "create":
            made = http.post("/runs/w", {})
        case "fork":
            first = http.post("/runs/w", {})["run"]["id"]
            lease = {"leaseOwner": http.post(f"/runs/{first}/begin")["leaseOwner"]}
            step = {"name": "s", "inputHash": "h", **lease}
            begun = http.post(f"/runs/{first}/steps/begin", step)["step"]["id"]
            http.post(f"/runs/{first}/steps/{begun}/complete", {"output": 1, **lease})
            made = http.post(f"/runs/{first}/fork", {"atStep": "s"})
        case "schedule":
            schedule = {"cron": "0 0 1 1 *", "workflowName": "w", "queue": queue, "input": {}}
            http.put(f"/schedules/{queue}", schedule)
            sql.execute(
                "update tide.schedules set next_fire_at = tide._now() where schedule = %s", (queue,)
            )
            sql.execute("call tide.reconcile()")
            made = {"run": http.get(f"/runs?queue={queue}")["runs"][0]}
        case "fire":
            schedule = {"cron": "0 0 1 1 *", "workflowName": "w", "queue": queue, "input": {}}
            http.put(f"/schedules/{queue}", schedule)
            made = http.post(f"/schedules/{queue}/fire")
        case _:
            parent = http.post("/runs/w", {})["run"]["id"]
            http.post(f"/runs/{parent}/begin")
            made = http.post(f"/runs/{parent}/children", {"name": "c", "workflowName": "w"})
    found: str = made["run"]["id"] if "run" in made else made["child"]["id"]
    return found


def test_a_viewer_sees_no_payload(of: dict[str, Http]) -> None:
    secret = "what-nobody-may-see"
    client, worker, viewer = of["client"], of["worker"], of["viewer"]
    body = {"workflowName": "w", "input": secret, "metadata": {"m": secret}, "dedupeKey": secret}
    run_id = client.post("/queues/seen/enqueue", body)["run"]["id"]
    lease = worker.post("/queues/claim", {"queues": ["seen"]})["leaseOwner"]
    begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
    step = worker.post(f"/runs/{run_id}/steps/begin", begin)["step"]["id"]
    worker.post(f"/runs/{run_id}/steps/{step}/complete", {"leaseOwner": lease, "output": secret})
    worker.put(f"/runs/{run_id}/state", {"value": secret})
    worker.post(f"/runs/{run_id}/gates/begin", {"name": "g", "prompt": secret, "data": secret})
    worker.post(f"/runs/{run_id}/usage", {"metadata": {"m": secret}})
    worker.post(f"/runs/{run_id}/complete", {"result": secret})
    document = viewer.get("/openapi.json")
    seen = 0
    for path, methods in document["paths"].items():
        for method in methods:
            if method != "get":
                continue
            named = path.replace("{id}", run_id).replace("{gate}", "x")
            query = {"until": "end"} if path.endswith("/events") else {}
            answer = viewer.answer("GET", named, params=query)
            assert answer.status_code in (200, 403, 404, 503), (path, answer.text)
            assert secret not in answer.text, path
            seen += answer.status_code == 200
    assert seen >= 5
    shown = viewer.get(f"/runs/{run_id}")
    assert (shown["run"]["status"], shown["run"]["input"]) == ("completed", None)
    assert [one["name"] for one in shown["steps"]] == ["s"]
    listed = {run["id"]: run for run in viewer.get("/runs?queue=seen")["runs"]}
    assert (listed[run_id]["result"], listed[run_id]["metadata"]) == (None, None)
    status, _ = viewer("POST", "/queues/seen/enqueue", {"workflowName": "w"})
    assert status == 403


def test_a_viewer_follows_what_happens_and_sees_no_payload(of: dict[str, Http]) -> None:
    secret = "what-nobody-may-see"
    body = {"workflowName": "w", "input": secret, "metadata": {"m": secret}}
    run_id = of["client"].post("/queues/followed/enqueue", body)["run"]["id"]
    stream = listen(of["viewer"], run_id, until="end")
    told = [next(stream)]
    of["worker"].post("/queues/claim", {"queues": ["followed"]})
    of["worker"].put(f"/runs/{run_id}/state", {"value": secret})
    of["worker"].post(f"/runs/{run_id}/complete", {"result": secret})
    told += stream
    logged = of["client"].get(f"/runs/{run_id}")["events"]
    assert [(one["seq"], one["type"], one["createdAt"]) for one in told] == [
        (one["seq"], one["type"], one["createdAt"]) for one in logged
    ]
    assert [one["payload"] for one in told] == [{}] * 4
    assert secret not in str(told)
    assert of["viewer"]("GET", f"/runs/run_{'0' * 32}/events")[0] == 404


def test_a_worker_follows_a_run_too(of: dict[str, Http]) -> None:
    run_id = of["client"].post("/runs/w", {"input": 5})["run"]["id"]
    (first, *_) = collect(of["worker"], run_id, "run.created")
    assert first["payload"]["input"] == 5


def test_an_approver_follows_no_run(of: dict[str, Http]) -> None:
    run_id = of["client"].post("/runs/w", {"input": 5})["run"]["id"]
    assert of["approver"]("GET", f"/runs/{run_id}/events")[0] == 403


def test_a_revoked_key_opens_nothing(locked: Served, sql: Connection) -> None:
    token = value(sql, "select tide.create_key('short', 'viewer')")
    with holding(locked, token) as http:
        assert http("GET", "/queues")[0] == 200
        sql.execute("select tide.revoke_key('short')")
        assert http("GET", "/queues") == UNAUTHORIZED


def test_a_named_key_opens_nothing_without_logins_of_roles(
    module_dsn: str, tokens: dict[str, str]
) -> None:
    with (
        serving(Settings(dsn=module_dsn, api_key=SHARED)) as served,
        holding(served, tokens["operator"]) as http,
    ):
        assert http("GET", "/runs") == UNAUTHORIZED


def test_a_role_without_a_login_is_not_served(module_dsn: str, tokens: dict[str, str]) -> None:
    settings = Settings(dsn=module_dsn, role_dsns={"client": module_dsn})
    with serving(settings) as served, holding(served, tokens["operator"]) as http:
        status, body = http("GET", "/runs")
        assert (status, body["code"]) == (503, "no_login")


def test_a_restricted_queue_is_closed_to_other_keys(of: dict[str, Http], sql: Connection) -> None:
    made = of["client"].post("/queues/closed/enqueue", {"workflowName": "w"})["run"]["id"]
    sql.execute("select tide.grant_queue('closed', 'tide_operator')")
    status, body = of["client"]("POST", "/queues/closed/enqueue", {"workflowName": "w"})
    assert (status, body["code"]) == (403, "forbidden")
    status, _ = of["client"]("GET", f"/runs/{made}")
    assert status in (403, 404)
    sql.execute("select tide.revoke_queue('closed', 'tide_operator')")


def test_a_child_in_a_restricted_queue_is_left_out_for_others(
    of: dict[str, Http], key: Http, sql: Connection
) -> None:
    run_id, _ = key.begun()
    key.post(f"/runs/{run_id}/children", {"name": "open", "workflowName": "w"})
    sql.execute(
        "select tide.spawn(%s, r.lease_id, 'closed', 'w', queue => 'cellar') "
        "from tide.runs_active as r where r.run_id = %s",
        (run_id.removeprefix("run_"),) * 2,
    )
    sql.execute("select tide.grant_queue('cellar', 'tide_operator')")
    shown = of["client"].get(f"/runs/{run_id}")
    assert [run["queue"] for run in shown["childRuns"]] == [None]
    assert len(of["operator"].get(f"/runs/{run_id}")["childRuns"]) == 2
    sql.execute("select tide.revoke_queue('cellar', 'tide_operator')")


def test_no_answer_holds_a_lease_id_but_those_to_begin_and_claim(
    key: Http, sql: Connection
) -> None:
    key.post("/queues/leased/enqueue", {"workflowName": "w"})
    run_id = key.post("/queues/claim", {"queues": ["leased"]})["runs"][0]["id"]
    lease_id = value(
        sql,
        "select r.lease_id from tide.runs_active as r where r.run_id = %s",
        run_id.removeprefix("run_"),
    )
    answers = [
        key.answer("GET", f"/runs/{run_id}"),
        key.answer("GET", "/runs"),
        key.answer("POST", f"/runs/{run_id}/heartbeat", {"leaseOwner": "x"}),
        key.answer("POST", f"/runs/{run_id}/begin"),
        key.answer("PUT", f"/runs/{run_id}/state", {"value": 1}),
        key.answer("GET", f"/runs/{run_id}/wait"),
        key.answer("POST", f"/runs/{run_id}/complete", {}),
    ]
    for answer in answers:
        for shape in (str(lease_id), lease_id.hex):
            assert shape not in answer.text


@pytest.mark.parametrize("late", ["complete", "fail"])
def test_with_a_key_of_its_own_a_worker_that_lost_its_run_changes_nothing(
    locked: Served, key: Http, sql: Connection, late: str
) -> None:
    """And its successor is never refused what is its own, a failure that nothing proves either."""
    queue, names = fresh("keyed"), (fresh("first"), fresh("second"))
    run_id = key.post(f"/queues/{queue}/enqueue", {"workflowName": "w", "maxAttempts": 5})["run"][
        "id"
    ]
    with ExitStack() as opened:
        first, second = (
            opened.enter_context(
                holding(locked, value(sql, "select tide.create_key(%s, 'worker')", name))
            )
            for name in names
        )
        first.post("/queues/claim", {"queues": [queue]})
        sql.execute(
            "update tide.runs_active set leased_until = now() - interval '1 hour' "
            "where run_id = %s",
            (run_id.removeprefix("run_"),),
        )
        sql.execute("call tide.reconcile()")
        (run,) = second.post("/queues/claim", {"queues": [queue]})["runs"]
        assert (run["id"], run["leaseOwner"]) == (run_id, names[1])
        body = {"result": 1} if late == "complete" else {"error": {"message": "no"}}
        status, answer = first("POST", f"/runs/{run_id}/{late}", body)
        assert (status, answer["code"]) == (409, "lease_lost")
        assert key.get(f"/runs/{run_id}")["run"]["status"] == "running"
        ended = second.post(f"/runs/{run_id}/{late}", body)["run"]
        assert ended["status"] == ("completed" if late == "complete" else "queued")


def lose(sql: Connection, run_id: str) -> None:
    """Take a run from its worker, as a lease that ended does."""
    sql.execute(
        "update tide.runs_active set leased_until = now() - interval '1 minute' where run_id = %s",
        (run_id.removeprefix("run_"),),
    )
    sql.execute("call tide.reconcile()")
    sql.execute(
        "update tide.runs_active set run_at = now(), ready = true where run_id = %s",
        (run_id.removeprefix("run_"),),
    )


@pytest.mark.parametrize(("shared", "status"), [(False, 200), (True, 409)])
def test_a_run_taken_up_again_under_the_same_key_is_judged_only_if_others_share_it(
    locked: Served, key: Http, sql: Connection, shared: bool, status: int
) -> None:
    queue = fresh("again")
    body = {"workflowName": "w", "maxAttempts": 5}
    run_id = key.post(f"/queues/{queue}/enqueue", body)["run"]["id"]
    token = value(sql, "select tide.create_key(%s, 'worker', shared => %s)", fresh("k"), shared)
    with holding(locked, token) as worker:
        worker.post("/queues/claim", {"queues": [queue]})
        lose(sql, run_id)
        (run,) = worker.post("/queues/claim", {"queues": [queue]})["runs"]
        assert run["id"] == run_id
        failed = worker("POST", f"/runs/{run_id}/fail", {"error": {"message": "no"}})
        assert failed[0] == status
        shown = key.get(f"/runs/{run_id}")["run"]
        if shared:
            assert failed[1]["code"] == "lease_unproven"
            assert (shown["status"], shown["attempt"]) == ("running", 2)
        else:
            assert (shown["status"], shown["attempt"]) == ("queued", 2)
