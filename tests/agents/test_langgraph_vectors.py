"""The store finds documents by what they mean, where the server has pgvector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import psycopg
import pytest

pytest.importorskip("langgraph.store.base", reason="run: make test-agents")

from langgraph.store.base import PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from tests.support import open_connection, value
from tidebase_pg.agents.langgraph import AsyncTideStore, TideStore, VectorsUnavailable
from tidebase_pg.errors import BadPayload, NotFound

DIMS = 16
ANN = ("users", "ann")
asked: list[str] = []


def embed(texts: Sequence[str]) -> list[list[float]]:
    """How often each letter stands in a text, by its number modulo 16: no network, no model."""
    asked.extend(texts)
    return [
        [1.0 + sum(ord(one) % DIMS == n for one in text) for n in range(DIMS)] for text in texts
    ]


def index(search: str = "exact") -> Any:
    return {"dims": DIMS, "embed": embed, "fields": ["text", "notes[*]"], "search": search}


@pytest.fixture
def vectors(dsn: str) -> str:
    """A database whose server has pgvector."""
    with open_connection(dsn) as connection:
        if not value(
            connection,
            "select exists (select from pg_available_extensions as a where a.name = 'vector')",
        ):
            pytest.skip("this server has no pgvector")
    return dsn


@pytest.fixture(params=["exact", "hnsw"])
def store(vectors: str, request: pytest.FixtureRequest) -> Iterator[TideStore]:
    with TideStore.from_conn_string(vectors, index=index(request.param)) as store:
        store.setup()
        asked.clear()
        yield store


def keys(items: Any) -> list[str]:
    return [item.key for item in items]


def test_the_answers_are_those_of_langgraph_s_store_in_memory(store: TideStore) -> None:
    memory = InMemoryStore(index=index())
    random = Random(3)
    words = ["tide", "kite", "moon", "heron", "sand", "noon", "gull", "wreck"]

    def text() -> str:
        return " ".join(random.choices(words, k=random.randint(1, 6)))

    puts = [
        PutOp(
            ("users", random.choice(["ann", "bob", "anna"])),
            f"k{number % 40}",
            {"text": text(), "notes": [text() for _ in range(number % 3)], "n": number % 4},
            index=False if number % 11 == 0 else None,
        )
        for number in range(60)
    ]
    for one in (store, memory):
        for put in puts:
            # The store in memory finds a document by what it said before, too.
            one.batch([PutOp(put.namespace, put.key, None)])
            one.batch([put])
        one.batch([PutOp(ANN, f"k{number}", None) for number in range(0, 40, 5)])
    for _ in range(12):
        search = SearchOp(
            random.choice([(), ("users",), ANN]),
            query=text(),
            filter=random.choice([None, {"n": 2}, {"n": {"$gt": 0}}]),
            limit=random.choice([1, 5, 60]),
        )
        found, wanted = (one.batch([search])[0] for one in (store, memory))
        scores = [
            [None if i.score is None else round(i.score, 4) for i in s] for s in (found, wanted)
        ]
        assert scores[0] == scores[1], search
        assert {(i.namespace, i.key) for i in found} == {(i.namespace, i.key) for i in wanted} or (
            search.limit < 60
        )


def test_a_document_put_again_is_found_by_what_it_says_now(store: TideStore, dsn: str) -> None:
    store.put(ANN, "a", {"text": "aaaa"})
    store.put(ANN, "b", {"text": "bbbb"})
    assert keys(store.search(ANN, query="aaaa")) == ["a", "b"]
    store.put(ANN, "a", {"text": "cccc"})
    (first, _) = store.search(ANN, query="cccc")
    assert (first.key, round(first.score or 0, 5)) == ("a", 1)
    store.put(ANN, "a", {"text": "bbbb"}, index=False)
    found = store.search(ANN, query="bbbb")
    assert [(item.key, item.score is None) for item in found] == [("b", False), ("a", True)]
    with TideStore.from_conn_string(dsn) as plain:
        plain.put(ANN, "b", {"text": "by a store without vectors"})
    assert [item.score for item in store.search(ANN, query="bbbb")] == [None, None]
    store.delete(ANN, "b")
    with open_connection(dsn) as connection:
        assert value(connection, "select count(*) from tide_langgraph.vectors") == 0


def test_an_index_finds_the_nearest_of_a_namespace_among_many_others(vectors: str) -> None:
    with TideStore.from_conn_string(vectors, index=index("hnsw")) as store:
        store.setup()
        random = Random(5)
        far = [
            PutOp(("far", str(n % 9)), str(n), {"text": random.randbytes(12).hex()})
            for n in range(1500)
        ]
        store.batch(far)
        store.batch([PutOp(ANN, str(n), {"text": random.randbytes(12).hex()}) for n in range(30)])
        question = "a0b1c2"
        approximate = keys(store.search(ANN, query=question, limit=10))
        with open_connection(vectors) as connection:
            connection.execute("analyze tide_langgraph.items, tide_langgraph.vectors")
            near = value(connection, "select to_regclass('tide_langgraph.vectors_near_idx')")
            assert near is not None
            plan = connection.execute(
                "explain select from tide_langgraph.vectors as v order by v.embedding <=> %s "
                "limit 20",
                (str(embed([question])[0]),),
            ).fetchall()
            assert "vectors_near_idx" in str(plan)
    with TideStore.from_conn_string(vectors, index=index("exact")) as store:
        store.setup()
        exact = keys(store.search(ANN, query=question, limit=10))
    assert len(set(approximate) & set(exact)) >= 9


def test_nothing_is_paid_for_a_batch_that_cannot_be_kept(store: TideStore) -> None:
    with pytest.raises(BadPayload, match=r"the document 'bad' in \('users', 'ann'\)"):
        store.batch([PutOp(ANN, "good", {"text": "a"}), PutOp(ANN, "bad", {"text": b"x"})])
    assert asked == []
    store.batch([PutOp(ANN, str(n), {"text": "the same"}) for n in range(5)])
    assert asked == ["the same"]


@pytest.mark.parametrize(
    ("vector", "words"),
    [([1.0] * 3, "3 dimensions; the index has dims 16"), ([float("nan")] * DIMS, "not finite")],
)
def test_what_embed_gives_wrong_is_named_and_nothing_is_stored(
    vectors: str, vector: list[float], words: str
) -> None:
    wrong: Any = {"dims": DIMS, "embed": lambda texts: [vector for _ in texts]}
    with TideStore.from_conn_string(vectors, index=wrong) as store:
        store.setup()
        with pytest.raises(BadPayload, match=words):
            store.put(ANN, "a", {"text": "a"})
        assert store.get(ANN, "a") is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dims": 3000, "embed": embed, "search": "hnsw"}, "1 to 2000"),
        ({"dims": 0, "embed": embed}, "1 to 16000"),
        ({"dims": 3}, "no embed"),
        ({"dims": 3, "embed": embed, "search": "fast"}, "'exact' or 'hnsw'"),
    ],
)
def test_an_index_that_cannot_be_is_named(dsn: str, wrong: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TideStore(dsn, index=wrong)


def test_vectors_are_made_only_when_asked_for_and_other_dimensions_are_refused(
    vectors: str,
) -> None:
    with TideStore.from_conn_string(vectors) as plain, open_connection(vectors) as connection:
        plain.setup()
        extensions = "select count(*) from pg_extension as e where e.extname = 'vector'"
        assert value(connection, extensions) == 0
        with TideStore.from_conn_string(vectors, index=index()) as store:
            for act in (
                lambda: store.put(ANN, "a", {"text": "a"}),
                lambda: store.search(ANN, query="a"),
            ):
                with pytest.raises(NotFound, match="vectors"):
                    act()
            assert plain.get(ANN, "a") is None
            store.setup()
            store.setup()
            store.put(ANN, "a", {"text": "a"})
        with TideStore.from_conn_string(vectors, index={"dims": 3, "embed": embed}) as other:
            with pytest.raises(VectorsUnavailable, match="vectors of 16 dimensions"):
                other.setup()


def test_a_server_without_pgvector_and_a_login_without_rights_learn_what_to_do(
    vectors: str,
) -> None:
    from tidebase_pg.agents.langgraph.vectors import Meaning, install

    class Without:
        """A connection to a server that has no such extension."""

        def __init__(self, connection: psycopg.Connection[Any]) -> None:
            self.transaction, self._connection = connection.transaction, connection

        def execute(self, query: Any, arguments: Any = None) -> Any:
            if "pg_available_extensions" in str(query):
                query = query + " and false"
            return self._connection.execute(query, arguments)

    with open_connection(vectors) as connection:
        missing: Any = Without(connection)
        with pytest.raises(VectorsUnavailable, match="pgvector: install it"):
            install(missing, Meaning(index()))
        connection.execute("create role vectors_nobody")
        try:
            connection.execute("set role vectors_nobody")
            with pytest.raises(VectorsUnavailable, match="superuser run create extension vector"):
                install(connection, Meaning(index()))
        finally:
            connection.execute("reset role")
            connection.execute("drop role vectors_nobody")


async def test_an_asynchronous_store_embeds_with_asyncio(vectors: str) -> None:
    async def aembed(texts: Sequence[str]) -> list[list[float]]:
        return embed(texts)

    given: Any = {"dims": DIMS, "embed": aembed}
    async with AsyncTideStore.from_conn_string(vectors, index=given) as store:
        await store.setup()
        await store.aput(ANN, "a", {"text": "aaaa"})
        await store.aput(ANN, "z", {"text": "zzzz"})
        assert keys(await store.asearch(("users",), query="zzzz", limit=1)) == ["z"]
        assert keys(await store.asearch(("users",))) == ["z", "a"]
