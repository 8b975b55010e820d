"""Pages that are open follow what happens, say when they cannot, and go on where they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from tests.studio.conftest import House, Tab, Window
from tests.support import Connection, one, value

MakeWindow = Callable[..., Window]
MakeTab = Callable[..., Tab]


def begun(connection: Connection, workflow: str = "live") -> Any:
    run_id = value(connection, "select run_id from tide.create_run(%s)", workflow)
    return one(connection, "select * from tide.begin_run(%s)", run_id)


def do(connection: Connection, run: Any, name: str) -> None:
    connection.execute("select tide.begin_step(%s, %s, %s)", (run.run_id, run.lease_id, name))
    connection.execute("select tide.complete_step(%s, %s, %s)", (run.run_id, run.lease_id, name))


def test_a_run_that_is_worked_on_is_shown_as_it_goes_without_a_reload(
    window: MakeWindow, connection: Connection
) -> None:
    run = begun(connection)
    made = window("operator")
    page = made.go(f"/runs/{run.run_id}")
    page.evaluate("window.same = true")
    page.locator("[data-live-state=on]").wait_for()
    for name in ("gather", "write"):
        do(connection, run, name)
        page.locator("#timeline .label", has_text=name).wait_for()
    connection.execute("select tide.complete(%s, %s)", (run.run_id, run.lease_id))
    page.locator("#head .chip", has_text="completed").wait_for()
    page.locator("#log").get_by_text("run.completed").wait_for()
    assert page.evaluate("window.same") is True


def test_the_event_log_follows_and_a_viewer_follows_too(
    window: MakeWindow, connection: Connection
) -> None:
    run = begun(connection)
    page = window("viewer").go(f"/runs/{run.run_id}/events")
    page.locator("[data-live-state=on]").wait_for()
    do(connection, run, "gather")
    page.locator("#events").get_by_text("step.completed").wait_for()


def test_the_overview_follows_the_installation(window: MakeWindow, connection: Connection) -> None:
    page = window("operator").go("/")
    page.locator("[data-live-state=on]").wait_for()
    run = begun(connection)
    gate = one(
        connection,
        "select * from tide.open_gate(%s, %s, 'ask', 'Now?')",
        run.run_id,
        run.lease_id,
    )
    count = "select count(*) from tide.gates where status = 'pending'"
    pending = value(connection, count)
    page.locator(".decisions", has_text=f"all {pending}").wait_for()
    connection.execute("select tide.decide_gate(%s, 'approved', 'test')", (gate.gate_id,))
    page.locator(".decisions", has_text=f"all {pending - 1}").wait_for()


def test_nothing_moves_while_somebody_types_or_has_a_form_open(
    window: MakeWindow, connection: Connection
) -> None:
    run = begun(connection)
    page = window("operator").go(f"/runs/{run.run_id}")
    page.locator("[data-live-state=on]").wait_for()
    page.locator("summary", has_text="Cancel").click()
    page.get_by_label("Reason").fill("because it")
    do(connection, run, "gather")
    page.locator("#timeline .label", has_text="gather").wait_for()
    assert page.get_by_label("Reason").input_value() == "because it"
    assert page.evaluate("document.activeElement.name") == "reason"


def test_live_updates_shift_no_layout(window: MakeWindow, connection: Connection) -> None:
    run = begun(connection)
    for name in ("a", "b"):
        do(connection, run, name)
    page = window("operator").go(f"/runs/{run.run_id}")
    page.locator("[data-live-state=on]").wait_for()
    page.evaluate(
        """() => { window.shift = 0; new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) window.shift += entry.value;
        }).observe({ type: 'layout-shift' }); }"""
    )
    connection.execute(
        "select tide.set_state(%s, '{\"progress\": 1}', lease_id => %s)",
        (run.run_id, run.lease_id),
    )
    page.locator("#log").get_by_text("state.updated").wait_for()
    assert page.evaluate("window.shift") < 0.1


def test_a_stream_that_is_cut_is_told_and_found_again(
    window: MakeWindow, connection: Connection
) -> None:
    run = begun(connection)
    made = window("operator")
    page = made.go(f"/runs/{run.run_id}")
    page.locator("[data-live-state=on]").wait_for()
    page.context.set_offline(True)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    # A new stream is asked for, since an open one outlives the switch.
    page.evaluate(
        """() => { Object.defineProperty(document, 'hidden', { value: true, configurable: true });
          document.dispatchEvent(new Event('visibilitychange'));
          Object.defineProperty(document, 'hidden', { value: false, configurable: true });
          document.dispatchEvent(new Event('visibilitychange')); }"""
    )
    page.get_by_text("connection lost, trying again").wait_for()
    do(connection, run, "while-away")
    page.context.set_offline(False)
    page.locator("[data-live-state=on]").wait_for()
    page.locator("#timeline .label", has_text="while-away").wait_for()
    made.wrong.clear()  # the browser complains of the requests that were cut


def test_a_stream_goes_on_after_the_event_it_told_last(
    house: House, tab: MakeTab, connection: Connection
) -> None:
    run = begun(connection)
    mine = tab("operator")
    for name in ("one", "two"):
        do(connection, run, name)
    last = value(connection, "select last_seq from tide.get_run(%s)", run.run_id)

    def first(headers: dict[str, str], query: str = "") -> str:
        with mine.client.stream(
            "GET", f"/live/runs/{run.run_id}{query}", headers=headers, timeout=60
        ) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    return line.removeprefix("id: ")
        raise AssertionError("the stream ended")

    assert first({}, "?after=2") == str(last)
    do(connection, run, "three")
    assert int(first({"last-event-id": str(last)})) > last


def test_fifty_open_pages_ask_the_database_as_one_does(
    house: House, connection: Connection
) -> None:
    """Statements of the Studio's logins while many pages look at the installation at once."""
    tabs = [Tab(house, "operator") for _ in range(12)]
    for mine in tabs:
        mine.get("/")
    connection.execute("select pg_stat_clear_snapshot()")
    calls: list[str] = []
    gateway = house.served.gateway
    kept = gateway.client_for

    def counted(identity: Any) -> Any:
        calls.append(identity.name)
        return kept(identity)

    gateway.client_for = counted  # type: ignore[method-assign]
    try:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda mine: mine.get("/"), tabs * 4))
    finally:
        del gateway.client_for
    assert all(answer.status_code == 200 for answer in answers)
    assert len(calls) <= 4 * 4, "four looks, each kept for some seconds and shared"


