"""Every public function, called with whatever fits its types, refuses by name or does its work."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import psycopg

from tests.conventions.test_sql_files import ERRORS, STANDARD_ERRORS
from tests.fuzz.worlds import EDGES, Function, arguments, fill, functions
from tests.support import Connection

CALLS = int(os.environ.get("TIDE_FUZZ_CALLS", "40"))
"""For each function; `make fuzz-sql` makes it many."""
SEED = int(os.environ.get("TIDE_FUZZ_SEED", "1"))
EXPECTED = ERRORS.keys() | STANDARD_ERRORS
NOT_IN_A_TRANSACTION = {"reconcile"}


def statement(function: Function, given: list[tuple[str, str]]) -> str:
    named = ", ".join(f"{name} => {text}" for name, text in given)
    if function.kind == "p":
        return f"call tide.{function.name}({named})"
    return f"select answer::text from tide.{function.name}({named}) as answer"


def keep_what_can_be_cast(connection: Connection) -> None:
    """Literals this server cannot read, as infinite intervals before 17, try no function."""
    for kind, edges in EDGES.items():
        for text in list(edges):
            try:
                connection.execute(f"select ({text})::{kind}".encode())
            except psycopg.DataError:
                edges.remove(text)


def test_no_call_of_any_function_ends_with_an_error_of_its_inside(
    connect: Callable[..., Connection], direct_dsn: str
) -> None:
    connection = connect(direct_dsn)
    keep_what_can_be_cast(connection)
    connection.execute("set statement_timeout = '20s'")
    world = fill(connection)
    found: list[str] = []
    outcomes = {"answered": 0, "refused": 0}
    for function in functions(connection):
        # Each function has a generator of its own, so that a new one changes no other's calls.
        chance = random.Random(f"{SEED} {function.name}")
        for _ in range(CALLS):
            query = statement(function, arguments(function, world, chance))
            keeps = function.name in NOT_IN_A_TRANSACTION
            try:
                if keeps:
                    connection.execute(query.encode()).fetchall()
                else:
                    with connection.transaction(force_rollback=True):
                        connection.execute(query.encode()).fetchall()
                outcomes["answered"] += 1
            except psycopg.Error as error:
                if error.sqlstate in EXPECTED:
                    outcomes["refused"] += 1
                    continue
                shown = query if len(query) < 600 else query[:600] + "…"
                message = (error.diag.message_primary or str(error))[:200]
                found.append(f"{error.sqlstate} {message}\n    {shown}")
    assert found == [], f"{len(found)} of them:\n" + "\n".join(found[:60])
    assert min(outcomes.values()) > CALLS * 10, outcomes
