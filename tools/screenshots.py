"""Pictures of every page of Studio, light and dark, for docs/studio.md: `make screenshots`.

Starts a database and a server of its own and furnishes them as the tests do. Needs chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import sync_playwright  # noqa: E402

from tests.server.conftest import Served  # noqa: E402
from tests.servers import OwnServer  # noqa: E402
from tests.studio.scene import furnish  # noqa: E402
from tests.support import open_connection  # noqa: E402
from tidebase_pg import admin  # noqa: E402
from tidebase_pg.server import Settings  # noqa: E402

FOLDER = ROOT / "docs" / "studio"
CHROMIUM = "/usr/bin/chromium"
PAGES = {
    "overview": "/",
    "runs": "/runs",
    "run": "/runs/{report}",
    "review": "/runs/{review}",
    "events": "/runs/{report}/events",
    "state": "/runs/{report}/state",
    "fork": "/runs/{report}/fork?step=draft",
    "decisions": "/gates",
    "decision": "/gates/{refund}",
    "answer": "/gates/{settle}",
    "asking": "/runs/{return}",
    "queues": "/queues",
    "queue": "/queues/emails",
    "lanes": "/lanes",
    "lane": "/lanes/openai",
    "schedules": "/schedules",
    "schedule": "/schedules/daily-digest",
    "workers": "/workers",
    "webhooks": "/webhooks",
    "doctor": "/doctor?examine=yes",
}
PHONE = ("overview", "run", "decision", "answer")


def main() -> None:
    if not Path(CHROMIUM).exists():
        sys.exit(f"no browser at {CHROMIUM}; on Debian: apt-get install chromium")
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as ending:
        folder = Path(tempfile.mkdtemp(prefix="tide-pictures-"))
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        server = OwnServer(folder, "18")
        ending.callback(server.stop)
        dsn = server.start().dsn()
        admin.install(dsn)
        connection = open_connection(dsn)
        ending.callback(connection.close)
        scene = furnish(connection)
        for concurrency in (4, 8, 12):
            scene.call(
                "set_queue", queue="emails", settings={"concurrency": concurrency}, actor="mira"
            )
        names = {**scene.runs, **scene.gates}
        served = Served(Settings(dsn=dsn)).start()
        ending.callback(served.stop)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": 1280, "height": 800},
                    color_scheme=scheme,
                    reduced_motion="reduce",
                )
                for name, path in PAGES.items():
                    page.goto(f"{served.url}/studio{path.format_map(names)}")
                    page.screenshot(path=FOLDER / f"{name}-{scheme}.png")
                opened(page, served.url, names, scheme)
                page.set_viewport_size({"width": 390, "height": 780})
                for name in PHONE:
                    page.goto(f"{served.url}/studio{PAGES[name].format_map(names)}")
                    page.screenshot(path=FOLDER / f"{name}-phone-{scheme}.png")
            browser.close()


def opened(page: Any, url: str, names: Mapping[str, object], scheme: str) -> None:
    """What somebody has opened: the form that releases a run, and the question of a bulk fork."""
    page.goto(f"{url}/studio/runs/{names['report']}")
    page.locator("summary", has_text="Release").click()
    page.screenshot(path=FOLDER / f"release-{scheme}.png")
    page.goto(f"{url}/studio/runs?status=failed&workflow=sync-crm")
    page.get_by_label("Act on").select_option("all")
    page.get_by_role("button", name="Fork").click()
    page.wait_for_url("**/runs/bulk")
    page.screenshot(path=FOLDER / f"bulk-{scheme}.png")


if __name__ == "__main__":
    main()
