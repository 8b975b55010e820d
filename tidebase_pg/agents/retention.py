"""Removes what adapters keep and nobody has written to for long; needs no framework."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg
from psycopg import sql

from tidebase_pg.errors import SchemaTooOld


@dataclass(frozen=True, slots=True)
class Kept:
    """What one framework keeps: the function that removes idle ones, and what makes its schema."""

    schema: str
    function: str
    limit: str
    setup: str


FRAMEWORKS: Final = {
    "langgraph": Kept(
        "tide_langgraph", "delete_idle_threads", "max_threads", "TideSaver(dsn).setup()"
    ),
    "openai-agents": Kept(
        "tide_conversations",
        "delete_idle_conversations",
        "max_conversations",
        "Conversations(dsn).setup()",
    ),
    "pydantic-ai": Kept(
        "tide_conversations",
        "delete_idle_records",
        "max_records",
        "await TideConversationStore(dsn).setup()",
    ),
    "pydantic-ai-harness": Kept(
        "tide_harness",
        "delete_idle_conversations",
        "max_conversations",
        "await TideStepStore(dsn).setup()",
    ),
}


@contextmanager
def connected(dsn: str, *, dry_run: bool = False) -> Generator[Retention]:
    """On this database, each removal a transaction; with `dry_run` all are one, rolled back."""
    with psycopg.connect(dsn, connect_timeout=10, autocommit=not dry_run) as connection:
        yield Retention(connection)
        connection.rollback()


class Retention:
    """Removes idle conversations by way of a connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def installed(self, wanted: Sequence[str] = ()) -> list[str]:
        """The frameworks that keep something here. Raises SchemaTooOld where one that is wanted
        does not, and where none does."""
        found = [name for name in wanted or FRAMEWORKS if self._has(FRAMEWORKS[name])]
        for name in wanted:
            if name not in found:
                kept = FRAMEWORKS[name]
                raise SchemaTooOld(
                    f"nothing of {name} is kept here: {kept.schema}.{kept.function} is missing; "
                    f"its setup makes it: {kept.setup}"
                )
        if not found:
            raise SchemaTooOld(
                "no adapter keeps conversations here; the setup of its store makes the schema"
            )
        return found

    def remove(self, framework: str, idle: timedelta, most: int) -> int:
        """Remove up to `most` conversations nobody has written to for so long, the longest idle
        first, and say how many. Raises psycopg.DataError unless `idle` is positive."""
        kept = FRAMEWORKS[framework]
        function = sql.Identifier(kept.schema, kept.function)
        query = sql.SQL("select {}(idle => %s, {} => %s)").format(
            function, sql.Identifier(kept.limit)
        )
        row = self._connection.execute(query, (idle, most)).fetchone()
        assert row is not None
        return int(row[0])

    def _has(self, kept: Kept) -> bool:
        row = self._connection.execute(
            "select to_regprocedure(%s) is not null",
            (f"{kept.schema}.{kept.function}(interval, integer)",),
        ).fetchone()
        return row is not None and bool(row[0])
