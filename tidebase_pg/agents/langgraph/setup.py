"""Brings the schema `tide_langgraph` of a database to this release."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg

from tidebase_pg.errors import MigrationDrift

FOLDER: Final = Path(__file__).parent / "sql"
FUNCTIONS: Final = "functions"


def scripts() -> Iterator[tuple[str, str]]:
    """Names and texts, in the order in which they run; migrations begin with a number."""
    yield "header.sql", (FOLDER / "header.sql").read_text()
    for path in sorted((FOLDER / "migrations").glob("*.sql")):
        yield path.name, path.read_text()
    for path in sorted((FOLDER / FUNCTIONS).glob("*.sql")):
        yield path.name, path.read_text()
    yield "grants.sql", (FOLDER / "grants.sql").read_text()


def text() -> str:
    """All of it as one script, to be read and run with psql on an empty database."""
    recorded = "".join(
        f"insert into tide_langgraph.migrations (name, sha256) values ('{name}', '{digest(body)}')"
        ";\n"
        for name, body in scripts()
        if name[0].isdigit()
    )
    bodies = "\n".join(f"-- {name}\n{body}" for name, body in scripts())
    return f"begin;\nset local check_function_bodies = off;\n\n{bodies}\n{recorded}commit;\n"


def install(connection: psycopg.Connection[Any]) -> list[str]:
    """Apply what is missing, in one transaction, and return the migrations that ran.

    Safe to repeat and to run at once: the second caller waits and finds nothing to do. Raises
    MigrationDrift when a migration was applied with another text.
    """
    applied: list[str] = []
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(hashtext('tide_langgraph.install'))")
        connection.execute("set local check_function_bodies = off")
        connection.execute("set local client_min_messages = warning")
        done: dict[str, str] = {}
        for name, body in scripts():
            if name[0].isdigit():
                if (recorded := done.get(name)) is not None:
                    if recorded != digest(body):
                        raise MigrationDrift(name, recorded, digest(body))
                    continue
                connection.execute(
                    "insert into tide_langgraph.migrations (name, sha256) values (%s, %s)",
                    (name, digest(body)),
                )
                applied.append(name)
            connection.execute(body.encode())
            if name == "header.sql":
                rows = connection.execute(
                    "select name, sha256 from tide_langgraph.migrations"
                ).fetchall()
                done = {str(row[0]): str(row[1]) for row in rows}
    return applied


def digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
