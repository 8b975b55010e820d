"""Memories of pydantic-ai-harness: files with versions, each change done once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_ai_harness.memory import (
    InMemoryStore,
    MemoryConflictError,
    MemoryFile,
    MemoryMutation,
    MemoryOperation,
    MemoryOperationConflictError,
    MemorySearchResult,
)

from tidebase_pg.agents.connections import AsyncConnected, AsyncPool
from tidebase_pg.agents.harness.schema import SCHEMA
from tidebase_pg.agents.harness.statements import statement


class TideMemoryStore(AsyncConnected):
    """Keeps memories of pydantic-ai-harness in schema tide_harness. `source` is a DSN or a psycopg
    pool; `setup` makes or upgrades the schema.

    What is no path, limit or metadata is refused as the harness's store in memory refuses it.
    Raises BadPayload for text that Postgres cannot store.

    >>> async with TideMemoryStore.from_conn_string(dsn) as store:
    ...     await store.setup()
    ...     agent = Agent("openai:gpt-5", capabilities=[Memory(store)])
    """

    schema = SCHEMA

    def __init__(self, source: str | AsyncPool) -> None:
        super().__init__(source)

    async def read(self, path: str, *, max_chars: int) -> MemoryFile | None:
        await InMemoryStore().read(path, max_chars=max_chars)
        rows = await self._ask("read_file", {"path": path, "max_chars": max_chars})
        if not rows:
            return None
        (row,) = rows
        return MemoryFile(
            content=row.content,
            version=row.version,
            operation_id=row.operation_id,
            truncated=row.is_truncated,
            metadata=None if row.metadata is None else json.loads(row.metadata),
        )

    async def get_operation(self, operation: MemoryOperation) -> MemoryMutation | None:
        rows = await self._ask("read_receipt", {"operation_id": operation.id})
        if not rows:
            return None
        (row,) = rows
        if row.fingerprint != operation.fingerprint:
            raise _reused(operation)
        return MemoryMutation(version=row.version, replayed=True, existed=row.existed)

    async def write(
        self,
        path: str,
        content: str,
        *,
        expected_version: str | None,
        operation: MemoryOperation | None = None,
    ) -> MemoryMutation:
        return await self.write_with_metadata(
            path, content, expected_version=expected_version, metadata=None, operation=operation
        )

    async def write_with_metadata(
        self,
        path: str,
        content: str,
        *,
        expected_version: str | None,
        metadata: Mapping[str, str] | None,
        operation: MemoryOperation | None = None,
    ) -> MemoryMutation:
        await InMemoryStore().write_with_metadata(
            path, "", expected_version=None, metadata=metadata
        )
        kept = json.dumps(dict(metadata)) if metadata else None
        given = {"content": content, "metadata": kept}
        return await self._change(path, given, expected_version, operation)

    async def delete(
        self,
        path: str,
        *,
        expected_version: str | None,
        operation: MemoryOperation | None = None,
    ) -> MemoryMutation:
        await InMemoryStore().delete(path, expected_version=None)
        return await self._change(path, {}, expected_version, operation)

    async def list_paths(self, prefix: str = "", *, limit: int) -> list[str]:
        await InMemoryStore().list_paths(prefix, limit=limit)
        rows = await self._ask("list_paths", {"prefix": prefix, "max_paths": limit})
        return [row[0] for row in rows]

    async def search(
        self,
        prefix: str,
        query: str,
        *,
        limit: int,
        max_files: int,
        max_chars: int,
        max_file_chars: int,
    ) -> MemorySearchResult:
        """The files directly below a prefix are searched here, by the harness's store in memory,
        so that all of its stores find the same."""
        files: dict[str, str] = {}
        if query.split() and min(limit, max_files, max_chars, max_file_chars) > 0:
            # One more of each, from which the search can tell that something was left out.
            most = {"max_files": max_files + 1, "max_chars": max_file_chars + 1}
            await InMemoryStore().list_paths(prefix, limit=1)
            files = {
                row.path: row.content
                for row in await self._ask("read_files", {"prefix": prefix, **most})
            }
        return await InMemoryStore(files).search(
            prefix,
            query,
            limit=limit,
            max_files=max_files,
            max_chars=max_chars,
            max_file_chars=max_file_chars,
        )

    async def delete_receipts(self, age_seconds: float) -> int:
        """Forget operations that were done so long ago, a thousand in a transaction, and say how
        many. A call of a tool that is repeated later than that is done again."""
        age = {"age": f"{float(age_seconds):f} seconds"}
        total = 0
        while removed := (await self._ask("delete_old_receipts", age))[0][0]:
            total += int(removed)
        return total

    async def _ask(self, function: str, given: Mapping[str, Any]) -> list[Any]:
        return await self._execute(statement(function, given))

    async def _change(
        self,
        path: str,
        given: Mapping[str, Any],
        expected_version: str | None,
        operation: MemoryOperation | None,
    ) -> MemoryMutation:
        asked: dict[str, Any] = {"path": path, "expected_version": expected_version, **given}
        if operation is not None:
            asked |= {"operation_id": operation.id, "fingerprint": operation.fingerprint}
        (row,) = await self._ask("change_file", asked)
        if row.outcome == "conflict":
            raise MemoryConflictError(f"memory path {path!r} changed before it could be changed")
        if row.outcome == "reused" and operation is not None:
            raise _reused(operation)
        return MemoryMutation(
            version=row.version, replayed=row.outcome == "replayed", existed=row.existed
        )


def _reused(operation: MemoryOperation) -> MemoryOperationConflictError:
    return MemoryOperationConflictError(
        f"operation id {operation.id!r} was reused with different arguments"
    )
