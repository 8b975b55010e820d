"""What others' linters find: squawk in migrations, pgspot in the script of the extension.

What is accepted stands here with its reason. Anything else fails, and so does a reason that
nobody needs any more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conventions.bodies import ROOT, routines
from tidebase_pg import admin
from tidebase_pg.admin import Script
from tidebase_pg.version import __version__

SQUAWK = Path(sys.executable).with_name("squawk")
PGSPOT = Path(sys.executable).parent.parent / "pgspot/bin/pgspot"

FIRST = "0008"
"""Migrations before it were released before there was a linter, and released ones never change."""

ACCEPTED = {
    ("0020_setting_columns.sql", "adding-field-with-default"): "a table of one row",
    ("0023_mailbox.sql", "ban-drop-constraint"): "the key that takes its place has a column more",
    ("0023_mailbox.sql", "constraint-missing-not-valid"): (
        "a primary key; events wait in this table for moments, so it is small"
    ),
    ("0023_mailbox.sql", "adding-serial-primary-key-field"): "the same",
    ("0026_changed_functions.sql", "ban-drop-function"): "made again in the same transaction",
    ("0027_run_columns.sql", "ban-drop-constraint"): (
        "a trigger that knows more takes its place in the same transaction"
    ),
    ("0027_run_columns.sql", "ban-drop-not-null"): (
        "drivers of before read no time as well, and every answer has the input still"
    ),
    ("0027_run_columns.sql", "require-concurrent-index-creation"): (
        "claims read what the index says, so both change in one transaction"
    ),
    ("0027_run_columns.sql", "require-concurrent-index-deletion"): (
        "made again in the same transaction"
    ),
    ("0034_former_functions.sql", "ban-drop-function"): "private ones, called by nobody any more",
}
"""What squawk may find, and why it is meant."""


def squawk(folder: Path, scripts: Sequence[Script]) -> set[tuple[str, str]]:
    """File and rule of each finding, every file judged as the installer runs it."""
    found: set[tuple[str, str]] = set()
    for transactional, option in (
        (True, "--assume-in-transaction"),
        (False, "--no-assume-in-transaction"),
    ):
        files = [s.name for s in scripts if s.transactional == transactional]
        if not files:
            continue
        done = subprocess.run(
            [SQUAWK, "--config", ROOT / ".squawk.toml", option, "--reporter", "json", *files],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 1), done.stderr
        found |= {(row["file"], row["rule_name"]) for row in json.loads(done.stdout)}
    return found


def pgspot(text: str) -> set[str]:
    """Its findings, each without the line. It cannot read fields of records: no bodies."""
    if not PGSPOT.exists():
        pytest.skip("no pgspot beside this Python; run: make sql-lint")
    done = subprocess.run([PGSPOT, "--no-plpgsql"], input=text, capture_output=True, text=True)
    assert "Errors: " in done.stdout, done.stderr
    return {line.rpartition(" at line ")[0] for line in done.stdout.splitlines() if "PS0" in line}


def test_squawk_finds_nothing_in_new_migrations_but_what_is_meant() -> None:
    scripts = [script for script in admin.current().migrations if script.name >= FIRST]
    assert scripts != []
    assert squawk(ROOT / "sql/migrations", scripts) == set(ACCEPTED)


def test_squawk_would_find_a_migration_that_blocks_or_breaks(tmp_path: Path) -> None:
    bodies = {
        "0001_inside.sql": "create index names_idx on tide.runs (name);\n"
        "alter table tide.runs alter column name type bigint;\n"
        "alter table tide.runs add constraint runs_named check (name <> '');\n",
        "0002_outside.sql": "-- tide: no transaction\n"
        "create index concurrently names_idx on tide.runs (name);\n",
    }
    for name, body in bodies.items():
        (tmp_path / name).write_text(body)
    found = squawk(tmp_path, [Script(name, body) for name, body in bodies.items()])
    assert found == {
        ("0001_inside.sql", "require-concurrent-index-creation"),
        ("0001_inside.sql", "changing-column-type"),
        ("0001_inside.sql", "constraint-missing-not-valid"),
        ("0002_outside.sql", "prefer-robust-stmts"),
    }


def test_pgspot_finds_nothing_in_the_script_but_what_is_meant() -> None:
    text = subprocess.run(
        ["sh", ROOT / "sql/extension.sh", __version__], capture_output=True, text=True, check=True
    ).stdout
    # Private functions run under the path that the public one pinned, with the caller's rights;
    # reconcile may not pin its path, since it commits, and sets it in each of its transactions.
    unpinned = {
        routine.name
        for routine in routines()
        if (not routine.public and routine.name != "_sweep") or routine.name == "reconcile"
    }
    # Inside of create extension a schema that is there already is refused by Postgres itself.
    meant = {"PS010: Unsafe schema creation: tide"}
    found = pgspot(text)
    without_path = "PS005: Function without explicit search_path: tide."
    named = {line.removeprefix(without_path).partition("(")[0] for line in found - meant}
    assert {line for line in found if not line.startswith(without_path)} == meant
    assert named == unpinned


def test_pgspot_would_find_what_a_role_could_turn_against_the_installer() -> None:
    found = pgspot(
        "create schema tide;\n"
        "create function tide.f() returns int language sql security definer as 'select 1';\n"
        "create or replace function public.g() returns int language sql set search_path ="
        " pg_catalog, pg_temp as 'select 1';\n"
        "select 1 + 1;\n"
    )
    assert {line.partition(":")[0] for line in found} == {"PS001", "PS002", "PS003"}
