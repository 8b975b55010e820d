"""Memory of LangGraph, sync and async: documents by namespace and key, found by words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Final, TypedDict, cast

import psycopg
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    get_text_at_path,
    tokenize_path,
    validate_op_namespace,
)
from psycopg.types.json import Jsonb

from tidebase_pg.agents.connections import (
    AsyncConnected,
    AsyncPool,
    Connected,
    Installed,
    Pool,
    Statement,
)
from tidebase_pg.agents.langgraph.schema import SCHEMA
from tidebase_pg.agents.langgraph.vectors import (
    Meaning,
    VectorIndex,
    Vectors,
    document,
    install,
    is_vectors,
)
from tidebase_pg.documents import encode

OPERATORS: Final = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
LANGUAGE: Final = "simple"
PAGE: Final = 1000


class TextIndex(TypedDict, total=False):
    """How documents are found by words."""

    language: str
    """A text search configuration of Postgres, "english" for one; default "simple"."""
    fields: list[str] | None
    """Paths to what is searched, as LangGraph has them; default all texts of the document."""


class _Store(Installed, BaseStore):
    """What both stores are: operations into statements, rows into items."""

    schema = SCHEMA
    supports_ttl = True

    def __init__(
        self, *, index: TextIndex | VectorIndex | None = None, ttl: TTLConfig | None = None
    ) -> None:
        self.ttl_config = ttl
        by_meaning = is_vectors(index)
        self._index = None if by_meaning else cast("TextIndex | None", index)
        self._meaning = Meaning(cast(VectorIndex, index)) if by_meaning else None
        self._language = (self._index or {}).get("language", LANGUAGE)

    def _install(self, connection: psycopg.Connection[Any]) -> None:
        super()._install(connection)
        if self._meaning is not None:
            install(connection, self._meaning)

    def _asked(
        self, ops: Iterable[Op], results: list[Result], vectors: Vectors
    ) -> Generator[tuple[Statement, Callable[[list[Any]], None]]]:
        """The statements of a batch, each with what takes in its rows; reads come before writes."""
        gets: list[tuple[int, GetOp]] = []
        puts: dict[tuple[tuple[str, ...], str], PutOp] = {}
        reads: list[tuple[Statement, Callable[[list[Any]], None]]] = []
        for place, op in enumerate(ops):
            validate_op_namespace(op)
            results.append(None)
            match op:
                case GetOp():
                    gets.append((place, op))
                case PutOp():
                    puts[op.namespace, op.key] = op
                case SearchOp():
                    reads.append((self._search(op, vectors), _into(results, place, _found)))
                case ListNamespacesOp():
                    reads.append((_list(op), _into(results, place, _namespaces)))
                case _:
                    raise TypeError(f"this is no operation of a store: {op!r}")
        # Before anything is written: what cannot be stored is refused as a whole.
        written = self._put(list(puts.values()), vectors) if puts else None
        if gets:
            yield _get(gets), _given(gets, results)
        yield from reads
        if written is not None:
            yield written, _nothing

    def _put(self, ops: Sequence[PutOp], vectors: Vectors) -> Statement:
        parts: list[str] = []
        removed: list[dict[str, Any]] = []
        for op in ops:
            what = document(op)
            named: dict[str, Any] = {"namespace": op.namespace, "key": op.key}
            if op.value is None:
                removed.append(named)
                continue
            named |= {"ttl": op.ttl} | self._indexed(op)
            if self._meaning is not None:
                named["vectors"] = [vectors[text] for text in self._meaning.texts_of(op)]
            parts.append(f'{encode(named, what)[:-1]},"value":{encode(dict(op.value), what)}}}')
        given: dict[str, Any] = {"items": _text(f"[{','.join(parts)}]"), "language": self._language}
        return Statement("put_items", given | ({"removed": Jsonb(removed)} if removed else {}))

    def _indexed(self, op: PutOp) -> dict[str, Any]:
        if op.index is False:
            return {"indexed": "no"}
        fields = op.index or (self._index or {}).get("fields")
        if fields is not None:
            found = (get_text_at_path(op.value, tokenize_path(field)) for field in fields)
            return {"indexed": "some", "text": " ".join(text for texts in found for text in texts)}
        return {} if self._index is None else {"indexed": "all"}

    def _search(self, op: SearchOp, vectors: Vectors) -> Statement:
        given = {
            "prefix": list(op.namespace_prefix),
            "conditions": Jsonb(list(_conditions(op.filter or {}))),
            "max_items": op.limit,
            "skip": op.offset,
            "refresh": op.refresh_ttl,
        }
        if self._meaning is not None and op.query:
            return Statement("search_vectors", {**given, "embedding": vectors[op.query]})
        return Statement(
            "search_items", {**given, "query": op.query or None, "language": self._language}
        )


def _conditions(filter: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    for key, wanted in filter.items():
        operators = isinstance(wanted, Mapping) and any(str(one).startswith("$") for one in wanted)
        given = wanted if operators else {"$eq": wanted}
        for operator, operand in given.items():
            if operator not in OPERATORS:
                raise ValueError(
                    f"the filter of {key!r} has an unknown operator {operator!r}; there are "
                    f"{', '.join(OPERATORS)}"
                )
            encode(operand, f"the filter of {key!r}")
            yield {"key": key, "operator": operator, "operand": operand}


def _get(gets: Sequence[tuple[int, GetOp]]) -> Statement:
    asked = [
        {"namespace": op.namespace, "key": op.key, "refresh": op.refresh_ttl}
        for op in {(op.namespace, op.key): op for _, op in gets}.values()
    ]
    return Statement("get_items", {"items": Jsonb(asked)})


def _given(gets: Sequence[tuple[int, GetOp]], results: list[Result]) -> Callable[[list[Any]], None]:
    def take(rows: list[Any]) -> None:
        found = {(tuple(row.namespace), row.key): row for row in rows}
        for place, op in gets:
            row = found.get((op.namespace, op.key))
            results[place] = None if row is None else Item(**_facts(row))

    return take


def _list(op: ListNamespacesOp) -> Statement:
    conditions = [
        {"at_end": condition.match_type == "suffix", "path": condition.path}
        for condition in op.match_conditions or ()
    ]
    arguments: dict[str, Any] = {
        "conditions": Jsonb(conditions),
        "max_namespaces": op.limit,
        "skip": op.offset,
    }
    return Statement(
        "list_namespaces",
        arguments if op.max_depth is None else {**arguments, "max_depth": op.max_depth},
    )


def _into(
    results: list[Result], place: int, read: Callable[[list[Any]], Result]
) -> Callable[[list[Any]], None]:
    def take(rows: list[Any]) -> None:
        results[place] = read(rows)

    return take


def _found(rows: list[Any]) -> Result:
    return [SearchItem(**_facts(row), score=row.score) for row in rows]


def _namespaces(rows: list[Any]) -> Result:
    return [tuple(row.namespace) for row in rows]


def _nothing(rows: list[Any]) -> None:
    pass


def _facts(row: Any) -> dict[str, Any]:
    return {
        "namespace": tuple(row.namespace),
        "key": row.key,
        "value": json.loads(row.value),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _text(document: str) -> Jsonb:
    """JSON text as a parameter, as it is."""
    return Jsonb(None, dumps=lambda _: document)


class TideStore(Connected, _Store):
    """Keeps LangGraph's memories in schema tide_langgraph: `graph.compile(store=…)`.

    `source` is a DSN or a psycopg pool. Documents are found by words at once, and by an index with
    `index`: `{"language": "english", "fields": ["text"]}`. An index with `dims` and `embed` finds
    them by what they mean, with pgvector. With `ttl`, or a time given to `put`,
    documents go when nobody has read or written them for so many minutes. Raises BadPayload
    naming the place of what is no JSON.

    >>> with TideStore.from_conn_string(dsn) as store:
    ...     store.setup()
    ...     store.put(("users", "ann"), "likes", {"text": "kites and high tides"})
    ...     store.search(("users",), query="tides")
    """

    def __init__(
        self,
        source: str | Pool,
        *,
        index: TextIndex | VectorIndex | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        super().__init__(source, index=index, ttl=ttl)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        ops, results = list(ops), cast("list[Result]", [])
        for statement, take in self._asked(ops, results, self._vectors(ops)):
            take(self._execute(statement))
        return results

    def _vectors(self, ops: Sequence[Op]) -> Vectors:
        if self._meaning is None:
            return {}
        texts, questions = self._meaning.wanted(ops)
        embeddings = self._meaning.embeddings
        found = [embeddings.embed_query(question) for question in questions]
        vectors = self._meaning.vectors(questions, found)
        if texts:
            vectors |= self._meaning.vectors(texts, embeddings.embed_documents(texts))
        return vectors

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await asyncio.to_thread(self.batch, list(ops))

    def delete_expired(self) -> int:
        """Remove documents whose time is over, and say how many; they are given to nobody
        meanwhile, and each put removes a few."""
        total = 0
        while removed := self._execute(_expired())[0][0]:
            total += cast(int, removed)
        return total


class AsyncTideStore(AsyncConnected, _Store):
    """`TideStore` for asyncio. Its synchronous methods are for other threads, such as those of
    synchronous nodes in a graph that runs here.

    >>> async with AsyncTideStore.from_conn_string(dsn) as store:
    ...     await store.setup()
    ...     await store.aput(("users", "ann"), "likes", {"text": "kites and high tides"})
    """

    def __init__(
        self,
        source: str | AsyncPool,
        *,
        index: TextIndex | VectorIndex | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        super().__init__(source, index=index, ttl=ttl)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        self._loop = asyncio.get_running_loop()
        ops, results = list(ops), cast("list[Result]", [])
        for statement, take in self._asked(ops, results, await self._vectors(ops)):
            take(await self._execute(statement))
        return results

    async def _vectors(self, ops: Sequence[Op]) -> Vectors:
        if self._meaning is None:
            return {}
        texts, questions = self._meaning.wanted(ops)
        embeddings = self._meaning.embeddings
        found = [await embeddings.aembed_query(question) for question in questions]
        vectors = self._meaning.vectors(questions, found)
        if texts:
            vectors |= self._meaning.vectors(texts, await embeddings.aembed_documents(texts))
        return vectors

    async def _opened(self) -> None:
        self._loop = asyncio.get_running_loop()
        await super()._opened()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        loop = self._loop
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if loop is None or here is loop:
            raise RuntimeError(
                "this store works in an event loop: await its methods that begin with a, or take "
                "TideStore"
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(list(ops)), loop).result()

    async def delete_expired(self) -> int:
        """Remove documents whose time is over, and say how many; they are given to nobody
        meanwhile, and each put removes a few."""
        total = 0
        while removed := (await self._execute(_expired()))[0][0]:
            total += cast(int, removed)
        return total


def _expired() -> Statement:
    return Statement("delete_expired_items", {"max_items": PAGE})
