"""The store keeps what LangGraph's own stores keep, finds it by words, and lets it go in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import psycopg
import pytest

pytest.importorskip("langgraph.store.base", reason="run: make test-agents")

from langgraph.graph import END, START, StateGraph
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from tests.support import open_connection, value
from tidebase_pg.agents.langgraph import AsyncTideStore, TideStore
from tidebase_pg.errors import BadPayload

USERS = ("users", "ann")


@pytest.fixture
def store(dsn: str) -> Iterator[TideStore]:
    with TideStore.from_conn_string(dsn) as store:
        store.setup()
        yield store


@pytest.fixture
async def astore(dsn: str) -> AsyncIterator[AsyncTideStore]:
    async with AsyncTideStore.from_conn_string(dsn) as store:
        await store.setup()
        yield store


def keys(items: Any) -> list[str]:
    return [item.key for item in items]


def expire(dsn: str) -> None:
    """The time of all documents that have one is over."""
    with open_connection(dsn) as connection:
        connection.execute(
            "update tide_langgraph.items set expires_at = now() - interval '1 s' "
            "where ttl is not null"
        )


def test_a_document_is_given_as_it_was_put_until_it_is_deleted(store: TideStore) -> None:
    document = {"text": "kités", "n": 1.5, "deep": [{"a": None}], "big": 2**60}
    store.put(USERS, "likes", document)
    item = store.get(USERS, "likes")
    assert item is not None
    assert (item.namespace, item.key, item.value) == (USERS, "likes", document)
    assert item.created_at == item.updated_at
    store.put(USERS, "likes", {"text": "tides"})
    again = store.get(USERS, "likes")
    assert again is not None and again.value == {"text": "tides"}
    assert again.created_at == item.created_at < again.updated_at
    assert store.get(USERS, "hates") is None
    assert store.get(("users",), "likes") is None
    store.delete(USERS, "likes")
    assert store.get(USERS, "likes") is None


def test_a_batch_reads_before_it_writes_and_the_last_write_of_a_document_counts(
    store: TideStore,
) -> None:
    store.put(USERS, "a", {"n": 1})
    results = store.batch(
        [
            PutOp(USERS, "a", {"n": 2}),
            GetOp(USERS, "a"),
            PutOp(USERS, "a", {"n": 3}),
            SearchOp(("users",), limit=10),
            PutOp(USERS, "b", {"n": 4}),
            ListNamespacesOp(),
            GetOp(USERS, "b"),
            PutOp(USERS, "b", None),
            GetOp(USERS, "a"),
        ]
    )
    assert [None if r is None else type(r).__name__ for r in results] == [
        None, "Item", None, "list", None, "list", None, None, "Item",
    ]  # fmt: skip
    assert results[1].value == results[8].value == {"n": 1}  # type: ignore[union-attr]
    assert store.get(USERS, "a").value == {"n": 3}  # type: ignore[union-attr]
    assert store.get(USERS, "b") is None


def random_ops(random: Random) -> list[Any]:
    labels = ["a", "b", "ab", "a\x01", "é", "Z", "*"]

    def namespace(least: int) -> tuple[str, ...]:
        return tuple(random.choices(labels, k=random.randint(least, 3)))

    def condition() -> MatchCondition:
        return MatchCondition(random.choice(["prefix", "suffix"]), namespace(1))

    found: list[Any] = []
    for _ in range(random.randint(1, 4)):
        number = random.choice([1, 2, 2.5, 10])
        match random.randint(0, 5):
            case 0 | 1:
                document = {"n": number, "s": random.choice("xyz"), "l": [number]}
                put = PutOp(namespace(1), random.choice("pq"), document)
                found.append(put if random.random() < 0.8 else put._replace(value=None))
            case 2:
                found.append(GetOp(namespace(1), random.choice("pq")))
            case 3:
                filters: list[Any] = [
                    None,
                    {"n": number},
                    {"n": {"$gt": 1, "$lte": number}},
                    {"s": {"$ne": "x"}, "n": {"$gte": number}},
                    {"l": [number]},
                ]
                found.append(SearchOp(namespace(0), filter=random.choice(filters), limit=99))
            case _:
                given = tuple(condition() for _ in range(random.randint(0, 2))) or None
                depth = random.choice([None, 1, 2])
                found.append(ListNamespacesOp(given, max_depth=depth, limit=random.choice([2, 99])))
    return found


def is_get(op: Any) -> bool:
    return isinstance(op, GetOp)


def forget_empty(memory: InMemoryStore) -> None:
    """It would list the namespaces of what was only asked for, and of what was removed."""
    for namespace in [one for one, documents in memory._data.items() if not documents]:
        del memory._data[namespace]


def seen(result: Any) -> Any:
    """What a result says, without times; searches without their order."""
    if isinstance(result, list):
        parts = [one if isinstance(one, tuple) else seen(one) for one in result]
        return (
            parts
            if parts and isinstance(parts[0], tuple) and parts[0][:1] != ("item",)
            else (sorted(parts, key=repr))
        )
    return None if result is None else ("item", result.namespace, result.key, result.value)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_asked_the_answers_are_those_of_langgraph_s_store_in_memory(
    store: TideStore, seed: int
) -> None:
    random, memory = Random(seed), InMemoryStore()
    for number in range(150):
        ops = random_ops(random)
        ours = store.batch(ops)
        given = {place: memory.batch([op])[0] for place, op in enumerate(ops) if is_get(op)}
        forget_empty(memory)
        others = iter(memory.batch([op for op in ops if not is_get(op)]))
        forget_empty(memory)
        theirs = [given[place] if is_get(op) else next(others) for place, op in enumerate(ops)]
        assert [seen(one) for one in ours] == [seen(one) for one in theirs], (number, ops)


def test_a_prefix_is_whole_labels_and_finds_all_below(store: TideStore) -> None:
    for namespace in (("a",), ("a", "b"), ("a", "b", "c"), ("ab",), ("b",), ("a", "bc")):
        store.put(namespace, "k", {"at": list(namespace)})
    found = store.search(("a", "b"))
    assert {item.namespace for item in found} == {("a", "b"), ("a", "b", "c")}
    assert len(store.search((), limit=100)) == 6
    pages = [keys(store.search((), limit=4, offset=offset)) for offset in (0, 4, 8)]
    assert [len(page) for page in pages] == [4, 2, 0]


INDEXES: dict[str, Any] = {
    "none": None,
    "all": {"language": "english"},
    "fields": {"language": "english", "fields": ["text", "notes[*].said"]},
}


@pytest.mark.parametrize("index", INDEXES)
async def test_documents_are_found_by_words_the_best_first(dsn: str, index: str) -> None:
    async with AsyncTideStore.from_conn_string(dsn, index=INDEXES[index]) as store:
        await store.setup()
        await store.aput(USERS, "twice", {"text": "tides and tides", "notes": []})
        await store.aput(USERS, "once", {"text": "a kite", "notes": [{"said": "the tides"}]})
        await store.aput(USERS, "hidden", {"text": "tides"}, index=False)
        await store.aput(USERS, "other", {"text": "snow", "secret": "tides"}, index=["text"])
        await store.aput(("users", "bob"), "his", {"text": "tides, tides, tides"})
        found = await store.asearch(USERS, query="what about tides?")
        assert keys(found) == ["twice", "once"]
        assert found[0].score > found[1].score > 0
        assert keys(await store.asearch(("users",), query="tides", limit=1)) == ["his"]
        assert keys(await store.asearch(USERS, query="tides", filter={"text": "a kite"})) == [
            "once"
        ]
        assert await store.asearch(USERS, query="mountains") == []
        stemmed = keys(await store.asearch(USERS, query="a tide"))
        assert stemmed == ([] if index == "none" else ["twice", "once"]) or index == "none"


def test_a_search_by_words_reads_the_index_where_there_is_one(dsn: str) -> None:
    with TideStore.from_conn_string(dsn, index={"language": "english"}) as store:
        store.setup()
        documents = [PutOp(("d", str(n % 7)), str(n), {"text": f"word{n}"}) for n in range(3000)]
        store.batch(documents)
        assert keys(store.search((), query="word1234")) == ["1234"]
        with open_connection(dsn) as connection:
            connection.execute("analyze tide_langgraph.items")
            plan = connection.execute(
                "explain select from tide_langgraph.items as i "
                "where i.words @@ 'word1234' or (i.words is null "
                "and tide_langgraph._words(i.value, 'english') @@ 'word1234')"
            ).fetchall()
        assert "items_words_idx" in str(plan), plan


def test_what_nobody_reads_goes_and_a_read_or_write_begins_its_time_again(
    store: TideStore, dsn: str
) -> None:
    store.put(USERS, "stays", {"n": 1})
    for key in ("read", "left"):
        store.put(USERS, key, {"n": 2}, ttl=5)
    with open_connection(dsn) as connection:
        ages = (
            "update tide_langgraph.items set expires_at = now() + interval '1 min' "
            "where ttl is not null"
        )
        left = (
            "select extract(epoch from expires_at - now()) > 100 from tide_langgraph.items "
            "where key = %s"
        )
        connection.execute(ages.encode())
        assert store.get(USERS, "read", refresh_ttl=False) is not None
        assert value(connection, left, "read") is False
        assert store.get(USERS, "read") is not None
        assert value(connection, left, "read") is True
        connection.execute(ages.encode())
        assert keys(store.search(USERS, filter={"n": 2}, limit=1, refresh_ttl=True))
        assert {value(connection, left, key) for key in ("read", "left")} == {True, False}
    expire(dsn)
    assert store.get(USERS, "left") is None
    assert keys(store.search(USERS)) == ["stays"]
    assert store.delete_expired() == 2
    store.put(USERS, "brief", {"n": 3}, ttl=5)
    expire(dsn)
    assert store.list_namespaces(prefix=("users",)) == [USERS]
    store.delete(USERS, "stays")
    assert store.list_namespaces(prefix=("users",)) == []
    assert store.delete_expired() == 0, "the delete has removed it"


def test_a_default_ttl_holds_unless_told_otherwise(dsn: str) -> None:
    with TideStore.from_conn_string(dsn, ttl={"default_ttl": 1}) as store:
        store.setup()
        store.put(USERS, "a", {})
        store.put(USERS, "b", {}, ttl=None)
        expire(dsn)
        assert keys(store.search(USERS)) == ["b"]
        store.put(USERS, "a", {"again": True})
        assert store.get(USERS, "a") is not None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"a": {"b": object()}}, "object"),
        ({"a": float("nan")}, "nan"),
        ({"a": "nul \0"}, "NUL"),
        ({"a": b"x"}, "base64"),
        ({"a": "\ud800"}, "surrogate"),
    ],
)
def test_what_is_no_json_is_named_and_nothing_of_its_batch_is_stored(
    store: TideStore, document: Any, words: str
) -> None:
    with pytest.raises(BadPayload, match=r"the document 'bad' in \('users', 'ann'\)") as said:
        store.batch([PutOp(USERS, "good", {"a": 1}), PutOp(USERS, "bad", document)])
    assert words.lower() in str(said.value).lower()
    assert store.search(()) == []


def test_wrong_questions_are_named(store: TideStore, dsn: str) -> None:
    with pytest.raises(ValueError, match=r"unknown operator '\$in'; there are \$eq"):
        store.search(USERS, filter={"a": {"$in": [1]}})
    with pytest.raises(InvalidNamespaceError):
        store.put(("a.b",), "k", {})
    with pytest.raises(TypeError, match="no operation of a store"):
        store.batch([("get", "a")])  # type: ignore[list-item]
    with TideStore.from_conn_string(dsn, index={"language": "klingon"}) as wrong:
        with pytest.raises(Exception, match="no text search for language 'klingon'"):
            wrong.put(USERS, "k", {"a": "b"})


def test_a_very_long_text_is_kept_whole_and_found_by_its_beginning(store: TideStore) -> None:
    long = {"text": "tides " + " ".join(f"word{n}" for n in range(200_000))}
    store.put(USERS, "long", long, index=["text"])
    assert store.get(USERS, "long").value == long  # type: ignore[union-attr]
    assert keys(store.search(USERS, query="tides")) == ["long"]


def test_writers_of_the_same_documents_do_not_wait_for_each_other_in_a_circle(
    store: TideStore, dsn: str
) -> None:
    def write(number: int) -> None:
        random = Random(number)
        with TideStore.from_conn_string(dsn) as own:
            for _ in range(40):
                ops: list[Any] = [PutOp(("n", k), k, {"by": number}, ttl=5) for k in "abcdef"]
                random.shuffle(ops)
                if random.random() < 0.3:
                    ops[0] = ops[0]._replace(value=None)
                own.batch(ops)
                own.batch([GetOp(op.namespace, op.key) for op in ops])
                own.search((), limit=6)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(write, number) for number in range(4)]:
            done.result()
    assert len(store.search((), limit=10)) >= 5


async def test_a_graph_remembers_across_threads_in_sync_and_async_nodes(
    astore: AsyncTideStore,
) -> None:
    def sync_node(state: dict[str, Any], *, store: BaseStore) -> Any:
        store.put(USERS, state["n"], {"n": state["n"]})
        return {}

    async def async_node(state: dict[str, Any], *, store: BaseStore) -> Any:
        return {"seen": len(await store.asearch(USERS))}

    builder: Any = StateGraph(dict)
    builder.add_node("sync_node", sync_node)
    builder.add_node("async_node", async_node)
    builder.add_edge(START, "sync_node")
    builder.add_edge("sync_node", "async_node")
    builder.add_edge("async_node", END)
    graph = builder.compile(store=astore)
    assert [(await graph.ainvoke({"n": n}))["seen"] for n in "ab"] == [1, 2]
    with pytest.raises(RuntimeError, match="await its methods"):
        astore.get(USERS, "a")
    sync = TideStore(astore._pool.conninfo)
    try:
        assert (await sync.aget(USERS, "a")).value == {"n": "a"}  # type: ignore[union-attr]
    finally:
        sync.close()


def test_the_schema_is_upgraded_from_what_savers_had(dsn: str) -> None:
    from tidebase_pg.agents.langgraph.schema import SCHEMA

    with psycopg.connect(dsn, autocommit=True) as connection:
        assert "0002_items.sql" in SCHEMA.install(connection)
        connection.execute("drop table tide_langgraph.items")
        connection.execute("delete from tide_langgraph.migrations where name = '0002_items.sql'")
        assert SCHEMA.install(connection) == ["0002_items.sql"]
    with TideStore.from_conn_string(dsn) as store:
        store.put(USERS, "a", {"n": 1})
        assert asyncio.run(store.aget(USERS, "a")) is not None
