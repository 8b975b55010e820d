"""The commands around the schema: what they print, and the exit codes scripts rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support import open_connection
from tidebase_pg import admin
from tidebase_pg.cli import main
from tidebase_pg.version import __version__

Run = Callable[..., Result]
NOWHERE = "postgresql://127.0.0.1:1/nowhere"


@pytest.fixture
def run() -> Run:
    def run(*arguments: str, **environment: str) -> Result:
        result = CliRunner().invoke(main, arguments, env={"TIDEBASE_DSN": None, **environment})
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_install_then_status_then_upgrade(run: Run, empty_dsn: str) -> None:
    installed = run("install", "--dsn", empty_dsn)
    assert installed.exit_code == 0
    assert installed.stdout.startswith(f"schema tide {__version__} installed: ")

    assert "nothing to do" in run("install", "--dsn", empty_dsn).stdout
    assert "nothing to do" in run("upgrade", "--dsn", empty_dsn).stdout
    status = run("status", "--dsn", empty_dsn)
    assert (status.exit_code, status.stdout.splitlines()[0]) == (
        0,
        f"installed         {__version__}",
    )


def test_json_is_printed_wherever_the_option_stands(run: Run, empty_dsn: str) -> None:
    first = answer(run("install", "--json", "--dsn", empty_dsn))
    names = [script.name for script in admin.current().migrations]
    assert (first["before"], first["version"]) == (None, __version__)
    assert sorted(first["migrations"]) == names
    assert answer(run("--json", "--dsn", empty_dsn, "upgrade"))["migrations"] == []
    assert answer(run("status", "--json", "--dsn", empty_dsn)) == {
        "installed": __version__,
        "package": __version__,
        "current": True,
        "pending": [],
        "functions_differ": False,
        "extension": False,
    }
    assert answer(run("--json", "version")) == {"package": __version__, "schema": None}
    versions = answer(run("--json", "version", "--dsn", empty_dsn))
    assert versions == {"package": __version__, "schema": __version__}


def test_dsn_comes_from_the_environment_unless_given(run: Run, empty_dsn: str) -> None:
    assert run("install", TIDEBASE_DSN=empty_dsn).exit_code == 0
    assert run("status", "--dsn", empty_dsn, TIDEBASE_DSN=NOWHERE).exit_code == 0
    assert run("--dsn", empty_dsn, "status", TIDEBASE_DSN=NOWHERE).exit_code == 0


def test_missing_schema_exits_with_3_and_says_what_to_run(run: Run, empty_dsn: str) -> None:
    for arguments in (["upgrade"], ["upgrade", "--print"]):
        result = run(*arguments, "--dsn", empty_dsn)
        assert result.exit_code == 3
        assert "run: tidebase-pg install" in result.stderr
        assert result.stdout == ""
    status = run("status", "--json", "--dsn", empty_dsn)
    assert status.exit_code == 3
    assert json.loads(status.stdout)["installed"] is None


def test_changed_functions_make_status_exit_with_3(run: Run, empty_dsn: str) -> None:
    admin.install(empty_dsn)
    with open_connection(empty_dsn) as connection:
        connection.execute("update tide.installs set functions_sha256 = 'other'")
    status = run("status", "--dsn", empty_dsn)
    assert status.exit_code == 3
    assert "functions_differ  yes" in status.stdout
    assert "functions" in run("upgrade", "--dsn", empty_dsn).stdout
    assert run("status", "--dsn", empty_dsn).exit_code == 0


def test_newer_schema_and_edited_migration_exit_with_3(run: Run, empty_dsn: str) -> None:
    admin.install(empty_dsn)
    with open_connection(empty_dsn) as connection:
        connection.execute("update tide.migrations set sha256 = 'other'")
        edited = run("install", "--dsn", empty_dsn)
        connection.execute(
            "insert into tide.installs (version, functions_sha256) values ('9.0.0', '')"
        )
        newer = run("install", "--dsn", empty_dsn)
    assert edited.exit_code == newer.exit_code == 3
    assert "sha256 other" in edited.stderr
    assert "9.0.0" in newer.stderr


def test_unreachable_database_is_one_line_and_exits_with_1(run: Run) -> None:
    for arguments in (["install"], ["status"], ["upgrade"], ["version"]):
        result = run(*arguments, "--dsn", NOWHERE)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("Error: ")


def test_malformed_dsn_is_one_line_and_exits_with_1(run: Run) -> None:
    result = run("status", "--dsn", "no such thing")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["install", "--no-such-option"], ["install", "--wait", "-1"]]
)
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_help_documents_the_exit_codes(run: Run) -> None:
    help_text = run("--help").stdout
    for line in ("0  done", "1  refused or failed", "2  wrong usage", "3  the schema is missing"):
        assert line in help_text


def test_print_needs_no_database_and_no_checkout(tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tidebase_pg", "install", "--print"],
        cwd=tmp_path,
        env={"TIDEBASE_DSN": NOWHERE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == admin.render(admin.current())


def test_upgrade_print_of_a_current_schema_runs_nothing(run: Run, empty_dsn: str) -> None:
    admin.install(empty_dsn)
    printed = run("upgrade", "--print", "--dsn", empty_dsn)
    assert (printed.exit_code, printed.stdout[:2]) == (0, "--")
    assert "begin" not in printed.stdout


def test_upgrade_prints_offline_for_a_release_and_a_phase(run: Run) -> None:
    printed = run("upgrade", "--print", "--from", "0.1.0", "--to", __version__)
    assert (printed.exit_code, printed.stdout) == (
        0,
        admin.render(admin.current(), admin.released("0.1.0")),
    )
    before = run("upgrade", "--print", "--from", "0.1.0", "--phase", "pre")
    after = run("upgrade", "--print", "--from", "0.1.0", "--phase", "post")
    contracting = any(script.contracting for script in admin.current().migrations)
    assert (before.stdout == printed.stdout) is not contracting
    assert ("begin" in after.stdout) is contracting


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--print", "--from", "0.0.9"], 3, "no release this package can upgrade from"),
        (["--from", "0.1.0"], 2, "--from is for --print"),
        (["--print", "--from", "0.1.0", "--to", "9.0.0"], 2, "pip install tidebase-pg==9.0.0"),
        (["--print", "--dry-run"], 2, "--print or --dry-run"),
        (["--phase", "during"], 2, "--phase"),
    ],
)
def test_upgrade_refuses_what_it_cannot_do(
    run: Run, arguments: list[str], code: int, words: str
) -> None:
    refused = run("upgrade", *arguments, "--dsn", NOWHERE)
    assert (refused.exit_code, refused.stdout) == (code, "")
    assert words in refused.stderr


def test_dry_run_prints_statements_and_locks(run: Run, empty_dsn: str) -> None:
    told = run("install", "--dry-run", "--dsn", empty_dsn)
    assert told.exit_code == 0
    assert "0001_queues.sql: create table tide.queues (" in told.stdout
    assert told.stdout.splitlines()[-1].endswith("all rolled back")
    rows = answer(run("install", "--dry-run", "--json", "--dsn", empty_dsn))
    assert {"script", "statement", "seconds", "locks", "forecast"} == rows[0].keys()
    assert run("status", "--dsn", empty_dsn).exit_code == 3