def test_a_database_that_cannot_be_reached_is_told_and_nothing_is_lost(
    house: House, browser: Any
) -> None:
    from tests.server.conftest import Served
    from tidebase_pg.server import Settings

    served = Served(
        Settings(dsn="postgresql://nobody@127.0.0.1:1/none", patience=0.1, pool_timeout=0.5)
    ).start()
    try:
        answer = httpx.get(f"{served.url}/studio/", timeout=30)
        assert answer.status_code == 503
        assert "The database cannot be reached" in answer.text
        assert answer.headers["retry-after"]
    finally:
        served.stop()


def test_words_of_streams_carry_no_payload(
    house: House, tab: MakeTab, connection: Connection
) -> None:
    run = begun(connection)
    connection.execute("select tide.send_event(%s, 'squid', '{\"squid\": 1}')", (run.run_id,))
    connection.execute(
        "select tide.set_state(%s, '{\"squid\": 1}', lease_id => %s)", (run.run_id, run.lease_id)
    )
    for role in ("operator", "viewer"):
        with tab(role).client.stream("GET", f"/live/runs/{run.run_id}", timeout=60) as answer:
            heard = ""
            for line in answer.iter_lines():
                heard += line
                if line.startswith("data: "):
                    break
        assert "squid" not in json.dumps(heard)


def test_a_release_in_the_browser_shows_the_run_back_in_its_queue(
    window: MakeWindow, connection: Connection
) -> None:
    run_id = value(connection, "select run_id from tide.enqueue('live', queue => 'taken')")
    one(connection, "select * from tide.claim('{taken}', worker => 'w1@host')")
    page = window("operator").go(f"/runs/{run_id}")
    page.locator("summary", has_text="Release").click()
    assert page.get_by_text("Takes the run from w1@host").is_visible()
    page.get_by_label("Note").fill("hangs")
    page.get_by_role("button", name="Release the run").click()
    page.locator("#head .chip", has_text="queued").wait_for()
    page.locator("#log").get_by_text("run.requeued").wait_for()
    assert page.locator("summary", has_text="Release").count() == 0


def test_a_run_lists_its_forks_and_a_fork_its_original(
    window: MakeWindow, connection: Connection
) -> None:
    run = begun(connection)
    do(connection, run, "gather")
    fork = "select run_id from tide.fork_run(%s, 'gather')"
    first, second = (value(connection, fork, run.run_id) for _ in range(2))
    page = window("viewer").go(f"/runs/{run.run_id}")
    card = page.get_by_role("region", name="Forks")
    links = [link.get_attribute("href") for link in card.get_by_role("link").all()]
    assert links == [f"/studio/runs/{run_id}" for run_id in (second, first)]
    card.get_by_role("link").first.click()
    page.wait_for_url(f"**/runs/{second}")
    card.get_by_text("original").wait_for()
    assert card.get_by_role("link").get_attribute("href") == f"/studio/runs/{run.run_id}"
