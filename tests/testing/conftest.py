"""The kit on the tests' own server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import RunningServer
from tidebase_pg import Run, Tidebase
from tidebase_pg.testing import TestServer, TideTest, databases


@pytest.fixture(scope="session")
def tide_server(server: RunningServer) -> Iterator[TestServer]:
    with databases(server.dsn()) as made:
        yield made


@pytest.fixture
def tide_app() -> Tidebase:
    """A refund: a price, a person, a charge."""
    app = Tidebase("postgresql:///a_database_that_is_never_used")

    @app.workflow("refund", queue="refunds", max_attempts=3)
    def refund(run: Run, input: dict[str, int]) -> dict[str, int]:
        price = run.step("price", lambda: input["cents"] * 2)
        if not run.gate("approve", "Refund it?", data=input).approved:
            return {"refunded": 0}
        charged: int = run.step(
            "charge", lambda: price, side_effects=["card"], idempotency_key=f"refund:{run.id}"
        )
        return {"refunded": charged}

    @app.workflow("mail", queue="mails")
    def mail(run: Run, input: dict[str, str]) -> str:
        return run.step("send", lambda: f"to {input['to']}")

    @app.workflow("late", queue="late", max_attempts=2)
    def late(run: Run, input: None) -> str:
        run.sleep("an hour", 3600)
        return "awake"

    return app


@pytest.fixture
def tide_test(tide_server: TestServer, tide_app: Tidebase) -> Iterator[TideTest]:
    with tide_server.tide_test(tide_app) as kit:
        yield kit
