"""Who sees what, and who may do what: decided by the database, whatever is sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.server.conftest import Served
from tests.studio.conftest import SHARED, House, Tab, all_paths, paths_of
from tests.support import Connection, value
from tidebase_pg.server import Settings, app

MakeTab = Callable[..., Tab]

PATHS = (
    "/",
    "/runs",
    "/runs/{report}",
    "/runs/{report}/events",
    "/runs/{report}/step?name=plan",
    "/runs/{report}/state",
    "/runs/{report}/fork",
    "/runs/{report}/payload/input",
    "/runs/{report}/stream?name=text",
    "/failures",
    "/gates",
    "/gates/{refund}",
    "/queues",
    "/queues/reports",
    "/allowances",
    "/lanes",
    "/lanes/openai",
    "/schedules",
    "/schedules/daily-digest",
    "/schedules/preview?cron=0+9+*+*+*",
    "/workers",
    "/webhooks",
    "/doctor",
    "/doctor?examine=yes",
    "/live",
    "/live/runs/{report}",
)
SECRETS = ("Bay of Fundy", "harbour masters", "model overloaded", "Refund order", "Aurélie", "acme")


def where(house: House, path: str) -> str:
    dead = "select delivery_id from tide.deliveries where status = 'dead' limit 1"
    names = {
        "report": house.scene.runs["report"],
        "refund": house.scene.gates["refund"],
        "dead": value(house.connection, dead),
    }
    return path.format(**names)


def test_no_page_and_no_act_is_forgotten_by_these_tests(house: House) -> None:
    looked_at = paths_of((where(house, path) for path in PATHS), "GET")
    assert all_paths("GET") - looked_at == {"/login"}
    done = paths_of((where(house, path) for path, _ in ACTS), "POST")
    of_everybody = {"/login", "/logout", "/theme"}
    assert all_paths("POST") - done == {"/gates/{gate_id:uuid}", *of_everybody}


@pytest.mark.parametrize("path", PATHS)
def test_nobody_without_a_login_sees_anything_but_the_login(
    house: House, tab: MakeTab, path: str
) -> None:
    answer = tab(None).get(where(house, path))
    assert answer.url.path == "/studio/login"
    assert "API key" in answer.text
    for secret in (*SECRETS, str(house.scene.runs["report"])[-8:] + "<"):
        assert secret not in answer.text


def test_a_wrong_key_opens_nothing_and_a_revoked_one_no_more(
    house: House, tab: MakeTab, connection: Connection
) -> None:
    stranger = tab(None)
    answer = stranger.post("/login", key="tide_wrong", name="x")
    assert answer.status_code == 401
    assert "opens nothing" in answer.text
    house.keys["leaver"] = value(connection, "select tide.create_key('leaver', 'operator')")
    leaver = tab("leaver")
    assert leaver.get("/runs").url.path == "/studio/runs"
    connection.execute("select tide.revoke_key('leaver')")
    assert leaver.get("/runs").url.path == "/studio/login"


def test_the_cookie_hides_the_key_and_cannot_be_made(house: House, tab: MakeTab) -> None:
    mine = tab("operator")
    cookie = mine.client.cookies["tide_studio"]
    assert house.keys["operator"] not in cookie
    login = mine.client.post("/login", data={"key": house.keys["operator"]}, follow_redirects=False)
    header = login.headers["set-cookie"].lower()
    assert "httponly" in header
    assert "samesite=strict" in header
    forged = tab(None)
    forged.client.cookies.set("tide_studio", cookie[:-4] + "AAAA")
    assert forged.get("/runs").url.path == "/studio/login"


def test_a_login_goes_only_to_pages_of_ours(house: House, tab: MakeTab) -> None:
    for target in ("//evil.example", "https://evil.example", "/\\evil.example"):
        answer = tab(None).client.post(
            "/login", data={"key": house.keys["all"], "next": target}, follow_redirects=False
        )
        assert answer.headers["location"] == "/studio/"


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith("/live")])
def test_a_viewer_sees_no_payload_under_any_address(house: House, tab: MakeTab, path: str) -> None:
    text = tab("viewer").get(where(house, path)).text
    assert [secret for secret in SECRETS if secret in text] == []


ACTS = (
    ("/runs/{report}/cancel", {"reason": "forged"}),
    ("/runs/{report}/retry", {}),
    ("/runs/{report}/reschedule", {"delay": "5"}),
    ("/runs/{report}/revoke", {"reason": "forged"}),
    ("/runs/{report}/budget", {"max_steps": "1"}),
    ("/runs/{report}/event", {"name": "forged"}),
    ("/runs/{report}/resolve", {"step": "plan", "decision": "fail"}),
    ("/runs/{report}/fork", {"at_step": "plan", "once": "0190a0a0-0000-7000-8000-000000000000"}),
    ("/runs/bulk", {"act": "cancel", "scope": "all"}),
    ("/runs/bulk/go", {"state": "x"}),
    ("/queues/reports", {"act": "pause"}),
    ("/lanes/openai", {"act": "throttle", "minutes": "5"}),
    ("/lanes/openai", {"total": "1", "old_total": "20"}),
    ("/schedules/daily-digest", {"act": "pause"}),
    ("/webhooks", {"deliveries": "{dead}"}),
    ("/doctor/pause", {"reason": "forged"}),
    ("/doctor/resume", {}),
)


def told(connection: Connection) -> object:
    return value(
        connection,
        "select jsonb_build_object("
        "'runs', (select count(*) from tide.runs), "
        "'cancelled', (select count(*) from tide.runs where status = 'cancelled'), "
        "'events', (select count(*) from tide.events where payload::text like '%%forged%%'), "
        "'paused', (select count(*) from tide.queues where paused), "
        "'dead', (select count(*) from tide.deliveries where status = 'dead'), "
        "'schedules', (select count(*) from tide.schedules where paused), "
        "'lanes', (select jsonb_agg(l order by l.lane) from tide.lanes as l), "
        "'all', (select paused_at from tide.ticks))",
    )


@pytest.mark.parametrize(("path", "fields"), ACTS)
def test_neither_a_viewer_nor_a_form_of_another_site_changes_anything(
    house: House, tab: MakeTab, connection: Connection, path: str, fields: dict[str, str]
) -> None:
    before = told(connection)
    viewer = tab("viewer")
    answer = viewer.post(where(house, path), csrf=viewer.form_token(), **fields)
    assert answer.status_code == 403
    operator = tab("operator")
    token = operator.form_token()
    for sent in ({}, {"csrf": ""}, {"csrf": viewer.form_token()}):
        answer = operator.post(where(house, path), **fields, **sent)
        assert answer.status_code in (400, 403)
    crossed = operator.client.post(
        where(house, path),
        data={"csrf": token, **fields},
        headers={"sec-fetch-site": "cross-site"},
    )
    assert crossed.status_code == 403
    assert told(connection) == before


def test_a_viewer_may_not_decide_and_an_approver_does_nothing_else(
    house: House, tab: MakeTab, connection: Connection
) -> None:
    gate = f"/gates/{house.scene.gates['publish']}"
    viewer = tab("viewer")
    answer = viewer.post(gate, csrf=viewer.form_token(), decision="approved")
    assert answer.status_code in (403, 404)
    approver = tab("approver")
    assert "Refund order" in approver.get("/gates").text
    token = approver.form_token("/gates")
    before = told(connection)
    for path, fields in ACTS:
        sent = approver.post(where(house, path), csrf=token, **fields)
        assert sent.status_code == 403
    assert told(connection) == before
    assert value(connection, "select status from tide.gates where gate_id = %s",
                 house.scene.gates["publish"]) == "pending"  # fmt: skip


def test_every_answer_forbids_scripts_and_frames_of_others(tab: MakeTab) -> None:
    for path in ("/", "/runs", "/nothing-here"):
        headers = tab().get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


def served_apart(house: House, **options: Any) -> Served:
    return Served(Settings(dsn=house.dsn, **options)).start()


def test_a_read_only_studio_offers_nothing_and_does_nothing(
    house: House, connection: Connection
) -> None:
    served = served_apart(house, api_key=SHARED, studio_read_only=True)
    try:
        mine = Tab(replace(house, served=served))
        before = told(connection)
        for path in ("/", "/runs", "/runs/{report}", "/gates", "/queues/reports", "/doctor"):
            text = mine.get(where(house, path)).text
            assert "read-only" in text
            actions = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]+)"', text)
            assert {a.rpartition("/")[2] for a in actions} <= {"theme", "logout", "bulk"}
            assert 'name="act"' not in text
        token = mine.form_token("/")
        for path, fields in (*ACTS, ("/gates/{refund}", {"decision": "approved"})):
            answer = mine.post(where(house, path), csrf=token, **fields)
            assert answer.status_code == 403, path
        assert told(connection) == before
    finally:
        served.stop()


def test_a_proxy_that_says_who_it_let_in_is_believed_when_told_so(
    house: House, connection: Connection
) -> None:
    served = served_apart(house, api_key=SHARED, user_header="x-forwarded-user")
    try:
        url = f"{served.url}/studio"
        run_id = value(connection, "select run_id from tide.enqueue('w', queue => 'proxied')")
        with httpx.Client(base_url=url, follow_redirects=True) as client:
            assert client.get("/runs").url.path == "/studio/login"
            client.headers["x-forwarded-user"] = "ann@example.org"
            text = client.get(f"/runs/{run_id}").text
            assert "ann@example.org" in text
            fields = dict(re.findall(r'name="(csrf|seen)" value="([^"]+)"', text))
            client.post(f"/runs/{run_id}/cancel", data=fields)
        events = "select payload ->> 'actor' from tide.list_events(%s) where type = 'run.cancelled'"
        assert value(connection, events, run_id) == "ann@example.org"
    finally:
        served.stop()
    with httpx.Client(base_url=house.url, follow_redirects=True) as client:
        answer = client.get("/runs", headers={"x-forwarded-user": "ann@example.org"})
        assert answer.url.path == "/studio/login"


async def test_a_studio_below_a_path_links_and_goes_below_it(house: House) -> None:
    inner = app(settings=Settings(dsn=house.dsn, api_key=SHARED))
    outer = Starlette(routes=[Mount("/tide", inner)])
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", follow_redirects=True
    ) as client:
        answer = await client.get("/tide/studio/runs")
        assert answer.url.path == "/tide/studio/login"
        await client.post("/tide/studio/login", data={"key": SHARED})
        for path in ("/", "/runs", f"/runs/{house.scene.runs['report']}", "/doctor"):
            page = await client.get(f"/tide/studio{path}")
            assert page.status_code == 200
            links = re.findall(r'(?:href|action|src)="([^"]+)"', page.text)
            ours = [link for link in links if not link.startswith("#")]
            assert len(ours) > 10
            assert [link for link in ours if not link.startswith("/tide/studio/")] == []
            static = next(link for link in ours if link.endswith("studio.css"))
            assert (await client.get(static)).status_code == 200
    await inner.state.gateway.close()


def test_an_open_door_answers_to_names_of_this_machine_only(house: House) -> None:
    served = served_apart(house)
    try:
        assert httpx.get(f"{served.url}/studio/").status_code == 200
        answer = httpx.get(f"{served.url}/studio/", headers={"host": "evil.example"})
        assert answer.status_code == 421
        assert "Decisions" not in answer.text
    finally:
        served.stop()


def test_a_key_for_programs_opens_no_page(house: House, connection: Connection) -> None:
    key = value(connection, "select tide.create_key('program', 'client')")
    house.keys["client"] = key
    mine = Tab(house, "client")
    assert mine.get("/runs").status_code in (403, 200)
    assert "Bay of Fundy" not in mine.get(where(house, "/runs/{report}")).text


@pytest.mark.parametrize("path", ["", "/", "/studio"])
def test_the_address_of_the_door_goes_to_the_overview(house: House, path: str) -> None:
    answer = httpx.get(f"{house.served.url}{path}", follow_redirects=True)
    assert answer.url.path == "/studio/login"
