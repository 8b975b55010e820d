"""What others put into names and payloads is shown as what it is, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.studio.conftest import House, Tab, Window
from tests.support import Connection, one, value

MakeWindow = Callable[..., Window]
MakeTab = Callable[..., Tab]

SCRIPT = "</pre></script><script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"
TURNED = "abc\u202egnp.exe\u2066"
ESCAPES = "\x1b[2J\x1b]0;title\x07\rover"


@pytest.fixture(scope="module")
def hostile(house: House) -> Any:
    """A run with the worst in every place that takes text."""
    connection = house.connection
    run_id = value(
        connection,
        "select run_id from tide.create_run('hostile', %s, %s)",
        Jsonb({"a": SCRIPT, SCRIPT: TURNED, "e": ESCAPES}),
        Jsonb({"m": SCRIPT}),
    )
    run = one(connection, "select * from tide.begin_run(%s, %s)", run_id, SCRIPT[:100])
    name = f"step {SCRIPT}"[:200]
    connection.execute("select tide.begin_step(%s, %s, %s)", (run_id, run.lease_id, name))
    connection.execute(
        "select tide.complete_step(%s, %s, %s, %s)",
        (run_id, run.lease_id, name, Jsonb({"out": SCRIPT})),
    )
    gate = one(
        connection,
        "select * from tide.open_gate(%s, %s, %s, %s, %s)",
        run_id,
        run.lease_id,
        "ask",
        f"Pay? {SCRIPT} {TURNED}",
        Jsonb({SCRIPT: SCRIPT, "list": [SCRIPT], "turned": TURNED}),
    )
    connection.execute(
        "select tide.set_state(%s, %s, lease_id => %s, reason => %s)",
        (run_id, Jsonb({"s": SCRIPT}), run.lease_id, SCRIPT),
    )
    connection.execute(
        "select tide.fail(%s, %s, %s, false)",
        (
            run_id,
            run.lease_id,
            Jsonb({"type": SCRIPT, "message": SCRIPT + ESCAPES, "traceback": SCRIPT + TURNED}),
        ),
    )
    return run_id, gate.gate_id, name


def test_scripts_in_names_and_payloads_do_not_run(
    window: MakeWindow, hostile: Any, tab: MakeTab
) -> None:
    run_id, gate_id, _ = hostile
    made = window("operator")
    for path in (
        "/",
        "/runs",
        "/runs?error=script&workflow=hostile",
        f"/runs/{run_id}",
        f"/runs/{run_id}/events",
        f"/runs/{run_id}/state",
        f"/runs/{run_id}/fork",
        "/gates",
        f"/gates/{gate_id}",
        "/workers",
        f"/runs?q={SCRIPT}",
        f"/runs?error={SCRIPT}&status=%3Cscript%3E",
    ):
        page = made.go(path)
        assert page.evaluate("window.owned") is None, path
        assert page.locator("script:not([src])").count() == 0
    page = made.go(f"/runs/{run_id}")
    assert SCRIPT in page.locator("#documents").inner_text()
    page.locator("#timeline a", has_text="step").click()
    assert SCRIPT in page.locator(".doc pre").last.inner_text().replace('\\"', '"')


def test_text_that_turns_around_or_escapes_is_made_visible(hostile: Any, tab: MakeTab) -> None:
    run_id, gate_id, _ = hostile
    for path in (f"/runs/{run_id}", f"/gates/{gate_id}", f"/runs/{run_id}/events"):
        text = tab("operator").get(path).text
        assert [mark for mark in "\u202e\u2066\x1b\x07" if mark in text] == [], path
    assert "&lt;U+202E&gt;" in tab("operator").get(f"/gates/{gate_id}").text


def test_a_document_of_a_mebibyte_is_shown_in_part_and_downloaded_whole(
    window: MakeWindow, house: House, tab: MakeTab, connection: Connection
) -> None:
    big = {"rows": ["tide " * 20] * 9000}
    run_id = value(connection, "select run_id from tide.create_run('big', %s)", Jsonb(big))
    made = window("operator")
    page = made.go(f"/runs/{run_id}")
    assert page.get_by_text("Only the beginning is shown").is_visible()
    assert len(page.content()) < 120_000
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    assert json.loads(waiting.value.path().read_text()) == big


def test_a_run_of_ten_thousand_steps_is_shown_page_by_page(
    window: MakeWindow, connection: Connection
) -> None:
    run_id = value(connection, "select run_id from tide.create_run('long')")
    run = one(connection, "select * from tide.begin_run(%s)", run_id)
    connection.execute(
        "insert into tide.steps (run_id, name, status, attempt, replay, input_hash, lease_id, "
        "started_at, finished_at, position) "
        "select %s, 'step-' || n, 'completed', 1, 'auto', '', %s, now(), now(), n "
        "from generate_series(1, 10000) as n",
        (run_id, run.lease_id),
    )
    page = window("operator").go(f"/runs/{run_id}")
    assert page.locator(".gantt .line.step").count() == 200
    assert page.get_by_text("steps 1 to 200 of 10").is_visible()
    page.get_by_role("link", name="Later steps").click()
    page.get_by_text("steps 201 to 400 of 10").wait_for()
    assert len(page.content()) < 300_000


def test_names_of_schedules_and_queues_that_look_like_paths_are_reached(
    tab: MakeTab, connection: Connection
) -> None:
    connection.execute("select tide.set_queue('a/b:c.d', '{\"concurrency\": 2}')")
    connection.execute("select tide.set_schedule('x/y', '@daily', 'w', queue => 'a/b:c.d')")
    mine = tab("operator")
    for path, said in (("/queues/a/b:c.d", "a/b:c.d"), ("/schedules/x/y", "at 00:00, every day")):
        answer = mine.get(path)
        assert (answer.status_code, said in answer.text) == (200, True)
    page = mine.get("/queues/a%2Fb%3Ac.d")
    assert page.status_code == 200
    assert 'action="/studio/queues/a%2Fb%3Ac.d"' in page.text
