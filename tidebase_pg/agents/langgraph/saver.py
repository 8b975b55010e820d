"""Checkpoint savers of LangGraph, sync and async, over the functions of schema tide_langgraph."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from tidebase_pg.agents.connections import (
    AsyncConnected,
    AsyncPool,
    Connected,
    Pool,
    Statement,
)
from tidebase_pg.agents.langgraph.schema import SCHEMA
from tidebase_pg.agents.langgraph.values import (
    PACKED,
    Blob,
    Draft,
    Kept,
    Memory,
    Place,
    common,
    is_inline,
    is_list,
    split,
    unpacked,
)
from tidebase_pg.errors import BadPayload, NotFound

PAGE: Final = 20
KEEP_LATEST: Final = "keep_latest"
DELETE: Final = "delete"


@dataclass(frozen=True, slots=True)
class Reading(Statement):
    """A read, and what was known of its namespace when it was asked."""

    known: Mapping[str, Kept] = field(default_factory=dict[str, Kept])


class _Saver(BaseCheckpointSaver[str]):
    """What both savers are: values into statements, rows into checkpoints."""

    schema = SCHEMA

    def __init__(self, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self._memory = Memory()

    def get_next_version(self, current: str | int | float | None, channel: None = None) -> str:
        """Numbers that grow, each with a random tail: branches of a thread never share one."""
        number, width = 0, 10
        if current is not None:
            digits = str(current).partition(".")[0]
            number, width = int(digits), max(10, len(digits))
        return f"{number + 1:0{width}}.{random.getrandbits(48):012x}"

    # What is asked --------------------------------------------------------------------------

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        versions: ChannelVersions,
    ) -> Statement:
        thread_id, namespace = _thread(config), _namespace(config)
        known = self._memory.of(thread_id)
        draft = Draft(self.serde, known)
        inline: dict[str, Any] = {}
        channels: list[dict[str, Any]] = []
        values: dict[Place, Kept] = {}
        for channel, value in checkpoint["channel_values"].items():
            if is_inline(value):
                inline[channel] = value
                continue
            if channel not in versions:
                continue
            version = str(versions[channel])
            what = f"the value of channel {channel!r} of thread {thread_id!r}"
            entry: dict[str, Any] = {"channel": channel, "version": version}
            if listed := is_list(value):
                hashes, blobs = draft.many(value, what)
                before = known.values.get((namespace, channel))
                keep = common(before.hashes, hashes) if before and before.listed else 0
                entry |= {"base": before.version if before and keep else None, "keep": keep}
                entry["items"] = [part.hex() for part in hashes[keep:]]
            else:
                key, blob = draft.one(value, what)
                hashes, blobs = [key], [blob]
                entry["hash"] = key.hex()
            values[namespace, channel] = Kept.of(version, hashes, blobs, listed)
            channels.append(entry)
        hashes, types, datas = draft.arrays()
        configurable = config["configurable"]

        def stored() -> None:
            draft.stored()
            self._memory.keep(thread_id, values)

        return Statement(
            "put",
            {
                "thread_id": thread_id,
                "checkpoint_ns": namespace,
                "checkpoint_id": checkpoint["id"],
                "parent_id": configurable.get("checkpoint_id"),
                "checkpoint": _json({**checkpoint, "channel_values": inline}, "the checkpoint"),
                "metadata": _json(
                    get_serializable_checkpoint_metadata(config, metadata), "the metadata"
                ),
                "channels": _json(channels, "the channels"),
                "hashes": hashes,
                "types": types,
                "datas": datas,
            },
            stored,
        )

    def _put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Statement:
        thread_id = _thread(config)
        # Nothing is left out as known: a write has to stand whatever was removed meanwhile.
        draft = Draft(self.serde, Memory().of(thread_id))
        entries: list[dict[str, Any]] = []
        for place, (channel, value) in enumerate(writes):
            what = f"what task {task_id} writes to channel {channel!r}"
            parts = draft.many(value, what)[0] if is_list(value) else [draft.one(value, what)[0]]
            entries.append(
                {
                    "idx": WRITES_IDX_MAP.get(channel, place),
                    "channel": channel,
                    "is_list": is_list(value),
                    "items": [part.hex() for part in parts],
                }
            )
        hashes, types, datas = draft.arrays()
        known = self._memory.of(thread_id)
        return Statement(
            "put_writes",
            {
                "thread_id": thread_id,
                "checkpoint_ns": _namespace(config),
                "checkpoint_id": str(config["configurable"]["checkpoint_id"]),
                "task_id": task_id,
                "task_path": task_path,
                "replace": all(channel in WRITES_IDX_MAP for channel, _ in writes),
                "writes": _json(entries, "the writes"),
                "hashes": hashes,
                "types": types,
                "datas": datas,
            },
            lambda: known.hashes.update(hashes),
        )

    def _read(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
        latest: bool = False,
    ) -> Reading:
        configurable = (config or {}).get("configurable", {})
        namespace = configurable.get("checkpoint_ns", "" if latest else None)
        thread_id = configurable.get("thread_id")
        given: dict[str, Any] = {
            "thread_id": thread_id and _name("thread_id", thread_id),
            "checkpoint_ns": namespace and _name("checkpoint_ns", namespace),
            "checkpoint_id": configurable.get("checkpoint_id"),
            "filter": None if not filter else _json(filter, "the filter"),
            "before": None if before is None else get_checkpoint_id(before),
            "max_checkpoints": limit,
        }
        known: dict[str, Kept] = {}
        if thread_id and namespace is not None:
            known = self._memory.of(_name("thread_id", thread_id)).within(namespace)
        if known:
            versions = {
                channel: [kept.version, kept.hashes[-1].hex()] for channel, kept in known.items()
            }
            given["known"] = json.dumps(versions)
        wanted = {name: value for name, value in given.items() if value is not None}
        return Reading("read", wanted, rows=tuple_row, known=known)

    def _prune(self, thread_ids: Sequence[str], strategy: str) -> list[Statement]:
        if isinstance(thread_ids, str):
            raise TypeError("thread_ids is a list of ids, not one id")
        if strategy not in (KEEP_LATEST, DELETE):
            raise ValueError(f"strategy is {KEEP_LATEST!r} or {DELETE!r}, not {strategy!r}")
        ids = [str(thread_id) for thread_id in thread_ids]
        if strategy == KEEP_LATEST:
            return [Statement("prune", {"thread_ids": ids}, self._memory.forget)]
        return [self._delete_thread(thread_id) for thread_id in ids]

    def _delete_thread(self, thread_id: str) -> Statement:
        given = {"thread_id": _name("thread_id", thread_id)}
        return Statement("delete_thread", given, lambda: self._memory.forget(given["thread_id"]))

    def _delete_for_runs(self, run_ids: Sequence[str]) -> Statement:
        ids = [str(run_id) for run_id in run_ids]
        return Statement("delete_for_runs", {"run_ids": ids}, self._memory.forget)

    def _copy_thread(self, source_thread_id: str, target_thread_id: str) -> Statement:
        given = {"source_id": str(source_thread_id), "target_id": str(target_thread_id)}
        return Statement("copy_thread", given)

    # What is answered -----------------------------------------------------------------------

    def _loaded(self, parts: Sequence[Blob], listed: bool) -> Any:
        load = self.serde.loads_typed
        return [load(part) for part in parts] if listed else load(parts[0])

    def _tuples(self, asked: Reading, rows: Sequence[Any]) -> list[CheckpointTuple]:
        return [self._tuple(asked, row, sent)[0] for row, sent in _found(rows)]

    def _latest(self, asked: Reading, rows: Sequence[Any]) -> CheckpointTuple | None:
        """The checkpoint that was asked for; what its channels hold is remembered."""
        for row, sent in _found(rows):
            found, values = self._tuple(asked, row, sent)
            self._memory.keep(row["thread"], values)
            return found
        return None

    def _tuple(
        self, asked: Reading, row: Any, sent: Mapping[bytes, Blob]
    ) -> tuple[CheckpointTuple, dict[Place, Kept]]:
        """A checkpoint, and what its channels hold as it is stored: as many as said of what was
        known, and then what was sent."""
        thread, namespace = row["thread"], row["namespace"]
        self._memory.of(thread).hashes.update(sent)
        checkpoint: Checkpoint = row["checkpoint"]
        values: dict[Place, Kept] = {}
        hashes = bytes.fromhex(row["hashes"] or "")
        for channel, version, count, keep in row["channels"] or ():
            new, hashes = split(hashes, abs(count) - keep)
            blobs = [sent[key] for key in new]
            if keep:
                known = asked.known[channel]
                new, blobs = known.hashes[:keep] + new, known.blobs[:keep] + blobs
            checkpoint["channel_values"][channel] = self._loaded(blobs, count >= 0)
            values[namespace, channel] = Kept.of(version, new, blobs, count >= 0)
        writes: list[PendingWrite] = []
        hashes = bytes.fromhex(row["write_hashes"] or "")
        for task_id, channel, count in row["writes"] or ():
            new, hashes = split(hashes, abs(count))
            value = self._loaded([sent[key] for key in new], count >= 0)
            writes.append((task_id, channel, value))
        found = CheckpointTuple(
            _config(thread, namespace, row["id"]),
            checkpoint,
            row["metadata"],
            None if row["parent"] is None else _config(thread, namespace, row["parent"]),
            writes,
        )
        return found, values


def _found(rows: Iterable[Any]) -> Iterator[tuple[Any, dict[bytes, Blob]]]:
    """Each checkpoint with the values that came with it."""
    document, sent = None, dict[bytes, Blob]()
    for text, key, kind, data in rows:
        if text is None:
            blob = (kind, data)
            sent[key] = unpacked(blob) if kind.endswith(PACKED) else blob
            continue
        if document is not None:
            yield document, sent
        document, sent = json.loads(text), {}
    if document is not None:
        yield document, sent


class TideSaver(Connected, _Saver):
    """Keeps LangGraph's checkpoints in schema tide_langgraph: `graph.compile(checkpointer=…)`.

    `source` is a DSN or a psycopg pool. `setup` makes or upgrades the schema. A list, such as the
    messages of a chat, is kept element by element, each once: a thousand turns cost a thousand
    messages.

    >>> with TideSaver.from_conn_string(dsn) as saver:
    ...     saver.setup()
    ...     graph = builder.compile(checkpointer=saver)
    """

    def __init__(self, source: str | Pool, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(source, serde=serde)

    def delete_idle_threads(self, idle_seconds: float) -> int:
        """Remove all threads nobody has written to for so long, and say how many they were."""
        total = 0
        while removed := self._execute(_idle(idle_seconds))[0][0]:
            total += cast(int, removed)
        self._memory.forget()
        return total

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        try:
            self._execute(self._put(config, checkpoint, metadata, new_versions))
        except NotFound:
            self._memory.forget(_thread(config))
            self._execute(self._put(config, checkpoint, metadata, new_versions))
        return _config(_thread(config), _namespace(config), checkpoint["id"])

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self._execute(self._put_writes(config, writes, task_id, task_path))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        asked = self._read(config, limit=1, latest=True)
        return self._latest(asked, self._execute(asked))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        while limit is None or limit > 0:
            page = _page(config, limit)
            asked = self._read(config, filter=filter, before=before, limit=page)
            found = self._tuples(asked, self._execute(asked))
            yield from found
            if page is None or len(found) < page:
                return
            before = found[-1].config
            limit = None if limit is None else limit - len(found)

    def delete_thread(self, thread_id: str) -> None:
        self._execute(self._delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._execute(self._delete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._execute(self._copy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = KEEP_LATEST) -> None:
        for statement in self._prune(thread_ids, strategy):
            self._execute(statement)


class AsyncTideSaver(AsyncConnected, _Saver):
    """`TideSaver` for asyncio.

    >>> async with AsyncTideSaver.from_conn_string(dsn) as saver:
    ...     await saver.setup()
    ...     graph = builder.compile(checkpointer=saver)
    """

    def __init__(self, source: str | AsyncPool, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(source, serde=serde)

    async def delete_idle_threads(self, idle_seconds: float) -> int:
        """Remove all threads nobody has written to for so long, and say how many they were."""
        total = 0
        while removed := (await self._execute(_idle(idle_seconds)))[0][0]:
            total += cast(int, removed)
        self._memory.forget()
        return total

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        try:
            await self._execute(self._put(config, checkpoint, metadata, new_versions))
        except NotFound:
            self._memory.forget(_thread(config))
            await self._execute(self._put(config, checkpoint, metadata, new_versions))
        return _config(_thread(config), _namespace(config), checkpoint["id"])

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await self._execute(self._put_writes(config, writes, task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        asked = self._read(config, limit=1, latest=True)
        return self._latest(asked, await self._execute(asked))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        while limit is None or limit > 0:
            page = _page(config, limit)
            asked = self._read(config, filter=filter, before=before, limit=page)
            found = self._tuples(asked, await self._execute(asked))
            for one in found:
                yield one
            if page is None or len(found) < page:
                return
            before = found[-1].config
            limit = None if limit is None else limit - len(found)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._execute(self._delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._execute(self._delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._execute(self._copy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = KEEP_LATEST) -> None:
        for statement in self._prune(thread_ids, strategy):
            await self._execute(statement)


def _thread(config: RunnableConfig) -> str:
    configurable = config.get("configurable", {})
    if not configurable.get("thread_id"):
        raise ValueError('config has no thread_id: give {"configurable": {"thread_id": …}}')
    return _name("thread_id", configurable["thread_id"])


def _namespace(config: RunnableConfig) -> str:
    return _name("checkpoint_ns", config["configurable"].get("checkpoint_ns", ""))


def _name(what: str, given: object) -> str:
    text = str(given)
    if "\0" in text or (not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)):
        raise ValueError(
            f"{what} {text[:60]!r} holds a NUL or half a character, which Postgres cannot store"
        )
    return text


def _config(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": namespace,
            "checkpoint_id": checkpoint_id,
        }
    }


def _page(config: RunnableConfig | None, limit: int | None) -> int | None:
    """How many to read at once; all where ids do not tell one page from the next."""
    configurable = (config or {}).get("configurable", {})
    if "thread_id" not in configurable or "checkpoint_ns" not in configurable:
        return limit
    return PAGE if limit is None else min(PAGE, limit)


def _idle(seconds: float) -> Statement:
    return Statement("delete_idle_threads", {"idle": f"{float(seconds):f} seconds"})


def _json(value: Any, what: str) -> Jsonb:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise BadPayload(f"{what} cannot be stored as JSON: {error}") from error
    if "\\u0000" in text:
        value = _without_nul(value)
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    return Jsonb(value, dumps=lambda _: text)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(part) for part in value]
    return value
