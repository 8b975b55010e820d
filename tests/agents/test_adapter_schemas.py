"""Schemas of adapters: installed, upgraded, removed from, and open to workers alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from tests.roles.conftest import log_in as log_in
from tests.support import Connection, open_connection, value
from tidebase_pg.agents import retention
from tidebase_pg.agents.conversations import Conversations
from tidebase_pg.agents.conversations.store import SCHEMA as CONVERSATIONS
from tidebase_pg.agents.schemas import COMMON, Schema
from tidebase_pg.cli import main
from tidebase_pg.errors import MigrationDrift

pytest.importorskip("psycopg_pool", reason="run: make test-agents")


# As their modules have them, which need the frameworks.
LANGGRAPH = Schema(
    "tide_langgraph", "Checkpoints and memories of LangGraph", COMMON.parent / "langgraph" / "sql"
)
HARNESS = Schema(
    "tide_harness",
    "Runs and memories of pydantic-ai-harness",
    COMMON.parent / "harness" / "sql",
)
FILL = {
    "langgraph": "insert into tide_langgraph.threads (thread_id, touched_at) values (%s, %s)",
    "openai-agents": "insert into tide_conversations.conversations (conversation_id, touched_at) "
    "values (%s, %s)",
    "pydantic-ai": "insert into tide_conversations.records "
    "(conversation_id, revision, tips, record, updated_at) values (%s, '1', '{}', '{}', %s)",
    "pydantic-ai-harness": "insert into tide_harness.conversations "
    "(conversation_id, is_run, touched_at) values (%s, false, %s)",
}


@pytest.fixture(params=[CONVERSATIONS, LANGGRAPH, HARNESS], ids=lambda schema: schema.name)
def schema(request: pytest.FixtureRequest) -> Schema:
    given: Schema = request.param
    return given


@pytest.fixture
def connection(direct_dsn: str) -> Iterator[Connection]:
    with open_connection(direct_dsn) as connection:
        yield connection


def names(schema: Schema, kind: str) -> list[str]:
    paths = [*(schema.folder / kind).glob("*.sql"), *(COMMON / kind).glob("*.sql")]
    return sorted(path.name for path in paths)


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


def prune(dsn: str, *arguments: str) -> Any:
    given = ["--dsn", dsn, "conversations", "prune", "--json", *arguments]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["removed"]


def test_what_nobody_has_written_to_for_long_is_counted_and_removed_of_each_framework(
    connection: Connection, direct_dsn: str, log_in: Callable[..., Connection]
) -> None:
    CONVERSATIONS.install(connection)
    dsn = log_in("tide_worker").info.dsn
    now = datetime.now(UTC)

    def left() -> dict[str, int]:
        tables = {name: query.split()[2] for name, query in FILL.items()}
        return {
            name: value(connection, f"select count(*) from {table}")
            for name, table in tables.items()
            if value(connection, "select to_regclass(%s) is not null", table)
        }

    refused = CliRunner().invoke(
        main, ["--dsn", dsn, "conversations", "prune", "--idle", "1d", "--framework", "langgraph"]
    )
    assert (refused.exit_code, "TideSaver(dsn).setup()" in refused.stderr) == (3, True)
    assert prune(dsn, "--idle", "1d") == {"openai-agents": 0, "pydantic-ai": 0}

    LANGGRAPH.install(connection)
    HARNESS.install(connection)
    for query in FILL.values():
        for number in range(5):
            connection.execute(query.encode(), (f"old {number}", now - timedelta(days=91)))
        connection.execute(query.encode(), ("new", now))
    assert set(retention.FRAMEWORKS) == set(FILL)
    assert prune(dsn, "--idle", "90d", "--dry-run") == dict.fromkeys(FILL, 5)
    assert left() == dict.fromkeys(FILL, 6)
    most = ("--max-conversations", "2")
    assert prune(dsn, "--idle", "90d", "--framework", "langgraph", *most) == {"langgraph": 2}
    assert prune(dsn, "--idle", "90d") == dict.fromkeys(FILL, 5) | {"langgraph": 3}
    assert left() == dict.fromkeys(FILL, 1)
    refused = CliRunner().invoke(main, ["--dsn", dsn, "conversations", "prune", "--idle", "0"])
    assert (refused.exit_code, "idle is not valid: 00:00:00" in refused.stderr) == (1, True)


def test_a_database_where_no_framework_keeps_anything_is_named(direct_dsn: str) -> None:
    given = ["--dsn", direct_dsn, "conversations", "prune", "--idle", "1d"]
    refused = CliRunner().invoke(main, given)
    assert (refused.exit_code, "no adapter keeps" in refused.stderr) == (3, True)
