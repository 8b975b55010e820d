"""Fixtures: a real Postgres, and for every test a database that it has to itself, as new; tests
marked `untouched`, which only read or are refused, share one and a connection.

TIDE_TEST_POSTGRES=15|16|17|18 chooses the server (18), TIDE_TEST_DSN joins a running one,
TIDE_TEST_PGBOUNCER=1 puts PgBouncer in transaction mode before it, TIDE_TEST_LOCALE is its ICU
locale, TIDE_TEST_TEMPLATE names a database of a running server that tests get copies of.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from tests.copies import Copies, Copy
from tests.servers import Absent, Bouncer, OwnServer, RunningServer, join, scratch
from tests.support import (
    Clock,
    Connection,
    Databases,
    contents,
    install_for_copies,
    open_connection,
)

NAME = f"tide_{os.getpid()}"

LONGEST = (
    "tests/examples/test_documents.py",
    "tests/doctor/test_doctor.py",
    "tests/server/test_generated.py",
    "tests/server/sdk/test_python_sdks.py",
    "tests/testing/test_crash_everywhere.py",
    "tests/queues/test_growth.py",
    "tests/server/test_program.py",
    "tests/upkeep/test_isolation.py",
    "tests/upkeep/test_hostile_sessions.py",
    "tests/server/test_studio_bounds.py",
    "tests/install/test_upgrade.py",
    "tests/testing/test_plugin.py",
    "tests/examples/test_readme.py",
    "tests/races/test_zombie_schedules.py",
    "tests/chaos/test_storm.py",
    "tests/driver/test_processes.py",
    "tests/examples/test_agent.py",
    "tests/races/test_units_storm.py",
    "tests/install/test_dev.py",
    "tests/races/test_parked_million.py",
    "tests/queues/test_claim_plans.py",
    "tests/driver/test_silent_server.py",
    "tests/driver/test_transactions.py",
    "tests/driver/test_former_primary.py",
    "tests/driver/test_wakeup.py",
    "tests/driver/test_streams.py",
    "tests/driver/test_worker_footprint.py",
    "tests/server/test_keys.py",
    "tests/server/test_requests.py",
    "tests/fuzz/test_every_function.py",
    "tests/fuzz/test_lifecycle_model.py",
    "tests/testing/test_check.py",
    "tests/races/test_approval_storm.py",
    "tests/races/test_lane_storm.py",
    "tests/races/test_schedule_storm.py",
    "tests/races/test_claim_storms.py",
    "tests/races/test_end_storms.py",
    "tests/races/test_allowance_storm.py",
    "tests/roles/test_fuzz.py",
    "tests/roles/test_grant_matrix.py",
)
"""Files that take longest come first: whichever were left to the end would leave a process idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {path: place for place, path in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST)))


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """The Postgres server, reached directly."""
    if given := os.environ.get("TIDE_TEST_DSN"):
        yield join(given)
        return
    folder = Path(tempfile.mkdtemp(prefix="tide-", dir=scratch()))
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        own = OwnServer(folder, os.environ.get("TIDE_TEST_POSTGRES", "18"))
        ending.callback(own.stop)
        yield own.start()


def install_schema(
    *, host: str, port: int, user: str, dbname: str, password: str | None, **_: Any
) -> None:
    """Fill the template that every test's database is a copy of."""
    install_for_copies(RunningServer(host, int(port), user, password).dsn(dbname))


postgresql_noproc = factories.postgresql_noproc(
    dbname=NAME, depends_on="server", load=[install_schema]
)


@pytest.fixture(scope="session")
def template(request: pytest.FixtureRequest) -> str:
    """The name of a database with the schema and nothing in it."""
    if given := os.environ.get("TIDE_TEST_TEMPLATE"):
        return given
    made: NoopExecutor = request.getfixturevalue("postgresql_noproc")
    return str(made.template_dbname)


@pytest.fixture(scope="session")
def databases(server: RunningServer) -> Iterator[Databases]:
    """Makes further databases: `with databases.database(template) as name`."""
    made = Databases(server, NAME)
    yield made
    made.close()


