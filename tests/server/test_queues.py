"""Queues, children and schedules over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.server.conftest import Http, client_of, fresh, serving
from tests.support import Connection, at_once, results, value
from tidebase_pg.server import Settings
from tidebase_pg.server.gateway import Signs


def enqueue(http: Http, queue: str, **body: Any) -> Any:
    return http.post(f"/queues/{queue}/enqueue", {"workflowName": "w", **body})


def claim(http: Http, queue: str, **body: Any) -> Any:
    return http.post("/queues/claim", {"queues": [queue], **body})


def test_a_run_is_queued_claimed_and_completed(http: Http) -> None:
    queue = fresh("q")
    made = enqueue(http, queue, input={"n": 1}, priority=3, metadata={"m": 1})
    assert made["deduplicated"] is False
    run = made["run"]
    assert (run["status"], run["queue"], run["priority"]) == ("queued", queue, 3)
    claimed = claim(http, queue, leaseOwner="w7")
    assert [one["id"] for one in claimed["runs"]] == [run["id"]]
    assert claimed["runs"][0]["leaseOwner"] == "w7"
    assert claimed["leaseOwner"] not in str(claimed["runs"])
    assert claim(http, queue)["runs"] == []
    done = http.post(f"/runs/{run['id']}/complete", {"result": 5})["run"]
    assert (done["status"], done["result"], done["leaseOwner"]) == ("completed", 5, None)


def test_one_dedupe_key_is_one_active_run(http: Http) -> None:
    queue = fresh("q")
    found = results(at_once([lambda: enqueue(http, queue, dedupeKey="k") for _ in range(6)]))
    assert len({one["run"]["id"] for one in found}) == 1
    assert sorted(one["deduplicated"] for one in found) == [False] + [True] * 5
    run_id = claim(http, queue)["runs"][0]["id"]
    again = enqueue(http, queue, dedupeKey="k", input={"other": 1})
    assert (again["deduplicated"], again["run"]["id"]) == (True, run_id)
    assert (again["run"]["status"], again["run"]["input"]) == ("running", {})
    http.post(f"/runs/{run_id}/complete", {})
    new = enqueue(http, queue, dedupeKey="k", dedupeForMs=60_000)
    assert new["deduplicated"] is False
    http.post(f"/runs/{new['run']['id']}/cancel", {})
    held = enqueue(http, queue, dedupeKey="k")
    assert (held["deduplicated"], held["run"]["id"]) == (True, new["run"]["id"])
    assert held["run"]["status"] == "cancelled"
    body = {"workflowName": "w", "dedupeForMs": 1}
    status, answer = http("POST", f"/queues/{queue}/enqueue", body)
    assert (status, "dedupe_for is given without dedupe_key" in str(answer)) == (400, True)


def test_a_queued_run_keeps_where_it_is_resumed(http: Http, sql: Connection) -> None:
    url, queue = "https://example.com/resume", fresh("q")
    made = enqueue(http, queue, recoveryWebhook=url)["run"]
    stored = "select r.recovery_url from tide.runs as r where r.run_id = %s"
    assert value(sql, stored, made["id"].removeprefix("run_")) == url
    listed = http.get("/runs", params={"queue": queue})["runs"]
    claimed = claim(http, queue)["runs"]
    shown = [made, *listed, *claimed, http.get(f"/runs/{made['id']}")["run"]]
    assert [run["recoveryWebhook"] for run in shown] == [url] * 4


def test_an_idempotency_key_queues_one_run(http: Http) -> None:
    queue, key = fresh("q"), {"idempotency-key": fresh("key")}
    body = {"workflowName": "w", "input": 1}
    first = http.post(f"/queues/{queue}/enqueue", body, headers=key)["run"]["id"]
    assert http.post(f"/queues/{queue}/enqueue", body, headers=key)["run"]["id"] == first


def test_run_at_beats_delay_and_takes_offsets(http: Http) -> None:
    queue = fresh("q")
    body = {"delayMs": 5, "runAt": "2031-06-12T12:30:00+02:00"}
    assert enqueue(http, queue, **body)["run"]["runAt"] == "2031-06-12T10:30:00.000Z"
    enqueue(http, queue, delayMs=3_600_000)
    assert claim(http, queue)["runs"] == []


def test_runs_are_claimed_disjoint(http: Http) -> None:
    queue = fresh("q")
    made = {enqueue(http, queue)["run"]["id"] for _ in range(6)}
    found = results(at_once([lambda: claim(http, queue, limit=3) for _ in range(2)]))
    claimed = [run["id"] for answer in found for run in answer["runs"]]
    assert len(claimed) == 6
    assert set(claimed) == made


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ["queues"]),
        ({"queues": []}, ["queues"]),
        ({"queues": "q"}, ["queues"]),
        ({"queues": ["a b"]}, ["queues", 0]),
        ({"queues": ["q"], "limit": 0}, ["limit"]),
        ({"queues": ["q"], "limit": 101}, ["limit"]),
        ({"queues": ["q"], "leaseOwner": "\0"}, ["worker"]),
    ],
)
def test_a_wrong_claim_is_a_bad_request(http: Http, body: Any, path: list[Any]) -> None:
    status, answer = http("POST", "/queues/claim", body)
    assert (status, answer["issues"][0]["path"]) == (400, path)


def test_a_queue_is_configured_absent_keeps_and_null_clears(http: Http) -> None:
    queue = fresh("q")
    path = f"/queues/{queue}/config"
    url = "https://app.example/hook"
    full = {"concurrency": 1, "ratePerMinute": 60, "invokeUrl": url}
    assert http.put(path, full)["config"] == {"name": queue, **full}
    assert http.put(path, {})["config"] == {"name": queue, **full}
    cleared = http.put(path, {"concurrency": None, "invokeUrl": None})["config"]
    assert (cleared["concurrency"], cleared["ratePerMinute"]) == (None, 60)
    assert cleared["invokeUrl"] is None
    status, body = http("PUT", path, {"concurrency": 0})
    assert (status, body["issues"][0]["path"]) == (400, ["concurrency"])


def test_a_cap_holds(http: Http) -> None:
    queue = fresh("q")
    http.put(f"/queues/{queue}/config", {"concurrency": 1})
    enqueue(http, queue)
    enqueue(http, queue)
    first = claim(http, queue, limit=2)["runs"]
    assert len(first) == 1
    http.post(f"/runs/{first[0]['id']}/complete", {})
    assert len(claim(http, queue)["runs"]) == 1


def test_queues_are_listed_with_what_is_in_them(http: Http) -> None:
    queue, empty = fresh("q"), fresh("configured")
    http.put(f"/queues/{empty}/config", {"concurrency": 4, "invokeUrl": "https://app.example/h"})
    enqueue(http, queue)
    enqueue(http, queue)
    claim(http, queue)
    listed = {one["name"]: one for one in http.get("/queues")["queues"]}
    assert (listed[queue]["queued"], listed[queue]["running"]) == (1, 1)
    assert listed[empty]["config"]["concurrency"] == 4
    assert listed[empty]["config"]["invokeUrl"] == "https://app.example/h"


def test_a_queue_is_paused_and_goes_on(http: Http) -> None:
    queue = fresh("q")
    enqueue(http, queue)
    assert http.post(f"/queues/{queue}/pause") == {"paused": True}
    assert claim(http, queue)["runs"] == []
    assert http.post(f"/queues/{queue}/resume") == {"paused": False}
    assert len(claim(http, queue)["runs"]) == 1


def test_a_child_is_made_once_for_a_name(http: Http) -> None:
    run_id, _ = http.begun()
    body = {"name": "c", "workflowName": "sub", "input": 1, "metadata": {"m": 1}}
    first = http.post(f"/runs/{run_id}/children", body)
    assert first["created"] is True
    child, edge = first["run"], first["edge"]
    assert (child["status"], child["workflowName"]) == ("pending", "sub")
    assert child["metadata"] == {"m": 1, "parentRunId": run_id, "parentEdgeName": "c"}
    assert (edge["parentRunId"], edge["childRunId"]) == (run_id, child["id"])
    assert edge["edgeType"] == "child"
    again = http.post(f"/runs/{run_id}/children", body)
    assert (again["created"], again["run"]["id"]) == (False, child["id"])
    assert again["edge"]["id"] == edge["id"]
    status, answer = http("POST", f"/runs/{run_id}/children", {**body, "input": 2})
    assert (status, answer["code"]) == (409, "input_mismatch")


def test_children_come_after_each_other_by_name_and_after_runs_by_id(http: Http) -> None:
    run_id, _ = http.begun()
    queue, path = fresh("q"), f"/runs/{run_id}/children"
    other = enqueue(http, queue)["run"]["id"]
    http.post(path, {"name": "a", "workflowName": "sub", "queue": queue})
    body = {"name": "b", "workflowName": "sub", "queue": queue, "after": ["a", other]}
    made = http.post(path, {**body, "afterMode": "all", "afterFailure": "run"})["run"]
    assert made["status"] == "queued"
    (reason,) = http.get(f"/runs/{made['id']}/wait")["wait"]["reasons"]
    assert (reason["reason"], reason["open"], reason["after_failure"]) == ("after", 2, "run")
    assert http.post(path, body)["created"] is False
    gone = f"run_{uuid4().hex}"
    status, answer = http("POST", path, {**body, "name": "c", "after": [gone]})
    assert status == 404
    for after in (["nobody"], ["c"], [run_id]):
        status, answer = http("POST", path, {**body, "name": "c", "after": after})
        assert (status, 'children["c"].after' in str(answer)) == (400, True)
    status, _ = http("POST", path, {"name": "c", "workflowName": "sub", "after": ["a"]})
    assert status == 400


def test_a_child_takes_its_webhooks_along(http: Http, sql: Connection) -> None:
    run_id, _ = http.begun()
    hook, resume = "https://app.example/hook", "https://app.example/resume"
    child = http.post(
        f"/runs/{run_id}/children",
        {
            "name": "c",
            "workflowName": "sub",
            "recoveryWebhook": resume,
            "channels": [
                {"type": "webhook", "url": hook, "secret": "s" * 20, "events": ["run.completed"]}
            ],
        },
    )["run"]
    assert child["recoveryWebhook"] == resume
    (channel,) = http.get(f"/runs/{child['id']}")["channels"]
    assert channel["config"] == {"url": hook, "secret": None}
    assert channel["events"] == ["run.completed"]
    http.post(f"/runs/{child['id']}/begin")
    http.post(f"/runs/{child['id']}/complete", {"result": 1})
    shown = http.get(f"/runs/{child['id']}")
    assert [one["eventType"] for one in shown["channelDeliveries"]] == ["run.completed"]
    secret = "select d.secret_name like 'http-%%' from tide.deliveries as d where d.run_id = %s"
    assert value(sql, secret, child["id"].removeprefix("run_")) is True


def test_a_stalled_child_is_recovered_by_its_own_webhook(http: Http) -> None:
    run_id, _ = http.begun()
    body = {"name": "c", "workflowName": "sub", "recoveryWebhook": "https://app.example/resume"}
    child = http.post(f"/runs/{run_id}/children", body)["run"]["id"]
    made = http.post(f"/runs/{child}/recover")["recoveryAttempt"]
    assert (made["webhookUrl"], made["status"]) == ("https://app.example/resume", "pending")


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({"recoveryWebhook": "ftp://app.example"}, ["recoveryWebhook"]),
        ({"channels": [{"type": "webhook", "url": "nonsense"}]}, ["channels", "url"]),
        (
            {"channels": [{"type": "webhook", "url": "https://a.example", "secret": "x"}]},
            ["channels", 0, "secret"],
        ),
    ],
)
def test_a_wrong_webhook_of_a_child_is_named_and_makes_none(
    http: Http, extra: dict[str, Any], path: list[str | int]
) -> None:
    run_id, _ = http.begun()
    body = {"name": "c", "workflowName": "sub", **extra}
    status, answer = http("POST", f"/runs/{run_id}/children", body)
    assert (status, answer["error"]) == (400, "invalid request body")
    assert answer["issues"][0]["path"] == path
    assert http.get(f"/runs/{run_id}")["childRuns"] == []


def test_children_are_listed_newest_first_a_page_at_a_time(http: Http) -> None:
    run_id, _ = http.begun()
    made = sorted(
        http.post(f"/runs/{run_id}/children", {"name": f"c{n}", "workflowName": "w"})["run"]["id"]
        for n in range(5)
    )
    pages, before = [], None
    while True:
        query = {"limit": 2} if before is None else {"limit": 2, "before": before}
        page = http.get(f"/runs/{run_id}/children", params=query)
        pages.append([run["id"] for run in page["runs"]])
        before = page["next"]
        if before is None:
            break
    assert [one for page in pages for one in page] == made[::-1]
    assert [len(page) for page in pages] == [2, 2, 1]
    shown = http.get(f"/runs/{run_id}")
    assert [run["id"] for run in shown["childRuns"]] == made
    told = [one for one in shown["events"] if one["type"] == "run.child.created"]
    assert sorted(one["payload"]["childRun"]["id"] for one in told) == made


def test_children_of_an_unknown_run_are_not_found(http: Http) -> None:
    assert http("GET", f"/runs/run_{'0' * 32}/children")[0] == 404


def test_a_child_at_work_keeps_its_parents_alive(http: Http, sql: Connection) -> None:
    run_id, _ = http.begun()
    body = {"name": "c", "workflowName": "sub", "edgeType": "fanout", "edgeMetadata": {"f": 1}}
    child = http.post(f"/runs/{run_id.removeprefix('run_')}/children", body)["run"]
    assert child["metadata"] == {"parentRunId": run_id, "parentEdgeName": "c"}
    child = child["id"]
    bare = run_id.removeprefix("run_")
    sql.execute(
        "update tide.runs_active set leased_until = now() + interval '1 minute' where run_id = %s",
        (bare,),
    )
    http.post(f"/runs/{child}/begin")
    assert value(
        sql,
        "select r.leased_until > now() + interval '4 minutes' from tide.runs_active as r "
        "where r.run_id = %s",
        bare,
    )


@pytest.mark.parametrize("word", ["step", "failed step", "heartbeat", "gate", "child", "state"])
def test_every_report_of_a_child_speaks_for_its_parents(
    module_dsn: str, sql: Connection, word: str
) -> None:
    settings = Settings(dsn=module_dsn, lease=timedelta(minutes=5))
    with serving(settings) as served, client_of(served) as http:
        served.gateway.signs = Signs(0.0)
        run_id, _ = http.begun()
        body = {"name": "c", "workflowName": "sub"}
        child = http.post(f"/runs/{run_id}/children", body)["run"]["id"]
        lease = http.post(f"/runs/{child}/begin")["leaseOwner"]
        begin = {"name": "s", "inputHash": "h", "leaseOwner": lease}
        step = http.post(f"/runs/{child}/steps/begin", begin)["step"]["id"]
        reports = {
            "step": ("POST", "/steps/begin", begin | {"name": "t"}),
            "failed step": ("POST", f"/steps/{step}/fail", {"leaseOwner": lease, "error": {}}),
            "heartbeat": ("POST", "/heartbeat", {"leaseOwner": lease}),
            "gate": ("POST", "/gates/begin", {"name": "g", "prompt": "ok?"}),
            "child": ("POST", "/children", body),
            "state": ("PUT", "/state", {"value": 1}),
        }
        bare = run_id.removeprefix("run_")
        sql.execute(
            "update tide.runs_active set leased_until = now() + interval '1 minute' "
            "where run_id = %s",
            (bare,),
        )
        method, path, said = reports[word]
        status, answer = http(method, f"/runs/{child}{path}", said)
        assert status == 200, answer
    assert value(
        sql,
        "select r.leased_until > now() + interval '4 minutes' from tide.runs_active as r "
        "where r.run_id = %s",
        bare,
    )


def test_a_schedule_is_set_listed_and_deleted(http: Http) -> None:
    name = fresh("nightly")
    body = {"cron": "0 9 * * *", "workflowName": "w", "input": {"a": 1}, "queue": "q"}
    made = http.put(f"/schedules/{name}", body)["schedule"]
    assert (made["name"], made["cron"], made["maxAttempts"]) == (name, "0 9 * * *", 1)
    assert made["nextRunAt"].endswith("T09:00:00.000Z")
    assert made["lastEnqueuedAt"] is None
    assert made in http.get("/schedules")["schedules"]
    assert http("DELETE", f"/schedules/{name}") == (200, {"deleted": name})
    assert http("DELETE", f"/schedules/{name}") == (404, {"error": "schedule not found"})


def test_runs_children_and_schedules_are_put_into_lanes(http: Http, sql: Connection) -> None:
    queue, lane = fresh("q"), fresh("lane")
    sql.execute('select tide.set_lane(%s, \'{"per_key": 1, "units": 90}\')', (lane,))
    in_lane: dict[str, Any] = {"lane": lane, "laneKey": "acme", "cost": 20}
    parent = enqueue(http, queue, **in_lane)["run"]["id"]
    enqueue(http, queue, **in_lane)
    claimed = claim(http, queue, limit=9)
    assert [run["id"] for run in claimed["runs"]] == [parent]
    child = {"name": "c", "workflowName": "w", "queue": queue, **in_lane}
    http.post(f"/runs/{parent}/children", child)
    assert claim(http, queue, limit=9)["runs"] == []
    name = fresh("nightly")
    body: dict[str, Any] = {"cron": "0 9 * * *", "workflowName": "w", "queue": queue}
    made = http.put(f"/schedules/{name}", {**body, **in_lane})["schedule"]
    assert (made["lane"], made["laneKey"], made["cost"]) == (lane, "acme", 20)
    assert http.put(f"/schedules/{name}", body)["schedule"]["laneKey"] == "acme"
    http.post(f"/schedules/{name}/fire")
    assert claim(http, queue, limit=9)["runs"] == []
    assert value(sql, "select s.waiting from tide.lane_stats as s where s.lane = %s", lane) == 3
    assert http.put(f"/schedules/{name}", {**body, "lane": None})["schedule"]["lane"] is None
    release = {"leaseOwner": claimed["leaseOwner"], "delayMs": 60_000, "throttle": "429"}
    http.post(f"/runs/{parent}/release", release)
    throttled = "select s.throttle_reason from tide.lane_stats as s where s.lane = %s"
    assert value(sql, throttled, lane) == "429"
    unknown = (404, {"error": "lane not found"})
    wrong = {"lane": "nowhere"}
    assert http("POST", f"/queues/{queue}/enqueue", {"workflowName": "w", **wrong}) == unknown
    assert http("PUT", f"/schedules/{name}", {**body, **wrong}) == unknown
    begun = http.post("/runs/w", {})["run"]["id"]
    http.post(f"/runs/{begun}/begin")
    assert http("POST", f"/runs/{begun}/children", {**child, **wrong}) == unknown
    status, answer = http("POST", f"/queues/{queue}/enqueue", {"workflowName": "w", "laneKey": "a"})
    assert (status, "lane_key is given without a lane" in str(answer)) == (400, True)
    for cost, words in (
        (91, "cost 91 is more than lane"),
        (0, "cost"),
        (1.5, "cost"),
        (10**13, "cost"),
    ):
        status, answer = http(
            "POST",
            f"/queues/{queue}/enqueue",
            {"workflowName": "w", "lane": lane, "cost": cost},
        )
        assert (status, words in str(answer)) == (400, True)


def test_runs_and_children_are_put_into_several_lanes(http: Http, sql: Connection) -> None:
    queue, lane, other = fresh("q"), fresh("lane"), fresh("lane")
    for name in (lane, other):
        sql.execute('select tide.set_lane(%s, \'{"total": 2, "units": 90}\')', (name,))
    several = {"lane": lane, "alsoLanes": [{"lane": other, "laneKey": "acme", "cost": 20}]}
    parent = enqueue(http, queue, **several)["run"]["id"]
    assert [run["id"] for run in claim(http, queue, limit=9)["runs"]] == [parent]
    child = {"name": "c", "workflowName": "w", "queue": queue, **several}
    http.post(f"/runs/{parent}/children", child)
    assert len(claim(http, queue, limit=9)["runs"]) == 1
    name = fresh("nightly")
    schedule = {"cron": "0 9 * * *", "workflowName": "w", "queue": queue}
    made = http.put(f"/schedules/{name}", {**schedule, **several})["schedule"]
    assert made["alsoLanes"] == several["alsoLanes"]
    kept = http.put(f"/schedules/{name}", schedule)["schedule"]
    assert kept["alsoLanes"] == several["alsoLanes"]
    running = "select s.running, s.used from tide.lane_stats as s where s.lane = %s"
    assert sql.execute(running, (other,)).fetchone() == (2, 40)
    enqueue_at = f"/queues/{queue}/enqueue"
    body = {"workflowName": "w", "lane": lane}
    for others, status in (
        ([{"lane": "nowhere"}], 404),
        ([{"lane": lane}], 400),
        ([{"laneKey": "acme"}], 400),
        ([{"lane": other, "cost": 91}], 400),
        ([{"lane": other}] * 5, 400),
    ):
        assert http("POST", enqueue_at, {**body, "alsoLanes": others})[0] == status


def test_a_step_holds_a_place_in_a_lane_and_a_run_without_one_stops(
    http: Http, sql: Connection
) -> None:
    queue, lane = fresh("q"), fresh("lane")
    sql.execute("select tide.set_lane(%s, '{\"total\": 1}')", (lane,))
    first, second = (enqueue(http, queue)["run"]["id"] for _ in range(2))
    owner = claim(http, queue, limit=9)["leaseOwner"]

    def begin(run_id: str, name: str, **more: Any) -> Any:
        asked = {"name": name, "inputHash": "none", "leaseOwner": owner, "lane": lane, **more}
        return http.post(f"/runs/{run_id}/steps/begin", asked)

    begun = begin(first, "ask", laneKey="acme", cost=2)
    assert begun["action"] == "execute"
    assert begin(first, "beside")["action"] == "wait"
    assert begin(second, "ask") == {"action": "cancelled", "reason": "lane"}
    done = {"leaseOwner": owner, "output": 1}
    http.post(f"/runs/{first}/steps/{begun['step']['id']}/complete", done)
    assert [run["id"] for run in claim(http, queue, limit=9)["runs"]] == [second]
    running = "select s.running from tide.lane_stats as s where s.lane = %s"
    assert value(sql, running, lane) == 1


def test_a_run_comes_after_others(http: Http) -> None:
    queue = fresh("q")
    first = enqueue(http, queue)["run"]["id"]
    run = enqueue(http, queue, after=[first], afterMode="any", afterFailure="run")["run"]
    claimed = claim(http, queue, limit=9)
    assert [one["id"] for one in claimed["runs"]] == [first]
    http.post(f"/runs/{first}/cancel", {})
    assert [one["id"] for one in claim(http, queue)["runs"]] == [run["id"]]
    for gone in ("nothing", f"run_{'0' * 32}"):
        body = {"workflowName": "w", "after": [gone]}
        assert http("POST", f"/queues/{queue}/enqueue", body) == (404, {"error": "run not found"})


def test_what_the_wire_has_no_word_for_stays(http: Http, sql: Connection) -> None:
    name = fresh("nightly")
    sql.execute(
        "select tide.set_schedule(%s, '0 9 * * *', 'w', time_zone => 'Europe/Berlin', "
        "misfire => 'all', overlap => 'skip', priority => 5, deadline => '1 hour')",
        (name,),
    )
    http.put(f"/schedules/{name}", {"cron": "0 10 * * *", "workflowName": "w"})
    kept = sql.execute("select * from tide.schedules where schedule = %s", (name,)).fetchone()
    assert kept is not None
    assert (kept.cron, kept.time_zone, kept.misfire, kept.overlap, kept.priority) == (
        "0 10 * * *", "Europe/Berlin", "all", "skip", 5,
    )  # fmt: skip


@pytest.mark.parametrize("cron", ["61 * * * *", "* * * *", "* * * * 9", "*/0 * * * *", "\0"])
def test_a_bad_cron_is_a_bad_request_and_stores_nothing(http: Http, cron: str) -> None:
    name = fresh("bad")
    status, body = http("PUT", f"/schedules/{name}", {"cron": cron, "workflowName": "w"})
    assert (status, body["issues"][0]["path"]) == (400, ["cron"])
    assert name not in {one["name"] for one in http.get("/schedules")["schedules"]}


def test_a_schedule_is_paused_fired_and_resumed(http: Http) -> None:
    name, queue = fresh("nightly"), fresh("q")
    http.put(f"/schedules/{name}", {"cron": "0 0 1 1 *", "workflowName": "w", "queue": queue})
    assert http.post(f"/schedules/{name}/pause")["schedule"]["paused"] is True
    assert http.post(f"/schedules/{name}/fire")["run"]["queue"] == queue
    assert http.post(f"/schedules/{name}/resume")["schedule"]["paused"] is False
    for word in ("pause", "resume", "fire"):
        assert http("POST", f"/schedules/none/{word}") == (404, {"error": "schedule not found"})
