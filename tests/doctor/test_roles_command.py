"""The commands on the group roles: the text for administrators, who is in them, granting one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support import Connection, open_connection
from tidebase_pg import admin
from tidebase_pg.admin import doctor, drift
from tidebase_pg.cli import main

Psql = Callable[[str, str], subprocess.CompletedProcess[str]]


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(main, ["roles", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def login(connection: Connection) -> Iterator[str]:
    """A role that may log in, gone afterwards."""
    name = f"app_{connection.info.dbname}"
    connection.execute(f'create role "{name}" login'.encode())
    yield name
    connection.execute(f'drop role "{name}"'.encode())


def test_print_needs_no_database() -> None:
    printed = run("--print")
    assert printed.exit_code == 0
    for word in ("'client'", "'worker'", "'operator'", "'viewer'", "'approver'", "'tide_'"):
        assert word in printed.stdout


def test_the_text_runs_before_an_installation_and_after_it(psql: Psql, empty_dsn: str) -> None:
    text = run("--print").stdout
    before = psql(empty_dsn, text)
    assert (before.returncode, before.stderr) == (0, "")
    admin.install(empty_dsn)
    with open_connection(empty_dsn) as connection:
        connection.execute("revoke all on all routines in schema tide from tide_client")
        before_it = {one.check for one in doctor.examine(empty_dsn)}
        after = psql(empty_dsn, text)
        assert (after.returncode, after.stderr) == (0, "")
        after_it = {one.check for one in doctor.examine(empty_dsn)}
    assert before_it - after_it == {"grants"}


def test_grant_makes_a_member_and_list_shows_it(direct_dsn: str, login: str) -> None:
    for _ in range(2):
        done = run("grant", "worker", login, "--dsn", direct_dsn)
        assert (done.exit_code, done.stdout) == (0, f"{login} is a member of tide_worker\n")
    shown = {
        row["role"]: row for row in json.loads(run("list", "--json", "--dsn", direct_dsn).stdout)
    }
    assert list(shown) == list(drift.ROLES)
    assert login in shown["tide_worker"]["members"]
    assert login not in shown["tide_client"]["members"]
    assert all(row["exists"] and row["missing"] == [] for row in shown.values())
    assert login in run("list", "--dsn", direct_dsn).stdout


def test_list_tells_what_a_role_lacks(connection: Connection, direct_dsn: str) -> None:
    connection.execute("revoke execute on function tide.claim from tide_worker")
    shown = {
        row["role"]: row for row in json.loads(run("list", "--json", "--dsn", direct_dsn).stdout)
    }
    (missing,) = shown["tide_worker"]["missing"]
    assert missing.startswith("execute on routine tide.claim(")
    assert "1 rights" in run("list", "--dsn", direct_dsn).stdout


def test_unknown_roles_are_refused(direct_dsn: str) -> None:
    assert run("grant", "admin", "postgres", "--dsn", direct_dsn).exit_code == 2
    unknown = run("grant", "worker", "nobody's", "--dsn", direct_dsn)
    assert unknown.exit_code == 1
    assert "does not exist" in unknown.stderr


def test_without_a_schema_list_says_what_to_run(empty_dsn: str) -> None:
    assert run("list", "--dsn", empty_dsn).exit_code == 3