@pytest.fixture(scope="session")
def front(server: RunningServer) -> Iterator[RunningServer]:
    """What applications connect to: the server, or PgBouncer before it."""
    if os.environ.get("TIDE_TEST_PGBOUNCER") != "1":
        yield server
        return
    folder = Path(tempfile.mkdtemp(prefix="tide-bouncer-"))
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            bouncer = Bouncer(folder, server)
        except Absent as absent:
            pytest.skip(str(absent))
        ending.callback(bouncer.stop)
        yield bouncer.start()


@pytest.fixture(scope="session")
def copies(
    databases: Databases, template: str, server: RunningServer, front: RunningServer
) -> Iterator[Copies | None]:
    """Databases that tests have one after the other; none through PgBouncer, which keeps sessions
    of its own, nor where the tests are no superuser."""
    if front is not server or databases.admin.info.parameter_status("is_superuser") != "on":
        yield None
        return
    made = Copies(databases, template, server)
    yield made
    made.close()


@pytest.fixture(scope="session")
def untouched(databases: Databases, template: str, server: RunningServer) -> Iterator[str]:
    """The name of the database of all tests marked `untouched`."""
    with databases.database(template) as name:
        with open_connection(server.dsn(name)) as connection:
            before = contents(connection)
            yield name
            assert contents(connection) == before, "a test marked untouched has written"


@pytest.fixture(scope="session")
def looker(untouched: str, front: RunningServer) -> Iterator[Connection]:
    """The connection of all tests marked `untouched`."""
    with open_connection(front.dsn(untouched)) as connection:
        yield connection


def is_untouched(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("untouched") is not None


@pytest.fixture
def own_copy(request: pytest.FixtureRequest, copies: Copies | None) -> Iterator[Copy | None]:
    """This test's database, where it was that of other tests before."""
    if copies is None:
        yield None
        return
    with copies.copy(clock="clock" in request.fixturenames) as copy:
        yield copy


@pytest.fixture
def database_name(
    request: pytest.FixtureRequest, databases: Databases, template: str
) -> Iterator[str]:
    """The name of this test's database, with the schema installed."""
    if is_untouched(request):
        yield request.getfixturevalue("untouched")
        return
    copy: Copy | None = request.getfixturevalue("own_copy")
    if copy is not None:
        yield copy.name
        return
    with databases.database(template) as name:
        yield name


@pytest.fixture
def dsn(database_name: str, front: RunningServer) -> str:
    """This test's database with the schema installed; through PgBouncer where one is asked for."""
    return front.dsn(database_name)


@pytest.fixture
def direct_dsn(database_name: str, server: RunningServer) -> str:
    """The same database without PgBouncer, for what needs a session: LISTEN, psql, the clock."""
    return server.dsn(database_name)


@pytest.fixture
def empty_dsn(databases: Databases, server: RunningServer) -> Iterator[str]:
    """A database without the schema, reached directly."""
    with databases.database() as name:
        yield server.dsn(name)


@pytest.fixture
def connect(dsn: str) -> Iterator[Callable[..., Connection]]:
    """Opens connections to this test's database: `connect(autocommit=False)`; closes them."""
    with ExitStack() as opened:

        def connect(to: str = dsn, *, autocommit: bool = True) -> Connection:
            connection = open_connection(to, autocommit=autocommit)
            opened.callback(connection.close)
            return connection

        yield connect


@pytest.fixture
def connection(request: pytest.FixtureRequest) -> Connection:
    """A connection in autocommit mode whose rows are named tuples: `row.status`."""
    if is_untouched(request):
        looker: Connection = request.getfixturevalue("looker")
        return looker
    copy: Copy | None = request.getfixturevalue("own_copy")
    if copy is not None:
        return copy.lend()
    opened: Connection = request.getfixturevalue("connect")()
    return opened


@pytest.fixture
def clock(direct_dsn: str) -> Iterator[Clock]:
    """The database's clock under the test's hand: `set`, `advance`, `run`; running until then."""
    made = Clock(direct_dsn)
    yield made
    made.close()
