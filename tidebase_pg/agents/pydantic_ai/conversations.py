"""Conversations of pydantic-ai: each message kept once, the same in every attempt of a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from psycopg.types.json import Jsonb
from pydantic import TypeAdapter
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.messages import ModelMessage
from pydantic_ai.run import AgentRunResult

from tidebase_pg import AsyncRun
from tidebase_pg.agents.connections import AsyncConnected, AsyncPool, Statement
from tidebase_pg.agents.conversations.store import SCHEMA
from tidebase_pg.agents.pydantic_ai.durability import stable
from tidebase_pg.documents import encode

_RECORD: Final = TypeAdapter(ConversationRecord)
_MESSAGE: Final[TypeAdapter[ModelMessage]] = TypeAdapter(ModelMessage)
LOAD: Final = "conversation"
SAVE: Final = "conversation.save"


class TideConversationStore(AsyncConnected, ConversationStore):
    """Keeps pydantic-ai's conversations in schema tide_conversations. `source` is a DSN or a
    psycopg pool; `setup` makes or upgrades the schema.

    Inside a run take `load_for` and `save_for`, so that a later attempt finds what the first found.
    `delete` removes the messages that no other conversation shares. Raises BadPayload naming the
    place of what is no JSON.

    >>> async with TideConversationStore.from_conn_string(dsn) as store:
    ...     await store.setup()
    ...     conversation = await store.load("ann") or Conversation(conversation_id="ann")
    ...     await store.save(await agent.run("And tomorrow?", conversation=conversation))
    """

    schema = SCHEMA

    def __init__(self, source: str | AsyncPool) -> None:
        super().__init__(source)

    async def load_for(
        self, run: AsyncRun, conversation_id: str, *, scope: str | None = None
    ) -> Conversation:
        """The conversation as it stood when the run first came here, a new one where there was
        none.

        >>> conversation = await store.load_for(run, input["user"])
        >>> result = await agent.run(input["question"], conversation=conversation)
        >>> await store.save_for(run, result)
        """

        async def stand() -> Any:
            record = await self._read_record(conversation_id, scope=scope)
            return None if record is None else _plain(record)

        stood = await run.step(LOAD, stand, input={"conversation": conversation_id})
        if stood is None:
            return Conversation(conversation_id=conversation_id)
        record = _RECORD.validate_python(stood)
        history = await self.read_history(record.head_id)
        return Conversation(
            messages=[entry.message for entry in history],
            usage=record.usage,
            conversation_id=record.conversation_id,
            deferred_tool_requests=record.deferred_tool_requests,
            revision=record.revision,
        )

    async def save_for(
        self, run: AsyncRun, result: AgentRunResult[Any], *, scope: str | None = None
    ) -> None:
        """Save what the run has added, once. Raises ConversationConflict when somebody else has
        saved the conversation meanwhile."""

        async def save() -> None:
            try:
                await self.save(result, scope=scope)
            except ConversationConflict:
                if not await self._holds(result.conversation):
                    raise

        await run.step(SAVE, save, input={"conversation": result.conversation.conversation_id})

    async def _holds(self, conversation: Conversation) -> bool:
        """Whether it is saved: by an attempt that died before it could say so."""
        stored = await self.load(conversation.conversation_id)
        if stored is None:
            return False
        begins = stored.messages[: len(conversation.messages)]
        return bool(_said(begins) == _said(conversation.messages))

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        rows = await self._execute(Statement("read_record", {"conversation_id": conversation_id}))
        return None if rows[0][0] is None else _RECORD.validate_json(rows[0][0])

    async def read_records(
        self, *, scope: str | None = None, limit: int | None = None
    ) -> Sequence[ConversationRecord]:
        given = {"scope": scope, "max_records": limit}
        rows = await self._execute(
            Statement("list_records", {name: one for name, one in given.items() if one is not None})
        )
        return [_RECORD.validate_json(row[0]) for row in rows]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        what = f"conversation {record.conversation_id!r}"
        entries = [
            {
                "id": entry.id,
                "parent_id": entry.parent_id,
                "kind": entry.kind,
                "message": _MESSAGE.dump_python(entry.message, mode="json"),
            }
            for entry in new_entries
        ]
        given: dict[str, Any] = {
            "record": _json(encode(_plain(record), what)),
            "entries": _json(encode(entries, f"what is appended to {what}")),
        }
        if expected_revision is not None:
            given["expected_revision"] = expected_revision
        if not (await self._execute(Statement("write_record", given)))[0][0]:
            raise ConversationConflict(record.conversation_id)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        given = {"conversation_id": conversation_id, "expected_revision": expected_revision}
        if not (await self._execute(Statement("delete_record", given)))[0][0]:
            raise ConversationConflict(conversation_id)

    async def delete_idle(self, idle_seconds: float) -> int:
        """Remove all conversations nobody has saved for so long, with the messages that no other
        shares, a hundred in a transaction, and say how many."""
        idle = Statement("delete_idle_records", {"idle": f"{float(idle_seconds):f} seconds"})
        total = 0
        while removed := (await self._execute(idle))[0][0]:
            total += int(removed)
        return total

    async def read_history(
        self, head_id: str | None, *, limit: int | None = None
    ) -> list[ConversationEntry]:
        if head_id is None:
            return []
        given = {"head_id": head_id} | ({} if limit is None else {"max_entries": limit})
        entries = [
            ConversationEntry(
                id=row.entry_id,
                parent_id=row.parent_id,
                message=_MESSAGE.validate_json(row.message),
                kind=row.kind,
            )
            for row in await self._execute(Statement("read_history", given))
        ]
        if not entries and limit != 0:
            raise LookupError(f"entry {head_id!r} is not stored any more")
        return entries

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        (entry,) = await self.read_history(entry_id, limit=1)
        return entry


def _plain(record: ConversationRecord) -> Any:
    return _RECORD.dump_python(record, mode="json")


def _said(messages: Sequence[ModelMessage]) -> Any:
    """What messages say, without what differs from one attempt to the next."""
    return stable([_MESSAGE.dump_python(message, mode="json") for message in messages])


def _json(text: str) -> Jsonb:
    return Jsonb(None, dumps=partial(_as_it_is, text))


def _as_it_is(text: str, _: Any) -> str:
    return text
