"""Calls over a connection of asyncpg."""

from __future__ import annotations

from typing import Any, TypeVar

from tidebase_pg.call import Call
from tidebase_pg.errors import refusal_of

T = TypeVar("T")


class AsyncpgClient:
    """Executes calls on a connection of asyncpg, in its transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def execute(self, call: Call[T]) -> T:
        """The answer of the database. Raises TideError, Stop, SchemaError or asyncpg's errors."""
        try:
            rows = await self._connection.fetch(call.query, *call.arguments.values())
        except Exception as error:
            refusal = refusal_of(
                getattr(error, "sqlstate", None) or "",
                getattr(error, "message", None) or str(error),
                detail=getattr(error, "detail", None),
                hint=getattr(error, "hint", None),
            )
            if refusal is None:
                raise
            raise refusal from None
        return call.decode([tuple(row) for row in rows])
