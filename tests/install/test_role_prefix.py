"""Group roles per installation: members of those of another have no right in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from tests.servers import Absent, RunningServer
from tests.support import Connection, Databases, open_connection, value
from tidebase_pg import admin
from tidebase_pg.admin import doctor, drift, uninstall
from tidebase_pg.cli import main
from tidebase_pg.errors import SchemaError

Psql = Callable[[str, str], subprocess.CompletedProcess[str]]
LogIn = Callable[[str], Connection]


@pytest.fixture
def prefix(database: Connection) -> Iterator[str]:
    """One that no other database of the server uses; its roles are gone afterwards."""
    name = f"{database.info.dbname}_"[-40:].lstrip("0123456789")
    yield name
    for role in drift.roles(name):
        if value(database, "select to_regrole(%s) is not null", role):
            database.execute(f"drop owned by {role} cascade".encode())
            database.execute(f"drop role {role}".encode())


@pytest.fixture
def log_in(database: Connection, empty_dsn: str) -> Iterator[LogIn]:
    """log_in("tide_client") -> a session of a new login that is a member of this role alone."""
    with ExitStack() as ending:

        def log_in(role: str) -> Connection:
            login = f"{role}_login"
            database.execute(f"create role {login} login in role {role}".encode())
            ending.callback(database.execute, f"drop role {login}".encode())
            opened = open_connection(make_conninfo(empty_dsn, user=login))
            ending.callback(opened.close)
            return opened

        yield log_in


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, [*arguments])


def test_members_of_the_roles_of_another_installation_have_no_right(
    dsn: str, empty_dsn: str, database: Connection, prefix: str, log_in: LogIn
) -> None:
    """That of `dsn` has the usual names."""
    admin.install(empty_dsn, role_prefix=prefix)
    database.execute("select from tide.enqueue('pay', '{\"iban\": \"DE1\"}')")
    for word, own, call in [
        ("client", "tide.list_runs()", "input"),
        ("worker", "tide.claim()", "run_id"),
        ("viewer", "tide.run_overview", "run_id"),
        ("operator", "tide.list_keys()", "name"),
        ("approver", "tide.pending_gates", "gate_id"),
    ]:
        query = f"select {call} from {own}".encode()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            log_in(f"tide_{word}").execute(query)
        log_in(prefix + word).execute(query)


def test_rules_that_name_a_group_role_mean_that_of_the_installation(
    empty_dsn: str, database: Connection, prefix: str, log_in: LogIn
) -> None:
    admin.install(empty_dsn, role_prefix=prefix)
    operator = log_in(f"{prefix}operator")
    assert value(operator, "select tide.create_key('mine', 'operator')").startswith("tide_")
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        operator.execute("select tide.create_key('other', 'client')")
    assert refused.value.diag.message_hint == (
        f"Who makes a key is in {prefix}client, or owns the schema."
    )
    database.execute("select from tide.enqueue('pay')")
    (held,) = database.execute("select run_id, lease_id from tide.claim()").fetchall()
    gate = value(
        database,
        "select gate_id from tide.open_gate(%s, %s, 'ok', '?', "
        "rules => '{\"not_requester\": true}')",
        held.run_id,
        held.lease_id,
    )
    # Operators may name any actor, approvers only themselves.
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="under its own name"):
        log_in(f"{prefix}approver").execute(
            "select from tide.decide_gate(%s, 'approved', 'ann')", (gate,)
        )
    operator.execute("select from tide.decide_gate(%s, 'approved', 'ann')", (gate,))


def test_an_installation_keeps_its_prefix(
    empty_dsn: str, database: Connection, prefix: str
) -> None:
    admin.install(empty_dsn, role_prefix=prefix)
    assert admin.install(empty_dsn, role_prefix=prefix).functions == 0
    with pytest.raises(SchemaError, match=f"begin with {prefix}, not with other_"):
        admin.install(empty_dsn, role_prefix="other_")
    database.execute("update tide.installs set functions_sha256 = 'another build'")
    database.execute(f"revoke all on all routines in schema tide from {prefix}client".encode())
    assert admin.install(empty_dsn, upgrade=True).functions > 100
    trouble = [one for one in doctor.examine(empty_dsn) if one.check in ("roles", "grants")]
    assert trouble == []
    assert value(database, "select to_regrole('other_client') is null")


def test_dumps_without_data_and_of_data_alone_make_the_same_installation(
    empty_dsn: str, database: Connection, prefix: str, databases: Databases, server: RunningServer
) -> None:
    """Without the data it is completed, and keeps its prefix; with it, it is whole as it is."""
    try:
        dump, psql = server.program("pg_dump"), server.program("psql")
    except Absent as absent:
        pytest.skip(str(absent))

    def dumped(*options: str) -> str:
        source = server.dsn(database.info.dbname)
        made = subprocess.run([dump, *options, source], capture_output=True, text=True, check=True)
        return made.stdout

    def restore(text: str) -> None:
        done = subprocess.run(
            [psql, "-Xq", "-v", "ON_ERROR_STOP=1", copy],
            input=text, text=True, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    admin.install(empty_dsn, role_prefix=prefix)
    run_id = value(database, "select run_id from tide.enqueue('pay')")
    with databases.database() as name:
        copy = server.dsn(name)
        restore(dumped("--schema-only"))
        assert admin.rehearse(copy) != []
        admin.install(copy)
        with open_connection(copy) as made:
            assert value(made, "select prefix from tide.role_names") == prefix
        assert admin.status(copy).current
        assert [one for one in doctor.examine(copy) if one.check in ("roles", "grants")] == []
    with databases.database() as name:
        copy = server.dsn(name)
        restore(dumped("--schema-only"))
        restore(dumped("--data-only"))
        assert admin.status(copy).current
        assert [one for one in doctor.examine(copy) if one.check in ("roles", "grants")] == []
        login = f"{prefix}client_login"
        database.execute(f"create role {login} login in role {prefix}client".encode())
        try:
            with open_connection(make_conninfo(copy, user=login)) as client:
                query = "select status from tide.get_run(%s)"
                assert value(client, query, run_id) == "queued"
        finally:
            database.execute(f"drop role {login}".encode())


def test_roles_that_a_stranger_names_in_an_empty_schema_are_not_taken(
    empty_dsn: str, database: Connection, prefix: str, databases: Databases, server: RunningServer
) -> None:
    """Who may create a schema makes what looks like that of a dump, and names roles of his own."""
    admin.install(empty_dsn, role_prefix=prefix)
    stranger = f"{prefix}stranger"
    with databases.database() as name, open_connection(server.dsn(name)) as copy:
        database.execute(f"create role {stranger} login".encode())
        try:
            copy.execute(f"create schema tide authorization {stranger}".encode())
            copy.execute(f"set role {stranger}".encode())
            copy.execute(
                f"""
                create table tide.migrations (name text, sha256 text);
                create table tide.installs (
                  install_id integer, version text, functions_sha256 text
                );
                create table tide.settings (n integer);
                create function tide.claim() returns void language sql as '';
                create function tide.enqueue() returns void language sql as '';
                grant execute on function tide.claim to {prefix}worker;
                grant execute on function tide.enqueue to {prefix}client;
                """.encode()
            )
            for act in (admin.install, admin.rehearse):
                with pytest.raises(SchemaError, match=f"made by {stranger} before"):
                    act(server.dsn(name))
        finally:
            copy.execute("reset role")
            copy.execute("drop schema tide cascade")
            database.execute(f"drop role {stranger}".encode())


def test_a_parameter_set_elsewhere_names_no_role(
    empty_dsn: str, database: Connection, prefix: str
) -> None:
    name = database.info.dbname
    database.execute(f"alter database {name} set tide.role_prefix = 'other_'".encode())
    admin.install(empty_dsn, role_prefix=prefix)
    assert value(database, "select prefix from tide.role_names") == prefix
    database.execute("update tide.installs set functions_sha256 = 'another build'")
    admin.install(empty_dsn, upgrade=True)
    assert value(database, "select prefix from tide.role_names") == prefix


def test_doctor_and_the_commands_on_roles_know_them(
    empty_dsn: str, database: Connection, prefix: str
) -> None:
    done = run("install", "--role-prefix", prefix, "--dsn", empty_dsn)
    assert done.exit_code == 0, done.output
    assert [one for one in doctor.examine(empty_dsn) if one.severity == "error"] == []
    database.execute(f"alter role {prefix}viewer login".encode())
    database.execute(f"revoke execute on function tide.claim from {prefix}worker".encode())
    found = [one for one in doctor.examine(empty_dsn) if one.severity == "error"]
    assert {one.check for one in found} == {"trust", "grants"}
    assert any(f"alter role {prefix}viewer nologin" in one.remedy for one in found)
    for one in found:
        database.execute(one.remedy.encode())
    login = f"{prefix}app"
    database.execute(f"create role {login} login".encode())
    try:
        granted = run("roles", "grant", "worker", login, "--dsn", empty_dsn)
        assert granted.output == f"{login} is a member of {prefix}worker\n"
        listed = json.loads(run("roles", "list", "--json", "--dsn", empty_dsn).output)
        assert [row["role"] for row in listed] == list(drift.roles(prefix))
        assert all(row["exists"] and row["missing"] == [] for row in listed)
        assert listed[1]["members"] == [login]
    finally:
        database.execute(f"drop role {login}".encode())
    removal = uninstall.look(empty_dsn)
    assert f"drop role if exists {', '.join(drift.roles(prefix))};" in removal.text()
    uninstall.remove(empty_dsn)


def test_printed_text_makes_the_same_roles(
    psql: Psql, empty_dsn: str, database: Connection, prefix: str
) -> None:
    roles = psql(empty_dsn, run("roles", "--print", "--role-prefix", prefix).output)
    assert (roles.returncode, roles.stderr) == (0, "")
    assert value(database, "select to_regrole(%s) is not null", f"{prefix}client")
    done = psql(empty_dsn, run("install", "--print", "--role-prefix", prefix).output)
    assert done.returncode == 0, done.stderr
    assert [one for one in doctor.examine(empty_dsn) if one.severity == "error"] == []
    assert value(database, "select prefix from tide.role_names") == prefix
    again = psql(empty_dsn, run("roles", "--print", "--role-prefix", "other_").output)
    assert f"begin with {prefix}, not with other_" in again.stderr
    assert value(database, "select to_regrole('other_client') is null")


@pytest.mark.parametrize("given", ["", "pg_", "Acme_", "a b", "1a", "a" * 41, 'x"; drop', "ä_"])
def test_what_cannot_begin_a_name_is_refused(empty_dsn: str, given: str) -> None:
    with pytest.raises(ValueError, match="cannot begin the name of a role"):
        admin.install(empty_dsn, role_prefix=given)
    done = run("install", "--role-prefix", given, "--dsn", empty_dsn)
    assert done.exit_code == 2
    assert "cannot begin the name of a role" in done.output
