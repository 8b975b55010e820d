"""Fixtures of the HTTP door's tests: a real server over a database of the module."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any

import httpx
import pytest
import uvicorn
from psycopg import sql as pgsql
from psycopg.conninfo import make_conninfo

from tests.servers import RunningServer
from tests.support import Connection, Databases, open_connection
from tidebase_pg.server import Gateway, Settings, app

PATIENCE = 60
LEASE = timedelta(minutes=5)
KEY_ROLES = ("client", "worker", "operator", "viewer", "approver")

_numbers = count(1)


def fresh(word: str) -> str:
    """A name nobody else uses in this process."""
    return f"{word}-{next(_numbers)}"


class Served:
    """A gateway that listens on loopback, in a thread of its own."""

    def __init__(self, settings: Settings, *, reconcile: bool = False) -> None:
        self.settings = settings
        self.application = app(settings=settings, reconcile=reconcile, deliver=False)
        self.gateway: Gateway = self.application.state.gateway
        config = uvicorn.Config(
            self.application,
            host="127.0.0.1",
            port=0,
            log_config=None,
            access_log=False,
            # Else a client that a busy machine holds up meets a connection just closed.
            timeout_keep_alive=10 * PATIENCE,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def start(self) -> Served:
        self.thread.start()
        until = time.monotonic() + PATIENCE
        while not self.server.started:
            assert self.thread.is_alive(), "the gateway did not start"
            assert time.monotonic() < until
            time.sleep(0.01)
        return self

    @property
    def url(self) -> str:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(PATIENCE)


@dataclass(frozen=True)
class Http:
    """What a test says over HTTP: `http.post("/runs/a", {"input": 1})` gives (status, body)."""

    client: httpx.Client
    prefix: str = ""

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        answer = self.answer(method, path, body, **options)
        return answer.status_code, answer.json() if answer.content else None

    def answer(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return self.client.request(method, self.prefix + path, **options)

    def get(self, path: str, **options: Any) -> Any:
        return self._done("GET", path, None, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self._done("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Any:
        return self._done("PUT", path, body, **options)

    def _done(self, method: str, path: str, body: Any, **options: Any) -> Any:
        status, answer = self(method, path, body, **options)
        assert status == 200, (status, answer)
        return answer

    def as_worker(self, name: str) -> Http:
        """The same, under the URL of one worker."""
        return replace(self, prefix=f"/w/{name}")

    def run(self, workflow: str | None = None, **body: Any) -> str:
        """The id of a new plain run."""
        made: str = self.post(f"/runs/{workflow or fresh('flow')}", body)["run"]["id"]
        return made

    def begun(self, **body: Any) -> tuple[str, str]:
        """The id and the lease of a run just begun."""
        run_id = self.run(**body)
        lease: str = self.post(f"/runs/{run_id}/begin")["leaseOwner"]
        return run_id, lease


def listen(
    http: Http, run_id: str, *, headers: dict[str, str] | None = None, **query: Any
) -> Generator[dict[str, Any]]:
    """The events of a run as its stream tells them; closes the stream when it is left."""
    with http.client.stream(
        "GET",
        f"{http.prefix}/runs/{run_id}/events",
        params=query,
        headers=headers,
        timeout=PATIENCE,
    ) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def collect(http: Http, run_id: str, last: str, **query: Any) -> list[dict[str, Any]]:
    """Events up to the first of a type."""
    found: list[dict[str, Any]] = []
    with closing(listen(http, run_id, **query)) as events:
        for event in events:
            found.append(event)
            if event["type"] == last:
                break
    return found


@pytest.fixture(scope="module")
def module_dsn(databases: Databases, template: str, server: RunningServer) -> Iterator[str]:
    """A database of this module."""
    with databases.database(template) as name:
        yield server.dsn(name)


@contextmanager
def serving(settings: Settings, **options: Any) -> Iterator[Served]:
    served = Served(settings, **options).start()
    try:
        yield served
    finally:
        served.stop()


@contextmanager
def logins_of_roles(sql: Connection, dsn: str) -> Iterator[dict[str, str]]:
    """The DSN of a login for each role of keys."""
    with ExitStack() as ending:
        dsns: dict[str, str] = {}
        for role in KEY_ROLES:
            name = f"{sql.info.dbname}_{role}"
            login = pgsql.Identifier(name)
            sql.execute(pgsql.SQL("create role {} login").format(login))
            sql.execute(pgsql.SQL("grant {} to {}").format(pgsql.Identifier(f"tide_{role}"), login))
            ending.callback(sql.execute, pgsql.SQL("drop role {}").format(login))
            ending.callback(sql.execute, pgsql.SQL("drop owned by {}").format(login))
            dsns[role] = make_conninfo(dsn, user=name)
        yield dsns


@contextmanager
def client_of(served: Served, **options: Any) -> Iterator[Http]:
    with httpx.Client(base_url=served.url, timeout=PATIENCE, **options) as client:
        yield Http(client)


@pytest.fixture(scope="module")
def served(module_dsn: str) -> Iterator[Served]:
    """A gateway without a key over the database of this module."""
    with serving(Settings(dsn=module_dsn, lease=LEASE)) as made:
        yield made


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[Http]:
    with client_of(served) as made:
        yield made


@pytest.fixture(scope="module")
def sql(module_dsn: str) -> Iterator[Connection]:
    """A connection to the same database, with all rights."""
    with open_connection(module_dsn) as connection:
        yield connection


def wait_until(true: Callable[[], bool]) -> None:
    """Return once it is true; fails after a minute."""
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
