"""A connection that tells when a query is on its way."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tidebase_pg.client.connections import FromDsn, Line


@pytest.fixture
def line(dsn: str) -> Iterator[Line]:
    with FromDsn(dsn).connect() as connection:
        assert isinstance(connection, Line)
        yield connection


def test_it_tells_once_between_the_query_and_its_answer(line: Line) -> None:
    told: list[int] = []

    def sent() -> None:
        told.append(line.info.transaction_status)

    for number in range(20):  # unprepared, to be prepared, and prepared
        line.sent = sent
        assert line.execute("select %s::integer", (number,)).fetchone() == (number,)
        assert line.execute("select 'untold'").fetchone() == ("untold",)
    assert told == [TransactionStatus.ACTIVE] * 20


def test_an_error_is_told_of_like_an_answer(line: Line) -> None:
    told: list[int] = []
    line.sent = lambda: told.append(1)
    with pytest.raises(psycopg.errors.DivisionByZero):
        line.execute("select 1 / 0")
    assert told == [1]
    assert line.execute("select 1").fetchone() == (1,)
    assert told == [1]
