"""The built site, served on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser import axe, browser

__all__ = ["axe", "browser", "search_for"]

BUILT = Path(__file__).parents[2] / "build" / "site"


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the newest version of the built site."""
    found = sorted(BUILT.glob("*/llms.txt"))
    if not found:
        pytest.skip("the site is not built; run: make docs")
    return found[-1].parent


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    handler = partial(Quiet, directory=str(site.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{site.name}"
        server.shutdown()


def search_for(page: Any, words: str) -> None:
    """Look until something is found: a page that still starts up may miss the first words."""
    from playwright.sync_api import TimeoutError as NothingYet

    field = page.locator("input.md-search__input").first
    found = page.locator(".md-search-result__item").first
    for repeats in reversed(range(30)):
        field.fill(words)
        field.press("End")
        try:
            found.wait_for(timeout=2000)
            return
        except NothingYet:
            if not repeats:
                raise
        # Only what changed is looked for again.
        field.fill("")
        field.press("End")
