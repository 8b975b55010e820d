"""Every page in a real browser: whole, reachable, readable, alone with its own origin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from jinja2 import Environment
from psycopg import OperationalError

from tests.browser import violations
from tests.studio.conftest import House, Tab, Window, all_paths, paths_of
from tests.support import value
from tidebase_pg import calls
from tidebase_pg.server.studio import rendering

MakeWindow = Callable[..., Window]
Go = Callable[[str], Iterable[str]]

PAGES = {
    "overview": ("overview", "/"),
    "runs": ("runs", "/runs"),
    "runs that failed": ("runs", "/runs?status=failed&error=502"),
    "failures": ("failures", "/failures"),
    "run at work": ("run", "/runs/{report}"),
    "run in review": ("run", "/runs/{review}"),
    "run that failed": ("run", "/runs/{failed}"),
    "events": ("events", "/runs/{report}/events"),
    "step": ("step", "/runs/{report}/step?name=draft"),
    "state": ("state", "/runs/{report}/state"),
    "fork": ("fork", "/runs/{report}/fork"),
    "decisions": ("gates", "/gates"),
    "decision": ("gate", "/gates/{refund}"),
    "decision with a form": ("gate", "/gates/{settle}"),
    "run that asks": ("run", "/runs/{return}"),
    "queues": ("queues", "/queues"),
    "queue": ("queue", "/queues/reports"),
    "allowances": ("allowances", "/allowances"),
    "lanes": ("lanes", "/lanes"),
    "lane": ("lane", "/lanes/openai"),
    "schedules": ("schedules", "/schedules"),
    "schedule": ("schedule", "/schedules/daily-digest"),
    "workers": ("workers", "/workers"),
    "webhooks": ("webhooks", "/webhooks"),
    "doctor": ("doctor", "/doctor"),
    "doctor, asked": ("doctor", "/doctor?examine=yes"),
    "nothing": ("missing", "/runs/00000000-0000-7000-8000-000000000000"),
    "login": ("login", "/login"),
}
"""Pages with an address: which template each is made of, and where it is."""


def address(house: House, page: str) -> str:
    runs, gates = house.scene.runs, house.scene.gates
    return PAGES[page][1].format_map({**runs, **gates, "failed": runs["failed-0"]})


def bulk_question(act: str) -> Callable[[Window, pytest.MonkeyPatch], None]:
    """What is asked before an act on all failed runs of a workflow."""

    def ask(shown: Window, _: pytest.MonkeyPatch) -> None:
        page = shown.go("/runs?status=failed&workflow=sync-crm")
        page.get_by_label("Act on").select_option("all")
        page.get_by_role("button", name=act).click()
        page.wait_for_url("**/runs/bulk")

    return ask


def unclear_fork(shown: Window, patch: pytest.MonkeyPatch) -> None:
    bulk_question("Fork")(shown, patch)
    shown.page.get_by_label("the step named").check()
    shown.page.get_by_role("button", name="Fork").click()
    shown.page.get_by_text("Name the step to fork from.").wait_for()


def bulk_done(shown: Window, patch: pytest.MonkeyPatch) -> None:
    """Forks from a step that no run has, so that the house stays as it is."""
    bulk_question("Fork")(shown, patch)
    shown.page.get_by_label("Name of the step").fill("no such step")
    shown.page.get_by_label("the step named").check()
    shown.page.get_by_role("button", name="Fork").click()
    shown.page.get_by_role("heading", name="done").wait_for()


def wrong_key(shown: Window, _: pytest.MonkeyPatch) -> None:
    page = shown.go("/login")
    page.get_by_label("API key").fill("a key of another door")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()


def failing(error: Exception) -> Callable[[Window, pytest.MonkeyPatch], None]:
    def fail(shown: Window, patch: pytest.MonkeyPatch) -> None:
        def asked(**_: object) -> None:
            raise error

        patch.setattr(calls, "list_workers", asked)
        shown.go("/workers")

    return fail


ASKED = {
    "question of a bulk retry": ("bulk", bulk_question("Retry")),
    "question of a bulk cancel": ("bulk", bulk_question("Cancel")),
    "question of a bulk fork": ("bulk", bulk_question("Fork")),
    "question that was unclear": ("bulk", unclear_fork),
    "bulk act that is done": ("bulk", bulk_done),
    "login that failed": ("login", wrong_key),
    "refusal": ("refused", failing(ValueError("drill"))),
    "error": ("broken", failing(LookupError("drill"))),
    "database away": ("gone", failing(OperationalError("drill"))),
}
"""Pages that only something done leads to."""
NO_PAGES = {
    "/runs/{run_id:uuid}/stream": "a file",
    "/runs/{run_id:uuid}/payload/{part}": "a file",
    "/schedules/preview": "a part of the page of a schedule",
    "/live": "a stream of events",
    "/live/runs/{run_id:uuid}": "a stream of events",
}
"""Paths that are looked at, and are no page."""


def wide(page: Any) -> list[int]:
    """How wide the content is, and the window."""
    found: list[int] = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    return found


@pytest.fixture(scope="module")
def shown(browser: Any, house: House) -> Any:
    """One context for all pages, so that a login is made once."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    window = Window(page, house)
    page.on("pageerror", lambda error: window.wrong.append(str(error)))
    page.on("request", lambda request: window.asked.append(request.url))
    yield window.log_in("operator")
    context.close()


