"""A database step: its writes and its checkpoint commit together, whenever the process dies."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext, suppress
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from tests.driver.statements import ANSWERED, STARTED, Statements
from tests.servers import ROOT
from tests.support import Connection, value
from tidebase_pg import (
    AsyncRun,
    AsyncTidebase,
    BadPayload,
    LeaseLost,
    PayloadTooLarge,
    Run,
    RunParked,
    Tidebase,
)

STATEMENTS = 7
"""begin, the greeting of the connection, begin_step, two writes, complete_step, commit."""


@pytest.fixture
def books(connection: Connection) -> Connection:
    """Tables of an application."""
    connection.execute(
        "create table charges (run_id uuid not null);"
        "create table totals (charges integer not null);"
        "insert into totals values (0)"
    )
    return connection


def charges(books: Connection) -> tuple[int, int]:
    return (
        value(books, "select count(*) from charges"),
        value(books, "select charges from totals"),
    )


def charge(tx: Any, run: Any) -> None:
    tx.connection.execute("insert into charges (run_id) values (%s)", (run.id,))
    tx.connection.execute("update totals set charges = charges + 1")


def test_a_database_step_is_done_once_and_replayed(tide: Tidebase, books: Connection) -> None:
    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> Any:
        with run.transaction("charge") as tx:
            if not tx.done:
                charge(tx, run)
                run.state.set({"charged": True})
                tx.complete({"attempt": run.attempt})
        if run.attempt == 1:
            raise OSError("again")
        return tx.output

    run_id = tide.enqueue(w, backoff={"base": 0, "jitter": 0}).run_id
    tide.work(drain=True, concurrency=4)
    assert tide.runs.get(run_id).result == {"attempt": 1}
    assert charges(books) == (1, 1)
    assert tide.runs.state(run_id).version == 1


async def test_an_async_database_step_is_done_once(atide: AsyncTidebase, books: Connection) -> None:
    @atide.workflow("w", max_attempts=2)
    async def w(run: AsyncRun, input: Any) -> Any:
        async with run.transaction("charge") as tx:
            if not tx.done:
                await tx.connection.execute("insert into charges (run_id) values (%s)", (run.id,))
                await run.state.set(1)
                await tx.complete({"attempt": run.attempt})
        if run.attempt == 1:
            raise OSError("again")
        return tx.output

    run_id = (await atide.enqueue(w, backoff={"base": 0, "jitter": 0})).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == {"attempt": 1}
    assert charges(books)[0] == 1


def test_an_error_in_the_block_undoes_the_writes_and_the_step(
    tide: Tidebase, books: Connection
) -> None:
    with tide.runs.attach("w") as run:
        with pytest.raises(OSError, match="no"):
            with run.transaction("charge") as tx:
                charge(tx, run)
                run.state.set(1)
                tx.complete(1)
                raise OSError("no")
        assert charges(books) == (0, 0)
        assert tide.runs.describe(run.id)["steps"] == []
        assert run.state.get().version == 0
        with run.transaction("charge") as tx:
            charge(tx, run)
            tx.complete(2)
    assert charges(books) == (1, 1)


async def test_an_error_in_an_async_block_undoes_the_writes(
    atide: AsyncTidebase, books: Connection
) -> None:
    async with await atide.runs.attach("w") as run:
        with pytest.raises(OSError, match="no"):
            async with run.transaction("charge") as tx:
                await tx.connection.execute("update totals set charges = 9")
                await tx.complete(1)
                raise OSError("no")
    assert charges(books) == (0, 0)


@pytest.mark.parametrize(
    ("output", "error"), [({1}, BadPayload), ("x" * 2_000_000, PayloadTooLarge)]
)
def test_an_output_that_cannot_be_kept_undoes_the_writes(
    tide: Tidebase, books: Connection, output: Any, error: type[Exception]
) -> None:
    with tide.runs.attach("w") as run:
        with pytest.raises(error):
            with run.transaction("charge") as tx:
                charge(tx, run)
                tx.complete(output)
        run.step("after", lambda: None)
    assert charges(books) == (0, 0)


ENDING = "select pg_terminate_backend(pg_backend_pid())"


@pytest.mark.parametrize("statement", [ENDING, "select 1 / 0"], ids=["loss", "error"])
def test_what_the_block_passes_over_is_not_taken_for_a_commit(
    tide: Tidebase, books: Connection, statement: str
) -> None:
    said: list[str] = []

    @tide.workflow("w", max_attempts=2)
    def w(run: Run, input: Any) -> int:
        try:
            with run.transaction("charge") as tx:
                charge(tx, run)
                tx.complete()
                if run.attempt == 1:
                    with suppress(psycopg.Error):
                        tx.connection.execute(statement)
        except psycopg.Error as error:
            said.append(str(error))
            raise
        return run.attempt

    run_id = tide.enqueue(w, backoff={"base": 0, "jitter": 0}).run_id
    tide.work(drain=True)
    assert tide.runs.get(run_id).result == 2
    assert charges(books) == (1, 1)
    assert "transaction 'charge' is rolled back" in said[0]


@pytest.mark.parametrize("statement", [ENDING, "select 1 / 0"], ids=["loss", "error"])
async def test_what_an_async_block_passes_over_is_not_taken_for_a_commit(
    atide: AsyncTidebase, books: Connection, statement: str
) -> None:
    @atide.workflow("w", max_attempts=2)
    async def w(run: AsyncRun, input: Any) -> int:
        async with run.transaction("charge") as tx:
            await tx.connection.execute("insert into charges (run_id) values (%s)", (run.id,))
            await tx.complete()
            if run.attempt == 1:
                with suppress(psycopg.Error):
                    await tx.connection.execute(statement)
        return run.attempt

    run_id = (await atide.enqueue(w, backoff={"base": 0, "jitter": 0})).run_id
    await atide.work(drain=True)
    assert (await atide.runs.get(run_id)).result == 2
    assert value(books, "select count(*) from charges") == 1


def test_a_block_left_without_complete_undoes_the_writes(tide: Tidebase, books: Connection) -> None:
    with tide.runs.attach("w") as run:
        with pytest.raises(RuntimeError, match="left without complete"):
            with run.transaction("charge") as tx:
                charge(tx, run)
        with run.transaction("charge") as tx:
            tx.complete()
            with pytest.raises(RuntimeError, match="complete already"):
                tx.complete()
    assert charges(books) == (0, 0)


def test_no_wait_and_no_second_transaction_fit_into_a_transaction(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        with run.transaction("one") as tx:
            for wait in (
                lambda: run.gate("g", "?"),
                lambda: run.sleep("s", 1),
                lambda: run.transaction("two"),
                lambda: run.fanout("f", []),
            ):
                with pytest.raises(RuntimeError, match=r"inside run\.transaction"):
                    wait()
            tx.complete()
        assert tide.gates.pending() == []


def test_a_budget_used_up_parks_the_run_at_a_transaction(tide: Tidebase) -> None:
    run_id = tide.runs.create("w", budget={"max_steps": 0}).run_id
    run = tide.runs.attach("w", run_id)
    with pytest.raises(RunParked), run.transaction("charge"):
        raise AssertionError("not reached")
    run.close()
    assert tide.runs.get(run_id).waiting_on == "budget"


def test_a_lost_run_writes_nothing(tide: Tidebase, books: Connection) -> None:
    run = tide.runs.attach("w")
    with pytest.raises(LeaseLost):
        with run.transaction("charge") as tx:
            charge(tx, run)
            books.execute("select 1")
            tx.connection.execute("update tide.runs_active set lease_id = gen_random_uuid()")
            tx.complete()
    assert charges(books) == (0, 0)
    run.close()


def test_a_transaction_takes_its_connection_from_the_pool(dsn: str, books: Connection) -> None:
    with ConnectionPool(dsn, min_size=1, max_size=4) as pool:
        with Tidebase(pool) as tide:

            @tide.workflow("w")
            def w(run: Run, input: Any) -> Any:
                with run.transaction("charge") as tx:
                    charge(tx, run)
                    tx.complete()

            tide.enqueue(w)
            assert tide.work(drain=True).completed == 1
    assert charges(books) == (1, 1)


def test_a_transaction_takes_part_in_the_caller_s(connect: Any, books: Connection) -> None:
    mine: Connection = connect(autocommit=False)
    with Tidebase(mine).runs.attach("w") as run:
        with run.transaction("charge") as tx:
            charge(tx, run)
            tx.complete()
    mine.rollback()
    assert charges(books) == (0, 0)


@pytest.mark.parametrize("moment", [STARTED, ANSWERED])
@pytest.mark.parametrize("statement", range(1, STATEMENTS + 1))
def test_a_process_killed_at_any_statement_charges_exactly_once(
    tide: Tidebase, books: Connection, dsn: str, statement: int, moment: str
) -> None:
    run_id = tide.enqueue("charge", max_attempts=2, backoff={"base": 0, "jitter": 0}).run_id
    doomed: list[subprocess.Popen[bytes]] = []
    proxy = Statements(dsn, (statement, moment), lambda: doomed[0].kill())
    doomed.append(
        subprocess.Popen(
            [sys.executable, "-m", "tests.driver.waiter", "charge"],
            cwd=ROOT,
            env={**os.environ, "TIDEBASE_DSN": proxy.dsn},
        )
    )
    doomed[0].wait(60)
    proxy.close()
    assert proxy.struck, f"the transaction has fewer than {statement} statements"
    committed = (statement, moment) == (STATEMENTS, ANSWERED)
    assert charges(books) == ((1, 1) if committed else (0, 0))

    @tide.workflow("charge")
    def again(run: Run, input: Any) -> Any:
        with run.transaction("charge") as tx:
            if not tx.done:
                charge(tx, run)
                tx.complete({"charged": "again"})
        return tx.output

    books.execute("update tide.runs_active set leased_until = now() where status = 'running'")
    tide.reconcile()
    tide.work(drain=True)
    row = tide.runs.get(run_id)
    assert (row.status, row.attempt) == ("completed", 2)
    assert row.result == {"charged": 7 if committed else "again"}
    assert charges(books) == (1, 1)


@pytest.mark.parametrize("moment", [STARTED, ANSWERED])
def test_a_commit_whose_answer_was_lost_is_looked_up(
    tide: Tidebase, books: Connection, dsn: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Statements(dsn, (STATEMENTS, moment), lambda: None)
    with tide.runs.attach("w") as run, psycopg.connect(proxy.dsn, autocommit=True) as through:
        monkeypatch.setattr(run._driver.client, "connection", lambda: nullcontext(through))

        def body() -> Any:
            with run.transaction("charge") as tx:
                charge(tx, run)
                tx.complete({"charged": 7})
            return tx.output

        if moment == ANSWERED:
            assert body() == {"charged": 7}
            assert charges(books) == (1, 1)
        else:
            with pytest.raises(psycopg.OperationalError):
                body()
            assert charges(books) == (0, 0)
    proxy.close()
