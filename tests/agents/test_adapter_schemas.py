"""Schemas of adapters: installed, upgraded, removed from, and open to workers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.roles.conftest import log_in as log_in
from tests.support import Connection, open_connection, value
from tidebase_pg.agents.conversations import Conversations
from tidebase_pg.agents.conversations.store import SCHEMA as CONVERSATIONS
from tidebase_pg.agents.schemas import Schema
from tidebase_pg.errors import MigrationDrift

pytest.importorskip("psycopg_pool", reason="run: make test-agents")


def schemas() -> list[Schema]:
    found = [CONVERSATIONS]
    try:
        from tidebase_pg.agents.langgraph.schema import SCHEMA as LANGGRAPH
    except ImportError:
        return found
    return [*found, LANGGRAPH]


@pytest.fixture(params=schemas(), ids=lambda schema: schema.name)
def schema(request: pytest.FixtureRequest) -> Schema:
    given: Schema = request.param
    return given


@pytest.fixture
def connection(direct_dsn: str) -> Iterator[Connection]:
    with open_connection(direct_dsn) as connection:
        yield connection


def names(schema: Schema, kind: str) -> list[str]:
    folder = schema.folder / kind
    return sorted(path.name for path in folder.glob("*.sql"))


def functions(connection: Connection, schema: Schema) -> dict[str, str]:
    rows = connection.execute(
        "select p.proname, p.oid::regprocedure::text from pg_proc as p "
        "where p.pronamespace = %s::regnamespace",
        (schema.name,),
    ).fetchall()
    return {row[0]: row[1] for row in rows}


def shape(connection: Connection, schema: Schema) -> list[Any]:
    """What an installation consists of."""
    return connection.execute(
        """
        select c.relname, a.attname, a.atttypid::regtype::text, a.attnotnull
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = %(schema)s::regnamespace
        union all
        select p.proname, p.oid::regprocedure::text, md5(p.prosrc), p.prosecdef
        from pg_proc as p
        where p.pronamespace = %(schema)s::regnamespace
        order by 1, 2, 3
        """,
        {"schema": schema.name},
    ).fetchall()


def test_each_function_is_its_file_and_says_what_it_does(
    connection: Connection, schema: Schema
) -> None:
    schema.install(connection)
    found = functions(connection, schema)
    assert sorted(f"{name}.sql" for name in found) == names(schema, "functions")
    silent = [
        name
        for name, function in found.items()
        if value(connection, "select obj_description(%s::regprocedure, 'pg_proc')", function)
        is None
    ]
    assert silent == []


def test_an_installation_of_each_release_before_becomes_the_newest(
    connection: Connection, schema: Schema
) -> None:
    migrations = names(schema, "migrations")
    assert schema.install(connection) == migrations
    assert schema.install(connection) == []
    wanted = shape(connection, schema)
    for last in range(1, len(migrations)):
        connection.execute(f"drop schema {schema.name} cascade".encode())
        with connection.transaction():
            for name, body in schema.scripts():
                if name == "header.sql" or name in migrations[:last]:
                    connection.execute(body.encode())
            for name in migrations[:last]:
                connection.execute(
                    f"insert into {schema.name}.migrations (name, sha256) select %s, encode("
                    "sha256(convert_to(%s, 'utf8')), 'hex')".encode(),
                    (name, (schema.folder / "migrations" / name).read_text()),
                )
        assert schema.install(connection) == migrations[last:]
        assert shape(connection, schema) == wanted, migrations[last - 1]
    connection.execute(f"update {schema.name}.migrations set sha256 = 'edited'".encode())
    with pytest.raises(MigrationDrift, match=r"0001_"):
        schema.install(connection)


def test_a_login_without_rights_sees_nothing_and_a_worker_calls_functions_alone(
    connection: Connection, schema: Schema, log_in: Callable[..., Connection]
) -> None:
    schema.install(connection)
    tables = connection.execute(
        "select c.oid::regclass::text from pg_class as c where c.relkind in ('r', 'S') "
        "and c.relnamespace = %s::regnamespace",
        (schema.name,),
    ).fetchall()
    found = functions(connection, schema)
    for role in ((), ("tide_client",), ("tide_viewer",), ("tide_operator",), ("tide_worker",)):
        login = log_in(*role)
        for (table,) in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                login.execute(f"select * from {table}".encode())
        callable_ = {
            name
            for name, function in found.items()
            if value(
                login,
                "select has_schema_privilege(%s, 'usage') and "
                "has_function_privilege(%s::oid, 'execute')",
                schema.name,
                value(connection, "select %s::regprocedure::oid", function),
            )
        }
        public = {name for name in found if not name.startswith("_")}
        assert callable_ == (public if role == ("tide_worker",) else set()), role


def test_a_worker_keeps_conversations_and_lets_idle_ones_go(
    connection: Connection, direct_dsn: str, log_in: Callable[..., Connection]
) -> None:
    with Conversations.from_conn_string(direct_dsn) as owner:
        owner.setup()
    login = log_in("tide_worker")
    with Conversations.from_conn_string(login.info.dsn) as conversations:
        for name in ("old", "new"):
            conversations.append(name, [{"role": "user", "content": "hello"}])
        connection.execute(
            "update tide_conversations.conversations set touched_at = now() - interval '91 d' "
            "where conversation_id = 'old'"
        )
        with pytest.raises(ValueError, match="idle is not valid"):
            conversations.delete_idle(0)
        assert conversations.delete_idle(90 * 86_400) == 1
        assert [item.item["content"] for item in conversations.read("new")] == ["hello"]
        assert conversations.read("old") == []
    sql = "select tide_conversations.delete_idle_conversations('90 days')"
    assert value(login, sql) == 0