@pytest.fixture
def go(shown: Window, house: House, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Opens a page by its name, and says which templates were made meanwhile."""
    made: list[str] = []
    found = Environment.get_template

    def get_template(environment: Environment, name: str, *rest: Any, **more: Any) -> Any:
        made.append(Path(name).stem)
        return found(environment, name, *rest, **more)

    monkeypatch.setattr(Environment, "get_template", get_template)

    def opened(name: str) -> list[str]:
        if name in ASKED:
            ASKED[name][1](shown, monkeypatch)
        else:
            shown.go(address(house, name))
        return made

    return opened


ALL = {name: template for name, (template, _) in (*PAGES.items(), *ASKED.items())}
"""Every page by its name: the template it is made of."""


def test_no_page_is_forgotten_by_these_tests(house: House) -> None:
    folder = Path(rendering.__file__).parent / "templates"
    made = {path.stem for path in folder.glob("*.html")} - {"base", "macros"}
    assert set(ALL.values()) == made
    reached = paths_of((address(house, name) for name in PAGES), "GET")
    assert all_paths("GET") - reached == NO_PAGES.keys()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_breaks_no_rule_of_accessibility(
    shown: Window, axe: str, go: Go, name: str, scheme: str
) -> None:
    page = shown.page
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert ALL[name] in go(name)
    said = violations(page, axe)
    assert said == [], chr(10).join(said)
    assert shown.wrong == []


@pytest.mark.parametrize("name", ALL)
def test_a_page_fits_a_phone_without_scrolling_sideways(shown: Window, go: Go, name: str) -> None:
    shown.page.set_viewport_size({"width": 360, "height": 740})
    assert ALL[name] in go(name)
    content, window = wide(shown.page)
    assert content <= window


def test_no_page_asks_another_origin_for_anything(shown: Window, house: House) -> None:
    for name in PAGES:
        shown.go(address(house, name))
    outside = [u for u in shown.asked if not u.startswith((house.served.url, "data:"))]
    assert outside == []
    assert len(shown.asked) > len(PAGES)


def test_the_first_screen_says_what_is_wrong_without_scrolling(
    window: MakeWindow, house: House
) -> None:
    page = window("operator").go("/")
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height <= 800
    first = page.locator(".findings li", has_text="needs a review")
    assert first.bounding_box()["y"] < 200
    for title in ("over budget", "failed within a day", "given up"):
        assert page.get_by_text(title).count() >= 1
    for heading in ("Last hour", "Last day", "Decisions", "Queues by pressure", "Running"):
        box = page.get_by_role("heading", name=heading, exact=True).bounding_box()
        assert box["y"] + box["height"] <= 800
    first.get_by_role("link").click()
    assert page.get_by_text("Did charge happen?").is_visible()


def test_a_late_queue_says_what_holds_it_up(window: MakeWindow, house: House) -> None:
    house.connection.execute(
        "select tide.enqueue('translate', queue => 'late/mail', "
        "run_at => now() - interval '1 hour')"
    )
    page = window("operator").go("/")
    found = page.locator(".findings li", has_text="late/mail: ready runs wait")
    # The overview may be one that was asked for before, and is then brought up to date.
    found.get_by_text("No named worker claims this queue: start one.").wait_for()
    assert page.locator(".findings li", has_text="Lane openai is throttled").count() == 1
    found.get_by_role("link").click()
    page.get_by_role("heading", name="late/mail", exact=True).wait_for()
    assert page.get_by_text("No named worker claimed it within the last minute.").is_visible()
    house.connection.execute("select * from tide.claim('{late/mail}', 1, '1 minute', 'late-1')")
    for _ in range(500):  # what pages share is kept for three seconds
        if page.get_by_text("1 worker claims it.").is_visible():
            break
        page.reload()
    else:
        pytest.fail("the worker is not told of")
    house.connection.execute(
        "select tide.cancel(r.run_id) from tide.runs as r where r.queue = 'late/mail'"
    )


def test_a_lane_is_throttled_and_lifted_in_the_browser(window: MakeWindow, house: House) -> None:
    house.connection.execute("select tide.set_lane('by-hand', '{\"total\": 2}')")
    page = window("operator").go("/")
    page.get_by_role("link", name="Lanes", exact=True).click()
    page.get_by_role("link", name="by-hand").click()
    page.get_by_text("Throttle…").click()
    page.get_by_label("Minutes from now").fill("15")
    page.get_by_label("Why").fill("status 429")
    page.get_by_role("button", name="Throttle by-hand").click()
    page.get_by_text("by-hand is throttled until").wait_for()
    page.get_by_text("Its runs are claimed again").wait_for()
    throttled = "select throttle_reason from tide.list_lanes('{by-hand}')"
    assert value(house.connection, throttled) == "status 429"
    page.get_by_text("Lift the throttle…").click()
    page.get_by_role("button", name="Lift the throttle of by-hand").click()
    page.get_by_text("by-hand goes on.").wait_for()
    assert value(house.connection, throttled) is None


def test_allowances_and_a_period_are_reached_by_hand_and_by_keys(
    window: MakeWindow, house: House
) -> None:
    house.connection.execute("select tide.set_lane('metered', '{\"units\": 50}')")
    page = window("operator").go("/")
    page.get_by_role("link", name="Allowances", exact=True).click()
    page.get_by_role("heading", name="Allowances").wait_for()
    page.keyboard.type("gl")
    page.get_by_role("heading", name="Lanes").wait_for()
    page.keyboard.type("ga")
    page.get_by_role("heading", name="Allowances").wait_for()
    page.keyboard.type("gl")
    page.get_by_role("link", name="metered").click()
    page.get_by_text("Settings…").click()
    page.get_by_label("Period").fill("30 s")
    page.get_by_role("button", name="Change").click()
    page.get_by_text("metered: period = 30 s.").wait_for()
    period = "select period = '30 s' from tide.list_lanes('{metered}')"
    assert value(house.connection, period) is True


def test_the_first_paint_is_small(house: House) -> None:
    """The page and all that its first paint needs, as they travel."""
    tab = Tab(house, "operator")
    pages = [tab.get(address(house, name)) for name in ("overview", "runs", "run at work")]
    html = pages[0].text
    links = {part.split('"')[0] for part in html.split(f'="{tab.base}/static/')[1:]}
    base = f"{house.served.url}/studio/static/"
    scripts = {"times.js", "live.js", "streams.js", "keyboard.js", "forms.js"}
    stamp = next(iter(links)).split("/")[0]
    rest = [httpx.get(base + link) for link in links | {f"{stamp}/{s}" for s in scripts}]
    assert all(answer.status_code == 200 for answer in rest)
    assert all("immutable" in answer.headers["cache-control"] for answer in rest)
    static = sum(len(answer.content) for answer in rest)
    for page in pages:
        assert static + len(page.content) < 100_000


def test_the_keyboard_alone_reaches_and_does_everything(window: MakeWindow, house: House) -> None:
    made = window("operator")
    page = made.go("/")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs")
    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator("tbody tr[data-row]").nth(1)
    assert "here" in (second.get_attribute("class") or "")
    page.keyboard.press("x")
    assert second.locator("input[type=checkbox]").is_checked()
    target = second.locator("th a").get_attribute("href")
    second.locator("th a").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{target}")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type(str(house.scene.runs["report"]))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{house.scene.runs['report']}")
    page.locator("summary", has_text="Cancel").focus()
    page.keyboard.press("Enter")
    assert page.get_by_label("Reason").is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "reason"
    page.keyboard.press("Escape")
    assert not page.get_by_label("Reason").is_visible()
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()


def test_light_and_dark_are_what_was_chosen_over_what_the_system_says(window: MakeWindow) -> None:
    page = window("operator", color_scheme="light").go("/workers")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark").click()
    page.wait_for_url("**/workers")
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate(ground) != light
    page.get_by_role("button", name="Auto, as the system").click()
    page.wait_for_url("**/workers")
    assert page.evaluate(ground) == light
