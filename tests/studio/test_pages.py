"""Every page in a real browser: whole, reachable, readable, alone with its own origin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.browser import violations
from tests.studio.conftest import House, Tab, Window
from tests.support import value

MakeWindow = Callable[..., Window]

PAGES = {
    "overview": "/",
    "runs": "/runs",
    "runs that failed": "/runs?status=failed&error=502",
    "run at work": "/runs/{report}",
    "run in review": "/runs/{review}",
    "run that failed": "/runs/{failed}",
    "events": "/runs/{report}/events",
    "step": "/runs/{report}/step?name=draft",
    "state": "/runs/{report}/state",
    "fork": "/runs/{report}/fork",
    "decisions": "/gates",
    "decision": "/gates/{refund}",
    "decision with a form": "/gates/{settle}",
    "run that asks": "/runs/{return}",
    "queues": "/queues",
    "queue": "/queues/reports",
    "lanes": "/lanes",
    "lane": "/lanes/openai",
    "schedules": "/schedules",
    "schedule": "/schedules/daily-digest",
    "workers": "/workers",
    "webhooks": "/webhooks",
    "doctor": "/doctor",
    "nothing": "/runs/00000000-0000-7000-8000-000000000000",
}


def address(house: House, page: str) -> str:
    runs, gates = house.scene.runs, house.scene.gates
    return PAGES[page].format_map({**runs, **gates, "failed": runs["failed-0"]})


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


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_breaks_no_rule_of_accessibility(
    shown: Window, axe: str, house: House, name: str, scheme: str
) -> None:
    page = shown.page
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme=scheme)
    shown.go(address(house, name))
    said = violations(page, axe)
    assert said == [], chr(10).join(said)
    assert shown.wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone_without_scrolling_sideways(
    shown: Window, house: House, name: str
) -> None:
    shown.page.set_viewport_size({"width": 360, "height": 740})
    shown.go(address(house, name))
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
