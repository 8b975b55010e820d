"""Programs of Node: what the npm SDK of Tidebase sends, and node-postgres with SQL alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.server.conftest import PATIENCE, Served, serving
from tests.server.sdk.conftest import KEPT, LONGEST_INSTALL, unavailable
from tidebase_pg.server import Settings

HERE = Path(__file__).parent
NODE_POSTGRES = "8.23.1"


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        unavailable("no node here: install Node.js 18 or newer")
    version = subprocess.run([found or "", "--version"], capture_output=True, text=True).stdout
    if int(version.removeprefix("v").split(".")[0]) < 18:
        unavailable(f"node {version.strip()} has no fetch: install Node.js 18 or newer")
    return found or ""


def run(node: str, script: str, **environment: str) -> list[str]:
    """The lines a script prints; it ends well."""
    done = subprocess.run(
        [node, str(HERE / script)],
        env={k: v for k, v in os.environ.items() if not k.startswith("TIDEBASE_")} | environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_the_npm_sdk_sends_is_understood(node: str, served: Served) -> None:
    assert len(run(node, "client.mjs", TIDEBASE_URL=served.url)) == 6


def test_a_worker_under_a_url_and_a_key_of_its_own(node: str, sdk_dsn: str) -> None:
    with serving(Settings(dsn=sdk_dsn, api_key="a key of some length")) as keyed:
        url = f"{keyed.url}/w/node-1"
        with pytest.raises(AssertionError, match="401"):
            run(node, "client.mjs", TIDEBASE_URL=url)
        key = "a key of some length"
        assert len(run(node, "client.mjs", TIDEBASE_URL=url, TIDEBASE_API_KEY=key)) == 6


@pytest.fixture(scope="module")
def node_postgres(node: str) -> Path:
    """Where the npm package pg is installed, once and kept."""
    home = KEPT / "node"
    if not (home / "node_modules" / "pg" / "package.json").exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text("{}")
        npm = shutil.which("npm")
        if npm is None:
            unavailable("no npm here: install Node.js 18 or newer")
        try:
            subprocess.run(
                [npm or "", "install", "--no-audit", "--no-fund", f"pg@{NODE_POSTGRES}"],
                cwd=home,
                check=True,
                capture_output=True,
                timeout=LONGEST_INSTALL,
            )
        except (subprocess.SubprocessError, OSError) as error:
            unavailable(f"the npm package pg cannot be had: {error}")
    return home


def test_a_program_of_node_postgres_works_by_sql_alone(
    node: str, node_postgres: Path, dsn: str
) -> None:
    home = str(node_postgres / "package.json")
    assert run(node, "postgres.mjs", TIDEBASE_DSN=dsn, NODE_HOME=home) == ["done"]
