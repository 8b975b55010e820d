"""What documents mean: vectors of their texts, kept by pgvector where a store asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, Literal

import psycopg
from langgraph.store.base import (
    IndexConfig,
    Op,
    PutOp,
    SearchOp,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
)
from psycopg import sql

from tidebase_pg.agents.langgraph.schema import SCHEMA
from tidebase_pg.documents import encode
from tidebase_pg.errors import BadPayload, SchemaError

WHOLE: Final = ["$"]
MOST_DIMS: Final = {"exact": 16_000, "hnsw": 2_000}
NEWEST_WITHOUT_ITERATION: Final = (0, 8)


class VectorsUnavailable(SchemaError):
    """This database cannot keep vectors, or keeps others; the message says what to do."""


class VectorIndex(IndexConfig, total=False):
    """How documents are found by what they mean: LangGraph's own settings and one more."""

    search: Literal["exact", "hnsw"]
    """Compare all vectors of the namespace, the default, or find most of the nearest by an index,
    which is worth it from some ten thousand."""


Vectors = dict[str, str]
"""Texts to their vectors as Postgres reads them."""


class Meaning:
    """What a store with a vector index asks for, and how it is given to Postgres. No I/O."""

    def __init__(self, index: VectorIndex) -> None:
        self.search = index.get("search", "exact")
        if self.search not in MOST_DIMS:
            raise ValueError(f"search of the index is 'exact' or 'hnsw', not {self.search!r}")
        self.dims = index.get("dims", 0)
        if not 1 <= self.dims <= MOST_DIMS[self.search]:
            raise ValueError(
                f"dims of the index is 1 to {MOST_DIMS[self.search]} with search "
                f"{self.search!r}, not {self.dims}"
            )
        if index.get("embed") is None:
            raise ValueError("the index has dims and no embed: give what makes vectors of texts")
        self.embeddings = ensure_embeddings(index["embed"])
        self._fields = index.get("fields") or WHOLE

    def texts_of(self, op: PutOp) -> list[str]:
        if op.value is None or op.index is False:
            return []
        found = [
            text
            for field in (op.index or self._fields)
            for text in get_text_at_path(op.value, tokenize_path(field) if field != "$" else field)
        ]
        return [text for text in found if text]

    def wanted(self, ops: Iterable[Op]) -> tuple[list[str], list[str]]:
        """The texts of documents, and questions. Refuses documents that cannot be kept, before
        anything is paid for."""
        texts: dict[str, None] = {}
        questions: dict[str, None] = {}
        for op in ops:
            if isinstance(op, PutOp):
                if op.value is not None:
                    encode(dict(op.value), document(op))
                texts |= dict.fromkeys(self.texts_of(op))
            elif isinstance(op, SearchOp) and op.query:
                questions[op.query] = None
        return list(texts), list(questions)

    def vectors(self, texts: Sequence[str], answers: Sequence[Sequence[float]]) -> Vectors:
        if len(answers) != len(texts):
            raise BadPayload(f"embed gave {len(answers)} vectors for {len(texts)} texts")
        return dict(zip(texts, map(self._written, texts, answers), strict=True))

    def _written(self, text: str, vector: Sequence[float]) -> str:
        numbers = [float(number) for number in vector]
        what = f"embed gave for {text[:60]!r}"
        if len(numbers) != self.dims:
            raise BadPayload(
                f"{what} a vector of {len(numbers)} dimensions; the index has dims {self.dims}"
            )
        if not all(map(isfinite, numbers)):
            raise BadPayload(f"{what} a vector with a number that is not finite")
        return str(numbers)


def document(op: PutOp) -> str:
    return f"the document {op.key!r} in {op.namespace}"


def install(connection: psycopg.Connection[Any], meaning: Meaning) -> None:
    """Make the table of vectors and its index, or take the index away. Safe to repeat."""
    with connection.transaction():
        SCHEMA.lock(connection)
        place = sql.Identifier(_extension(connection, meaning))
        kept = connection.execute(
            "select a.atttypmod from pg_attribute as a where a.attname = 'embedding' "
            "and a.attrelid = to_regclass('tide_langgraph.vectors')"
        ).fetchone()
        if kept is not None and kept[0] != meaning.dims:
            raise VectorsUnavailable(
                f"the database keeps vectors of {kept[0]} dimensions, the index has dims "
                f"{meaning.dims}: drop table tide_langgraph.vectors and put the documents again"
            )
        if kept is None:
            connection.execute(_TABLE.format(place, sql.Literal(meaning.dims)))
        if meaning.search == "hnsw":
            connection.execute(_INDEX.format(place))
        else:
            connection.execute("drop index if exists tide_langgraph.vectors_near_idx")


def _extension(connection: psycopg.Connection[Any], meaning: Meaning) -> str:
    """The schema of pgvector, which is installed where the server has it."""
    available = connection.execute(
        "select v.default_version from pg_available_extensions as v where v.name = 'vector'"
    ).fetchone()
    if available is None:
        raise VectorsUnavailable(
            "this server has no pgvector: install it (Debian: apt-get install "
            "postgresql-<version>-pgvector), or search by words, with language in the index"
        )
    try:
        connection.execute("create extension if not exists vector schema public")
    except psycopg.errors.InsufficientPrivilege as error:
        raise VectorsUnavailable(
            "this login may not install pgvector: let a superuser run create extension vector"
        ) from error
    found = connection.execute(
        "select n.nspname, e.extversion from pg_extension as e "
        "join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'vector'"
    ).fetchone()
    assert found is not None
    version = tuple(int(part) for part in str(found[1]).split(".")[:2])
    if meaning.search == "hnsw" and version < NEWEST_WITHOUT_ITERATION:
        raise VectorsUnavailable(
            f"search 'hnsw' takes pgvector 0.8, this database has {found[1]}: alter extension "
            "vector update, or take search 'exact'"
        )
    return str(found[0])


_TABLE: Final = sql.SQL("""
create table tide_langgraph.vectors (
  namespace text[] collate "C" not null,
  key text collate "C" not null,
  place integer not null,
  embedding {}.vector({}) not null,
  constraint vectors_pkey primary key (namespace, key, place),
  constraint vectors_belong_to_a_document foreign key (namespace, key)
    references tide_langgraph.items on delete cascade
);
comment on table tide_langgraph.vectors is
  'What the texts of documents mean, one row a text. Made by setup of a store with dims and embed.';
revoke all on tide_langgraph.vectors from public;
""")
_INDEX: Final = sql.SQL("""
create index if not exists vectors_near_idx on tide_langgraph.vectors
using hnsw (embedding {}.vector_cosine_ops)
""")


def is_vectors(index: Mapping[str, Any] | None) -> bool:
    return index is not None and ("dims" in index or "embed" in index)
