"""What a run writes to its streams is on its page: its end, live, and marked where it repeats."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.studio.conftest import Tab, Window
from tests.studio.test_live import begun
from tests.support import Connection, one, value

MakeWindow = Callable[..., Window]
MakeTab = Callable[..., Tab]


def step(connection: Connection, run: Any, name: str = "write") -> None:
    connection.execute("select tide.begin_step(%s, %s, %s)", (run.run_id, run.lease_id, name))


def write(connection: Connection, run: Any, *chunks: object, stream: str = "out") -> None:
    connection.execute(
        "select tide.append_stream(%s, %s, %s, %s, step => 'write')",
        (run.run_id, run.lease_id, stream, json.dumps(chunks)),
    )


def repeated(connection: Connection) -> Any:
    """The next attempt of a run whose worker was lost in the midst of a step."""
    run_id = value(connection, "select run_id from tide.enqueue('live', queue => 'writers')")
    run = one(connection, "select * from tide.claim('{writers}')")
    assert run.run_id == run_id
    return run


def again(connection: Connection, run: Any) -> Any:
    connection.execute("select tide.revoke_lease(%s)", (run.run_id,))
    return one(connection, "select * from tide.claim('{writers}')")


def test_what_a_run_writes_appears_as_it_is_written_without_a_reload(
    window: MakeWindow, connection: Connection
) -> None:
    run = begun(connection)
    step(connection, run)
    page = window("operator").go(f"/runs/{run.run_id}")
    page.evaluate("window.same = true")
    page.locator("[data-live-state=on]").wait_for()
    write(connection, run, "High ", "tide ")
    pre = page.locator("#written pre")
    pre.get_by_text("High tide").wait_for()
    write(connection, run, "is at <noon>.")
    write(connection, run, {"done": 1}, stream="progress")
    pre.get_by_text("High tide is at <noon>.").wait_for()
    page.get_by_role("region", name="Stream progress").get_by_text('{"done": 1}').wait_for()
    assert page.evaluate("window.same") is True
    page.reload()
    assert pre.first.text_content() == "High tide is at <noon>."


def test_an_attempt_that_repeats_a_step_is_marked_and_voids_what_was_written(
    window: MakeWindow, connection: Connection
) -> None:
    run = repeated(connection)
    step(connection, run)
    write(connection, run, "ebb")
    page = window("operator").go(f"/runs/{run.run_id}")
    page.locator("[data-live-state=on]").wait_for()
    pre = page.locator("#written pre")
    assert pre.text_content() == "ebb"
    run = again(connection, run)
    step(connection, run)
    write(connection, run, "flood")
    pre.get_by_text("flood").wait_for()
    mark = pre.locator(".again")
    assert "write begins again, attempt 2" in mark.text_content()
    assert pre.locator(".void").text_content() == "ebb"
    page.reload()
    assert "write begins again, attempt 2" in mark.text_content()
    assert "ebb" not in pre.text_content()


def test_what_was_missed_while_the_stream_was_cut_is_there_when_it_is_back(
    window: MakeWindow, connection: Connection
) -> None:
    run = begun(connection)
    step(connection, run)
    write(connection, run, "one ")
    page = window("operator").go(f"/runs/{run.run_id}")
    page.locator("[data-live-state=on]").wait_for()
    hide = """(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden,
      configurable: true }); document.dispatchEvent(new Event('visibilitychange')); }"""
    page.evaluate(hide, True)
    page.locator("[data-live-state=off]").wait_for()
    write(connection, run, "two ")
    page.evaluate(hide, False)
    pre = page.locator("#written pre")
    pre.get_by_text("one two").wait_for()
    write(connection, run, "three")
    pre.get_by_text("one two three").wait_for()


def test_a_stream_is_shown_to_a_bound_and_downloaded_whole(
    tab: MakeTab, connection: Connection
) -> None:
    run = begun(connection)
    step(connection, run)
    for number in range(4):
        write(connection, run, *(f"<{number}.{at}>" + "x" * 20 for at in range(1000)))
    mine = tab("operator")
    page = mine.get(f"/runs/{run.run_id}").text
    shown = page.partition('data-stream-of="out" data-position="4000"')[2].partition("</pre>")[0]
    assert "&lt;3.999&gt;" in shown
    assert "&lt;2.999&gt;" not in shown
    assert "only its end is shown" in shown
    assert len(shown) < 60_000
    whole = mine.get(f"/runs/{run.run_id}/stream?stream=out")
    assert whole.text == "".join(f"<{n}.{a}>" + "x" * 20 for n in range(4) for a in range(1000))
    assert "attachment" in whole.headers["content-disposition"]


def test_without_scripts_what_is_there_is_shown_and_a_viewer_sees_none_of_it(
    tab: MakeTab, connection: Connection
) -> None:
    run = begun(connection)
    step(connection, run)
    write(connection, run, "squid ", "ink")
    page = f"/runs/{run.run_id}"
    assert ">squid ink</span>" in tab("operator").get(page).text
    viewer = tab("viewer")
    assert "squid" not in viewer.get(page).text
    assert viewer.get(f"{page}/stream?stream=out").status_code == 403
    with viewer.client.stream("GET", f"/live{page}", timeout=60) as answer:
        heard = ""
        for line in answer.iter_lines():
            heard += line
            if line.startswith("data: "):
                break
    assert "squid" not in heard
    assert "event: written" not in heard


def test_text_that_streams_in_shifts_no_layout(window: MakeWindow, connection: Connection) -> None:
    run = begun(connection)
    step(connection, run)
    write(connection, run, "one line\n")
    page = window("operator").go(f"/runs/{run.run_id}")
    page.locator("[data-live-state=on]").wait_for()
    page.evaluate(
        """() => { window.shift = 0; new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) window.shift += entry.value;
        }).observe({ type: 'layout-shift' }); }"""
    )
    for number in range(3):
        write(connection, run, *(f"line {number}.{at}\n" for at in range(30)))
        page.locator("#written pre").get_by_text(f"line {number}.29").wait_for()
    assert page.evaluate("window.shift") < 0.01
