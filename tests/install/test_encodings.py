"""Payloads hold any text: a database whose encoding cannot is refused, with nothing made."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.servers import RunningServer
from tests.support import open_connection, value
from tidebase_pg import SchemaError, admin
from tidebase_pg.testing.databases import drop_database


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_is_refused_and_left_empty(
    server: RunningServer, databases: Any, encoding: str
) -> None:
    name = f"encoded_{encoding.lower()}"
    databases.admin.execute(
        sql.SQL(
            "create database {} template template0 encoding {} lc_collate 'C' lc_ctype 'C'"
        ).format(sql.Identifier(name), sql.Literal(encoding))
    )
    try:
        with pytest.raises(SchemaError) as refused:
            admin.install(server.dsn(name))
        assert encoding in str(refused.value)
        assert "encoding" in str(refused.value)
        with open_connection(server.dsn(name)) as connection:
            assert value(connection, "select to_regnamespace('tide') is null")
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                connection.execute(admin.current().header.body.encode())
    finally:
        drop_database(databases.admin, name)
