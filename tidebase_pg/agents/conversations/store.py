"""What conversations hold, sync and async: appended once, read up to a position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from psycopg.types.json import Jsonb

from tidebase_pg.agents.connections import (
    AsyncConnected,
    AsyncPool,
    Connected,
    Pool,
    Statement,
)
from tidebase_pg.agents.schemas import Schema
from tidebase_pg.documents import decode, encode

SCHEMA: Final = Schema(
    "tide_conversations", "Conversations of agents", Path(__file__).parent / "sql"
)


@dataclass(frozen=True, slots=True)
class ConversationItem:
    """One thing that was said, and where it stands."""

    position: int
    item: Any
    key: str | None
    appended_at: datetime


class Conversations(Connected):
    """Conversations in schema tide_conversations. `source` is a DSN or a psycopg pool.

    >>> with Conversations.from_conn_string(dsn) as conversations:
    ...     conversations.setup()
    ...     conversations.append("ann", [{"role": "user", "content": "When is high tide?"}])
    """

    schema = SCHEMA

    def __init__(self, source: str | Pool) -> None:
        super().__init__(source)

    def append(self, conversation_id: str, items: Sequence[Any], *, key: str | None = None) -> int:
        """Append items, and return the position given last. Under a key the first item has the
        key `<key>:1`, and so on; the same append again changes nothing.

        Raises BadPayload naming the place of what is no JSON, PayloadTooLarge above 16 MB."""
        return cast(int, self._execute(_append(conversation_id, items, key))[0][0])

    def read(
        self, conversation_id: str, *, through: int | None = None, limit: int | None = None
    ) -> list[ConversationItem]:
        """The items in order, those up to position `through`, the latest `limit` of them."""
        return _items(self._execute(_read(conversation_id, through, limit)), conversation_id)

    def last_position(self, conversation_id: str) -> int:
        """The position given last, 0 where there is no such conversation."""
        return cast(int, self._execute(_last_position(conversation_id))[0][0])

    def remove_last(self, conversation_id: str) -> Any:
        """Remove the last item, and return it; None where there is none."""
        return _removed(self._execute(_remove_last(conversation_id)), conversation_id)

    def remove(self, conversation_id: str, key: str) -> Any:
        """Remove the item with this key, and return it; None where there is none."""
        return _removed(self._execute(_remove(conversation_id, key)), conversation_id)

    def delete(self, conversation_id: str) -> bool:
        """Remove a conversation with everything in it, and say whether there was one."""
        return cast(bool, self._execute(_delete(conversation_id))[0][0])

    def delete_idle(self, idle_seconds: float) -> int:
        """Remove all conversations nobody has written to for so long, and say how many."""
        total = 0
        while removed := self._execute(_idle(idle_seconds))[0][0]:
            total += cast(int, removed)
        return total


class AsyncConversations(AsyncConnected):
    """`Conversations` for asyncio.

    >>> async with AsyncConversations.from_conn_string(dsn) as conversations:
    ...     await conversations.setup()
    ...     await conversations.append("ann", [{"role": "user", "content": "When is high tide?"}])
    """

    schema = SCHEMA

    def __init__(self, source: str | AsyncPool) -> None:
        super().__init__(source)

    async def append(
        self, conversation_id: str, items: Sequence[Any], *, key: str | None = None
    ) -> int:
        """Append items, and return the position given last. Under a key the first item has the
        key `<key>:1`, and so on; the same append again changes nothing.

        Raises BadPayload naming the place of what is no JSON, PayloadTooLarge above 16 MB."""
        return cast(int, (await self._execute(_append(conversation_id, items, key)))[0][0])

    async def read(
        self, conversation_id: str, *, through: int | None = None, limit: int | None = None
    ) -> list[ConversationItem]:
        """The items in order, those up to position `through`, the latest `limit` of them."""
        return _items(await self._execute(_read(conversation_id, through, limit)), conversation_id)

    async def last_position(self, conversation_id: str) -> int:
        """The position given last, 0 where there is no such conversation."""
        return cast(int, (await self._execute(_last_position(conversation_id)))[0][0])

    async def remove_last(self, conversation_id: str) -> Any:
        """Remove the last item, and return it; None where there is none."""
        return _removed(await self._execute(_remove_last(conversation_id)), conversation_id)

    async def remove(self, conversation_id: str, key: str) -> Any:
        """Remove the item with this key, and return it; None where there is none."""
        return _removed(await self._execute(_remove(conversation_id, key)), conversation_id)

    async def delete(self, conversation_id: str) -> bool:
        """Remove a conversation with everything in it, and say whether there was one."""
        return cast(bool, (await self._execute(_delete(conversation_id)))[0][0])

    async def delete_idle(self, idle_seconds: float) -> int:
        """Remove all conversations nobody has written to for so long, and say how many."""
        total = 0
        while removed := (await self._execute(_idle(idle_seconds)))[0][0]:
            total += cast(int, removed)
        return total


def _append(conversation_id: str, items: Sequence[Any], key: str | None) -> Statement:
    text = encode(list(items), f"what is appended to conversation {conversation_id!r}")
    given = {"items": Jsonb(None, dumps=lambda _: text)} | ({} if key is None else {"key": key})
    return Statement("append_items", {"conversation_id": conversation_id, **given})


def _read(conversation_id: str, through: int | None, limit: int | None) -> Statement:
    given = {"conversation_id": conversation_id, "through": through, "max_items": limit}
    return Statement("read_items", {name: one for name, one in given.items() if one is not None})


def _items(rows: list[Any], conversation_id: str) -> list[ConversationItem]:
    what = "item {} of conversation {!r}"
    return [
        ConversationItem(
            row.position,
            decode(row.item, what, row.position, conversation_id),
            row.key,
            row.appended_at,
        )
        for row in rows
    ]


def _last_position(conversation_id: str) -> Statement:
    return Statement("last_position", {"conversation_id": conversation_id})


def _remove_last(conversation_id: str) -> Statement:
    return Statement("remove_last_item", {"conversation_id": conversation_id})


def _remove(conversation_id: str, key: str) -> Statement:
    return Statement("remove_item", {"conversation_id": conversation_id, "key": key})


def _removed(rows: list[Any], conversation_id: str) -> Any:
    return decode(rows[0][0], "an item of conversation {!r}", conversation_id)


def _delete(conversation_id: str) -> Statement:
    return Statement("delete_conversation", {"conversation_id": conversation_id})


def _idle(seconds: float) -> Statement:
    return Statement("delete_idle_conversations", {"idle": f"{float(seconds):f} seconds"})
