"""What the documents show works: every block of SQL, Python and shell runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.examples.documents import PAGES, blocks, headings, without_ids
from tests.servers import ROOT, Absent, RunningServer, free_port
from tests.support import open_connection

CUT = "----8<----"
NO_POOLER = {"docs/upgrading.md"}
"""Pages with commands that refuse a pooler."""
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")
NAMED = re.compile(r"`(test_\w+)`(?:\]\(([\w/.-]+)\))?")
TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
LINKED = [*PAGES, "CONTRIBUTING.md", "sql/README.md"]


TOLD_APART = {"README.md", "docs/tutorial.md"}
"""Pages whose blocks are one story; tests/examples/test_readme.py tells them."""


def pages_with(language: str) -> list[str]:
    return [page for page in PAGES if blocks(page, language) and page not in TOLD_APART]


def environment(dsn: str) -> dict[str, str]:
    """What a reader's shell has: the commands of the venv, and the database."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TIDEBASE_DSN": dsn, "PORT": str(free_port())}


@pytest.mark.parametrize("page", ["README.md", *pages_with("sql")])
def test_sql_of_a_page_runs_in_psql_and_prints_what_the_page_shows(
    page: str, direct_dsn: str, server: RunningServer
) -> None:
    try:
        psql = server.program("psql")
    except Absent as absent:
        pytest.skip(str(absent))
    shown = blocks(page, "sql")
    role = f"tide_app_{os.getpid()}"
    text = "".join(f"{block.code}\\echo {CUT}\n" for block in shown).replace("tide_app", role)
    done = subprocess.run(
        [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", direct_dsn],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    with open_connection(direct_dsn) as connection:
        if connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone():
            connection.execute(f"drop owned by {role}; drop role {role}".encode())
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(CUT)[:-1]
    for block, output in zip(shown, printed, strict=True):
        if block.output is not None:
            assert without_ids(output) == without_ids(block.output), block.code


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_of_a_page_runs(page: str, dsn: str, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(block.code for block in blocks(page, "python")))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path, env=environment(dsn), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", pages_with("sh"))
def test_commands_of_a_page_succeed(page: str, dsn: str, direct_dsn: str, tmp_path: Path) -> None:
    script = "\n".join(block.code for block in blocks(page, "sh"))
    database = direct_dsn if page in NO_POOLER else dsn
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path, env=environment(database), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", LINKED)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, anchor in LINK.findall(text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        assert not anchor or anchor in headings(path), f"{page} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_every_test_a_page_names_exists(page: str) -> None:
    for name, file in NAMED.findall((ROOT / page).read_text(encoding="utf-8")):
        if file:
            assert name in defined_in((ROOT / page).parent / file), f"{page}: {file} has no {name}"
        else:
            files = ROOT.glob("tests/**/test_*.py")
            assert any(name in defined_in(path) for path in files), f"{page} names {name}"


@cache
def defined_in(file: Path) -> set[str]:
    return set(TEST.findall(file.read_text(encoding="utf-8")))
