"""Steps of runs of pydantic-ai-harness: events, snapshots and effects of tools.

Nothing of pydantic-ai is imported but by the harness, whose releases each take one of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any, Final, TypeAlias, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter
from pydantic_ai_harness.step_persistence import (
    ContinuableSnapshot,
    InMemoryStepStore,
    RunRecord,
    StepEvent,
    ToolEffectRecord,
)

from tidebase_pg.agents.connections import AsyncConnected, AsyncPool
from tidebase_pg.agents.harness.schema import SCHEMA
from tidebase_pg.agents.harness.statements import statement
from tidebase_pg.errors import BadPayload, NotFound, PayloadTooLarge

T = TypeVar("T")
Place: TypeAlias = tuple[str, str | None]
"""A conversation, or a run of none."""

MOST_BYTES: Final = 64 * 2**20
REMEMBERED: Final = 64

_RUN: Final = TypeAdapter(RunRecord)
_EVENT: Final = TypeAdapter(StepEvent)
_EFFECT: Final = TypeAdapter(ToolEffectRecord)
_SNAPSHOT: Final = TypeAdapter(ContinuableSnapshot)
# Bytes as the harness has them in its own stores.
_MESSAGES: Final[TypeAdapter[list[Any]]] = TypeAdapter(
    get_type_hints(ContinuableSnapshot, include_extras=True)["messages"],
    config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"),
)


class TideStepStore(AsyncConnected):
    """Keeps steps of pydantic-ai-harness in schema tide_harness. `source` is a DSN or a psycopg
    pool; `setup` makes or upgrades the schema.

    Each message is kept once for each conversation, however many runs and snapshots hold it, so a
    thousand turns cost a thousand messages. Raises BadPayload naming the place of what is no JSON,
    PayloadTooLarge above 64 MiB at once. Of more than `max_snapshots_per_run` the oldest go.

    >>> async with TideStepStore.from_conn_string(dsn) as store:
    ...     await store.setup()
    ...     agent = Agent("openai:gpt-5", capabilities=[StepPersistence(store=store)])
    """

    schema = SCHEMA

    def __init__(
        self, source: str | AsyncPool, *, max_snapshots_per_run: int | None = None
    ) -> None:
        InMemoryStepStore(max_snapshots_per_run=max_snapshots_per_run)  # refuses what is no limit
        super().__init__(source)
        self._max_snapshots = max_snapshots_per_run
        self._known: OrderedDict[Place, set[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    async def register_run(self, record: RunRecord) -> None:
        """Raises ValueError where the run is registered."""
        given = {
            "run_id": record.run_id,
            "record": _text(_RUN, record, f"run {record.run_id!r}"),
            "conversation_id": record.conversation_id,
            "parent_run_id": record.parent_run_id,
        }
        if not (await self._ask("register_run", given))[0][0]:
            raise ValueError(f"run_id {record.run_id!r} is already in the store")

    async def get_run(self, *, run_id: str) -> RunRecord | None:
        return _read(_RUN, (await self._ask("read_run", {"run_id": run_id}))[0][0])

    async def list_runs(
        self, *, parent_run_id: str | None = None, conversation_id: str | None = None
    ) -> list[RunRecord]:
        given = {"parent_run_id": parent_run_id, "conversation_id": conversation_id}
        rows = await self._ask("list_runs", given)
        return sorted((_RUN.validate_json(row[0]) for row in rows), key=lambda one: one.started_at)

    async def append_event(self, event: StepEvent) -> None:
        given = {
            "run_id": event.run_id,
            "record": _text(_EVENT, event, f"event {event.kind} of run {event.run_id!r}"),
            "conversation_id": event.conversation_id,
            "idempotency_key": event.idempotency_key,
        }
        await self._ask("append_event", given)

    async def list_events(self, *, run_id: str) -> list[StepEvent]:
        rows = await self._ask("list_events", {"run_id": run_id})
        return [_EVENT.validate_json(row[0]) for row in rows]

    async def save_snapshot(self, snapshot: ContinuableSnapshot) -> None:
        messages = _messages(snapshot)
        hashes = _chained(messages)
        try:
            await self._save(snapshot, hashes, messages, self._sent(snapshot, hashes))
        except NotFound:
            # Removed since by somebody else.
            self._forget(_place(snapshot))
            await self._save(snapshot, hashes, messages, 0)

    async def latest_snapshot(
        self, *, run_id: str, include_interrupted: bool = False
    ) -> ContinuableSnapshot | None:
        found = await self._snapshots(run_id, include_interrupted, 1)
        return found[0] if found else None

    async def list_snapshots(
        self, *, run_id: str, include_interrupted: bool = False
    ) -> list[ContinuableSnapshot]:
        """All that are kept, in the order of their making."""
        return await self._snapshots(run_id, include_interrupted, None)

    async def record_tool_effect(self, record: ToolEffectRecord) -> None:
        what = f"call {record.tool_call_id!r} of tool {record.tool_name!r}"
        given = {
            "run_id": record.run_id,
            "tool_call_id": record.tool_call_id,
            "status": record.status,
            "record": _text(_EFFECT, record, what),
        }
        await self._ask("record_effect", given)

    async def get_tool_effect(self, *, run_id: str, tool_call_id: str) -> ToolEffectRecord | None:
        given = {"run_id": run_id, "tool_call_id": tool_call_id}
        return _read(_EFFECT, (await self._ask("read_effect", given))[0][0])

    async def list_unresolved_tool_effects(self, *, run_id: str) -> list[ToolEffectRecord]:
        rows = await self._ask("list_unresolved_effects", {"run_id": run_id})
        return [_EFFECT.validate_json(row[0]) for row in rows]

    async def delete_conversation(self, conversation_id: str) -> bool:
        """Remove a conversation with all its runs, and say whether there was one."""
        return bool(
            (await self._ask("delete_conversation", {"conversation_id": conversation_id}))[0][0]
        )

    async def delete_run(self, run_id: str) -> bool:
        """Remove a run that belongs to no conversation, and say whether there was one."""
        given = {"conversation_id": run_id, "is_run": True}
        return bool((await self._ask("delete_conversation", given))[0][0])

    async def delete_idle(self, idle_seconds: float) -> int:
        """Remove all conversations nobody has written to for so long, with their runs, a hundred
        in a transaction, and say how many."""
        idle = {"idle": f"{float(idle_seconds):f} seconds"}
        total = 0
        while removed := (await self._ask("delete_idle_conversations", idle))[0][0]:
            total += int(removed)
        return total

    # What is known to be stored ---------------------------------------------------------------

    def _sent(self, snapshot: ContinuableSnapshot, hashes: list[bytes]) -> int:
        """How many of these messages are stored, as far as is known here."""
        with self._lock:
            known = self._known.get(_place(snapshot), set())
        return next((at for at in range(len(hashes), 0, -1) if hashes[at - 1] in known), 0)

    def _remember(self, place: Place, hashes: list[bytes]) -> None:
        with self._lock:
            self._known.setdefault(place, set()).update(hashes)
            self._known.move_to_end(place)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _forget(self, place: Place) -> None:
        with self._lock:
            self._known.pop(place, None)

    # Statements -------------------------------------------------------------------------------

    async def _ask(self, function: str, given: Mapping[str, Any]) -> list[Any]:
        return await self._execute(statement(function, given))

    async def _save(
        self,
        snapshot: ContinuableSnapshot,
        hashes: list[bytes],
        messages: list[str],
        sent: int,
    ) -> None:
        what = f"snapshot {snapshot.step_index} of run {snapshot.run_id!r}"
        if sum(len(text) for text in messages[sent:]) > MOST_BYTES:
            raise PayloadTooLarge(
                f"the messages of {what} are above {MOST_BYTES >> 20} MiB; keep files elsewhere, "
                "and their address in the message"
            )
        given = {
            "run_id": snapshot.run_id,
            "state": snapshot.state,
            "record": _text(_SNAPSHOT, replace(snapshot, messages=[]), what),
            "hashes": hashes[sent:],
            "messages": messages[sent:],
            "base_hash": hashes[sent - 1] if sent else None,
            "conversation_id": snapshot.conversation_id,
            "idempotency_key": snapshot.idempotency_key,
            "max_snapshots": self._max_snapshots,
        }
        stored = partial(self._remember, _place(snapshot), hashes)
        await self._execute(statement("save_snapshot", given, stored))

    async def _snapshots(
        self, run_id: str, include_interrupted: bool, limit: int | None
    ) -> list[ContinuableSnapshot]:
        given = {
            "run_id": run_id,
            "include_interrupted": include_interrupted,
            "max_snapshots": limit,
        }
        (row,) = await self._ask("read_snapshots", given)
        parents: dict[bytes, bytes | None] = dict(
            zip(row.hashes or [], row.parents or [], strict=True)
        )
        read = _MESSAGES.validate_json(f"[{','.join(row.messages or [])}]")
        messages = dict(zip(parents, read, strict=True))
        found: list[ContinuableSnapshot] = []
        for record, head in zip(row.records or [], row.heads or [], strict=True):
            history: list[Any] = []
            while head is not None:
                history.append(messages[head])
                head = parents[head]
            found.append(replace(_SNAPSHOT.validate_json(record), messages=history[::-1]))
        return found


def _place(snapshot: ContinuableSnapshot) -> Place:
    if snapshot.conversation_id is None:
        return snapshot.run_id, None
    return "", snapshot.conversation_id


def _messages(snapshot: ContinuableSnapshot) -> list[str]:
    """The JSON of each message."""
    texts: list[str] = []
    for place, message in enumerate(snapshot.messages):
        what = f"message {place} of run {snapshot.run_id!r}"
        texts.append(_text(_MESSAGES, [message], what)[1:-1])
    return texts


def _chained(messages: list[str]) -> list[bytes]:
    """Hashes, each of a message and all before it."""
    hashes: list[bytes] = []
    before = b""
    for text in messages:
        before = blake2b(text.encode(), digest_size=16, key=before).digest()
        hashes.append(before)
    return hashes


def _text(adapter: TypeAdapter[T], value: T, what: str) -> str:
    try:
        return adapter.dump_json(value).decode()
    except (ValueError, TypeError) as error:
        raise BadPayload(
            f"{what} cannot be stored as JSON: {error}; tools may only take and return what "
            "pydantic can write as JSON"
        ) from error


def _read(adapter: TypeAdapter[T], text: str | None) -> T | None:
    return None if text is None else adapter.validate_json(text)
