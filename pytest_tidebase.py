"""pytest's part of tidebase_pg.testing: fixtures. Imports the package only when one is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tidebase_pg.testing import TestServer, TideTest

OPTION = "tide_app"
DSN = "TIDE_TEST_SERVER"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(OPTION, "The application under test: package.module:name of its Tidebase.")


@pytest.fixture(scope="session")
def tide_server() -> Iterator[TestServer]:
    """A Postgres for the tests: the one TIDE_TEST_SERVER names, else an embedded one."""
    from tidebase_pg.testing import databases

    with databases(os.environ.get(DSN)) as server:
        yield server


@pytest.fixture
def tide_app(request: pytest.FixtureRequest) -> Any:
    """The application under test, as `tide_app` in pytest's settings names it. Override it to
    return your Tidebase or AsyncTidebase."""
    from importlib import import_module

    named: str = request.config.getini(OPTION)
    module, colon, name = named.partition(":")
    if not colon:
        raise pytest.UsageError(
            'which application is under test? Set tide_app = "package.module:name" among the '
            "settings of pytest, or write a fixture tide_app that returns your Tidebase"
        )
    return getattr(import_module(module), name)


@pytest.fixture
def tide_test(tide_server: TestServer, tide_app: Any) -> Iterator[TideTest]:
    """A database of its own for this test, and the application on it; see tidebase_pg.testing."""
    with tide_server.tide_test(tide_app) as kit:
        yield kit
