"""The site as built: every link leads somewhere, everybody can use it, and search finds things."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from tests.browser import violations
from tests.site.conftest import search_for

SHOWN = ["", "tutorial/", "concepts/", "recipes/", "cli/", "reference/python/", "comparison/"]


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, given in attrs:
            if given and name in ("href", "src"):
                self.links.append(given)
            if given and name in ("id", "name"):
                self.anchors.add(given)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site, by its file."""
    return {
        path: Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"
    }


def test_every_link_within_the_site_leads_to_a_page_and_a_place_in_it(
    pages: dict[Path, Page], site: Path
) -> None:
    broken: list[str] = []
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(link)
            if urlsplit(target).scheme or target.startswith("//"):
                continue
            found = (path.parent / unquote(target)).resolve() if target else path
            if found.is_dir():
                found /= "index.html"
            if not found.is_file():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif anchor and found in pages and unquote(anchor) not in pages[found].anchors:
                broken.append(f"{path.relative_to(site)}: {link} has no such place")
    assert len(pages) > 30
    assert broken == []


def test_the_index_for_models_names_every_page_once(pages: dict[Path, Page], site: Path) -> None:
    listed = re.findall(r"\]\(([^)]*)\)", (site / "llms.txt").read_text())
    written = {path.parent for path in pages} - {site / "reference" / "python"}
    assert len(listed) == len(set(listed))
    assert {site / place for place in listed} == written
    whole = (site / "llms-full.txt").read_text()
    assert len(whole) > 200_000
    assert whole.count("\n# ") >= len(listed) - 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", SHOWN)
def test_a_page_breaks_no_rule_of_accessibility(
    browser: Any, axe: str, address: str, place: str, scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/{place}")
    said = violations(page, axe)
    context.close()
    assert said == [], "\n".join(said)
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:"))] == []


@pytest.mark.parametrize("place", SHOWN)
def test_a_page_fits_a_phone(browser: Any, address: str, place: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(f"{address}/{place}")
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    context.close()
    assert widths[0] <= widths[1]


def test_search_finds_a_function_and_a_concept(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/")
    search_for(page, "enqueue_many")
    assert "enqueue_many" in page.locator(".md-search-result__list").inner_text()
    context.close()
