"""Fixtures of Studio's tests: one furnished database, one server and one browser for all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import namedtuple_row
from starlette.routing import Match, Route

from tests.browser import axe, browser
from tests.server.conftest import Served
from tests.servers import RunningServer
from tests.studio.scene import Scene, furnish
from tests.support import Connection, Databases, open_connection, value
from tidebase_pg.server import Settings
from tidebase_pg.server.studio.application import Front
from tidebase_pg.server.studio.pages import routes

__all__ = ["axe", "browser"]

ROLES = ("operator", "viewer", "approver")
SHARED = "a-key-that-many-share-0123456789"


ROUTES = [route for route in routes(Front(cast(Any, None))) if isinstance(route, Route)]


def all_paths(method: str) -> set[str]:
    """The paths of every page, as the routes have them."""
    return {route.path for route in ROUTES if method in (route.methods or ())}


def paths_of(addresses: Iterable[str], method: str) -> set[str]:
    """The paths that these addresses lead to."""
    found: set[str] = set()
    for address in addresses:
        scope = {
            "type": "http",
            "path": address.partition("?")[0],
            "root_path": "",
            "method": method,
        }
        found.add(next(r.path for r in ROUTES if r.matches(scope)[0] is Match.FULL))
    return found


@dataclass
class House:
    """A furnished database and the Studio before it."""

    connection: Connection
    dsn: str
    scene: Scene
    served: Served
    keys: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def url(self) -> str:
        return f"{self.served.url}/studio"


@pytest.fixture(scope="session")
def house(databases: Databases, template: str, server: RunningServer) -> Iterator[House]:
    """Logins of each role, a key for each, and a small company at work."""
    with ExitStack() as ending:
        name = ending.enter_context(databases.database(template))
        dsn = server.dsn(name)
        connection = open_connection(dsn)
        ending.callback(connection.close)
        dsns = {}
        for role in ROLES:
            login = f"{name}_{role}"
            connection.execute(
                sql.SQL("create role {} login in role {}").format(
                    sql.Identifier(login), sql.Identifier(f"tide_{role}")
                )
            )
            ending.callback(
                connection.execute, sql.SQL("drop role {}").format(sql.Identifier(login))
            )
            dsns[role] = make_conninfo(dsn, user=login)
        served = Served(Settings(dsn=dsn, api_key=SHARED, role_dsns=dsns, key_memory=0)).start()
        ending.callback(served.stop)
        made = House(connection, dsn, furnish(connection), served)
        for role in ROLES:
            made.keys[role] = value(
                connection, "select tide.create_key(%s, %s)", f"mira-{role}", role
            )
        made.keys["all"] = SHARED
        yield made


@pytest.fixture
def connection(house: House) -> Connection:
    """A connection to the furnished database."""
    assert house.connection.row_factory is namedtuple_row
    return house.connection


class Tab:
    """A browser without a screen and without scripts: what a form or a forger sends."""

    def __init__(self, house: House, role: str | None = "all", name: str = "mira") -> None:
        self.client = httpx.Client(base_url=house.url, timeout=60, follow_redirects=True)
        self.base = "/studio"
        if role is not None:
            self.client.post("/login", data={"key": house.keys[role], "name": name})

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def form_token(self, path: str = "/doctor") -> str:
        """What the forms of this session carry."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(path).text)
        assert found is not None
        return found[1]

    def fields(self, path: str, action: str) -> dict[str, str]:
        """The hidden fields of the form with this action on a page."""
        text = self.get(path).text
        form = re.search(
            rf'<form[^>]*action="[^"]*{re.escape(action)}"[^>]*>(.*?)</form>', text, re.S
        )
        assert form is not None, f"no form {action} on {path}"
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form[1])
        return {name: _unescaped(text) for name, text in hidden}

    def post(self, path: str, **fields: str) -> httpx.Response:
        return self.client.post(path, data=fields)

    def act(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Fill in and send the form of a page."""
        return self.post(action, **{**self.fields(page, action), **fields})


def _unescaped(text: str) -> str:
    from html import unescape

    return unescape(text)


@pytest.fixture
def tab(house: House) -> Iterator[Callable[..., Tab]]:
    """tab("viewer") -> a session of that role; tab(None) -> nobody."""
    with ExitStack() as opened:

        def make(role: str | None = "all", **options: Any) -> Tab:
            made = Tab(house, role, **options)
            opened.callback(made.client.close)
            return made

        yield make


@dataclass
class Window:
    """A page of the browser, and everything it complained of or asked others for."""

    page: Any
    house: House
    wrong: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])

    def go(self, path: str) -> Any:
        self.page.goto(self.house.url + path)
        return self.page

    def log_in(self, role: str = "all", name: str = "mira") -> Window:
        self.go("/login")
        self.page.get_by_label("API key").fill(self.house.keys[role])
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{self.house.url}/**")
        return self


@pytest.fixture
def window(browser: Any, house: House) -> Iterator[Callable[..., Window]]:
    """window(role="viewer", width=360) -> a logged-in page; every complaint fails the test."""
    windows: list[Window] = []
    with ExitStack() as opened:

        def make(role: str | None = "all", *, width: int = 1280, **options: Any) -> Window:
            context = browser.new_context(
                viewport={"width": width, "height": 800}, reduced_motion="reduce", **options
            )
            opened.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(30_000)
            made = Window(page, house)
            page.on("pageerror", lambda error: made.wrong.append(str(error)))
            page.on(
                "console",
                lambda message: (
                    made.wrong.append(message.text) if message.type == "error" else None
                ),
            )
            page.on("request", lambda request: made.asked.append(request.url))
            windows.append(made)
            return made if role is None else made.log_in(role)

        yield make
        for made in windows:
            assert made.wrong == []
            outside = [u for u in made.asked if not u.startswith((house.served.url, "data:"))]
            assert outside == []
