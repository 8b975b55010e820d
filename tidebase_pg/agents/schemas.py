"""Schemas of adapters: each brings the tables and functions of one to this release."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from tidebase_pg.errors import MigrationDrift

COMMON: Final = Path(__file__).parent / "sql"
"""What every schema has: its ledger, functions that all share, and who may call them."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema, what it is for, and the folder of its migrations and functions."""

    name: str
    purpose: str
    folder: Path

    def scripts(self) -> Iterator[tuple[str, str]]:
        """Names and texts, in the order in which they run; migrations begin with a number."""
        yield self._common(COMMON / "header.sql")
        for path in sorted((self.folder / "migrations").glob("*.sql")):
            yield path.name, path.read_text()
        for path in sorted((COMMON / "functions").glob("*.sql")):
            yield self._common(path)
        for path in sorted((self.folder / "functions").glob("*.sql")):
            yield path.name, path.read_text()
        yield self._common(COMMON / "grants.sql")

    def lock(self, connection: psycopg.Connection[Any]) -> None:
        """Let nobody else change the schema until the transaction ends."""
        connection.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"{self.name}.install",))

    def _common(self, path: Path) -> tuple[str, str]:
        text = path.read_text()
        return path.name, text.replace("{schema}", self.name).replace("{purpose}", self.purpose)

    def text(self) -> str:
        """All of it as one script, to be read and run with psql on an empty database."""
        recorded = "".join(
            f"insert into {self.name}.migrations (name, sha256) values ('{name}', "
            f"'{digest(body)}');\n"
            for name, body in self.scripts()
            if name[0].isdigit()
        )
        bodies = "\n".join(f"-- {name}\n{body}" for name, body in self.scripts())
        return f"begin;\nset local check_function_bodies = off;\n\n{bodies}\n{recorded}commit;\n"

    def install(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Apply what is missing, in one transaction, and return the migrations that ran.

        Safe to repeat and to run at once: the second caller waits and finds nothing to do. Raises
        MigrationDrift when a migration was applied with another text.
        """
        ledger = sql.Identifier(self.name, "migrations")
        applied: list[str] = []
        with connection.transaction():
            self.lock(connection)
            connection.execute("set local check_function_bodies = off")
            connection.execute("set local client_min_messages = warning")
            done: dict[str, str] = {}
            for name, body in self.scripts():
                if name[0].isdigit():
                    if (recorded := done.get(name)) is not None:
                        if recorded != digest(body):
                            raise MigrationDrift(name, recorded, digest(body))
                        continue
                    connection.execute(
                        sql.SQL("insert into {} (name, sha256) values (%s, %s)").format(ledger),
                        (name, digest(body)),
                    )
                    applied.append(name)
                connection.execute(body.encode())
                if name == "header.sql":
                    rows = connection.execute(
                        sql.SQL("select name, sha256 from {}").format(ledger)
                    ).fetchall()
                    done = {str(row[0]): str(row[1]) for row in rows}
        return applied


def digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
