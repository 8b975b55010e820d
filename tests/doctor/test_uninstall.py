"""Uninstalling takes away what was installed, all or nothing, and nothing of anybody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from tests.runs.acts import Tide, contents
from tests.support import Connection, open_connection, value
from tidebase_pg import admin
from tidebase_pg.admin import drift
from tidebase_pg.cli import main

Run = Callable[..., Any]


@pytest.fixture
def run(direct_dsn: str) -> Run:
    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(main, ["uninstall", "--dsn", direct_dsn, *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


def everything(connection: Connection) -> list[str]:
    """All that pg_dump would see outside the system's own schemas."""
    return [
        row.name
        for row in connection.execute(
            """
            select n.nspname || '.' || c.relname as name
            from pg_class as c
            join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            union all
            select p.oid::regprocedure::text
            from pg_proc as p
            join pg_namespace as n on n.oid = p.pronamespace
            where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            union all
            select n.nspname || '.' || t.typname
            from pg_type as t
            join pg_namespace as n on n.oid = t.typnamespace
            where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            union all
            select n.nspname
            from pg_namespace as n
            where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            order by 1
            """
        )
    ]


def roles(connection: Connection) -> list[str]:
    query = (
        "select r.rolname::text as name from pg_roles as r where r.rolname ~ '^tide_' order by 1"
    )
    return [row.name for row in connection.execute(query.encode())]


def test_by_default_it_prints_and_changes_nothing(run: Run, tide: Tide) -> None:
    tide.finished()
    before = contents(tide.connection), everything(tide.connection)
    printed = run()
    assert printed.exit_code == 0
    assert "drop schema tide;" in printed.stdout
    assert re.search(r"\bcascade\b", printed.stdout) is None
    assert (contents(tide.connection), everything(tide.connection)) == before


def test_what_it_prints_does_it_in_psql(
    run: Run, tide: Tide, direct_dsn: str, psql: Callable[..., Any]
) -> None:
    tide.finished()
    assert psql(direct_dsn, run().stdout).returncode == 0
    assert everything(tide.connection) == ["public"]


def test_execute_removes_everything_but_the_roles(
    run: Run, tide: Tide, connection: Connection
) -> None:
    tide.finished()
    there = roles(connection)
    assert set(drift.ROLES) <= set(there)
    assert run("--execute").exit_code == 0
    assert everything(connection) == ["public"]
    assert roles(connection) == there
    again = run("--execute")
    assert again.exit_code == 3
    assert "no schema tide" in again.stderr


def test_it_names_the_roles_only_in_a_comment(run: Run) -> None:
    lines = [
        line for line in run().stdout.splitlines() if " role " in line and "revoke" not in line
    ]
    assert lines
    assert all(line.startswith("--") for line in lines)
    assert any(", ".join(drift.ROLES) in line for line in lines)


def test_installing_again_begins_anew(run: Run, tide: Tide, direct_dsn: str) -> None:
    tide.finished()
    assert run("--execute").exit_code == 0
    admin.install(direct_dsn)
    assert value(tide.connection, "select count(*) from tide.runs") == 0


@pytest.mark.parametrize("arguments", [[], ["--execute"]])
def test_active_runs_are_not_lost_by_accident(run: Run, tide: Tide, arguments: list[str]) -> None:
    tide.enqueue(workflow="report")
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "1 runs are active" in refused.stderr
    assert "--abandon-active-runs" in refused.stderr
    assert refused.stdout == ""
    assert value(tide.connection, "select count(*) from tide.runs_active") == 1
    assert run(*arguments, "--abandon-active-runs").exit_code == 0


def test_a_run_enqueued_after_the_text_was_made_stops_it(
    run: Run, tide: Tide, direct_dsn: str, psql: Callable[..., Any]
) -> None:
    printed = run().stdout
    tide.enqueue(workflow="report")
    done = psql(direct_dsn, printed)
    assert done.returncode == 3
    assert "1 runs are active; nothing was removed" in done.stderr
    assert value(tide.connection, "select count(*) from tide.runs_active") == 1


USERS = {
    "view": ("create view mine as select run_id, status from tide.runs", "view mine"),
    "materialized view": (
        "create materialized view mine as select * from tide.queue_stats",
        "materialized view mine",
    ),
    "foreign key": (
        "create table mine (run_id uuid references tide.runs_finished)",
        "constraint mine_run_id_fkey on table mine",
    ),
    "default": (
        "create table mine (at timestamptz default tide._now())",
        "default value for column at of table mine",
    ),
    "column type": ("create table mine (run tide.runs)", "column run of table mine"),
    "function": (
        "create function mine() returns setof tide.runs language sql as 'select * from tide.runs'",
        "function mine()",
    ),
    "trigger": (
        (
            "create table mine (run_id uuid); create trigger mine before insert on mine "
            "for each row execute function tide._check_run()"
        ),
        "trigger mine on table mine",
    ),
    "check": (
        "create table mine (queue text constraint mine_ok check (tide.version() <> queue))",
        "constraint mine_ok on table mine",
    ),
    "publication": (
        "create publication mine for table tide.events",
        "publication of table tide.events in publication mine",
    ),
}


@pytest.mark.parametrize("kind", USERS)
@pytest.mark.parametrize("arguments", [[], ["--execute"]])
def test_what_others_built_on_it_is_named_and_stays(
    run: Run, connection: Connection, kind: str, arguments: list[str]
) -> None:
    statements, name = USERS[kind]
    connection.execute(statements.encode())
    before = everything(connection)
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert name in refused.stderr.replace("public.", ""), refused.stderr
    assert refused.stdout == ""
    assert everything(connection) == before


STRANGERS = {
    "table": ("create table tide.mine (one integer)", "table tide.mine"),
    "view": ("create view tide.mine as select 1 as one", "view tide.mine"),
    "function": (
        "create function tide.mine() returns integer language sql as 'select 1'",
        "function tide.mine()",
    ),
    "trigger": (
        (
            "create trigger mine before update on tide.events for each row "
            "execute function suppress_redundant_updates_trigger()"
        ),
        "trigger tide.events.mine",
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_others_keep_in_the_schema_is_named_and_stays(
    run: Run, connection: Connection, kind: str
) -> None:
    statements, name = STRANGERS[kind]
    connection.execute(statements.encode())
    before = everything(connection)
    refused = run("--execute", "--abandon-active-runs")
    assert refused.exit_code == 1
    assert name in refused.stderr, refused.stderr
    assert everything(connection) == before


def test_a_table_in_use_is_not_waited_for_long_and_nothing_is_removed(
    run: Run, tide: Tide, direct_dsn: str
) -> None:
    before = everything(tide.connection)
    with open_connection(direct_dsn, autocommit=False) as user:
        user.execute("select from tide.runs limit 1")
        refused = run("--execute")
    assert refused.exit_code == 1
    assert "lock timeout" in refused.stderr
    assert everything(tide.connection) == before
